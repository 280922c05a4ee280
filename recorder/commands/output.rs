//! Answers on standard output.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::args::Format;

/// Prints an answer in the form that was asked for. That nobody reads it to its end is no error.
pub fn print(answer: &impl Serialize, text: impl Fn() -> String, format: Format) -> Result<()> {
    let printed = match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(answer)? + "\n",
    };
    match stdout().write_all(printed.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output"),
    }
}

/// Bytes in a unit that reads well.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
