//! One module a command: each computes plain data and then shows it.

pub mod diag;
pub mod drops;
pub mod info;
pub mod latency;
pub mod path;
pub mod query;
pub mod repair;
pub mod replay;
mod rows;
pub mod stats;
pub mod trace;

use std::process::ExitCode;

use anyhow::{Context, Result};
use ntc::ColumnId;

/// Exit status of a command that answered for all files, or not for all.
fn exit_code(all: bool) -> ExitCode {
    if all { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// The column of events of a name.
fn column(name: &str) -> Result<ColumnId> {
    ColumnId::from_name(name).with_context(|| {
        let nearest = words::nearest(name, ColumnId::ALL.iter().map(|id| id.name()));
        match nearest {
            Some(nearest) => format!("there is no column `{name}`; {nearest}"),
            None => format!("there is no column `{name}`: FORMAT.md lists them"),
        }
    })
}
