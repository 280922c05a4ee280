//! A packet's way through one host, as the join over hosts needs it.

use ahash::AHashMap;
use ntc::catalog;
use ntc::schema::FINGERPRINT_BYTES;

use crate::address::Addr;
use crate::event::{Effect, Event, Flow, Place};
use crate::knowledge::Knowledge;
use crate::lifecycle::{self, Crossing, Echo, Keep, Life, Lives, Outcome, OutcomeKind, Way, crossing};
use crate::scan::Scan;
use crate::source::Source;

/// The index of the loopback device in every namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: u32 = 1;
/// Sequences of devices of a host that are told apart at most.
const MAX_SEQUENCES: usize = 1 << 14;

/// A packet's way through one host.
#[derive(Clone, Debug)]
pub struct Leg<'a> {
    /// Number of the host.
    pub host: usize,
    /// First event, ns of the host's CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Where it came into the host; none where the host made it, or the capture began behind that.
    pub entered: Option<Crossing<'a>>,
    /// Where it left the host.
    pub left: Option<Crossing<'a>>,
    /// Who talks to whom, by its first header.
    pub flow: Flow<'a>,
    /// What it says of itself where it is an ICMP echo message.
    pub echo: Option<Echo>,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// Whether it passes the user's filters. All are joined: what does not fit on one host may on another.
    pub fits: bool,
    /// Number of the devices that it crossed, among those of its host's packets.
    pub devices: usize,
}

impl<'a> Leg<'a> {
    /// The leg of a life; none where it neither crossed a device nor was dropped: a copy that stays in the host.
    /// `knows_drivers`: the capture has a row where a driver gets a packet, so that one without was not given to any as it was.
    fn of(host: usize, life: &Life<'a>, knows_drivers: bool, devices: &mut Devices<'a>) -> Option<Self> {
        let is_dropped = life.outcome.kind() == OutcomeKind::Dropped;
        let is_own = life.origin.is_none() && !life.flow.is_none();
        if life.crossings.is_empty() && !(is_dropped && is_own) {
            return None;
        }
        Some(Self {
            host,
            start: life.start,
            end: life.end,
            entered: entry(&life.crossings),
            left: exit(&life.crossings).filter(|left| !(is_dropped || left.is_queued && knows_drivers)),
            flow: life.flow,
            echo: life.echo,
            outcome: life.outcome,
            fits: true,
            devices: devices.number(&life.crossings),
        })
    }

    /// Whether any of its headers was recorded.
    pub fn is_identified(&self) -> bool {
        !self.flow.is_none()
    }

    /// Where it was going when it came in; in a tunnel, where what is inside is going.
    pub fn destination(&self) -> Addr {
        self.entered.as_ref().map_or(self.flow.dst, |entered| entered.flow.dst)
    }

    /// Who talks to whom, by the header that it left with, or had last.
    pub fn last_flow(&self) -> &Flow<'a> {
        let entered = self.entered.as_ref().filter(|entered| !entered.flow.is_none());
        self.left.as_ref().or(entered).map_or(&self.flow, |at| &at.flow)
    }

    /// When it was in the host first and last, ns: from the device that received it to the one that sent it, where it crossed
    /// them.
    pub fn span(&self) -> (u64, u64) {
        let from = self.entered.as_ref().map_or(self.start, |entered| entered.ts);
        let to = self.left.as_ref().map_or(self.end, |left| left.ts);
        (from, to.max(from))
    }
}

/// A device that a packet crossed, and which way.
pub type Step<'a> = (Place<'a>, Way);

/// The devices that packets of a host crossed, one after another: each sequence once.
#[derive(Debug, Default)]
pub struct Devices<'a> {
    /// Sequences by number.
    list: Vec<Vec<Step<'a>>>,
    /// Their numbers.
    numbers: AHashMap<Vec<Step<'a>>, usize>,
}

