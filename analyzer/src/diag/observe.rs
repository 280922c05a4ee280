//! Events and lives become observations of trouble.

use std::rc::Rc;

use ahash::{AHashMap, AHashSet};
use ntc::ColumnId;

use super::finding::Finding;
use super::group::{Evidence, Example, Groups, Observation, Where};
use super::stale::StaleSegments;
use crate::address::Addr;
use crate::event::{Effect, Event, Flow, Snapshot};
use crate::knowledge::{Knowledge, Meaning, Severity, Signal, Thresholds};
use crate::lifecycle::{Life, Lives, Outcome};
use crate::loss::Losses;
use crate::names::{Name, Names};

/// The columns that observations are made from, beside those of lives.
pub const COLUMNS: [ColumnId; 8] = [
    ColumnId::Sk,
    ColumnId::TcpAck,
    ColumnId::IcmpType,
    ColumnId::IcmpCode,
    ColumnId::OldState,
    ColumnId::NewState,
    ColumnId::Backlog,
    ColumnId::MaxBacklog,
];

/// Flows that are remembered for a purpose at most.
const MAX_FLOWS: usize = 128 << 10;
/// The probe of a socket's state changes.
const SET_STATE: &str = "inet_sock_set_state";

/// Something that happened to a flow, and that another finding may explain.
#[derive(Clone, Debug)]
struct Pending<'a> {
    /// How often.
    count: u64,
    /// The first event.
    event: Snapshot<'a>,
    /// The last time.
    last: u64,
}

/// A socket: its address, or its flow where the capture has no address.
type Socket<'a> = (u64, Flow<'a>);

/// A connection that is being established.
#[derive(Clone, Debug)]
struct Connecting<'a> {
    /// Its newest event that names both ports. The state changes do not: the local port is not chosen before the
    /// first, and given back before the last.
    event: Snapshot<'a>,
    /// When its first event came.
    begun: u64,
    /// SYNs that were sent again.
    again: u64,
}

/// Watches events and lives for trouble.
pub struct Observer<'a> {
    /// The capture's names.
    names: &'a Names,
    /// The tables.
    knowledge: &'a Knowledge,
    /// Times and shares that decide.
    limits: Thresholds,
    /// Groups of observations.
    groups: Groups<'a>,
    /// Meanings of drops by reason and location.
    drops: AHashMap<(&'a str, Name<'a>), Rc<Meaning>>,
    /// What waits for an explanation, by signal, flow (from this host) and device.
    pending: AHashMap<(&'static str, Flow<'a>, Name<'a>), Pending<'a>>,
    /// Whether there was more than could wait.
    cut_off: bool,
    /// Segments that this host sent, by flow.
    segments: AHashMap<Flow<'a>, u64>,
    /// Dropped segments that were duplicates.
    stale: StaleSegments<'a>,
    /// Flows, the same both ways, whose reset this host sent itself: what the reset means is known.
    reset_here: AHashSet<Flow<'a>>,
    /// Connections that are being established.
    connecting: AHashMap<Socket<'a>, Connecting<'a>>,
    /// Listeners whose accept queue was seen full: address and port.
    full_listeners: AHashSet<(Addr, Option<u16>)>,
}

impl<'a> Observer<'a> {
    /// Has seen nothing yet.
    pub fn new(names: &'a Names, knowledge: &'a Knowledge) -> Self {
        Self {
            names,
            knowledge,
            limits: knowledge.thresholds(),
            groups: Groups::new(names, knowledge),
            drops: AHashMap::default(),
            pending: AHashMap::default(),
            cut_off: false,
            segments: AHashMap::default(),
            stale: StaleSegments::default(),
            reset_here: AHashSet::default(),
            connecting: AHashMap::default(),
            full_listeners: AHashSet::default(),
        }
    }

    /// A life ended.
    pub fn life(&mut self, life: &Life<'a>) {
        if life.segments > 0 {
            self.count_segments(life);
        }
        if let (Outcome::Dropped { .. }, Some(event)) = (&life.outcome, life.freed.as_deref()) {
            self.dropped(life, event);
        }
    }

    /// This host sent segments.
    fn count_segments(&mut self, life: &Life<'a>) {
        if self.segments.len() < MAX_FLOWS || self.segments.contains_key(&life.flow) {
            *self.segments.entry(life.flow).or_default() += u64::from(life.segments);
        }
    }

