//! Events and lives become observations of trouble.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::finding::Finding;
use super::group::{Evidence, Example, Groups, Observation, Where};
use super::old::OldSegments;
use crate::address::Addr;
use crate::event::{Event, Flow, Hook};
use crate::knowledge::{Knowledge, Meaning, Severity, Signal};
use crate::lifecycle::{Life, Lives, Outcome};
use crate::loss::Losses;
use crate::rule::Rule;
use crate::symbol::Sym;

/// Flows that are remembered for a purpose at most.
const MAX_FLOWS: usize = 128 << 10;
/// The probe of a socket's state changes.
const SET_STATE: &str = "inet_sock_set_state";
/// A connection that is given up earlier than this many ns after its SYN was not waited for.
const PATIENCE: u64 = 900_000_000;

/// Something that happened to a flow, and that another finding may explain.
#[derive(Clone, Debug)]
struct Pending {
    /// How often.
    count: u64,
    /// The first event.
    event: Event,
    /// The last time.
    last: u64,
}

/// A socket: its address, or its flow where the capture has no address.
type Socket = (u64, Flow);

/// A connection that is being established.
#[derive(Clone, Debug)]
struct Connecting {
    /// Its newest event that names both ports. The state changes do not: the local port is not chosen before the
    /// first, and given back before the last.
    event: Event,
    /// When its first event came.
    begun: u64,
    /// SYNs that were sent again.
    again: u64,
}

/// Watches events and lives for trouble.
pub struct Observer<'a> {
    /// The tables.
    knowledge: &'a Knowledge,
    /// Groups of observations.
    groups: Groups<'a>,
    /// Meanings of drops by reason and location.
    drops: FxHashMap<(Sym, Sym), Rc<Meaning>>,
    /// What waits for an explanation, by signal, flow (from this host) and device.
    pending: FxHashMap<(&'static str, Flow, Sym), Pending>,
    /// Segments that this host sent, by flow.
    segments: FxHashMap<Flow, u64>,
    /// Dropped segments that were duplicates.
    old: OldSegments,
    /// Flows, the same both ways, whose reset this host sent itself: what the reset means is known.
    reset_here: FxHashSet<Flow>,
    /// Connections that are being established.
    connecting: FxHashMap<Socket, Connecting>,
    /// Listeners whose accept queue was seen full: address and port.
    full_listeners: FxHashSet<(Addr, u16)>,
}

impl<'a> Observer<'a> {
    /// Has seen nothing yet.
    pub fn new(knowledge: &'a Knowledge) -> Self {
        Self {
            knowledge,
            groups: Groups::new(knowledge),
            drops: FxHashMap::default(),
            pending: FxHashMap::default(),
            segments: FxHashMap::default(),
            old: OldSegments::default(),
            reset_here: FxHashSet::default(),
            connecting: FxHashMap::default(),
            full_listeners: FxHashSet::default(),
        }
    }

    /// A life ended.
    pub fn life(&mut self, life: &Life) {
        if life.segments > 0 {
            self.count_segments(life);
        }
        if let (Outcome::Dropped { .. }, Some(event)) = (&life.outcome, life.freed.as_deref()) {
            self.dropped(life, event);
        }
    }

    /// This host sent segments.
    fn count_segments(&mut self, life: &Life) {
        if self.segments.len() < MAX_FLOWS || self.segments.contains_key(&life.flow) {
            *self.segments.entry(life.flow).or_default() += u64::from(life.segments);
        }
    }

