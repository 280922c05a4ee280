//! A recorder that died: whatever it had written for a second is there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{all, batch, closed, join, metadata, options, place};
use ntc::{Capture, ColumnId, Options, State, Writer, repair};

/// The bytes of a capture and its journal, as they are now.
fn snapshot(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let journal = fs::read(path.with_extension("ntc.journal")).unwrap_or_default();
    (fs::read(path).unwrap(), journal)
}

/// Opens a snapshot.
fn open((main, journal): (Vec<u8>, Vec<u8>)) -> Capture {
    Capture::from_bytes_with_journal(main, journal).unwrap()
}

#[test]
fn every_row_is_there_at_any_moment() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    let mut rows = Vec::new();
    for at in 0..12 {
        rows.push(batch(at + 1, at * 70, 70));
        writer.write(&rows[at as usize]).unwrap();
        let capture = open(snapshot(&path));
        assert_eq!(all(&capture).columns(), join(&rows).columns(), "after {at}");
        assert_eq!(*capture.state(), State::Unfinished);
        assert_eq!(capture.metadata().host.name, "node1");
    }
    let capture = open(snapshot(&path));
    assert_eq!(capture.recovery().journal_rows, 840 - 750);
    let note = "the recorder did not finish: 840 rows recovered, 90 of them from the journal, up to 0.0 s after the \
                recording began";
    assert_eq!(capture.notes(), [note]);
}

#[test]
fn a_row_group_that_was_being_written_is_in_the_journal() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    writer.write(&batch(1, 0, 200)).unwrap();
    let (before, journal) = snapshot(&path);
    writer.write(&batch(2, 200, 50)).unwrap();
    let (after, _) = snapshot(&path);
    assert!(after.len() > before.len());
    for end in (before.len()..after.len()).step_by(1009) {
        let capture = open((after[..end].to_vec(), journal.clone()));
        assert_eq!(all(&capture).columns(), batch(1, 0, 200).columns(), "cut at {end}");
    }
    // Both files have the rows between the end of the row group and the emptying of the journal.
    let both = join(&[batch(1, 0, 200), batch(2, 200, 50)]);
    assert_eq!(all(&open((after, journal))).columns(), both.columns());
}

#[test]
fn rows_reach_a_file_within_a_second() {
    let (_folder, path) = place();
    let options = Options { reserve: 0, durable: true, ..Options::default() };
    let mut writer = Writer::create(&path, metadata(), options, false).unwrap();
    writer.write(&batch(1, 0, 50)).unwrap();
    assert_eq!(open(snapshot(&path)).rows(), 0);
    await_rows(&mut writer, &path, 50);
}

/// Gives a writer its turns, as a recorder does, until the files have so many rows; that is within a second.
fn await_rows(writer: &mut Writer, path: &Path, rows: u64) {
    let begin = Instant::now();
    while open(snapshot(path)).rows() < rows {
        assert!(begin.elapsed() < Duration::from_secs(1), "{} of {rows} rows", open(snapshot(path)).rows());
        std::thread::sleep(Duration::from_millis(10));
        writer.tick().unwrap();
    }
}

