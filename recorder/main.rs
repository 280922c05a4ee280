//! `ntrec`: records what the kernel does with each packet.

use std::process::ExitCode;

use clap::Parser;
use ntrec::args::Cli;

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
    match ntrec::run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ntrec: {error:#}");
            ExitCode::from(2)
        }
    }
}
