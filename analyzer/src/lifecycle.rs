//! Events become lives: one packet's way through one host, from its first event to its end.
//!
//! A packet is known by the address of its `sk_buff` only, and most delivered packets are freed without any
//! event, so the address is seen again with another packet. Where a life ends and the next begins is decided in
//! `continues`, by the stage that the life has reached and the stage that the event shows.

mod hooks;
mod life;
pub mod outcome;
mod way;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::event::{Event, Flow, Hook};
use crate::knowledge::{Knowledge, Severity};
use crate::loss::Losses;
use crate::symbol::Sym;
use hooks::{Said, giver};
pub use life::{Hop, Life};
use life::{apply, begins, continues, receive_rank};
pub use outcome::{Counts, Evidence, Outcome, OutcomeKind};
use outcome::{End, decide};
use way::{Way, Ways};

/// Lives that may be open at once.
const MAX_OPEN: usize = 256 << 10;
/// Events that open lives may keep, where events are kept.
const MAX_KEPT: usize = 400 << 10;
/// A life with proof of its end is closed after this many ns without an event.
const IDLE_FINISHED: u64 = 2_000_000_000;
/// Any life is closed after this many ns without an event.
const IDLE: u64 = 30_000_000_000;
/// Idle lives are looked for each time this many ns have passed.
const SWEEP_EVERY: u64 = 1_000_000_000;
/// Calls whose return is awaited at most.
const MAX_CALLS: usize = 64 << 10;
/// A packet that was freed within calls waits so many ns for their returns, which may give the verdict on it.
const LINGER: u64 = 10_000_000;

/// The packet that a CPU's softirq received last, and that no socket has announced yet.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    /// Address of the packet.
    skb: u64,
    /// Start of its life, which tells it from a later one at the same address.
    start: u64,
}

/// What is kept of lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Their events.
    Events,
    /// Their summary.
    Summary,
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
type EventFilter<'a> = dyn Fn(&Event, &Flow) -> bool + 'a;

/// Rebuilds lives from events in time order.
pub struct Lives<'a> {
    /// Which drops are healthy.
    normal: NormalDrops<'a>,
    /// When events were lost.
    losses: &'a Losses,
    /// What is kept.
    keep: Keep,
    /// Whether an event matches the user's filter.
    filter: Box<EventFilter<'a>>,
    /// Open and unused lives.
    slots: Vec<Life>,
    /// Unused lives.
    unused: Vec<u32>,
    /// Open lives by address.
    open: FxHashMap<u64, u32>,
    /// By CPU, what was received last.
    received: Vec<Received>,
    /// Which way functions lead.
    ways: Ways,
    /// Lives by the calls that have not returned: slot and start.
    calls: FxHashMap<u64, (u32, u64)>,
    /// Lives that have ended and await the returns of their calls.
    lingering: VecDeque<u32>,
    /// Events that open lives keep.
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
    known: FxHashMap<(Sym, Sym), bool>,
}

impl NormalDrops<'_> {
    /// Whether a drop is healthy.
    fn contains(&mut self, event: &Event) -> bool {
        let knowledge = self.knowledge;
        let reason = knowledge.reason(event);
        let known = self.known.entry((reason, event.location));
        *known.or_insert_with(|| knowledge.drop(reason, event.location).severity == Severity::Normal)
    }
}

impl<'a> Lives<'a> {
    /// Lives without a filter: all match.
    pub fn new(knowledge: &'a Knowledge, losses: &'a Losses, keep: Keep) -> Self {
        Self {
            normal: NormalDrops { knowledge, known: FxHashMap::default() },
            losses,
            keep,
            filter: Box::new(|_, _| true),
            slots: Vec::new(),
            unused: Vec::new(),
            open: FxHashMap::default(),
            received: Vec::new(),
            ways: Ways::default(),
            calls: FxHashMap::default(),
            lingering: VecDeque::new(),
            kept: 0,
            swept: 0,
            now: 0,
            tally: Tally::default(),
        }
    }

    /// Marks the lives of which an event matches. The filter gets the event and the life's flow, for events that
    /// carry no header.
    pub fn with_filter(mut self, filter: impl Fn(&Event, &Flow) -> bool + 'a) -> Self {
        self.filter = Box::new(filter);
        self
    }

    /// What was counted so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The flow of the packet at an address, by its last header.
    pub fn flow_at(&self, skb: u64) -> Option<Flow> {
        let slot = *self.open.get(&skb)?;
        Some(self.slots[slot as usize].position.identity.flow).filter(|f| !f.is_none())
    }

