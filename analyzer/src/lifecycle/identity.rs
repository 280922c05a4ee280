//! What tells one packet from another: the numbers in its headers.

use ntc::ColumnId;

use crate::event::{Event, Flow, Place};

/// Protocols that carry a packet in a packet, as the column `l4` names them: headers before and after are of two
/// packets, and still it is one.
const CARRIERS: [&str; 8] = ["esp", "ah", "gre", "ipip", "sit", "ip", "ip6", "l2tp"];

/// The last header of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity<'a> {
    /// Who talks to whom.
    pub(super) flow: Flow<'a>,
    /// IP identification; none where it is 0 (DF is set) and says nothing.
    ip_id: Option<u32>,
    /// TCP sequence number.
    seq: Option<u32>,
    /// ICMP identifier and sequence number.
    icmp: Option<(u16, u16)>,
    /// Hash of the first bytes of the payload.
    payload: Option<u64>,
    /// Length, which decides whether payloads can be compared: the first bytes of a shorter packet are others.
    len: Option<u32>,
    /// Where it was seen.
    at: Place<'a>,
    /// Whether the header carries a tunnel.
    pub(super) tunnelled: bool,
}

/// Whether two headers are of the same packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// The headers do not tell.
    Unknown,
}

impl<'a> Identity<'a> {
    /// What an event's header says, if it has one.
    pub(super) fn of(event: &Event<'_, 'a>) -> Option<Self> {
        event.has_addresses().then(|| Self {
            flow: event.flow(),
            ip_id: event.u32(ColumnId::IpId).filter(|id| *id != 0),
            seq: event.u32(ColumnId::TcpSeq),
            icmp: event.u16(ColumnId::IcmpId).zip(event.u16(ColumnId::IcmpSeq)),
            payload: event.u64(ColumnId::PayloadHash),
            len: event.u32(ColumnId::Len),
            at: event.place(),
            tunnelled: event.name(ColumnId::Tunnel).is_some(),
        })
    }

    /// Whether nothing is known.
    pub(super) fn is_none(&self) -> bool {
        self.flow.is_none()
    }

    /// Whether the next header at the same address is of the same packet.
    ///
    /// Headers of the same protocol that share an end are compared by their numbers: address translation changes one
    /// end, but neither the IP identification nor the sequence number. Others may be those of a packet and of the
    /// tunnel around it, which only the way through the host can tell; where neither is a tunnel's and both are on the
    /// same device, they are of two packets.
    pub(super) fn compare(&self, next: &Self) -> Same {
        if self.is_none() || next.is_none() || self.tunnelled != next.tunnelled {
            return Same::Unknown;
        }
        if self.flow == next.flow {
            return match () {
                () if self.contradicts(next) || differ(self.icmp, next.icmp) => Same::No,
                () if self.is_numbered_like(next) => Same::Yes,
                () => Same::Unknown,
            };
        }
        let shares_end = self.flow.src == next.flow.src || self.flow.dst == next.flow.dst;
        match () {
            () if self.is_carrier() || next.is_carrier() => Same::Unknown,
            () if self.flow == next.flow.reversed() => Same::No,
            () if self.flow.l4 != next.flow.l4 => self.elsewhere(next),
            () if self.contradicts(next) && (shares_end || self.is_at(next)) => Same::No,
            () if shares_end || self.is_numbered_like(next) => Same::Unknown,
            () => self.elsewhere(next),
        }
    }

    /// What headers that have nothing in common say: on one device they are of two packets.
    fn elsewhere(&self, next: &Self) -> Same {
        if self.is_at(next) { Same::No } else { Same::Unknown }
    }

    /// Whether both were seen on the same device.
    fn is_at(&self, next: &Self) -> bool {
        self.at == next.at && self.at.dev.is_some()
    }

    /// Whether numbers differ that nothing on the way changes.
    fn contradicts(&self, next: &Self) -> bool {
        let same_length = self.len.is_some() && self.len == next.len;
        differ(self.ip_id, next.ip_id)
            || differ(self.seq, next.seq)
            || same_length && differ(self.payload, next.payload)
    }

    /// Whether numbers are equal that differ between packets.
    fn is_numbered_like(&self, next: &Self) -> bool {
        let agree = |a: Option<u32>, b: Option<u32>| a.is_some() && a == b;
        agree(self.ip_id, next.ip_id) || self.icmp.is_some_and(|(_, seq)| seq != 0) && self.icmp == next.icmp
    }

    /// Whether its protocol carries other packets.
    fn is_carrier(&self) -> bool {
        self.tunnelled || CARRIERS.iter().any(|carrier| self.flow.l4 == *carrier)
    }
}

/// Whether both are known and differ.
fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}
