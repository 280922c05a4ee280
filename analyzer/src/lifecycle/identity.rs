//! What tells one packet from another: the numbers in its headers.

use ntc::ColumnId;

use super::state::has_own_header;
use crate::event::{Event, Flow};

/// Protocols that carry a packet in a packet, as the column `l4` names them.
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
    /// Hash of the first bytes of the payload of TCP and UDP. An ICMP error quotes a header, which NAT translates, too.
    payload: Option<u64>,
    /// Length.
    len: Option<u32>,
    /// Whether the header carries a tunnel.
    pub(super) tunnelled: bool,
}

/// Which way a packet is going where a header shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// It is received: it may come out of a tunnel.
    In,
    /// It is sent: it may go into one.
    Out,
    /// It cannot be told.
    Unknown,
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
    /// What an event's header says, if it has one of its packet's.
    pub(super) fn of(event: &Event<'_, 'a>) -> Option<Self> {
        if !has_own_header(event.effect) {
            return None;
        }
        let flow = event.flow();
        // On the way out, functions see headers before they are filled in: without a protocol, or without any TCP flag.
        if !event.has_addresses() || flow.l4 == "0" {
            return None;
        }
        let is_filled_in = flow.l4 == "tcp" && event.name(ColumnId::TcpFlags).is_some();
        let is_stable = is_filled_in || flow.l4 == "udp";
        Some(Self {
            flow,
            ip_id: event.u32(ColumnId::IpId).filter(|id| *id != 0),
            seq: event.u32(ColumnId::TcpSeq).filter(|_| is_filled_in),
            icmp: event.u16(ColumnId::IcmpId).zip(event.u16(ColumnId::IcmpSeq)),
            payload: event.u64(ColumnId::PayloadHash).filter(|_| is_stable),
            len: event.u32(ColumnId::Len),
            tunnelled: event.name(ColumnId::Tunnel).is_some(),
        })
    }

    /// Whether nothing is known.
    pub(super) fn is_none(&self) -> bool {
        self.flow.is_none()
    }

    /// Whether the next header at the same address is of the same packet.
    ///
    /// Address translation changes one end or both, but neither the IP identification, nor the sequence number, nor the
    /// payload; a tunnel puts another header before the packet's, on the way out, or takes it away, on the way in. What
    /// is neither is another packet.
    pub(super) fn compare(&self, next: &Self, heading: Heading) -> Same {
        let (a, b) = (&self.flow, &next.flow);
        let shares_end = a.l4 == b.l4 && (a.src == b.src || a.dst == b.dst);
        match () {
            () if self.is_none() || next.is_none() => Same::Unknown,
            () if a == b => self.compare_numbers(next),
            () if *a == b.reversed() => Same::No,
            () if shares_end && self.tunnelled == next.tunnelled && self.contradicts(next) => Same::No,
            () if shares_end || self.is_translated(next) || self.may_be_unpacked(next, heading) => {
                Same::Unknown
            }
            () => Same::No,
        }
    }

    /// The same of two headers of one flow. Behind an equal IP identification other numbers may be read at a wrong place:
    /// in the middle of encapsulation the headers are moved.
    fn compare_numbers(&self, next: &Self) -> Same {
        let differs =
            differ(self.seq, next.seq) || differ(self.payload, next.payload) || differ(self.icmp, next.icmp);
        let same_id = self.ip_id.is_some() && self.ip_id == next.ip_id;
        match () {
            () if differ(self.ip_id, next.ip_id) || differs && !same_id => Same::No,
            () if self.is_numbered_like(next) && !differs => Same::Yes,
            () => Same::Unknown,
        }
    }

    /// Whether numbers differ that nothing on the way changes.
    fn contradicts(&self, next: &Self) -> bool {
        differ(self.ip_id, next.ip_id) || differ(self.seq, next.seq) || differ(self.payload, next.payload)
    }

    /// Whether numbers are equal that differ between packets of a flow.
    fn is_numbered_like(&self, next: &Self) -> bool {
        let agree = |a: Option<u32>, b: Option<u32>| a.is_some() && a == b;
        agree(self.ip_id, next.ip_id) || self.icmp.is_some_and(|(_, seq)| seq != 0) && self.icmp == next.icmp
    }

    /// Whether both ends may have been translated: all numbers that both have are equal, and one is there.
    fn is_translated(&self, next: &Self) -> bool {
        let agree = |a: Option<u64>, b: Option<u64>| a.is_some() && a == b;
        let (seq, next_seq) = (self.seq.map(u64::from), next.seq.map(u64::from));
        let equal = agree(self.payload, next.payload) || agree(seq, next_seq) || self.is_numbered_like(next);
        self.flow.l4 == next.flow.l4 && equal && !self.contradicts(next)
    }

    /// Whether one header may stand before the other in a packet, as the way that it goes allows.
    fn may_be_unpacked(&self, next: &Self, heading: Heading) -> bool {
        match heading {
            Heading::In => self.may_carry(next),
            Heading::Out => next.may_carry(self),
            Heading::Unknown => self.may_carry(next) || next.may_carry(self),
        }
    }

    /// Whether it may be the header of a packet that carries the other. What is inside is shorter; no more than equal
    /// where the outer header was taken off when its length was seen. UDP may carry anything where the length leaves
    /// room for more headers (WireGuard and others, which no column names).
    fn may_carry(&self, inner: &Self) -> bool {
        let lengths = self.len.zip(inner.len);
        let is_carrier = self.tunnelled || CARRIERS.iter().any(|carrier| self.flow.l4 == *carrier);
        match self.flow.l4 == "udp" {
            true => lengths.map_or(is_carrier, |(outer, inner)| inner < outer),
            false => is_carrier && lengths.is_none_or(|(outer, inner)| inner <= outer),
        }
    }
}

/// Whether both are known and differ.
fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}
