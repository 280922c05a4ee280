//! Runs the fuzz target's corpus, so that every build does it without a fuzzer.
//!
//! `NTREC_BLESS=1 cargo test -p ntc --test corpus` makes the seeds anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{batch, closed, metadata, options, place};
use ntc::{Capture, Writer};

/// The corpus.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/reader")
}

/// An input of the fuzz target: how much of it is the journal, the journal, the capture.
fn input(main: &[u8], journal: &[u8]) -> Vec<u8> {
    let total = main.len() + journal.len();
    let part = (journal.len() * 256).div_ceil(total).min(255);
    // The journal ends where the target will split: what is missing is filled up behind it.
    let mut journal = journal.to_vec();
    while (main.len() + journal.len()) * part / 256 > journal.len() {
        journal.push(0);
    }
    [&[part as u8], journal.as_slice(), main].concat()
}

/// An unfinished capture, whose second batch is in the journal.
fn unfinished() -> Vec<u8> {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(30), false).unwrap();
    writer.write(&batch(5, 0, 30)).unwrap();
    writer.write(&batch(6, 30, 12)).unwrap();
    input(&fs::read(&path).unwrap(), &fs::read(path.with_extension("ntc.journal")).unwrap())
}

/// The seeds by name.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let two = closed(1, 8, 4);
    vec![
        ("closed", input(&closed(1, 20, 20), &[])),
        ("cut", input(&two[..two.len() / 2], &[])),
        ("empty", input(&closed(0, 1, 1), &[])),
        // Without its footer, which alone is 9 KiB.
        ("two_groups", input(&two[..two.len() * 7 / 10], &[])),
        ("unfinished", unfinished()),
    ]
}

#[test]
fn the_corpus_is_survived() {
    if harness::blessing() {
        seeds().iter().for_each(|(name, bytes)| fs::write(folder().join(name), bytes).unwrap());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() < 20 << 10, "{}: {} bytes", path.display(), bytes.len());
        ntc::exercise(&bytes);
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(seeds().iter().all(|(name, _)| names.iter().any(|n| n == name)), "{names:?}");
}

#[test]
fn seeds_of_this_version_are_read() {
    for (name, rows) in [("closed", 20), ("cut", 4), ("empty", 0), ("two_groups", 8), ("unfinished", 42)] {
        let bytes = fs::read(folder().join(name)).unwrap();
        let part = usize::from(bytes[0]);
        let (journal, main) = bytes[1..].split_at((bytes.len() - 1) * part / 256);
        let capture = Capture::from_bytes_with_journal(main.to_vec(), journal.to_vec()).unwrap();
        assert_eq!(capture.rows(), rows, "{name}");
    }
}
