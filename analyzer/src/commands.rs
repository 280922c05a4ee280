//! One module a command: each computes plain data and then shows it.

pub mod diag;
pub mod drops;
pub mod info;
pub mod repair;
pub mod replay;
mod rows;
pub mod trace;

use std::process::ExitCode;

/// Exit status of a command that answered for all files, or not for all.
fn exit_code(all: bool) -> ExitCode {
    if all { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
