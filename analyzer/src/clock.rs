//! The clock of one host against that of another, learned from the messages between them: offset, skew, and the
//! interval in which the true offset must lie. Knows nothing of captures.
//!
//! # What messages say
//! `D(t)` is what host B's clock shows more than host A's when A's shows `t`. A message from A to B, sent at `a` and
//! received at `b`, was not received before it was sent, and clocks run forwards, so `D(a) <= b - a`. One from B to A,
//! sent at `b` and received at `a`, says `D(a) >= b - a`. Nothing else is certain: two directions only ever give the
//! **sum** of both delays. The interval of `D` is therefore as wide as the least round trip of the pair, and a path
//! whose least delays differ by 50 us moves the estimate by 25 us, unseen. What both directions take together needs
//! no clock.
//!
//! # What is assumed
//! A clock that could do anything would have no offset between two messages. [`Stability`] says what it may do: the
//! rate wanders slowly (temperature), or may also jump (a clock that NTP slews). Over a window of length T such a
//! clock is a straight line but for a deviation of at most [`Stability::allowance`]. A window's constraints are
//! loosened by it, and its interval widened by it, so that what follows for straight lines holds for the clock. All
//! windows hold, so the interval is that of the best one: long windows have many messages, short ones little deviation.
//!
//! Where no line fits a window the clock did something else, as when a guest is paused. The shortest stretch that no
//! line fits is a [`Break`]: its window is split there, and within it the interval covers what either side says.
//! A step that no message contradicts cannot be seen: one that is smaller than the interval, or after the last messages.
//!
//! # Reading order
//! [`Scale`] maps one clock of a host to another (MONOTONIC to RAW); [`Pair`] collects messages in clouds of points;
//! a fit finds the lines between two hulls in one window; a segment has the fits of all windows between two breaks; an
//! [`Offset`] is three paths over time, assembled of segments; [`Mesh`] joins the offsets of pairs of more than two hosts.
//!
//! Methods: Duda et al. 1987 (hulls of both directions); Poirier, Roy and Dagenais 2010 (bounds); Zhang, Liu and Xia
//! 2002 (resets by hulls); Geng et al. 2018, Huygens (the line of the largest margin; loops).

mod assembly;
mod cloud;
mod fit;
mod mesh;
mod offset;
mod pair;
mod path;
mod scale;
mod segment;
mod stability;
#[cfg(test)]
mod tests;

pub use mesh::{Edge, Loop, Mesh, Order};
pub use offset::{Break, Estimate, Offset, Quality, Reason};
pub use pair::{Direction, Message, Pair};
pub use scale::{Sample, Scale, Wall};
pub use stability::Stability;
