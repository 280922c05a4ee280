//! The rows of captures in order, decoded ahead by a few threads, in bounded memory: of one capture, or of several
//! merged by time.
//!
//! What a row group tells of losses and clocks is learnt one row group before its rows are seen, so that what ends in
//! a row group can be judged by what was lost until the end of the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use anyhow::{Context, Result};
use ntc::{Batch, Capture, ColumnId};

use crate::event::{Block, Event, RowId};
use crate::source::Source;

/// Threads to decode with at most; each holds one row group.
const MAX_THREADS: usize = 4;
/// Columns that losses and clocks are learnt from.
const LEARNT: [ColumnId; 7] = [
    ColumnId::Ts,
    ColumnId::Cpu,
    ColumnId::Seq,
    ColumnId::Kind,
    ColumnId::Name,
    ColumnId::Value,
    ColumnId::Span,
];

/// Which rows are read, and which of their columns.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Columns.
    columns: Vec<ColumnId>,
    /// Range of time, ns of CLOCK_MONOTONIC.
    range: RangeInclusive<u64>,
}

impl Scan {
    /// Reads these columns of the rows in a range of time.
    pub fn new(columns: impl IntoIterator<Item = ColumnId>, range: RangeInclusive<u64>) -> Self {
        let mut columns: Vec<ColumnId> = LEARNT.into_iter().chain(columns).collect();
        columns.sort_unstable();
        columns.dedup();
        Self { columns, range }
    }