impl<'a> Devices<'a> {
    /// The number of a packet's devices. Those that come when there are too many are like the first.
    fn number(&mut self, crossings: &[Crossing<'a>]) -> usize {
        let steps: Vec<Step<'a>> = crossings.iter().map(|crossing| (crossing.at, crossing.way)).collect();
        if let Some(number) = self.numbers.get(&steps) {
            return *number;
        }
        if self.list.len() >= MAX_SEQUENCES {
            return 0;
        }
        self.list.push(steps.clone());
        self.numbers.insert(steps, self.list.len() - 1);
        self.list.len() - 1
    }

    /// The devices of a number.
    pub fn get(&self, number: usize) -> &[Step<'a>] {
        self.list.get(number).map_or(&[], Vec::as_slice)
    }
}

/// Whether a capture's fingerprints of payloads are the same on all hosts. Older recorders took as many bytes as they saw.
pub fn has_fingerprints(source: &Source) -> bool {
    source.capture.metadata().fingerprint_bytes == FINGERPRINT_BYTES as u32
}

/// Makes legs of a capture's events.
pub struct Legs<'a> {
    /// Number of the host.
    host: usize,
    /// The capture.
    source: &'a Source,
    /// Lives of its packets.
    lives: Lives<'a>,
    /// Whether the capture has a row where a driver gets a packet (net_dev_start_xmit).
    knows_drivers: bool,
    /// What their packets crossed.
    devices: Devices<'a>,
}

impl<'a> Legs<'a> {
    /// Has seen nothing yet. `fingerprints`: all captures have fingerprints of payloads that may be compared
    /// ([`has_fingerprints`]).
    pub fn new(host: usize, source: &'a Source, knowledge: &'a Knowledge, fingerprints: bool) -> Self {
        let Source { names, losses, filter, .. } = source;
        let mut lives = Lives::new(names, knowledge, losses, Keep::Crossings);
        if !filter.takes_all() {
            lives = lives.with_filter(|event, flow| filter.event(event, flow));
        }
        if fingerprints {
            lives = lives.with_fingerprints();
        }
        let mut attached = source.capture.metadata().probes.iter().filter(|probe| probe.error.is_none());
        let is_start = |name| catalog::by_name(name).is_some_and(|entry| entry.effect == Effect::Start);
        let knows_drivers = attached.any(|probe| is_start(&probe.name));
        Self { host, source, lives, knows_drivers, devices: Devices::default() }
    }

    /// What is to be read of the capture.
    pub fn scan(&self) -> Scan {
        let filter = &self.source.filter;
        Scan::new(
            lifecycle::COLUMNS.into_iter().chain(crossing::COLUMNS).chain(filter.columns()),
            filter.range(),
        )
    }

    /// Takes the next event, and hands over the legs that it ends.
    pub fn push(&mut self, event: &Event<'_, 'a>, each: &mut impl FnMut(Leg<'a>)) {
        let Self { host, source, lives, knows_drivers, devices } = self;
        lives.push(event, &mut |life| {
            let leg = Leg::of(*host, life, *knows_drivers, devices);
            leg.into_iter().map(|leg| Leg { fits: source.filter.life(life), ..leg }).for_each(&mut *each);
        });
    }

    /// Hands over what is left when the capture ends, and tells which devices packets crossed.
    pub fn finish(mut self, each: &mut impl FnMut(Leg<'a>)) -> Devices<'a> {
        let Self { host, source, lives, knows_drivers, devices } = &mut self;
        lives.finish(&mut |life| {
            let leg = Leg::of(*host, life, *knows_drivers, devices);
            leg.into_iter().map(|leg| Leg { fits: source.filter.life(life), ..leg }).for_each(&mut *each);
        });
        self.devices
    }
}

/// Where a packet came into the host. What a tunnel's header hides there is told by the header that comes out of it.
fn entry<'a>(crossings: &[Crossing<'a>]) -> Option<Crossing<'a>> {
    let first = crossings.first().filter(|first| first.way == Way::In && first.at.ifindex != LOOPBACK)?;
    let inner = crossings.iter().take_while(|next| next.way == Way::In).find(|next| !next.is_tunnelled);
    Some(inside(first, inner))
}

/// Where a packet left the host, if it did.
fn exit<'a>(crossings: &[Crossing<'a>]) -> Option<Crossing<'a>> {
    let last = crossings.last().filter(|last| last.way == Way::Out && last.at.ifindex != LOOPBACK)?;
    let inner =
        crossings.iter().rev().take_while(|next| next.way == Way::Out).find(|next| !next.is_tunnelled);
    Some(inside(last, inner))
}

/// A crossing with the header of the packet in the tunnel.
fn inside<'a>(at: &Crossing<'a>, inner: Option<&Crossing<'a>>) -> Crossing<'a> {
    match inner.filter(|_| at.is_tunnelled) {
        None => at.clone(),
        Some(inner) => Crossing { ts: at.ts, at: at.at, is_queued: at.is_queued, ..inner.clone() },
    }
}
