//! What the metadata of a capture says of the node: interfaces and probes.

use std::collections::BTreeMap;

use anyhow::Result;
use ntc::catalog;
use ntc::schema::Type::{Bool, Text, U32, U64};
use ntc::{Count, Value};

use super::rows::Rows;
use super::{Column, Sink, TableId, column, direction, number, text, time, truth, wall};
use crate::source::Source;

/// Columns of `interfaces`.
pub(super) const INTERFACES: [Column; 6] = [
    column("netns", U32, "network namespace, inode"),
    column("netns_name", Text, "its name, where it has one under /run/netns"),
    column("ifindex", U32, "index in its namespace"),
    column("name", Text, "name"),
    column("since", U64, "when it was first seen under this name, ns of CLOCK_MONOTONIC"),
    time("time", "the same, wall clock (UTC)"),
];

/// Columns of `probes`.
pub(super) const PROBES: [Column; 13] = [
    column("probe", Text, "kernel tracepoint or function"),
    column(
        "backend",
        Text,
        "how it was attached: tp_btf, raw_tp, fentry, kprobe, kprobe.multi; null where it is not",
    ),
    column("error", Text, "why it is not attached"),
    column("absent", Bool, "whether this kernel has no such function, so that no packet passed it"),
    column(
        "returns",
        Bool,
        "whether its returns were recorded; null where it is not attached, or the recorder did not tell",
    ),
    column("what", Text, "what happens there"),
    column("group", Text, "group of the catalog"),
    column("stage", Text, "station on a packet's way that it is at, such as ip-in"),
    column("direction", Text, "in or out: which way the stage leads a packet; null where both"),
    column("counted", U64, "events that it counted in the kernel; null where the recorder counted nothing"),
    column("recorded", U64, "events that stand in the file"),
    column("lost", U64, "events for which the buffer had no room"),
    column("missed", U64, "runs that the kernel refused"),
];

/// Makes the rows of `interfaces`.
pub(super) fn build_interfaces(source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let metadata = source.capture.metadata();
    let mut rows = Rows::new(TableId::Interfaces);
    for interface in &metadata.interfaces {
        let row: [_; INTERFACES.len()] = [
            number(interface.netns),
            metadata.host.netns_names.get(&interface.netns).and_then(|name| text(name)),
            number(interface.ifindex),
            text(&interface.name),
            number(interface.since),
            wall(source, interface.since),
        ];
        rows.add(&row, sink)?;
    }
    rows.finish(sink)
}

/// Makes the rows of `probes`.
pub(super) fn build_probes(source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let metadata = source.capture.metadata();
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for count in &metadata.totals.counts {
        let sum = counts.entry(&count.probe).or_default();
        sum.counted = sum.counted.saturating_add(count.counted);
        sum.recorded = sum.recorded.saturating_add(count.recorded);
        sum.lost = sum.lost.saturating_add(count.lost);
        sum.missed = sum.missed.saturating_add(count.missed);
    }
    let mut rows = Rows::new(TableId::Probes);
    for probe in &metadata.probes {
        add_probe(&mut rows, probe, counts.get(probe.name.as_str()), sink)?;
    }
    rows.finish(sink)
}

/// Adds a row of `probes`.
fn add_probe(
    rows: &mut Rows,
    probe: &ntc::Probe,
    counted: Option<&Count>,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let entry = catalog::by_name(&probe.name);
    let stage = entry.and_then(|entry| entry.stage);
    let count = |of: fn(&Count) -> u64| counted.map(|count| Value::Unsigned(of(count)));
    let row: [_; PROBES.len()] = [
        text(&probe.name),
        text(&probe.backend),
        probe.error.as_deref().and_then(text),
        truth(probe.absent),
        probe.returns.and_then(truth),
        entry.and_then(|entry| text(entry.what)),
        entry.and_then(|entry| text(entry.group.name)),
        stage.and_then(|stage| text(stage.name)),
        stage.and_then(|stage| direction(stage.direction)),
        count(|count| count.counted),
        count(|count| count.recorded),
        count(|count| count.lost),
        count(|count| count.missed),
    ];
    rows.add(&row, sink)
}
