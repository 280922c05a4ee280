//! TCP segments that were sent and not acknowledged yet, by their numbers: no life is needed, and no function probed.

use std::collections::VecDeque;

use ahash::AHashMap;
use ntc::ColumnId;

use super::fold::{Counted, Ends};
use super::model::Model;
use super::walk::Step;
use crate::event::{Event, Flow, Payloads};
use crate::lifecycle::Sighting;

/// Segments that await their acknowledgment at most, and connections of which one did.
const MAX_SEGMENTS: usize = 64 << 10;
/// Half of the numbers: what is further ahead is behind (RFC 9293, 3.4).
const HALF: u32 = 1 << 31;

/// Segments in flight.
#[derive(Debug, Default)]
pub struct Unacked<'a> {
    /// By namespace and flow of the sender.
    connections: AHashMap<(u32, Flow<'a>), Connection<'a>>,
    /// How many bytes of payload packets have.
    payloads: Payloads,
    /// All segments.
    count: usize,
    /// Segments that were sent again, so that an acknowledgment may be of either (Karn).
    again: u64,
    /// Whether some found no room.
    cut: bool,
}

/// What one side of a connection has sent.
#[derive(Debug, Default)]
struct Connection<'a> {
    /// The number behind the last byte that was sent.
    next: Option<u32>,
    /// The numbers behind the segments in flight, and where they were sent, in the order of their numbers.
    segments: VecDeque<(u32, Step<'a>)>,
}

impl<'a> Unacked<'a> {
    /// Takes an event. Where it acknowledges segments, gives the flow of each, where it was sent, and where its
    /// acknowledgment came.
    pub fn event(&mut self, model: &Model, event: &Event<'_, 'a>) -> Option<Vec<(Flow<'a>, [Step<'a>; 2])>> {
        let (sent, answering) = (model.sent, model.answering);
        let payload = self.payloads.of(event);
        let seen = Sighting::of(event)?;
        if let Some(stage) = model.stage_of(&seen, sent, None) {
            self.sent(event, payload, Step { stage, seen });
        }
        let stage = model.stage_of(&seen, answering, None)?;
        self.acked(event, Step { stage, seen })
    }

    /// A segment is sent: only the host's own, since what it forwards has its acknowledgment elsewhere.
    fn sent(&mut self, event: &Event<'_, 'a>, payload: Option<u32>, step: Step<'a>) -> Option<()> {
        let (seq, len) = (event.u32(ColumnId::TcpSeq)?, payload?);
        if event.was_received() || len == 0 {
            return None;
        }
        let key = (step.seen.at.netns, event.flow());
        self.make_room();
        if self.count.max(self.connections.len()) >= MAX_SEGMENTS {
            self.cut = true;
            return None;
        }
        let connection = self.connections.entry(key).or_default();
        let end = seq.wrapping_add(len);
        let is_new = connection.next.is_none_or(|next| is_at_or_behind(seq, next));
        if is_new {
            connection.next = Some(end);
            connection.segments.push_back((end, step));
            self.count += 1;
        } else {
            // The same bytes by another probe of the stage are no retransmission.
            let same =
                |(known, first): &(u32, Step<'a>)| *known == end && first.seen.asked != step.seen.asked;
            let before = connection.segments.len();
            if !connection.segments.iter().any(same) {
                connection.segments.retain(|(known, _)| !is_at_or_behind(*known, seq.wrapping_add(1)));
            }
            let gone = before - connection.segments.len();
            self.count -= gone;
            self.again += gone as u64;
        }
        Some(())
    }

    /// Forgets connections of which nothing is in flight, where those are most of too many.
    fn make_room(&mut self) {
        if self.connections.len() >= MAX_SEGMENTS && self.count < MAX_SEGMENTS / 2 {
            self.connections.retain(|_, connection| !connection.segments.is_empty());
        }
    }

    /// A segment acknowledges what was sent before this number.
    fn acked(&mut self, event: &Event<'_, 'a>, step: Step<'a>) -> Option<Vec<(Flow<'a>, [Step<'a>; 2])>> {
        let flow = event.flow().reversed();
        let ack =
            event.u32(ColumnId::TcpAck).filter(|_| event.name(ColumnId::TcpFlags).text().contains('A'))?;
        let connection = self.connections.get_mut(&(step.seen.at.netns, flow))?;
        let mut found = Vec::new();
        while let Some((end, sent)) = connection.segments.front().copied()
            && is_at_or_behind(ack, end)
        {
            connection.segments.pop_front();
            found.push((flow, [sent, step]));
        }
        self.count -= found.len();
        let flags = event.name(ColumnId::TcpFlags);
        if flags.text().contains(['F', 'R']) && connection.segments.is_empty() {
            self.connections.remove(&(step.seen.at.netns, flow));
        }
        Some(found)
    }

    /// Counts what is left when the capture ends.
    pub fn finish(&mut self, counted: &mut Counted) {
        counted.unanswered += Ends { open: self.count as u64, elsewhere: self.again, ..Ends::default() };
        counted.cut |= self.cut;
    }
}

/// Whether a number is the same as another or behind it.
fn is_at_or_behind(number: u32, other: u32) -> bool {
    number.wrapping_sub(other) < HALF
}
