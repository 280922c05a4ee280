//! Which host follows which, learned from the packets that came through.

use std::collections::BTreeSet;

use ahash::{AHashMap, AHashSet};

use super::hosts::Hosts;
use super::join::Joined;
use super::leg::Leg;
use crate::address::Addr;
use crate::event::Flow;
use crate::lifecycle::{Crossing, KeyKind};

/// Which host a packet that left another comes into.
#[derive(Debug, Default)]
pub struct Routes {
    /// By the host that packets leave and their flow.
    by_flow: AHashMap<(usize, Ends), usize>,
    /// By the host that packets leave and their destination.
    by_destination: AHashMap<(usize, Addr), usize>,
    /// Flows that a host has seen, in either direction.
    seen: AHashSet<(usize, Ends)>,
    /// Packets that came into a host, that nothing tells from others, and of which none that left was found: host, flow if
    /// known, and when by its own clock.
    nameless: BTreeSet<(usize, Option<Ends>, u64)>,
    /// All others of which none that left was found.
    unmatched: BTreeSet<(usize, Ends, u64)>,
}

/// Addresses and ports; without the protocol's name, which each capture has for itself.
type Ends = (Addr, Option<u16>, Addr, Option<u16>);

/// The ends of a flow.
fn ends(flow: &Flow<'_>) -> Ends {
    (flow.src, flow.sport, flow.dst, flow.dport)
}

impl Routes {
    /// Learns from legs that are joined.
    pub fn new(legs: &[Leg<'_>], joined: &Joined) -> Self {
        let mut routes = Self::default();
        for (number, leg) in legs.iter().enumerate() {
            if let Some(entered) = &leg.entered {
                routes.seen.insert((leg.host, ends(&entered.flow)));
                if joined.before[number].is_empty() && !joined.duplicate[number] {
                    routes.add_unmatched(leg.host, entered);
                }
            }
            let (Some(left), Some(next)) = (&leg.left, joined.next[number].first()) else { continue };
            let to = legs[*next].host;
            routes.by_flow.insert((leg.host, ends(&left.flow)), to);
            routes.by_destination.insert((leg.host, left.flow.dst), to);
        }
        routes
    }

    /// A packet came into a host, and none that left another was found to be it.
    fn add_unmatched(&mut self, host: usize, entered: &Crossing<'_>) {
        let flow = ends(&entered.flow);
        let is_named = entered.key.as_ref().is_some_and(|key| key.kind != KeyKind::Anonymous);
        if is_named {
            self.unmatched.insert((host, flow, entered.ts));
        } else if !entered.is_tunnelled {
            self.nameless.insert((host, Some(flow).filter(|_| !entered.flow.is_none()), entered.ts));
        }
    }

    /// The host that a packet of a flow comes into behind another: that of others of its flow, that of others with its
    /// destination, or the one that has the destination's address.
    pub fn next(&self, from: usize, flow: &Flow<'_>, hosts: &Hosts) -> Option<usize> {
        let by_flow = self.by_flow.get(&(from, ends(flow)));
        let learned = by_flow.or_else(|| self.by_destination.get(&(from, flow.dst))).copied();
        learned.or_else(|| hosts.owner(flow.dst).filter(|owner| *owner != from))
    }

    /// Whether a host has seen packets of a flow, or of its other direction.
    pub fn has_seen(&self, host: usize, flow: &Flow<'_>) -> bool {
        self.seen.contains(&(host, ends(flow)))
    }

    /// Whether a host has a packet that may be one that left another: of the same flow, or of an unknown one, it came within a
    /// time, ns of the host's own clock, and one of both has nothing that tells it from others.
    pub fn is_blind(&self, host: usize, left: &Crossing<'_>, (from, to): (u64, u64), grace: i64) -> bool {
        let (flow, to) = (ends(&left.flow), to.saturating_add(grace.unsigned_abs()));
        let nameless = |flow| self.nameless.range((host, flow, from)..=(host, flow, to)).next().is_some();
        let is_anonymous = left.key.as_ref().is_none_or(|key| key.kind == KeyKind::Anonymous);
        let other = || self.unmatched.range((host, flow, from)..=(host, flow, to)).next().is_some();
        nameless(None) || nameless(Some(flow)) || is_anonymous && other()
    }
}
