//! Event scripts for tests: one line an event, `TIME_US SKB PROBE [WORD..] [KEY=VALUE..]`.
//!
//! A bare word is the device (lower case), or the reason (capitals). Each skb keeps the header that it was given last:
//! what `flow=`, `l4=`, `id=` and `seq=` say.

use std::collections::HashMap;

use ntc::{Batch, Metadata, Rows, catalog};

use crate::event::{Block, Event};
use crate::names::Names;
use crate::probes::Probes;

/// Events of a script, with names that live as long as the test.
pub struct Script {
    /// The names.
    pub names: &'static Names,
    /// The events.
    block: Block<'static>,
}

impl Script {
    /// The events of a text.
    pub fn new(text: &str) -> Self {
        let mut rows = Rows::new();
        let mut headers = HashMap::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.for_each(|line| Line::parse(line, &mut headers).put(&mut rows));
        let names: &'static Names = Box::leak(Box::default());
        let probes = Probes::new(&Metadata::default());
        let batch = Batch::new(rows.finish().unwrap());
        Self { names, block: Block::new(0, batch, names, &probes) }
    }

    /// Its events.
    pub fn block(&self) -> &Block<'static> {
        &self.block
    }

    /// Its events in order.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, 'static>> {
        self.block.events()
    }
}

/// The header that a packet keeps, by key.
type Header = Vec<(String, String)>;

/// Keys that a packet keeps from line to line.
const KEPT: [&str; 4] = ["flow", "l4", "id", "seq"];
/// Probes whose rows have no header of the packet.
const BARE: [&str; 2] = ["net_dev_xmit", "consume_skb"];

/// A line.
struct Line {
    /// Time, us.
    ts: u64,
    /// Address of the packet; 0: none.
    skb: u64,
    /// Probe.
    probe: String,
    /// The rest.
    fields: Header,
}

impl Line {
    /// Reads a line; `headers` has what each packet keeps.
    fn parse(line: &str, headers: &mut HashMap<u64, Header>) -> Self {
        let mut words = line.split_whitespace();
        let ts = words.next().unwrap().parse().unwrap();
        let skb =
            words.next().map(|w| if w == "-" { 0 } else { u64::from_str_radix(w, 16).unwrap() }).unwrap();
        let probe = words.next().unwrap().to_owned();
        let mut fields: Header = headers.get(&skb).cloned().unwrap_or_default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or(match word.chars().next() {
                Some(first) if first.is_ascii_uppercase() => ("reason", word),
                _ => ("dev", word),
            });
            fields.retain(|(known, _)| known != key);
            fields.push((key.to_owned(), value.to_owned()));
        }
        if skb != 0 {
            let kept = fields.iter().filter(|(key, _)| KEPT.contains(&key.as_str())).cloned().collect();
            headers.insert(skb, kept);
        }
        if BARE.contains(&probe.as_str()) {
            fields.retain(|(key, _)| key != "flow");
        }
        Self { ts, skb, probe, fields }
    }

    /// The value of a key.
    fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Adds it to rows.
    fn put(&self, rows: &mut Rows) {
        let row = rows.next();
        let kind = self.get("kind").or_else(|| Some(catalog::by_name(&self.probe)?.kind)).unwrap_or("pkt");
        rows.ts.put(row, self.ts * 1000);
        rows.cpu.put(row, self.get("cpu").map_or(0, |cpu| cpu.parse().unwrap()));
        rows.kind.put_str(row, kind);
        rows.probe.put_str(row, &self.probe);
        if self.skb != 0 {
            rows.skb.put(row, self.skb);
        }
        if self.get("dev").is_some() && self.get("ns").is_none() {
            rows.netns.put(row, 1);
        }
        if self.get("flow").is_some() && self.get("l4").is_none() {
            rows.l4.put_str(row, "udp");
        }
        if self.probe == "net_dev_xmit" && self.get("ret").is_none() {
            rows.ret.put(row, 0);
        }
        self.fields.iter().for_each(|(key, value)| put(rows, row, kind, (key, value)));
    }
}

/// Sets a column by its key in scripts.
fn put(rows: &mut Rows, row: usize, kind: &str, (key, value): (&str, &str)) {
    let number = || value.parse::<u32>().unwrap();
    match key {
        "flow" => {
            let (src, dst) = value.split_once('>').unwrap();
            put(rows, row, kind, ("local", src));
            put(rows, row, kind, ("remote", dst));
        }
        "local" => {
            let (addr, port) = end(value);
            rows.saddr.put_str(row, addr);
            port.into_iter().for_each(|port| rows.sport.put(row, port));
        }
        "remote" => {
            let (addr, port) = end(value);
            rows.daddr.put_str(row, addr);
            port.into_iter().for_each(|port| rows.dport.put(row, port));
        }
        "l4" => rows.l4.put_str(row, value),
        "dev" => rows.dev.put_str(row, value),
        "reason" => rows.reason.put_str(row, value),
        "at" => rows.location.put_str(row, value),
        "stack" => rows.stack.put_str(row, value),
        "cpu" | "kind" => {}
        "iif" => rows.iif.put(row, number()),
        "ns" => rows.netns.put(row, number()),
        "id" => rows.ip_id.put(row, number()),
        "sk" => rows.sk.put(row, number().into()),
        "pid" => rows.pid.put(row, number()),
        "seq" => rows.tcp_seq.put(row, number()),
        "ack" => rows.tcp_ack.put(row, number()),
        "payload" => rows.payload_hash.put(row, number().into()),
        "ret" => rows.ret.put(row, value.parse().unwrap()),
        "flags" => rows.tcp_flags.put_str(row, value),
        "tunnel" => rows.tunnel.put_str(row, value),
        "ctx" => rows.ctx.put_str(row, value),
        "family" => rows.family.put_str(row, value),
        "old" => rows.old_state.put_str(row, value),
        "new" => rows.new_state.put_str(row, value),
        "rmem" => rows.rmem.put(row, number()),
        "rcvbuf" => rows.rcvbuf.put(row, number()),
        "backlog" => rows.backlog.put(row, number()),
        "max_backlog" => rows.max_backlog.put(row, number()),
        "n" => rows.seq.put(row, number().into()),
        "of" => rows.entry.put(row, number().into()),
        "child" => rows.child.put(row, u64::from_str_radix(value, 16).unwrap()),
        "says" if kind == "link" => rows.relation.put_str(row, value),
        "says" => rows.verdict.put_str(row, value),
        "table" => rows.table.put_str(row, value),
        "chain" => rows.chain.put_str(row, value),
        "hook" => rows.hook.put_str(row, value),
        "handle" => rows.handle.put(row, number().into()),
        "step" => rows.step.put_str(row, value),
        "hooks" => rows.hooks.put_str(row, value),
        "len" => rows.len.put(row, number()),
        "icmp" => {
            let (kind, code) = value.split_once('/').unwrap();
            rows.icmp_type.put(row, kind.parse().unwrap());
            rows.icmp_code.put(row, code.parse().unwrap());
        }
        other => panic!("no such key: {other}"),
    }
}

/// One end: `10.0.0.1:5` or `10.0.0.1`.
fn end(text: &str) -> (&str, Option<u16>) {
    match text.split_once(':') {
        Some((addr, port)) => (addr, Some(port.parse().unwrap())),
        None => (text, None),
    }
}
