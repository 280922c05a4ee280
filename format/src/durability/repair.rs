//! Makes a plain, closed capture of whatever can be read of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch};

use crate::columns::ColumnId;
use crate::durability::journal::Journal;
use crate::error::Error;
use crate::reading::nulls;
use crate::reading::reader::Capture;
use crate::schema::{self, COLUMNS, Column};
use crate::writing::writer::{Finished, Options, Writer};

/// What a repair found and wrote.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// Rows of the new file.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What is missing in it, one sentence each.
    pub notes: Vec<String>,
}

/// Writes a closed capture with everything that can be read of `from`, its journal included.
///
/// With the same path twice the new file takes the old one's place once it is complete, and the journal is
/// removed. Another file at `to` is an error.
pub fn repair(from: &Path, to: &Path) -> Result<Repaired, Error> {
    let capture = Capture::open(from)?;
    if !is_same(from, to) {
        return copy(&capture, to, false);
    }
    let temporary = temporary(to);
    let repaired = copy(&capture, &temporary, true)?;
    fs::rename(&temporary, to).map_err(|e| Error::io(to, "putting the repaired file in its place", e))?;
    // What the journal had is in the file now; left alone it would be ignored.
    let _ = fs::remove_file(Journal::path_of(from));
    Ok(repaired)
}

/// Whether two paths lead to one file.
fn is_same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).ok().is_some_and(|a| fs::canonicalize(b).is_ok_and(|b| a == b))
}

/// Where the new file is written before it takes the old one's place.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".repair");
    name.into()
}

/// Writes a closed capture with everything that can be read; on failure none.
fn copy(capture: &Capture, to: &Path, overwrite: bool) -> Result<Repaired, Error> {
    // Nothing is lost by a full disk here, and no journal is needed: the original is still there.
    let options = Options { reserve: 0, journal_age: Duration::MAX, ..Options::default() };
    let mut notes = capture.notes().to_vec();
    let writer = Writer::create(to, capture.metadata().clone(), options, overwrite)?;
    let copied = copy_rows(capture, writer, &mut notes);
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(to);
    }
    let Finished { rows, bytes } = copied?;
    Ok(Repaired { rows, bytes, notes })
}

/// Copies all rows and closes the file.
fn copy_rows(capture: &Capture, mut writer: Writer, notes: &mut Vec<String>) -> Result<Finished, Error> {
    for group in 0..capture.groups().len() {
        if let Some(batch) = salvage(capture, group, notes)? {
            writer.write(&batch)?;
        }
    }
    writer.finish()
}

/// Reads a row group; columns that are damaged become null. Nothing where a required one is damaged.
fn salvage(capture: &Capture, group: usize, notes: &mut Vec<String>) -> Result<Option<RecordBatch>, Error> {
    let rows = capture.groups()[group].rows as usize;
    let mut arrays = Vec::with_capacity(COLUMNS.len());
    for column in ColumnId::ALL {
        match read_column(capture, group, column) {
            Ok(array) => arrays.push(array),
            Err(error @ Error::Damaged { .. }) => {
                let Column { kind, required, .. } = *column.column();
                notes.push(format!("{error}; {} not in the repaired file", lost(required)));
                if required {
                    return Ok(None);
                }
                arrays.push(nulls::array(kind, rows));
            }
            Err(error) => return Err(error),
        }
    }
    let batch = RecordBatch::try_new(schema::schema(), arrays);
    Ok(Some(batch.map_err(|e| Error::Schema { what: e.to_string() })?))
}

/// What a damaged column takes with it.
fn lost(required: bool) -> &'static str {
    if required { "these rows are" } else { "this column is" }
}

/// Reads one column of a row group. A required one with nulls, which only forged files have, counts as damaged.
fn read_column(capture: &Capture, group: usize, column: ColumnId) -> Result<ArrayRef, Error> {
    let array = capture.read(group, &[column])?.record().column(0).clone();
    if column.column().required && array.null_count() > 0 {
        let what = format!("column {} of row group {group} lacks values", column.name());
        return Err(Error::Damaged { path: capture.path().to_owned(), start: 0, end: 0, what });
    }
    Ok(array)
}
