//! A stretch of time without breaks, in windows of many lengths.

use std::iter;

use super::fit::{Fit, Points, Window};
use super::offset::{Cell, End};
use super::stability::Stability;

/// Lengths of windows at most, each half of the one before.
const MAX_LEVELS: usize = 11;

/// Messages that a window should have on average.
const FEW: usize = 8;

/// Windows need not be shorter than those in which the clock does less than this part of the gap.
const FINE: f64 = 256.0;

/// Windows that are shorter are preferred where the doubt is less than this part of the longer one's.
const PREFERRED: f64 = 0.65;

/// Breaks that are looked for. More of them are no breaks: the messages are mismatched or the clock is unsteady.
const MAX_BREAKS: usize = 64;

/// Fits of windows of one length, each beginning in the middle of the one before.
#[derive(Clone, Debug)]
struct Level {
    /// From one window's beginning to the next one's, ns.
    hop: f64,
    /// By time.
    fits: Vec<Fit>,
    /// How far each fit's line is from those of the windows half as long, ns.
    doubts: Vec<f64>,
}

/// A stretch of time without breaks.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its first message, ns after the pair's origin.
    pub start: f64,
    /// Its last message.
    pub end: f64,
    /// The break before it was over then: B sends again. A message to B may be sent while a break lasts (B is paused).
    pub since: f64,
    /// The break after it had not begun: B still receives.
    pub until: f64,
    /// From long windows to short ones.
    levels: Vec<Level>,
}

impl Segment {
    /// Splits messages into segments at breaks.
    pub fn split(points: Points<'_>, stability: Stability) -> Vec<Self> {
        let mut segments = Vec::new();
        let mut todo = vec![points];
        while let Some(points) = todo.pop() {
            let breaks = segments.len() + todo.len();
            match Self::new(points, stability, breaks >= MAX_BREAKS) {
                Ok(Some(segment)) => segments.push(segment),
                Ok(None) => {}
                Err((before, after)) => {
                    todo.push(points.within(after, f64::INFINITY));
                    todo.push(points.within(f64::NEG_INFINITY, before));
                }
            }
        }
        let segments = with_open_ends(segments);
        if segments.iter().any(Self::is_sure) {
            return segments;
        }
        with_open_ends(Self::new(points, stability, true).into_iter().flatten().collect())
    }

    /// Fits the windows of all lengths that pay. Where no line fits one, and that is not to be forced, what comes back is
    /// the last time before the break and the first after it.
    fn new(points: Points<'_>, stability: Stability, forced: bool) -> Result<Option<Self>, (f64, f64)> {
        let Some((start, end)) = points.span() else { return Ok(None) };
        let end = end.max(start + 1.0).max(start.next_up());
        let since = points.reverse.first().map_or(f64::INFINITY, |point| point.x);
        let until = points.forward.last().map_or(f64::NEG_INFINITY, |point| point.x);
        let mut segment = Self { start, end, since, until, levels: Vec::new() };
        for level in 0..MAX_LEVELS {
            let hop = (end - start) / f64::from(2 << level);
            let fits = windows(start, hop, (2 << level) - 1).map(|window| {
                let inside = points.within(window.start, window.start + window.length);
                let fit = Fit::new(inside, window, stability);
                if fit.is_feasible() || forced { Ok(fit) } else { Err(narrowest(inside, stability)) }
            });
            let fits = fits.collect::<Result<Vec<_>, _>>()?;
            let gaps = fits.iter().filter(|fit| fit.is_two_way()).map(|fit| fit.gap);
            let least_gap = gaps.reduce(f64::min).unwrap_or(0.0);
            segment.levels.push(Level { hop, fits, doubts: Vec::new() });
            let bends = stability.allowance(2.0 * hop, 0.0) - stability.reading;
            if bends * FINE < least_gap || points.len() >> level < 2 * FEW {
                break;
            }
        }
        segment.compare();
        Ok(Some(segment))
    }

    /// Compares each window's line with those of the windows half as long in it.
    fn compare(&mut self) {
        let mut shorter: Option<&Level> = None;
        for level in self.levels.iter_mut().rev() {
            let part = |i: usize| shorter.map_or(&[][..], |shorter| shorter.part(2 * i));
            let doubts: Vec<f64> =
                level.fits.iter().enumerate().map(|(i, fit)| doubt(fit, part(i))).collect();
            level.doubts = (0..doubts.len()).map(|i| worst_near(&doubts, i)).collect();
            shorter = Some(level);
        }
    }

    /// Whether it has messages both ways.
    pub fn is_two_way(&self) -> bool {
        self.levels.iter().take(1).flat_map(|level| &level.fits).any(Fit::is_two_way)
    }

    /// Whether there is a time that is surely between breaks.
    pub fn is_sure(&self) -> bool {
        self.since < self.until
    }

    /// Whether lines fit all of its windows.
    pub fn is_feasible(&self) -> bool {
        self.levels.iter().flat_map(|level| &level.fits).all(Fit::is_feasible)
    }

