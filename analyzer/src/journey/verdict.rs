//! What became of a packet, and where.

use super::hosts::{Host, Hosts, Moment};
use super::join::Joined;
use super::leg::Leg;
use super::routes::Routes;
use crate::lifecycle::OutcomeKind;
use crate::loss::Losses;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// A socket of its destination got it.
    Delivered,
    /// It came to its destination's host, whose kernel took it, or it was split or merged on a host and went on so.
    Arrived,
    /// It left the last host that was recorded, for one that was not.
    Left,
    /// A host dropped it.
    Internal {
        /// The host.
        host: usize,
    },
    /// It left one host and did not come into the next: the network between lost it.
    Network {
        /// The host that it left.
        from: usize,
        /// The host that it did not come into.
        to: usize,
    },
    /// It was on its way when a capture ended.
    InFlight,
    /// It came into a host whose capture does not show its end.
    Open {
        /// The host.
        host: usize,
    },
    /// What should have seen it was not recorded: the time, a filter, or the probes.
    NotCovered {
        /// The host.
        host: usize,
    },
    /// Events were lost where it would have been seen.
    Unknown {
        /// The host.
        host: usize,
    },
}

impl Verdict {
    /// Its name, as everoute's tools and their users have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "DELIVERED",
            Self::Arrived => "ARRIVED",
            Self::Left => "LEFT",
            Self::Internal { .. } => "INTERNAL_DROP",
            Self::Network { .. } => "NETWORK_DROP",
            Self::InFlight => "IN_FLIGHT",
            Self::Open { .. } => "OPEN",
            Self::NotCovered { .. } => "NOT_COVERED",
            Self::Unknown { .. } => "UNKNOWN",
        }
    }

    /// Whether the packet is known to be lost.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Internal { .. } | Self::Network { .. })
    }
}

/// What decides.
#[derive(Clone, Copy)]
pub struct Judge<'j, 'a> {
    /// All legs.
    pub legs: &'j [Leg<'a>],
    /// How they are joined.
    pub joined: &'j Joined,
    /// The hosts.
    pub hosts: &'j Hosts,
    /// Which way packets went.
    pub routes: &'j Routes,
    /// By host, when events were lost.
    pub losses: &'j [&'j Losses],
    /// How long a packet may be on a network before it is late for good, ns.
    pub grace: i64,
}

impl Judge<'_, '_> {
    /// The legs with which journeys begin that pass the user's filters on any host.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let begins = |number: &usize| {
            let joined = self.joined;
            joined.before[*number].is_empty()
                && !joined.duplicate[*number]
                && self.legs[*number].is_identified()
        };
        let fits = |number: &usize| self.way(*number).iter().any(|leg| self.legs[*leg].fits);
        (0..self.legs.len()).filter(begins).filter(fits)
    }

    /// The legs of a journey, one after another; where a packet went on as several, that which came first.
    pub fn way(&self, root: usize) -> Vec<usize> {
        let mut way = vec![root];
        while let Some(next) = self.joined.next[way[way.len() - 1]].first() {
            way.push(*next);
        }
        way
    }

    /// What became of the packet of a leg, from there on. One that went on as several is lost if one of them is.
    pub fn verdict(&self, leg: usize) -> Verdict {
        let next = &self.joined.next[leg];
        let worst = next.iter().map(|next| self.verdict(*next)).max_by_key(|verdict| verdict.is_loss());
        let here = &self.legs[leg];
        match (here.outcome.kind(), worst) {
            (OutcomeKind::Dropped, _) => Verdict::Internal { host: here.host },
            (_, Some(worst)) => worst,
            (_, None) if here.left.is_some() => self.gone(leg),
            (OutcomeKind::Delivered, _) => Verdict::Delivered,
            (OutcomeKind::Unknown, _) => Verdict::Unknown { host: here.host },
            _ if here.entered.is_none() || self.hosts.owner(here.destination()) == Some(here.host) => {
                Verdict::Arrived
            }
            (OutcomeKind::Consumed, _) => Verdict::Arrived,
            _ => Verdict::Open { host: here.host },
        }
    }

    /// What became of a packet that left a host and came into no other.
    fn gone(&self, leg: usize) -> Verdict {
        let here = &self.legs[leg];
        let Some(left) = here.left.as_ref() else { return Verdict::Arrived };
        let flow = &left.flow;
        let Some(to) = self.routes.next(here.host, flow, self.hosts) else { return Verdict::Left };
        let host = &self.hosts.hosts[to];
        let knows = left.key.is_some() && host.has_entries;
        let may_be_filtered = host.is_filtered && !self.routes.has_seen(to, flow);
        let at = self.hosts.moment(here.host, left.ts);
        match () {
            () if !knows || may_be_filtered => Verdict::NotCovered { host: to },
            () if self.is_before(to, host, at) || self.is_behind(to, host, at) => {
                Verdict::NotCovered { host: to }
            }
            () if self.is_at_the_end(to, host, at) => Verdict::InFlight,
            () if self.may_be_lost(to, at)
                || self.routes.is_blind(to, left, self.hosts.local(to, at), self.grace) =>
            {
                Verdict::Unknown { host: to }
            }
            () => Verdict::Network { from: here.host, to },
        }
    }

    /// Whether the capture of a leg's host ends so soon behind it that what answers it may not have come.
    pub fn ends_soon_behind(&self, leg: usize) -> bool {
        let leg = &self.legs[leg];
        let end = self.hosts.hosts[leg.host].covers.1;
        end.saturating_sub(leg.span().1) < self.grace.unsigned_abs()
    }

    /// Whether events were lost on a leg's host so soon behind it that what answers it may be among them.
    pub fn loses_behind(&self, leg: usize) -> bool {
        let leg = &self.legs[leg];
        let last = leg.span().1;
        self.losses[leg.host].overlap(last, last.saturating_add(self.grace.unsigned_abs()))
    }

    /// Whether it may have been there before the host's capture began.
    fn is_before(&self, number: usize, host: &Host, at: Moment) -> bool {
        at.since(&self.hosts.moment(number, host.covers.0)).0 < 0
    }

    /// Whether it was sent when the host's capture had ended.
    fn is_behind(&self, number: usize, host: &Host, at: Moment) -> bool {
        self.hosts.moment(number, host.covers.1).since(&at).1 < 0
    }

    /// Whether it may not have been there yet when the host's capture ended.
    fn is_at_the_end(&self, number: usize, host: &Host, at: Moment) -> bool {
        self.hosts.moment(number, host.covers.1).since(&at).0 < self.grace
    }

    /// Whether the event may be lost of a packet that was sent to a host at a moment.
    fn may_be_lost(&self, host: usize, at: Moment) -> bool {
        let (from, to) = self.hosts.local(host, at);
        self.losses[host].overlap(from, to.saturating_add(self.grace.unsigned_abs()))
    }
}
