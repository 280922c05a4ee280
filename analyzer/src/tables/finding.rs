//! What went wrong.

use anyhow::Result;
use ntc::Value;
use ntc::schema::Type::{Bool, Text, U64};

use super::rows::Rows;
use super::{Column, Sink, TableId, column, number, text, time, truth, wall};
use crate::diag::{self, Finding, listed, shares};
use crate::knowledge::Knowledge;
use crate::numbers::Count;
use crate::source::Source;

/// Columns of `findings`.
pub(super) const COLUMNS: [Column; 26] = [
    column("finding", U64, "number of the finding in its capture, from 1, the worst first"),
    column("severity", Text, "error, warning, info or normal"),
    column("cause", Text, "root cause, such as udp-port-closed"),
    column("title", Text, "what is wrong"),
    column("about", Text, "what it is about: an address and port, a device, a flow"),
    column("packets", U64, "packets that it hit; where are_drops is false, what the evidence counts"),
    column("packets_at_least", Bool, "whether there may be more"),
    column("are_drops", Bool, "whether packets are dropped ones"),
    column("flows", U64, "flows that it hit"),
    column("flows_at_least", Bool, "whether there may be more"),
    column("destinations", U64, "addresses and ports that these packets were sent to"),
    column("destinations_at_least", Bool, "whether there may be more"),
    column("first", U64, "first time, ns of CLOCK_MONOTONIC"),
    column("last", U64, "last time, ns of CLOCK_MONOTONIC"),
    time("time", "first time, wall clock (UTC)"),
    column("locations", Text, "functions that dropped, with how many: a (3); b (1)"),
    column("reasons", Text, "drop or reset reasons, with how many"),
    column("rules", Text, "rules of netfilter that dropped, with how many"),
    column("devices", Text, "devices, with how many"),
    column("top_flows", Text, "flows that were hit most, with how many"),
    column("evidence", Text, "what was seen, and how often"),
    column("stack", Text, "folded kernel stack of an example, innermost first: a+0x1;b+0x2"),
    column("means", Text, "what it means"),
    column("advice", Text, "what to do"),
    column("counters", Text, "counters of the kernel that count it"),
    column("touched_by_loss", Bool, "whether events were lost while it happened"),
];

/// Makes the rows of the table.
pub(super) fn build(source: &Source, knowledge: &Knowledge, sink: &mut Sink<'_>) -> Result<()> {
    let (_, findings) = diag::diagnose(source, knowledge)?;
    let mut rows = Rows::new(TableId::Findings);
    for (at, finding) in (1..).zip(&findings) {
        add(&mut rows, at, finding, source, sink)?;
    }
    rows.finish(sink)
}

/// A count, and whether there may be more.
fn counted<'a>(count: Count) -> [Option<Value<'a>>; 2] {
    [number(count.value), truth(count.at_least)]
}

/// Adds a row.
fn add(rows: &mut Rows, at: u64, finding: &Finding, source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let labels = source.labels();
    let device = |at: &diag::Device| labels.device(Some(&at.dev), at.netns);
    let (locations, reasons, rules) =
        (listed(&finding.locations), listed(&finding.reasons), listed(&finding.rules));
    let (devices, flows) = (shares(&finding.devices, device), listed(&finding.top_flows));
    let evidence = listed(&finding.evidence);
    let [packets, packets_at_least] = counted(finding.packets);
    let [flow_count, flows_at_least] = counted(finding.flows);
    let [destinations, destinations_at_least] = counted(finding.destinations);
    let row: [_; COLUMNS.len()] = [
        number(at),
        text(finding.severity.name()),
        text(&finding.cause),
        text(&finding.title),
        text(&finding.about),
        packets,
        packets_at_least,
        truth(finding.are_drops),
        flow_count,
        flows_at_least,
        destinations,
        destinations_at_least,
        number(finding.first),
        number(finding.last),
        wall(source, finding.first),
        text(&locations),
        text(&reasons),
        text(&rules),
        text(&devices),
        text(&flows),
        text(&evidence),
        finding.stack.as_deref().and_then(text),
        text(&finding.means),
        text(&finding.advice),
        text(&finding.counters),
        truth(finding.touched_by_loss),
    ];
    rows.add(&row, sink)
}
