//! Events become lives: one packet's way through one host, from its first event to its end.
//!
//! A packet is known by the address of its `sk_buff` only, and most delivered packets are freed without any
//! event, so the address is seen again with another packet. Place a life ends and the next begins is decided in
//! `state::step`: by the numbers in the headers where they tell, else by the stage that the life has reached and the
//! stage that the event shows.

mod calls;
pub mod crossing;
mod delivery;
mod identity;
mod life;
pub mod outcome;
mod sighting;
mod state;
mod verdict;

use std::collections::VecDeque;

use ahash::AHashMap;
use ntc::ColumnId;
use ntc::catalog::Direction;
use serde::Serialize;

use crate::event::{Effect, Event, Flow, Snapshot};
use crate::knowledge::{Knowledge, Severity, Thresholds};
use crate::loss::Losses;
use crate::names::{Name, Names};
use crate::rule::Rule;
use calls::{Calls, LifeRef};
use crossing::Crossings;
pub use crossing::{Crossing, Key, KeyKind, Way};
use delivery::{Received, Starts};
pub use identity::Echo;
use identity::Identity;
pub use life::{Hop, Life, Row};
pub use outcome::{Counts, Evidence, Outcome, OutcomeKind};
use outcome::{End, decide};
pub use sighting::{Sighting, moves};
use state::{Step, begins, step};
use verdict::{Given, verdict_hook};

/// The columns that lives are rebuilt from.
pub const COLUMNS: [ColumnId; 47] = [
    ColumnId::Ts,
    ColumnId::Cpu,
    ColumnId::Seq,
    ColumnId::Kind,
    ColumnId::Probe,
    ColumnId::Pid,
    ColumnId::Tid,
    ColumnId::Ctx,
    ColumnId::Skb,
    ColumnId::Netns,
    ColumnId::Ifindex,
    ColumnId::Dev,
    ColumnId::Iif,
    ColumnId::Len,
    ColumnId::GsoSegs,
    ColumnId::Protocol,
    ColumnId::Saddr,
    ColumnId::Daddr,
    ColumnId::L4,
    ColumnId::Sport,
    ColumnId::Dport,
    ColumnId::IpId,
    ColumnId::Ttl,
    ColumnId::TcpSeq,
    ColumnId::TcpFlags,
    ColumnId::IcmpId,
    ColumnId::IcmpSeq,
    ColumnId::Tunnel,
    ColumnId::PayloadHash,
    ColumnId::Reason,
    ColumnId::Location,
    ColumnId::Stack,
    ColumnId::Ret,
    ColumnId::Family,
    ColumnId::Rmem,
    ColumnId::Rcvbuf,
    ColumnId::Entry,
    ColumnId::Child,
    ColumnId::Relation,
    ColumnId::Verdict,
    ColumnId::Hook,
    ColumnId::Table,
    ColumnId::Chain,
    ColumnId::Hooks,
    ColumnId::Handle,
    ColumnId::Step,
    ColumnId::Name,
];

/// Lives that may be open at once.
const MAX_OPEN: usize = 256 << 10;
/// Rows and sightings that open lives may keep, where they are kept.
const MAX_KEPT: usize = 2 << 20;

/// What is kept of lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Their summary.
    Summary,
    /// Where their rows stand, too.
    Rows,
    /// Where they were seen, too: at the probes that are asked for ([`crate::probes::Probes::ask`]), and between devices.
    Sightings,
    /// All of that.
    All,
    /// Where they crossed devices, beside their summary.
    Crossings,
}

impl Keep {
    /// Whether it is kept where rows stand.
    fn rows(self) -> bool {
        matches!(self, Self::Rows | Self::All)
    }

    /// Whether it is kept where packets were seen.
    fn sightings(self) -> bool {
        matches!(self, Self::Sightings | Self::All)
    }
}

/// What [`Lives`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events that carried a packet's address.
    pub packet_events: u64,
    /// Those among them that belong to no life.
    pub orphans: u64,
    /// Lives by outcome.
    pub outcomes: Counts,
}

