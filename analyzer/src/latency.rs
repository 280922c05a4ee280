//! Where the time goes: how long packets take from stage to stage, as distributions.
//!
//! Reading order: [`model`] says which stages there are, [`walk`] takes each life through them, [`legs`] counts the times
//! of the legs, [`halves`] and [`unacked`] find what answers a packet, [`baseline`] compares two captures.

pub mod baseline;
mod distribution;
mod fold;
mod halves;
pub mod legs;
pub mod model;
mod unacked;
pub mod walk;

pub use distribution::Distribution;
pub use fold::{Counted, Ends, Measured, Slow, measure};

use crate::args::LatencyBy;
use model::Model;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// The models.
    pub models: Vec<Model>,
    /// What times are counted by, beside the leg.
    pub by: Option<LatencyBy>,
    /// The length of an interval, ns.
    pub interval: Option<u64>,
    /// Shorter legs are left out, ns.
    pub least: u64,
    /// How many of the slowest passes are kept with their lives.
    pub worst: usize,
    /// Whether these lives have their events.
    pub events: bool,
}
