//! Finds the checkpoints of a capture, whether it was closed, cut off or damaged.

use std::io;

use crate::durability::checkpoint::{self, HEAD, Head, Kind, MAGIC, Payload, TAIL};
use crate::durability::log::PARQUET;
use crate::encoding::group::MAX_ROWS;
use crate::reading::source::Source;

/// Bytes that are searched first: mostly the next checkpoint is near.
const FIRST_WINDOW: u64 = 1 << 16;
/// Bytes that are searched at once, at most.
const WINDOW: u64 = 1 << 20;
/// Bytes of a row group, at most.
const MAX_GROUP: u64 = 256 << 20;
/// Row groups that are accepted.
const MAX_GROUPS: usize = 32_767;
/// Heads with a right checksum and a wrong payload that are looked at: random damage leaves few of them, so many
/// mean that someone wants to keep us busy.
const MAX_FAKES: u32 = 100;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The heads of all checkpoints, by position.
    pub heads: Vec<Head>,
    /// Whether the last one is that of a closed file, directly before the footer.
    pub closed: bool,
    /// Ranges of bytes that belong to no row group that could be found.
    pub gaps: Vec<(u64, u64)>,
}

/// Reads the payload of a checkpoint, if its checksum is right.
pub fn payload(source: &Source, head: &Head) -> io::Result<Option<Payload>> {
    if head.stored > checkpoint::MAX_PAYLOAD {
        return Ok(None);
    }
    let stored = source.read(head.position + HEAD as u64, head.stored.into());
    match stored {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(stored) => Ok(Payload::parse(head, &stored)),
    }
}

/// Whether all pages of a row group are as they were written.
pub fn is_whole(source: &Source, head: &Head) -> io::Result<bool> {
    let Some(payload) = payload(source, head)? else { return Ok(false) };
    let bytes = source.read(head.group.start, head.group.len)?;
    let pages = payload.chunks.iter().flat_map(|chunk| chunk.dictionary.iter().chain([&chunk.data]));
    let mut bodies = pages.map(|page| (page.crc, bytes.get(page.range())));
    Ok(bodies.all(|(crc, body)| body.is_some_and(|body| checkpoint::is_intact(body, crc))))
}

/// The checkpoint at an offset, if one is there.
pub fn head_at(source: &Source, position: u64) -> io::Result<Option<Head>> {
    if position.saturating_add(HEAD as u64) > source.len() {
        return Ok(None);
    }
    let head = Head::parse(&source.read(position, HEAD as u64)?);
    Ok(head.filter(|head| head.position == position && is_sane(head) && head.end() <= source.len()))
}

/// Whether what a checkpoint says about its row group is possible.
fn is_sane(head: &Head) -> bool {
    let group = &head.group;
    head.previous < head.position
        && group.rows <= MAX_ROWS as u64
        && group.len <= MAX_GROUP
        && head.first_row.checked_add(group.rows).is_some()
        && match head.kind {
            Kind::Group => group.rows > 0 && group.start.checked_add(group.len) == Some(head.position),
            _ => group.rows == 0,
        }
}

/// Finds all checkpoints.
pub fn find(source: &Source) -> io::Result<Found> {
    let mut search = Search { source, id: None, fakes: 0, found: Found::default() };
    search.id = first_head(source)?.map(|head| head.id);
    let last = search.last_of_closed()?;
    search.found.closed = last.is_some();
    search.backwards(last)?;
    search.found.heads.reverse();
    search.found.gaps.reverse();
    Ok(search.found)
}

/// The head of the checkpoint that a file begins with.
pub fn first_head(source: &Source) -> io::Result<Option<Head>> {
    head_at(source, PARQUET.len() as u64)
}

/// A search from the end of the file to its beginning.
struct Search<'a> {
    /// The bytes.
    source: &'a Source,
    /// The capture's random number, once it is known: bytes in packets cannot pretend to be a checkpoint then.
    id: Option<u64>,
    /// Heads without a payload so far.
    fakes: u32,
    /// What was found, last first.
    found: Found,
}

