//! SQL over captures, by the engine of Polars.
//!
//! [`statement`] finds which tables a query names, `frames` makes them frames of Polars, `run` has it answered batch by
//! batch, and `result` shows the rows. Closed captures are Parquet files, which Polars scans itself: it reads the columns and
//! row groups that a query needs. All other tables are made by [`ntana::tables`] when a query names them, in files that go
//! when the answer is there. Captures that are not closed are closed in such a file first.

#![forbid(unsafe_code)]

mod frames;
mod result;
mod run;
mod signals;
pub mod statement;
mod value;

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::path::Path;

use anyhow::{Context, Result, bail};
use ntana::args::{FilterArgs, Query, QueryFormat, TimeStyle};
use ntana::commands::query::show_schema;
use ntana::knowledge::Knowledge;
use ntana::source::Source;

use frames::Frames;
use result::Answering;
use statement::Statement;

/// Answers a query.
///
/// # Errors
///
/// When the SQL is wrong, a capture cannot be read, or the answer cannot be written.
pub fn answer(query: &Query, out: &mut dyn Write) -> Result<()> {
    if let Some(table) = &query.schema {
        return show_schema(table, out);
    }
    let to_terminal = query.output.is_none() && stdout().is_terminal();
    if query.format == QueryFormat::Parquet && to_terminal {
        bail!("Parquet is not for a terminal: write it to a file with -o FILE");
    }
    let sql = query.sql.as_deref().unwrap_or_default();
    let statement = Statement::parse(sql)?;
    let knowledge = Knowledge::load(&query.rules)?;
    let sources = query.files.iter().map(|path| open(path)).collect::<Result<Vec<Source>>>()?;
    let frames = Frames::new(&statement.tables, &sources, &knowledge)?;
    let (frame, schema) = run::prepare(&statement, &frames)?;
    let answering = Answering { statement: &statement, sources: &sources, frame, schema };
    match &query.output {
        None => answering.write(query.format, out),
        Some(path) => to_file(path, |out| answering.write(query.format, out)),
    }
}

/// Opens a capture. One that cannot be read stops the answer: its rows would be missing in every sum.
fn open(path: &Path) -> Result<Source> {
    Source::open(path, TimeStyle::Utc, &FilterArgs::default())
}

/// Writes a new file, which is there when all of it is; until then it has another name in the same folder.
fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path.exists() {
        bail!("creating {}: there is a file of that name: move it, or write to another one", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let begun = tempfile::Builder::new().prefix(".ntana-").make_in(folder, |path| File::create_new(path));
    let begun = begun.with_context(|| format!("creating {}", path.display()))?;
    signals::remove_when_ended(begun.path()).context("waiting for signals")?;
    let mut out = BufWriter::new(begun.as_file());
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    written.with_context(|| format!("writing {}", path.display()))?;
    drop(out);
    begun.persist_noclobber(path).with_context(|| format!("creating {}", path.display()))?;
    Ok(())
}
