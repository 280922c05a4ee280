//! Rows of a capture as plain values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ntc::columns::TextColumn;
use ntc::{Batch, Capture, ColumnId, Value};

/// Text of a column; empty where the row has none.
pub type Text = Arc<str>;

/// One row; a number is `None` and a text empty where the row has no value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub ts: u64,
    pub cpu: u16,
    pub seq: Option<u64>,
    pub kind: Text,
    pub probe: Text,
    pub pid: Option<u32>,
    pub comm: Text,
    pub ctx: Text,
    pub skb: Option<u64>,
    pub netns: Option<u32>,
    pub dev: Text,
    pub len: Option<u32>,
    pub protocol: Text,
    pub saddr: Text,
    pub daddr: Text,
    pub l4: Text,
    pub sport: Option<u16>,
    pub dport: Option<u16>,
    pub tcp_flags: Text,
    pub icmp_type: Option<u8>,
    pub reason: Text,
    pub location: Text,
    pub stack: Text,
    pub old_state: Text,
    pub new_state: Text,
    pub ca_state: Text,
    pub srtt: Option<u32>,
    pub min_rtt: Option<u32>,
    pub value: Option<i64>,
}

/// All rows of a capture, in the order of the file.
pub fn read(capture: &Capture) -> Vec<Row> {
    (0..capture.groups().len())
        .flat_map(|group| rows(&capture.read(group, &ColumnId::ALL).unwrap()))
        .collect()
}

/// The rows of a batch.
fn rows(batch: &Batch) -> Vec<Row> {
    let number = |column, row| batch.unsigned(column).get(row);
    let mut texts = HashMap::new();
    let mut text =
        |column, row: usize| texts.entry(column).or_insert_with(|| Texts::new(batch, column)).get(row);
    let row = |i: usize| Row {
        ts: number(ColumnId::Ts, i).unwrap(),
        cpu: number(ColumnId::Cpu, i).unwrap() as u16,
        seq: number(ColumnId::Seq, i),
        kind: text(ColumnId::Kind, i),
        probe: text(ColumnId::Probe, i),
        pid: number(ColumnId::Pid, i).map(|n| n as u32),
        comm: text(ColumnId::Comm, i),
        ctx: text(ColumnId::Ctx, i),
        skb: number(ColumnId::Skb, i).filter(|skb| *skb != 0),
        netns: number(ColumnId::Netns, i).map(|n| n as u32),
        dev: text(ColumnId::Dev, i),
        len: number(ColumnId::Len, i).map(|n| n as u32),
        protocol: text(ColumnId::Protocol, i),
        saddr: text(ColumnId::Saddr, i),
        daddr: text(ColumnId::Daddr, i),
        l4: text(ColumnId::L4, i),
        sport: number(ColumnId::Sport, i).map(|n| n as u16),
        dport: number(ColumnId::Dport, i).map(|n| n as u16),
        tcp_flags: text(ColumnId::TcpFlags, i),
        icmp_type: number(ColumnId::IcmpType, i).map(|n| n as u8),
        reason: text(ColumnId::Reason, i),
        location: text(ColumnId::Location, i),
        stack: text(ColumnId::Stack, i),
        old_state: text(ColumnId::OldState, i),
        new_state: text(ColumnId::NewState, i),
        ca_state: text(ColumnId::CaState, i),
        srtt: number(ColumnId::Srtt, i).map(|n| n as u32),
        min_rtt: number(ColumnId::MinRtt, i).map(|n| n as u32),
        value: match batch.value(ColumnId::Value, i) {
            Some(Value::Signed(value)) => Some(value),
            _ => None,
        },
    };
    (0..batch.rows()).map(row).collect()
}

/// A column of texts, each of which is kept once.
struct Texts<'a> {
    column: Option<TextColumn<'a>>,
    known: Vec<Text>,
}

impl<'a> Texts<'a> {
    fn new(batch: &'a Batch, column: ColumnId) -> Self {
        let column = batch.text(column);
        let values = column.iter().flat_map(|column| column.values().iter());
        Self { known: values.map(|value| value.unwrap_or_default().into()).collect(), column }
    }

    fn get(&self, row: usize) -> Text {
        let key = self.column.and_then(|column| column.key(row));
        key.map_or_else(Text::default, |key| self.known[key].clone())
    }
}

/// How many rows each probe has on each CPU, without reading more than that.
pub fn counts(capture: &Capture) -> BTreeMap<(String, u16), u64> {
    let mut counts = BTreeMap::new();
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &[ColumnId::Cpu, ColumnId::Seq, ColumnId::Probe]).unwrap();
        let probes = batch.text(ColumnId::Probe);
        // Rows of clocks and losses have no number.
        for (row, cpu, _) in numbered(&batch) {
            let probe = probes.and_then(|probes| probes.get(row)).unwrap_or_default();
            *counts.entry((probe.to_owned(), cpu)).or_default() += 1;
        }
    }
    counts
}

/// The rows of a batch that have a number: row, CPU, number.
fn numbered(batch: &Batch) -> impl Iterator<Item = (usize, u16, u64)> {
    let (cpus, seqs) = (batch.unsigned(ColumnId::Cpu), batch.unsigned(ColumnId::Seq));
    (0..batch.rows()).filter_map(move |row| Some((row, cpus.get(row)? as u16, seqs.get(row)?)))
}

/// The numbers of the events, by CPU.
pub fn numbers(capture: &Capture) -> BTreeMap<u16, BTreeSet<u64>> {
    let mut numbers: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &[ColumnId::Cpu, ColumnId::Seq]).unwrap();
        for (_, cpu, seq) in numbered(&batch) {
            assert!(numbers.entry(cpu).or_default().insert(seq), "number {seq} twice on CPU {cpu}");
        }
    }
    numbers
}

/// Events that are missing between the first and the last number of each CPU.
pub fn gaps(numbers: &BTreeMap<u16, BTreeSet<u64>>) -> u64 {
    let gap = |seqs: &BTreeSet<u64>| Some(seqs.last()? - seqs.first()? + 1 - seqs.len() as u64);
    numbers.values().filter_map(gap).sum()
}
