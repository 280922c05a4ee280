//! What a file holds: its row groups, its newest metadata, and what is missing.

use std::io;
use std::path::Path;

use crate::durability::checkpoint::{Head, Kind, MAGIC};
use crate::durability::journal::Journal;
use crate::durability::log::PARQUET;
use crate::durability::scan;
use crate::error::Error;
use crate::json;
use crate::metadata::Metadata;
use crate::reading::source::Source;
use crate::reading::stranger;
use crate::schema::FORMAT_MAJOR;

/// Bytes of a file's beginning that tell what it is.
const START: u64 = 512;
/// How many checkpoints are searched for metadata.
const METADATA_DEPTH: usize = 64;

/// Whether the recorder finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It did: the file is complete and a Parquet file.
    Closed,
    /// It did not, or the file's end was cut off.
    Unfinished,
}

/// What is missing or damaged in a capture, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Rows that were read from the journal.
    pub journal_rows: u64,
    /// Rows that are known to be missing between others.
    pub missing_rows: u64,
    /// Bytes that belong to no row group that could be read.
    pub lost_bytes: u64,
    /// Row groups whose bytes are not what was written.
    pub damaged_groups: u64,
}

/// What was found in a file and its journal.
pub struct Found {
    /// Whether the recorder finished.
    pub state: State,
    /// The newest metadata.
    pub metadata: Metadata,
    /// The checkpoint after each row group.
    pub heads: Vec<Head>,
    /// From which of them on they are in the journal.
    pub journal_from: usize,
    /// What is missing, in numbers.
    pub recovery: Recovery,
    /// What is missing, in sentences.
    pub notes: Vec<String>,
}

/// Opens a capture's journal, if there is one that can be read.
pub fn open_journal(capture: &Path) -> Option<Source> {
    Source::open(&Journal::path_of(capture)).ok()
}

/// Finds the row groups of a capture.
pub fn find(path: &Path, main: &Source, journal: Option<&Source>) -> Result<Found, Error> {
    let failed = |e| Error::io(path, "reading it", e);
    let start = main.read(0, main.len().min(START)).map_err(failed)?;
    refuse_newer(path, &start)?;
    // Anything else may be huge: it is not searched.
    let scanned =
        if may_be_capture(main, &start).map_err(failed)? { scan::find(main) } else { Ok(<_>::default()) };
    let scanned = scanned.map_err(failed)?;
    match scanned.heads.first() {
        None => return Err(stranger::error(path, main.len(), &start)),
        Some(first) if first.kind == Kind::Journal => return Err(stranger::journal(path)),
        Some(_) => {}
    }
    let found = assemble(main, journal, scanned).map_err(failed)?;
    newer(path, found.metadata.format)?;
    Ok(found)
}

/// Whether a file begins or ends like a capture. Either may be damaged.
fn may_be_capture(source: &Source, start: &[u8]) -> io::Result<bool> {
    let end = source.read(source.len().saturating_sub(4), source.len().min(4))?;
    let magic = start.get(PARQUET.len()..).unwrap_or_default();
    Ok(start.starts_with(&PARQUET) || magic.starts_with(&MAGIC) || end == PARQUET)
}

/// Refuses a file of a newer format. The version stands at this place in every format.
fn refuse_newer(path: &Path, start: &[u8]) -> Result<(), Error> {
    let version = start.strip_prefix(&PARQUET).and_then(|rest| rest.strip_prefix(&MAGIC));
    let version = version.and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    newer(path, version)
}

/// An error if a format is newer than this build's.
fn newer(path: &Path, found: u32) -> Result<(), Error> {
    if found > FORMAT_MAJOR {
        return Err(Error::Newer { path: path.to_owned(), found, newest: FORMAT_MAJOR });
    }
    Ok(())
}

