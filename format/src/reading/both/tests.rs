use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::{Options, Rows, Writer};

/// The corpus of the fuzz target.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decoders")
}

/// Columns of each type, encoding and kind of requirement, as our writer encodes them.
const COLUMNS: [ColumnId; 10] = [
    ColumnId::Ts,
    ColumnId::Cpu,
    ColumnId::Kind,
    ColumnId::Skb,
    ColumnId::IpId,
    ColumnId::Ttl,
    ColumnId::MoreFrags,
    ColumnId::Header,
    ColumnId::Comm,
    ColumnId::Value,
];

/// A capture of one row group, whose pages are not compressed.
fn capture() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ntc");
    let mut writer = Writer::create(&path, Metadata::default(), Options::default(), false).unwrap();
    let mut rows = Rows::new();
    for at in 0..20_u64 {
        let row = rows.next();
        rows.ts.put(row, at * 1000);
        rows.cpu.put(row, (at % 3) as u16);
        rows.kind.put_str(row, ["pkt", "free"][at as usize % 2]);
        if at % 4 == 0 {
            rows.skb.put(row, (at % 8) << 60);
            rows.ip_id.put(row, (at * 7) as u32);
            rows.ttl.put(row, at as u8);
            rows.more_frags.put(row, at % 8 == 0);
            rows.header.put(row, &at.to_le_bytes()[..at as usize % 5]);
            rows.comm.put_str(row, &"ä".repeat(at as usize % 3));
            rows.value.put(row, 5 - at as i64);
        }
    }
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    fs::read(&path).unwrap()
}

/// The pages of each column as an input: what a fuzzer begins with.
fn seeds() -> Vec<(ColumnId, Vec<u8>)> {
    let bytes = capture();
    let source = Source::memory(bytes.clone());
    let head = crate::durability::scan::find(&source).unwrap().heads[1].clone();
    let chunks = crate::durability::scan::payload(&source, &head).unwrap().unwrap().chunks;
    let pages = &bytes[head.group.start as usize..];
    let seed = |column: ColumnId| {
        let chunk = chunks.iter().find(|chunk| chunk.name == column.name()).unwrap();
        assert!(!chunk.zstd, "{column:?}");
        let (dictionary, entries) =
            chunk.dictionary.map_or((&[][..], 0), |page| (&pages[page.range()], page.values as u16));
        let (encoding, data) = (chunk.encoding, &pages[chunk.data.range()]);
        (column, Input { column, encoding, rows: 20, entries, dictionary, data }.bytes())
    };
    COLUMNS.into_iter().map(seed).collect()
}

#[test]
fn what_our_writer_encodes_is_read_the_same_by_both() {
    for (column, bytes) in seeds() {
        let input = Input::parse(&bytes).unwrap();
        assert_eq!(input.bytes(), bytes);
        let Read { ours, theirs } = read(&input).unwrap();
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert!((0..20).any(|row| ours.value(column, row).is_some()), "{column:?}");
        for row in 0..20 {
            assert_eq!(ours.value(column, row), theirs.value(column, row), "row {row} of {column:?}");
        }
    }
}

#[test]
fn the_corpus_is_read_the_same_by_both() {
    if harness::blessing() {
        seeds().iter().for_each(|(column, bytes)| fs::write(folder().join(column.name()), bytes).unwrap());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        compare(&fs::read(&path).unwrap());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(COLUMNS.iter().all(|column| names.iter().any(|name| name == column.name())), "{names:?}");
}

proptest! {
    #[test]
    fn damaged_pages_are_read_the_same_by_both_or_refused(
        seed in any::<Index>(),
        edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.1, any::<Index>()),
    ) {
        let seeds = seeds();
        let (_, mut bytes) = seeds[seed.index(seeds.len())].clone();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        compare(&bytes);
    }
}
