//! One packet's life, and which events belong to it: by the stage that it has reached and the stage that an event shows.

use serde::Serialize;

use super::hooks::Said;
use super::outcome::{End, Evidence, Outcome};
use super::way::Way;
use crate::event::{Event, Flow, Hook, NO_NUMBER};
use crate::symbol::Sym;

/// Within this many ns a device hands a packet to the device below it.
const NESTED: u64 = 10_000_000;

/// A device on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Namespace, inode.
    pub netns: u32,
    /// Index of the device.
    pub ifindex: u32,
    /// Its name.
    pub dev: Sym,
    /// How far the packet came in its last receive there: 0 not at all, 1 driver, 2 backlog, 3 protocols.
    #[serde(skip)]
    received: u8,
    /// How far it came in its last transmit there: 0 not at all, 1 queue, 2 driver, 3 taken.
    #[serde(skip)]
    sent: u8,
}

impl Hop {
    /// Whether an event happened at this device.
    fn is_at(&self, event: &Event) -> bool {
        self.netns == event.netns && self.ifindex == event.ifindex && self.dev == event.dev
    }
}

/// What tells one packet from another of the same flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// Who talks to whom.
    pub(super) flow: Flow,
    /// IP identification.
    ip_id: u32,
    /// TCP sequence number.
    seq: u32,
    /// ICMP identifier and sequence number.
    icmp: (u16, u16),
}

/// Whether two events show the same packet, by what their headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// The headers do not tell.
    Unknown,
}

impl Identity {
    /// What an event's header says.
    fn of(event: &Event) -> Self {
        Self {
            flow: event.flow(),
            ip_id: event.ip_id,
            seq: event.tcp_seq,
            icmp: (event.icmp_id, event.icmp_seq),
        }
    }

    /// Whether the numbers that both have are equal.
    fn numbers_fit(&self, other: &Self) -> bool {
        let fit = |a: u32, b: u32| a == NO_NUMBER || b == NO_NUMBER || a == b;
        fit(self.ip_id, other.ip_id) && fit(self.seq, other.seq)
    }

    /// Whether it is the same packet. Equal identifications of zero (DF set) say nothing.
    fn compare(&self, other: &Self) -> Same {
        if self.flow.is_none() || other.flow.is_none() {
            Same::Unknown
        } else if self.flow != other.flow || self.icmp != other.icmp || !self.numbers_fit(other) {
            Same::No
        } else if self.ip_id != 0 && self.ip_id != NO_NUMBER || self.icmp.1 != 0 {
            Same::Yes
        } else {
            Same::Unknown
        }
    }
}

/// Where a packet is, as far as the events tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The last header.
    pub(super) identity: Identity,
    /// Whether the last header carries a tunnel.
    tunnelled: bool,
    /// Whether it was received since it was last given to a driver.
    pub(super) received_last: bool,
    /// Device that it was last given to.
    pub(super) sent_by: Sym,
    /// Where it was queued or given to a driver last: network namespace, ifindex, name.
    sent_at: (u32, u32, Sym),
    /// What the driver there said: 0 nothing yet, 1 taken, 2 refused.
    pub(super) driver: u8,
}

/// One packet's way through one host.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// Address of its `sk_buff`.
    pub skb: u64,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Events that carried its address.
    pub count: u32,
    /// Who talks to whom, by the first header that was decoded.
    pub flow: Flow,
    /// Whether it was a TCP segment that this host sent, and how many segments that were.
    pub segments: u16,
    /// Devices in the order of its way.
    pub hops: Vec<Hop>,
    /// What proves that it was delivered.
    pub evidence: Evidence,
    /// How it ended; set when it is closed.
    pub outcome: Outcome,
    /// The event that freed it.
    pub freed: Option<Box<Event>>,
    /// Its events, where events are kept.
    pub events: Vec<Event>,
    /// Whether events were lost during the life.
    pub touched_by_loss: bool,
    /// Whether one of its events matched the filter.
    pub matched: bool,
    /// The packet that it was made of, and what it is of it: clone, copy, segment, fragment.
    pub origin: Option<(u64, Sym)>,
    /// The verdict of netfilter that ended it: the traced rule's, or that of the innermost function that names a table,
    /// with what the outer ones say of hook functions.
    pub verdict: Option<Box<Event>>,
    /// What a function of netfilter said last.
    pub(super) said: Said,
    /// Calls with it that have not returned.
    pub(super) calls: u32,
    /// How it ended, while the returns of its calls are awaited.
    pub(super) ending: Option<End>,
    /// Where it is.
    pub(super) position: Position,
}

impl Life {
    /// Whether its end is proven without a free.
    pub(super) fn is_finished(&self) -> bool {
        self.evidence.any() || (!self.position.received_last && self.position.driver == 1)
    }

