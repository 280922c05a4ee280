//! When events were lost: the loss rows of a capture and the gaps in its per-CPU counters.

use std::cell::RefCell;

use ahash::AHashMap;
use ntc::schema::kind;
use ntc::{Batch, Capture, ColumnId, State};

/// Intervals that are remembered; of more, neighbours become one.
const MAX_INTERVALS: usize = 64 << 10;

/// When events were lost, as far as the capture was read.
#[derive(Debug, Default)]
pub struct Losses {
    /// What the recorder counted, where it finished.
    counted: u64,
    /// Whether there is something to learn: a capture that counted no loss and ended properly has none.
    has_any: bool,
    /// What was learnt.
    known: RefCell<Known>,
}

impl Losses {
    /// Those of a capture, of which nothing was read yet.
    pub fn new(capture: &Capture) -> Self {
        let counted = capture.metadata().totals.lost();
        let has_any = counted > 0 || *capture.state() == State::Unfinished;
        Self { counted, has_any, known: RefCell::default() }
    }

    /// Losses in intervals of any order, ns of CLOCK_MONOTONIC.
    pub fn from_intervals(intervals: Vec<(u64, u64)>, lost: u64) -> Self {
        let mut known = Known { new: intervals, ..Known::default() };
        known.merge();
        Self { counted: lost, has_any: true, known: RefCell::new(known) }
    }

    /// Events lost, as far as it is known.
    pub fn lost(&self) -> u64 {
        let known = self.known.borrow();
        self.counted.max(known.rows_lost).max(known.gaps_lost)
    }

    /// Whether there may be losses to learn of.
    pub fn may_be_any(&self) -> bool {
        self.has_any
    }

    /// Whether events were lost between two times.
    pub fn overlap(&self, start: u64, end: u64) -> bool {
        if !self.has_any {
            return false;
        }
        let known = self.known.borrow();
        let first = known.intervals.partition_point(|(_, e)| *e < start);
        known.intervals.get(first).is_some_and(|(s, _)| *s <= end)
    }

    /// Learns from a row group, which must have the columns ts, cpu, seq, kind, value and span.
    pub fn learn(&self, group: usize, batch: &Batch) {
        if self.has_any {
            self.known.borrow_mut().learn(group, batch);
        }
    }
}

/// What was learnt.
#[derive(Debug, Default)]
struct Known {
    /// Sorted, without overlap; ns of CLOCK_MONOTONIC, ends included.
    intervals: Vec<(u64, u64)>,
    /// Intervals that are not among them yet.
    new: Vec<(u64, u64)>,
    /// By CPU, counter and time of its last event.
    last: AHashMap<u16, (u64, u64)>,
    /// The row group that was read last.
    group: Option<usize>,
    /// Events that loss rows say were lost.
    rows_lost: u64,
    /// Events that gaps in the counters say were lost.
    gaps_lost: u64,
}

impl Known {
    /// Learns from a row group.
    fn learn(&mut self, group: usize, batch: &Batch) {
        match self.group {
            Some(before) if group <= before => return,
            // Between row groups that are not neighbours the counters say nothing.
            Some(before) if group != before + 1 => self.last.clear(),
            _ => {}
        }
        self.group = Some(group);
        let (Some(ts), Some(cpu)) = (batch.u64(ColumnId::Ts), batch.u16(ColumnId::Cpu)) else { return };
        let kinds = batch.text(ColumnId::Kind);
        let loss = kinds.as_ref().and_then(|k| k.values().iter().position(|v| v == Some(kind::LOSS)));
        let (seq, span) = (batch.unsigned(ColumnId::Seq), batch.unsigned(ColumnId::Span));
        for row in 0..batch.rows() {
            let at = ts.value(row);
            if let Some(seq) = seq.get(row) {
                self.counter(cpu.value(row), seq, at);
            }
            if loss.is_some() && kinds.as_ref().is_some_and(|k| k.key(row) == loss) {
                let lost = batch.i64(ColumnId::Value).map_or(0, |values| values.value(row));
                self.loss_row(at, span.get(row).unwrap_or(0), lost);
            }
        }
        self.merge();
    }

    /// A loss row: events were lost in the time before it.
    fn loss_row(&mut self, ts: u64, span: u64, lost: i64) {
        self.rows_lost = self.rows_lost.saturating_add(u64::try_from(lost).unwrap_or(0));
        self.new.push((ts.saturating_sub(span), ts));
    }

    /// An event's per-CPU counter: a gap is a loss between this event and the last.
    fn counter(&mut self, cpu: u16, seq: u64, ts: u64) {
        if let Some((last, last_ts)) = self.last.insert(cpu, (seq, ts))
            && seq > last.saturating_add(1)
        {
            self.gaps_lost = self.gaps_lost.saturating_add(seq - last - 1);
            // Between the two events, without them.
            let first = last_ts.saturating_add(1).min(ts);
            self.new.push((first, ts.saturating_sub(1).max(first)));
        }
    }

    /// Puts the new intervals to the others, and keeps their number bounded: of too many, every two become one.
    fn merge(&mut self) {
        if self.new.is_empty() {
            return;
        }
        let mut all = std::mem::take(&mut self.intervals);
        all.append(&mut self.new);
        all.sort_unstable();
        for (start, end) in all {
            match self.intervals.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => self.intervals.push((start, end)),
            }
        }
        while self.intervals.len() > MAX_INTERVALS {
            let joined = |pair: &[(u64, u64)]| (pair[0].0, pair[pair.len() - 1].1);
            self.intervals = self.intervals.chunks(2).map(joined).collect();
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
        let mut known = Known::default();
        known.counter(0, 1, 100);
        known.counter(1, 1, 110);
        known.counter(0, 2, 120);
        known.counter(0, 5, 200);
        assert_eq!(known.new, [(121, 199)]);
        assert_eq!(known.gaps_lost, 2);
    }

    #[test]
    fn many_intervals_stay_bounded() {
        let mut known = Known::default();
        for ts in 0..MAX_INTERVALS as u64 + 2 {
            known.loss_row(ts * 10, 1, 1);
        }
        known.merge();
        assert!(known.intervals.len() <= MAX_INTERVALS);
        let losses = Losses { has_any: true, known: RefCell::new(known), ..Losses::default() };
        assert!(losses.overlap(0, 0));
    }
}
