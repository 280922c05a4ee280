//! Files that were cut, damaged or forged: an answer or an error, never a panic, never much memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::fs;
use std::path::Path;

use common::{Random, all, batch, closed, constant_batch, metadata, options, place};
use ntc::{Capture, ColumnId, Error, State, Writer};

/// Reads everything that can be read, and returns the rows of the row groups that were read whole.
fn read_all(bytes: Vec<u8>) -> Result<Vec<u64>, Error> {
    let capture = Capture::from_bytes(bytes)?;
    let readable = |group: &usize| capture.read(*group, &ColumnId::ALL).is_ok();
    Ok((0..capture.groups().len()).filter(readable).map(|group| capture.groups()[group].rows).collect())
}

/// The most memory that this process had, in MiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Runs a test of this file in a process of its own, so that its memory can be measured.
fn alone(name: &str) {
    let this = std::env::current_exe().unwrap();
    let run = harness::own(this).args(["--exact", name, "--include-ignored"]).env("NTC_ALONE", "1").output();
    let output = run.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Whether this is the process that [`alone`] started.
fn is_alone() -> bool {
    std::env::var_os("NTC_ALONE").is_some()
}

#[test]
fn every_prefix_yields_all_whole_row_groups() {
    let bytes = closed(3, 40, 40);
    let capture = Capture::from_bytes(bytes.clone()).unwrap();
    let expected = all(&capture);
    for end in (0..bytes.len()).step_by(61) {
        let Ok(cut) = Capture::from_bytes(bytes[..end].to_vec()) else { continue };
        let rows = cut.rows() as usize;
        assert_eq!((rows % 40, *cut.state()), (0, State::Unfinished), "cut at {end}");
        if rows > 0 {
            assert_eq!(all(&cut).columns(), expected.slice(0, rows).columns(), "cut at {end}");
        }
    }
    let nearly = Capture::from_bytes(bytes[..bytes.len() - 1].to_vec()).unwrap();
    assert_eq!(nearly.rows(), 120);
}

#[test]
fn a_cut_file_says_how_much_was_lost() {
    let bytes = closed(2, 100, 100);
    let whole = Capture::from_bytes(bytes.clone()).unwrap();
    assert_eq!(whole.recovery(), &ntc::Recovery::default());
    let end = bytes.len() * 6 / 10;
    let capture = Capture::from_bytes(bytes[..end].to_vec()).unwrap();
    assert_eq!(capture.rows(), 100);
    assert_eq!(capture.notes().len(), 2, "{:?}", capture.notes());
    assert!(capture.notes()[0].starts_with("the recorder did not finish: 100 rows recovered, 0 of them"));
    assert!(capture.notes()[1].ends_with("are no whole row group: cut short or damaged"));
}

#[test]
fn flipped_bytes_never_panic_and_need_little_memory() {
    if !is_alone() {
        return alone("flipped_bytes_never_panic_and_need_little_memory");
    }
    let bytes = closed(2, 60, 60);
    let mut random = Random(42);
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        damaged[at] ^= 1 << random.below(8);
        let _ = read_all(damaged);
    }
    assert!(peak_memory() < 512, "{} MiB", peak_memory());
}

#[test]
fn a_small_file_with_many_rows_needs_little_memory() {
    if !is_alone() {
        return alone("a_small_file_with_many_rows_needs_little_memory");
    }
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(1 << 19), false).unwrap();
    let rows = constant_batch(1 << 14);
    for _ in 0..32 {
        writer.write(&rows).unwrap();
    }
    writer.finish().unwrap();

    let capture = Capture::open(&path).unwrap();
    assert_eq!(capture.groups().len(), 1);
    assert!(fs::metadata(&path).unwrap().len() < 1 << 18);
    assert_eq!(capture.read(0, &ColumnId::ALL).unwrap().rows(), 1 << 19);
    assert!(peak_memory() < 512, "{} MiB", peak_memory());
}

#[test]
fn overwritten_ranges_never_panic_and_leave_the_rest() {
    let bytes = closed(3, 60, 60);
    let mut random = Random(4711);
    for _ in 0..100 {
        let mut damaged = bytes.clone();
        let at = random.below(bytes.len() as u64) as usize;
        let end = (at + random.below(300) as usize).min(bytes.len());
        damaged[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8);
        // At most two row groups lie so near to one another that both are hit.
        let read = read_all(damaged).unwrap();
        assert!(!read.is_empty(), "{at} to {end}");
    }
}

