//! Lives of packets, and where each packet was seen.

use std::ops::ControlFlow;

use anyhow::Result;
use ntc::catalog;
use ntc::schema::Type::{Bool, I64, Text, U16, U32, U64};
use ntc::{ColumnId, Value};

use super::rows::Rows;
use super::{Column, Sink, TableId, column, direction, name, number, text, time, truth, wall};
use crate::address::Addr;
use crate::answer::Rule;
use crate::event::Event;
use crate::knowledge::Knowledge;
use crate::lifecycle::{self, Hop, Keep, Life, Lives, Outcome};
use crate::names::Name;
use crate::scan::{RowCache, Scan};
use crate::source::Source;

/// Columns of `lives`.
pub(super) const LIVES: [Column; 30] = [
    column("life", U64, "number of the life in its capture, from 1, in the order in which lives end"),
    column("skb", U64, "address of the struct sk_buff; other lives may have the same before and after"),
    column("start", U64, "first event, ns of CLOCK_MONOTONIC"),
    column("end", U64, "last event, ns of CLOCK_MONOTONIC"),
    time("time", "first event, wall clock (UTC)"),
    column("duration", U64, "from the first event to the last, ns"),
    column("events", U32, "events that carried its address"),
    column("l4", Text, "protocol: tcp, udp, icmp, arp, ..."),
    column("saddr", Text, "source address, by the first header that was decoded"),
    column("sport", U16, "source port"),
    column("daddr", Text, "destination address"),
    column("dport", U16, "destination port"),
    column(
        "outcome",
        Text,
        "dropped, delivered, transmitted, consumed, reused (end not observed), open (capture ended), unknown (events were lost)",
    ),
    column("reason", Text, "drop reason, of dropped ones"),
    column("location", Text, "function+offset that freed it, of dropped and consumed ones"),
    column("evidence", Text, "probe that proves it, of delivered ones"),
    column("dev", Text, "device that sent it, of transmitted ones"),
    column("devices", Text, "devices on its way, in order: a;b"),
    column("netns", U32, "network namespace of the first of them, inode"),
    column("segments", U16, "TCP segments in it, where this host sent it; null for others"),
    column("parent", U64, "address of the packet that it was made of"),
    column("relation", Text, "what it is of its parent: clone, copy, segment, fragment, encapsulation"),
    column("family", Text, "family of the table whose verdict ended it"),
    column("table", Text, "table of netfilter whose verdict ended it"),
    column("chain", Text, "its chain"),
    column("handle", U64, "handle of its rule, where rules were traced"),
    column("hook", Text, "hook point of netfilter"),
    column("verdict_hook", Text, "hook function that gave the verdict"),
    column("hooks", Text, "all hook functions there: a;b"),
    column("touched_by_loss", Bool, "whether events were lost during the life"),
];

/// Columns of `sightings`.
pub(super) const SIGHTINGS: [Column; 22] = [
    column("life", U64, "number of the life, as in lives"),
    column("step", U32, "number of the event in its life, from 1"),
    column("ts", U64, "time, ns of CLOCK_MONOTONIC"),
    time("time", "time, wall clock (UTC)"),
    column("since", I64, "time since the step before, ns; null in the first"),
    column("cpu", U16, "CPU"),
    column("seq", U64, "with cpu: which row of events it is"),
    column("kind", Text, "kind of the row: pkt, ret (a function returned), free, nf (a verdict), ..."),
    column("probe", Text, "kernel tracepoint or function"),
    column("stage", Text, "station on the way that the probe is at, such as ip-in"),
    column("direction", Text, "in or out: which way the stage leads a packet; null where both"),
    column("dev", Text, "device"),
    column("netns", U32, "network namespace, inode"),
    column("pid", U32, "process of the current task"),
    column("ctx", Text, "task or softirq"),
    column("len", U32, "length of the packet there, bytes"),
    column("saddr", Text, "source address there: NAT changes it"),
    column("sport", U16, "source port there"),
    column("daddr", Text, "destination address there"),
    column("dport", U16, "destination port there"),
    column("ret", I64, "return value"),
    column("verdict", Text, "verdict of netfilter"),
];

/// The columns of events that sightings have.
const READ: [ColumnId; 16] = [
    ColumnId::Ts,
    ColumnId::Cpu,
    ColumnId::Seq,
    ColumnId::Kind,
    ColumnId::Probe,
    ColumnId::Dev,
    ColumnId::Netns,
    ColumnId::Pid,
    ColumnId::Ctx,
    ColumnId::Len,
    ColumnId::Saddr,
    ColumnId::Sport,
    ColumnId::Daddr,
    ColumnId::Dport,
    ColumnId::Ret,
    ColumnId::Verdict,
];

/// Makes the rows of both tables in one pass, so that they number lives alike; rows are kept even where only lives are
/// wanted, since what is kept bounds how many are open.
pub(super) fn build(
    source: &Source,
    knowledge: &Knowledge,
    wanted: &[TableId],
    sink: &mut Sink<'_>,
) -> Result<()> {
    let Source { names, losses, .. } = source;
    let mut making = Making {
        source,
        lives: Rows::if_wanted(TableId::Lives, wanted),
        sightings: Rows::if_wanted(TableId::Sightings, wanted),
        cache: RowCache::new(source, &READ),
        number: 0,
    };
    let mut lives = Lives::new(names, knowledge, losses, Keep::Rows);
    let mut result = Ok(());
    let mut done = |life: &Life<'_>| {
        if result.is_ok() {
            result = making.add(life, sink);
        }
    };
    Scan::new(lifecycle::COLUMNS, 0..=u64::MAX).for_each(source, |event| {
        lives.push(event, &mut done);
        Ok(ControlFlow::Continue(()))
    })?;
    lives.finish(&mut done);
    result?;
    making.finish(sink)
}

