//! The clock of host B against that of host A: the estimate and its interval at any time.

use super::path::Path;
use super::scale::saturated;

/// What is known of a pair's clocks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Messages both ways, and the estimate contradicts none of them.
    Accurate,
    /// Messages both ways, but no clock of the assumed stability fits them: they are mismatched or the clock is worse, and
    /// the interval is not certain.
    Approximate(Reason),
    /// Messages in one direction only: skew, and a bound of the offset from one side.
    OneWay,
    /// Wall clocks only.
    ClockOnly,
    /// Nothing.
    Absent,
}

/// Why an offset is approximate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is no line between the messages of some windows, after all breaks that were looked for.
    NoFit,
    /// Some messages arrive before they were sent, by the estimate. How many of those that count.
    Inversions(usize),
}

/// A value with the interval in which the truth is; `None`: not bounded on that side. All ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The most likely value.
    pub value: i64,
    /// It is not less than this.
    pub low: Option<i64>,
    /// It is not more than this.
    pub high: Option<i64>,
}

/// Where a clock did what its stability excludes: a step, a pause of the guest, a new rate; or a message is mismatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// The last message before it, on host A's clock, ns.
    pub after: i64,
    /// The first message after it.
    pub before: i64,
    /// By how much the offset differs, ns.
    pub step: i64,
}

/// What times and offsets are counted from, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// A time of host A's clock.
    pub time: i64,
    /// The offset about then.
    pub offset: i64,
}

/// What is known at one time; relative to the origin, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// The time.
    pub x: f64,
    /// The offset is not less than this.
    pub low: f64,
    /// It is not more than this.
    pub high: f64,
}

/// What is known between two times: bounds are straight in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// At its start.
    pub from: End,
    /// At its end.
    pub to: End,
}

/// B's clock minus A's over the time of A's clock.
#[derive(Clone, Debug)]
pub struct Offset {
    /// What all times and offsets are relative to.
    origin: Origin,
    /// The lower bound, upside down and backwards, so that it is an upper one.
    low: Path,
    /// The estimate.
    value: Path,
    /// The upper bound.
    high: Path,
    /// First and last time at which something was observed.
    span: (f64, f64),
    /// Half of the times between them have narrower intervals; infinite where these are half open.
    width: f64,
    /// Where the clock broke.
    pub(super) breaks: Vec<Break>,
    /// What is known, and how.
    pub(super) quality: Quality,
}

impl Offset {
    /// An offset of which cells, one after another and at least one, are known, and an estimate where they meet.
    pub(super) fn new(
        origin: Origin,
        cells: &[Cell],
        line: impl Fn(f64) -> f64,
        span: (f64, f64),
        quality: Quality,
    ) -> Self {
        let ends: Vec<End> = cells.iter().flat_map(|cell| [cell.from, cell.to]).collect();
        let value = ends.chunk_by(|a, b| a.x == b.x).map(|meeting| knot(meeting, &line));
        let inner = cells.iter().filter(|cell| cell.from.x < span.1 && cell.to.x > span.0);
        let mut widths: Vec<f64> = inner.map(Cell::width).collect();
        widths.sort_unstable_by(f64::total_cmp);
        Self {
            origin,
            low: Path::new(ends.iter().rev().map(|end| (-end.x, -end.low)).collect()),
            value: Path::new(value.collect()),
            high: Path::new(ends.iter().map(|end| (end.x, end.high)).collect()),
            span,
            width: widths.get(widths.len() / 2).copied().unwrap_or(f64::INFINITY),
            breaks: Vec::new(),
            quality,
        }
    }

    /// Leads the estimate through points, unless B's clock would run backwards then.
    pub(super) fn lead_through(&mut self, points: Vec<(f64, f64)>) {
        self.value = self.value.through(points).unwrap_or_else(|| self.value.clone());
    }

    /// A break between two relative times.
    pub(super) fn break_between(&self, after: f64, before: f64) -> Break {
        let step = (self.value_at(before) - self.value_at(after)) as i64;
        Break { after: self.origin.time_at(after), before: self.origin.time_at(before), step }
    }

    /// B's clock minus A's when A's shows `a`.
    pub fn at(&self, a: i64) -> Estimate {
        Estimate::new(self.origin.offset.into(), self.relative(a))
    }

    /// What B's clock shows when A's shows `a`.
    pub fn to_b(&self, a: i64) -> Estimate {
        Estimate::new(i128::from(a) + i128::from(self.origin.offset), self.relative(a))
    }

