//! A bound of the offset over time, or its estimate.

/// A path of straight lines through points of time and offset, by time; it jumps where two have the same time.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// The points.
    points: Vec<(f64, f64)>,
    /// What B's clock shows at each point at most, if the path is an upper bound: it runs forwards, so that the least
    /// time from there on counts.
    shown: Vec<f64>,
}

impl Path {
    /// The path through points, at least one, by time.
    pub fn new(points: Vec<(f64, f64)>) -> Self {
        let mut least = f64::INFINITY;
        let shown = points.iter().rev().map(|(x, offset)| {
            least = least.min(x + offset);
            least
        });
        let mut shown: Vec<f64> = shown.collect();
        shown.reverse();
        Self { points, shown }
    }

    /// The path with more points; `None` where B's clock would run backwards then.
    pub fn through(&self, mut points: Vec<(f64, f64)>) -> Option<Self> {
        points.extend(&self.points);
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by_key(|point| point.0);
        let runs = points.array_windows().all(|[a, b]| a.0 + a.1 < b.0 + b.1);
        runs.then(|| Self::new(points))
    }

    /// The offset at a time.
    pub fn at(&self, x: f64) -> f64 {
        let [from, to] = self.around(x);
        straight(from, to, x)
    }

    /// How steep it is at a time.
    pub fn slope(&self, x: f64) -> f64 {
        let [from, to] = self.around(x);
        (to.1 - from.1) / (to.0 - from.0)
    }

    /// The time from which on B's clock may show `y`, by this bound of it: it shows less before.
    pub fn since(&self, y: f64) -> f64 {
        let after = self.shown.partition_point(|shown| *shown < y);
        let turned = |(x, offset): (f64, f64)| (x + offset, x);
        match (self.points[..after].last().copied().map(turned), self.points.get(after).copied().map(turned))
        {
            (Some(before), Some(after)) => straight(before, after, y),
            (Some(before), None) => before.1,
            (None, _) => f64::NEG_INFINITY,
        }
    }

    /// The points before and after a time; the outermost where it is outside.
    fn around(&self, x: f64) -> [(f64, f64); 2] {
        let last = self.points.len() - 1;
        let after = self.points.partition_point(|point| point.0 <= x).min(last);
        [self.points[after.saturating_sub(1)], self.points[after]]
    }
}

/// The value at `x` on the straight line from one point to another, and not beyond them.
fn straight(from: (f64, f64), to: (f64, f64), x: f64) -> f64 {
    let part = ((x - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
    // Bounds may be infinite, at both ends then.
    if from.1 == to.1 { from.1 } else { from.1 + (to.1 - from.1) * part }
}
