//! The lines that fit between the messages of one window.

use super::cloud::{Hull, Point};
use super::stability::Stability;

/// Points of both directions, by time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'a> {
    /// From A to B: the offset is at most `y`.
    pub forward: &'a [Point],
    /// From B to A: the negative of the offset is at most `y`.
    pub reverse: &'a [Point],
}

impl<'a> Points<'a> {
    /// Those from one time to another, both included.
    pub fn within(self, start: f64, end: f64) -> Self {
        let part = |points: &'a [Point]| {
            let from = points.partition_point(|p| p.x < start);
            &points[from..points.partition_point(|p| p.x <= end).max(from)]
        };
        Self { forward: part(self.forward), reverse: part(self.reverse) }
    }

    /// The first and last time; `None` where there is nothing.
    pub fn span(self) -> Option<(f64, f64)> {
        let ends = [self.forward.first(), self.reverse.first(), self.forward.last(), self.reverse.last()];
        let times = || ends.into_iter().flatten().map(|p| p.x);
        Some((times().reduce(f64::min)?, times().reduce(f64::max)?))
    }

    /// All times, ascending.
    pub fn times(self) -> Vec<f64> {
        let mut times: Vec<f64> = self.forward.iter().chain(self.reverse).map(|p| p.x).collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.forward.len() + self.reverse.len()
    }
}

/// A stretch of time, ns after the pair's origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    /// Where it begins.
    pub start: f64,
    /// How long it is.
    pub length: f64,
}

/// All lines, offset over time, that contradict no message of a window by more than the clock's allowance.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Where.
    window: Window,
    /// What the clock may do.
    stability: Stability,
    /// Hull of the messages from A to B.
    forward: Hull,
    /// Hull of those from B to A, turned upside down.
    reverse: Hull,
    /// The least and the largest slope of such lines.
    slopes: (f64, f64),
    /// The slope of the line with the largest margin.
    pub slope: f64,
    /// By how much the hulls are apart along that line: twice its margin; negative where no line fits without
    /// allowance, infinite where messages go in one direction only.
    pub gap: f64,
}

impl Fit {
    /// Fits the messages of a window.
    pub fn new(points: Points<'_>, window: Window, stability: Stability) -> Self {
        let (forward, reverse) = (Hull::of(points.forward), Hull::of(points.reverse));
        let empty = Self { window, stability, forward, reverse, slopes: (0.0, 0.0), slope: 0.0, gap: 0.0 };
        let most = stability.skew;
        if empty.forward.is_empty() || empty.reverse.is_empty() {
            let slope = empty.single_slope().clamp(-most, most);
            return Self { slopes: (-most, most), slope, gap: f64::INFINITY, ..empty };
        }
        empty.with_gaps(most)
    }

    /// Finds the slopes at which a line fits, and the best. The gap as a function of the slope is concave, and straight
    /// between the slopes of the hulls' edges.
    fn with_gaps(self, most: f64) -> Self {
        let edges = self.forward.slopes().iter().copied().chain(self.reverse.slopes().iter().map(|s| -s));
        let mut slopes: Vec<f64> = edges.filter(|s| s.abs() < most).chain([-most, most]).collect();
        slopes.sort_unstable_by(f64::total_cmp);
        let gaps: Vec<(f64, f64)> = slopes.into_iter().map(|s| (s, self.gap_at(s))).collect();
        let gap = gaps.iter().map(|g| g.1).fold(f64::NEG_INFINITY, f64::max);
        let best = || gaps.iter().filter(|g| g.1 >= gap - FLAT).map(|g| g.0);
        let (first, last) = (best().fold(most, f64::min), best().fold(-most, f64::max));
        let slopes = fitting(&gaps, 2.0 * self.allowance(), (first, last));
        // The messages do not tell the slope where the gap grows up to the largest skew there is.
        let told = first > -most && last < most;
        let slope = if told { f64::midpoint(first, last) } else { f64::midpoint(slopes.0, slopes.1) };
        Self { slopes, slope, gap, ..self }
    }

    /// How far the hulls are apart along a slope.
    fn gap_at(&self, slope: f64) -> f64 {
        let x = self.middle();
        self.forward.at(x, slope) + self.reverse.at(x, -slope)
    }

    /// With one direction only: the slope of its hull in the middle, which is next to most messages (Moon et al. 1999).
    fn single_slope(&self) -> f64 {
        let (forward, reverse) =
            (self.forward.slope_near(self.middle()), self.reverse.slope_near(self.middle()));
        forward.or(reverse.map(|slope| -slope)).unwrap_or(0.0)
    }

    /// The middle of the window.
    pub fn middle(&self) -> f64 {
        self.window.start + self.window.length / 2.0
    }

    /// How far the clock may be from a line.
    fn allowance(&self) -> f64 {
        self.stability.allowance(self.window.length, 0.0)
    }

    /// Whether a line fits.
    pub fn is_feasible(&self) -> bool {
        self.gap + 2.0 * self.allowance() >= 0.0
    }

    /// Whether messages go both ways.
    pub fn is_two_way(&self) -> bool {
        self.gap.is_finite()
    }

    /// The offset is at most this; infinite where nothing is known.
    pub fn high(&self, x: f64) -> f64 {
        if self.is_feasible() { self.forward.reach(x, self.slopes) + self.slack(x) } else { f64::INFINITY }
    }

    /// The offset is at least this.
    pub fn low(&self, x: f64) -> f64 {
        let slopes = (-self.slopes.1, -self.slopes.0);
        if self.is_feasible() { -(self.reverse.reach(x, slopes) + self.slack(x)) } else { f64::NEG_INFINITY }
    }

    /// What the clock may do between the messages and a moment: the line may be off by the allowance, and the clock
    /// from the line again.
    fn slack(&self, x: f64) -> f64 {
        let beyond = (self.window.start - x).max(x - self.window.start - self.window.length).max(0.0);
        self.allowance() + self.stability.allowance(self.window.length, beyond)
    }

    /// The line of the largest margin; with one direction that along its hull; `None` without messages.
    pub fn line(&self, x: f64) -> Option<f64> {
        let at = self.middle();
        let (high, low) = (self.forward.at(at, self.slope), -self.reverse.at(at, -self.slope));
        let offset = match (high.is_finite(), low.is_finite()) {
            (true, true) => f64::midpoint(high, low),
            (true, false) => high,
            (false, true) => low,
            (false, false) => return None,
        };
        Some(offset + self.slope * (x - at))
    }
}

/// Gaps that differ by less, ns, are alike.
const FLAT: f64 = 1e-3;

/// The slopes between which the gap, loosened, is not negative: where it changes its sign, or the ends.
fn fitting(gaps: &[(f64, f64)], loosened: f64, best: (f64, f64)) -> (f64, f64) {
    let root = |a: &(f64, f64), b: &(f64, f64)| a.0 + (b.0 - a.0) * (a.1 + loosened) / (a.1 - b.1);
    let fits = |gap: &(f64, f64)| gap.1 + loosened >= 0.0;
    let Some(first) = gaps.iter().position(fits) else { return best };
    let last = gaps.iter().rposition(fits).unwrap_or(first);
    let least = if first > 0 { root(&gaps[first - 1], &gaps[first]) } else { gaps[first].0 };
    let most = gaps.get(last + 1).map_or(gaps[last].0, |after| root(&gaps[last], after));
    (least, most)
}
