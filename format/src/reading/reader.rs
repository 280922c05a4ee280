//! Reads captures: closed ones by their checkpoints, others by whatever can be found.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, Field, Schema};
use arrow_select::take::take;
use zstd::bulk::Decompressor;

use crate::columns::{Batch, ColumnId};
use crate::durability::checkpoint::{self, Head};
use crate::durability::recover::{self, Found, Recovery, State};
use crate::durability::scan;
use crate::encoding::decode::{self, Pages};
use crate::encoding::layout::{Chunk, Page};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::reading::foreign::{self, Foreign, Opened};
use crate::reading::group::Group;
use crate::reading::nulls;
use crate::reading::source::Source;
use crate::schema::{Column, Type};

/// The largest page that is read, before and after compression.
const MAX_PAGE: u64 = 64 << 20;
/// Text and raw bytes that are read at once. Numbers are bounded by the number of rows.
const MAX_TEXT: u64 = 96 << 20;

/// A capture that was opened. Row groups may be read by several threads at once.
#[derive(Debug)]
pub struct Capture {
    /// Its path.
    path: PathBuf,
    /// What it says about itself.
    metadata: Metadata,
    /// Whether the recorder finished.
    state: State,
    /// What is missing, in sentences.
    notes: Vec<String>,
    /// What is missing, in numbers.
    recovery: Recovery,
    /// The row groups.
    groups: Vec<Group>,
    /// Where they are: the checkpoint after each.
    heads: Vec<Head>,
    /// The file.
    main: Arc<Source>,
    /// Its journal, if rows are in it.
    journal: Option<Source>,
    /// The file as another program wrote it; heads and journal are empty then.
    foreign: Option<Foreign>,
}

