//! The journal: rows that wait for the end of their row group, in a file beside the capture.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;

use crate::durability::checkpoint::Kind;
use crate::durability::disk;
use crate::durability::log::{Encoded, Log};
use crate::encoding::group::{Group, LEVEL};
use crate::error::Error;
use crate::metadata::Metadata;

/// A journal. Its file is made when it is first needed, which on a busy host is never.
#[derive(Debug)]
pub struct Journal {
    /// Where its file is, or will be.
    path: PathBuf,
    /// The capture's random number.
    id: u64,
    /// The file and its encoder.
    file: Option<(Log, Group)>,
    /// Rows that are in no file yet, with the number of each batch's first row.
    waiting: Vec<(u64, RecordBatch)>,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// Rows that were accepted.
    accepted: u64,
}

impl Journal {
    /// The name of a capture's journal.
    pub fn path_of(capture: &Path) -> PathBuf {
        let mut name = OsString::from(capture);
        name.push(".journal");
        name.into()
    }

    /// Fails where an older journal stands that may not be overwritten.
    pub fn check(capture: &Path, overwrite: bool) -> Result<(), Error> {
        let path = Self::path_of(capture);
        if overwrite || fs::symlink_metadata(&path).is_err() { Ok(()) } else { Err(Error::Exists { path }) }
    }

    /// Removes an older journal.
    pub fn make_way(capture: &Path) -> Result<(), Error> {
        remove(&Self::path_of(capture))
    }

    /// An empty journal without a file.
    pub fn new(capture: &Path, id: u64) -> Self {
        let path = Self::path_of(capture);
        Self { path, id, file: None, waiting: Vec::new(), since: None, accepted: 0 }
    }

    /// Rows that were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Bytes in row groups of the file.
    pub fn len(&self) -> u64 {
        self.file.as_ref().filter(|(log, _)| log.groups() > 0).map_or(0, |(log, _)| log.end())
    }

    /// Counts rows, and keeps them if they may have to be written.
    pub fn accept(&mut self, batch: RecordBatch, keep: bool) {
        let first = self.accepted;
        self.accepted += batch.num_rows() as u64;
        if keep {
            self.since.get_or_insert_with(Instant::now);
            self.waiting.push((first, batch));
        }
    }

    /// Since when rows wait.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether rows wait that long.
    pub fn is_due(&self, age: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= age)
    }

    /// Writes the rows that wait. If that fails they go on waiting.
    pub fn put(&mut self, metadata: &Metadata) -> Result<(), Error> {
        let Some((first_row, _)) = self.waiting.first() else { return Ok(()) };
        let (first_row, path) = (*first_row, &self.path);
        let (log, group) = match &mut self.file {
            Some(file) => file,
            none => none.insert(create(path, self.id, metadata)?),
        };
        self.waiting.iter().for_each(|(_, batch)| group.append(batch));
        let span = group.span();
        let (bytes, chunks) = group.finish(LEVEL).map_err(|e| log.failed("compressing", e))?;
        log.put(&mut Encoded { bytes, chunks, span, first_row }, metadata)?;
        self.waiting.clear();
        self.since = None;
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.as_mut().map_or(Ok(()), |(log, _)| log.sync())
    }

    /// Forgets the rows before number `written`: the capture itself has them now.
    pub fn forget(&mut self, written: u64, metadata: &Metadata) -> Result<(), Error> {
        self.waiting.retain(|(first, _)| *first >= written);
        self.since = self.since.filter(|_| !self.waiting.is_empty());
        match &mut self.file {
            Some((log, _)) if log.groups() > 0 => log.restart(metadata),
            _ => Ok(()),
        }
    }

    /// Removes the file.
    pub fn remove(self) -> Result<(), Error> {
        if self.file.is_some() { remove(&self.path) } else { Ok(()) }
    }
}

/// Creates the file and its encoder. If that fails, nothing stays.
fn create(path: &Path, id: u64, metadata: &Metadata) -> Result<(Log, Group), Error> {
    let file = disk::create(path)?;
    let begin = || {
        let log = Log::begin(file, path, Kind::Journal, id, metadata)?;
        let group = Group::new(false).map_err(|e| log.failed("preparing to compress", e))?;
        Ok((log, group))
    };
    begin().inspect_err(|_| {
        // The first error is the one to tell.
        let _ = remove(path);
    })
}

/// Removes a file if there is one.
fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "removing it", error)),
        _ => Ok(()),
    }
}