/// Puts together what the file and its journal hold.
fn assemble(main: &Source, journal: Option<&Source>, scanned: scan::Found) -> io::Result<Found> {
    let state = if scanned.closed { State::Closed } else { State::Unfinished };
    let id = scanned.heads.first().map_or(0, |head| head.id);
    // A journal beside a closed file is what a crash between closing and removing leaves.
    let journal = journal.filter(|_| state == State::Unfinished);
    let mut rows = Rows::default();
    rows.note_gaps(&scanned);
    let mut metadata = newest_metadata(main, &scanned.heads)?;
    rows.add(main, &scanned.heads, state)?;
    let journal_from = rows.heads.len();
    if let Some(journal) = journal {
        let found = scan::find(journal)?;
        if found.heads.first().is_some_and(|head| head.id == id) {
            metadata = newest_metadata(journal, &found.heads)?.or(metadata);
            rows.add(journal, &found.heads, state)?;
        }
    }
    if metadata.is_none() {
        rows.notes.push("the metadata is damaged: host, probes and clocks are unknown".to_owned());
    }
    let metadata = metadata.unwrap_or_default();
    rows.note_end(state, journal_from, &metadata);
    let Rows { heads, recovery, notes, .. } = rows;
    Ok(Found { state, metadata, heads, journal_from, recovery, notes })
}

/// The newest metadata that can be read.
fn newest_metadata(source: &Source, heads: &[Head]) -> io::Result<Option<Metadata>> {
    // It is written each second, so that it is never far from the end; the first checkpoint always has some.
    for head in heads.iter().rev().take(METADATA_DEPTH).chain(heads.first()) {
        let json = scan::payload(source, head)?.map(|payload| payload.metadata);
        if let Some(Ok(metadata)) = json.filter(|json| !json.is_empty()).map(|json| json::read(&json)) {
            return Ok(Some(metadata));
        }
    }
    Ok(None)
}

/// The row groups that are found one after the other.
#[derive(Default)]
struct Rows {
    /// The checkpoints after them.
    heads: Vec<Head>,
    /// Number of the row that comes next.
    next: u64,
    /// What is missing, in numbers.
    recovery: Recovery,
    /// What is missing, in sentences.
    notes: Vec<String>,
}

impl Rows {
    /// Notes bytes that belong to no row group.
    fn note_gaps(&mut self, scanned: &scan::Found) {
        for (start, end) in &scanned.gaps {
            self.recovery.lost_bytes += end - start;
            self.notes.push(format!("bytes {start} to {end} are no whole row group: cut short or damaged"));
        }
    }

    /// Adds the row groups of a file that come after those there are.
    fn add(&mut self, source: &Source, heads: &[Head], state: State) -> io::Result<()> {
        for head in heads.iter().filter(|head| head.kind == Kind::Group) {
            // The journal may still have what the capture has, if the recorder died between the two.
            if head.first_row < self.next {
                continue;
            }
            self.note_missing(head.first_row);
            self.next = head.first_row + head.group.rows;
            // What a power cut left may be anything; a closed file is checked when it is read.
            if state == State::Closed || scan::is_whole(source, head)? {
                self.heads.push(head.clone());
            } else {
                self.note_damaged(head);
            }
        }
        Ok(())
    }

    /// Notes rows that are missing before number `first`.
    fn note_missing(&mut self, first: u64) {
        if first > self.next {
            self.recovery.missing_rows += first - self.next;
            self.notes.push(format!("rows {} to {} are missing", self.next, first - 1));
        }
    }

    /// Notes a row group whose bytes are not what was written.
    fn note_damaged(&mut self, head: &Head) {
        let group = &head.group;
        self.recovery.damaged_groups += 1;
        self.recovery.missing_rows += group.rows;
        self.recovery.lost_bytes += group.len;
        let (end, last) = (group.start + group.len, head.first_row + group.rows - 1);
        let (start, first) = (group.start, head.first_row);
        self.notes.push(format!("bytes {start} to {end} are damaged: rows {first} to {last} are missing"));
    }

    /// Notes that the recorder did not finish, as the first sentence.
    fn note_end(&mut self, state: State, journal_from: usize, metadata: &Metadata) {
        let sum = |heads: &[Head]| heads.iter().map(|head| head.group.rows).sum::<u64>();
        self.recovery.journal_rows = sum(&self.heads[journal_from..]);
        if state == State::Closed {
            return;
        }
        let (rows, journal) = (sum(&self.heads), self.recovery.journal_rows);
        let mut note =
            format!("the recorder did not finish: {rows} rows recovered, {journal} of them from the journal");
        if let Some(last) = self.heads.iter().map(|head| head.last_ts).max() {
            let seconds = last.saturating_sub(metadata.started) as f64 / 1e9;
            note += &format!(", up to {seconds:.1} s after the recording began");
        }
        self.notes.insert(0, note);
    }
}
