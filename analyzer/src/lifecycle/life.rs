//! One packet's way through one host.

use serde::Serialize;

use super::crossing::{Crossing, Way};
use super::identity::{Echo, Heading, Identity, Passage, Same};
use super::outcome::{End, Evidence, Outcome};
use super::sighting::Sighting;
use super::state::{Answer, Passed, Position, Rx, Tx};
use super::verdict::Given;
use crate::event::{Effect, Event, Flow, Place, RowId, Snapshot};
use crate::knowledge::Thresholds;
use crate::names::Name;
use crate::rule::Rule;
use ntc::ColumnId;
use ntc::catalog::Direction;

/// Devices of a life that are remembered.
const MAX_HOPS: usize = 32;

/// A device on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hop<'a> {
    /// The device.
    #[serde(flatten)]
    pub at: Place<'a>,
    /// How far the packet came in its last receive there.
    #[serde(skip)]
    pub(super) received: Rx,
    /// How far it came in its last transmit there.
    #[serde(skip)]
    pub(super) sent: Tx,
}

/// A row of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Where it stands in the capture.
    pub id: RowId,
    /// Which hook function gave the verdict that it says.
    pub by: Name<'a>,
}

/// One packet's way through one host.
#[derive(Clone, Debug, Default)]
pub struct Life<'a> {
    /// Address of its `sk_buff`.
    pub skb: u64,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Events that carried its address.
    pub count: u32,
    /// Who talks to whom, by the first header that was decoded.
    pub flow: Flow<'a>,
    /// What it says of itself where it is an ICMP echo message and that was read.
    pub echo: Option<Echo>,
    /// Whether it was a TCP segment that this host sent, and how many segments that were.
    pub segments: u16,
    /// Devices in the order of its way.
    pub hops: Vec<Hop<'a>>,
    /// What proves that it was delivered.
    pub evidence: Evidence,
    /// How it ended; set when it is closed.
    pub outcome: Outcome<'a>,
    /// The event that freed it.
    pub freed: Option<Box<Snapshot<'a>>>,
    /// Its rows, where rows are kept.
    pub rows: Vec<Row<'a>>,
    /// Where it was seen, where that is kept.
    pub sightings: Vec<Sighting<'a>>,
    /// Where it crossed devices, where that is kept.
    pub crossings: Vec<Crossing<'a>>,
    /// Whether events were lost during the life.
    pub touched_by_loss: bool,
    /// Whether one of its events matched the filter.
    pub matched: bool,
    /// The packet that it was made of, and what it is of it: clone, copy, segment, fragment.
    pub origin: Option<(u64, Name<'a>)>,
    /// The verdict of netfilter that ended it: the traced rule's, or that of the innermost function that names a table,
    /// with what the outer ones say of hook functions.
    pub verdict: Option<Box<Rule<'a>>>,
    /// The verdict that a function of netfilter gave last.
    pub(super) given: Given<'a>,
    /// Calls with it that have not returned and will.
    pub(super) calls: u32,
    /// How it ended, while the returns of its calls are awaited.
    pub(super) ending: Option<End>,
    /// Where it is.
    pub(super) position: Position<'a>,
    /// Its last header.
    pub(super) identity: Identity<'a>,
}

impl<'a> Life<'a> {
    /// Whether its end is proven without a free.
    pub(super) fn is_finished(&self) -> bool {
        self.evidence.any() || (!self.position.received_last && self.position.answer == Answer::Taken)
    }

    /// Whether its header is a tunnel's, or was rewritten since it was seen.
    pub(super) fn is_tunnelled(&self) -> bool {
        self.identity.is_tunnelled() || self.position.rewritten
    }

    /// Whether an event shows this packet, by its header.
    pub(super) fn same(
        &self,
        event: &Event<'_, 'a>,
        header: Option<&Identity<'a>>,
        limits: &Thresholds,
    ) -> Same {
        if self.position.rewritten {
            return Same::Unknown;
        }
        let Some(next) = header else { return Same::Unknown };
        let passage = Passage {
            heading: self.heading(event),
            crosses_device: self.crosses_device(event),
            soon: event.ts.saturating_sub(self.end) < limits.tunnel,
        };
        self.identity.compare(next, passage)
    }

    /// Whether an event shows the packet between two devices, one of which may be a tunnel's: it is received, and another
    /// device had received it before; or it is sent while another device's driver has it.
    fn crosses_device(&self, event: &Event<'_, '_>) -> bool {
        let iif = event.u32(ColumnId::Iif);
        match event.effect {
            Effect::RxEntry | Effect::RxBacklog | Effect::Receive => {
                iif.is_some() && iif != event.u32(ColumnId::Ifindex)
            }
            Effect::Queue | Effect::Start => self.hops.iter().any(|hop| hop.sent == Tx::Given),
            _ => false,
        }
    }

    /// Which way it is going where an event shows it.
    fn heading(&self, event: &Event<'_, 'a>) -> Heading {
        let was_sent = self.position.sent_at != Place::default() && !self.position.received_last;
        match (event.effect, event.about.direction) {
            (Effect::Queue | Effect::Start, _) | (Effect::Call, Direction::Out) => Heading::Out,
            (Effect::RxEntry | Effect::RxBacklog | Effect::Receive, _) if !was_sent => Heading::In,
            (Effect::Call, Direction::In | Direction::Entry) if !was_sent => Heading::In,
            _ => Heading::Unknown,
        }
    }

