//! The rows of captures in order, decoded ahead by a few threads, in bounded memory: of one capture, or of several
//! merged by time.
//!
//! What a row group tells of losses and clocks is learnt one row group before its rows are seen, so that what ends in
//! a row group can be judged by what was lost until the end of the next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use anyhow::{Context, Result};
use ntc::{Batch, Capture, ColumnId};

use crate::event::{Block, Event, RowId};
use crate::source::Source;

/// Threads to decode with at most; each holds one row group.
const MAX_THREADS: usize = 4;
/// Rows that are held of all captures together, where there are more than threads. With all its columns a row takes 100 to
/// 400 bytes.
const HELD_ROWS: usize = 2 << 20;
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
            let mut blocks = Ahead::new(self, source, scope, threads());
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
            let mut cursors = Vec::new();
            let mut heads = BinaryHeap::new();
            for (index, (scan, source)) in scans.iter().enumerate() {
                // Many captures have no room for a whole row group each, let alone for one that is decoded ahead.
                let blocks = match scans.len() <= MAX_THREADS {
                    true => Blocks::Ahead(Ahead::new(scan, source, scope, 1)),
                    false => Blocks::InParts(Parts::new(scan, source, HELD_ROWS / scans.len())),
                };
                let mut cursor = Cursor { scan, source, blocks, block: None, row: 0, reached: i64::MIN };
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

impl<'a> Cursor<'_, 'a> {
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

/// The rows of a capture in order.
enum Blocks<'scope, 'a> {
    /// Whole row groups.
    Ahead(Ahead<'a>),
    /// Parts of row groups.
    InParts(Parts<'scope, 'a>),
}

impl<'a> Blocks<'_, 'a> {
    /// The next rows.
    fn next(&mut self) -> Result<Option<Block<'a>>> {
        match self {
            Self::Ahead(ahead) => ahead.next(),
            Self::InParts(parts) => parts.next(),
        }
    }
}

/// The row groups of a capture, decoded ahead by threads.
struct Ahead<'a> {
    /// The capture.
    source: &'a Source,
    /// The row groups that are wanted.
    groups: Vec<usize>,
    /// The next of them.
    next: usize,
    /// Where the decoding threads hand theirs over, each every n-th.
    receivers: Vec<Receiver<Result<Batch>>>,
    /// The row group that was learnt from and is next.
    learnt: Option<(usize, Batch)>,
}

impl<'a> Ahead<'a> {
    /// Has `threads` threads decode.
    fn new<'scope, 'env>(
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
        Self { source, groups, next: 0, receivers, learnt: None }
    }

    /// The next row group.
    fn next(&mut self) -> Result<Option<Block<'a>>> {
        if self.learnt.is_none() {
            self.learnt = self.learn()?;
        }
        let following = self.learn()?;
        let Some((group, batch)) = mem::replace(&mut self.learnt, following) else { return Ok(None) };
        let fits = self.source.filter.mask(&batch);
        Ok(Some(self.source.block(RowId::first_of(group), batch, fits)))
    }

    /// Receives the next row group and learns from it.
    fn learn(&mut self) -> Result<Option<(usize, Batch)>> {
        let Some(group) = self.groups.get(self.next).copied() else { return Ok(None) };
        let receiver = &self.receivers[self.next % self.receivers.len()];
        let batch = receiver.recv().context("a decoding thread ended early")??;
        self.next += 1;
        self.source.learn(group, &batch);
        Ok(Some((group, batch)))
    }
}

/// The row groups of a capture, a part at a time: each part takes decoding the row group again.
struct Parts<'scope, 'a> {
    /// Columns to read.
    scan: &'scope Scan,
    /// The capture.
    source: &'a Source,
    /// Rows of a part at most.
    most: usize,
    /// The row groups that are wanted.
    groups: Vec<usize>,
    /// How many of them were begun.
    begun: usize,
    /// How many of them were learnt from.
    learnt: usize,
    /// Rows of the one that was begun last, as far as they were not read.
    rest: Range<usize>,
    /// Which of its rows fit the filter expression, if there is one.
    fits: Option<Vec<bool>>,
}

impl<'scope, 'a> Parts<'scope, 'a> {
    /// Before the first row.
    fn new(scan: &'scope Scan, source: &'a Source, most: usize) -> Self {
        let groups = groups_in(&source.capture, &scan.range);
        Self { scan, source, most, groups, begun: 0, learnt: 0, rest: 0..0, fits: None }
    }

    /// The next part.
    fn next(&mut self) -> Result<Option<Block<'a>>> {
        if self.rest.is_empty() && !self.begin()? {
            return Ok(None);
        }
        let group = self.groups[self.begun - 1];
        let rows = self.rest.start..self.rest.end.min(self.rest.start + self.most);
        self.rest.start = rows.end;
        let batch = self.source.capture.read_rows(group, rows.clone(), &self.scan.columns)?;
        let first = RowId { row: rows.start as u32, ..RowId::first_of(group) };
        let fits = self.fits.as_ref().map(|fits| fits[rows].to_vec());
        Ok(Some(self.source.block(first, batch, fits)))
    }

    /// Begins the next row group, if there is one.
    fn begin(&mut self) -> Result<bool> {
        let Some(group) = self.groups.get(self.begun).copied() else { return Ok(false) };
        self.begun += 1;
        while self.learnt <= self.begun && self.learnt < self.groups.len() {
            let group = self.groups[self.learnt];
            self.source.learn(group, &self.source.capture.read(group, &LEARNT)?);
            self.learnt += 1;
        }
        // Whether a row fits may depend on any row before it.
        let asked: Vec<ColumnId> = self.source.filter.columns().collect();
        self.fits = self.source.filter.mask(&self.source.capture.read(group, &asked)?);
        self.rest = 0..self.source.capture.groups()[group].rows as usize;
        Ok(true)
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
                (id.group, self.source.block(RowId { row: 0, ..id }, batch, None))
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