impl Capture {
    /// Opens a capture. One that was not closed is opened with its journal, `<path>.journal`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let main = Source::open(path)?;
        Self::new(path, main, recover::open_journal(path))
    }

    /// The random number of a capture, which its copies have too; none where the file does not begin as the recorder's do.
    pub fn id_of(path: &Path) -> Result<Option<u64>, Error> {
        let main = Source::open(path)?;
        let head = scan::first_head(&main).map_err(|error| Error::io(path, "reading it", error))?;
        Ok(head.map(|head| head.id))
    }

    /// Opens a capture that is in memory. Errors call it `<memory>`.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::new(Path::new("<memory>"), Source::memory(bytes), None)
    }

    /// Opens a capture and a journal that are in memory.
    pub fn from_bytes_with_journal(bytes: Vec<u8>, journal: Vec<u8>) -> Result<Self, Error> {
        Self::new(Path::new("<memory>"), Source::memory(bytes), Some(Source::memory(journal)))
    }

    /// Finds the row groups.
    fn new(path: &Path, main: Source, journal: Option<Source>) -> Result<Self, Error> {
        let main = Arc::new(main);
        let is_foreign = foreign::is_foreign(&main).map_err(|e| Error::io(path, "reading it", e))?;
        let foreign = is_foreign.then(|| foreign::open(path, main.clone()));
        let refused = match foreign {
            Some(Ok(opened)) => return Ok(Self::of_foreign(path, main, opened)),
            Some(Err(error)) => Some(error),
            None => None,
        };
        let found = match (recover::find(path, &main, journal.as_ref()), refused) {
            // Neither one nor the other: what it lacks as another program's file says more.
            (Err(Error::NotACapture { .. }), Some(error)) => return Err(error),
            (found, _) => found?,
        };
        let Found { state, metadata, heads, journal_from, recovery, notes } = found;
        let groups = heads.iter().enumerate().map(|(at, head)| group(head, at >= journal_from)).collect();
        let (path, journal) = (path.to_owned(), journal.filter(|_| journal_from < heads.len()));
        Ok(Self { path, metadata, state, notes, recovery, groups, heads, main, journal, foreign: None })
    }

    /// A capture that another program wrote anew.
    fn of_foreign(path: &Path, main: Arc<Source>, opened: Opened) -> Self {
        let Opened { file, metadata, groups, notes } = opened;
        let (path, state, recovery) = (path.to_owned(), State::Closed, Recovery::default());
        let (heads, journal, foreign) = (Vec::new(), None, Some(file));
        Self { path, metadata, state, notes, recovery, groups, heads, main, journal, foreign }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether the recorder finished.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is missing or damaged, one sentence each; empty for a capture that is closed and whole as far as
    /// opening it tells. Damaged columns are found when they are read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is missing or damaged, in numbers.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Rows of all row groups.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|group| group.rows).sum()
    }

    /// Its row groups, in the order of time.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Reads columns of a row group, in the order given. A column that the file does not have is null.
    pub fn read(&self, group: usize, columns: &[ColumnId]) -> Result<Batch, Error> {
        let rows = self.groups.get(group).map_or(0, |group| group.rows);
        self.read_rows(group, 0..rows as usize, columns)
    }

    /// Reads columns of some rows of a row group. Its columns are decoded as a whole, one after the other; what stays in
    /// memory is these rows.
    pub fn read_rows(&self, group: usize, rows: Range<usize>, columns: &[ColumnId]) -> Result<Batch, Error> {
        let all = self.groups.get(group).ok_or_else(|| missing(format!("row group {group}")))?.rows;
        if rows.start > rows.end || rows.end as u64 > all {
            return Err(missing(format!("range of rows {rows:?} in row group {group}")));
        }
        if let Some(foreign) = &self.foreign {
            return batch(columns, foreign.read(group, rows.clone(), columns)?, rows.len());
        }
        let head = &self.heads[group];
        let source = self.source(group);
        let chunks = scan::payload(source, head)
            .map_err(|e| self.unreadable(e))?
            .ok_or_else(|| self.damaged(head, (head.position, head.end()), "its checkpoint"))?
            .chunks;
        let zstd = Decompressor::new().map_err(|e| self.unreadable(e))?;
        let mut reading = Reading { capture: self, source, head, zstd };
        let mut text = 0;
        let mut arrays = Vec::with_capacity(columns.len());
        for column in columns {
            let chunk = chunks.iter().find(|chunk| chunk.name == column.name());
            let array = reading.column(column.column(), chunk, &mut text)?;
            arrays.push(cut(array, &rows).map_err(|e| Error::Schema { what: e.to_string() })?);
        }
        batch(columns, arrays, rows.len())
    }

    /// The file that a row group is in.
    fn source(&self, group: usize) -> &Source {
        self.journal.as_ref().filter(|_| self.groups[group].journal).unwrap_or(self.main.as_ref())
    }

    /// The operating system could not read.
    fn unreadable(&self, error: std::io::Error) -> Error {
        Error::io(&self.path, "reading it", error)
    }

    /// A row group is damaged, or a part of it.
    fn damaged(&self, head: &Head, (start, end): (u64, u64), what: &str) -> Error {
        let (first, last) = (head.first_row, head.first_row + head.group.rows - 1);
        let what = format!("{what}, of rows {first} to {last}; other row groups are still readable");
        Error::Damaged { path: self.path.clone(), start, end, what }
    }
}

/// Opens any bytes as a capture and reads whatever can be read: the common core of the fuzz target and of the test
/// that runs its corpus.
#[doc(hidden)]
pub fn exercise(bytes: &[u8]) {
    // The first byte says where the journal begins, so that both are fuzzed.
    let (part, bytes) = bytes.split_first().map_or((0, bytes), |(part, bytes)| (usize::from(*part), bytes));
    let (journal, main) = bytes.split_at(bytes.len() * part / 256);
    let Ok(capture) = Capture::from_bytes_with_journal(main.to_vec(), journal.to_vec()) else { return };
    for group in 0..capture.groups().len().min(20) {
        let _ = capture.read(group, &ColumnId::ALL);
        for column in ColumnId::ALL {
            let _ = capture.read(group, &[column]);
        }
    }
}

/// What a checkpoint says about the row group before it.
fn group(head: &Head, journal: bool) -> Group {
    let (rows, first_row) = (head.group.rows, head.first_row);
    Group { rows, first_row, first_ts: head.first_ts, last_ts: head.last_ts, journal }
}

/// Something was asked for that does not exist.
fn missing(what: String) -> Error {
    Error::Missing { what }
}

/// Some rows of an array, without the others in memory.
fn cut(array: ArrayRef, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
    if *rows == (0..array.len()) {
        return Ok(array);
    }
    // Nulls are cut from an array that is kept for all.
    if array.null_count() == array.len() {
        return Ok(array.slice(rows.start, rows.len()));
    }
    take(&array, &UInt32Array::from_iter_values(rows.start as u32..rows.end as u32), None)
}

