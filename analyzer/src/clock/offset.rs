//! The clock of host B against that of host A: the estimate and its interval at any time.

use super::scale::saturated;

/// What is known of a pair's clocks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Messages both ways, and the estimate contradicts none of them.
    Accurate,
    /// Messages both ways, but no clock of the assumed stability fits them: they are mismatched or the clock is worse.
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
    /// One after another, without gaps.
    cells: Vec<Cell>,
    /// Times and estimates where cells meet, at both ends, and at some messages.
    knots: Vec<(f64, f64)>,
    /// Of each cell, what B's clock shows at least at its end, since it runs forwards: the largest lower bound so far.
    passed: Vec<f64>,
    /// What it shows at most at its start: the least upper bound from there on.
    ahead: Vec<f64>,
    /// First and last time at which something was observed.
    span: (f64, f64),
    /// Where the clock broke.
    breaks: Vec<Break>,
    /// What is known, and how.
    quality: Quality,
}

impl Offset {
    /// An offset of which cells, one after another and at least one, are known, and an estimate where they meet.
    pub(super) fn new(origin: Origin, cells: Vec<Cell>, line: impl Fn(f64) -> f64) -> Self {
        let ends: Vec<End> = cells.iter().flat_map(|cell| [cell.from, cell.to]).collect();
        let knots = ends.chunk_by(|a, b| a.x == b.x).map(|meeting| knot(meeting, &line)).collect();
        let passed = running(cells.iter().map(|cell| cell.b_times(|end| end.low)), f64::max);
        let mut ahead = running(cells.iter().rev().map(|cell| cell.b_times(|end| end.high)), f64::min);
        ahead.reverse();
        Self {
            origin,
            cells,
            knots,
            passed,
            ahead,
            span: (0.0, 0.0),
            breaks: Vec::new(),
            quality: Quality::Absent,
        }
    }

    /// The same with the first and last time at which something was observed, and how.
    pub(super) fn observed(self, span: (f64, f64), quality: Quality) -> Self {
        Self { span, quality, ..self }
    }

    /// The same with an estimate that also goes through points, unless B's clock would run backwards then.
    pub(super) fn through(self, mut points: Vec<(f64, f64)>) -> Self {
        points.extend(&self.knots);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by_key(|point| point.0);
        let runs = points.array_windows().all(|[a, b]| a.0 + a.1 < b.0 + b.1);
        if runs { Self { knots: points, ..self } } else { self }
    }

    /// The same with breaks after some times and before others.
    pub(super) fn with_breaks(self, breaks: impl Iterator<Item = (f64, f64)>) -> Self {
        let told = |(from, to)| Break {
            after: self.origin.time_at(from),
            before: self.origin.time_at(to),
            step: (self.relative(to)[1] - self.relative(from)[1]) as i64,
        };
        Self { breaks: breaks.map(told).collect(), ..self }
    }

    /// B's clock minus A's when A's shows `a`.
    pub fn at(&self, a: i64) -> Estimate {
        let [low, value, high] = self.relative(self.since_origin(a, 0));
        Estimate::new(self.origin.offset.into(), [low, value, high])
    }

    /// What B's clock shows when A's shows `a`.
    pub fn to_b(&self, a: i64) -> Estimate {
        let [low, value, high] = self.relative(self.since_origin(a, 0));
        Estimate::new(i128::from(a) + i128::from(self.origin.offset), [low, value, high])
    }

    /// What A's clock shows when B's shows `b`: the `a` for which `a + D(a) = b`.
    pub fn to_a(&self, b: i64) -> Estimate {
        let y = self.since_origin(b, self.origin.offset);
        let before = self.ahead.partition_point(|ahead| *ahead < y);
        let after = self.passed.partition_point(|passed| *passed <= y);
        let low = self.cells[..before].last().map_or(f64::NEG_INFINITY, |cell| cell.last_before(y));
        let high = self.cells.get(after).map_or(f64::INFINITY, |cell| cell.first_after(y));
        Estimate::new(self.origin.time.into(), [low, self.inverse(y), high])
    }

    /// By how much B's clock runs faster than A's when A's shows `a`: 1e-6 is 1 ppm.
    pub fn skew(&self, a: i64) -> f64 {
        let x = self.since_origin(a, 0);
        let [from, to] = self.around(|knot| knot.0 <= x);
        (to.1 - from.1) / (to.0 - from.0)
    }

