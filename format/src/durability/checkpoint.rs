//! Checkpoints: what stands between row groups and lets a file be read without its footer.
//!
//! `FORMAT.md` gives the bytes one by one.

use crate::encoding::bits;
use crate::encoding::group::LEVEL;
use crate::encoding::layout::{Chunk, Extent};
use crate::schema::FORMAT_MAJOR;

/// What a checkpoint begins with. The first byte is no text and the last two tell a transfer as text.
pub const MAGIC: [u8; 8] = *b"\x89ntcCP\r\n";
/// What it ends with.
const END: [u8; 4] = *b"ntcE";
/// Bytes before the payload.
pub const HEAD: usize = 104;
/// Bytes after it.
pub const TAIL: usize = 8;
/// The largest payload that is written or read, before and after compression.
pub const MAX_PAYLOAD: u32 = 16 << 20;

/// Columns of a row group that are accepted: in memory they take many times what they do in a file.
const MAX_COLUMNS: usize = 4096;

/// What a checkpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a capture, before any row group.
    Start = 0,
    /// After a row group.
    Group = 1,
    /// The last of a closed capture, directly before Parquet's footer.
    Final = 2,
    /// The first of a journal.
    Journal = 3,
}

/// The fixed part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Major version of the format.
    pub version: u32,
    /// What it is for.
    pub kind: Kind,
    /// A random number that a capture and its journal share.
    pub id: u64,
    /// Offset of the checkpoint itself.
    pub position: u64,
    /// Offset of the checkpoint before, 0 where there is none.
    pub previous: u64,
    /// The row group before it.
    pub group: Extent,
    /// Number of that group's first row in the capture.
    pub first_row: u64,
    /// Least time in the group.
    pub first_ts: u64,
    /// Greatest time in the group.
    pub last_ts: u64,
    /// Bytes of the payload as stored.
    pub stored: u32,
    /// Bytes of the payload when decompressed.
    pub plain: u32,
    /// CRC-32 of the payload as stored.
    pub crc: u32,
}

/// The compressed part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Where the columns of the row group lie.
    pub chunks: Vec<Chunk>,
    /// The metadata as JSON; empty where it is still what an earlier checkpoint said.
    pub metadata: Vec<u8>,
}

impl Head {
    /// The head of a checkpoint without a row group.
    pub fn new(kind: Kind, id: u64) -> Self {
        let group = Extent { start: 0, len: 0, rows: 0 };
        let version = FORMAT_MAJOR;
        let (position, previous, first_row, first_ts, last_ts) = (0, 0, 0, 0, 0);
        let (stored, plain, crc) = (0, 0, 0);
        Self {
            version,
            kind,
            id,
            position,
            previous,
            group,
            first_row,
            first_ts,
            last_ts,
            stored,
            plain,
            crc,
        }
    }

    /// Bytes of the whole checkpoint.
    pub fn len(&self) -> u64 {
        (HEAD + TAIL) as u64 + u64::from(self.stored)
    }

    /// Offset of the byte after the checkpoint.
    pub fn end(&self) -> u64 {
        self.position.saturating_add(self.len())
    }

    /// Appends the fixed part.
    fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        put_u32(out, [self.version, self.kind as u32]);
        put_u64(out, [self.id, self.position, self.previous, self.group.start, self.group.len]);
        put_u64(out, [self.first_row, self.group.rows, self.first_ts, self.last_ts]);
        put_u32(out, [self.stored, self.plain, self.crc]);
        let crc = crc32fast::hash(&out[start..]);
        put_u32(out, [crc]);
    }

    /// Reads the fixed part, if its checksum is right.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD)?;
        let mut input = bytes.strip_prefix(&MAGIC)?;
        let input = &mut input;
        let [version, kind] = take_u32(input)?;
        let [id, position, previous, start, len] = take_u64(input)?;
        let [first_row, rows, first_ts, last_ts] = take_u64(input)?;
        let [stored, plain, crc, own] = take_u32(input)?;
        let kinds = [Kind::Start, Kind::Group, Kind::Final, Kind::Journal];
        let kind = *kinds.get(kind as usize)?;
        let group = Extent { start, len, rows };
        let head = Self {
            version,
            kind,
            id,
            position,
            previous,
            group,
            first_row,
            first_ts,
            last_ts,
            stored,
            plain,
            crc,
        };
        is_intact(&bytes[..HEAD - 4], own).then_some(head)
    }
}

impl Payload {
    /// The payload before compression.
    fn plain(&self) -> Vec<u8> {
        let mut columns = Vec::new();
        self.chunks.iter().for_each(|chunk| chunk.put(&mut columns));
        let mut out = Vec::new();
        put_u32(&mut out, [columns.len() as u32]);
        out.extend(columns);
        put_u32(&mut out, [self.metadata.len() as u32]);
        out.extend(&self.metadata);
        out
    }

    /// Reads a payload as it was stored, if its checksum is right.
    pub fn parse(head: &Head, stored: &[u8]) -> Option<Self> {
        let sound = head.stored.max(head.plain) <= MAX_PAYLOAD && is_intact(stored, head.crc);
        if !sound {
            return None;
        }
        let plain = zstd::bulk::decompress(stored, head.plain as usize).ok()?;
        let mut input = plain.as_slice();
        let columns = section(&mut input)?;
        let metadata = section(&mut input)?.to_owned();
        Some(Self { chunks: chunks(columns)?, metadata })
    }
}

/// Takes a section from the front: its length and its bytes.
fn section<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [len] = take_u32(input)?;
    bits::take(input, len as usize)
}

/// The columns of a row group.
fn chunks(mut input: &[u8]) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::new();
    while !input.is_empty() {
        chunks.push(Chunk::take(&mut input).filter(|_| chunks.len() < MAX_COLUMNS)?);
    }
    Some(chunks)
}

/// Appends a checkpoint that begins at `head.position`, and completes its head.
pub fn put(head: &mut Head, payload: &Payload, out: &mut Vec<u8>) -> std::io::Result<()> {
    let plain = payload.plain();
    let stored = zstd::bulk::compress(&plain, LEVEL)?;
    head.stored = stored.len() as u32;
    head.plain = plain.len() as u32;
    head.crc = crc32fast::hash(&stored);
    head.put(out);
    out.extend(stored);
    put_u32(out, [head.len() as u32]);
    out.extend(END);
    Ok(())
}

/// Whether bytes have this CRC-32. A fuzzer would never guess it and get no further, so that it need not.
pub fn is_intact(bytes: &[u8], crc: u32) -> bool {
    cfg!(feature = "fuzzing") || crc32fast::hash(bytes) == crc
}

/// Length of the checkpoint that ends with these bytes.
pub fn length(tail: &[u8]) -> Option<u64> {
    let mut input = tail;
    let [len] = take_u32(&mut input)?;
    (input == END).then_some(len.into())
}

/// Appends little-endian numbers.
fn put_u32<const N: usize>(out: &mut Vec<u8>, numbers: [u32; N]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

/// Appends little-endian numbers.
fn put_u64<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
}

/// Takes little-endian numbers from the front.
fn take_u32<const N: usize>(input: &mut &[u8]) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, rest) = input.split_first_chunk()?;
        *input = rest;
        *number = u32::from_le_bytes(*bytes);
    }
    Some(numbers)
}

/// Takes little-endian numbers from the front.
fn take_u64<const N: usize>(input: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let (bytes, rest) = input.split_first_chunk()?;
        *input = rest;
        *number = u64::from_le_bytes(*bytes);
    }
    Some(numbers)
}
