//! Which host follows which, learned from the packets that came through.

use std::collections::BTreeSet;

use ahash::{AHashMap, AHashSet};

use super::hosts::Hosts;
use super::join::Joined;
use super::leg::Leg;
use crate::address::Addr;
use crate::event::Flow;

/// Which host a packet that left another comes into.
#[derive(Debug, Default)]
pub struct Routes {
    /// By the host that packets leave and their flow.
    by_flow: AHashMap<(usize, Ends), usize>,
    /// By the host that packets leave and their destination.
    by_destination: AHashMap<(usize, Addr), usize>,
    /// Flows that a host has seen, in either direction.
    seen: AHashSet<(usize, Ends)>,
    /// Packets that came into a host and that no header tells from others: host, flow if known, and when by its own clock.
    nameless: BTreeSet<(usize, Option<Ends>, u64)>,
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
        for (leg, next) in legs.iter().zip(&joined.next) {
            if let Some(entered) = &leg.entered {
                routes.seen.insert((leg.host, ends(&entered.flow)));
                if entered.key.is_none() && !entered.is_tunnelled {
                    let flow = Some(ends(&entered.flow)).filter(|_| !entered.flow.is_none());
                    routes.nameless.insert((leg.host, flow, entered.ts));
                }
            }
            let (Some(left), Some(next)) = (&leg.left, next.first()) else { continue };
            let to = legs[*next].host;
            routes.by_flow.insert((leg.host, ends(&left.flow)), to);
            routes.by_destination.insert((leg.host, left.flow.dst), to);
        }
        routes
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

    /// Whether a host has a packet that may be one of this flow and came within a time, ns of its own clock.
    pub fn is_blind(&self, host: usize, flow: &Flow<'_>, (from, to): (u64, u64), grace: i64) -> bool {
        let to = to.saturating_add(grace.unsigned_abs());
        let any =
            |flow: Option<Ends>| self.nameless.range((host, flow, from)..=(host, flow, to)).next().is_some();
        any(None) || any(Some(ends(flow)))
    }
}
