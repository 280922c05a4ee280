//! Tests with forged captures: every checksum is right, what they protect is not.

use std::time::Duration;

use crate::durability::checkpoint::{self, HEAD, Head, Kind, Payload};
use crate::durability::scan;
use crate::reading::source::Source;
use crate::{Capture, ColumnId, Metadata, Options, Rows, Writer};

/// How often each test forges anew; 20,000 rounds found nothing more.
const ROUNDS: usize = 200;

/// Random numbers (xorshift), many of them extreme.
struct Random(u64);

impl Random {
    /// The next one.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number to put in place of another.
    fn instead_of(&mut self, number: u64) -> u64 {
        match self.next() % 6 {
            0 => 0,
            1 => number.wrapping_add(1),
            2 => number.wrapping_sub(1),
            3 => u64::MAX >> (self.next() % 64),
            4 => 1 << (self.next() % 64),
            _ => self.next() % 5000,
        }
    }
}

/// A small capture: two row groups.
fn capture() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ntc");
    let options =
        Options { reserve: 0, group_rows: 50, journal_age: Duration::from_secs(9), ..Options::default() };
    let mut writer = Writer::create(&path, Metadata::default(), options, false).unwrap();
    let mut rows = Rows::new();
    for at in 0..100 {
        let row = rows.next();
        rows.ts.put(row, at * 1000);
        rows.cpu.put(row, 1);
        rows.kind.put_str(row, "pkt");
        rows.probe.put_str(row, &format!("probe {}", at % 7));
        rows.skb.put(row, at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rows.ip_id.put(row, (at % 50) as u32);
        if at % 3 == 0 {
            rows.header.put(row, &at.to_le_bytes());
            rows.more_frags.put(row, at % 2 == 0);
            rows.sport.put(row, at as u16);
        }
    }
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

/// Replaces the checkpoint at `head` by another that is longer or shorter; what follows moves with it.
fn replace(bytes: &[u8], old: &Head, mut head: Head, payload: &Payload) -> Vec<u8> {
    let mut out = bytes[..old.position as usize].to_vec();
    checkpoint::put(&mut head, payload, &mut out).unwrap();
    out
}

/// Reads all that can be read.
fn read(bytes: Vec<u8>) {
    let Ok(capture) = Capture::from_bytes(bytes) else { return };
    for group in 0..capture.groups().len() {
        for column in ColumnId::ALL {
            let _ = capture.read(group, &[column]);
        }
        let _ = capture.read(group, &ColumnId::ALL);
    }
}

/// The checkpoint after the first row group.
fn first_group(bytes: &[u8]) -> (Head, Payload) {
    let source = Source::memory(bytes.to_vec());
    let head = scan::find(&source).unwrap().heads[1].clone();
    assert_eq!(head.kind, Kind::Group);
    let payload = scan::payload(&source, &head).unwrap().unwrap();
    (head, payload)
}

#[test]
fn forged_columns_are_survived() {
    let bytes = capture();
    let (head, payload) = first_group(&bytes);
    let mut random = Random(7);
    for _ in 0..ROUNDS {
        let mut forged = payload.clone();
        let at = random.next() as usize % forged.chunks.len();
        let chunk = &mut forged.chunks[at];
        let page = if random.next().is_multiple_of(3) {
            chunk.dictionary.get_or_insert_default()
        } else {
            &mut chunk.data
        };
        let number = match random.next() % 6 {
            0 => &mut page.body,
            1 => &mut page.stored,
            2 => &mut page.plain,
            3 => &mut page.values,
            4 => &mut page.crc,
            _ => &mut chunk.nulls,
        };
        *number = random.instead_of(u64::from(*number)) as u32;
        chunk.zstd ^= random.next().is_multiple_of(8);
        chunk.required ^= random.next().is_multiple_of(8);
        read(replace(&bytes, &head, head.clone(), &forged));
    }
}

#[test]
fn forged_heads_are_survived() {
    let bytes = capture();
    let (head, payload) = first_group(&bytes);
    let mut random = Random(77);
    for _ in 0..ROUNDS {
        let mut forged = head.clone();
        let number = match random.next() % 8 {
            0 => &mut forged.position,
            1 => &mut forged.previous,
            2 => &mut forged.group.start,
            3 => &mut forged.group.len,
            4 => &mut forged.group.rows,
            5 => &mut forged.first_row,
            6 => &mut forged.first_ts,
            _ => &mut forged.id,
        };
        *number = random.instead_of(*number);
        read(replace(&bytes, &head, forged, &payload));
    }
}

#[test]
fn forged_values_are_survived() {
    let bytes = capture();
    let (head, payload) = first_group(&bytes);
    let mut random = Random(777);
    for _ in 0..ROUNDS {
        let mut forged = bytes.clone();
        let mut payload = payload.clone();
        let at = random.next() as usize % payload.chunks.len();
        let chunk = &mut payload.chunks[at];
        let page =
            chunk.dictionary.as_mut().filter(|_| random.next().is_multiple_of(2)).unwrap_or(&mut chunk.data);
        let body = &mut forged[head.group.start as usize..][page.range()];
        for _ in 0..1 + random.next() % 3 {
            let at = random.next() as usize % body.len();
            body[at] = random.instead_of(body[at].into()) as u8;
        }
        page.crc = crc32fast::hash(body);
        read(replace(&forged, &head, head.clone(), &payload));
    }
}

#[test]
fn a_payload_that_claims_to_be_huge_is_not_decompressed() {
    let bytes = capture();
    let (head, payload) = first_group(&bytes);
    let mut forged = replace(&bytes, &head, head.clone(), &payload);
    let at = head.position as usize;
    forged[at + 92..at + 96].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&forged[at..at + HEAD - 4]);
    forged[at + HEAD - 4..at + HEAD].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Head::parse(&forged[at..]).unwrap().plain, u32::MAX);
    assert_eq!(Capture::from_bytes(forged).unwrap().rows(), 0);
}

