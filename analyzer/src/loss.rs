//! When events were lost: the loss rows of a capture and the gaps in its per-CPU counters.

use anyhow::Result;
use ntc::{Batch, Capture, ColumnId, State, Value};
use rustc_hash::FxHashMap;

/// The columns that losses are read from.
const COLUMNS: [ColumnId; 6] =
    [ColumnId::Ts, ColumnId::Cpu, ColumnId::Seq, ColumnId::Kind, ColumnId::Value, ColumnId::Span];
/// Intervals that are remembered; of more, neighbours become one.
const MAX_INTERVALS: usize = 64 << 10;

/// Intervals of time in which events were lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sorted, without overlap; ns of CLOCK_MONOTONIC, ends included.
    intervals: Vec<(u64, u64)>,
    /// Events lost.
    pub lost: u64,
}

impl Losses {
    /// Reads the losses of a capture. One that counted none and ended properly is not read at all.
    pub fn read(capture: &Capture) -> Result<Self> {
        let mut scan = Scan::default();
        let total = capture.metadata().totals.lost();
        if total > 0 || *capture.state() == State::Unfinished {
            for group in 0..capture.groups().len() {
                scan.add(&capture.read(group, &COLUMNS)?);
            }
        }
        let lost = total.max(scan.rows_lost).max(scan.gaps_lost);
        Ok(Self::from_intervals(scan.intervals, lost))
    }

    /// Losses in intervals of any order.
    pub fn from_intervals(mut intervals: Vec<(u64, u64)>, lost: u64) -> Self {
        intervals.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in intervals {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self { intervals: merged, lost }
    }

    /// Whether events were lost between two times.
    pub fn overlap(&self, start: u64, end: u64) -> bool {
        let first = self.intervals.partition_point(|(_, e)| *e < start);
        self.intervals.get(first).is_some_and(|(s, _)| *s <= end)
    }

    /// Whether none were lost.
    pub fn is_empty(&self) -> bool {
        self.lost == 0 && self.intervals.is_empty()
    }
}

/// Losses while they are read.
#[derive(Default)]
struct Scan {
    /// Intervals so far.
    intervals: Vec<(u64, u64)>,
    /// By CPU, counter and time of its last event.
    last: FxHashMap<u16, (u64, u64)>,
    /// Events that loss rows say were lost.
    rows_lost: u64,
    /// Events that gaps in the counters say were lost.
    gaps_lost: u64,
}

impl Scan {
    /// Adds the losses of a row group with [`COLUMNS`].
    fn add(&mut self, batch: &Batch) {
        let number = |column| batch.unsigned(column);
        let (ts, cpu, seq) = (number(ColumnId::Ts), number(ColumnId::Cpu), number(ColumnId::Seq));
        let (kind, span) = (batch.text(ColumnId::Kind), number(ColumnId::Span));
        for row in 0..batch.rows() {
            let (Some(ts), Some(cpu)) = (ts.get(row), cpu.get(row)) else { continue };
            if let Some(seq) = seq.get(row) {
                self.counter(cpu as u16, seq, ts);
            }
            if kind.and_then(|kind| kind.get(row)) == Some(ntc::schema::kind::LOSS) {
                let lost = match batch.value(ColumnId::Value, row) {
                    Some(Value::Signed(lost)) => lost,
                    _ => 0,
                };
                self.loss_row(ts, span.get(row).unwrap_or(0), lost);
            }
        }
        self.shrink();
    }

    /// A loss row: events were lost in the time before it.
    fn loss_row(&mut self, ts: u64, span: u64, lost: i64) {
        self.rows_lost = self.rows_lost.saturating_add(u64::try_from(lost).unwrap_or(0));
        self.intervals.push((ts.saturating_sub(span), ts));
    }

    /// An event's per-CPU counter: a gap is a loss between this event and the last.
    fn counter(&mut self, cpu: u16, seq: u64, ts: u64) {
        if let Some((last, last_ts)) = self.last.insert(cpu, (seq, ts))
            && seq > last.saturating_add(1)
        {
            self.gaps_lost = self.gaps_lost.saturating_add(seq - last - 1);
            // Between the two events, without them.
            let first = last_ts.saturating_add(1).min(ts);
            self.intervals.push((first, ts.saturating_sub(1).max(first)));
        }
    }

    /// Keeps the number of intervals bounded: every two become one.
    fn shrink(&mut self) {
        while self.intervals.len() > MAX_INTERVALS {
            self.intervals.sort_unstable();
            self.intervals = self
                .intervals
                .chunks(2)
                .map(|pair| (pair[0].0, pair.iter().map(|p| p.1).max().unwrap_or(pair[0].1)))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_merged_and_found() {
        let losses = Losses::from_intervals(vec![(50, 60), (10, 20), (15, 30)], 3);
        assert!(losses.overlap(0, 10));
        assert!(losses.overlap(25, 26));
        assert!(!losses.overlap(31, 49));
        assert!(losses.overlap(31, 50));
        assert!(!losses.overlap(61, 100));
    }

    #[test]
    fn a_gap_in_a_counter_is_a_loss_between_two_events() {
        let mut scan = Scan::default();
        scan.counter(0, 1, 100);
        scan.counter(1, 1, 110);
        scan.counter(0, 2, 120);
        scan.counter(0, 5, 200);
        assert_eq!(scan.intervals, [(121, 199)]);
        assert_eq!(scan.gaps_lost, 2);
    }

    #[test]
    fn many_intervals_stay_bounded() {
        let mut scan = Scan::default();
        for ts in 0..MAX_INTERVALS as u64 + 2 {
            scan.loss_row(ts * 10, 1, 1);
        }
        scan.shrink();
        assert!(scan.intervals.len() <= MAX_INTERVALS);
        assert!(Losses::from_intervals(scan.intervals, 1).overlap(0, 0));
    }
}
