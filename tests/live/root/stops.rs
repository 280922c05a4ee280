//! The ends of a recording: soon, even while events rush in, and with everything that was accepted.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use lab::{Host, Net};
use rustix::process::Signal;

use super::loss::check_balance;
use crate::recorder::{Recorder, Recording, is_optimised, only_with};
use crate::support::{flooded, undisturbed};

/// How soon it has to end.
fn soon() -> Duration {
    Duration::from_secs(if is_optimised() { 1 } else { 3 })
}

/// Without optimisation, a recorder takes a full buffer apart so slowly that it gets a smaller one, and [more time](soon).
fn buffer() -> [&'static str; 2] {
    ["--buffer-size", if is_optimised() { "64M" } else { "8M" }]
}

/// More than any recording here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks that something ends soon enough, three times.
fn check_soon(name: &str, mut take: impl FnMut() -> Duration) {
    let times: Vec<Duration> = (0..3).map(|_| take()).collect();
    eprintln!("{name}: {times:?}");
    assert!(times.iter().all(|took| *took <= soon()), "{name}: {times:?}");
}

/// Records a flood until a signal; returns what was left, and how long the end took.
fn end_a_flood_by(signal: Signal) -> (Recording, Duration) {
    let host = Net::alone().unwrap();
    let recorder = Recorder::start(&only_with(&[&host], &buffer()));
    let (ended, sent) = flooded(&host, || {
        thread::sleep(Duration::from_millis(1500));
        recorder.end_by(signal)
    });
    assert!(sent > 1000, "{sent} datagrams are no flood");
    ended
}

/// Records a flood until the recorder ends by itself; returns what was left, and how long it recorded.
fn end_a_flood_by_itself(host: &Host, args: &[&str]) -> (Recording, Duration) {
    let recorder = Recorder::start(&only_with(&[host], args));
    let begun = Instant::now();
    let (recording, _sent) = flooded(host, || recorder.end(PATIENCE));
    (recording, begun.elapsed())
}

/// Checks why a recording ended.
fn check(recording: &Recording, why: &str) {
    let capture = recording.open();
    assert_eq!(capture.metadata().stopped.as_ref().unwrap().why, why);
    assert!(recording.stderr.contains(&format!("stopped by {why}")), "{}", recording.stderr);
    check_balance(&capture);
}

#[test]
fn signals_end_a_flood_within_a_second() {
    let Some(_turn) = undisturbed() else { return };
    let signals = [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")];
    for (signal, name) in signals {
        check_soon(name, || {
            let (recording, took) = end_a_flood_by(signal);
            check(&recording, name);
            took
        });
    }
}

#[test]
fn a_duration_ends_a_flood_within_a_second() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    check_soon("--duration", || {
        let args = [&["--duration", "1500ms"][..], &buffer()].concat();
        let (recording, took) = end_a_flood_by_itself(&host, &args);
        check(&recording, "--duration");
        took.checked_sub(Duration::from_millis(1500)).unwrap()
    });
}

#[test]
fn a_count_of_events_is_kept_exactly() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    for count in [1, 1000, 20_000] {
        let (recording, _) = end_a_flood_by_itself(&host, &["--max-events", &count.to_string()]);
        check(&recording, "--max-events");
        let totals = recording.metadata().totals;
        assert_eq!((totals.recorded(), totals.lost()), (count, 0));
        assert!(recording.stderr.contains(&format!("{count} events in")), "{}", recording.stderr);
    }
}

#[test]
fn a_size_is_exceeded_by_no_more_than_was_on_its_way() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    // What the buffer has accepted is not thrown away, so that a large one would count.
    let args = ["--max-size", "3M", "--buffer-size", "4M"];
    let (recording, _) = end_a_flood_by_itself(&host, &args);
    check(&recording, "--max-size");
    let capture = recording.open();
    let (size, limit) = (fs::metadata(&recording.file).unwrap().len(), 3 << 20);
    // What a row group takes in this file: one may be completed by the row that reaches the limit, and about
    // another one is in the queue of the writer and in the buffer.
    let rows = capture.groups().iter().map(|group| group.rows).max().unwrap();
    let group = size * rows / capture.rows();
    assert!(size >= limit, "{size}");
    assert!(size <= limit + 5 * group / 2, "{size} bytes, {group} a row group");
}

#[test]
fn a_quiet_recording_ends_within_a_second_too() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    check_soon("nothing", || {
        let (recording, took) = Recorder::start(&only_with(&[&host], &[])).end_by(Signal::INT);
        check_nothing(&recording);
        took
    });
}

/// Checks a recording in which nothing happened.
fn check_nothing(recording: &Recording) {
    let capture = recording.open();
    assert_eq!(capture.metadata().totals.recorded(), 0);
    assert!(capture.rows() > 0, "the clocks are sampled at least twice");
}