    /// Takes the next event, and hands over the lives that it ends.
    pub fn push(&mut self, event: &Event, done: &mut impl FnMut(&Life)) {
        self.now = self.now.max(event.ts);
        if event.ts.saturating_sub(self.swept) >= SWEEP_EVERY {
            self.sweep(event.ts, done);
        }
        if event.skb == 0 {
            if event.hook() == Hook::DataReady {
                self.data_ready(event);
            }
            return;
        }
        self.let_go(event.ts, done);
        self.tally.packet_events += 1;
        match event.hook() {
            Hook::Return | Hook::Verdict => return self.returned(event, done),
            Hook::Link => return self.linked(event, done),
            _ => {}
        }
        let Some(slot) = self.life_of(event, done) else {
            // What a tracepoint told already, the functions that it calls tell again.
            self.tally.orphans += u64::from(event.hook() != Hook::End);
            return;
        };
        self.add(slot, event);
        match event.hook() {
            Hook::Drop | Hook::Consume | Hook::End => self.freed(slot, event, done),
            Hook::Call => self.called(slot, event),
            Hook::Step if event.says == Sym::NF_DROP => self.slots[slot as usize].judge(event),
            _ => {}
        }
    }

    /// Notes a call, which its return will name.
    fn called(&mut self, slot: u32, event: &Event) {
        if self.calls.len() >= MAX_CALLS {
            self.calls.clear();
        }
        self.calls.insert(event.call(), (slot, self.slots[slot as usize].start));
    }

    /// A call returned: that belongs to the life that it was called with, wherever its packet is by now.
    fn returned(&mut self, event: &Event, done: &mut impl FnMut(&Life)) {
        let Some((slot, start)) = self.calls.remove(&event.other) else { return };
        let life = &mut self.slots[slot as usize];
        if life.start != start || life.skb != event.skb {
            return;
        }
        life.calls = life.calls.saturating_sub(1);
        if event.hook() == Hook::Verdict {
            self.decided(slot, event);
        } else {
            self.keep(slot, event);
        }
        if self.slots[slot as usize].calls == 0 && self.slots[slot as usize].ending.is_some() {
            self.lingering.retain(|waiting| *waiting != slot);
            self.end(slot, done);
        }
    }

    /// A function of netfilter gave a verdict.
    fn decided(&mut self, slot: u32, event: &Event) {
        let life = &mut self.slots[slot as usize];
        let event = Event { nf_by: giver(event, &life.said), ..*event };
        life.said = Said::by(&event);
        life.matched = life.matched || (self.filter)(&event, &life.flow);
        // From 6.10 on a rule that drops frees the packet itself, and says that it keeps it.
        if event.says == Sym::NF_DROP || life.ending == Some(End::Dropped) {
            life.judge(&event);
        }
        self.keep(slot, &event);
    }

    /// A packet came of another, or went up in it.
    fn linked(&mut self, event: &Event, done: &mut impl FnMut(&Life)) {
        let parent = self.open.get(&event.skb).copied();
        if let Some(slot) = parent {
            self.add(slot, event);
        }
        if event.other == event.skb {
            return;
        }
        if event.says == Sym::MERGE {
            if let Some(slot) = parent {
                self.freed(slot, event, done);
            }
            return;
        }
        if let Some(old) = self.open.get(&event.other).copied() {
            self.close(old, End::Reused, done);
        }
        let child = self.begin(event.other, event.ts, done);
        if let Some(slot) = parent {
            let parent = &self.slots[slot as usize];
            let (flow, position, matched) = (parent.flow, parent.position, parent.matched);
            let life = &mut self.slots[child as usize];
            (life.flow, life.matched) = (flow, matched);
            life.position.identity = position.identity;
            life.position.received_last = position.received_last;
            life.origin = Some((event.skb, event.says));
        }
        self.add(child, event);
    }

    /// The life that an event belongs to; a new one if it begins one.
    fn life_of(&mut self, event: &Event, done: &mut impl FnMut(&Life)) -> Option<u32> {
        let way = if event.hook() == Hook::Call { self.ways.of(event.probe) } else { Way::Any };
        if let Some(slot) = self.open.get(&event.skb).copied() {
            if continues(&self.slots[slot as usize], event, way) {
                return Some(slot);
            }
            self.close(slot, End::Reused, done);
        }
        begins(event.hook()).then(|| self.begin(event.skb, event.ts, done))
    }

