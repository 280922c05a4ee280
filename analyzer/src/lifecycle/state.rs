//! How far a packet has come, and whether an event goes on with it: a table over its state and the event's effect.
//!
//! Identity decides first, where headers tell. Place they do not, the way through the host does: each rule below says
//! which order of events one packet can have.

use super::identity::Same;
use super::life::Life;
use crate::event::{Effect, Event, Place};
use crate::knowledge::Thresholds;
use crate::names::Name;
use ntc::ColumnId;
use ntc::catalog::Direction;

/// The index of the loopback device in every namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
const LOOPBACK: u32 = 1;

/// How far a packet came in its last receive at a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rx {
    /// It was not received there.
    #[default]
    None,
    /// The driver handed it over.
    Driver,
    /// It waits in a CPU's backlog.
    Backlog,
    /// The protocols have it.
    Stack,
}

impl Rx {
    /// How far an event shows the packet; none where it is not about receiving.
    pub(super) fn of(effect: Effect) -> Self {
        match effect {
            Effect::RxEntry => Self::Driver,
            Effect::RxBacklog => Self::Backlog,
            Effect::Receive => Self::Stack,
            _ => Self::None,
        }
    }
}

/// How far a packet came in its last transmit at a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tx {
    /// It was not sent there.
    #[default]
    None,
    /// It was handed to the device's queue.
    Queued,
    /// The driver has it and has not answered.
    Given,
    /// The driver has answered.
    Answered,
}

/// The return code of `ndo_start_xmit` (`netdev_tx_t`) of the driver that a packet was last given to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet.
    #[default]
    None,
    /// It took the packet.
    Taken,
    /// It refused; the packet waits and is given to it again.
    Refused,
}

/// Where a packet is, as far as the events tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position<'a> {
    /// Whether it was received since it was last given to a driver.
    pub(super) received_last: bool,
    /// Device that it was last given to.
    pub(super) sent_by: Name<'a>,
    /// Where it was queued or given to a driver last.
    pub(super) sent_at: Place<'a>,
    /// The driver's return code there.
    pub(super) answer: Answer,
    /// The last function that it passed of those that it passes once each time that a device receives it.
    pub(super) passed: Option<Passed<'a>>,
    /// Whether its headers were rewritten, so that the next ones may be any: it goes into a tunnel.
    pub(super) rewritten: bool,
}

/// A function that a packet passes once each time that a device receives it, when it was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed<'a> {
    /// Its position on the way in.
    gate: usize,
    /// Where.
    at: Place<'a>,
    /// The packet's TTL or hop limit, where it has one.
    ttl: Option<u8>,
}

impl<'a> Passed<'a> {
    /// What an event shows.
    pub(super) fn of(event: &Event<'_, 'a>) -> Option<Self> {
        let gate = event.about.gate?.order;
        Some(Self { gate, at: event.place(), ttl: event.u8(ColumnId::Ttl) })
    }

    /// Whether only another packet can come to the next one after this: the way in does not lead back. A packet that is
    /// forwarded in a circle has a lower TTL when it is received again.
    fn excludes(&self, next: &Self, same_flow: bool) -> bool {
        let was_forwarded = same_flow && next.ttl < self.ttl;
        self.at == next.at && next.gate <= self.gate && !was_forwarded
    }
}

/// What an event at a packet's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The packet goes on.
    Continue,
    /// Another packet begins.
    New,
    /// The packet at the address is over, and this is of one that no event has shown.
    Orphan,
}