impl Search<'_> {
    /// The last checkpoint of a closed file.
    fn last_of_closed(&mut self) -> io::Result<Option<Head>> {
        let len = self.source.len();
        let Some(tail) = len.checked_sub(8) else { return Ok(None) };
        let tail_bytes = self.source.read(tail, 8)?;
        let (footer, magic) = tail_bytes.split_at(4);
        let footer = footer.try_into().map_or(0, u32::from_le_bytes);
        let Some(end) = tail.checked_sub(u64::from(footer) + TAIL as u64).filter(|_| *magic == PARQUET)
        else {
            return Ok(None);
        };
        let bytes = self.source.read(end, TAIL as u64)?;
        let start = checkpoint::length(&bytes).and_then(|length| (end + TAIL as u64).checked_sub(length));
        let Some(start) = start else { return Ok(None) };
        Ok(self.check(start)?.filter(|head| head.kind == Kind::Final))
    }

    /// The checkpoint at an offset, if it is one of this capture and whole.
    fn check(&mut self, position: u64) -> io::Result<Option<Head>> {
        let Some(head) = head_at(self.source, position)? else { return Ok(None) };
        if self.id.is_some_and(|id| id != head.id) || self.fakes >= MAX_FAKES {
            return Ok(None);
        }
        if payload(self.source, &head)?.is_none() {
            self.fakes += 1;
            return Ok(None);
        }
        self.id = Some(head.id);
        Ok(Some(head))
    }

    /// Follows the checkpoints from the last one, or from the end, to the first; searches where the chain is broken.
    fn backwards(&mut self, last: Option<Head>) -> io::Result<()> {
        let mut end = self.source.len();
        let mut next = last;
        while self.found.heads.len() < MAX_GROUPS + 2 {
            let head = match next {
                Some(head) => head,
                None => match self.search(end)? {
                    Some(head) => head,
                    None => break,
                },
            };
            end = self.add(head, end);
            let previous = self.found.heads.last().map_or(0, |head| head.previous);
            if previous == 0 {
                break;
            }
            next = self.linked(previous, end)?;
        }
        self.note_gap(0, end);
        Ok(())
    }

    /// The checkpoint before, if it is where it should be.
    fn linked(&self, previous: u64, end: u64) -> io::Result<Option<Head>> {
        // The payload is checked when it is read: all of them would be too much for just opening a large file.
        let head = head_at(self.source, previous)?;
        Ok(head.filter(|head| head.end() <= end && self.id == Some(head.id)))
    }

    /// Adds a checkpoint, and returns where its row group begins.
    fn add(&mut self, head: Head, end: u64) -> u64 {
        self.note_gap(head.end(), end);
        let start = if head.kind == Kind::Group { head.group.start } else { head.position };
        self.found.heads.push(head);
        start
    }

    /// Notes bytes that belong to nothing. Parquet's first and last bytes do.
    fn note_gap(&mut self, start: u64, end: u64) {
        let footer = self.found.closed && self.found.heads.is_empty();
        if !footer && end > start + PARQUET.len() as u64 {
            self.found.gaps.push((start, end));
        }
    }

    /// The last checkpoint that ends at `end` or before.
    fn search(&mut self, limit: u64) -> io::Result<Option<Head>> {
        let (mut end, mut size) = (limit, FIRST_WINDOW);
        while end >= (HEAD + TAIL) as u64 {
            let start = end.saturating_sub(size);
            let window = self.source.read(start, end - start)?;
            for at in memchr::memmem::rfind_iter(&window, &MAGIC) {
                let head = self.check(start + at as u64)?.filter(|head| head.end() <= limit);
                if head.is_some() {
                    return Ok(head);
                }
            }
            if start == 0 {
                break;
            }
            // The next window overlaps by what a magic number across the border needs.
            end = start + MAGIC.len() as u64 - 1;
            size = WINDOW;
        }
        Ok(None)
    }
}
