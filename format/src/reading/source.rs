//! The bytes of a capture: a file, or memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// Where the bytes are.
#[derive(Debug)]
enum Bytes {
    /// In a file. Reading moves its position, hence the lock; it is held while bytes are copied only.
    File(Mutex<File>),
    /// In memory.
    Memory(Vec<u8>),
}

/// Bytes that can be read anywhere.
#[derive(Debug)]
pub struct Source {
    /// Where they are.
    bytes: Bytes,
    /// How many.
    len: u64,
}

impl Source {
    /// Opens a file. Its length is taken once: a recorder that is still writing makes it no moving target.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |e| Error::io(path, "opening it", e);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let not = |what: &str| Err(Error::NotACapture { path: path.to_owned(), what: what.to_owned() });
        if metadata.is_dir() {
            return not("it is a directory; name a file in it");
        }
        if !metadata.is_file() {
            return not("it is a device or a pipe; store it as a file first");
        }
        Ok(Self { bytes: Bytes::File(Mutex::new(file)), len: metadata.len() })
    }

    /// Bytes in memory.
    pub fn memory(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { bytes: Bytes::Memory(bytes), len }
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reads `len` bytes from `start`. Nothing is allocated for bytes that are not there.
    pub fn read(&self, start: u64, len: u64) -> io::Result<Vec<u8>> {
        let end = start.checked_add(len).filter(|end| *end <= self.len);
        let Some(end) = end else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        match &self.bytes {
            Bytes::Memory(bytes) => Ok(bytes[start as usize..end as usize].to_vec()),
            Bytes::File(file) => read(&mut file.lock().unwrap_or_else(PoisonError::into_inner), start, len),
        }
    }
}

/// Reads `len` bytes of a file from `start`.
fn read(file: &mut File, start: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
