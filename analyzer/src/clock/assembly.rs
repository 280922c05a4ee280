//! An offset is made of segments, or of wall clocks.

use super::cloud::Point;
use super::fit::Points;
use super::offset::{Cell, End, Offset, Origin, Quality, Reason};
use super::scale::{Wall, difference};
use super::segment::Segment;
use super::stability::Stability;

/// The least time that is told apart outside of what was observed, ns; it doubles with each cell.
const OUTER: f64 = 1e6;

/// How often it doubles: beyond all times that there are.
const DOUBLINGS: i32 = 44;

/// How often messages that arrive before they were sent are mended.
const MENDINGS: usize = 4;

/// Samples of wall clocks that are used.
const WALL_SAMPLES: usize = 4096;

/// The offset that messages show; `None` without messages.
pub(super) fn of_messages(
    origin: Origin,
    points: Points<'_>,
    stability: Stability,
    wall: &Wall,
) -> Option<Offset> {
    let (segments, span) = (Segment::split(points, stability), points.span()?);
    let sure: Vec<usize> = (0..segments.len()).filter(|i| segments[*i].is_sure()).collect();
    let cells = cells(&segments, &sure);
    if !segments.iter().any(Segment::is_two_way) && wall.is_known() {
        let cells: Vec<Cell> = cells.into_iter().map(|cell| cell.narrowed(origin, wall)).collect();
        return Some(Offset::new(origin, &cells, |x| told(wall, origin, x), span, Quality::OneWay));
    }
    let line = |x| {
        let after = sure.partition_point(|i| segments[*i].start <= x);
        sure.get(after.saturating_sub(1)).and_then(|i| segments[*i].line(x)).unwrap_or(0.0)
    };
    let mut offset = Offset::new(origin, &cells, line, span, Quality::OneWay);
    for _ in 0..MENDINGS {
        let points = inverted(&offset, points, stability);
        if !points.is_empty() {
            offset.lead_through(points);
        }
    }
    let breaks =
        sure.array_windows().map(|[a, b]| offset.break_between(segments[*a].end, segments[*b].start));
    offset.breaks = breaks.collect();
    if segments.iter().any(Segment::is_two_way) {
        offset.quality = two_way_quality(&offset, &segments, points, stability);
    }
    Some(offset)
}

/// The offset that wall clocks show; `None` without samples of both.
pub(super) fn of_wall(wall: &Wall) -> Option<Offset> {
    let first = wall.a.moments().next().filter(|_| wall.is_known())?;
    let origin = Origin { time: first, offset: wall.offset(first) };
    let moments = wall.a.moments().step_by(wall.a.moments().len() / WALL_SAMPLES + 1);
    let times: Vec<f64> = moments.map(|a| difference(a, first)).collect();
    let last = *times.last()?;
    let times: Vec<f64> = outer(0.0, -1.0).rev().chain(times).chain(outer(last, 1.0)).collect();
    let unknown = |x| End { x, low: f64::NEG_INFINITY, high: f64::INFINITY };
    let spans = times.array_windows().filter(|[from, to]| from < to);
    let cells =
        spans.map(|[from, to]| Cell { from: unknown(*from), to: unknown(*to) }.narrowed(origin, wall));
    let cells: Vec<Cell> = cells.collect();
    Some(Offset::new(origin, &cells, |x| told(wall, origin, x), (0.0, last), Quality::ClockOnly))
}

/// How well messages both ways tell.
fn two_way_quality(
    offset: &Offset,
    segments: &[Segment],
    points: Points<'_>,
    stability: Stability,
) -> Quality {
    match inverted(offset, points, stability).len() {
        _ if !segments.iter().all(Segment::is_feasible) => Quality::Approximate(Reason::NoFit),
        0 => Quality::Accurate,
        count => Quality::Approximate(Reason::Inversions(count)),
    }
}

/// What segments say, by time: each one where it surely holds, and in between and outside all that may hold.
fn cells(segments: &[Segment], sure: &[usize]) -> Vec<Cell> {
    let (Some(first), Some(last)) = (sure.first(), sure.last()) else { return Vec::new() };
    let (since, until) = (segments[*first].since, segments[*last].until);
    let before = run(&segments[..=*first], outer(since, -1.0).rev());
    let inner = sure.iter().flat_map(|i| run(&segments[*i..=*i], segments[*i].edges()));
    let gaps = sure.array_windows().flat_map(|[a, b]| {
        let (before, after) = (&segments[*a], &segments[*b]);
        run(&segments[*a..=*b], [before.until, before.end, after.start, after.since].into_iter())
    });
    let after = run(&segments[*last..], outer(until, 1.0));
    let mut cells: Vec<Cell> = before.into_iter().chain(inner).chain(gaps).chain(after).collect();
    cells.sort_unstable_by(|a, b| a.from.x.total_cmp(&b.from.x));
    cells
}

/// Cells between times, in which any of the segments may hold.
fn run(segments: &[Segment], times: impl Iterator<Item = f64>) -> Vec<Cell> {
    let times: Vec<f64> = times.collect();
    let spans = times.array_windows().filter(|[from, to]| from < to);
    let cells = spans.filter_map(|[from, to]| segments.iter().map(|s| s.cell(*from, *to)).reduce(Cell::or));
    cells.collect()
}

/// Times further and further away from one.
fn outer(from: f64, sign: f64) -> impl DoubleEndedIterator<Item = f64> {
    (0..=DOUBLINGS).map(move |i| from + sign * OUTER * (2f64.powi(i) - 1.0))
}

/// The offset by wall clocks, relative to the origin.
fn told(wall: &Wall, origin: Origin, x: f64) -> f64 {
    difference(wall.offset(origin.time_at(x)), origin.offset)
}

impl Cell {
    /// The cell within what wall clocks say, where their error is known.
    fn narrowed(self, origin: Origin, wall: &Wall) -> Self {
        let narrowed = |end: End| {
            let (line, error) =
                (told(wall, origin, end.x), wall.error.map_or(f64::INFINITY, |error| error as f64));
            End { low: end.low.max(line - error), high: end.high.min(line + error), ..end }
        };
        Self { from: narrowed(self.from), to: narrowed(self.to) }
    }
}

/// Where messages that count arrive before they were sent, by the estimate, and what it should be there at least or at
/// most.
fn inverted(offset: &Offset, points: Points<'_>, stability: Stability) -> Vec<(f64, f64)> {
    let late = |sign: f64| move |p: &&Point| sign * offset.value_at(p.x) > p.y + stability.reading;
    let forward = points.forward.iter().filter(late(1.0)).map(|p| (p.x, p.y));
    forward.chain(points.reverse.iter().filter(late(-1.0)).map(|p| (p.x, -p.y))).collect()
}