/// A recorder of ten rows each 20 ms, which tells how many it wrote.
fn record_slowly(path: &Path) {
    let options = Options { reserve: 0, ..Options::default() };
    let mut writer = Writer::create(path, metadata(), options, false).unwrap();
    for at in 0.. {
        writer.write(&batch(at + 1, at * 10, 10)).unwrap();
        println!("rows {}", writer.rows());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_process_loses_less_than_a_second() {
    if let Some(path) = std::env::var_os("NTC_RECORD") {
        return record_slowly(Path::new(&path));
    }
    let (_folder, path) = place();
    let mut child = harness::own(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_loses_less_than_a_second", "--nocapture"])
        .env("NTC_RECORD", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(rows) = line.strip_prefix("rows ") else { continue };
        told.push((Instant::now(), rows.parse::<u64>().unwrap()));
        if told[0].0.elapsed() > Duration::from_millis(1500) {
            break;
        }
    }
    let killed = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    let old = told.iter().filter(|(when, _)| killed - *when > Duration::from_secs(1)).map(|(_, rows)| *rows);
    let (old, found) = (old.max().unwrap(), Capture::open(&path).unwrap().rows());
    assert!(found >= old && old > 0, "{found} of {old}");
}

#[test]
fn a_journal_of_another_capture_is_ignored() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    writer.write(&batch(1, 0, 20)).unwrap();
    let (_, journal) = snapshot(&path);
    let (_folder, other) = place();
    let mut writer = Writer::create(&other, metadata(), options(250), false).unwrap();
    writer.write(&batch(1, 0, 250)).unwrap();
    let (main, _) = snapshot(&other);
    assert_eq!(open((main, journal)).rows(), 250);
}

#[test]
fn a_journal_beside_a_closed_capture_is_ignored() {
    let main = closed(2, 100, 150);
    let capture = open((main.clone(), b"rubbish".to_vec()));
    assert_eq!((capture.rows(), *capture.state()), (200, State::Closed));
    assert!(capture.notes().is_empty());
}

#[test]
fn the_journal_is_gone_in_the_end() {
    let (folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    writer.write(&batch(1, 0, 20)).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    writer.finish().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_busy_capture_has_no_journal() {
    let (folder, path) = place();
    let options = Options { reserve: 0, group_rows: 100, ..Options::default() };
    let mut writer = Writer::create(&path, metadata(), options, false).unwrap();
    for at in 0..20 {
        writer.write(&batch(at + 1, at * 50, 50)).unwrap();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn rows_after_a_burst_reach_a_file_within_a_second() {
    let (_folder, path) = place();
    let options = Options { reserve: 0, group_rows: 100, ..Options::default() };
    let mut writer = Writer::create(&path, metadata(), options, false).unwrap();
    writer.write(&batch(1, 0, 210)).unwrap();
    assert_eq!(open(snapshot(&path)).rows(), 200);
    await_rows(&mut writer, &path, 210);
}

#[test]
fn repair_makes_a_closed_capture() {
    let (folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    let rows = [batch(1, 0, 300), batch(2, 300, 100)];
    rows.iter().for_each(|rows| writer.write(rows).unwrap());
    drop(writer);
    let to = folder.path().join("repaired.ntc");
    let repaired = repair(&path, &to).unwrap();
    assert_eq!((repaired.rows, repaired.notes.len()), (400, 1));
    let capture = Capture::open(&to).unwrap();
    assert_eq!(*capture.state(), State::Closed);
    assert_eq!(all(&capture).columns(), join(&rows).columns());
    assert_eq!(capture.metadata().host, metadata().host);
    assert!(repair(&path, &to).unwrap_err().to_string().contains("already exists"));
}

#[test]
fn repair_in_place_replaces_both_files() {
    let (folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    let rows = [batch(1, 0, 300), batch(2, 300, 100)];
    rows.iter().for_each(|rows| writer.write(rows).unwrap());
    drop(writer);
    repair(&path, &path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let capture = Capture::open(&path).unwrap();
    assert_eq!(*capture.state(), State::Closed);
    assert_eq!(all(&capture).columns(), join(&rows).columns());
}

#[test]
fn repair_leaves_out_what_is_damaged() {
    let (folder, path) = place();
    let mut bytes = closed(4, 100, 100);
    let capture = Capture::from_bytes(bytes.clone()).unwrap();
    let expected = all(&capture);
    // A byte in the middle of the second row group's data.
    let header = capture.read(1, &[ColumnId::Header]).is_ok();
    assert!(header);
    let at = find_damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let to = folder.path().join("repaired.ntc");
    let repaired = repair(&path, &to).unwrap();
    assert_eq!(repaired.notes.len(), 1, "{:?} at {at}", repaired.notes);
    let capture = Capture::open(&to).unwrap();
    let same = all(&capture);
    let equal = same.columns().iter().zip(expected.columns()).filter(|(a, b)| a == b).count();
    assert!(equal >= expected.num_columns() - 1, "{equal}");
}

/// Flips a byte such that exactly one column becomes unreadable, and says where.
fn find_damage(bytes: &mut [u8]) -> usize {
    for at in (bytes.len() / 4..bytes.len()).step_by(13) {
        bytes[at] ^= 0x55;
        let capture = Capture::from_bytes(bytes.to_vec()).unwrap();
        let bad = (0..capture.groups().len())
            .flat_map(|group| ColumnId::ALL.into_iter().map(move |column| (group, column)))
            .filter(|(group, column)| capture.read(*group, &[*column]).is_err())
            .count();
        if bad == 1
            && capture.read(0, &[ColumnId::Ts, ColumnId::Cpu, ColumnId::Kind]).is_ok()
            && capture.notes().is_empty()
        {
            return at;
        }
        bytes[at] ^= 0x55;
    }
    panic!("no byte damages a single column");
}