    /// Half of all times between the first and last message have narrower intervals, ns; `None`: they are half open.
    pub fn width(&self) -> Option<i64> {
        let inner = self.cells.iter().filter(|cell| cell.from.x < self.span.1 && cell.to.x > self.span.0);
        let mut widths: Vec<f64> =
            inner.map(|cell| f64::midpoint(cell.from.width(), cell.to.width())).collect();
        widths.sort_unstable_by(f64::total_cmp);
        widths.get(widths.len() / 2).filter(|width| width.is_finite()).map(|width| width.ceil() as i64)
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

    /// Lower bound, estimate and upper bound at a time.
    pub(super) fn relative(&self, x: f64) -> [f64; 3] {
        let i = self.cells.partition_point(|cell| cell.to.x < x).min(self.cells.len() - 1);
        let Cell { from, to } = self.cells[i];
        let (low, high) = ([from.low, to.low], [from.high, to.high]);
        let [before, after] = self.around(|knot| knot.0 <= x);
        let bound = |ends: [f64; 2]| straight((from.x, ends[0]), (to.x, ends[1]), x);
        [bound(low), straight(before, after, x), bound(high)]
    }

    /// The knots before and after something that ascends with them.
    fn around(&self, is_before: impl Fn(&(f64, f64)) -> bool) -> [(f64, f64); 2] {
        let after = self.knots.partition_point(is_before).clamp(1, self.knots.len() - 1);
        [self.knots[after - 1], self.knots[after]]
    }

    /// The time at which B's clock shows `y`, by the estimate.
    fn inverse(&self, y: f64) -> f64 {
        let [from, to] = self.around(|(x, offset)| x + offset <= y).map(|(x, offset)| (x + offset, x));
        straight(from, to, y)
    }
}

/// The value at `x` on the straight line from one point to another, and not beyond them.
fn straight(from: (f64, f64), to: (f64, f64), x: f64) -> f64 {
    let part = ((x - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
    // Infinite bounds are so at both ends.
    if from.1 == to.1 { from.1 } else { from.1 + (to.1 - from.1) * part }
}

/// The estimate where cells meet, as far as their bounds have it.
fn knot(meeting: &[End], line: impl Fn(f64) -> f64) -> (f64, f64) {
    let x = meeting[0].x;
    (x, meeting.iter().fold(line(x), |value, end| value.max(end.low).min(end.high)))
}

/// The extreme of all values so far.
fn running(values: impl Iterator<Item = [f64; 2]>, extreme: fn(f64, f64) -> f64) -> Vec<f64> {
    let values = values.map(|[a, b]| extreme(a, b));
    let so_far = values.scan(None, |so_far: &mut Option<f64>, value| {
        *so_far = Some(so_far.map_or(value, |so_far| extreme(so_far, value)));
        *so_far
    });
    so_far.collect()
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
    /// What B's clock shows at both ends, by one of the bounds.
    fn b_times(self, bound: impl Fn(End) -> f64) -> [f64; 2] {
        [self.from, self.to].map(|end| end.x + bound(end))
    }

    /// The last time in the cell at which B's clock cannot show `y` yet.
    fn last_before(self, y: f64) -> f64 {
        match self.b_times(|end| end.high) {
            [_, to] if to < y => self.to.x,
            [from, to] => straight((from, self.from.x), (to, self.to.x), y),
        }
    }

    /// The first time in the cell at which B's clock cannot show `y` any more.
    fn first_after(self, y: f64) -> f64 {
        match self.b_times(|end| end.low) {
            [from, _] if from > y => self.from.x,
            [from, to] => straight((from, self.from.x), (to, self.to.x), y),
        }
    }

    /// What holds in either of two cells of the same times.
    pub fn or(self, other: Self) -> Self {
        let either = |a: End, b: End| End { low: a.low.min(b.low), high: a.high.max(b.high), ..a };
        Self { from: either(self.from, other.from), to: either(self.to, other.to) }
    }
}

impl End {
    /// The width of the interval.
    fn width(self) -> f64 {
        self.high - self.low
    }
}