    /// A packet was dropped.
    fn dropped(&mut self, life: &Life<'a>, event: &Snapshot<'a>) {
        let knowledge = self.knowledge;
        let reason = knowledge.reason(event);
        let meaning = self.drops.entry((reason, event.location));
        let meaning = meaning.or_insert_with(|| Rc::new(knowledge.drop(reason, event.location.text())));
        let flow = if event.flow.is_none() { life.flow } else { event.flow };
        self.groups.add(&Observation {
            meaning: Rc::clone(meaning),
            evidence: Evidence { probe: event.probe, detail: event.reason },
            flow,
            origin: if life.flow.is_none() { flow } else { life.flow },
            event,
            count: 1,
            last: event.ts,
            life: Some(Example { skb: life.skb, start: life.start, end: life.end, flow }),
            at: place(event, life),
            rule: life.verdict.as_deref().copied(),
        });
    }

    /// An event came. `lives` has taken it already.
    pub fn event(&mut self, event: &Event<'_, 'a>, lives: &Lives<'a>) {
        self.stale.event(event);
        self.listener(event);
        match event.effect {
            Effect::SendReset => self.reset_sent(event, lives),
            Effect::ReceiveReset => self.reset_received(event),
            Effect::IcmpSend => self.icmp_sent(event, lives),
            Effect::Retransmit | Effect::RetransmitSynack => self.retransmitted(event),
            Effect::SetState => self.state_changed(event),
            Effect::ReceiveFull => self.socket_signal("receive-queue-full", event, lives),
            Effect::BufferLimit => self.socket_signal("buffer-limit", event, lives),
            Effect::BadChecksum => {
                let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow());
                self.signal("bad-checksum", event, flow, Name::NONE);
            }
            Effect::Neighbour if has_failed(event) => {
                let flow = Flow { dst: event.daddr(), ..Flow::default() };
                self.signal("neighbour-failed", event, flow, event.name(ColumnId::NewState));
            }
            Effect::Sent if event.i64(ColumnId::Ret).is_some_and(|ret| ret != 0) => {
                self.pend("device-refused", event, Flow::default());
            }
            _ => {}
        }
    }

    /// This host sent a reset.
    fn reset_sent(&mut self, event: &Event<'_, 'a>, lives: &Lives<'a>) {
        let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow().reversed());
        if self.reset_here.len() < MAX_FLOWS {
            self.reset_here.insert(flow.either_way());
        }
        let reason = event.name(ColumnId::Reason);
        let Some(meaning) = self.knowledge.reset(reason.text()) else { return };
        if meaning.severity > Severity::Normal {
            self.observe(meaning, event, flow, reason);
        }
    }

    /// This host got a reset.
    fn reset_received(&mut self, event: &Event<'_, 'a>) {
        let flow = event.flow();
        self.connecting.remove(&socket(event));
        match event.name(ColumnId::NewState).text() {
            "SYN_SENT" => self.pend("connect-refused", event, flow),
            "ESTABLISHED" | "SYN_RECV" | "" => self.pend("reset-received", event, flow),
            _ => self.pend("reset-while-closing", event, flow),
        }
    }

    /// This host sent an ICMP error about a packet.
    fn icmp_sent(&mut self, event: &Event<'_, 'a>, lives: &Lives<'a>) {
        let v6 = event.name(ColumnId::L4) == "icmp6" || event.name(ColumnId::Protocol) == "ip6";
        let kind = event.u8(ColumnId::IcmpType).zip(event.u8(ColumnId::IcmpCode));
        let Some((kind, code)) = kind else { return };
        let Some(meaning) = self.knowledge.icmp(v6, kind, code) else { return };
        if meaning.severity == Severity::Normal {
            return;
        }
        let own = Some(event.flow()).filter(|f| !f.is_none());
        let flow = own.or_else(|| packet_flow(event, lives)).unwrap_or_default();
        let detail = self.names.name(&format!("{kind}/{code}"));
        self.observe(meaning, event, flow, detail);
    }

    /// TCP retransmitted a segment.
    fn retransmitted(&mut self, event: &Event<'_, 'a>) {
        if event.name(ColumnId::NewState) == "SYN_SENT" {
            if let Some(connecting) = self.connecting(event) {
                connecting.event = Snapshot::of(event);
                connecting.again += 1;
            }
        } else {
            self.pend("retransmission", event, event.flow());
        }
    }

    /// What is known about a connection that is being established.
    fn connecting(&mut self, event: &Event<'_, 'a>) -> Option<&mut Connecting<'a>> {
        let key = socket(event);
        if self.connecting.len() >= MAX_FLOWS && !self.connecting.contains_key(&key) {
            return None;
        }
        let new = Connecting { event: Snapshot::of(event), begun: event.ts, again: 0 };
        Some(self.connecting.entry(key).or_insert(new))
    }

    /// A socket changed its state.
    fn state_changed(&mut self, event: &Event<'_, 'a>) {
        if event.name(ColumnId::NewState) == "SYN_SENT" {
            self.connecting.remove(&socket(event));
            self.connecting(event);
        } else if event.name(ColumnId::OldState) == "SYN_SENT" {
            let begun = self.connecting.remove(&socket(event));
            if let Some(begun) = begun.filter(|_| event.name(ColumnId::NewState) == "CLOSE") {
                self.given_up(&begun, event.ts);
            }
        }
    }

    /// A connection was given up. One that was given up at once was not waited for.
    fn given_up(&mut self, connecting: &Connecting<'a>, ts: u64) {
        if connecting.again > 0 || ts.saturating_sub(connecting.begun) >= self.limits.connect_patience {
            let probe = self.names.name(SET_STATE);
            let event = Snapshot { ts: connecting.begun, probe, ..connecting.event };
            self.pend_snapshot("connect-unanswered", &event, event.flow);
        }
    }

    /// A listener showed its accept queue. Full is what `sk_acceptq_is_full` calls so: more than the backlog.
    /// The kernel drops SYNs then without a drop event.
    fn listener(&mut self, event: &Event<'_, 'a>) {
        let Some(most) = event.u32(ColumnId::MaxBacklog).filter(|most| *most > 0) else { return };
        let waiting = event.u32(ColumnId::Backlog).unwrap_or(0);
        let full = waiting > most && event.name(ColumnId::NewState) == "LISTEN";
        if full && self.full_listeners.len() < MAX_FLOWS {
            self.full_listeners.insert((event.saddr(), event.u16(ColumnId::Sport)));
        }
    }

    /// Whether the listener that a flow goes to was seen full.
    fn goes_to_full_listener(&self, flow: &Flow<'_>) -> bool {
        let fits = |(address, port): &(Addr, Option<u16>)| {
            *port == flow.dport && (*address == flow.dst || address.is_unspecified())
        };
        self.full_listeners.iter().any(fits)
    }

    /// A signal about a socket of this host, which packets were sent to.
    fn socket_signal(&mut self, name: &'static str, event: &Event<'_, 'a>, lives: &Lives<'a>) {
        let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow().reversed());
        self.signal(name, event, flow, Name::NONE);
    }

    /// A signal that stands for itself.
    fn signal(&mut self, name: &'static str, event: &Event<'_, 'a>, flow: Flow<'a>, detail: Name<'a>) {
        if let Some(row) = self.knowledge.signal(name) {
            self.observe(row.into(), event, flow, detail);
        }
    }

    /// An observation that is not a drop.
    fn observe(&mut self, meaning: Meaning, event: &Event<'_, 'a>, flow: Flow<'a>, detail: Name<'a>) {
        let what = Pending { count: 1, event: Snapshot::of(event), last: event.ts };
        self.observe_all(meaning, &what, flow, detail);
    }

    /// An observation that was made several times.
    fn observe_all(&mut self, meaning: Meaning, what: &Pending<'a>, flow: Flow<'a>, detail: Name<'a>) {
        let event = &what.event;
        self.groups.add(&Observation {
            meaning: Rc::new(meaning),
            evidence: Evidence { probe: event.probe, detail },
            flow,
            origin: flow,
            event,
            count: what.count,
            last: what.last,
            life: None,
            at: Where::of(event.at),
            rule: None,
        });
    }

    /// Remembers what another finding may explain.
    fn pend(&mut self, name: &'static str, event: &Event<'_, 'a>, flow: Flow<'a>) {
        self.pend_snapshot(name, &Snapshot::of(event), flow);
    }

    /// The same of what is kept of an event.
    fn pend_snapshot(&mut self, name: &'static str, event: &Snapshot<'a>, flow: Flow<'a>) {
        let dev = if flow.is_none() { event.at.dev } else { Name::NONE };
        let key = (name, flow, dev);
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.count += 1;
            pending.last = event.ts;
        } else if self.pending.len() < MAX_FLOWS {
            self.pending.insert(key, Pending { count: 1, event: *event, last: event.ts });
        } else {
            self.cut_off = true;
        }
    }

    /// The findings, worst first.
    pub fn findings(mut self, losses: &Losses) -> Vec<Finding> {
        self.still_connecting();
        self.join_neighbours();
        let pending = &self.pending;
        let resent =
            |flow: &Flow<'a>| pending.get(&("retransmission", *flow, Name::NONE)).map_or(0, |p| p.count);
        self.groups.drop_healthy(resent, |flow| self.stale.of(flow));
        self.explain_pending();
        let mut findings = self.groups.findings(|first, last| losses.overlap(first, last));
        // What was not remembered is no drop, and may have been about any of the others.
        let others = findings.iter_mut().filter(|finding| !finding.are_drops);
        others.for_each(|finding| finding.packets.at_least |= self.cut_off);
        findings
    }

    /// Connections that waited for an answer when the capture ended.
    fn still_connecting(&mut self) {
        let mut waiting: Vec<Connecting<'a>> = std::mem::take(&mut self.connecting).into_values().collect();
        waiting.retain(|c| c.again >= self.limits.connect_retransmissions);
        waiting.sort_unstable_by_key(|c| (c.begun, c.event.flow));
        waiting.iter().for_each(|connecting| self.given_up(connecting, connecting.event.ts));
    }

    /// Neighbours that failed explain the drops on their device.
    fn join_neighbours(&mut self) {
        if let Some(row) = self.knowledge.signal("neighbour-failed") {
            self.groups.join_neighbours(&row.cause, "FAILED");
        }
    }

    /// Puts what happened to flows to the findings that explain it; the rest stands for itself.
    fn explain_pending(&mut self) {
        let index = self.groups.index();
        let mut pending: Vec<_> = std::mem::take(&mut self.pending).into_iter().collect();
        pending.sort_unstable_by_key(|((name, flow, dev), p)| (p.event.ts, *name, *flow, *dev));
        for ((name, flow, _), what) in pending {
            let explained = index.find(&flow).filter(|_| !flow.is_none());
            if let Some(group) = explained.and_then(|place| self.groups.get_mut(&place)) {
                group.add_consequence(what.event.probe, Name::NONE, what.count);
            } else if !(name.starts_with("reset") || name == "connect-refused")
                || !self.reset_here.contains(&flow.either_way())
            {
                self.unexplained(name, &flow, &what);
            }
        }
    }

    /// What nothing explains: a finding where it is more than healthy traffic has.
    fn unexplained(&mut self, name: &str, flow: &Flow<'a>, what: &Pending<'a>) {
        let full = name == "connect-unanswered" && self.goes_to_full_listener(flow);
        let name = if full { "accept-queue-full" } else { name };
        let Some(row) = self.knowledge.signal(name) else { return };
        let sent = self.segments.get(flow).copied().unwrap_or(0);
        if !is_enough(row, what.count, sent, &self.limits) {
            return;
        }
        self.observe_all(row.into(), what, *flow, Name::NONE);
    }
}

