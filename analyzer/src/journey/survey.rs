//! The first pass over a capture: whose addresses are whose, and a sample of packets from which clocks are told.
//!
//! Every host samples the same packets, those of which the hash of the fields that no hop changes ends in zeros (RFC 5475,
//! 6.2: hash-based selection), so that a sample of each capture has packets in common with the others'.

use std::ops::ControlFlow;

use ahash::{AHashMap, AHashSet};
use anyhow::Result;
use ntc::{ColumnId, Metadata};

use super::leg::{Leg, Legs};
use crate::address::Addr;
use crate::clock::{self, Scale};
use crate::event::{Effect, Event};
use crate::knowledge::Knowledge;
use crate::lifecycle::{Crossing, KeyKind, OutcomeKind};
use crate::source::Source;

/// Packets that a sample holds at most.
const MAX_SAMPLE: usize = 1 << 18;
/// Addresses of a host that are remembered at most.
const MAX_ADDRESSES: usize = 1 << 16;
/// Samples of a clock that are remembered; one a second for 12 days.
const MAX_SAMPLES: usize = 1 << 20;

/// What the first pass tells of a host.
#[derive(Debug, Default)]
pub struct Survey {
    /// Addresses that are the host's own: of its namespaces and containers, too.
    pub addresses: AHashSet<Addr>,
    /// Packets that left the host.
    pub left: Sample,
    /// Packets that came into it.
    pub entered: Sample,
    /// Packets that came into it or left it.
    pub packets: u64,
    /// Its clocks.
    pub clocks: Clocks,
}

impl Survey {
    /// Of a capture; `fingerprints` as for [`Legs::new`].
    pub fn of(source: &Source, knowledge: &Knowledge, fingerprints: bool) -> Result<Self> {
        let mut survey = Self { clocks: Clocks::new(source.capture.metadata()), ..Self::default() };
        let mut legs = Legs::new(0, source, knowledge, fingerprints);
        legs.scan().for_each(source, |event| {
            if event.effect == Effect::Clock {
                survey.clocks.add(event);
            }
            legs.push(event, &mut |leg| survey.add(&leg));
            Ok(ControlFlow::Continue(()))
        })?;
        legs.finish(&mut |leg| survey.add(&leg));
        Ok(survey)
    }

    /// Adds a packet.
    fn add(&mut self, leg: &Leg<'_>) {
        self.packets += u64::from(leg.entered.is_some() || leg.left.is_some());
        match (&leg.entered, &leg.left) {
            (None, Some(left)) => self.own(left.flow.src),
            // It was masqueraded: the new source is the host's.
            (Some(entered), Some(left)) if is_masqueraded(entered, left) => self.own(left.flow.src),
            (Some(entered), None) if leg.outcome.kind() == OutcomeKind::Delivered => {
                self.own(entered.flow.dst)
            }
            _ => {}
        }
        leg.entered.iter().for_each(|crossing| self.entered.add(crossing));
        leg.left.iter().for_each(|crossing| self.left.add(crossing));
    }

    /// An address is the host's.
    fn own(&mut self, address: Addr) {
        let is_one = address.ip().is_some_and(|ip| !ip.is_multicast() && !ip.is_unspecified());
        if is_one && self.addresses.len() < MAX_ADDRESSES {
            self.addresses.insert(address);
        }
    }
}

/// Whether a packet got another source on its way through the host, and kept its destination.
fn is_masqueraded(entered: &Crossing<'_>, left: &Crossing<'_>) -> bool {
    let known = !entered.flow.is_none();
    known && entered.flow.src != left.flow.src && entered.flow.dst == left.flow.dst
}

/// A sample of packets.
#[derive(Debug, Default)]
pub struct Sample {
    /// By what tells them from others: when they were seen, or none where several were.
    packets: AHashMap<u64, Option<Seen>>,
    /// The bits of the hash that are zero in a packet of the sample.
    mask: u64,
}

/// When a packet of a sample was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// TTL or hop limit there.
    pub ttl: Option<u8>,
}

impl Sample {
    /// Adds a packet if it is one of the sample.
    fn add(&mut self, crossing: &Crossing<'_>) {
        let Some(key) = crossing.key.as_ref().filter(|key| key.kind != KeyKind::Anonymous) else { return };
        let id = key.first();
        if id & self.mask != 0 {
            return;
        }
        let seen = Seen { ts: crossing.ts, ttl: crossing.ttl };
        self.packets.entry(id).and_modify(|known| *known = None).or_insert(Some(seen));
        while self.packets.len() > MAX_SAMPLE {
            self.mask = self.mask << 1 | 1;
            let mask = self.mask;
            self.packets.retain(|id, _| id & mask == 0);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// What tells its packets from others.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.packets.keys().copied()
    }

    /// When a packet was seen, if it was seen once.
    pub fn get(&self, id: u64) -> Option<Seen> {
        self.packets.get(&id).copied().flatten()
    }
}

/// A host's clocks at the same moments.
#[derive(Debug, Default)]
pub struct Clocks {
    /// CLOCK_MONOTONIC and CLOCK_MONOTONIC_RAW.
    raw: Vec<clock::Sample>,
    /// CLOCK_MONOTONIC and CLOCK_REALTIME.
    real: Vec<clock::Sample>,
}

impl Clocks {
    /// Those that stand in the metadata of a capture.
    fn new(metadata: &Metadata) -> Self {
        let mut clocks = Self::default();
        for sample in &metadata.clocks {
            let from = signed(sample.monotonic);
            let both = |to: i64| clock::Sample { from, to, bracket: sample.bracket };
            clocks.raw.extend((sample.raw != 0).then(|| both(signed(sample.raw))));
            clocks.real.extend((sample.realtime != 0).then(|| both(sample.realtime)));
        }
        clocks
    }

    /// Adds a row of the kind clock.
    fn add(&mut self, event: &Event<'_, '_>) {
        let Some(to) = event.i64(ColumnId::Value) else { return };
        let bracket = event.u64(ColumnId::Span).unwrap_or(0);
        let sample = clock::Sample { from: signed(event.ts), to, bracket };
        match event.name(ColumnId::Name).text() {
            "RAW" if self.raw.len() < MAX_SAMPLES => self.raw.push(sample),
            "REALTIME" if self.real.len() < MAX_SAMPLES => self.real.push(sample),
            _ => {}
        }
    }

    /// CLOCK_MONOTONIC to CLOCK_MONOTONIC_RAW.
    pub fn raw(&self) -> Scale {
        Scale::new(self.raw.clone())
    }

    /// CLOCK_MONOTONIC_RAW to CLOCK_REALTIME.
    pub fn wall(&self) -> Scale {
        let raw = self.raw();
        let by_raw = |sample: &clock::Sample| clock::Sample { from: raw.forward(sample.from), ..*sample };
        Scale::new(self.real.iter().map(by_raw).collect())
    }
}

/// As a signed number; beyond the largest of these it is that.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