    /// The hop of a device.
    pub(super) fn hop(&self, at: &Place<'_>) -> Option<&Hop<'a>> {
        self.hops.iter().rev().find(|hop| hop.at == *at)
    }

    /// The hop of a device, added if it is new.
    fn hop_mut(&mut self, at: Place<'a>) -> &mut Hop<'a> {
        let found = self.hops.iter().rposition(|hop| hop.at == at);
        let index = found.unwrap_or_else(|| {
            self.hops.truncate(MAX_HOPS - 1);
            self.hops.push(Hop { at, received: Rx::None, sent: Tx::None });
            self.hops.len() - 1
        });
        &mut self.hops[index]
    }

    /// Notes that it crosses a device; returns whether that is one crossing more. Of a packet that is received what counts is
    /// the first time, with the first header that was recorded; of one that is sent the last.
    pub(super) fn cross(&mut self, crossing: Crossing<'a>) -> bool {
        match self.crossings.last_mut().filter(|before| crossing.repeats(before)) {
            Some(before) if crossing.way == Way::Out => {
                *before = crossing;
                false
            }
            Some(before) if before.flow.is_none() => {
                *before = Crossing { ts: before.ts, ..crossing };
                false
            }
            Some(_) => false,
            None => {
                self.crossings.push(crossing);
                true
            }
        }
    }

    /// Notes a verdict that ends it.
    pub(super) fn set_final_verdict(&mut self, rule: Rule<'a>) {
        let verdict = self.verdict.get_or_insert_with(|| Box::new(rule));
        if rule.table.is_some() && (verdict.step.is_none() || rule.step.is_some()) {
            **verdict = rule;
        } else if verdict.functions.is_none() {
            (verdict.functions, verdict.function) = (rule.functions, rule.function);
        }
    }

    /// Empties it for the next packet; its vectors keep their memory.
    pub(super) fn reset(&mut self, skb: u64) {
        let (mut hops, mut rows) = (std::mem::take(&mut self.hops), std::mem::take(&mut self.rows));
        let mut sightings = std::mem::take(&mut self.sightings);
        let mut crossings = std::mem::take(&mut self.crossings);
        hops.clear();
        rows.clear();
        sightings.clear();
        crossings.clear();
        *self = Self { skb, hops, rows, sightings, crossings, ..Self::default() };
    }

    /// Brings it up to date with one of its events, and the header that it shows.
    pub(super) fn apply(&mut self, event: &Event<'_, 'a>, header: Option<Identity<'a>>) {
        self.end = self.end.max(event.ts);
        self.count = self.count.saturating_add(1);
        match event.effect {
            Effect::RxEntry | Effect::RxBacklog | Effect::Receive => self.receive(event),
            Effect::Queue => self.queue(event),
            Effect::Start => self.start(event),
            Effect::Sent => self.answer(event),
            Effect::Copy => self.evidence.copied = true,
            Effect::TcpProbe => self.evidence.segment_processed = true,
            Effect::Call => self.call(event),
            Effect::Link => self.position.rewritten |= event.name(ColumnId::Relation) == "encapsulation",
            _ => {}
        }
        if let Some(identity) = header {
            self.identity = identity;
            self.position.rewritten = false;
            if self.flow.is_none() {
                self.flow = identity.flow;
                self.echo = Echo::of(event);
            }
        }
    }

    /// Who talks to whom in its last header, where that is of the same protocol as the first: addresses may have been
    /// translated, and a tunnel's header may be around it.
    pub fn last_flow(&self) -> Flow<'a> {
        if self.identity.flow.l4 == self.flow.l4 { self.identity.flow } else { self.flow }
    }

    /// Numbers of its last header that tell it from other packets of its flow: the IP identification, and the sequence number
    /// of TCP or that of an ICMP echo message. 0 where there is none.
    pub fn numbers(&self) -> (u32, u32) {
        self.identity.numbers()
    }

    /// A function is called with it.
    fn call(&mut self, event: &Event<'_, 'a>) {
        self.calls = self.calls.saturating_add(u32::from(event.about.returns));
        self.position.passed = Passed::of(event).or(self.position.passed);
    }

    /// It is received.
    fn receive(&mut self, event: &Event<'_, 'a>) {
        let hop = self.hop_mut(event.place());
        hop.received = Rx::of(event.effect);
        hop.sent = Tx::None;
        self.position.passed = None;
        self.position.received_last = true;
    }

    /// It is handed to a queue.
    fn queue(&mut self, event: &Event<'_, 'a>) {
        let at = event.place();
        let hop = self.hop_mut(at);
        hop.sent = Tx::Queued;
        hop.received = Rx::None;
        self.position.received_last = false;
        self.position.sent_by = Name::NONE;
        self.position.sent_at = at;
        self.position.answer = Answer::None;
        // A tunnel or IPsec may have hidden it by now.
        let l4 = if self.flow.is_none() { event.name(ColumnId::L4) } else { self.flow.l4 };
        if self.segments == 0 && !event.was_received() && l4 == "tcp" {
            self.segments = event.u16(ColumnId::GsoSegs).unwrap_or(1).max(1);
        }
    }

    /// A driver gets it.
    fn start(&mut self, event: &Event<'_, 'a>) {
        let at = event.place();
        self.hop_mut(at).sent = Tx::Given;
        self.position.received_last = false;
        self.position.sent_by = at.dev;
        self.position.sent_at = at;
        self.position.answer = Answer::None;
    }

    /// A driver answers. By then a peer's receive may have happened already, or the packet was even sent on, so this
    /// says nothing about where the packet is now.
    fn answer(&mut self, event: &Event<'_, 'a>) {
        let at = event.place();
        if let Some(hop) = self.hops.iter_mut().rev().find(|hop| hop.at == at) {
            hop.sent = Tx::Answered;
        }
        if self.position.sent_at == at {
            let taken = event.i64(ColumnId::Ret).unwrap_or(0) == 0;
            self.position.answer = if taken { Answer::Taken } else { Answer::Refused };
        }
    }
}
