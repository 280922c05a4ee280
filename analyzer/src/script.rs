//! Event scripts for tests: one line an event, `TIME_US SKB PROBE [WORD..] [KEY=VALUE..]`.
//!
//! A bare word is the device (lower case), or the reason (capitals). Each skb keeps the header that it was given last:
//! what `flow=`, `l4=`, `id=` and `seq=` say.

use std::collections::HashMap;

use ntc::schema::Type;
use ntc::{Batch, ColumnId, Metadata, Rows, Value, catalog};

use crate::event::{Block, Event, RowId};
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
        Self::asking(text, &Probes::new(&Metadata::default()))
    }

    /// The same, of which some probes are asked for.
    pub fn asking(text: &str, probes: &Probes) -> Self {
        let mut rows = Rows::new();
        let mut headers = HashMap::new();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.for_each(|line| Line::parse(line, &mut headers).put(&mut rows));
        let names: &'static Names = Box::leak(Box::default());
        let batch = Batch::new(rows.finish().unwrap());
        Self { names, block: Block::new(RowId::default(), batch, names, probes) }
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

/// The keys of scripts that are not the names of their columns.
const SHORT: [(&str, &str); 11] = [
    ("at", "location"),
    ("ns", "netns"),
    ("id", "ip_id"),
    ("seq", "tcp_seq"),
    ("ack", "tcp_ack"),
    ("payload", "payload_hash"),
    ("flags", "tcp_flags"),
    ("old", "old_state"),
    ("new", "new_state"),
    ("n", "seq"),
    ("of", "entry"),
];

/// Sets a column, or several, by a key of scripts.
fn put(rows: &mut Rows, row: usize, kind: &str, (key, value): (&str, &str)) {
    let mut ends = |addr: &str, port: &str| {
        let (text, number) = end(value);
        set(rows, row, addr, text);
        number.into_iter().for_each(|number| set(rows, row, port, number));
    };
    match key {
        "cpu" | "kind" => {}
        "flow" => {
            let (src, dst) = value.split_once('>').unwrap();
            put(rows, row, kind, ("local", src));
            put(rows, row, kind, ("remote", dst));
        }
        "local" => ends("saddr", "sport"),
        "remote" => ends("daddr", "dport"),
        "icmp" => {
            let (of_kind, code) = value.split_once('/').unwrap();
            set(rows, row, "icmp_type", of_kind);
            set(rows, row, "icmp_code", code);
        }
        "echo" => {
            let (id, seq) = value.split_once('/').unwrap();
            set(rows, row, "icmp_id", id);
            set(rows, row, "icmp_seq", seq);
        }
        "says" => set(rows, row, if kind == "link" { "relation" } else { "verdict" }, value),
        key => {
            let column = SHORT.iter().find(|(short, _)| *short == key).map_or(key, |(_, column)| column);
            set(rows, row, column, value);
        }
    }
}

/// Sets a column by its name.
fn set(rows: &mut Rows, row: usize, column: &str, value: &str) {
    let id = ColumnId::from_name(column).unwrap_or_else(|| panic!("no such column: {column}"));
    let value = match id.column().kind {
        Type::Text => Value::Text(value),
        Type::I64 => Value::Signed(value.parse().unwrap()),
        _ if id == ColumnId::Child => Value::Unsigned(u64::from_str_radix(value, 16).unwrap()),
        _ => Value::Unsigned(value.parse().unwrap()),
    };
    rows.put(row, id, value).unwrap();
}

/// One end: `10.0.0.1:5` or `10.0.0.1`.
fn end(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(addr, port)| (addr, Some(port)))
}
