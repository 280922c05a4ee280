//! The captures themselves.

use std::ops::ControlFlow;

use anyhow::Result;
use ntc::schema::Type::{Bool, Text, U32, U64};

use super::rows::Rows;
use super::{Column, Sink, TableId, column, number, text, time, truth, wall};
use crate::scan::Scan;
use crate::source::Source;

/// Columns of `captures`.
pub(super) const COLUMNS: [Column; 16] = [
    column("kernel", Text, "kernel release"),
    column("machine", Text, "architecture"),
    column("cpus", U32, "CPUs that were online"),
    column("boot_id", Text, "which boot of the host: its CLOCK_MONOTONIC is comparable within one only"),
    column("recorder", Text, "name and version of the program that recorded"),
    column("command", Text, "its command line"),
    column("start", U64, "when recording began, ns of CLOCK_MONOTONIC"),
    column("end", U64, "when it ended, ns of CLOCK_MONOTONIC"),
    time("time", "when it began, wall clock (UTC)"),
    column("stopped", Text, "why it ended; null where the recorder did not finish"),
    column("unfinished", Bool, "whether the recorder did not finish: the end may be missing"),
    column("events", U64, "rows of the file"),
    column("lost", U64, "events that were lost while recording: what is missing may have happened"),
    column("not_attached", U64, "probes that could not be attached"),
    column("notes", Text, "what is missing or damaged in the file: a; b"),
    column("groups", U64, "row groups of the file"),
];

/// Makes the row of a capture.
pub(super) fn build(source: &Source, sink: &mut Sink<'_>) -> Result<()> {
    if source.losses.may_be_any() {
        // Of a recorder that did not finish, the rows tell what was lost.
        Scan::new([], 0..=u64::MAX).for_each(source, |_| Ok(ControlFlow::Continue(())))?;
    }
    let (head, metadata) = (source.head(), source.capture.metadata());
    let (command, notes) = (metadata.command.join(" "), head.notes.join("; "));
    let row: [_; COLUMNS.len()] = [
        text(&head.kernel),
        text(&metadata.host.machine),
        Some(metadata.host.cpus).filter(|cpus| *cpus > 0).and_then(number),
        text(&metadata.host.boot_id),
        text(&metadata.recorder),
        text(&command),
        number(head.start),
        number(head.end),
        wall(source, head.start),
        metadata.stopped.as_ref().and_then(|stopped| text(&stopped.why)),
        truth(head.unfinished),
        number(head.events),
        number(head.lost),
        number(head.not_attached.len() as u64),
        text(&notes),
        number(source.capture.groups().len() as u64),
    ];
    let mut rows = Rows::new(TableId::Captures);
    rows.add(&row, sink)?;
    rows.finish(sink)
}
