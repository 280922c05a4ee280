//! A disk that fills up: the recording ends by itself and keeps everything it had accepted.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use lab::Net;

use super::loss::check_balance;
use crate::recorder::{Recorder, Recording, only_with};
use crate::rows::{gaps, numbers};
use crate::support::{Stopping, Tmpfs, flooded, send_steadily, undisturbed};

/// More than any recording here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Checks a recording that a full disk ended.
fn check(recording: &Recording, disk: &Path) {
    let capture = recording.open();
    assert!(recording.stderr.contains("disk is full"), "{}", recording.stderr);
    assert_eq!(capture.metadata().stopped.as_ref().unwrap().why, "disk full");
    check_balance(&capture);
    assert!(capture.metadata().totals.recorded() > 0);
    let left: Vec<_> = fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("journal")), "{left:?}");
}

#[test]
fn a_flood_that_fills_the_disk_ends_well() {
    let Some(_turn) = undisturbed() else { return };
    let (disk, host) = (Tmpfs::new("6m"), Net::alone().unwrap());
    let recorder = Recorder::start_in(disk.path(), &only_with(&[&host], &["--buffer-size", "4M"]));
    let (recording, _sent) = flooded(&host, || recorder.end(PATIENCE));
    check(&recording, disk.path());
}

#[test]
fn a_disk_that_somebody_else_fills_loses_no_event() {
    let Some(_turn) = undisturbed() else { return };
    let recording = fill_beside(|disk| {
        // Rows are on their way to the disk already.
        let deadline = Instant::now() + PATIENCE;
        while !disk.join("live.ntc.journal").exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(recording.stderr.contains("stopped early"), "{}", recording.stderr);
}

#[test]
fn a_disk_that_is_full_before_the_first_row_loses_no_event_either() {
    let Some(_turn) = undisturbed() else { return };
    fill_beside(|_| {});
}

/// Fills the disk beside a recording, once `begin` returns, and checks what is left.
fn fill_beside(begin: impl FnOnce(&Path)) -> Recording {
    let (disk, host) = (Tmpfs::new("24m"), Net::alone().unwrap());
    let recorder = Recorder::start_in(disk.path(), &only_with(&[&host], &[]));
    let stop = AtomicBool::new(false);
    let recording = thread::scope(|scope| {
        scope.spawn(|| send_steadily(&host, 5000, &stop));
        let _ended = Stopping(&stop);
        begin(disk.path());
        fill(&disk.path().join("filler"));
        recorder.end(PATIENCE)
    });
    check(&recording, disk.path());
    let capture = recording.open();
    assert_eq!(capture.metadata().totals.lost(), 0);
    assert_eq!(gaps(&numbers(&capture)), 0);
    recording
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}