/// Whether a signal is more than healthy traffic has. Where nobody saw how much was sent, more of it is asked for.
fn is_enough(row: &Signal, count: u64, sent: u64, limits: &Thresholds) -> bool {
    match sent {
        0 if row.percent > 0.0 => count >= row.least.saturating_mul(limits.unknown_share),
        0 => count >= row.least,
        _ => count >= row.least && crate::numbers::percent(count, sent) >= row.percent,
    }
}

/// The socket of an event.
fn socket<'a>(event: &Event<'_, 'a>) -> Socket<'a> {
    match event.sk() {
        0 => (0, event.flow()),
        sk => (sk, Flow::default()),
    }
}

/// Whether a neighbour entry failed just now. The timer shows the state after it only.
fn has_failed(event: &Event<'_, '_>) -> bool {
    event.name(ColumnId::NewState) == "FAILED"
        && (event.name(ColumnId::OldState) != "FAILED" || event.probe() == "neigh_timer_handler")
}

/// The flow of the packet that an event carries.
fn packet_flow<'a>(event: &Event<'_, 'a>, lives: &Lives<'a>) -> Option<Flow<'a>> {
    lives.flow_at(event.skb).filter(|_| event.skb != 0)
}

/// Where a packet was dropped: the event's device, else the last on its way.
fn place<'a>(event: &Snapshot<'a>, life: &Life<'a>) -> Where<'a> {
    let last = life.hops.iter().rev().find(|hop| hop.at.dev.is_some());
    match last {
        Some(hop) if event.at.dev.is_none() => Where::of(hop.at),
        _ => Where::of(event.at),
    }
}
