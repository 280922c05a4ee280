//! Ring buffer -> events in time order.
//!
//! CPUs take their time stamps before they reserve, so neighbours in the buffer may be out of order by
//! the length of a BPF program. Events wait in an arena, as long as an earlier one may still appear (the reorder window).

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore, RingBuffer, RingBufferBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::record;
use crate::node::clock;

/// Events taken from the buffer between two looks at the stop flag.
const BATCH: usize = 32_768;
/// How late an event may appear in the buffer, ns: a BPF program takes microseconds, but an interrupt or a paused
/// virtual CPU may come between its time stamp and its place in the buffer.
const LATENESS: u64 = 5_000_000;

/// Raw records with their times.
#[derive(Default)]
struct Arena {
    /// The records, one behind the other, each of whole words.
    words: Vec<u64>,
    /// Time, first word and number of words of each.
    index: Vec<(u64, u32, u32)>,
}

impl Arena {
    /// Adds a record; `event.h` makes them of whole words.
    fn push(&mut self, record: &[u8]) {
        let at = self.words.len();
        self.words.extend(record.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)));
        self.index.push((record::timestamp(record), at as u32, (self.words.len() - at) as u32));
    }

    /// The time of the newest record.
    fn newest(&self) -> u64 {
        self.index.iter().map(|(ts, _, _)| *ts).max().unwrap_or(0)
    }

    /// The bytes of a record.
    fn record(&self, at: u32, length: u32) -> &[u8] {
        record::bytes_of(self.words.get(at as usize..(at + length) as usize).unwrap_or_default())
    }

    /// Hands the records up to `until` to `each` in time order, and moves the rest to `rest`.
    fn release(&mut self, until: u64, rest: &mut Self, mut each: impl FnMut(&[u8])) {
        self.index.sort();
        let ready = self.index.partition_point(|(ts, _, _)| *ts <= until);
        let (now, later) = self.index.split_at(ready);
        now.iter().for_each(|(_, at, length)| each(self.record(*at, *length)));
        later.iter().for_each(|(_, at, length)| rest.push(self.record(*at, *length)));
        self.index.clear();
        self.words.clear();
    }
}

/// The arena that fills, and the one that takes what stays.
#[derive(Default)]
struct Arenas {
    /// Filled by the reader.
    current: Arena,
    /// Empty between releases.
    spare: Arena,
}

impl Arenas {
    /// Hands the records up to `until` to `each` in time order.
    fn release(&mut self, until: u64, each: impl FnMut(&[u8])) {
        self.current.release(until, &mut self.spare, each);
        std::mem::swap(&mut self.current, &mut self.spare);
    }
}

/// What a look at the buffer brought.
pub struct Drained {
    /// Records taken from the buffer.
    pub taken: usize,
    /// Records up to this time were handed over, ns of CLOCK_MONOTONIC.
    pub until: u64,
}

/// Reads the ring buffer.
pub struct Drain<'map> {
    /// libbpf's reader, which calls back into the arena.
    ring: RingBuffer<'map>,
    /// Records that wait for their turn.
    arenas: Rc<RefCell<Arenas>>,
}

impl<'map> Drain<'map> {
    /// Opens the buffer for reading.
    pub fn new(events: &'map impl MapCore) -> Result<Self> {
        let arenas = Rc::new(RefCell::new(Arenas::default()));
        let into = arenas.clone();
        let mut builder = RingBufferBuilder::new();
        builder.add(events, move |record| {
            into.borrow_mut().current.push(record);
            0
        })?;
        Ok(Self { ring: builder.build().context("cannot map the ring buffer")?, arenas })
    }

    /// Waits until the buffer fills up or `patience` is over.
    pub fn wait(&self, patience: Duration) {
        // SAFETY: the descriptor belongs to `ring`, which outlives this call.
        let fd = unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) };
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        // A signal ends the wait early: the caller looks at its flags anyway.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
    }

    /// Takes up to a batch of records, and hands those whose turn has come to `each`.
    pub fn drain(&self, each: impl FnMut(&[u8])) -> Result<Drained> {
        let until = clock::now().saturating_sub(LATENESS);
        let taken = self.take()?;
        // A full batch may have left earlier records of another CPU behind the ones it took.
        let newest = self.arenas.borrow().current.newest();
        let until = if taken == BATCH { until.min(newest.saturating_sub(LATENESS)) } else { until };
        self.arenas.borrow_mut().release(until, each);
        Ok(Drained { taken, until })
    }

    /// Takes all records that are left, once the programs are detached.
    pub fn finish(&self, mut each: impl FnMut(&[u8])) -> Result<()> {
        while self.take()? > 0 {
            let newest = self.arenas.borrow().current.newest();
            self.arenas.borrow_mut().release(newest.saturating_sub(LATENESS), &mut each);
        }
        self.arenas.borrow_mut().release(u64::MAX, each);
        Ok(())
    }

    /// Hands over what still waits for its turn.
    pub fn finish_arena(&self, each: impl FnMut(&[u8])) {
        self.arenas.borrow_mut().release(u64::MAX, each);
    }

    /// Takes up to a batch of records into the arena.
    fn take(&self) -> Result<usize> {
        match self.ring.consume_raw_n(BATCH) {
            taken if taken >= 0 => Ok(taken.cast_unsigned() as usize),
            error => bail!("cannot read the ring buffer: {}", std::io::Error::from_raw_os_error(-error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ts: u64) -> Vec<u8> {
        [ts.to_ne_bytes(), (ts * 10).to_ne_bytes()].concat()
    }

    #[test]
    fn records_leave_in_time_order_and_late_ones_wait() {
        let mut arenas = Arenas::default();
        [5, 3, 9, 4].iter().for_each(|ts| arenas.current.push(&record(*ts)));
        let mut seen = Vec::new();
        arenas.release(5, |r| seen.push(record::timestamp(r)));
        assert_eq!(seen, [3, 4, 5]);
        arenas.current.push(&record(8));
        arenas.release(u64::MAX, |r| {
            assert_eq!(r.len(), 16);
            seen.push(record::timestamp(r));
        });
        assert_eq!(seen, [3, 4, 5, 8, 9]);
    }
}
