//! Says what a file is that is no capture.

use std::path::Path;

use crate::durability::log::PARQUET;
use crate::error::Error;

/// What files of other kinds begin with.
const KINDS: &[(&[u8], &str)] = &[
    (
        b"\xd4\xc3\xb2\xa1",
        "it is a pcap file; ntrec records what the kernel did with packets, tcpdump does not",
    ),
    (
        b"\x4d\x3c\xb2\xa1",
        "it is a pcap file; ntrec records what the kernel did with packets, tcpdump does not",
    ),
    (
        b"\x0a\x0d\x0d\x0a",
        "it is a pcapng file; ntrec records what the kernel did with packets, tcpdump does not",
    ),
    (b"PERFILE2", "it is a file of perf record"),
    (b"\x28\xb5\x2f\xfd", "it is compressed; unpack it first (zstd -d)"),
    (b"\x1f\x8b", "it is compressed; unpack it first (gunzip)"),
    (b"\xfd7zXZ\0", "it is compressed; unpack it first (unxz)"),
    (b"PK\x03\x04", "it is a zip archive; unpack it first"),
    (b"\x7fELF", "it is a program"),
    (b"SQLite format 3", "it is a SQLite database"),
];

/// The error for a file of `len` bytes that begins so.
pub fn error(path: &Path, len: u64, start: &[u8]) -> Error {
    let path = path.to_owned();
    // A capture begins with both its magic and a checkpoint, in one write: less than that is a cut.
    let ends = start.ends_with(&PARQUET) && len > 12;
    if start.starts_with(&PARQUET) && len < 512 && !ends {
        return Error::Truncated { path, at: len };
    }
    Error::NotACapture { path, what: describe(len, start) }
}

/// The error for a journal that was opened by itself.
pub fn journal(path: &Path) -> Error {
    let what = "it is the journal of a capture; open the file beside it, without .journal".to_owned();
    Error::NotACapture { path: path.to_owned(), what }
}

/// What a file is instead.
fn describe(len: u64, start: &[u8]) -> String {
    if len == 0 {
        return "it is empty".to_owned();
    }
    if start.starts_with(&PARQUET) {
        return "it begins like a Parquet file and is damaged all over; use the original".to_owned();
    }
    if let Some((_, what)) = KINDS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return (*what).to_owned();
    }
    if is_text(start) {
        return "it is text".to_owned();
    }
    format!("it begins with the bytes {:02x?}", &start[..start.len().min(4)])
}

/// Whether bytes are text, of which the last character may be cut.
fn is_text(bytes: &[u8]) -> bool {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || c.is_whitespace())
}