    /// A packet was dropped.
    fn dropped(&mut self, life: &Life, event: &Event) {
        let knowledge = self.knowledge;
        let reason = knowledge.reason(event);
        let meaning = self.drops.entry((reason, event.location));
        let meaning = meaning.or_insert_with(|| Rc::new(knowledge.drop(reason, event.location)));
        let flow = if event.has_addresses() { event.flow() } else { life.flow };
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
            rule: life.verdict.as_deref().map(Rule::of),
        });
    }

    /// An event came. `lives` has taken it already.
    pub fn event(&mut self, event: &Event, lives: &Lives<'_>) {
        self.old.event(event);
        if event.max_backlog > 0 {
            self.listener(event);
        }
        match event.hook() {
            Hook::SendReset => self.reset_sent(event, lives),
            Hook::ReceiveReset => self.reset_received(event),
            Hook::IcmpSend => self.icmp_sent(event, lives),
            Hook::Retransmit | Hook::RetransmitSynack => self.retransmitted(event),
            Hook::SetState => self.state_changed(event),
            Hook::ReceiveFull => self.socket_signal("receive-queue-full", event, lives),
            Hook::BufferLimit => self.socket_signal("buffer-limit", event, lives),
            Hook::BadChecksum => {
                let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow());
                self.signal("bad-checksum", event, flow, Sym::NONE);
            }
            Hook::Neighbour if has_failed(event) => {
                let flow = Flow { dst: event.daddr, ..Flow::default() };
                self.signal("neighbour-failed", event, flow, Sym::FAILED);
            }
            Hook::Sent if event.ret > 0 || event.ret < 0 && event.ret != crate::event::NO_RETURN => {
                self.pend("device-refused", event, Flow::default());
            }
            _ => {}
        }
    }

    /// This host sent a reset.
    fn reset_sent(&mut self, event: &Event, lives: &Lives<'_>) {
        let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow().reversed());
        if self.reset_here.len() < MAX_FLOWS {
            self.reset_here.insert(flow.either_way());
        }
        let Some(meaning) = self.knowledge.reset(event.reason) else { return };
        if meaning.severity > Severity::Normal {
            self.observe(meaning, event, flow, event.reason);
        }
    }

    /// This host got a reset.
    fn reset_received(&mut self, event: &Event) {
        let flow = event.flow();
        self.connecting.remove(&socket(event));
        let state = event.new_state.text();
        match state {
            "SYN_SENT" => self.pend("connect-refused", event, flow),
            "ESTABLISHED" | "SYN_RECV" | "" => self.pend("reset-received", event, flow),
            _ => self.pend("reset-while-closing", event, flow),
        }
    }

    /// This host sent an ICMP error about a packet.
    fn icmp_sent(&mut self, event: &Event, lives: &Lives<'_>) {
        let v6 = event.l4 == Sym::ICMP6 || event.protocol.text() == "ip6";
        let Some(meaning) = self.knowledge.icmp(v6, event.icmp_type, event.icmp_code) else { return };
        if meaning.severity == Severity::Normal {
            return;
        }
        let own = Some(event.flow()).filter(|f| !f.is_none());
        let flow = own.or_else(|| packet_flow(event, lives)).unwrap_or_default();
        let detail = Sym::new(&format!("{}/{}", event.icmp_type, event.icmp_code));
        self.observe(meaning, event, flow, detail);
    }

    /// TCP sent a segment again.
    fn retransmitted(&mut self, event: &Event) {
        if event.new_state == Sym::SYN_SENT {
            if let Some(connecting) = self.connecting(event) {
                connecting.event = *event;
                connecting.again += 1;
            }
        } else {
            self.pend("retransmission", event, event.flow());
        }
    }

    /// What is known about a connection that is being established.
    fn connecting(&mut self, event: &Event) -> Option<&mut Connecting> {
        let key = socket(event);
        if self.connecting.len() >= MAX_FLOWS && !self.connecting.contains_key(&key) {
            return None;
        }
        let new = Connecting { event: *event, begun: event.ts, again: 0 };
        Some(self.connecting.entry(key).or_insert(new))
    }

    /// A socket changed its state.
    fn state_changed(&mut self, event: &Event) {
        if event.new_state == Sym::SYN_SENT {
            self.connecting.remove(&socket(event));
            self.connecting(event);
        } else if event.old_state == Sym::SYN_SENT {
            let begun = self.connecting.remove(&socket(event));
            if let Some(begun) = begun.filter(|_| event.new_state == Sym::CLOSE) {
                self.given_up(&begun, event.ts);
            }
        }
    }

    /// A connection was given up. One that was given up at once was not waited for.
    fn given_up(&mut self, connecting: &Connecting, ts: u64) {
        if connecting.again > 0 || ts.saturating_sub(connecting.begun) >= PATIENCE {
            let event = Event { ts: connecting.begun, probe: Sym::new(SET_STATE), ..connecting.event };
            self.pend("connect-unanswered", &event, event.flow());
        }
    }

    /// A listener showed its accept queue. Full is what `sk_acceptq_is_full` calls so: more than the backlog.
    /// The kernel drops SYNs then without a drop event.
    fn listener(&mut self, event: &Event) {
        let full = event.new_state == Sym::LISTEN && event.backlog > event.max_backlog;
        if full && self.full_listeners.len() < MAX_FLOWS {
            self.full_listeners.insert((event.saddr, event.sport));
        }
    }

    /// Whether the listener that a flow goes to was seen full.
    fn goes_to_full_listener(&self, flow: &Flow) -> bool {
        let fits = |(address, port): &(Addr, u16)| {
            *port == flow.dport && (*address == flow.dst || address.is_unspecified())
        };
        self.full_listeners.iter().any(fits)
    }

    /// A signal about a socket of this host, which packets were sent to.
    fn socket_signal(&mut self, name: &'static str, event: &Event, lives: &Lives<'_>) {
        let flow = packet_flow(event, lives).unwrap_or_else(|| event.flow().reversed());
        self.signal(name, event, flow, Sym::NONE);
    }

    /// A signal that stands for itself.
    fn signal(&mut self, name: &'static str, event: &Event, flow: Flow, detail: Sym) {
        if let Some(row) = self.knowledge.signal(name) {
            self.observe(row.into(), event, flow, detail);
        }
    }

    /// An observation that is not a drop.
    fn observe(&mut self, meaning: Meaning, event: &Event, flow: Flow, detail: Sym) {
        self.observe_all(meaning, &Pending { count: 1, event: *event, last: event.ts }, flow, detail);
    }

    /// An observation that was made several times.
    fn observe_all(&mut self, meaning: Meaning, what: &Pending, flow: Flow, detail: Sym) {
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
            at: Where { dev: event.dev, netns: event.netns },
            rule: None,
        });
    }

    /// Remembers what another finding may explain.
    fn pend(&mut self, name: &'static str, event: &Event, flow: Flow) {
        let dev = if flow.is_none() { event.dev } else { Sym::NONE };
        let key = (name, flow, dev);
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.count += 1;
            pending.last = event.ts;
        } else if self.pending.len() < MAX_FLOWS {
            self.pending.insert(key, Pending { count: 1, event: *event, last: event.ts });
        }
    }

    /// The findings, worst first.
    pub fn findings(mut self, losses: &Losses) -> Vec<Finding> {
        self.still_connecting();
        self.join_neighbours();
        let pending = &self.pending;
        let resent = |flow: &Flow| pending.get(&("retransmission", *flow, Sym::NONE)).map_or(0, |p| p.count);
        self.groups.drop_healthy(resent, |flow| self.old.of(flow));
        self.explain_pending();
        self.groups.findings(|first, last| losses.overlap(first, last))
    }

    /// Connections that waited for an answer when the capture ended.
    fn still_connecting(&mut self) {
        let mut waiting: Vec<Connecting> = std::mem::take(&mut self.connecting).into_values().collect();
        waiting.retain(|c| c.again >= 2);
        waiting.sort_unstable_by_key(|c| (c.begun, c.event.flow()));
        waiting.iter().for_each(|connecting| self.given_up(connecting, connecting.event.ts));
    }

    /// Neighbours that failed explain the drops on their device.
    fn join_neighbours(&mut self) {
        if let Some(row) = self.knowledge.signal("neighbour-failed") {
            self.groups.join_neighbours(Sym::new(&row.cause), Sym::FAILED);
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
                group.add_consequence(what.event.probe, Sym::NONE, what.count);
            } else if !(name.starts_with("reset") || name == "connect-refused")
                || !self.reset_here.contains(&flow.either_way())
            {
                self.unexplained(name, &flow, &what);
            }
        }
    }

    /// What nothing explains: a finding where it is more than healthy traffic has.
    fn unexplained(&mut self, name: &str, flow: &Flow, what: &Pending) {
        let full = name == "connect-unanswered" && self.goes_to_full_listener(flow);
        let name = if full { "accept-queue-full" } else { name };
        let Some(row) = self.knowledge.signal(name) else { return };
        let sent = self.segments.get(flow).copied().unwrap_or(0);
        if !is_enough(row, what.count, sent) {
            return;
        }
        self.observe_all(row.into(), what, *flow, Sym::NONE);
    }
}

