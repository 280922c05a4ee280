//! `ntana repair`: a plain Parquet file of a capture that was cut off.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use crate::args;
use crate::numbers::grouped;

/// Runs the command.
pub fn run(args: &args::Repair, out: &mut dyn Write) -> Result<ExitCode> {
    let output = args.output.clone().unwrap_or_else(|| default_output(&args.file));
    let repaired = ntc::repair(&args.file, &output)?;
    let (rows, bytes) = (grouped(repaired.rows), grouped(repaired.bytes));
    writeln!(out, "{}: {rows} events, {bytes} bytes", output.display())?;
    repaired.notes.iter().try_for_each(|note| writeln!(out, "  ! {note}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the repaired file goes: `host1.ntc` becomes `host1.repaired.ntc`.
fn default_output(file: &Path) -> PathBuf {
    file.with_extension("repaired.ntc")
}