    /// Calls `each` for every event of a capture, in the order of the file, until it breaks.
    pub fn for_each<'a>(
        &self,
        source: &'a Source,
        mut each: impl FnMut(&Event<'_, 'a>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        thread::scope(|scope| {
            let mut blocks = Blocks::ahead(self, source, scope, threads());
            while let Some(block) = blocks.next()? {
                if self.for_each_in(&block, &mut each)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Calls `each` for every event of a row group, until it breaks.
    fn for_each_in<'a>(
        &self,
        block: &Block<'a>,
        each: &mut impl FnMut(&Event<'_, 'a>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        for event in block.events().filter(|event| self.range.contains(&event.ts)) {
            if each(&event)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Calls `each` for every event of several captures, with the index of its capture, in the order of the wall clock
    /// until it breaks. Rows of one capture stay in their order.
    pub fn for_each_merged<'a>(
        scans: &[(&Self, &'a Source)],
        mut each: impl FnMut(usize, &Event<'_, 'a>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        thread::scope(|scope| {
            // Beside many captures each thread's row group would be one too many.
            let ahead = usize::from(scans.len() <= MAX_THREADS);
            let mut cursors = Vec::new();
            let mut heads = BinaryHeap::new();
            for (index, (scan, source)) in scans.iter().enumerate() {
                let mut cursor = Cursor::new(scan, source, scope, ahead);
                heads.extend(cursor.seek()?.map(|at| Reverse((at, index))));
                cursors.push(cursor);
            }
            while let Some(Reverse((_, index))) = heads.pop() {
                let cursor = &mut cursors[index];
                if let Some(event) = cursor.event()
                    && each(index, &event)?.is_break()
                {
                    break;
                }
                cursor.row += 1;
                heads.extend(cursor.seek()?.map(|at| Reverse((at, index))));
            }
            Ok(())
        })
    }
}

/// Threads to decode with.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS)
}

/// A capture's place in a merged scan.
struct Cursor<'scope, 'a> {
    /// Which rows are read.
    scan: &'scope Scan,
    /// The capture.
    source: &'a Source,
    /// Its row groups.
    blocks: Blocks<'scope, 'a>,
    /// The row group that is being read.
    block: Option<Block<'a>>,
    /// The next row in it.
    row: usize,
    /// The greatest time so far: rows keep their order even where their times do not.
    reached: i64,
}

impl<'scope, 'a> Cursor<'scope, 'a> {
    /// Before the first row of a capture.
    fn new<'env>(
        scan: &'env Scan,
        source: &'a Source,
        scope: &'scope Scope<'scope, 'env>,
        ahead: usize,
    ) -> Self
    where
        'a: 'env,
        'env: 'scope,
    {
        let blocks = Blocks::ahead(scan, source, scope, ahead);
        Self { scan, source, blocks, block: None, row: 0, reached: i64::MIN }
    }

    /// Goes to the next row in the range, and gives its wall-clock time.
    fn seek(&mut self) -> Result<Option<i64>> {
        loop {
            while let Some(event) = self.event() {
                if self.scan.range.contains(&event.ts) {
                    let at = self.source.times.realtime(event.ts).unwrap_or(event.ts as i64);
                    self.reached = self.reached.max(at);
                    return Ok(Some(self.reached));
                }
                self.row += 1;
            }
            self.row = 0;
            // Before the next is read, so that there is only one of them.
            self.block = None;
            self.block = self.blocks.next()?;
            if self.block.is_none() {
                return Ok(None);
            }
        }
    }

    /// The row that it stands at.
    fn event(&self) -> Option<Event<'_, 'a>> {
        self.block.as_ref().filter(|block| self.row < block.rows()).map(|block| block.event(self.row))
    }
}

/// The row groups of a capture in order.
struct Blocks<'scope, 'a> {
    /// The capture.
    source: &'a Source,
    /// The row groups that are wanted.
    groups: Vec<usize>,
    /// The next of them.
    next: usize,
    /// Where the decoding threads hand theirs over, each every n-th; none where it is decoded on the spot.
    receivers: Vec<Receiver<Result<Batch>>>,
    /// Columns to read.
    scan: &'scope Scan,
    /// The row group that was learnt from and is next.
    learnt: Option<(usize, Batch)>,
}

impl<'scope, 'a> Blocks<'scope, 'a> {
    /// Has `threads` threads decode ahead.
    fn ahead<'env>(
        scan: &'env Scan,
        source: &'a Source,
        scope: &'scope Scope<'scope, 'env>,
        threads: usize,
    ) -> Self
    where
        'a: 'env,
        'env: 'scope,
    {
        let groups = groups_in(&source.capture, &scan.range);
        let threads = threads.min(groups.len());
        let mut receivers = Vec::new();
        for first in 0..threads {
            let (sender, receiver) = sync_channel(0);
            let mine: Vec<usize> = groups.iter().copied().skip(first).step_by(threads).collect();
            let capture = &source.capture;
            scope.spawn(move || decode(capture, scan, &mine, &sender));
            receivers.push(receiver);
        }
        Self { source, groups, next: 0, receivers, scan, learnt: None }
    }

    /// The next row group.
    fn next(&mut self) -> Result<Option<Block<'a>>> {
        if self.learnt.is_none() {
            self.learnt = self.learn()?;
        }
        // Of many captures, one row group each is enough in memory, where there is no loss to learn of.
        let looks_ahead = !self.receivers.is_empty() || self.source.losses.may_be_any();
        let following = if looks_ahead { self.learn()? } else { None };
        let Some((group, batch)) = std::mem::replace(&mut self.learnt, following) else { return Ok(None) };
        Ok(Some(self.source.block(group, batch)))
    }

    /// Reads the next row group and learns from it.
    fn learn(&mut self) -> Result<Option<(usize, Batch)>> {
        let Some(group) = self.groups.get(self.next).copied() else { return Ok(None) };
        let batch = match self.receivers.len() {
            0 => self.source.capture.read(group, &self.scan.columns)?,
            threads => {
                self.receivers[self.next % threads].recv().context("a decoding thread ended early")??
            }
        };
        self.next += 1;
        self.source.losses.learn(group, &batch);
        self.source.times.learn(&batch);
        Ok(Some((group, batch)))
    }
}

/// The row groups that overlap a range of time.
fn groups_in(capture: &Capture, range: &RangeInclusive<u64>) -> Vec<usize> {
    let overlaps = |g: &ntc::Group| g.first_ts <= *range.end() && g.last_ts >= *range.start();
    capture.groups().iter().enumerate().filter(|(_, g)| overlaps(g)).map(|(i, _)| i).collect()
}

/// Decodes row groups one after the other; stops when nobody wants more.
fn decode(capture: &Capture, scan: &Scan, groups: &[usize], sender: &SyncSender<Result<Batch>>) {
    for group in groups {
        let batch = capture.read(*group, &scan.columns).map_err(Into::into);
        #[cfg(test)]
        tests::delay();
        let failed = batch.is_err();
        if sender.send(batch).is_err() || failed {
            return;
        }
    }
}

/// Row groups that [`RowCache`] keeps.
const CACHED: usize = 4;

/// Rows by their place in a capture: the row groups that were read last are kept.
pub struct RowCache<'a> {
    /// The capture.
    source: &'a Source,
    /// The columns that are read.
    columns: &'static [ColumnId],
    /// The newest last.
    blocks: Vec<(u32, Block<'a>)>,
}

impl<'a> RowCache<'a> {
    /// Has read nothing yet.
    pub fn new(source: &'a Source, columns: &'static [ColumnId]) -> Self {
        Self { source, columns, blocks: Vec::new() }
    }

    /// A row.
    pub fn event(&mut self, id: RowId) -> Result<Event<'_, 'a>> {
        let found = self.blocks.iter().position(|(group, _)| *group == id.group);
        let block = match found {
            Some(position) => self.blocks.remove(position),
            None => {
                let batch = self.source.capture.read(id.group as usize, self.columns)?;
                (id.group, self.source.block(id.group as usize, batch))
            }
        };
        if self.blocks.len() >= CACHED {
            self.blocks.remove(0);
        }
        self.blocks.push(block);
        let (_, block) = &self.blocks[self.blocks.len() - 1];
        Ok(block.event(id.row as usize))
    }
}

#[cfg(test)]
mod tests;
