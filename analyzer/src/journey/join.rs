//! Legs become journeys: which packet that came into one host is which that left another.
//!
//! Packets of which all fields that no hop changes are equal are in one bucket: most hold one packet that left and one
//! that came in. Where they hold more (retransmissions, duplicates, packets that only their order tells apart), a packet
//! that came in is the one that left last before it and is not taken; segments of TCP are joined by the bytes they carry,
//! since they are split and merged on the way.

use ahash::AHashMap;

use super::hosts::{Hosts, Moment};
use super::leg::Leg;
use crate::lifecycle::{Crossing, Key};

/// Longest time on a network, ns: a packet's greatest lifetime is 2 minutes by RFC 9293 (3.4.1), of which a queue of ours
/// takes this much.
const MAX_TRANSIT: i64 = 30_000_000_000;

/// Legs of all hosts, joined.
#[derive(Debug, Default)]
pub struct Joined {
    /// By leg, those that went on from it.
    pub next: Vec<Vec<usize>>,
    /// By leg, those that it came from.
    pub before: Vec<Vec<usize>>,
    /// By leg, whether the one that it came from may have been another.
    pub ambiguous: Vec<bool>,
    /// Legs that came in twice: of a packet that left once.
    pub duplicate: Vec<bool>,
}

/// A packet at the edge of a host.
#[derive(Clone, Debug)]
struct Edge {
    /// Its leg.
    leg: usize,
    /// Its host.
    host: usize,
    /// When, by the clock of the reference.
    at: Moment,
    /// TTL or hop limit.
    ttl: Option<u8>,
    /// Sequence number of its first byte and number of its bytes, of TCP.
    bytes: Option<(u32, u32)>,
}

/// Packets with the same fields.
#[derive(Debug, Default)]
struct Bucket {
    /// Those that left a host.
    left: Vec<Edge>,
    /// Those that came into one.
    entered: Vec<Edge>,
}

/// Joins legs.
pub fn join(legs: &[Leg<'_>], hosts: &Hosts) -> Joined {
    let mut buckets: AHashMap<u64, Bucket> = AHashMap::default();
    for (number, leg) in legs.iter().enumerate() {
        let edge = |crossing: &Crossing<'_>, key: &Key| Edge {
            leg: number,
            host: leg.host,
            at: hosts.moment(leg.host, crossing.ts),
            ttl: crossing.ttl,
            bytes: key.bytes.as_ref().map(|bytes| (bytes.start, bytes.end.wrapping_sub(bytes.start))),
        };
        if let Some((left, key)) = leg.left.as_ref().and_then(|left| Some((left, left.key.as_ref()?))) {
            buckets.entry(key.bucket).or_default().left.push(edge(left, key));
        }
        if let Some((entered, key)) = leg.entered.as_ref().and_then(|at| Some((at, at.key.as_ref()?))) {
            buckets.entry(key.bucket).or_default().entered.push(edge(entered, key));
        }
    }
    let mut joined = Joined {
        next: vec![Vec::new(); legs.len()],
        before: vec![Vec::new(); legs.len()],
        ambiguous: vec![false; legs.len()],
        duplicate: vec![false; legs.len()],
    };
    let mut both: Vec<Bucket> = buckets
        .into_values()
        .filter(|bucket| !bucket.left.is_empty() && !bucket.entered.is_empty())
        .collect();
    both.sort_unstable_by_key(|bucket| bucket.left[0].leg);
    both.iter_mut().for_each(|bucket| bucket.join(&mut joined));
    joined
}

impl Bucket {
    /// Joins what is in it.
    fn join(&mut self, joined: &mut Joined) {
        self.left.sort_by_key(|edge| (edge.at.ns, edge.leg));
        self.entered.sort_by_key(|edge| (edge.at.ns, edge.leg));
        if self.left[0].bytes.is_some() { self.by_bytes(joined) } else { self.one_by_one(joined) }
    }

    /// Packets that go through as they are: from the last that came in to the first, each is the last of those that left
    /// before it and are not taken.
    fn one_by_one(&self, joined: &mut Joined) {
        let mut taken = vec![false; self.left.len()];
        for entered in self.entered.iter().rev() {
            let fits = |left: &Edge| left.may_become(entered);
            let free = self.left.iter().enumerate().rev().find(|(at, left)| !taken[*at] && fits(left));
            match free {
                Some((at, left)) => {
                    taken[at] = true;
                    joined.add(left.leg, entered.leg);
                    let others = self.left.iter().filter(|other| fits(other) && other.host == left.host);
                    let arrived = self.entered.iter().filter(|other| other.host == entered.host);
                    joined.ambiguous[entered.leg] =
                        others.count() > 1 && self.left_by(left.host) > arrived.count();
                }
                None => joined.duplicate[entered.leg] = self.left.iter().any(fits),
            }
        }
    }

    /// How many left a host.
    fn left_by(&self, host: usize) -> usize {
        self.left.iter().filter(|edge| edge.host == host).count()
    }

    /// Segments of TCP: what came in is of those that left last before it and carry its bytes.
    fn by_bytes(&self, joined: &mut Joined) {
        for entered in &self.entered {
            let Some((start, len)) = entered.bytes else { continue };
            let mut missing = vec![(0, len)];
            for left in self.left.iter().rev().filter(|left| left.may_become(entered)) {
                if left.bytes.is_some_and(|bytes| take(&mut missing, relative(bytes, start))) {
                    joined.add(left.leg, entered.leg);
                }
            }
        }
    }
}

impl Joined {
    /// Joins two legs.
    fn add(&mut self, from: usize, to: usize) {
        self.next[from].push(to);
        self.before[to].push(from);
    }
}

impl Edge {
    /// Whether a packet that left may be one that came in: into another host, behind it in time as far as the clocks tell,
    /// and with no more hops left.
    fn may_become(&self, entered: &Self) -> bool {
        let fewer_hops = self.ttl.zip(entered.ttl).is_none_or(|(left, entered)| left >= entered);
        let (earliest, latest) = entered.at.since(&self.at);
        self.host != entered.host && fewer_hops && latest >= 0 && earliest <= MAX_TRANSIT
    }
}

/// Bytes of a segment, counted from a sequence number; what is behind it is negative.
fn relative((start, len): (u32, u32), from: u32) -> (i64, i64) {
    let begin = i64::from(start.wrapping_sub(from).cast_signed());
    (begin, begin + i64::from(len))
}

/// Takes bytes from those that are missing; returns whether any of them were.
fn take(missing: &mut Vec<(u32, u32)>, (begin, end): (i64, i64)) -> bool {
    let mut left = Vec::new();
    let mut any = false;
    for (from, to) in missing.iter().map(|(from, to)| (i64::from(*from), i64::from(*to))) {
        if begin >= to || end <= from {
            left.push((from, to));
            continue;
        }
        any = true;
        left.extend([(from, begin), (end, to)].into_iter().filter(|(from, to)| from < to));
    }
    *missing = left.into_iter().map(|(from, to)| (from as u32, to as u32)).collect();
    any
}