    /// The hop of an event's device.
    fn hop(&self, event: &Event) -> Option<&Hop> {
        self.hops.iter().rev().find(|h| h.is_at(event))
    }

    /// The hop of an event's device, added if it is new.
    fn hop_mut(&mut self, event: &Event) -> &mut Hop {
        let at = self.hops.iter().rposition(|h| h.is_at(event));
        let at = at.unwrap_or_else(|| {
            self.hops.truncate(31);
            let hop =
                Hop { netns: event.netns, ifindex: event.ifindex, dev: event.dev, received: 0, sent: 0 };
            self.hops.push(hop);
            self.hops.len() - 1
        });
        &mut self.hops[at]
    }

    /// Notes a verdict that ends it.
    pub(super) fn judge(&mut self, event: &Event) {
        let verdict = self.verdict.get_or_insert_with(|| Box::new(*event));
        if event.nf_table.is_some() && (verdict.nf_step.is_none() || event.nf_step.is_some()) {
            **verdict = *event;
        } else if verdict.nf_hooks.is_none() {
            (verdict.nf_hooks, verdict.nf_by) = (event.nf_hooks, event.nf_by);
        }
    }

    /// Empties it for the next packet; its vectors keep their memory.
    pub(super) fn reset(&mut self, skb: u64) {
        let (mut hops, mut events) = (std::mem::take(&mut self.hops), std::mem::take(&mut self.events));
        hops.clear();
        events.clear();
        *self = Self { skb, hops, events, ..Self::default() };
    }
}

/// The stage of receiving that a hook shows.
pub(super) fn receive_rank(hook: Hook) -> u8 {
    match hook {
        Hook::RxEntry => 1,
        Hook::RxBacklog => 2,
        Hook::Receive => 3,
        _ => 0,
    }
}

/// Whether an event belongs to the packet that was last seen at its address, or begins another.
pub(super) fn continues(life: &Life, event: &Event, way: Way) -> bool {
    match event.hook() {
        Hook::Call => continues_calls(life, event, way),
        Hook::RxEntry | Hook::RxBacklog | Hook::Receive => continues_receiving(life, event),
        Hook::Queue => continues_queueing(life, event),
        Hook::Start => continues_sending(life, event),
        Hook::Drop => continues_to_drop(life, event),
        _ => true,
    }
}

/// Whether a call goes on with the life. A packet that is sent is another one if the life was delivered, taken by a
/// driver, or received last while this one is the host's own; one that a driver hands over is another one if the life
/// was delivered, or was sent and shows another packet.
fn continues_calls(life: &Life, event: &Event, way: Way) -> bool {
    let same = life.position.identity.compare(&Identity::of(event));
    match way {
        Way::Out => {
            let own = life.position.received_last && event.iif == 0 && !life.position.tunnelled;
            !(life.is_finished() || own && same != Same::Yes)
        }
        Way::Entry => !(life.evidence.any() || !life.position.received_last && same == Same::No),
        Way::Any => true,
    }
}

/// Whether a receive event goes on with the life. In this order:
///
/// | the life | the event | then |
/// |---|---|---|
/// | any | shows the same packet and is not behind evidence of delivery | goes on |
/// | was here as deep or deeper | | another packet |
/// | was given to a driver last | shows another packet, or comes from that very NIC | another packet |
/// | was delivered | | another packet |
/// | was received last, elsewhere | was not received before (`iif` null), no tunnel was opened | another packet |
fn continues_receiving(life: &Life, event: &Event) -> bool {
    let same = life.position.identity.compare(&Identity::of(event));
    let here = life.hop(event);
    let again = here.is_some_and(|h| h.received >= receive_rank(event.hook()));
    if same == Same::Yes && !(again && life.evidence.any()) {
        return true;
    }
    let bounced = here.is_some_and(|h| h.received == 0 && h.sent >= 2) && event.dev != Sym::LO;
    let new_here = here.is_none_or(|h| h.received == 0);
    if life.position.received_last {
        let unrelated = new_here && event.iif == 0 && !life.position.tunnelled;
        !(again || life.evidence.any() || unrelated)
    } else {
        !(same == Same::No || bounced || life.evidence.any())
    }
}

/// Whether a packet that is handed to a queue goes on with the life. In this order:
///
/// | the life | the event | then |
/// |---|---|---|
/// | was handed to this queue since its last receive | | another packet |
/// | was received last | was received (`iif` set) | forwarded: goes on |
/// | was received last | is the host's own (`iif` null) | another packet |
/// | is inside the driver of another device | | a device stack: goes on |
/// | was taken by every driver it was given to | | another packet |
fn continues_queueing(life: &Life, event: &Event) -> bool {
    if life.hop(event).is_some_and(|h| h.sent >= 1) {
        return life.position.received_last && event.iif != 0;
    }
    if life.position.received_last {
        return event.iif != 0 || life.position.tunnelled;
    }
    is_inside_driver(life, event) || !life.hops.iter().any(|h| h.sent >= 2)
}

