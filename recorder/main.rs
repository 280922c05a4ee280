//! `ntrec`: kernel event -> ring buffer -> columns -> file.
//!
//! What is recorded: [`plan`] chooses probes, [`functions`] finds functions on this kernel, [`backends`] the ways to
//! probe them, [`attach`] loads and attaches.
//!
//! The way of the data: `bpf/` records, [`drain`] reads the ring buffer in time order, [`wire`] takes records apart, [`table`] makes rows of them, [`sink`] writes.

mod args;
mod attach;
mod backends;
mod bpf;
mod btf;
mod capture;
mod clock;
mod decode;
mod drain;
mod filter;
mod functions;
mod host;
mod kallsyms;
mod kernel;
mod linger;
mod names;
mod pcap;
mod plan;
mod privileges;
mod probes;
mod sink;
mod symbols;
mod table;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

/// Keeps freed memory for the next batch: glibc would give it back to the kernel and have it cleared again,
/// page by page, which was a quarter of the recorder's time.
fn keep_memory() {
    const NEVER: i32 = 1 << 30;
    // SAFETY: mallopt only sets two parameters of the allocator, before any other thread runs.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, NEVER);
        libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
    }
}

fn main() -> ExitCode {
    keep_memory();
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Capture(args) => capture::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ntrec: {error:#}");
            ExitCode::from(2)
        }
    }
}
