//! Rows of a capture as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrowPrimitiveType, RecordBatch};
use ntc::Capture;

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
    pub value: Option<i64>,
}

/// The columns of [`Row`].
const COLUMNS: [&str; 27] = [
    "ts",
    "cpu",
    "seq",
    "kind",
    "probe",
    "pid",
    "comm",
    "ctx",
    "skb",
    "netns",
    "dev",
    "len",
    "protocol",
    "saddr",
    "daddr",
    "l4",
    "sport",
    "dport",
    "tcp_flags",
    "icmp_type",
    "reason",
    "location",
    "stack",
    "old_state",
    "new_state",
    "ca_state",
    "value",
];

/// All rows of a capture, in the order of the file.
pub fn read(capture: &Capture) -> Vec<Row> {
    (0..capture.groups().len()).flat_map(|group| rows(&capture.read(group, &COLUMNS).unwrap())).collect()
}

/// The rows of a batch.
fn rows(batch: &RecordBatch) -> Vec<Row> {
    let text = |name| texts(batch, name);
    let (kind, probe, comm, ctx) = (text("kind"), text("probe"), text("comm"), text("ctx"));
    let (dev, protocol, saddr, daddr) = (text("dev"), text("protocol"), text("saddr"), text("daddr"));
    let (l4, tcp_flags, reason, location) = (text("l4"), text("tcp_flags"), text("reason"), text("location"));
    let (stack, old_state, new_state) = (text("stack"), text("old_state"), text("new_state"));
    let ca_state = text("ca_state");
    let row = |i: usize| Row {
        ts: number::<UInt64Type>(batch, "ts", i).unwrap(),
        cpu: number::<UInt16Type>(batch, "cpu", i).unwrap(),
        seq: number::<UInt64Type>(batch, "seq", i),
        kind: kind[i].clone(),
        probe: probe[i].clone(),
        pid: number::<UInt32Type>(batch, "pid", i),
        comm: comm[i].clone(),
        ctx: ctx[i].clone(),
        skb: number::<UInt64Type>(batch, "skb", i).filter(|skb| *skb != 0),
        netns: number::<UInt32Type>(batch, "netns", i),
        dev: dev[i].clone(),
        len: number::<UInt32Type>(batch, "len", i),
        protocol: protocol[i].clone(),
        saddr: saddr[i].clone(),
        daddr: daddr[i].clone(),
        l4: l4[i].clone(),
        sport: number::<UInt16Type>(batch, "sport", i),
        dport: number::<UInt16Type>(batch, "dport", i),
        tcp_flags: tcp_flags[i].clone(),
        icmp_type: number::<UInt8Type>(batch, "icmp_type", i),
        reason: reason[i].clone(),
        location: location[i].clone(),
        stack: stack[i].clone(),
        old_state: old_state[i].clone(),
        new_state: new_state[i].clone(),
        ca_state: ca_state[i].clone(),
        value: number::<Int64Type>(batch, "value", i),
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A number of a row.
fn number<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str, row: usize) -> Option<T::Native> {
    let column = batch.column_by_name(name)?.as_primitive::<T>();
    column.is_valid(row).then(|| column.value(row))
}

/// A column of texts.
fn texts(batch: &RecordBatch, name: &str) -> Vec<Text> {
    let column = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
    let values = column.values().as_string::<i32>();
    let known: Vec<Text> = values.iter().map(|value| value.unwrap_or_default().into()).collect();
    let empty = Text::default();
    column
        .keys()
        .iter()
        .map(|key| key.map_or_else(|| empty.clone(), |key| known[key as usize].clone()))
        .collect()
}

/// How many rows each probe has on each CPU, without reading more than that.
pub fn counts(capture: &Capture) -> BTreeMap<(String, u16), u64> {
    let mut counts = BTreeMap::new();
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &["cpu", "seq", "probe"]).unwrap();
        for (row, probe) in texts(&batch, "probe").iter().enumerate() {
            // Rows of clocks and losses have no number.
            if number::<UInt64Type>(&batch, "seq", row).is_some() {
                let cpu = number::<UInt16Type>(&batch, "cpu", row).unwrap();
                *counts.entry((probe.to_string(), cpu)).or_default() += 1;
            }
        }
    }
    counts
}

/// The numbers of the events, by CPU.
pub fn numbers(capture: &Capture) -> BTreeMap<u16, BTreeSet<u64>> {
    let mut numbers: BTreeMap<u16, BTreeSet<u64>> = BTreeMap::new();
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &["cpu", "seq"]).unwrap();
        for row in 0..batch.num_rows() {
            if let Some(seq) = number::<UInt64Type>(&batch, "seq", row) {
                let cpu = number::<UInt16Type>(&batch, "cpu", row).unwrap();
                assert!(numbers.entry(cpu).or_default().insert(seq), "number {seq} twice on CPU {cpu}");
            }
        }
    }
    numbers
}

/// Events that are missing between the first and the last number of each CPU.
pub fn gaps(numbers: &BTreeMap<u16, BTreeSet<u64>>) -> u64 {
    let gap = |seqs: &BTreeSet<u64>| Some(seqs.last()? - seqs.first()? + 1 - seqs.len() as u64);
    numbers.values().filter_map(gap).sum()
}