/// Rows that are being made of lives.
struct Making<'a> {
    /// The capture.
    source: &'a Source,
    /// Rows of `lives`, if wanted.
    lives: Option<Rows>,
    /// Rows of `sightings`, if wanted.
    sightings: Option<Rows>,
    /// Events of lives.
    cache: RowCache<'a>,
    /// Lives so far.
    number: u64,
}

impl Making<'_> {
    /// Adds a life.
    fn add(&mut self, life: &Life<'_>, sink: &mut Sink<'_>) -> Result<()> {
        self.number += 1;
        if let Some(rows) = &mut self.lives {
            add_life(rows, self.number, life, self.source, sink)?;
        }
        let Some(rows) = &mut self.sightings else { return Ok(()) };
        let mut step = Step { life: self.number, number: 0, before: None };
        for row in &life.rows {
            let event = self.cache.event(row.id)?;
            step.number += 1;
            rows.add(&sighting(&step, &event, self.source), sink)?;
            step.before = Some(event.ts);
        }
        Ok(())
    }

    /// Hands over the rest.
    fn finish(self, sink: &mut Sink<'_>) -> Result<()> {
        [self.lives, self.sightings].into_iter().flatten().try_for_each(|rows| rows.finish(sink))
    }
}

/// An address as text.
fn address(address: Addr) -> String {
    if address.is_none() { String::new() } else { address.to_string() }
}

/// A text of a rule.
fn part<'r>(part: &'r Option<std::borrow::Cow<'_, str>>) -> Option<Value<'r>> {
    part.as_deref().and_then(text)
}

/// How a life ended: reason, location, evidence, device.
fn ending<'a>(outcome: &Outcome<'a>) -> [Option<Value<'a>>; 4] {
    match *outcome {
        Outcome::Dropped { reason, location } => [name(reason), name(location), None, None],
        Outcome::Consumed { location } => [None, name(location), None, None],
        Outcome::Delivered { evidence } => [None, None, text(evidence), None],
        Outcome::Transmitted { dev } => [None, None, None, name(dev)],
        Outcome::Reused | Outcome::Open | Outcome::Unknown => [None; 4],
    }
}

/// Adds a row of `lives`.
fn add_life(rows: &mut Rows, at: u64, life: &Life<'_>, source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let flow = life.flow;
    let (saddr, daddr) = (address(flow.src), address(flow.dst));
    let devices: Vec<&str> =
        life.hops.iter().map(|hop| hop.at.dev.text()).filter(|dev| !dev.is_empty()).collect();
    let devices = devices.join(";");
    let netns = life.hops.first().map(|hop: &Hop<'_>| hop.at.netns).filter(|netns| *netns != 0);
    let rule = life.verdict.as_ref().map_or_else(Rule::default, |rule| Rule::from(&**rule));
    let [reason, location, evidence, dev] = ending(&life.outcome);
    let row: [_; LIVES.len()] = [
        number(at),
        number(life.skb),
        number(life.start),
        number(life.end),
        wall(source, life.start),
        number(life.end.saturating_sub(life.start)),
        number(life.count),
        name(flow.l4),
        text(&saddr),
        flow.sport.and_then(number),
        text(&daddr),
        flow.dport.and_then(number),
        text(life.outcome.kind().name()),
        reason,
        location,
        evidence,
        dev,
        text(&devices),
        netns.and_then(number),
        Some(life.segments).filter(|segments| *segments > 0).and_then(number),
        life.origin.and_then(|(parent, _)| number(parent)),
        name(life.origin.map_or(Name::NONE, |(_, relation)| relation)),
        part(&rule.family),
        part(&rule.table),
        part(&rule.chain),
        rule.handle.and_then(number),
        part(&rule.hook),
        part(&rule.verdict_hook),
        part(&rule.hooks),
        truth(life.touched_by_loss),
    ];
    rows.add(&row, sink)
}

/// Where an event stands in its life.
struct Step {
    /// Number of the life.
    life: u64,
    /// Number of the event in it.
    number: u32,
    /// Time of the event before, ns of CLOCK_MONOTONIC.
    before: Option<u64>,
}

/// A row of `sightings`.
fn sighting<'e>(
    step: &Step,
    event: &'e Event<'_, '_>,
    source: &Source,
) -> [Option<Value<'e>>; SIGHTINGS.len()] {
    let stage = catalog::by_name(event.probe().text()).and_then(|entry| entry.stage);
    let since = step.before.map(|before| Value::Signed(event.ts.wrapping_sub(before).cast_signed()));
    [
        number(step.life),
        number(step.number),
        number(event.ts),
        wall(source, event.ts),
        since,
        event.value(ColumnId::Cpu),
        event.value(ColumnId::Seq),
        event.value(ColumnId::Kind),
        event.value(ColumnId::Probe),
        stage.and_then(|stage| text(stage.name)),
        direction(event.about.direction),
        event.value(ColumnId::Dev),
        event.value(ColumnId::Netns),
        event.value(ColumnId::Pid),
        event.value(ColumnId::Ctx),
        event.value(ColumnId::Len),
        event.value(ColumnId::Saddr),
        event.value(ColumnId::Sport),
        event.value(ColumnId::Daddr),
        event.value(ColumnId::Dport),
        event.value(ColumnId::Ret),
        event.value(ColumnId::Verdict),
    ]
}