    /// The times, surely between breaks, between which the shortest windows tell something new.
    pub fn edges(&self) -> impl Iterator<Item = f64> {
        let (hop, inner) = self.levels.last().map_or((0.0, 0), |level| (level.hop, level.fits.len()));
        let edges = (0..=inner).map(move |i| self.start + hop * i as f64);
        let inner = edges.filter(|x| self.since < *x && *x < self.until);
        iter::once(self.since).chain(inner).chain([self.until])
    }

    /// What is known between two times, within the segment or outside of it: the best of all windows' bounds.
    pub fn cell(&self, start: f64, end: f64) -> Cell {
        let middle = f64::midpoint(start, end).clamp(self.start, self.end) - self.start;
        let fits = || self.levels.iter().flat_map(|level| level.around(middle)).map(|(fit, _)| fit);
        let high =
            fits().map(|fit| [fit.high(start), fit.high(end)]).min_by(|a, b| sum(*a).total_cmp(&sum(*b)));
        let low = fits().map(|fit| [fit.low(start), fit.low(end)]).max_by(|a, b| sum(*a).total_cmp(&sum(*b)));
        let (high, low) = (high.unwrap_or([f64::INFINITY; 2]), low.unwrap_or([f64::NEG_INFINITY; 2]));
        Cell {
            from: End { x: start, low: low[0], high: high[0] },
            to: End { x: end, low: low[1], high: high[1] },
        }
    }

    /// The most likely offset at a time, within the segment or outside of it.
    pub fn line(&self, x: f64) -> Option<f64> {
        self.best(x.clamp(self.start, self.end) - self.start)?.line(x)
    }

    /// The window around a time after the start of whose line there is the least doubt; long ones are preferred.
    fn best(&self, x: f64) -> Option<&Fit> {
        let off = |fit: &Fit| (fit.middle() - self.start - x).abs();
        let centred = |level| Level::around(level, x).min_by(|a, b| off(a.0).total_cmp(&off(b.0)));
        let candidates = self.levels.iter().filter_map(centred);
        let best = candidates.reduce(|long, short| if short.1 < PREFERRED * long.1 { short } else { long });
        best.map(|(fit, _)| fit)
    }
}

impl Level {
    /// The one or two windows that have a time, ns after the segment's start, in them, and the doubts of their lines.
    fn around(&self, x: f64) -> impl Iterator<Item = (&Fit, f64)> {
        let last = ((x / self.hop) as usize).min(self.fits.len());
        let indices = last.saturating_sub(1)..=last;
        indices.filter_map(|i| Some((self.fits.get(i)?, self.doubts.get(i).copied()?)))
    }

    /// The three windows that lie in a window twice as long.
    fn part(&self, first: usize) -> &[Fit] {
        self.fits.get(first..first + 3).unwrap_or(&[])
    }
}

/// No break is known before the first segment, nor after the last.
fn with_open_ends(mut segments: Vec<Segment>) -> Vec<Segment> {
    if let Some(first) = segments.first_mut() {
        first.since = first.start;
    }
    if let Some(last) = segments.last_mut() {
        last.until = last.end;
    }
    segments
}

/// How far a window's line is from those of shorter windows in it, where they are surest: in their middles. Where the
/// clock bends it is much in long windows, where messages are few in short ones.
fn doubt(fit: &Fit, shorter: &[Fit]) -> f64 {
    if fit.gap < 0.0 {
        return f64::INFINITY;
    }
    let alike = shorter.iter().filter(|short| short.is_two_way() == fit.is_two_way());
    let away =
        alike.filter_map(|short| Some((fit.line(short.middle())? - short.line(short.middle())?).abs()));
    away.reduce(f64::max).unwrap_or(f64::MAX)
}

/// The largest doubt of a window and those that overlap it: one alone may agree with shorter ones by chance.
fn worst_near(doubts: &[f64], i: usize) -> f64 {
    let near = doubts.iter().skip(i.saturating_sub(1)).take(3);
    near.copied().fold(0.0, f64::max)
}

/// Windows of two hops, one after each hop.
fn windows(start: f64, hop: f64, count: usize) -> impl Iterator<Item = Window> {
    (0..count).map(move |i| Window { start: start + hop * i as f64, length: 2.0 * hop })
}

/// The shortest stretch around the first break that no line fits: its ends are the last time before the break and the
/// first after it. Two messages of one moment that contradict each other are left out.
fn narrowest(points: Points<'_>, stability: Stability) -> (f64, f64) {
    let times = points.times();
    let (mut first, mut last) = (0, times.len() - 1);
    loop {
        let window = Window { start: times[first], length: times[last] - times[first] };
        let fits = |from, to| Fit::new(points.within(from, to), window, stability).is_feasible();
        let end = times[..last].partition_point(|to| fits(times[first], *to));
        let begin = times[..=end].partition_point(|from| !fits(*from, times[end])).saturating_sub(1);
        if (begin, end) == (first, last) {
            break;
        }
        (first, last) = (begin, end);
    }
    if times[first] < times[last] {
        (times[first], times[last])
    } else {
        (times[first].next_down(), times[last].next_up())
    }
}

/// The sum of both.
fn sum([a, b]: [f64; 2]) -> f64 {
    a + b
}
