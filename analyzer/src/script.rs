//! Event scripts for tests: one line an event, `TIME_US SKB PROBE [WORD..] [KEY=VALUE..]`.
//!
//! A bare word is the device (lower case), or the reason (capitals). `@` repeats the line's own packet header of
//! before: each skb keeps the last `flow=` and `id=` it was given.

use std::collections::HashMap;

use crate::address::Addr;
use crate::event::Event;
use crate::symbol::Sym;

/// The events of a script.
pub fn events(script: &str) -> Vec<Event> {
    let mut headers = HashMap::new();
    let lines = script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|line| event(line, &mut headers)).collect()
}

/// The event of a line.
fn event(line: &str, headers: &mut HashMap<u64, Event>) -> Event {
    let mut words = line.split_whitespace();
    let ts: u64 = words.next().unwrap().parse().unwrap();
    let skb = words.next().map(|w| if w == "-" { 0 } else { u64::from_str_radix(w, 16).unwrap() }).unwrap();
    let mut event = headers.get(&skb).copied().unwrap_or(Event::EMPTY);
    event = Event {
        saddr: event.saddr,
        daddr: event.daddr,
        sport: event.sport,
        dport: event.dport,
        l4: event.l4,
        ip_id: event.ip_id,
        tcp_seq: event.tcp_seq,
        ts: ts * 1000,
        skb,
        probe: Sym::new(words.next().unwrap()),
        ..Event::EMPTY
    };
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => set(&mut event, key, value),
            None if word.starts_with(|c: char| c.is_ascii_uppercase()) => event.reason = Sym::new(word),
            None => event.dev = Sym::new(word),
        }
    }
    if event.netns == 0 && event.dev.is_some() {
        event.netns = 1;
    }
    if event.hook() == crate::event::Hook::Sent && event.ret == crate::event::NO_RETURN {
        event.ret = 0;
    }
    if skb != 0 {
        headers.insert(skb, event);
    }
    if matches!(event.hook(), crate::event::Hook::Sent | crate::event::Hook::Consume) {
        (event.saddr, event.daddr) = (Addr::NONE, Addr::NONE);
        (event.sport, event.dport) = (0, 0);
    }
    event
}

/// Sets a field by name.
fn set(event: &mut Event, key: &str, value: &str) {
    let number = || value.parse::<u32>().unwrap();
    match key {
        "flow" => flow(event, value),
        "local" => (event.saddr, event.sport) = end(value),
        "remote" => (event.daddr, event.dport) = end(value),
        "l4" => event.l4 = Sym::new(value),
        "at" => event.location = Sym::new(value),
        "stack" => event.stack = Sym::new(value),
        "cpu" => event.cpu = number() as u16,
        "iif" => event.iif = number(),
        "ns" => event.netns = number(),
        "id" => event.ip_id = number(),
        "sk" => event.sk = number().into(),
        "seq" => event.tcp_seq = number(),
        "ack" => event.tcp_ack = number(),
        "ret" => event.ret = value.parse().unwrap(),
        "flags" => event.tcp_flags = Sym::new(value),
        "tunnel" => event.tunnel = Sym::new(value),
        "ctx" => event.ctx = Sym::new(value),
        "family" => event.family = Sym::new(value),
        "old" => event.old_state = Sym::new(value),
        "new" => event.new_state = Sym::new(value),
        "rmem" => event.rmem = number(),
        "rcvbuf" => event.rcvbuf = number(),
        "kind" => event.kind = Sym::new(value),
        "n" => event.seq = number().into(),
        "of" => event.other = number().into(),
        "child" => event.other = u64::from_str_radix(value, 16).unwrap(),
        "says" => event.says = Sym::new(value),
        "table" => event.nf_table = Sym::new(value),
        "chain" => event.nf_chain = Sym::new(value),
        "hook" => event.nf_hook = Sym::new(value),
        "handle" => event.nf_handle = number().into(),
        "step" => event.nf_step = Sym::new(value),
        "hooks" => event.nf_hooks = Sym::new(value),
        "len" => event.len = number(),
        "icmp" => {
            let (kind, code) = value.split_once('/').unwrap();
            (event.icmp_type, event.icmp_code) = (kind.parse().unwrap(), code.parse().unwrap());
        }
        other => panic!("no such key: {other}"),
    }
}

/// Sets both ends from `10.0.0.1:5>10.0.0.2:6`; UDP unless `l4=` says otherwise.
fn flow(event: &mut Event, value: &str) {
    let (src, dst) = value.split_once('>').unwrap();
    (event.saddr, event.sport) = end(src);
    (event.daddr, event.dport) = end(dst);
    if event.l4.is_none() {
        event.l4 = Sym::UDP;
    }
}

/// One end: `10.0.0.1:5` or `10.0.0.1`.
fn end(text: &str) -> (Addr, u16) {
    match text.split_once(':') {
        Some((addr, port)) => (Addr::from_text(addr), port.parse().unwrap()),
        None => (Addr::from_text(text), 0),
    }
}
