//! What the recorder wrote of its own: samples of clocks, and losses.

use std::ops::ControlFlow;

use anyhow::Result;
use ntc::schema::Type::{I64, Text, U16, U64};
use ntc::{ColumnId, Value};

use super::rows::Rows;
use super::{Column, Sink, TableId, column, number, time, wall};
use crate::event::{Effect, Event};
use crate::scan::Scan;
use crate::source::Source;

/// Columns of `losses`.
pub(super) const LOSSES: [Column; 6] = [
    column("ts", U64, "end of the time in which they were lost, ns of CLOCK_MONOTONIC"),
    time("time", "the same, wall clock (UTC)"),
    column("span", U64, "how long before ts that time began, ns"),
    column("cpu", U16, "CPU"),
    column("probe", Text, "probe"),
    column("lost", I64, "events that were lost"),
];

/// Columns of `clocks`.
pub(super) const CLOCKS: [Column; 6] = [
    column("ts", U64, "when it was taken, ns of CLOCK_MONOTONIC"),
    time("time", "the same, wall clock (UTC)"),
    column(
        "name",
        Text,
        "the clock: REALTIME, BOOTTIME, TAI, RAW; ADJ_FREQ: how much the kernel corrects it",
    ),
    column("value", I64, "what it showed, ns; ADJ_FREQ: 2^-16 ppm"),
    column("offset", I64, "value - ts, ns; null for ADJ_FREQ"),
    column("span", U64, "width of the bracket in which it was taken, ns: twice the error bound"),
];

/// Makes the rows of both tables.
pub(super) fn build(source: &Source, wanted: &[TableId], sink: &mut Sink<'_>) -> Result<()> {
    let mut losses = Rows::if_wanted(TableId::Losses, wanted);
    let mut clocks = Rows::if_wanted(TableId::Clocks, wanted);
    Scan::new([ColumnId::Probe], 0..=u64::MAX).for_each(source, |event| {
        match (event.effect, &mut losses, &mut clocks) {
            (Effect::Loss, Some(losses), _) => add_loss(losses, event, source, sink)?,
            (Effect::Clock, _, Some(clocks)) => add_clock(clocks, event, source, sink)?,
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    [losses, clocks].into_iter().flatten().try_for_each(|rows| rows.finish(sink))
}

/// Adds a row of `losses`.
fn add_loss(rows: &mut Rows, event: &Event<'_, '_>, source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let row: [_; LOSSES.len()] = [
        number(event.ts),
        wall(source, event.ts),
        event.value(ColumnId::Span),
        number(event.cpu),
        event.value(ColumnId::Probe),
        event.value(ColumnId::Value),
    ];
    rows.add(&row, sink)
}

/// Adds a row of `clocks`.
fn add_clock(rows: &mut Rows, event: &Event<'_, '_>, source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    let is_clock = event.name(ColumnId::Name) != "ADJ_FREQ";
    let offset =
        event.i64(ColumnId::Value).filter(|_| is_clock).map(|value| value.wrapping_sub_unsigned(event.ts));
    let row: [_; CLOCKS.len()] = [
        number(event.ts),
        wall(source, event.ts),
        event.value(ColumnId::Name),
        event.value(ColumnId::Value),
        offset.map(Value::Signed),
        event.value(ColumnId::Span),
    ];
    rows.add(&row, sink)
}