/// The columns as a batch.
pub(crate) fn batch(columns: &[ColumnId], arrays: Vec<ArrayRef>, rows: usize) -> Result<Batch, Error> {
    let field = |(id, array): (&ColumnId, &ArrayRef)| {
        let nullable = !id.column().required || array.null_count() > 0;
        Field::new(id.name(), array.data_type().clone(), nullable)
    };
    let schema = Schema::new(columns.iter().zip(&arrays).map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let record = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options);
    record.map(Batch::new).map_err(|e| Error::Schema { what: e.to_string() })
}

/// A row group that is being read.
struct Reading<'a> {
    /// The capture.
    capture: &'a Capture,
    /// The file that it is in.
    source: &'a Source,
    /// The checkpoint after it.
    head: &'a Head,
    /// The decompressor, kept because making one costs more than a small page.
    zstd: Decompressor<'static>,
}

impl Reading<'_> {
    /// Reads a column. `text` counts the bytes of text so far.
    fn column(&mut self, column: &Column, chunk: Option<&Chunk>, text: &mut u64) -> Result<ArrayRef, Error> {
        let rows = self.head.group.rows as usize;
        let Some(chunk) = chunk.filter(|chunk| (chunk.nulls as usize) < rows) else {
            return Ok(nulls::array(column.kind, rows));
        };
        self.check(column, chunk, text)?;
        let mut page = |page: Option<&Page>| page.map_or(Ok(Vec::new()), |page| self.page(chunk, page));
        let pages = Pages { dictionary: page(chunk.dictionary.as_ref())?, data: page(Some(&chunk.data))? };
        decode::column(chunk, rows, &pages)
            .ok_or_else(|| self.damaged(chunk, &chunk.data, "its values are malformed"))
    }

    /// Checks everything that memory will be taken for.
    fn check(&self, column: &Column, chunk: &Chunk, text: &mut u64) -> Result<(), Error> {
        let rows = self.head.group.rows;
        let entries = chunk.dictionary.map_or(0, |page| page.values);
        let plain = u64::from(chunk.data.plain) + chunk.dictionary.map_or(0, |page| page.plain.into());
        let limit = match column.kind {
            Type::Text | Type::Bytes => {
                *text += plain;
                MAX_TEXT.saturating_sub(*text - plain)
            }
            // Levels, and values or a dictionary and indices, of up to 8 bytes each; 4 KiB for small row groups.
            _ => rows * 20 + 4096,
        };
        let sound = column.kind == chunk.kind
            && u64::from(chunk.data.values) == rows
            && u64::from(entries) <= rows
            && plain <= limit;
        if sound { Ok(()) } else { Err(self.damaged(chunk, &chunk.data, "its description is impossible")) }
    }

    /// Reads a page: checks its place and checksum, and decompresses it.
    fn page(&mut self, chunk: &Chunk, page: &Page) -> Result<Vec<u8>, Error> {
        let end = u64::from(page.body) + u64::from(page.stored);
        if end > self.head.group.len || u64::from(page.stored.max(page.plain)) > MAX_PAGE {
            return Err(self.damaged(chunk, page, "its description is impossible"));
        }
        let start = self.head.group.start + u64::from(page.body);
        let stored = self.source.read(start, page.stored.into()).map_err(|e| self.capture.unreadable(e))?;
        if !checkpoint::is_intact(&stored, page.crc) {
            return Err(self.damaged(chunk, page, "its checksum is wrong"));
        }
        let plain =
            if chunk.zstd { self.zstd.decompress(&stored, page.plain as usize).ok() } else { Some(stored) };
        plain
            .filter(|plain| plain.len() == page.plain as usize)
            .ok_or_else(|| self.damaged(chunk, page, "its compression is malformed"))
    }

    /// A page is damaged.
    fn damaged(&self, chunk: &Chunk, page: &Page, what: &str) -> Error {
        let start = self.head.group.start.saturating_add(page.body.into());
        let what = format!("column {}: {what}", chunk.name);
        self.capture.damaged(self.head, (start, start.saturating_add(page.stored.into())), &what)
    }
}
