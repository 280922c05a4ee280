//! Samples of the host's clocks against CLOCK_MONOTONIC, the clock of all events.

use ntc::ClockSample;
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

/// Tries of which the one with the narrowest bracket is kept.
const TRIES: usize = 5;

/// A clock's time in ns.
fn read(clock: ClockId) -> i64 {
    nanoseconds(clock_gettime(clock))
}

/// CLOCK_TAI in ns; 0 where the kernel does not have it.
fn read_tai() -> i64 {
    clock_gettime_dynamic(DynamicClockId::Tai).map_or(0, nanoseconds)
}

/// A time in ns.
fn nanoseconds(Timespec { tv_sec, tv_nsec }: Timespec) -> i64 {
    tv_sec * 1_000_000_000 + tv_nsec
}

/// CLOCK_MONOTONIC in ns.
pub fn now() -> u64 {
    read(ClockId::Monotonic).unsigned_abs()
}

/// Reads all clocks between two readings of CLOCK_MONOTONIC.
fn bracketed() -> ClockSample {
    let before = now();
    let realtime = read(ClockId::Realtime);
    let tai = read_tai();
    let raw = read(ClockId::MonotonicRaw).unsigned_abs();
    let boottime = read(ClockId::Boottime).unsigned_abs();
    let after = now();
    let bracket = after - before;
    ClockSample { monotonic: before + bracket / 2, raw, realtime, boottime, tai, bracket }
}

/// The best of a few samples.
pub fn sample() -> ClockSample {
    let samples = (0..TRIES).map(|_| bracketed());
    samples.min_by_key(|s| s.bracket).unwrap_or_default()
}

/// The rows of a sample: name and value, ns; `ADJ_FREQ` is in 2^-16 ppm.
pub fn rows(sample: &ClockSample) -> impl Iterator<Item = (&'static str, i64)> {
    let clocks = [
        ("REALTIME", sample.realtime),
        ("BOOTTIME", sample.boottime.cast_signed()),
        ("TAI", sample.tai),
        ("RAW", sample.raw.cast_signed()),
    ];
    clocks.into_iter().chain(frequency().map(|f| ("ADJ_FREQ", f)))
}

/// By how much the kernel corrects CLOCK_MONOTONIC's frequency (adjtimex(2)).
fn frequency() -> Option<i64> {
    // SAFETY: `timex` is made of integers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `state` is a valid timex; modes 0 only reads.
    let result = unsafe { libc::adjtimex(&raw mut state) };
    (result >= 0).then_some(state.freq)
}
