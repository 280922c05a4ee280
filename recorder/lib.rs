//! `ntrec`: kernel event -> ring buffer -> columns -> file.
//!
//! What is recorded: [`plan`] chooses probes, [`functions`] finds functions on this kernel, [`backends`] the ways to
//! probe them, [`attach`] loads and attaches.
//!
//! [`nftables`] has the kernel trace rules, where that is asked for, by messages of [`netlink`].
//!
//! The way of the data: `bpf/` records, [`drain`] reads the ring buffer in time order, [`wire`] takes records apart,
//! [`table`] makes rows of them, [`sink`] writes.
//!
//! Before a recording: [`node`] finds out what this machine offers, [`check`] says what is missing, [`list`] what can
//! be recorded.

#![allow(rustdoc::private_intra_doc_links, reason = "the way through the program, for its readers")]

pub mod args;
mod attach;
mod backends;
mod bpf;
mod btf;
mod capture;
mod check;
mod clock;
mod decode;
mod drain;
mod filter;
mod functions;
mod host;
mod kallsyms;
mod kernel;
mod linger;
mod list;
mod names;
mod netlink;
mod nftables;
mod node;
mod output;
mod pcap;
mod plan;
mod privileges;
mod sink;
mod symbols;
mod table;
mod tracepoints;
mod wire;

use crate::args::{Cli, Command};

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
