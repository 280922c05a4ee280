//! What the messages of one direction say, and what of it counts.

/// Points that are kept; of more, those that a line can touch.
const CAPACITY: usize = 8192;

/// Stretches of time, of each of which the hull is kept.
const STRETCHES: f64 = 512.0;

/// A moment, and what a clock's offset is at most then, both ns after the pair's origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// The moment on host A's clock.
    pub x: f64,
    /// The bound: of the offset; in the other direction of its negative.
    pub y: f64,
}

/// Points of one direction in bounded memory. What is thinned out costs width, never truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Cloud {
    /// In the order in which they came.
    points: Vec<Point>,
}

impl Cloud {
    /// Adds a point.
    pub fn add(&mut self, point: Point) {
        if self.points.len() >= CAPACITY {
            self.thin();
        }
        self.points.push(point);
    }

    /// All that is kept, by time.
    pub fn sorted(&self) -> Vec<Point> {
        let mut points = self.points.clone();
        points.sort_unstable_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
        points
    }

    /// Keeps the hulls of stretches; where these are as many points (a clock that bends all the time), half of them.
    fn thin(&mut self) {
        let points = self.sorted();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let (start, stretch) = (first.x, (last.x - first.x).max(1.0) / STRETCHES);
        let stretches =
            points.chunk_by(|a, b| ((a.x - start) / stretch).floor() == ((b.x - start) / stretch).floor());
        self.points = stretches.flat_map(|stretch| Hull::of(stretch).vertices).collect();
        if self.points.len() > CAPACITY / 2 {
            self.points = self.points.iter().copied().step_by(2).collect();
        }
    }
}

/// The lower convex hull of points: all lines that lie under them lie under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hull {
    /// By time.
    vertices: Vec<Point>,
    /// From each vertex to the next, ascending.
    slopes: Vec<f64>,
}

impl Hull {
    /// The hull of points in order of time (Andrew's monotone chain).
    pub fn of(points: &[Point]) -> Self {
        let mut vertices: Vec<Point> = Vec::new();
        for point in points {
            while let [.., before, last] = vertices[..]
                && slope(before, *point) <= slope(before, last)
            {
                vertices.pop();
            }
            // Of points at one moment the lowest came first.
            if vertices.last().is_none_or(|last| last.x < point.x) {
                vertices.push(*point);
            }
        }
        let slopes = vertices.array_windows().map(|[a, b]| slope(*a, *b)).collect();
        Self { vertices, slopes }
    }

    /// Whether there is none, so that any line lies under it.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// The slopes of its edges.
    pub fn slopes(&self) -> &[f64] {
        &self.slopes
    }

    /// At `x`, the highest line of a slope that lies under it.
    pub fn at(&self, x: f64, slope: f64) -> f64 {
        let touched = self.vertices.get(self.slopes.partition_point(|s| *s < slope));
        touched.map_or(f64::INFINITY, |vertex| vertex.y + slope * (x - vertex.x))
    }

    /// At `x`, the highest of all lines under it whose slopes are within bounds.
    pub fn reach(&self, x: f64, (least, most): (f64, f64)) -> f64 {
        let steepest = match self.vertices.partition_point(|vertex| vertex.x <= x).checked_sub(1) {
            Some(edge) => self.slopes.get(edge).copied().unwrap_or(most),
            None => least,
        };
        self.at(x, steepest.clamp(least, most))
    }

    /// The slope of the edge next to `x`; `None` where there is none.
    pub fn slope_near(&self, x: f64) -> Option<f64> {
        let edge = self.vertices.partition_point(|vertex| vertex.x <= x).saturating_sub(1);
        self.slopes.get(edge).or(self.slopes.last()).copied()
    }
}

/// The slope from one point to a later one.
fn slope(a: Point, b: Point) -> f64 {
    (b.y - a.y) / (b.x - a.x)
}
