//! The messages between two hosts.

use super::assembly;
use super::cloud::{Cloud, Point};
use super::fit::Points;
use super::offset::{Offset, Origin};
use super::scale::{Wall, difference, saturated};
use super::stability::Stability;

/// A message that both hosts saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// When the sender saw it last, ns of its RAW clock.
    pub sent: i64,
    /// When the receiver saw it first, ns of its RAW clock.
    pub received: i64,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From host A to host B.
    Forward,
    /// From host B to host A.
    Reverse,
}

/// Messages between two hosts, A and B, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// The first message; times and offsets are counted from it, so that they are small.
    origin: Option<Origin>,
    /// From A to B.
    forward: Cloud,
    /// From B to A.
    reverse: Cloud,
}

impl Pair {
    /// Adds a message. They may come in any order.
    pub fn add(&mut self, direction: Direction, message: Message) {
        let (a, b) = match direction {
            Direction::Forward => (message.sent, message.received),
            Direction::Reverse => (message.received, message.sent),
        };
        let offset = i128::from(b) - i128::from(a);
        let origin = *self.origin.get_or_insert(Origin { time: a, offset: saturated(offset) });
        let point = (difference(a, origin.time), (offset - i128::from(origin.offset)) as f64);
        match direction {
            Direction::Forward => self.forward.add(Point { x: point.0, y: point.1 }),
            Direction::Reverse => self.reverse.add(Point { x: point.0, y: -point.1 }),
        }
    }

    /// B's clock against A's, as far as clocks of that stability and these messages say. With messages in one direction
    /// the wall clocks are asked, too, and without any they alone. `None` where there is neither.
    pub fn offset(&self, stability: Stability, wall: &Wall) -> Option<Offset> {
        let Some(origin) = self.origin else { return assembly::of_wall(wall) };
        let (forward, reverse) = (self.forward.sorted(), self.reverse.sorted());
        let points = Points { forward: &forward, reverse: &reverse };
        assembly::of_messages(origin, points, stability, wall)
    }
}