/// Whether an event goes on with the life that is open at its address.
pub(super) fn step(life: &Life<'_>, event: &Event<'_, '_>, same: Same, limits: &Thresholds) -> Step {
    let goes_on = match event.effect {
        Effect::New => false,
        Effect::RxEntry | Effect::RxBacklog | Effect::Receive => receiving(life, event, same),
        Effect::Queue => queueing(life, event, same, limits),
        Effect::Start => starting(life, event, same, limits),
        Effect::Call => calling(life, event, same),
        Effect::Drop | Effect::HardwareDrop => dropping(life, event, same),
        // A packet's use and end: the header is its own.
        Effect::Consume | Effect::Copy => same != Same::No,
        // They have no header of the packet's, and are told at its address while it is there.
        Effect::Free
        | Effect::Sent
        | Effect::Enqueued
        | Effect::Dequeued
        | Effect::Rule
        | Effect::Link
        | Effect::Return
        | Effect::Verdict => true,
        // Their header is the socket's, or that of the packet that is answered.
        Effect::DataReady
        | Effect::SetState
        | Effect::ReceiveFull
        | Effect::BufferLimit
        | Effect::TcpProbe
        | Effect::Retransmit
        | Effect::RetransmitSynack
        | Effect::SendReset
        | Effect::ReceiveReset
        | Effect::BadChecksum
        | Effect::IcmpSend
        | Effect::Neighbour
        | Effect::Note
        | Effect::Clock
        | Effect::Loss => true,
    };
    match goes_on {
        true => Step::Continue,
        false if begins(event.effect) => Step::New,
        false => Step::Orphan,
    }
}

/// Whether an event may be the first of a life.
pub(super) fn begins(effect: Effect) -> bool {
    match effect {
        Effect::New
        | Effect::Queue
        | Effect::Start
        | Effect::RxEntry
        | Effect::RxBacklog
        | Effect::Receive
        | Effect::Drop
        | Effect::HardwareDrop
        | Effect::Consume
        | Effect::Call => true,
        Effect::Sent
        | Effect::Copy
        | Effect::Free
        | Effect::Enqueued
        | Effect::Dequeued
        | Effect::Rule
        | Effect::Link
        | Effect::Return
        | Effect::Verdict
        | Effect::DataReady
        | Effect::SetState
        | Effect::ReceiveFull
        | Effect::BufferLimit
        | Effect::TcpProbe
        | Effect::Retransmit
        | Effect::RetransmitSynack
        | Effect::SendReset
        | Effect::ReceiveReset
        | Effect::BadChecksum
        | Effect::IcmpSend
        | Effect::Neighbour
        | Effect::Note
        | Effect::Clock
        | Effect::Loss => false,
    }
}

/// Whether the addresses of an event are those of the packet's own header.
pub(super) fn has_own_header(effect: Effect) -> bool {
    match effect {
        // It is not filled in yet.
        Effect::New => false,
        effect => begins(effect) || matches!(effect, Effect::Sent | Effect::Copy),
    }
}

/// Whether a call goes on with the life. One on the way out is of another packet if the life was delivered, taken by a
/// driver, or received last while this one is the host's own; one at which a driver hands a packet over is of another
/// packet if the life was delivered; one on the way in if the life has passed it, or what comes after it, already.
fn calling(life: &Life<'_>, event: &Event<'_, '_>, same: Same) -> bool {
    match event.about.direction {
        _ if same == Same::No => false,
        Direction::Out => {
            let own = life.position.received_last && !event.was_received() && !life.is_tunnelled();
            !(life.is_finished() || own && same != Same::Yes)
        }
        Direction::Entry => !life.evidence.any() && !is_passed(life, event),
        Direction::In => !is_passed(life, event),
        Direction::Any => true,
    }
}

/// Whether the life has passed what an event shows. What comes out of a tunnel passes it again.
fn is_passed(life: &Life<'_>, event: &Event<'_, '_>) -> bool {
    let Some((passed, next)) = life.position.passed.zip(Passed::of(event)) else { return false };
    let same_flow = event.has_addresses() && event.flow() == life.identity.flow;
    let opens = life.position.rewritten || !same_flow && life.identity.is_carrier();
    !opens && passed.excludes(&next, same_flow)
}