#[test]
fn damage_is_told_and_never_read() {
    let bytes = closed(1, 400, 1000);
    let expected = all(&Capture::from_bytes(bytes.clone()).unwrap());
    let mut messages = Vec::new();
    for at in (600..bytes.len()).step_by(501) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let Ok(capture) = Capture::from_bytes(damaged) else { continue };
        for column in ColumnId::ALL {
            match capture.groups().first().map(|_| capture.read(0, &[column])) {
                Some(Ok(read)) => {
                    let (read, expected) = (read.record().column(0), expected.column(column as usize));
                    assert_eq!(read, expected, "{at} {column:?}")
                }
                Some(Err(error)) => messages.push(error.to_string()),
                None => {}
            }
        }
    }
    let typical = messages.iter().find(|m| m.contains("checksum is wrong")).unwrap();
    assert!(typical.starts_with("<memory>: damaged at bytes "), "{typical}");
    assert!(typical.ends_with("of rows 0 to 399; other row groups are still readable"), "{typical}");
}

#[test]
fn a_damaged_end_is_recovered_from() {
    let mut bytes = closed(3, 60, 60);
    let len = bytes.len();
    bytes[len - 3000..].fill(0);
    assert_eq!(read_all(bytes).unwrap(), [60, 60, 60]);
}

#[test]
fn what_is_no_capture_is_named() {
    let (folder, path) = place();
    let cases: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"20:00:01 IP 10.0.0.1 > 10.0.0.2\n", "it is text"),
        (b"\x1f\x8b\x08\x00", "it is compressed; unpack it first (gunzip)"),
        (
            b"\xd4\xc3\xb2\xa1\x02\x00",
            "it is a pcap file; ntrec records what the kernel did with packets, tcpdump does not",
        ),
        (b"\x00\x01\x02\x03\x04", "it begins with the bytes [00, 01, 02, 03]"),
        (b"PERFILE2\x68", "it is a file of perf record"),
    ];
    for (bytes, what) in cases {
        fs::write(&path, bytes).unwrap();
        let message = Capture::open(&path).unwrap_err().to_string();
        assert_eq!(message, format!("{}: not a capture: {what}", path.display()));
    }
    let message = Capture::open(folder.path()).unwrap_err().to_string();
    assert!(message.ends_with("not a capture: it is a directory; name a file in it"), "{message}");
    let message = Capture::open(Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(message.starts_with("/nonexistent: opening it: No such file"), "{message}");
    let message = Capture::open(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(message.ends_with("it is a device or a pipe; store it as a file first"), "{message}");
}

#[test]
fn a_parquet_file_of_another_program_is_named() {
    let (_folder, path) = place();
    let rows = batch(1, 0, 2000);
    let file = fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let message = Capture::open(&path).unwrap_err().to_string();
    assert!(message.contains("not a capture: it is a Parquet file without the key ntc"), "{message}");
}

#[test]
fn a_journal_is_not_opened_by_itself() {
    let (_folder, path) = place();
    let mut writer = Writer::create(&path, metadata(), options(250), false).unwrap();
    writer.write(&batch(1, 0, 20)).unwrap();
    let message = Capture::open(&path.with_extension("ntc.journal")).unwrap_err().to_string();
    assert!(message.ends_with("it is the journal of a capture; open the file beside it, without .journal"));
}

#[test]
fn a_start_that_was_cut_is_told() {
    let bytes = closed(1, 10, 10);
    for end in [4, 50, 120] {
        let message = Capture::from_bytes(bytes[..end].to_vec()).unwrap_err().to_string();
        let expected =
            format!("<memory>: cut short at byte {end}, before the first rows: nothing can be recovered");
        assert_eq!(message, expected);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let mut bytes = closed(1, 10, 10);
    // The version follows `PAR1` and the magic number of the first checkpoint.
    bytes[12] = 7;
    let message = Capture::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message, "<memory>: format 7 is newer than this build reads (up to 2); update ntana");
}
