//! What a recording says while it runs, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use ntc::Metadata;

use super::output::size;
use crate::args::Capture;

/// How far a recording is.
pub struct Tally {
    /// How long it has run.
    pub elapsed: Duration,
    /// Events recorded.
    pub events: u64,
    /// Events lost.
    pub lost: u64,
    /// Events left out by `--rate-limit`.
    pub left_out: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// The line that says that recording has begun.
pub fn announce(args: &Capture, metadata: &Metadata, without_functions: Option<&str>) {
    let probes = &metadata.probes;
    let missing = probes.iter().filter(|p| p.error.is_some()).count();
    let there = probes.len() - missing;
    let noun = if there == 1 { "probe" } else { "probes" };
    let mut line = format!("ntrec: recording to {} with {there} {noun}", args.output.display());
    if missing > 0 {
        line += &format!(" ({missing} not on this kernel: `ntrec probes` says why)");
    }
    if args.limits.duration.is_none() && stderr().is_terminal() {
        line += "; Ctrl-C ends it";
    }
    if let Some(why) = without_functions {
        eprintln!("ntrec: tracepoints only, since this kernel's functions cannot be probed ({why})");
    }
    eprintln!("{line}");
}

/// The line that is written over and over on a terminal.
pub fn show_progress(tally: &Tally) {
    if !stderr().is_terminal() {
        return;
    }
    let _ = write!(
        stderr(),
        "\r{:>6.0} s  {:>12} events  {:>9}  {} lost\x1b[K",
        tally.elapsed.as_secs_f64(),
        tally.events,
        size(tally.bytes),
        tally.lost
    );
}

/// The lines at the end.
pub fn summarise(args: &Capture, metadata: &Metadata, tally: &Tally, cut_short: Option<&str>) {
    if stderr().is_terminal() {
        eprintln!();
    }
    let Tally { elapsed, events, lost, left_out, bytes } = *tally;
    let why = metadata.stopped.as_ref().map_or("", |stopped| &stopped.why);
    let share = |part: u64| part as f64 * 100.0 / (events + lost + left_out).max(1) as f64;
    eprintln!(
        "ntrec: {} events in {:.1} s, {} in {} (stopped by {why})",
        events,
        elapsed.as_secs_f64(),
        size(bytes),
        args.output.display(),
    );
    if let Some(reason) = cut_short {
        eprintln!("ntrec: stopped early: {reason}");
    }
    if left_out > 0 {
        eprintln!("ntrec: {left_out} events left out by --rate-limit ({:.1} %)", share(left_out));
    }
    if lost > 0 {
        eprintln!(
            "ntrec: {lost} events lost ({:.1} %): the buffer was full; a larger --buffer-size or a filter helps",
            share(lost)
        );
    }
    if !metadata.late_modules.is_empty() {
        eprintln!(
            "ntrec: loaded while recording: {}; to have their functions, too, record again",
            metadata.late_modules.join(", ")
        );
    }
    eprintln!("ntrec: next, here or anywhere: ntana diag {}", args.output.display());
}
