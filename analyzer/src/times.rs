//! Times of the recorded host as people read them.

use std::cell::RefCell;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use ntc::{Batch, ColumnId, Metadata};

use crate::args::TimeStyle;

/// Clock samples that are remembered; one a second for 12 days.
const MAX_SAMPLES: usize = 1 << 20;

/// Translates CLOCK_MONOTONIC of one host.
#[derive(Clone, Debug)]
pub struct Times {
    /// How times are shown.
    style: TimeStyle,
    /// The zone in which they are shown.
    zone: TimeZone,
    /// When recording began.
    start: u64,
    /// CLOCK_MONOTONIC and CLOCK_REALTIME at the same moments, sorted.
    samples: RefCell<Vec<(u64, i64)>>,
}

impl Times {
    /// Times of a capture that began at `start`.
    pub fn new(metadata: &Metadata, start: u64, style: TimeStyle) -> Self {
        let zone = if style == TimeStyle::Local { TimeZone::system() } else { TimeZone::UTC };
        let mut samples: Vec<(u64, i64)> =
            metadata.clocks.iter().filter(|c| c.realtime != 0).map(|c| (c.monotonic, c.realtime)).collect();
        samples.sort_unstable();
        // Without a sample there is no wall clock to show.
        let style = if samples.is_empty() && is_wall(style) { TimeStyle::Rel } else { style };
        Self { style, zone, start, samples: RefCell::new(samples) }
    }

    /// Learns from the clock rows of a row group, which must have the columns ts, name and value.
    pub fn learn(&self, batch: &Batch) {
        let (Some(ts), Some(names)) = (batch.u64(ColumnId::Ts), batch.text(ColumnId::Name)) else { return };
        let Some(values) = batch.i64(ColumnId::Value) else { return };
        let Some(realtime) = names.values().iter().position(|name| name == Some("REALTIME")) else { return };
        for row in (0..batch.rows()).filter(|row| names.key(*row) == Some(realtime)) {
            self.add(ts.value(row), values.value(row));
        }
    }

    /// Adds a sample.
    fn add(&self, ts: u64, realtime: i64) {
        let mut samples = self.samples.borrow_mut();
        let at = samples.partition_point(|(mono, _)| *mono < ts);
        let known = samples.get(at).is_some_and(|(mono, _)| *mono == ts);
        if !known && samples.len() < MAX_SAMPLES {
            samples.insert(at, (ts, realtime));
        }
    }

    /// CLOCK_REALTIME at a time, between samples by interpolation.
    pub fn realtime(&self, ts: u64) -> Option<i64> {
        let samples = self.samples.borrow();
        let after = samples.partition_point(|(mono, _)| *mono <= ts);
        let nearest = |(mono, real): (u64, i64)| real.checked_add(difference(ts, mono));
        match (after.checked_sub(1).and_then(|i| samples.get(i)), samples.get(after)) {
            (Some(before), Some(after)) => Some(interpolate(*before, *after, ts)),
            (Some(only), None) | (None, Some(only)) => nearest(*only),
            (None, None) => None,
        }
    }

    /// A time in the style that was asked for, to the microsecond.
    pub fn show(&self, ts: u64) -> String {
        match self.style {
            TimeStyle::Mono => seconds(ts),
            TimeStyle::Rel => relative(ts, self.start),
            _ => self.civil(ts).map_or_else(|| seconds(ts), |at| at.strftime("%H:%M:%S%.6f").to_string()),
        }
    }

    /// A time with its date, where the style has dates.
    pub fn show_date(&self, ts: u64) -> String {
        match self.civil(ts) {
            Some(at) if is_wall(self.style) => at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
            _ => self.show(ts),
        }
    }

    /// What the times are: the zone's offset, or the clock.
    pub fn scale(&self) -> String {
        match self.style {
            TimeStyle::Mono => "CLOCK_MONOTONIC".into(),
            TimeStyle::Rel => "since the start".into(),
            TimeStyle::Utc => "UTC".into(),
            TimeStyle::Local => self
                .realtime(self.start)
                .and_then(timestamp)
                .map_or_else(String::new, |t| t.to_zoned(self.zone.clone()).strftime("%:z %Z").to_string()),
        }
    }

    /// Seconds since the capture began.
    pub fn since_start(&self, ts: u64) -> f64 {
        difference(ts, self.start) as f64 / 1e9
    }

    /// Date and time in the zone.
    fn civil(&self, ts: u64) -> Option<DateTime> {
        let at = timestamp(self.realtime(ts)?)?;
        Some(self.zone.to_datetime(at))
    }

