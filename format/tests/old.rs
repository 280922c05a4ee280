//! Captures of each format that was released are read by every build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ntc::{Capture, ColumnId, Value};

/// Their folder.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/old")
}

/// What the list says of each capture: name, format, rows.
fn listed() -> Vec<(String, u32, u64)> {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), cells[2].parse().unwrap(), cells[3].parse().unwrap()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn the_list_is_the_folder() {
    let files =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter(|name| name.ends_with(".ntc")).collect();
    assert_eq!(files, listed().into_iter().map(|(name, ..)| name).collect());
    let formats: Vec<u32> = listed().into_iter().map(|(_, format, _)| format).collect();
    assert_eq!(
        formats,
        (1..=ntc::schema::FORMAT_MAJOR).collect::<Vec<_>>(),
        "a major version without a capture"
    );
}

#[test]
fn every_old_format_is_read() {
    for (name, format, rows) in listed() {
        let capture = Capture::open(&folder().join(&name)).unwrap();
        assert_eq!((capture.metadata().format, capture.metadata().minor), (format, 0), "{name}");
        assert_eq!((capture.rows(), capture.notes()), (rows, &[][..]), "{name}");
        let batch = capture.read(0, &ColumnId::ALL).unwrap();
        let value = |column, row| batch.value(column, row);
        let frees =
            (0..batch.rows()).filter(|row| value(ColumnId::Kind, *row) == Some(Value::Text("free"))).count();
        let returns = (0..batch.rows()).filter(|row| value(ColumnId::Entry, *row).is_some()).count();
        // Columns that the format lacks are null: 2 came with returns, 2.1 with round-trip times.
        assert!(frees > 0 && (returns > 0) == (format > 1), "{name}: {frees} frees, {returns} returns");
        assert!((0..batch.rows()).all(|row| value(ColumnId::MinRtt, row).is_none()), "{name}");
    }
}
