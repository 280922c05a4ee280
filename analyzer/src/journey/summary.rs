//! Journeys, counted: by whence and whither, and on each host and network of the way.

use std::collections::BTreeMap;

use super::exchange::{Exchanges, Replies, Status};
use super::hosts::Hosts;
use super::leg::Leg;
use super::verdict::{Judge, Verdict};
use crate::latency::Distribution;
use crate::lifecycle::Outcome;

/// Packets of which one is shown for each kind of loss, at most so many kinds.
const MAX_LOSSES: usize = 1 << 12;

/// Part of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// Through a host.
    Inside(usize),
    /// From one host to another.
    Between(usize, usize),
}

/// What is counted on a segment.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Packets that came there.
    pub packets: u64,
    /// Those of them that were lost there.
    pub lost: u64,
    /// Those of which nobody can say.
    pub unknown: u64,
    /// How long the others took there, ns.
    pub times: Distribution,
    /// How far each of these may be off to either side, ns; nothing inside a host.
    pub bounds: Distribution,
    /// How many came out before they went in, by the clocks' estimate.
    pub inverted: u64,
}

/// Packets from one host to another, or from and to what was not recorded.
#[derive(Clone, Debug, Default)]
pub struct Direction {
    /// All.
    pub packets: u64,
    /// What became of them.
    pub verdicts: BTreeMap<Verdict, u64>,
    /// On the segments, by their place on the way.
    pub segments: BTreeMap<(usize, Segment), Passed>,
    /// Requests of ICMP echo among them, and their replies.
    pub exchanges: Exchanges,
    /// Of all packets, joints between hosts that may have been others.
    pub ambiguous: u64,
}

/// Packets that were lost the same way.
#[derive(Clone, Debug)]
pub struct Loss<'a> {
    /// How many.
    pub count: u64,
    /// One of them: where it was seen last.
    pub example: Leg<'a>,
}

/// What a loss is counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LossKey {
    /// What became of the packet.
    pub verdict: Verdict,
    /// Why, where a host dropped it: the kernel's reason.
    pub reason: String,
    /// The function that dropped it.
    pub location: String,
}

/// Whence and whither: the hosts that have the addresses; none: one that was not recorded.
pub type Ends = (Option<usize>, Option<usize>);

/// All journeys.
#[derive(Debug, Default)]
pub struct Summary<'a> {
    /// By whence and whither.
    pub directions: BTreeMap<Ends, Direction>,
    /// By how packets were lost.
    pub losses: BTreeMap<(Ends, LossKey), Loss<'a>>,
    /// Packets that came into a host a second time.
    pub duplicates: u64,
    /// Packets of which no header was recorded.
    pub unidentified: u64,
}

impl<'a> Summary<'a> {
    /// Of all journeys.
    pub fn of(judge: &Judge<'_, 'a>) -> Self {
        let mut summary = Self::default();
        let mut replies = Replies::new(judge);
        judge.roots().for_each(|root| summary.journey(judge, &mut replies, root));
        replies.rest().for_each(|reply| summary.partial(judge, reply));
        for (leg, is_duplicate) in judge.legs.iter().zip(&judge.joined.duplicate).filter(|(leg, _)| leg.fits)
        {
            summary.duplicates += u64::from(*is_duplicate);
            summary.unidentified += u64::from(!leg.is_identified());
        }
        summary
    }

    /// Adds the journey that begins with a leg.
    fn journey(&mut self, judge: &Judge<'_, 'a>, replies: &mut Replies, root: usize) {
        let verdict = judge.verdict(root);
        let way = judge.way(root);
        let last = &judge.legs[way[way.len() - 1]];
        let ends = ends(judge, &way);
        let direction = self.directions.entry(ends).or_default();
        direction.packets += 1;
        *direction.verdicts.entry(verdict).or_default() += 1;
        direction.ambiguous += way.iter().filter(|leg| judge.joined.ambiguous[**leg]).count() as u64;
        for (place, leg) in way.iter().enumerate() {
            direction.inside(judge, place, *leg);
            match way.get(place + 1) {
                Some(next) => direction.between(judge.hosts, place, &judge.legs[*leg], &judge.legs[*next]),
                None => direction.last(place, verdict),
            }
        }
        if judge.legs[root].echo.is_some_and(|echo| !echo.is_reply) {
            direction.exchanges.add(judge, replies, root);
        }
        if verdict.is_loss() {
            self.lose(ends, verdict, last);
        }
    }

    /// Counts a reply that nothing asked for, with the requests of the other direction.
    fn partial(&mut self, judge: &Judge<'_, 'a>, reply: usize) {
        let (from, to) = ends(judge, &judge.way(reply));
        let exchanges = &mut self.directions.entry((to, from)).or_default().exchanges;
        *exchanges.statuses.entry(Status::Partial).or_default() += 1;
    }

    /// Counts a lost packet.
    fn lose(&mut self, ends: Ends, verdict: Verdict, last: &Leg<'a>) {
        let (reason, location) = match last.outcome {
            Outcome::Dropped { reason, location } => (reason.text(), location.text()),
            _ => ("", ""),
        };
        let key = (ends, LossKey { verdict, reason: reason.to_owned(), location: location.to_owned() });
        if self.losses.len() < MAX_LOSSES || self.losses.contains_key(&key) {
            self.losses.entry(key).or_insert_with(|| Loss { count: 0, example: last.clone() }).count += 1;
        }
    }
}

/// Whence and whither a journey goes, by its legs.
fn ends(judge: &Judge<'_, '_>, way: &[usize]) -> Ends {
    let (first, last) = (&judge.legs[way[0]], &judge.legs[way[way.len() - 1]]);
    (judge.hosts.owner(first.flow.src), judge.hosts.owner(last.last_flow().dst))
}

impl Direction {
    /// Counts a packet inside a host.
    fn inside(&mut self, judge: &Judge<'_, '_>, place: usize, leg: usize) {
        let here = &judge.legs[leg];
        let passed = self.segments.entry((2 * place, Segment::Inside(here.host))).or_default();
        passed.packets += 1;
        match judge.verdict(leg) {
            Verdict::Internal { host } if host == here.host && here.left.is_none() => passed.lost += 1,
            Verdict::Unknown { host } | Verdict::Open { host } if host == here.host => passed.unknown += 1,
            _ => {
                let (from, to) = here.span();
                passed.times.add(to - from);
            }
        }
    }

    /// Counts a packet that came from one host into another.
    fn between(&mut self, hosts: &Hosts, place: usize, leg: &Leg<'_>, next: &Leg<'_>) {
        let (Some(left), Some(entered)) = (&leg.left, &next.entered) else { return };
        let segment = Segment::Between(leg.host, next.host);
        let passed = self.segments.entry((2 * place + 1, segment)).or_default();
        let (sent, received) = (hosts.moment(leg.host, left.ts), hosts.moment(next.host, entered.ts));
        let (least, most) = received.since(&sent);
        passed.packets += 1;
        passed.inverted += u64::from(received.ns < sent.ns);
        passed.times.add(u64::try_from(received.ns - sent.ns).unwrap_or(0));
        passed.bounds.add(most.saturating_sub(least).unsigned_abs() / 2);
    }

    /// Counts a packet behind the last leg of its journey.
    fn last(&mut self, place: usize, verdict: Verdict) {
        let segment = match verdict {
            Verdict::Network { from, to } => Segment::Between(from, to),
            _ => return,
        };
        let passed = self.segments.entry((2 * place + 1, segment)).or_default();
        passed.packets += 1;
        passed.lost += 1;
    }
}
