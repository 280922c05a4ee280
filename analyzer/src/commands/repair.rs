//! `ntana repair`: a plain Parquet file of a capture that was cut off.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::answer::{Answer, Labels, Output, Table};
use crate::args;
use crate::numbers::grouped;

/// What was written.
#[derive(Debug, Serialize)]
struct Repaired {
    /// The file.
    file: String,
    /// Events in it.
    events: u64,
    /// Its bytes.
    bytes: u64,
    /// What is missing.
    notes: Vec<String>,
}

/// Names of the columns of CSV.
const COLUMNS: [&str; 4] = ["file", "events", "bytes", "notes"];

impl Answer for Repaired {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        let (events, bytes) = (grouped(self.events), grouped(self.bytes));
        writeln!(out, "{}: {events} events, {bytes} bytes", self.file)?;
        Ok(self.notes.iter().try_for_each(|note| writeln!(out, "  ! {note}"))?)
    }

    fn records(&self, _: &Labels, table: &mut Table<'_>) -> Result<()> {
        let (events, bytes) = (self.events.to_string(), self.bytes.to_string());
        table.record([&self.file, &events, &bytes, &self.notes.join("; ")])
    }
}

/// What was written to all files.
#[derive(Debug, Serialize)]
struct Totals {
    /// Events.
    events: u64,
}

/// Runs the command.
pub fn run(args: &args::Repair, out: &mut dyn Write) -> Result<ExitCode> {
    let output = args.output.clone().unwrap_or_else(|| default_output(&args.file));
    let repaired = ntc::repair(&args.file, &output)?;
    let file = output.display().to_string();
    let answer = Repaired { file, events: repaired.rows, bytes: repaired.bytes, notes: repaired.notes };
    let mut output = Output::begin(args.format, &COLUMNS, out)?;
    output.capture(&answer, &Labels::of_file(&answer.file))?;
    output.finish(&Totals { events: answer.events }, "")?;
    Ok(ExitCode::SUCCESS)
}

/// Where the repaired file goes: `host1.ntc` becomes `host1.repaired.ntc`.
fn default_output(file: &Path) -> PathBuf {
    file.with_extension("repaired.ntc")
}
