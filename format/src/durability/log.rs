//! A file of row groups and checkpoints: a capture before it is closed, or its journal.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::durability::checkpoint::{self, Head, Kind, Payload};
use crate::durability::disk;
use crate::encoding::group::Span;
use crate::encoding::layout::{self, Chunk, Extent};
use crate::error::Error;
use crate::json;
use crate::metadata::{METADATA_KEY, Metadata};

/// What a Parquet file begins and ends with.
pub const PARQUET: [u8; 4] = *b"PAR1";

/// The footer is written in parts of about this many bytes.
const FOOTER_PART: usize = 1 << 18;

/// A row group that was encoded and not yet written.
#[derive(Debug)]
pub struct Encoded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where its columns lie in them.
    pub chunks: Vec<Chunk>,
    /// Its rows.
    pub span: Span,
    /// Number of its first row in the capture.
    pub first_row: u64,
}

/// A file that grows by row groups and checkpoints.
#[derive(Debug)]
pub struct Log {
    /// The file.
    file: File,
    /// Its path, for messages.
    path: PathBuf,
    /// What its first checkpoint is.
    kind: Kind,
    /// The capture's random number.
    id: u64,
    /// Where it ends.
    end: u64,
    /// Where its checkpoints are.
    checkpoints: Vec<u64>,
    /// When a checkpoint last held the metadata.
    described: Instant,
    /// Bytes that the row groups will take in the footer.
    footer: u64,
    /// Whether something was written since the last [`Log::sync`].
    dirty: bool,
}

impl Log {
    /// Begins a file with a checkpoint of the given kind, so that the metadata survives whatever follows.
    pub fn begin(file: File, path: &Path, kind: Kind, id: u64, metadata: &Metadata) -> Result<Self, Error> {
        let (path, described) = (path.to_owned(), Instant::now());
        let mut log =
            Self { file, path, kind, id, end: 0, checkpoints: vec![], described, footer: 0, dirty: true };
        log.restart(metadata)?;
        Ok(log)
    }

    /// Empties the file and begins it anew.
    pub fn restart(&mut self, metadata: &Metadata) -> Result<(), Error> {
        self.file.set_len(0).map_err(|e| self.failed("emptying it", e))?;
        self.checkpoints.clear();
        self.end = 0;
        self.append(&mut PARQUET.to_vec(), Head::new(self.kind, self.id), &described(metadata))
    }

    /// Writes a row group and the checkpoint after it. On failure the file is as before.
    pub fn put(&mut self, encoded: &mut Encoded, metadata: &Metadata) -> Result<(), Error> {
        let mut head = Head::new(Kind::Group, self.id);
        head.group.start = self.end;
        head.group.len = encoded.bytes.len() as u64;
        head.group.rows = encoded.span.rows;
        head.first_row = encoded.first_row;
        (head.first_ts, head.last_ts) = (encoded.span.first_ts, encoded.span.last_ts);
        let stale = self.described.elapsed() >= self.patience();
        let payload = if stale { described(metadata) } else { Payload::default() };
        self.append(&mut encoded.bytes, head, &Payload { chunks: encoded.chunks.clone(), ..payload })?;
        if stale {
            self.described = Instant::now();
        }
        let mut entry = Vec::new();
        layout::row_group(&Extent { start: self.end, len: 0, rows: 0 }, &encoded.chunks, &mut entry);
        self.footer += entry.len() as u64;
        Ok(())
    }

    /// How long the metadata is fresh enough. It changes little while its JSON takes more room than a journal's rows.
    fn patience(&self) -> Duration {
        Duration::from_secs(if self.kind == Kind::Journal { 5 } else { 1 })
    }