/// Whether a receive event goes on with the life. In this order:
///
/// | the life | the event | then |
/// |---|---|---|
/// | any | shows another packet | another packet |
/// | any | shows the same packet, not behind evidence of delivery here | goes on |
/// | was here as deep or deeper, or was delivered | | another packet |
/// | was given to a driver last | has other ends, or comes from that very NIC | another packet |
/// | was received last, elsewhere | was not received before, no tunnel was opened | another packet |
fn receiving(life: &Life<'_>, event: &Event<'_, '_>, same: Same) -> bool {
    let here = life.hop(&event.place());
    let again = here.is_some_and(|hop| hop.received >= Rx::of(event.effect));
    match same {
        Same::No => return false,
        Same::Yes if !(again && life.evidence.any()) => return true,
        Same::Yes | Same::Unknown => {}
    }
    if life.evidence.any() {
        return false;
    }
    if life.position.received_last {
        let new_here = here.is_none_or(|hop| hop.received == Rx::None);
        let unrelated = new_here && !event.was_received() && !life.is_tunnelled();
        !(again || unrelated)
    } else {
        // Between two devices nothing changes a header.
        let ends_differ =
            event.has_addresses() && !life.identity.is_none() && event.flow() != life.identity.flow;
        let from_that_device = here.is_some_and(|hop| hop.received == Rx::None && hop.sent >= Tx::Given);
        !ends_differ && (!from_that_device || is_loopback(&event.place()))
    }
}

/// Whether a device is the one that hands back what it is given.
fn is_loopback(at: &Place<'_>) -> bool {
    if at.ifindex != 0 { at.ifindex == LOOPBACK } else { at.dev == "lo" }
}

/// Whether a packet that is handed to a queue goes on with the life. In this order:
///
/// | the life | the event | then |
/// |---|---|---|
/// | was handed to this queue since its last receive | | another packet |
/// | any | shows another packet | another packet |
/// | was received last | was received (`iif` set), or shows the same packet | forwarded: goes on |
/// | was received last | is the host's own (`iif` null) | another packet, unless out of a tunnel |
/// | is inside the driver of another device | | a device stack: goes on, as does what shows the same packet |
/// | was taken by every driver it was given to | | another packet |
fn queueing(life: &Life<'_>, event: &Event<'_, '_>, same: Same, limits: &Thresholds) -> bool {
    if life.hop(&event.place()).is_some_and(|hop| hop.sent >= Tx::Queued) {
        return life.position.received_last && event.was_received() && same != Same::No;
    }
    if same == Same::No {
        return false;
    }
    if life.position.received_last {
        return event.was_received() || life.is_tunnelled() || same == Same::Yes;
    }
    same == Same::Yes
        || is_inside_driver(life, event, limits)
        || !life.hops.iter().any(|hop| hop.sent >= Tx::Given)
}

/// Whether the life was given to a driver that has not answered yet, a moment ago.
fn is_inside_driver(life: &Life<'_>, event: &Event<'_, '_>, limits: &Thresholds) -> bool {
    life.hops.iter().any(|hop| hop.sent == Tx::Given) && event.ts.saturating_sub(life.end) < limits.nested
}

/// Whether a packet that a driver gets goes on with the life: it must have been queued for it, refused by it, or
/// have been received and not sent (where the queue's event is missing).
fn starting(life: &Life<'_>, event: &Event<'_, '_>, same: Same, limits: &Thresholds) -> bool {
    match life.hop(&event.place()).map_or(Tx::None, |hop| hop.sent) {
        _ if same == Same::No => false,
        Tx::Queued => true,
        Tx::Given | Tx::Answered => life.position.answer == Answer::Refused,
        Tx::None if life.position.received_last => event.was_received() || same == Same::Yes,
        Tx::None => {
            is_inside_driver(life, event, limits) || !life.hops.iter().any(|hop| hop.sent >= Tx::Given)
        }
    }
}

/// Whether a drop is about the life's packet. One that the host itself sends may be dropped before any other event
/// shows it, at an address that a delivered packet had: its header then shares no end with that packet's.
fn dropping(life: &Life<'_>, event: &Event<'_, '_>, same: Same) -> bool {
    match same {
        Same::Yes => true,
        Same::No => false,
        Same::Unknown => {
            let known = &life.identity;
            let flow = if event.has_addresses() { event.flow() } else { return true };
            let is_comparable = !known.is_none() && !known.is_tunnelled() && !life.position.rewritten;
            let tunnel = event.name(ColumnId::Tunnel).is_some();
            !is_comparable || tunnel || flow.src == known.flow.src || flow.dst == known.flow.dst
        }
    }
}
