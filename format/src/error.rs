//! What can go wrong with a capture file, each with what, where and what next.

use std::io;
use std::path::{Path, PathBuf};

/// An error of reading or writing a capture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{}: {action}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// What the operating system answered.
        cause: io::Error,
    },
    /// The file to be written is already there.
    #[error("{} already exists; choose another name, or allow it to be overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// What is to be overwritten is not a regular file.
    #[error("{} is not a regular file; choose another name", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full: what was accepted is still written, nothing more should be accepted.
    #[error("{}: the disk is full; what was recorded so far stays readable", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The file system has too little room to begin.
    #[error(
        "{}: only {free} bytes are free, a capture needs at least {needed}; free some or choose another disk",
        path.display()
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// Parquet's limit of row groups is reached.
    #[error("{}: the limit of {groups} row groups is reached; go on in a new file", path.display())]
    TooManyGroups {
        /// The file.
        path: PathBuf,
        /// Row groups in the file.
        groups: usize,
    },
    /// The input is not a capture at all.
    #[error("{}: not a capture: {what}", path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// The capture was written by a newer build.
    #[error(
        "{}: format {found} is newer than this build reads (up to {newest}); update ntana",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u32,
        /// The newest format that this build reads.
        newest: u32,
    },
    /// The file ends before anything was recorded.
    #[error("{}: cut short at byte {at}, before the first rows: nothing can be recovered", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        at: u64,
    },
    /// Bytes are not what was written, or ask for more than a capture can hold.
    #[error("{}: damaged at bytes {start} to {end}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// First byte of the damage.
        start: u64,
        /// Byte after it.
        end: u64,
        /// What is wrong, which rows it concerns, and what is still readable.
        what: String,
    },
    /// A row group or column was asked for that the capture does not have.
    #[error("there is no {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// Rows that do not fit the schema.
    #[error("rows do not fit the schema: {what}")]
    Schema {
        /// Where they differ.
        what: String,
    },
    /// A file that another program wrote anew cannot be a capture.
    #[error("{}: cannot be read as a capture: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, with the column.
        what: String,
    },
}

impl Error {
    /// An error of the operating system.
    pub(crate) fn io(path: &Path, action: &'static str, cause: io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, cause }
    }

    /// A file of another program that cannot be a capture.
    pub(crate) fn unusable(path: &Path, what: String) -> Self {
        Self::Unusable { path: path.to_owned(), what }
    }

    /// Whether the capture has to end here because there is no room for more. Everything that was
    /// accepted is kept, and [`crate::Writer::finish`] still closes the file.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::TooManyGroups { .. })
    }
}