/// Whether the life was given to a driver that has not answered yet, a moment ago.
fn is_inside_driver(life: &Life, event: &Event) -> bool {
    life.hops.iter().any(|h| h.sent == 2) && event.ts.saturating_sub(life.end) < NESTED
}

/// Whether a packet that a driver gets goes on with the life: it must have been queued for it, refused by it, or
/// have been received and not sent (where the queue's event is missing).
fn continues_sending(life: &Life, event: &Event) -> bool {
    match life.hop(event).map_or(0, |h| h.sent) {
        1 => true,
        2 | 3 => life.position.driver == 2,
        _ if life.position.received_last => event.iif != 0,
        _ => is_inside_driver(life, event) || !life.hops.iter().any(|h| h.sent >= 2),
    }
}

/// Whether a drop is about the life's packet. A packet that the host itself sends may be dropped before any other
/// event shows it, at an address that a delivered packet had. Address translation changes addresses but neither the
/// IP identification nor the sequence number; a tunnel changes everything.
fn continues_to_drop(life: &Life, event: &Event) -> bool {
    let dropped = Identity::of(event);
    let known = &life.position.identity;
    if dropped.flow.is_none() || known.flow.is_none() || life.position.tunnelled || event.tunnel.is_some() {
        return true;
    }
    if !known.numbers_fit(&dropped) || dropped.icmp != known.icmp {
        return false;
    }
    let identified = dropped.ip_id != NO_NUMBER && dropped.ip_id != 0 && known.ip_id != NO_NUMBER;
    identified || dropped.flow.src == known.flow.src || dropped.flow.dst == known.flow.dst
}

/// Whether an event may be the first of a life.
pub(super) fn begins(hook: Hook) -> bool {
    matches!(
        hook,
        Hook::Queue
            | Hook::Start
            | Hook::RxEntry
            | Hook::RxBacklog
            | Hook::Receive
            | Hook::Drop
            | Hook::Consume
            | Hook::Call
    )
}

/// Brings a life up to date with one of its events.
pub(super) fn apply(life: &mut Life, event: &Event) {
    life.end = life.end.max(event.ts);
    life.count = life.count.saturating_add(1);
    let hook = event.hook();
    match hook {
        Hook::RxEntry | Hook::RxBacklog | Hook::Receive => {
            let hop = life.hop_mut(event);
            hop.received = receive_rank(hook);
            hop.sent = 0;
            life.position.received_last = true;
        }
        Hook::Queue => queue(life, event),
        Hook::Start => start(life, event),
        Hook::Sent => sent(life, event),
        Hook::Copy => life.evidence.copied = true,
        Hook::TcpProbe => life.evidence.segment_processed = true,
        Hook::Call => life.calls = life.calls.saturating_add(1),
        _ => {}
    }
    if is_packet(hook) && event.has_addresses() {
        life.position.identity = Identity::of(event);
        life.position.tunnelled = event.tunnel.is_some();
    }
    if life.flow.is_none() && event.has_addresses() && is_packet(hook) {
        life.flow = event.flow();
    }
}

/// Whether an event's addresses are those of the packet's own header.
fn is_packet(hook: Hook) -> bool {
    begins(hook) || matches!(hook, Hook::Sent | Hook::Copy)
}

/// The packet is handed to a queue.
fn queue(life: &mut Life, event: &Event) {
    let hop = life.hop_mut(event);
    hop.sent = 1;
    hop.received = 0;
    life.position.received_last = false;
    life.position.sent_by = Sym::NONE;
    life.position.sent_at = (event.netns, event.ifindex, event.dev);
    life.position.driver = 0;
    // A tunnel or IPsec may have hidden it by now.
    let l4 = if life.flow.is_none() { event.l4 } else { life.flow.l4 };
    if event.iif == 0 && l4 == Sym::TCP && life.segments == 0 {
        life.segments = event.gso_segs.max(1);
    }
}

/// A driver gets the packet.
fn start(life: &mut Life, event: &Event) {
    life.hop_mut(event).sent = 2;
    life.position.received_last = false;
    life.position.sent_by = event.dev;
    life.position.sent_at = (event.netns, event.ifindex, event.dev);
    life.position.driver = 0;
}

/// A driver answers. By then a peer's receive may have happened already, or the packet was even sent on, so this says
/// nothing about where the packet is now.
fn sent(life: &mut Life, event: &Event) {
    if let Some(hop) = life.hops.iter_mut().rev().find(|h| h.is_at(event)) {
        hop.sent = 3;
    }
    if life.position.sent_at == (event.netns, event.ifindex, event.dev) {
        life.position.driver = if event.ret == 0 { 1 } else { 2 };
    }
}
