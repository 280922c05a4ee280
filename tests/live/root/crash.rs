//! `kill -9` at any moment: at most the last second is lost, and nothing in between.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use lab::Net;
use ntc::{Capture, State};
use rustix::process::Signal;

use crate::recorder::{Recorder, is_optimised, only_with};
use crate::rows::{self, Row, gaps, numbers};
use crate::support::{Stopping, monotonic, send_steadily, undisturbed};

/// Datagrams a second of the recordings that run at the same time. The fast one fills row groups meanwhile: the
/// file and the journal then share the rows.
const RATES: [u32; 2] = [2000, 8000];
/// Recordings one after the other.
const IN_TURN: usize = 10;
/// What may be lost, ns. Without optimisation, encoding alone can take what the promise leaves.
fn may_be_lost() -> u64 {
    if is_optimised() { 1_000_000_000 } else { 2_000_000_000 }
}

/// A random number from 0 to before `below`.
fn random(below: u64) -> u64 {
    RandomState::new().hash_one(()) % below
}

#[test]
fn a_kill_loses_at_most_the_last_second() {
    let Some(_turn) = undisturbed() else { return };
    thread::scope(|scope| {
        for rate in RATES {
            scope.spawn(move || (0..IN_TURN).for_each(|_| kill_one(rate)));
        }
    });
}

/// Kills one recording of `rate` datagrams a second, and looks at what is left.
fn kill_one(rate: u32) {
    let host = Net::alone().unwrap();
    let recorder = Recorder::start(&only_with(&[&host], &["--buffer-size", "16M"]));
    let (began, stop) = (monotonic(), AtomicBool::new(false));
    let killed = thread::scope(|scope| {
        scope.spawn(|| send_steadily(&host, rate, &stop));
        let _ended = Stopping(&stop);
        thread::sleep(Duration::from_millis(100 + random(3900)));
        let killed = monotonic();
        recorder.process.signal(Signal::KILL).unwrap();
        killed
    });
    let left = recorder.end(Duration::from_secs(5));
    assert!(!left.status.success());
    let capture = Capture::open(&left.file).unwrap();
    let lived = (killed - began) / 1_000_000;
    let told =
        || format!("killed after {lived} ms at {rate}/s: {:?}, {} rows", capture.notes(), capture.rows());
    assert_eq!(*capture.state(), State::Unfinished, "{}", told());
    assert_eq!(gaps(&numbers(&capture)), 0, "{}", told());
    let before = rows::read(&capture);
    let newest = before.iter().filter(|row| row.seq.is_some()).map(|row| row.ts).max().unwrap_or(began);
    let late = killed.saturating_sub(newest);
    assert!(late <= may_be_lost(), "the newest row is {} ms old; {}", late / 1_000_000, told());
    let repaired = left.file.with_extension("repaired.ntc");
    let report = ntc::repair(&left.file, &repaired).unwrap();
    let closed = Capture::open(&repaired).unwrap();
    assert_eq!(*closed.state(), State::Closed);
    assert_eq!(report.rows, capture.rows());
    let after: Vec<Row> = rows::read(&closed);
    assert!(before == after, "{} rows before, {} after the repair", before.len(), after.len());
    eprintln!("{}; newest {} ms old", told(), late / 1_000_000);
}
