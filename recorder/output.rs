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