/// Whether an event matches; it gets the flow of its packet too.
type EventFilter<'a> = dyn Fn(&Event<'_, 'a>, &Flow<'a>) -> bool + 'a;

/// Rebuilds lives from events in time order.
pub struct Lives<'a> {
    /// The capture's names.
    names: &'a Names,
    /// Which drops are healthy.
    normal: NormalDrops<'a>,
    /// Times that decide.
    limits: Thresholds,
    /// When events were lost.
    losses: &'a Losses,
    /// What is kept.
    keep: Keep,
    /// Whether an event matches the user's filter.
    filter: Box<EventFilter<'a>>,
    /// Open and unused lives.
    slots: Vec<Life<'a>>,
    /// Unused lives.
    unused: Vec<u32>,
    /// Open lives by address.
    open: AHashMap<u64, u32>,
    /// By CPU, what was received last.
    received: Received,
    /// By CPU, packets that drivers have and have not answered for.
    starts: Starts,
    /// What makes crossings of events.
    crossings: Crossings,
    /// Lives by the calls that have not returned.
    calls: Calls,
    /// Lives that have ended and await the returns of their calls.
    lingering: VecDeque<u32>,
    /// Rows and sightings that open lives keep.
    kept: usize,
    /// When idle lives were last looked for.
    swept: u64,
    /// Time of the newest event.
    now: u64,
    /// What was counted.
    tally: Tally,
}

/// Which drops are healthy, remembered by reason and location.
struct NormalDrops<'a> {
    /// The tables.
    knowledge: &'a Knowledge,
    /// Answers so far.
    known: AHashMap<(&'a str, Name<'a>), bool>,
}

impl<'a> NormalDrops<'a> {
    /// Whether a drop is healthy.
    fn contains(&mut self, event: &Snapshot<'a>) -> bool {
        let knowledge = self.knowledge;
        let reason = knowledge.reason(event);
        let known = self.known.entry((reason, event.location));
        *known.or_insert_with(|| knowledge.drop(reason, event.location.text()).severity == Severity::Normal)
    }
}

impl<'a> Lives<'a> {
    /// Lives without a filter: all match.
    pub fn new(names: &'a Names, knowledge: &'a Knowledge, losses: &'a Losses, keep: Keep) -> Self {
        Self {
            names,
            normal: NormalDrops { knowledge, known: AHashMap::default() },
            limits: knowledge.thresholds(),
            losses,
            keep,
            filter: Box::new(|_, _| true),
            slots: Vec::new(),
            unused: Vec::new(),
            open: AHashMap::default(),
            received: Received::default(),
            starts: Starts::default(),
            crossings: Crossings::default(),
            calls: Calls::default(),
            lingering: VecDeque::new(),
            kept: 0,
            swept: 0,
            now: 0,
            tally: Tally::default(),
        }
    }

