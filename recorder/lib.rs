//! `ntrec`: kernel event -> ring buffer -> columns -> file.
//!
//! [`commands`] is what the command line asks for: record, say what this machine offers, list the probes. A recording
//! goes from [`kernel`] (what there is to attach to, and how) to [`attach`] (choose, load, attach, count), while
//! [`rows`] is the way of the data: the ring buffer is read in time order, records are taken apart, made rows of, and
//! written. [`node`] knows the machine: its namespaces, clocks, nftables, privileges. `bpf/` is the other end.

#![allow(rustdoc::private_intra_doc_links, reason = "the way through the program, for its readers")]

pub mod args;
mod attach;
mod bpf;
mod commands;
mod kernel;
mod node;
mod rows;

use crate::args::{Cli, Command};
use crate::commands::{capture, check, list};

/// Does what the command line says.
///
/// # Errors
///
/// One sentence: what, where, what next.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Capture(args) => capture::run(args),
        Command::Check(args) => check::run(args),
        Command::Probes(args) => list::run(args),
    }
}