#[test]
fn packets_cannot_pretend_to_be_checkpoints() {
    let bytes = capture();
    let (mut head, payload) = first_group(&bytes);
    let (end, id) = (bytes.len() as u64, head.id);
    head.position = end;
    head.group.start = end - head.group.len;
    let rows = |id| {
        let mut forged = bytes.clone();
        checkpoint::put(&mut Head { id, ..head.clone() }, &payload, &mut forged).unwrap();
        Capture::from_bytes(forged).unwrap().rows()
    };
    // With the right number it is a checkpoint; that number is random, so that no packet knows it.
    assert!(rows(id) < 100);
    assert_eq!(rows(id ^ 1), 100);
}

#[test]
fn a_chain_that_runs_in_circles_ends() {
    let bytes = capture();
    let (head, payload) = first_group(&bytes);
    let forged = Head { previous: head.position, ..head.clone() };
    read(replace(&bytes, &head, forged, &payload));
}

#[test]
fn what_a_newer_minor_version_adds_is_ignored() {
    let bytes = capture();
    let expected = Capture::from_bytes(bytes.clone()).unwrap().read(0, &ColumnId::ALL).unwrap();
    let (head, mut payload) = first_group(&bytes);
    let mut column = payload.chunks[4].clone();
    column.name = "of_tomorrow".to_owned();
    payload.chunks.insert(2, column);
    payload.metadata =
        br#"{"format": 2, "minor": 99, "recorder": "ntrec 9", "of_tomorrow": {"a": [1]}}"#.to_vec();
    let newer = Capture::from_bytes(replace(&bytes, &head, head.clone(), &payload)).unwrap();
    assert_eq!((newer.metadata().minor, newer.metadata().recorder.as_str()), (99, "ntrec 9"));
    assert_eq!(newer.read(0, &ColumnId::ALL).unwrap().record(), expected.record());
}

#[test]
fn a_kind_of_tomorrow_is_a_row_like_others() {
    let mut rows = Rows::new();
    let row = rows.next();
    rows.ts.put(row, 1);
    rows.cpu.put(row, 0);
    rows.kind.put_str(row, "of_tomorrow");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ntc");
    let mut writer = Writer::create(&path, Metadata::default(), Options::default(), false).unwrap();
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    let batch = Capture::open(&path).unwrap().read(0, &[ColumnId::Kind]).unwrap();
    assert_eq!(batch.text(ColumnId::Kind).unwrap().get(0), Some("of_tomorrow"));
}
