//! Events and lives as plain data: the one place where the answers of `replay` and `trace` meet the analysis.

use std::borrow::Cow;

use crate::address::Addr;
use crate::answer::{Device, Ending, EventAnswer, LifeAnswer, Origin, Row, Style};
use crate::event::{Event, NO_ICMP, NO_NUMBER, NO_RETURN};
use crate::lifecycle::{Hop, Life, Outcome};
use crate::symbol::Sym;
use crate::times::Times;

/// An event as an answer.
pub fn answer(event: &Event, times: &Times, style: Style) -> EventAnswer<'static> {
    let row = row(event);
    let verdict_hook = Some(event.nf_by.text()).filter(|name| !name.is_empty());
    EventAnswer { time: times.show(event.ts), host: None, row, verdict_hook, style }
}

/// A life as an answer.
pub fn life(life: &Life, times: &Times, style: Style) -> LifeAnswer<'static> {
    LifeAnswer {
        number: 0,
        skb: format!("{:016x}", life.skb),
        flow: life.flow.to_string(),
        origin: life.origin.map(|(parent, relation)| Origin {
            skb: format!("{parent:016x}"),
            relation: relation.text().into(),
        }),
        start: life.start,
        end: life.end,
        outcome: ending(&life.outcome),
        evidence: life.evidence,
        hops: life.hops.iter().map(hop).collect(),
        touched_by_loss: life.touched_by_loss,
        events: life.events.iter().map(|event| answer(event, times, style)).collect(),
        latency: false,
    }
}

/// A device on a way.
fn hop(hop: &Hop) -> Device<'static> {
    let known = |number: u32| Some(number).filter(|number| *number != 0);
    Device { netns: known(hop.netns), ifindex: known(hop.ifindex), dev: known_text(hop.dev) }
}

/// How a life ended.
fn ending(outcome: &Outcome) -> Ending<'static> {
    let end = Ending { kind: outcome.kind().name(), ..Ending::default() };
    match *outcome {
        Outcome::Dropped { reason, location } => {
            Ending { reason: known_text(reason), location: known_text(location), ..end }
        }
        Outcome::Delivered { evidence } => Ending { evidence: Some(evidence), ..end },
        Outcome::Transmitted { dev } => Ending { dev: known_text(dev), ..end },
        Outcome::Consumed { location } => Ending { location: known_text(location), ..end },
        Outcome::Reused | Outcome::Open | Outcome::Unknown => end,
    }
}

/// A text, unless there is none.
fn known_text(text: Sym) -> Option<Cow<'static, str>> {
    Some(text.text()).filter(|text| !text.is_empty()).map(Cow::Borrowed)
}

/// The columns of an event, in the order of FORMAT.md.
fn row(event: &Event) -> Row<'static> {
    let mut row = Row::default();
    row.put_number("ts", event.ts);
    row.put_number("cpu", event.cpu);
    text(&mut row, &[("kind", event.kind), ("probe", event.probe)]);
    number(&mut row, &[("pid", event.pid)], NO_NUMBER);
    text(&mut row, &[("comm", event.comm), ("ctx", event.ctx)]);
    number(&mut row, &[("skb", event.skb), ("sk", event.sk)], 0);
    number(&mut row, &[("netns", event.netns), ("ifindex", event.ifindex)], 0);
    text(&mut row, &[("dev", event.dev)]);
    number(&mut row, &[("iif", event.iif), ("len", event.len)], 0);
    number(&mut row, &[("gso_segs", event.gso_segs)], 0);
    header(&mut row, event);
    text(&mut row, &[("reason", event.reason), ("location", event.location), ("stack", event.stack)]);
    if event.ret != NO_RETURN {
        row.put_signed("ret", event.ret);
    }
    socket(&mut row, event);
    text(&mut row, &[("name", event.name)]);
    if event.value != NO_RETURN {
        row.put_signed("value", event.value);
    }
    links(&mut row, event);
    row
}

/// The decoded header.
fn header(row: &mut Row<'static>, event: &Event) {
    text(row, &[("protocol", event.protocol)]);
    address(row, &[("saddr", event.saddr), ("daddr", event.daddr)]);
    text(row, &[("l4", event.l4)]);
    number(row, &[("sport", event.sport), ("dport", event.dport)], 0);
    number(row, &[("ip_id", event.ip_id)], NO_NUMBER);
    number(row, &[("ttl", event.ttl)], 0);
    number(row, &[("tcp_seq", event.tcp_seq), ("tcp_ack", event.tcp_ack)], NO_NUMBER);
    text(row, &[("tcp_flags", event.tcp_flags)]);
    number(row, &[("tcp_win", event.tcp_win)], 0);
    number(row, &[("icmp_type", event.icmp_type), ("icmp_code", event.icmp_code)], NO_ICMP);
    if event.icmp_type != NO_ICMP {
        row.put_number("icmp_id", event.icmp_id);
        row.put_number("icmp_seq", event.icmp_seq);
    }
    text(row, &[("tunnel", event.tunnel)]);
}

/// The state of a socket or a neighbour.
fn socket(row: &mut Row<'static>, event: &Event) {
    text(row, &[("family", event.family), ("old_state", event.old_state), ("new_state", event.new_state)]);
    number(row, &[("rmem", event.rmem), ("rcvbuf", event.rcvbuf)], 0);
    number(row, &[("backlog", event.backlog), ("max_backlog", event.max_backlog)], 0);
}

/// Calls, links and verdicts.
fn links(row: &mut Row<'static>, event: &Event) {
    let is_link = event.kind == Sym::LINK;
    number(row, &[(if is_link { "child" } else { "entry" }, event.other)], 0);
    text(row, &[(if is_link { "relation" } else { "verdict" }, event.says)]);
    text(row, &[("hook", event.nf_hook), ("table", event.nf_table), ("chain", event.nf_chain)]);
    text(row, &[("hooks", event.nf_hooks)]);
    number(row, &[("handle", event.nf_handle)], 0);
    text(row, &[("step", event.nf_step)]);
}

/// Adds the texts that are there.
fn text(row: &mut Row<'static>, columns: &[(&'static str, Sym)]) {
    for (column, text) in columns.iter().filter(|(_, text)| text.is_some()) {
        row.put_text(column, text.text());
    }
}

/// Adds the numbers that are there.
fn number<N: Copy + PartialEq + Into<u64>>(row: &mut Row<'static>, columns: &[(&'static str, N)], none: N) {
    for (column, value) in columns.iter().filter(|(_, value)| *value != none) {
        row.put_number(column, *value);
    }
}

/// Adds the addresses that are there.
fn address(row: &mut Row<'static>, columns: &[(&'static str, Addr)]) {
    for (column, address) in columns.iter().filter(|(_, address)| !address.is_none()) {
        row.put_text(column, address.to_string());
    }
}
