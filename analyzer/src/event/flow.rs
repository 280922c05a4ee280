//! Who talks to whom.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::address::{Addr, with_port};
use crate::names::Name;

/// Addresses, ports and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow<'a> {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Protocol above IP, or above the link where it is not IP.
    pub l4: Name<'a>,
}

impl Flow<'_> {
    /// The other direction.
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, l4: self.l4 }
    }

    /// One of both directions, the same for both.
    pub fn either_way(self) -> Self {
        self.min(self.reversed())
    }

    /// Whether nothing is known.
    pub fn is_none(self) -> bool {
        self.src.is_none() && self.dst.is_none()
    }
}

impl fmt::Display for Flow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("unknown flow");
        }
        let (src, dst) = (with_port(self.src, self.sport), with_port(self.dst, self.dport));
        if self.l4.is_some() {
            write!(f, "{} ", self.l4)?;
        }
        write!(f, "{src} -> {dst}")
    }
}

impl Serialize for Flow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