    /// Begins a life.
    fn begin(&mut self, skb: u64, ts: u64, done: &mut impl FnMut(&Life)) -> u32 {
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
    fn add(&mut self, slot: u32, event: &Event) {
        let life = &mut self.slots[slot as usize];
        apply(life, event);
        life.matched = life.matched || (self.filter)(event, &life.flow);
        self.keep(slot, event);
        let life = &self.slots[slot as usize];
        if receive_rank(event.hook()) > 0 {
            let received = Received { skb: life.skb, start: life.start };
            *self.last_received(event.cpu) = received;
        }
    }

    /// Keeps an event of a life, if events are kept.
    fn keep(&mut self, slot: u32, event: &Event) {
        if self.keep == Keep::Events {
            self.slots[slot as usize].events.push(*event);
            self.kept += 1;
        }
    }

    /// The packet that a CPU received last.
    fn last_received(&mut self, cpu: u16) -> &mut Received {
        let cpu = usize::from(cpu);
        if self.received.len() <= cpu {
            self.received.resize(cpu + 1, Received::default());
        }
        &mut self.received[cpu]
    }

    /// A socket has something to read: the packet that its CPU's softirq received last was delivered, if ports
    /// do not speak against it.
    fn data_ready(&mut self, event: &Event) {
        let foreign = event.family.is_some() && event.family != Sym::INET && event.family != Sym::INET6;
        if event.ctx == Sym::TASK || foreign {
            return;
        }
        let received = *self.last_received(event.cpu);
        let Some(slot) = self.open.get(&received.skb).copied() else { return };
        let life = &mut self.slots[slot as usize];
        if life.start != received.start
            || !life.position.received_last
            || !ports_fit(event, &life.position.identity.flow)
        {
            return;
        }
        life.evidence.socket_ready = true;
        life.end = life.end.max(event.ts);
        self.keep(slot, event);
        *self.last_received(event.cpu) = Received::default();
    }

    /// A free ends a life.
    fn freed(&mut self, slot: u32, event: &Event, done: &mut impl FnMut(&Life)) {
        let end = match event.hook() {
            Hook::Drop if !self.normal.contains(event) => End::Dropped,
            _ => End::Consumed,
        };
        self.slots[slot as usize].freed = Some(Box::new(*event));
        self.close(slot, end, done);
    }

    /// Closes a life: its address is free for another. It is handed over when its calls have returned.
    fn close(&mut self, slot: u32, end: End, done: &mut impl FnMut(&Life)) {
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
    fn let_go(&mut self, now: u64, done: &mut impl FnMut(&Life)) {
        while let Some(slot) = self.lingering.front().copied() {
            if now.saturating_sub(self.slots[slot as usize].end) < LINGER {
                return;
            }
            self.lingering.pop_front();
            self.end(slot, done);
        }
    }

    /// Hands a closed life over.
    fn end(&mut self, slot: u32, done: &mut impl FnMut(&Life)) {
        let life = &mut self.slots[slot as usize];
        let Some(end) = life.ending else { return };
        // Where the end was not observed it may have been lost at any time until now.
        let until = if life.freed.is_some() { life.end } else { self.now };
        life.touched_by_loss = self.losses.overlap(life.start, until);
        life.outcome = decide(life, end);
        self.tally.outcomes.add(&life.outcome);
        done(life);
        self.kept -= life.events.len();
        life.events.clear();
        self.unused.push(slot);
    }

    /// Closes the lives that are idle for long.
    fn sweep(&mut self, now: u64, done: &mut impl FnMut(&Life)) {
        self.swept = now;
        let is_idle = |life: &Life| {
            let limit = if life.is_finished() { IDLE_FINISHED } else { IDLE };
            now.saturating_sub(life.end) > limit
        };
        let mut idle: Vec<u32> =
            self.open.values().copied().filter(|slot| is_idle(&self.slots[*slot as usize])).collect();
        self.close_in_order(&mut idle, End::Idle, done);
    }

    /// Makes room: closes the eighth of the open lives that is idle the longest.
    fn evict(&mut self, done: &mut impl FnMut(&Life)) {
        let mut slots: Vec<u32> = self.open.values().copied().collect();
        let eighth = (slots.len() / 8).max(1).min(slots.len());
        slots.sort_unstable_by_key(|slot| self.slots[*slot as usize].end);
        slots.truncate(eighth);
        self.close_in_order(&mut slots, End::Idle, done);
    }

    /// Closes every open life: the capture ends.
    pub fn finish(&mut self, done: &mut impl FnMut(&Life)) {
        self.let_go(u64::MAX, done);
        let mut slots: Vec<u32> = self.open.values().copied().collect();
        self.close_in_order(&mut slots, End::OfCapture, done);
    }

    /// Closes lives in the order of their start, so that the same capture gives the same answer.
    fn close_in_order(&mut self, slots: &mut [u32], end: End, done: &mut impl FnMut(&Life)) {
        slots.sort_unstable_by_key(|slot| {
            let life = &self.slots[*slot as usize];
            (life.start, life.skb)
        });
        for slot in slots {
            self.close(*slot, end, done);
        }
    }
}

/// Whether a socket's ports do not contradict a packet's.
fn ports_fit(socket: &Event, packet: &Flow) -> bool {
    let fits = |of_socket: u16, of_packet: u16| of_socket == 0 || of_packet == 0 || of_socket == of_packet;
    fits(socket.sport, packet.dport) && fits(socket.dport, packet.sport)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