    /// The time that a user's text means: seconds after the start (`1.5`, `1.5s`, `2m`), a clock time, or both
    /// date and time.
    pub fn parse(&self, text: &str) -> Result<u64> {
        if let Ok(after) = words::duration(text) {
            return Ok(self.start.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)));
        }
        let civil = self.parse_civil(text)?;
        let at = self.zone.to_timestamp(civil).with_context(|| format!("`{text}` is out of range"))?;
        let wanted =
            i64::try_from(at.as_nanosecond()).with_context(|| format!("`{text}` is out of range"))?;
        let start = self
            .realtime(self.start)
            .context("the capture has no clock samples: give seconds, as in 1.5s")?;
        Ok(self.start.saturating_add_signed(wanted.saturating_sub(start)))
    }

    /// The date and time of a text; without a date it is that of the capture's start.
    fn parse_civil(&self, text: &str) -> Result<DateTime> {
        if let Ok(both) = text.parse::<DateTime>() {
            return Ok(both);
        }
        let Ok(time) = text.parse::<Time>() else {
            bail!("`{text}` is not a time: give seconds after the start (1.5s) or a clock time (19:03:02)");
        };
        let start =
            self.civil(self.start).context("the capture has no clock samples: give seconds, as in 1.5s")?;
        Ok(start.date().to_datetime(time))
    }
}

/// Whether a style is a wall clock.
fn is_wall(style: TimeStyle) -> bool {
    matches!(style, TimeStyle::Local | TimeStyle::Utc)
}

/// The wall clock between two samples.
fn interpolate(before: (u64, i64), after: (u64, i64), ts: u64) -> i64 {
    let (span, part) = (i128::from(after.0 - before.0).max(1), i128::from(ts - before.0));
    let grown = i128::from(after.1) - i128::from(before.1);
    i64::try_from(i128::from(before.1) + grown * part / span).unwrap_or(before.1)
}

/// `a - b`, bounded.
fn difference(a: u64, b: u64) -> i64 {
    i64::try_from(i128::from(a) - i128::from(b)).unwrap_or(i64::MAX)
}

/// A moment of jiff.
fn timestamp(realtime: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(realtime.into()).ok()
}

/// Seconds with six digits.
fn seconds(ts: u64) -> String {
    format!("{}.{:06}", ts / 1_000_000_000, ts % 1_000_000_000 / 1000)
}

/// Seconds since a start, with six digits.
fn relative(ts: u64, start: u64) -> String {
    match ts.checked_sub(start) {
        Some(after) => seconds(after),
        None => format!("-{}", seconds(start - ts)),
    }
}

/// A duration for people: `4.12 s`, `13 min 5 s`.
pub fn span(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        1_000_000_000..120_000_000_000 => format!("{:.2} s", ns as f64 / 1e9),
        _ => long_span(ns / 1_000_000_000),
    }
}

/// Minutes and more.
fn long_span(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {seconds} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that runs 1 us a second too fast.
    fn times(style: TimeStyle) -> Times {
        let sample = |monotonic, realtime| ntc::ClockSample { monotonic, realtime, ..Default::default() };
        let metadata = Metadata {
            clocks: vec![
                sample(1_000_000_000, 1_763_665_382_000_000_000),
                sample(3_000_000_000, 1_763_665_384_000_002_000),
            ],
            ..Metadata::default()
        };
        let mut times = Times::new(&metadata, 1_000_000_000, style);
        times.zone = TimeZone::UTC;
        times
    }

    #[test]
    fn wall_clock_is_interpolated() {
        let times = times(TimeStyle::Utc);
        assert_eq!(times.show(1_000_000_000), "19:03:02.000000");
        assert_eq!(times.show(2_000_000_000), "19:03:03.000001");
        assert_eq!(times.show(4_000_000_000), "19:03:05.000002");
        assert_eq!(times.show_date(0), "2025-11-20 19:03:01.000000");
    }

    #[test]
    fn other_styles() {
        assert_eq!(times(TimeStyle::Mono).show(1_500_000_000), "1.500000");
        assert_eq!(times(TimeStyle::Rel).show(1_500_000_000), "0.500000");
        assert_eq!(times(TimeStyle::Rel).show(500_000_000), "-0.500000");
    }

    #[test]
    fn users_give_seconds_or_clock_times() {
        let times = times(TimeStyle::Utc);
        assert_eq!(times.parse("1.5s").unwrap(), 2_500_000_000);
        assert_eq!(times.parse("250ms").unwrap(), 1_250_000_000);
        assert_eq!(times.parse("2").unwrap(), 3_000_000_000);
        assert_eq!(times.parse("19:03:03").unwrap(), 2_000_000_000);
        assert_eq!(times.parse("2025-11-20T19:03:03").unwrap(), 2_000_000_000);
        assert!(times.parse("yesterday").unwrap_err().to_string().contains("not a time"));
    }

    #[test]
    fn without_samples_times_are_relative() {
        let times = Times::new(&Metadata::default(), 10, TimeStyle::Local);
        assert_eq!(times.show(1_010), "0.000001");
        assert!(times.parse("19:00:00").is_err());
    }

    #[test]
    fn spans_have_fitting_units() {
        assert_eq!(span(999), "999 ns");
        assert_eq!(span(1_500), "1.5 us");
        assert_eq!(span(4_120_000_000), "4.12 s");
        assert_eq!(span(785_000_000_000), "13 min 5 s");
    }
}
