//! Segments that were old when they came, told by what the receiver acknowledges next.
//!
//! Until 6.14 `tcp_sequence` has one reason for a segment before the receive window and for one beyond it; an old one
//! may fail the test of its timestamp first. It is a duplicate of what was sent again too early, which healthy traffic
//! has; the others are not.

use rustc_hash::FxHashMap;

use crate::event::{Event, Flow, Hook, NO_NUMBER};

/// Reasons that an old segment is dropped with, among others.
const MAY_BE_OLD: [&str; 2] = ["TCP_INVALID_SEQUENCE", "TCP_RFC7323_PAWS"];
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

/// Counts old segments by flow.
#[derive(Clone, Debug, Default)]
pub(super) struct OldSegments {
    /// By the flow that acknowledges them.
    waiting: FxHashMap<Flow, Waiting>,
    /// Old ones by their flow.
    old: FxHashMap<Flow, u64>,
}

impl OldSegments {
    /// An event came.
    pub fn event(&mut self, event: &Event) {
        if event.hook() == Hook::Drop {
            self.dropped(event);
        } else if !self.waiting.is_empty() && event.tcp_ack != NO_NUMBER {
            self.acknowledged(event);
        }
    }

    /// How many segments of a flow were old.
    pub fn of(&self, flow: &Flow) -> u64 {
        self.old.get(flow).copied().unwrap_or(0)
    }

    /// A packet was dropped.
    fn dropped(&mut self, event: &Event) {
        if !MAY_BE_OLD.contains(&event.reason.text()) || event.tcp_seq == NO_NUMBER {
            return;
        }
        let answers = event.flow().reversed();
        if self.waiting.len() < MAX_FLOWS || self.waiting.contains_key(&answers) {
            let new = Waiting { highest: event.tcp_seq, count: 0 };
            let waiting = self.waiting.entry(answers).or_insert(new);
            waiting.count += 1;
            if is_before(waiting.highest, event.tcp_seq) {
                waiting.highest = event.tcp_seq;
            }
        }
    }

    /// The other side sent an acknowledgment. Only the next one tells: later ones acknowledge what came since, too.
    fn acknowledged(&mut self, event: &Event) {
        let Some(waiting) = self.waiting.remove(&event.flow()) else { return };
        let flow = event.flow().reversed();
        let has_room = self.old.len() < MAX_FLOWS || self.old.contains_key(&flow);
        if has_room && is_before(waiting.highest, event.tcp_ack) {
            *self.old.entry(flow).or_default() += waiting.count;
        }
    }
}

/// Whether a sequence number comes before another (`before` of include/net/tcp.h; RFC 9293, section 3.4).
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
