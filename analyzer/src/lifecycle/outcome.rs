//! How a life ended, and what proves it.

use std::fmt;

use serde::Serialize;

use super::Life;
use super::state::Answer;
use crate::event::Snapshot;
use crate::names::Name;

/// What proves that a packet was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its socket announced data (`sk_data_ready`).
    pub socket_ready: bool,
    /// A process copied its data (`skb_copy_datagram_iovec`).
    pub copied: bool,
    /// An established TCP connection processed it (`tcp_probe`).
    pub segment_processed: bool,
}

impl Evidence {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.socket_ready || self.copied || self.segment_processed
    }

    /// The strongest probe that proves it.
    fn probe(self) -> &'static str {
        match self {
            Self { copied: true, .. } => "skb_copy_datagram_iovec",
            Self { socket_ready: true, .. } => "sk_data_ready",
            Self { segment_processed: true, .. } => "tcp_probe",
            _ => "",
        }
    }
}

/// How a life ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome<'a> {
    /// The kernel dropped it.
    Dropped {
        /// Why.
        reason: Name<'a>,
        /// Where.
        location: Name<'a>,
    },
    /// A socket got it.
    Delivered {
        /// The probe that proves it.
        evidence: &'static str,
    },
    /// A device sent it.
    Transmitted {
        /// The device.
        dev: Name<'a>,
    },
    /// The kernel freed it after use.
    Consumed {
        /// Where.
        location: Name<'a>,
    },
    /// Its address was seen with another packet; its end was not observed.
    Reused,
    /// It was not seen again until the capture ended, or for very long.
    #[default]
    Open,
    /// Its end was not observed, and events were lost meanwhile.
    Unknown,
}

/// An outcome without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeKind {
    /// See [`Outcome::Dropped`].
    Dropped,
    /// See [`Outcome::Delivered`].
    Delivered,
    /// See [`Outcome::Transmitted`].
    Transmitted,
    /// See [`Outcome::Consumed`].
    Consumed,
    /// See [`Outcome::Reused`].
    Reused,
    /// See [`Outcome::Open`].
    Open,
    /// See [`Outcome::Unknown`].
    Unknown,
}

impl OutcomeKind {
    /// All kinds and their names, in the order in which they are shown.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Dropped, "dropped"),
        (Self::Delivered, "delivered"),
        (Self::Transmitted, "transmitted"),
        (Self::Consumed, "consumed"),
        (Self::Reused, "reused"),
        (Self::Open, "open"),
        (Self::Unknown, "unknown"),
    ];
}

impl OutcomeKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

impl Outcome<'_> {
    /// The outcome without its details.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Dropped { .. } => OutcomeKind::Dropped,
            Self::Delivered { .. } => OutcomeKind::Delivered,
            Self::Transmitted { .. } => OutcomeKind::Transmitted,
            Self::Consumed { .. } => OutcomeKind::Consumed,
            Self::Reused => OutcomeKind::Reused,
            Self::Open => OutcomeKind::Open,
            Self::Unknown => OutcomeKind::Unknown,
        }
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped { reason, location } => {
                write!(f, "DROPPED {} at {}", reason.or_dash(), location.or_dash())
            }
            Self::Delivered { evidence } => write!(f, "DELIVERED ({evidence})"),
            Self::Transmitted { dev } => write!(f, "TRANSMITTED by {}", dev.or_dash()),
            Self::Consumed { location } => write!(f, "CONSUMED at {}", location.or_dash()),
            Self::Reused => f.write_str("REUSED (end not observed)"),
            Self::Open => f.write_str("OPEN (capture ended)"),
            Self::Unknown => f.write_str("UNKNOWN (events were lost)"),
        }
    }
}

/// Lives by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All.
    pub lives: u64,
    /// See [`Outcome::Dropped`].
    pub dropped: u64,
    /// See [`Outcome::Delivered`].
    pub delivered: u64,
    /// See [`Outcome::Transmitted`].
    pub transmitted: u64,
    /// See [`Outcome::Consumed`].
    pub consumed: u64,
    /// See [`Outcome::Reused`].
    pub reused: u64,
    /// See [`Outcome::Open`].
    pub open: u64,
    /// See [`Outcome::Unknown`].
    pub unknown: u64,
}

impl Counts {
    /// Counts a life.
    pub fn add(&mut self, outcome: &Outcome<'_>) {
        self.lives += 1;
        *self.of(outcome.kind()) += 1;
    }

    /// Adds the counts of another capture.
    pub fn add_all(&mut self, other: &Self) {
        self.lives += other.lives;
        let mut other = *other;
        for (kind, _) in OutcomeKind::ALL {
            *self.of(kind) += *other.of(kind);
        }
    }

    /// The count of a kind.
    pub fn of(&mut self, kind: OutcomeKind) -> &mut u64 {
        match kind {
            OutcomeKind::Dropped => &mut self.dropped,
            OutcomeKind::Delivered => &mut self.delivered,
            OutcomeKind::Transmitted => &mut self.transmitted,
            OutcomeKind::Consumed => &mut self.consumed,
            OutcomeKind::Reused => &mut self.reused,
            OutcomeKind::Open => &mut self.open,
            OutcomeKind::Unknown => &mut self.unknown,
        }
    }
}

/// Why a life is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A drop that is trouble.
    Dropped,
    /// A free that is not.
    Consumed,
    /// Another packet at its address.
    Reused,
    /// Nothing happened for long, or room was needed.
    Idle,
    /// The capture ended.
    OfCapture,
}

/// The outcome of a life. Trouble goes before everything, proof of delivery before the rest.
pub(super) fn decide<'a>(life: &Life<'a>, end: End) -> Outcome<'a> {
    let freed = |of: fn(&Snapshot<'a>) -> Name<'a>| life.freed.as_deref().map_or(Name::NONE, of);
    let location = freed(|event| event.location.or(event.probe));
    if end == End::Dropped {
        return Outcome::Dropped { reason: freed(|event| event.reason), location };
    }
    if life.evidence.any() {
        return Outcome::Delivered { evidence: life.evidence.probe() };
    }
    if is_transmitted(life, end) {
        return Outcome::Transmitted { dev: life.position.sent_by };
    }
    match end {
        End::Consumed => Outcome::Consumed { location },
        _ if life.touched_by_loss => Outcome::Unknown,
        End::Reused => Outcome::Reused,
        _ => Outcome::Open,
    }
}

/// Whether a driver has it: the driver said so, or it was given to the driver and then freed or replaced.
fn is_transmitted(life: &Life<'_>, end: End) -> bool {
    let position = &life.position;
    let given = !position.received_last && position.sent_by.is_some();
    match position.answer {
        Answer::Taken => given,
        Answer::None => given && matches!(end, End::Consumed | End::Reused),
        Answer::Refused => false,
    }
}
