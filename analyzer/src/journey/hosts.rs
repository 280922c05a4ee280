//! The hosts of a question: whose addresses are whose, what each capture covers, and one clock for all.

use ahash::AHashMap;

use super::survey::{Sample, Survey};
use crate::address::Addr;
use crate::clock::{Direction, Edge, Estimate, Mesh, Message, Pair, Scale, Stability, Wall};
use crate::source::Source;

/// The host by whose clock all times are compared.
pub const REFERENCE: usize = 0;

/// A time by the clock of the reference host, ns of its CLOCK_MONOTONIC_RAW, and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The estimate.
    pub ns: i64,
    /// The truth is not before this.
    pub low: i64,
    /// The truth is not after this.
    pub high: i64,
}

impl Moment {
    /// The least and the greatest time that may have passed since another moment, ns.
    pub fn since(&self, other: &Self) -> (i64, i64) {
        (self.low.saturating_sub(other.high), self.high.saturating_sub(other.low))
    }
}

impl From<Estimate> for Moment {
    fn from(at: Estimate) -> Self {
        Self { ns: at.value, low: at.low.unwrap_or(i64::MIN), high: at.high.unwrap_or(i64::MAX) }
    }
}

/// What a capture covers, and what it lacks.
#[derive(Clone, Debug)]
pub struct Host {
    /// First and last time of the capture, as far as it is asked for, ns of its CLOCK_MONOTONIC.
    pub covers: (u64, u64),
    /// Whether the recorder had a filter, so that a packet may be missing for that.
    pub is_filtered: bool,
    /// Whether it recorded packets that came in.
    pub has_entries: bool,
    /// CLOCK_MONOTONIC to CLOCK_MONOTONIC_RAW, which nobody slews.
    raw: Scale,
}

/// Packets from one host to another that both saw.
#[derive(Clone, Copy, Debug)]
pub struct Messages {
    /// How many.
    pub count: u64,
    /// When the receiver saw the first of them, ns of its CLOCK_MONOTONIC_RAW.
    first: i64,
    /// When it saw the last.
    last: i64,
}

impl Default for Messages {
    fn default() -> Self {
        Self { count: 0, first: i64::MAX, last: i64::MIN }
    }
}

impl Messages {
    /// Adds one.
    fn add(&mut self, received: i64) {
        self.count += 1;
        (self.first, self.last) = (self.first.min(received), self.last.max(received));
    }
}

/// A clock against that of the reference.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// This clock minus the other, ns of both CLOCK_MONOTONIC_RAW.
    pub offset: i64,
    /// The truth is not less.
    pub low: Option<i64>,
    /// The truth is not more.
    pub high: Option<i64>,
    /// By how much this clock runs faster over the capture: 1e-6 is 1 ppm.
    pub skew: f64,
}

/// All hosts.
#[derive(Debug)]
pub struct Hosts {
    /// By number.
    pub hosts: Vec<Host>,
    /// How their clocks compare.
    pub clocks: Mesh,
    /// What told it: by host that sent and host that received.
    pub messages: AHashMap<(usize, usize), Messages>,
    /// Whose address it is.
    owners: AHashMap<Addr, usize>,
}

impl Hosts {
    /// The hosts of captures, by what the first pass told of them.
    pub fn new(sources: &[Source], surveys: &[Survey]) -> Self {
        let mut owners = AHashMap::default();
        for (number, survey) in surveys.iter().enumerate() {
            survey.addresses.iter().for_each(|address| {
                owners.entry(*address).or_insert(number);
            });
        }
        let host = |(source, survey): (&Source, &Survey)| {
            let (head, asked) = (source.head(), source.filter.range());
            Host {
                covers: (head.start.max(*asked.start()), head.end.min(*asked.end())),
                is_filtered: !source.capture.metadata().filters.is_empty(),
                has_entries: !survey.entered.is_empty(),
                raw: survey.clocks.raw(),
            }
        };
        let hosts: Vec<Host> = sources.iter().zip(surveys).map(host).collect();
        let mut messages = AHashMap::default();
        let clocks = compare(&hosts, surveys, &mut messages);
        Self { hosts, clocks, messages, owners }
    }

