//! Writes captures: row groups and checkpoints as they fill, a journal for what waits, a footer at the end.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use crate::durability::checkpoint::Kind;
use crate::durability::disk;
use crate::durability::journal::Journal;
use crate::durability::log::{Encoded, Log};
use crate::encoding::group::{self, Group, MAX_ROWS};
use crate::error::Error;
use crate::metadata::Metadata;
use crate::schema::{FORMAT_MAJOR, FORMAT_MINOR};
use crate::writing::kinds::Kinds;

/// The least room to begin with, unless less is asked for.
const LEAST_RESERVE: u64 = 2 << 20;
/// Text and raw bytes in a row group before compression: more ends it early.
const MAX_WEIGHT: u64 = 32 << 20;
/// A journal larger than this ends the row group.
const MAX_JOURNAL: u64 = 16 << 20;
/// Row groups that a Parquet file may have.
const MAX_GROUPS: usize = 32_767;
/// Row groups kept for what was accepted before the limit was told.
const SPARE_GROUPS: usize = 64;
/// The most rows that are encoded before it is asked again what is due.
const SLICE: usize = 16_384;
/// With [`Options::durable`], how old a row may be that was written and not synchronised. With the time between two
/// ticks that stays within a second.
const SYNC_AGE: Duration = Duration::from_millis(600);

/// How a capture is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether what is older than a second survives a power cut.
    pub durable: bool,
    /// Bytes kept preallocated, so that a full disk loses nothing that was accepted.
    pub reserve: u64,
    /// Rows of a row group; towards the limit of row groups twice as many.
    pub group_rows: usize,
    /// A row group older than this is ended.
    pub group_age: Duration,
    /// Rows that wait longer than this for their row group's end are written to the journal.
    pub journal_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durable: false,
            reserve: 16 << 20,
            group_rows: 131_072,
            group_age: Duration::from_secs(600),
            journal_age: Duration::from_millis(400),
        }
    }
}

/// What a finished file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// A capture that is being written.
///
/// Dropping it without [`Writer::finish`] leaves what a crash would: an unfinished file and its journal.
#[derive(Debug)]
pub struct Writer {
    /// What the capture says about itself.
    metadata: Metadata,
    /// How it is written.
    options: Options,
    /// The file.
    main: Log,
    /// The row group that is being filled.
    group: Group,
    /// Rows by kind.
    kinds: Kinds,
    /// When its first row came.
    begun: Option<Instant>,
    /// Whether the row group before it filled so fast that this one's rows are not kept for the journal, which
    /// costs a fifth of the time that a row takes. If they get as old all the same, the row group ends early.
    fast: bool,
    /// A row group that could not be written yet.
    unwritten: Option<Encoded>,
    /// Rows in written row groups.
    written: u64,
    /// The rows that wait, in a file of their own.
    journal: Journal,
    /// How old the oldest row is that was written and not synchronised.
    unsynced: Option<Instant>,
    /// Whether the caller was told that nothing more fits.
    full: bool,
}

/// A name for the new file while the old one is there.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

impl Writer {
    /// Creates the file, readable by its owner only; its journal will be `<path>.journal`.
    ///
    /// What is there already is an error unless it may be overwritten. If anything fails, nothing new stays, and
    /// what was there is as it was: the new file takes the old one's name when it has begun.
    pub fn create(path: &Path, metadata: Metadata, options: Options, overwrite: bool) -> Result<Self, Error> {
        Journal::check(path, overwrite)?;
        let existed = fs::symlink_metadata(path).ok();
        let place = match &existed {
            Some(old) if overwrite && !old.is_file() => {
                return Err(Error::NotAFile { path: path.to_owned() });
            }
            Some(_) if overwrite => beside(path),
            _ => path.to_owned(),
        };
        let file = disk::create(&place)?;
        let begun = Self::begin(file, path, metadata, options).and_then(|writer| {
            if place != path {
                fs::rename(&place, path).map_err(|e| Error::io(path, "replacing the old file", e))?;
            }
            Journal::make_way(path).map(|()| writer)
        });
        if begun.is_err() {
            // The first error is the one to tell.
            let _ = fs::remove_file(&place);
        }
        begun
    }