    /// Writes bytes and a checkpoint after them, or neither.
    fn append(&mut self, bytes: &mut Vec<u8>, mut head: Head, payload: &Payload) -> Result<(), Error> {
        let len = bytes.len();
        head.position = self.end + len as u64;
        head.previous = self.checkpoints.last().copied().unwrap_or(0);
        let written = checkpoint::put(&mut head, payload, bytes).and_then(|()| self.write(bytes));
        bytes.truncate(len);
        if let Err(error) = written {
            // Half a row group would hide the next one from readers that look for the end.
            let _ = self.file.set_len(self.end);
            return Err(self.failed("writing", error));
        }
        self.end = head.end();
        self.checkpoints.push(head.position);
        Ok(())
    }

    /// Writes at the end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dirty = true;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(bytes)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the file ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Row groups in the file.
    pub fn groups(&self) -> usize {
        self.checkpoints.len().saturating_sub(1)
    }

    /// Makes what was written survive a power cut.
    pub fn sync(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.file.sync_data().map_err(|e| self.failed("making it durable", e))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Bytes that closing will take: the footer, and the metadata twice.
    pub fn closing(&self, metadata: &Metadata) -> u64 {
        self.footer + 2 * json::write(metadata).len() as u64 + FOOTER_PART as u64
    }

    /// Reserves room beyond the end, and says whether there is any.
    pub fn reserve(&self, len: u64) -> Result<bool, Error> {
        disk::reserve(&self.file, self.end, len).map_err(|e| self.failed("reserving room", e))
    }

    /// Bytes that are free on the disk, zero where it does not tell.
    pub fn free(&self) -> u64 {
        disk::free(&self.file).unwrap_or(0)
    }

    /// Closes a capture: last checkpoint, Parquet's footer. Returns its length.
    pub fn close(mut self, metadata: &Metadata, rows: u64) -> Result<u64, Error> {
        let groups = self.checkpoints.get(1..).unwrap_or_default().to_vec();
        let payload = described(metadata);
        self.append(&mut Vec::new(), Head::new(Kind::Final, self.id), &payload)?;
        let written = self.write_footer(&groups, &payload.metadata, rows);
        written
            .and_then(|()| disk::release(&self.file, self.end))
            .map_err(|e| self.failed("closing it", e))?;
        self.file.sync_all().map_err(|e| self.failed("making it durable", e))?;
        Ok(self.end)
    }

    /// Writes the footer, row group by row group from their checkpoints: together they may not fit into memory.
    fn write_footer(&mut self, groups: &[u64], metadata: &[u8], rows: u64) -> io::Result<()> {
        let start = self.end;
        let mut part = Vec::new();
        layout::footer_begin(rows, groups.len(), &mut part);
        for position in groups {
            let (head, payload) = self.read(*position)?;
            layout::row_group(&head.group, &payload.chunks, &mut part);
            if part.len() > FOOTER_PART {
                self.flush(&mut part)?;
            }
        }
        layout::footer_end(METADATA_KEY, metadata, &mut part);
        let len = self.end + part.len() as u64 - start;
        part.extend((len as u32).to_le_bytes());
        part.extend(PARQUET);
        self.flush(&mut part)
    }

    /// Writes a part of the footer.
    fn flush(&mut self, part: &mut Vec<u8>) -> io::Result<()> {
        self.write(part)?;
        self.end += part.len() as u64;
        part.clear();
        Ok(())
    }

    /// Reads a checkpoint back.
    fn read(&mut self, position: u64) -> io::Result<(Head, Payload)> {
        let mut bytes = vec![0; checkpoint::HEAD];
        self.file.seek(SeekFrom::Start(position))?;
        self.file.read_exact(&mut bytes)?;
        let head = Head::parse(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        bytes.resize(head.stored as usize, 0);
        self.file.read_exact(&mut bytes)?;
        let payload = Payload::parse(&head, &bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok((head, payload))
    }

    /// An error of the operating system as ours: a full disk is one that callers wait for.
    pub fn failed(&self, action: &'static str, source: io::Error) -> Error {
        if disk::is_full(&source) {
            return Error::DiskFull { path: self.path.clone() };
        }
        Error::io(&self.path, action, source)
    }
}

/// A payload that holds the metadata.
fn described(metadata: &Metadata) -> Payload {
    Payload { metadata: json::write(metadata), ..Payload::default() }
}
