//! The events of a capture in time order, decoded ahead by a few threads, in bounded memory.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result};
use ntc::{Capture, ColumnId};

use crate::event::{Decoder, Event};

/// Rows that become events at once: small enough that a block stays in the CPU's cache.
const BLOCK_ROWS: usize = 512;
/// Blocks that a thread decodes ahead.
const AHEAD: usize = 16;
/// Threads that decode at most; each holds one row group.
const MAX_THREADS: usize = 4;

/// What a decoding thread hands over: events of one row group, its end, or why it cannot be read.
type Block = Result<Option<Vec<Event>>>;

/// Calls `each` for every event in `range` of time, in the order of the file, until it breaks.
///
/// Each of a few threads reads every n-th row group and waits until its blocks are wanted, so that at most that
/// many row groups are in memory.
pub fn for_each_event(
    capture: &Capture,
    columns: &[ColumnId],
    range: RangeInclusive<u64>,
    mut each: impl FnMut(&Event) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let groups = groups_in(capture, &range);
    let threads = threads().min(groups.len());
    thread::scope(|scope| {
        let mut receivers = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = sync_channel(AHEAD);
            let mine: Vec<usize> = groups.iter().copied().skip(first).step_by(threads).collect();
            scope.spawn(move || decode_groups(capture, columns, &mine, &sender));
            receivers.push(receiver);
        }
        for turn in 0..groups.len() {
            if drain_group(&receivers[turn % threads], &range, &mut each)?.is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// Threads to decode with.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS)
}

/// The row groups that overlap a range of time.
fn groups_in(capture: &Capture, range: &RangeInclusive<u64>) -> Vec<usize> {
    let overlaps = |g: &ntc::Group| g.first_ts <= *range.end() && g.last_ts >= *range.start();
    capture.groups().iter().enumerate().filter(|(_, g)| overlaps(g)).map(|(i, _)| i).collect()
}

/// Decodes row groups one after the other; stops when nobody wants more.
fn decode_groups(capture: &Capture, columns: &[ColumnId], groups: &[usize], sender: &SyncSender<Block>) {
    for group in groups {
        if decode_group(capture, columns, *group, sender).is_break() {
            return;
        }
    }
}

/// Decodes one row group into blocks.
fn decode_group(
    capture: &Capture,
    columns: &[ColumnId],
    group: usize,
    sender: &SyncSender<Block>,
) -> ControlFlow<()> {
    let batch = match capture.read(group, columns) {
        Ok(batch) => batch,
        Err(error) => {
            let _ = sender.send(Err(error.into()));
            return ControlFlow::Break(());
        }
    };
    let decoder = Decoder::new(batch.record());
    for start in (0..decoder.rows()).step_by(BLOCK_ROWS) {
        let end = (start + BLOCK_ROWS).min(decoder.rows());
        hand_over(sender, Some(decoder.events(start..end)))?;
    }
    hand_over(sender, None)
}

/// Hands a block over, or breaks if nobody wants it.
fn hand_over(sender: &SyncSender<Block>, block: Option<Vec<Event>>) -> ControlFlow<()> {
    match sender.send(Ok(block)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// Calls `each` for the events of one row group.
fn drain_group(
    receiver: &Receiver<Block>,
    range: &RangeInclusive<u64>,
    each: &mut impl FnMut(&Event) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    while let Some(events) = receiver.recv().context("a decoding thread ended early")?? {
        for event in events.iter().filter(|e| range.contains(&e.ts)) {
            if each(event)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