    /// What A's clock shows when B's shows `b`: the `a` for which `a + D(a) = b`.
    pub fn to_a(&self, b: i64) -> Estimate {
        let y = self.since_origin(b, self.origin.offset);
        let times = [-self.low.since(-y), self.value.since(y), self.high.since(y)];
        Estimate::new(self.origin.time.into(), [times[2], times[1], times[0]])
    }

    /// By how much B's clock runs faster than A's when A's shows `a`: 1e-6 is 1 ppm.
    pub fn skew(&self, a: i64) -> f64 {
        self.value.slope(self.since_origin(a, 0))
    }

    /// Half of all times between the first and last message have narrower intervals, ns; `None`: they are half open.
    pub fn width(&self) -> Option<i64> {
        self.width.is_finite().then(|| self.width.ceil() as i64)
    }

    /// The times of the first and last message on A's clock; outside of them the interval grows.
    pub fn span(&self) -> (i64, i64) {
        (self.origin.time_at(self.span.0), self.origin.time_at(self.span.1))
    }

    /// Where a clock broke.
    pub fn breaks(&self) -> &[Break] {
        &self.breaks
    }

    /// What is known, and how.
    pub fn quality(&self) -> Quality {
        self.quality
    }

    /// A time after the origin; of B's clock when its offset is given.
    fn since_origin(&self, time: i64, offset: i64) -> f64 {
        (i128::from(time) - i128::from(offset) - i128::from(self.origin.time)) as f64
    }

    /// Lower bound, estimate and upper bound at a time of A's clock.
    fn relative(&self, a: i64) -> [f64; 3] {
        let x = self.since_origin(a, 0);
        [-self.low.at(-x), self.value.at(x), self.high.at(x)]
    }

    /// The estimate at a relative time.
    pub(super) fn value_at(&self, x: f64) -> f64 {
        self.value.at(x)
    }
}

/// The estimate where cells meet, as far as their bounds have it.
fn knot(meeting: &[End], line: impl Fn(f64) -> f64) -> (f64, f64) {
    let x = meeting[0].x;
    (x, meeting.iter().fold(line(x), |value, end| value.max(end.low).min(end.high)))
}

impl Estimate {
    /// A base and what is added to it.
    fn new(base: i128, [low, value, high]: [f64; 3]) -> Self {
        let bound = |bound: f64| bound.is_finite().then(|| saturated(base.saturating_add(bound as i128)));
        Self {
            value: saturated(base.saturating_add(value.round() as i128)),
            low: bound(low.floor()),
            high: bound(high.ceil()),
        }
    }

    /// A value that is known.
    pub(super) fn exact(value: i64) -> Self {
        Self { value, low: Some(value), high: Some(value) }
    }

    /// The width of the interval, ns; `None` where it is half open.
    pub fn width(&self) -> Option<i64> {
        Some(self.high?.saturating_sub(self.low?))
    }

    /// What is in both intervals, with the value of the narrower; `None` where they do not overlap.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        let low = self.low.max(other.low);
        let high = self.high.into_iter().chain(other.high).min();
        let narrower = [self, other].into_iter().min_by_key(|e| e.width().unwrap_or(i64::MAX))?;
        let value = narrower.value.max(low.unwrap_or(i64::MIN)).min(high.unwrap_or(i64::MAX));
        (self.apart(other) == 0).then_some(Self { value, low, high })
    }

    /// How far two intervals are apart, ns; 0 where they overlap.
    pub(super) fn apart(self, other: Self) -> i64 {
        let above = |low: Option<i64>, high: Option<i64>| Some(low?.saturating_sub(high?));
        above(self.low, other.high).max(above(other.low, self.high)).unwrap_or(0).max(0)
    }
}

impl Origin {
    /// The time of host A's clock at a relative time.
    pub fn time_at(self, x: f64) -> i64 {
        saturated(i128::from(self.time).saturating_add(x as i128))
    }
}

impl Cell {
    /// What holds in either of two cells of the same times.
    pub fn or(self, other: Self) -> Self {
        let either = |a: End, b: End| End { low: a.low.min(b.low), high: a.high.max(b.high), ..a };
        Self { from: either(self.from, other.from), to: either(self.to, other.to) }
    }

    /// The width of the interval in the middle.
    fn width(&self) -> f64 {
        f64::midpoint(self.from.high - self.from.low, self.to.high - self.to.low)
    }
}