    /// Whose address it is, where that was seen.
    pub fn owner(&self, address: Addr) -> Option<usize> {
        self.owners.get(&address).copied()
    }

    /// A host's time by the clock of the reference. Without any relation between the clocks it may be any.
    pub fn moment(&self, host: usize, ts: u64) -> Moment {
        let raw = self.hosts[host].raw(ts);
        let unknown = Moment { ns: raw, low: i64::MIN, high: i64::MAX };
        self.clocks.convert(host, REFERENCE, raw).map_or(unknown, Moment::from)
    }

    /// How a host's clock compares with that of the reference, in the middle of what it got from other hosts.
    pub fn told(&self, number: usize) -> Option<Told> {
        let host = &self.hosts[number];
        let got = self.messages.iter().filter(|((_, to), _)| *to == number).map(|(_, messages)| messages);
        let span = got.map(|got| (got.first, got.last)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (first, last) = span.unwrap_or_else(|| (host.raw(host.covers.0), host.raw(host.covers.1)));
        let middle = first.midpoint(last);
        let at = |raw: i64| Some((raw, self.clocks.convert(number, REFERENCE, raw)?));
        let (before, now, after) = (at(first)?, at(middle)?, at(last)?);
        let away = |(own, there): (i64, Estimate)| own.saturating_sub(there.value);
        let grown = away(after).saturating_sub(away(before)) as f64;
        Some(Told {
            offset: away(now),
            low: now.1.high.map(|high| middle.saturating_sub(high)),
            high: now.1.low.map(|low| middle.saturating_sub(low)),
            skew: grown / (after.1.value.saturating_sub(before.1.value).max(1)) as f64,
        })
    }

    /// The least and the greatest time that a host's CLOCK_MONOTONIC may have shown at a moment, ns.
    pub fn local(&self, host: usize, at: Moment) -> (u64, u64) {
        let own = |at: i64| self.clocks.convert(REFERENCE, host, at).map(Moment::from);
        let back = |raw: i64| u64::try_from(self.hosts[host].raw.back(raw)).unwrap_or(0);
        let (first, last) = (own(at.low), own(at.high));
        (first.map_or(0, |first| back(first.low)), last.map_or(u64::MAX, |last| back(last.high)))
    }
}

impl Host {
    /// CLOCK_MONOTONIC_RAW at a time of CLOCK_MONOTONIC, ns.
    fn raw(&self, ts: u64) -> i64 {
        self.raw.forward(i64::try_from(ts).unwrap_or(i64::MAX))
    }
}

/// Compares the clocks of all pairs of hosts by the packets that both saw.
fn compare(hosts: &[Host], surveys: &[Survey], messages: &mut AHashMap<(usize, usize), Messages>) -> Mesh {
    let mut edges = Vec::new();
    for b in 1..hosts.len() {
        for a in 0..b {
            let mut pair = Pair::default();
            for (direction, from, to) in [(Direction::Forward, a, b), (Direction::Reverse, b, a)] {
                for (sent, received) in sent_and_received(&surveys[from], &surveys[to]) {
                    let message = Message { sent: hosts[from].raw(sent), received: hosts[to].raw(received) };
                    pair.add(direction, message);
                    messages.entry((from, to)).or_default().add(message.received);
                }
            }
            let stability = Stability::of(&hosts[a].raw, &hosts[b].raw);
            let wall = Wall { a: surveys[a].clocks.wall(), b: surveys[b].clocks.wall(), error: None };
            edges.extend(pair.offset(stability, &wall).map(|offset| Edge { a, b, offset }));
        }
    }
    Mesh::new(hosts.len(), edges)
}

/// Packets that left one host and came into the other, which they cannot have passed before: of two hosts that both forward
/// them the TTL says which is first.
fn sent_and_received<'s>(from: &'s Survey, to: &'s Survey) -> impl Iterator<Item = (u64, u64)> + 's {
    let may_come = |left: &Sample, entered: &Sample, id: u64| {
        let (left, entered) = (left.get(id)?, entered.get(id)?);
        (left.ttl >= entered.ttl).then_some((left.ts, entered.ts))
    };
    from.left.ids().filter_map(move |id| {
        let back = may_come(&to.left, &from.entered, id);
        may_come(&from.left, &to.entered, id).filter(|_| back.is_none())
    })
}