    /// Marks the lives of which an event matches. The filter gets the event and the life's flow, for events that
    /// carry no header.
    pub fn with_filter(mut self, filter: impl Fn(&Event<'_, 'a>, &Flow<'a>) -> bool + 'a) -> Self {
        self.filter = Box::new(filter);
        self
    }

    /// Says that payloads' fingerprints of this capture may be compared with those of another, for its crossings.
    pub fn with_fingerprints(self) -> Self {
        Self { crossings: Crossings::new(true), ..self }
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Events that carried a packet's address and belong to no life, so far.
    pub fn orphans(&self) -> u64 {
        self.tally.orphans
    }

    /// The flow of the packet at an address, by its last header.
    pub fn flow_at(&self, skb: u64) -> Option<Flow<'a>> {
        let slot = *self.open.get(&skb)?;
        Some(self.slots[slot as usize].identity.flow).filter(|flow| !flow.is_none())
    }

    /// Takes the next event, and hands over the lives that it ends.
    pub fn push(&mut self, event: &Event<'_, 'a>, done: &mut impl FnMut(&Life<'a>)) {
        self.now = self.now.max(event.ts);
        if event.ts.saturating_sub(self.swept) >= self.limits.sweep {
            self.sweep(event.ts, done);
        }
        if event.skb == 0 {
            if event.effect == Effect::DataReady {
                self.data_ready(event);
            }
            return;
        }
        self.flush_lingering(event.ts, done);
        self.tally.packet_events += 1;
        match event.effect {
            Effect::Return | Effect::Verdict => self.returned(event, done),
            Effect::Link => self.linked(event, done),
            _ => self.happened(event, done),
        }
    }

    /// Something happened to a packet.
    fn happened(&mut self, event: &Event<'_, 'a>, done: &mut impl FnMut(&Life<'a>)) {
        let header = Identity::of(event);
        let Some(slot) = self.life_of(event, header.as_ref(), done) else {
            // What a tracepoint told already, the functions that it calls tell again.
            self.tally.orphans += u64::from(event.effect != Effect::Free);
            return;
        };
        self.add(slot, event, header);
        let life = &mut self.slots[slot as usize];
        match event.effect {
            Effect::Drop | Effect::HardwareDrop | Effect::Consume | Effect::Free => {
                self.freed(slot, event, done)
            }
            Effect::Call if event.about.returns => {
                if let Some(call) = event.call() {
                    self.calls.add(call, (slot, life.start));
                }
            }
            Effect::Start => self.starts.add(event, (slot, life.start)),
            Effect::Rule if event.name(ColumnId::Verdict) == "NF_DROP" => {
                life.set_final_verdict(Rule::of(event, Name::NONE))
            }
            _ => {}
        }
    }

    /// The life of a reference, if it is still there.
    fn get_mut(&mut self, (slot, start): LifeRef, skb: u64) -> Option<&mut Life<'a>> {
        self.slots.get_mut(slot as usize).filter(|life| life.start == start && life.skb == skb)
    }

    /// A call returned: that belongs to the life that it was called with, wherever its packet is by now.
    fn returned(&mut self, event: &Event<'_, 'a>, done: &mut impl FnMut(&Life<'a>)) {
        let Some(called) = event.u64(ColumnId::Entry).and_then(|entry| self.calls.take(entry)) else {
            return;
        };
        let Some(life) = self.get_mut(called, event.skb) else { return };
        life.calls = life.calls.saturating_sub(1);
        let slot = called.0;
        match event.effect {
            Effect::Verdict => self.decided(slot, event),
            _ => self.keep(slot, event, Name::NONE),
        }
        let life = &self.slots[slot as usize];
        if life.calls == 0 && life.ending.is_some() {
            self.lingering.retain(|waiting| *waiting != slot);
            self.end(slot, done);
        }
    }

    /// A function of netfilter gave a verdict.
    fn decided(&mut self, slot: u32, event: &Event<'_, 'a>) {
        let life = &mut self.slots[slot as usize];
        let by = verdict_hook(event, &life.given).map_or(Name::NONE, |function| self.names.name(function));
        life.given = Given::by(event);
        life.matched = life.matched || (self.filter)(event, &life.flow);
        // From 6.10 on a rule that drops frees the packet itself, and says that it keeps it.
        if event.name(ColumnId::Verdict) == "NF_DROP" || life.ending == Some(End::Dropped) {
            life.set_final_verdict(Rule::of(event, by));
        }
        self.keep(slot, event, by);
    }

    /// A packet is derived from another, or merged into it.
    fn linked(&mut self, event: &Event<'_, 'a>, done: &mut impl FnMut(&Life<'a>)) {
        let parent = self.open.get(&event.skb).copied();
        if let Some(slot) = parent {
            self.add(slot, event, None);
        }
        let (child, relation) = (event.u64(ColumnId::Child).unwrap_or(0), event.name(ColumnId::Relation));
        if child == event.skb || child == 0 {
            return;
        }
        if relation == "merge" {
            if let Some(slot) = parent {
                self.freed(slot, event, done);
            }
            return;
        }
        if let Some(before) = self.open.get(&child).copied() {
            self.close(before, End::Reused, done);
        }
        let born = self.begin(child, event.ts, done);
        if let Some(slot) = parent {
            self.inherit(slot, born, relation);
        }
        self.add(born, event, None);
    }

    /// Gives a derived packet what it has of its parent.
    fn inherit(&mut self, parent: u32, born: u32, relation: Name<'a>) {
        let parent = &self.slots[parent as usize];
        let (skb, flow, identity, matched) = (parent.skb, parent.flow, parent.identity, parent.matched);
        let received_last = parent.position.received_last;
        let life = &mut self.slots[born as usize];
        (life.flow, life.identity, life.matched) = (flow, identity, matched);
        life.position.received_last = received_last;
        // Segments and fragments have numbers of their own.
        life.position.rewritten = relation == "segment" || relation == "fragment";
        life.origin = Some((skb, relation));
    }

    /// The life that an event belongs to; a new one if it begins one.
    fn life_of(
        &mut self,
        event: &Event<'_, 'a>,
        header: Option<&Identity<'a>>,
        done: &mut impl FnMut(&Life<'a>),
    ) -> Option<u32> {
        if event.effect == Effect::Sent
            && let Some(given) = self.starts.take(event)
        {
            let open = self.open.get(&event.skb).copied();
            return self.get_mut(given, event.skb).is_some().then_some(given.0).filter(|s| open == Some(*s));
        }
        let Some(slot) = self.open.get(&event.skb).copied() else {
            return begins(event.effect).then(|| self.begin(event.skb, event.ts, done));
        };
        let life = &self.slots[slot as usize];
        match step(life, event, life.same(event, header, &self.limits), &self.limits) {
            Step::Continue => Some(slot),
            Step::New => {
                self.close(slot, End::Reused, done);
                Some(self.begin(event.skb, event.ts, done))
            }
            Step::Orphan => {
                self.close(slot, End::Reused, done);
                None
            }
        }
    }

    /// Begins a life.
    fn begin(&mut self, skb: u64, ts: u64, done: &mut impl FnMut(&Life<'a>)) -> u32 {
        if self.open.len() >= MAX_OPEN || self.kept >= MAX_KEPT {
            self.evict(done);
        }
        let slot = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(Life::default());
            (self.slots.len() - 1) as u32
        });
        let life = &mut self.slots[slot as usize];
        life.reset(skb);
        life.start = ts;
        life.end = ts;
        self.open.insert(skb, slot);
        slot
    }

    /// Adds an event to its life.
    fn add(&mut self, slot: u32, event: &Event<'_, 'a>, header: Option<Identity<'a>>) {
        let life = &mut self.slots[slot as usize];
        life.apply(event, header);
        life.matched = life.matched || (self.filter)(event, &life.flow);
        if is_in_protocols(event) {
            self.received.set(event, (slot, life.start));
        }
        self.keep(slot, event, Name::NONE);
    }

    /// Keeps where a row of a life stands and the packet was seen, if that is kept.
    fn keep(&mut self, slot: u32, event: &Event<'_, 'a>, by: Name<'a>) {
        let life = &mut self.slots[slot as usize];
        if self.keep.rows() {
            life.rows.push(Row { id: event.id, by });
            self.kept += 1;
        }
        if self.keep.sightings()
            && let Some(sighting) = Sighting::of(event)
        {
            life.sightings.push(sighting);
            self.kept += 1;
        }
        if self.keep == Keep::Crossings
            && let Some(crossing) = self.crossings.of(event)
        {
            self.kept += usize::from(life.cross(crossing));
        }
    }

    /// A socket has something to read: the packet that its CPU received last was delivered.
    fn data_ready(&mut self, event: &Event<'_, 'a>) {
        let Some((skb, received)) = self.received.announced_by(event) else { return };
        let Some(life) = self.get_mut(received, skb) else { return };
        let fits = life.ending.is_none() && life.position.received_last;
        if !fits || !delivery::ports_fit(event, &life.identity.flow) {
            return;
        }
        life.evidence.socket_ready = true;
        life.end = life.end.max(event.ts);
        self.keep(received.0, event, Name::NONE);
        self.received.clear(event.cpu);
    }

    /// A free ends a life.
    fn freed(&mut self, slot: u32, event: &Event<'_, 'a>, done: &mut impl FnMut(&Life<'a>)) {
        let freed = Snapshot::of(event);
        let end = match event.effect {
            Effect::HardwareDrop => End::Dropped,
            Effect::Drop if !self.normal.contains(&freed) => End::Dropped,
            _ => End::Consumed,
        };
        self.slots[slot as usize].freed = Some(Box::new(freed));
        self.close(slot, end, done);
    }

    /// Closes a life: its address is free for another. It is handed over when its calls have returned.
    fn close(&mut self, slot: u32, end: End, done: &mut impl FnMut(&Life<'a>)) {
        let life = &mut self.slots[slot as usize];
        self.open.remove(&life.skb);
        life.ending = Some(end);
        if life.calls > 0 && matches!(end, End::Dropped | End::Consumed) {
            self.lingering.push_back(slot);
        } else {
            self.end(slot, done);
        }
    }

    /// Hands over the lives that have waited long enough for the returns of their calls.
    fn flush_lingering(&mut self, now: u64, done: &mut impl FnMut(&Life<'a>)) {
        while let Some(slot) = self.lingering.front().copied() {
            if now.saturating_sub(self.slots[slot as usize].end) < self.limits.linger {
                return;
            }
            self.lingering.pop_front();
            self.end(slot, done);
        }
    }

    /// Hands a closed life over.
    fn end(&mut self, slot: u32, done: &mut impl FnMut(&Life<'a>)) {
        let life = &mut self.slots[slot as usize];
        let Some(end) = life.ending else { return };
        // Where the end was not observed it may have been lost at any time until now.
        let until = if life.freed.is_some() { life.end } else { self.now };
        life.touched_by_loss = self.losses.overlap(life.start, until);
        life.outcome = decide(life, end);
        self.tally.outcomes.add(&life.outcome);
        done(life);
        self.kept -= life.rows.len() + life.sightings.len() + life.crossings.len();
        life.rows.clear();
        life.sightings.clear();
        life.crossings.clear();
        life.skb = 0;
        self.unused.push(slot);
    }

    /// Closes the lives that are idle for long.
    fn sweep(&mut self, now: u64, done: &mut impl FnMut(&Life<'a>)) {
        self.swept = now;
        let limits = self.limits;
        let is_idle = |life: &Life<'_>| {
            let limit = if life.is_finished() { limits.idle_finished } else { limits.idle };
            now.saturating_sub(life.end) > limit
        };
        let mut idle: Vec<u32> =
            self.open.values().copied().filter(|slot| is_idle(&self.slots[*slot as usize])).collect();
        self.close_in_order(&mut idle, End::Idle, done);
    }

    /// Makes room: closes the eighth of the open lives that is idle the longest.
    fn evict(&mut self, done: &mut impl FnMut(&Life<'a>)) {
        let mut slots: Vec<u32> = self.open.values().copied().collect();
        let eighth = (slots.len() / 8).max(1).min(slots.len());
        slots.sort_unstable_by_key(|slot| {
            let life = &self.slots[*slot as usize];
            (life.end, life.start, life.skb)
        });
        slots.truncate(eighth);
        self.close_in_order(&mut slots, End::Idle, done);
    }

    /// Closes every open life: the capture ends.
    pub fn finish(&mut self, done: &mut impl FnMut(&Life<'a>)) {
        self.flush_lingering(u64::MAX, done);
        let mut slots: Vec<u32> = self.open.values().copied().collect();
        self.close_in_order(&mut slots, End::OfCapture, done);
    }

    /// Closes lives in the order of their start, so that the same capture gives the same answer.
    fn close_in_order(&mut self, slots: &mut [u32], end: End, done: &mut impl FnMut(&Life<'a>)) {
        slots.sort_unstable_by_key(|slot| {
            let life = &self.slots[*slot as usize];
            (life.start, life.skb)
        });
        for slot in slots {
            self.close(*slot, end, done);
        }
    }
}

/// Whether the protocols have the packet on this CPU, so that a socket there may announce it. One in the backlog has yet
/// to come to them.
fn is_in_protocols(event: &Event<'_, '_>) -> bool {
    let is_call = event.effect == Effect::Call && event.about.direction == Direction::In;
    event.effect == Effect::Receive || is_call
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