/// Whether a signal is more than healthy traffic has. Where nobody saw how much was sent, more of it is asked for.
fn is_enough(row: &Signal, count: u64, sent: u64) -> bool {
    const UNKNOWN_SHARE: u64 = 4;
    match sent {
        0 if row.percent > 0.0 => count >= row.least * UNKNOWN_SHARE,
        0 => count >= row.least,
        _ => count >= row.least && crate::numbers::percent(count, sent) >= row.percent,
    }
}

/// The socket of an event.
fn socket(event: &Event) -> Socket {
    if event.sk == 0 { (0, event.flow()) } else { (event.sk, Flow::default()) }
}

/// Whether a neighbour entry failed just now. The timer shows the state after it only.
fn has_failed(event: &Event) -> bool {
    event.new_state == Sym::FAILED
        && (event.old_state != Sym::FAILED || event.probe.text() == "neigh_timer_handler")
}

/// The flow of the packet that an event carries.
fn packet_flow(event: &Event, lives: &Lives<'_>) -> Option<Flow> {
    lives.flow_at(event.skb).filter(|_| event.skb != 0)
}

/// Where a packet was dropped: the event's device, else the last on its way.
fn place(event: &Event, life: &Life) -> Where {
    let last = life.hops.iter().rev().find(|h| h.dev.is_some());
    match last {
        Some(hop) if event.dev.is_none() => Where { dev: hop.dev, netns: hop.netns },
        _ => Where { dev: event.dev, netns: event.netns },
    }
}