    /// Begins with an empty file.
    fn begin(file: File, path: &Path, metadata: Metadata, mut options: Options) -> Result<Self, Error> {
        let metadata = Metadata { format: FORMAT_MAJOR, minor: FORMAT_MINOR, ..metadata };
        let id = RandomState::new().hash_one(path);
        let main = Log::begin(file, path, Kind::Start, id, &metadata)?;
        options.reserve = first_reserve(&main, options.reserve)?;
        if options.durable {
            disk::sync_folder(path).map_err(|e| main.failed("making its name durable", e))?;
        }
        let group = Group::new(true).map_err(|e| main.failed("preparing to compress", e))?;
        Ok(Self {
            journal: Journal::new(path, id),
            metadata,
            options,
            main,
            group,
            kinds: Kinds::default(),
            begun: None,
            fast: false,
            unwritten: None,
            written: 0,
            unsynced: None,
            full: false,
        })
    }

    /// What the capture says about itself, to be kept up to date: it is written again with the rows.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// Bytes written so far, without the journal.
    pub fn bytes(&self) -> u64 {
        self.main.end()
    }

    /// Rows accepted so far.
    pub fn rows(&self) -> u64 {
        self.journal.accepted()
    }

    /// Accepts rows, which come in the order of time, and does what is due as [`Writer::tick`] does.
    ///
    /// An error for which [`Error::is_full`] holds comes once, and the rows were accepted nevertheless: what is on
    /// its way may still be written and then [`Writer::finish`] called, but nothing new should be begun.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        group::check(batch)?;
        let (mut start, mut outcome) = (0, Ok(()));
        while start < batch.num_rows() {
            let len = self.room().min(batch.num_rows() - start).min(SLICE);
            if len == 0 {
                return Err(Error::DiskFull { path: self.main.path().to_owned() });
            }
            self.append(batch.slice(start, len));
            start += len;
            outcome = outcome.and(self.tick());
        }
        outcome
    }

    /// Rows that the row group still takes: where it cannot be ended, up to what can be read.
    fn room(&self) -> usize {
        let stuck = self.unwritten.is_some() || self.is_last_group();
        let limit = if stuck { MAX_ROWS } else { self.group_rows() };
        limit.saturating_sub(self.group.span().rows as usize)
    }

    /// Whether no other row group can follow this one.
    fn is_last_group(&self) -> bool {
        self.main.groups() + 1 >= MAX_GROUPS
    }

    /// Rows of a row group.
    fn group_rows(&self) -> usize {
        // The second half of the row groups that a file can have holds two thirds of its rows.
        let times = if self.main.groups() < MAX_GROUPS / 2 { 1 } else { 2 };
        self.options.group_rows.saturating_mul(times).clamp(1, MAX_ROWS)
    }

    /// Appends rows to the row group.
    fn append(&mut self, batch: RecordBatch) {
        self.group.append(&batch);
        self.kinds.add(&batch);
        self.begun.get_or_insert_with(Instant::now);
        self.journal.accept(batch, !self.full && !self.fast);
        self.metadata.totals.rows = self.rows();
    }

    /// Does what is due; to be called at least every 200 ms.
    ///
    /// A row group that is large or old enough ends, other rows that waited long enough go to the journal, and
    /// everything is made durable if that was asked for. Errors are those of [`Writer::write`].
    pub fn tick(&mut self) -> Result<(), Error> {
        let ended = if self.is_due() { self.end_group() } else { Ok(()) };
        self.once(ended)?;
        if self.journal.is_due(self.options.journal_age) && !self.full {
            self.unsynced = self.unsynced.or(self.journal.since());
            let written = self.journal.put(&self.metadata);
            self.once(written)?;
        }
        if self.options.durable && self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_AGE) {
            self.main.sync()?;
            self.journal.sync()?;
            self.unsynced = None;
        }
        Ok(())
    }

    /// Passes on that nothing more fits the first time only: from then on it is known.
    fn once(&mut self, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Err(error) if error.is_full() => {
                if mem::replace(&mut self.full, true) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other,
        }
    }

    /// Whether the row group has to end.
    fn is_due(&self) -> bool {
        let (rows, weight) = (self.group.span().rows, self.group.weight() as u64);
        // What is kept reserved has to hold this row group and, on a full disk, what still comes.
        let heavy = weight > MAX_WEIGHT || self.options.reserve > 0 && weight > self.options.reserve / 2;
        let old = self.age() >= if self.fast { self.options.journal_age } else { self.options.group_age };
        let large = rows as usize >= self.group_rows();
        rows > 0 && !self.is_last_group() && (large || heavy || old || self.journal.len() > MAX_JOURNAL)
    }

    /// How long ago the row group began.
    fn age(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    /// Ends the row group and writes it. Where that fails it is kept and tried again the next time.
    fn end_group(&mut self) -> Result<(), Error> {
        self.write_unwritten()?;
        let (span, first_row) = (self.group.span(), self.written);
        if span.rows == 0 {
            return Ok(());
        }
        let level = if self.fast { group::LEVEL } else { group::CALM_LEVEL };
        let (bytes, chunks) = self.group.finish(level).map_err(|e| self.main.failed("compressing", e))?;
        self.fast = span.rows as usize >= self.group_rows() && self.age() < self.options.journal_age / 2;
        self.unsynced = self.unsynced.or(self.begun.take());
        self.unwritten = Some(Encoded { bytes, chunks, span, first_row });
        self.write_unwritten()?;
        self.renew()
    }

    /// Writes an encoded row group, after which the journal's rows are no longer needed.
    fn write_unwritten(&mut self) -> Result<(), Error> {
        let Some(encoded) = &mut self.unwritten else { return Ok(()) };
        self.main.put(encoded, &self.metadata)?;
        self.written += encoded.span.rows;
        self.unwritten = None;
        if self.options.durable && self.journal.len() > 0 {
            self.main.sync()?;
        }
        self.journal.forget(self.written, &self.metadata)
    }

    /// Reserves room for what follows, unless nothing is to follow.
    fn renew(&self) -> Result<(), Error> {
        let path = || self.main.path().to_owned();
        if self.full {
            return Ok(());
        }
        if self.main.groups() + SPARE_GROUPS >= MAX_GROUPS {
            return Err(Error::TooManyGroups { path: path(), groups: MAX_GROUPS });
        }
        let needed = self.options.reserve + self.main.closing(&self.metadata);
        if self.options.reserve == 0 || self.main.reserve(needed)? {
            return Ok(());
        }
        Err(Error::DiskFull { path: path() })
    }

    /// Writes what waits, closes the file and removes the journal.
    ///
    /// If that fails, what was written stays readable as it would after a crash.
    pub fn finish(mut self) -> Result<Finished, Error> {
        // No room is needed any more but what is reserved.
        self.full = true;
        self.end_group()?;
        self.metadata.totals.kinds = self.kinds.totals();
        let bytes = self.main.close(&self.metadata, self.written)?;
        self.journal.remove()?;
        Ok(Finished { rows: self.written, bytes })
    }
}

/// Reserves room for the first time: as much as was asked for, or what a small disk has.
fn first_reserve(log: &Log, asked: u64) -> Result<u64, Error> {
    let mut reserve = asked;
    while !log.reserve(reserve)? {
        if reserve <= LEAST_RESERVE {
            return Err(Error::NoRoom { path: log.path().to_owned(), free: log.free(), needed: reserve });
        }
        reserve = (reserve / 2).max(LEAST_RESERVE);
    }
    Ok(reserve)
}
