//! Other methods on the same messages, each written from its description and not from this module's parts.

use super::super::Direction;
use super::simulation::Run;

/// A straight line: offset in ns at the run's start, and skew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Offset at the start.
    pub offset: f64,
    /// Skew.
    pub skew: f64,
}

impl Line {
    /// The offset at a time.
    pub fn at(self, t: f64) -> f64 {
        self.offset + self.skew * t
    }
}

/// Bounds of the offset by time: upper ones of messages from A to B, and lower ones.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    upper: Vec<(f64, f64)>,
    lower: Vec<(f64, f64)>,
}

impl Bounds {
    /// Those of a run's messages within a time, relative to the simulation's start.
    pub fn of(run: &Run, from: f64, to: f64) -> Self {
        let of = |wanted: Direction| {
            let messages = run.messages.iter().filter(move |(direction, _)| *direction == wanted);
            let points = messages.map(|(_, message)| run.bound(wanted, *message));
            points.filter(|point| from <= point.0 && point.0 < to).collect()
        };
        Self { upper: of(Direction::Forward), lower: of(Direction::Reverse) }
    }

    /// The highest intercept below the upper bounds, and the lowest above the lower ones, of a slope.
    fn intercepts(&self, skew: f64) -> (f64, f64) {
        let high = self.upper.iter().map(|(x, y)| y - skew * x).fold(f64::INFINITY, f64::min);
        let low = self.lower.iter().map(|(x, y)| y - skew * x).fold(f64::NEG_INFINITY, f64::max);
        (high, low)
    }

    /// Twice the margin of the best line of a slope.
    fn gap(&self, skew: f64) -> f64 {
        let (high, low) = self.intercepts(skew);
        high - low
    }

    /// The slope of the line with the largest margin, by ternary search.
    fn best(&self) -> f64 {
        let (mut low, mut high) = (-1e-3, 1e-3);
        for _ in 0..90 {
            let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if self.gap(a) < self.gap(b) {
                low = a;
            } else {
                high = b;
            }
        }
        f64::midpoint(low, high)
    }

    /// The line with the largest margin (Huygens' support vectors in two dimensions).
    pub fn largest_margin(&self) -> Line {
        let skew = self.best();
        let (high, low) = self.intercepts(skew);
        Line { offset: f64::midpoint(high, low), skew }
    }

    /// The extreme slope towards one side at which a line still fits, by bisection.
    fn extreme(&self, sign: f64) -> Line {
        let (mut fits, mut fails) = (self.best(), sign * 1e-3);
        for _ in 0..60 {
            let middle = f64::midpoint(fits, fails);
            if self.gap(middle) < 0.0 {
                fails = middle;
            } else {
                fits = middle;
            }
        }
        let (high, low) = self.intercepts(fits);
        Line { offset: f64::midpoint(high, low), skew: fits }
    }

    /// Trace Compass, SyncAlgorithmFullyIncremental (Jabbarifar, Dagenais and Shameli-Sendi 2015): of all lines between
    /// both hulls that with the largest slope and that with the least, and the mean of both slopes and both intercepts.
    /// `None` where the lines intersect (its quality FAIL).
    pub fn trace_compass(&self) -> Option<[Line; 3]> {
        if self.gap(self.best()) < 0.0 {
            return None;
        }
        let (least, most) = (self.extreme(-1.0), self.extreme(1.0));
        let skew = f64::midpoint(least.skew, most.skew);
        Some([least, Line { offset: f64::midpoint(least.offset, most.offset), skew }, most])
    }
}
