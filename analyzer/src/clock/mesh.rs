//! The clocks of more than two hosts.

use super::offset::{Estimate, Offset, Quality};

/// Moments at which a loop is checked.
const CHECKS: i64 = 64;

/// Two hosts and what is known of their clocks.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Host A's number.
    pub a: usize,
    /// Host B's number.
    pub b: usize,
    /// B's clock against A's.
    pub offset: Offset,
}

/// A pair that is not in the tree, held against the way through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Host A's number.
    pub a: usize,
    /// Host B's number.
    pub b: usize,
    /// When, on A's clock, what is seen is worst, ns.
    pub at: i64,
    /// How much later B's clock is then by the pair than by the tree, ns.
    pub closure: i64,
    /// By how much the intervals of both do not overlap, ns. Where it is not 0, messages are mismatched, or a clock
    /// is worse than assumed: both intervals hold the truth else.
    pub violation: i64,
}

/// Which of two events was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first event was before the second.
    Before,
    /// It was after the second.
    After,
    /// The intervals do not tell.
    Undecided,
}

/// The clocks of hosts that are numbered from 0, joined by the tree of the best pairs.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// All pairs.
    edges: Vec<Edge>,
    /// From each host to each host: the pairs of the tree, in order.
    ways: Vec<Vec<Option<Vec<usize>>>>,
    /// Pairs that are not in the tree.
    others: Vec<usize>,
}

impl Mesh {
    /// Joins hosts by pairs: those of better quality and narrower interval first, as long as they do not close a loop
    /// (Kruskal).
    pub fn new(hosts: usize, mut edges: Vec<Edge>) -> Self {
        edges.retain(|edge| edge.a != edge.b && edge.a.max(edge.b) < hosts);
        edges.sort_by_key(|edge| (edge.offset.quality(), edge.offset.width().unwrap_or(i64::MAX)));
        let ways = (0..hosts).map(|from| (0..hosts).map(|to| (from == to).then(Vec::new)).collect());
        let mut mesh = Self { edges, ways: ways.collect(), others: Vec::new() };
        for i in 0..mesh.edges.len() {
            mesh.join(i);
        }
        mesh
    }

    /// Puts a pair into the tree, unless its hosts are joined already.
    fn join(&mut self, i: usize) {
        let (a, b) = (self.edges[i].a, self.edges[i].b);
        if self.ways[a][b].is_some() {
            self.others.push(i);
            return;
        }
        let around = |host: usize| -> Vec<usize> {
            (0..self.ways.len()).filter(|other| self.ways[*other][host].is_some()).collect()
        };
        let (near, far) = (around(a), around(b));
        for (x, y) in near.into_iter().flat_map(|x| far.iter().map(move |y| (x, *y))) {
            let parts = [self.ways[x][a].as_deref(), Some(&[i]), self.ways[b][y].as_deref()];
            let way: Vec<usize> = parts.into_iter().flatten().flatten().copied().collect();
            self.ways[y][x] = Some(way.iter().rev().copied().collect());
            self.ways[x][y] = Some(way);
        }
    }

    /// What the clock of one host shows when that of another shows `time`: intervals add up along the tree. Of the way
    /// and the pair itself, where it is not in the tree, the part counts in which both agree. `None` where no messages
    /// and no wall clocks join the hosts.
    pub fn convert(&self, from: usize, to: usize, time: i64) -> Option<Estimate> {
        let way = self.along(from, to, time)?;
        let mut others = self.others.iter().map(|i| &self.edges[*i]);
        let pair = others.find(|edge| edge.joins(from, to));
        let direct = pair.map(|edge| edge.convert(from, Estimate::exact(time)));
        Some(direct.and_then(|direct| way.and(direct)).unwrap_or(way))
    }

    /// Which of two events, each given by host and time, was first.
    pub fn order(&self, first: (usize, i64), second: (usize, i64)) -> Order {
        let Some(at) = self.convert(first.0, second.0, first.1) else { return Order::Undecided };
        if at.high.is_some_and(|high| high < second.1) {
            Order::Before
        } else if at.low.is_some_and(|low| low > second.1) {
            Order::After
        } else {
            Order::Undecided
        }
    }

    /// How well the clocks of two hosts are known: as the worst pair on the way between them.
    pub fn quality(&self, from: usize, to: usize) -> Quality {
        let Some(way) = self.way(from, to) else { return Quality::Absent };
        way.iter().map(|i| self.edges[*i].offset.quality()).max().unwrap_or(Quality::Accurate)
    }

    /// Each pair that is not in the tree against the tree, at its worst.
    pub fn loops(&self) -> Vec<Loop> {
        self.others.iter().filter_map(|i| self.closure(&self.edges[*i])).collect()
    }

    /// A pair against the tree, at its worst.
    fn closure(&self, edge: &Edge) -> Option<Loop> {
        let (first, last) = edge.offset.span();
        let step = (last / CHECKS).saturating_sub(first / CHECKS).max(1);
        let moments =
            (0..=CHECKS).map(|i| first.saturating_add(step.saturating_mul(i))).take_while(|at| *at <= last);
        let seen = moments.filter_map(|at| {
            let (way, pair) = (self.along(edge.a, edge.b, at)?, edge.offset.to_b(at));
            let closure = pair.value.saturating_sub(way.value);
            Some(Loop { a: edge.a, b: edge.b, at, closure, violation: pair.apart(way) })
        });
        seen.max_by_key(|seen| (seen.violation, seen.closure.saturating_abs()))
    }

    /// A time on another host's clock by the tree.
    fn along(&self, from: usize, to: usize, time: i64) -> Option<Estimate> {
        let mut host = from;
        let steps = self.way(from, to)?.iter().map(|i| &self.edges[*i]);
        Some(steps.fold(Estimate::exact(time), |at, edge| {
            let converted = edge.convert(host, at);
            host = edge.other(host);
            converted
        }))
    }

    /// The pairs of the tree between two hosts.
    fn way(&self, from: usize, to: usize) -> Option<&[usize]> {
        self.ways.get(from)?.get(to)?.as_deref()
    }
}

impl Edge {
    /// Whether it is between these hosts.
    fn joins(&self, from: usize, to: usize) -> bool {
        (self.a, self.b) == (from, to) || (self.b, self.a) == (from, to)
    }

    /// The host that is not this one.
    fn other(&self, host: usize) -> usize {
        if host == self.a { self.b } else { self.a }
    }

    /// A time of one of its hosts on the other one's clock; clocks run forwards, so the bounds' bounds hold.
    fn convert(&self, from: usize, time: Estimate) -> Estimate {
        let convert = |time| if from == self.a { self.offset.to_b(time) } else { self.offset.to_a(time) };
        Estimate {
            value: convert(time.value).value,
            low: time.low.and_then(|low| convert(low).low),
            high: time.high.and_then(|high| convert(high).high),
        }
    }
}
