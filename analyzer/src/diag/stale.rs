//! Duplicate segments: stale when they came, as what the receiver acknowledges next tells.
//!
//! Until 6.14 `tcp_sequence` has one reason for a segment before the receive window and for one beyond it; a
//! duplicate may fail the test of its timestamp first. It comes of a spurious retransmission, which healthy traffic has;
//! the others do not.

use ahash::AHashMap;
use ntc::ColumnId;

use crate::event::{Effect, Event, Flow};

/// Reasons that a duplicate is dropped with, among others.
const MAY_BE_STALE: [&str; 2] = ["TCP_INVALID_SEQUENCE", "TCP_RFC7323_PAWS"];
/// Flows that are watched, and flows that are counted, at most.
const MAX_FLOWS: usize = 4096;

/// Dropped segments that the next acknowledgment tells about.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// The highest of their sequence numbers.
    highest: u32,
    /// How many.
    count: u64,
}

/// Counts stale segments by flow.
#[derive(Clone, Debug, Default)]
pub(super) struct StaleSegments<'a> {
    /// By the flow that acknowledges them.
    waiting: AHashMap<Flow<'a>, Waiting>,
    /// Stale ones by their flow.
    stale: AHashMap<Flow<'a>, u64>,
}

impl<'a> StaleSegments<'a> {
    /// An event came.
    pub fn event(&mut self, event: &Event<'_, 'a>) {
        if event.effect == Effect::Drop {
            self.dropped(event);
        } else if !self.waiting.is_empty() {
            self.acknowledged(event);
        }
    }

    /// How many segments of a flow were stale.
    pub fn of(&self, flow: &Flow<'a>) -> u64 {
        self.stale.get(flow).copied().unwrap_or(0)
    }

    /// A packet was dropped.
    fn dropped(&mut self, event: &Event<'_, 'a>) {
        if !MAY_BE_STALE.contains(&event.name(ColumnId::Reason).text()) {
            return;
        }
        let Some(seq) = event.u32(ColumnId::TcpSeq) else { return };
        let answers = event.flow().reversed();
        if self.waiting.len() < MAX_FLOWS || self.waiting.contains_key(&answers) {
            let waiting = self.waiting.entry(answers).or_insert(Waiting { highest: seq, count: 0 });
            waiting.count += 1;
            if is_before(waiting.highest, seq) {
                waiting.highest = seq;
            }
        }
    }

    /// The other side sent an acknowledgment. Only the next one tells: later ones acknowledge what came since, too.
    fn acknowledged(&mut self, event: &Event<'_, 'a>) {
        let Some(ack) = event.u32(ColumnId::TcpAck) else { return };
        let Some(waiting) = self.waiting.remove(&event.flow()) else { return };
        let flow = event.flow().reversed();
        let has_room = self.stale.len() < MAX_FLOWS || self.stale.contains_key(&flow);
        if has_room && is_before(waiting.highest, ack) {
            *self.stale.entry(flow).or_default() += waiting.count;
        }
    }
}

/// Whether a sequence number comes before another (`before` of include/net/tcp.h; RFC 9293, section 3.4).
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
