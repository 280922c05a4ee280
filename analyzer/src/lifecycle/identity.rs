//! What tells one packet from another: the numbers in its headers.

use std::ops::RangeInclusive;

use ntc::ColumnId;
use ntc::catalog::Data;

use super::state::has_own_header;
use crate::event::{Effect, Event, Flow};
use crate::names::Name;

/// Protocols that carry a packet in a packet, as the column `l4` names them.
const CARRIERS: [&str; 8] = ["esp", "ah", "gre", "ipip", "sit", "ip", "ip6", "l2tp"];

/// Bytes that a tunnel puts before the IP header of a packet, from the least to the most with options.
struct Overhead {
    /// The tunnel, as the column `tunnel` names it.
    tunnel: &'static str,
    /// With IPv4 around it.
    v4: RangeInclusive<u32>,
    /// With IPv6 around it.
    v6: RangeInclusive<u32>,
}

/// All of them. VXLAN (RFC 7348) and Geneve (RFC 8926) carry Ethernet, which may be padded by 6 bytes to its least length;
/// WireGuard fills its last block of 16.
const OVERHEADS: [Overhead; 7] = [
    Overhead { tunnel: "vxlan", v4: 50..=56, v6: 70..=76 },
    Overhead { tunnel: "geneve", v4: 50..=308, v6: 70..=328 },
    Overhead { tunnel: "wireguard", v4: 60..=75, v6: 80..=95 },
    Overhead { tunnel: "gre", v4: 24..=66, v6: 44..=94 },
    Overhead { tunnel: "ipip", v4: 20..=26, v6: 20..=26 },
    Overhead { tunnel: "sit", v4: 20..=26, v6: 20..=26 },
    Overhead { tunnel: "ip6tnl", v4: 40..=54, v6: 40..=54 },
];

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
    /// Length, wherever the data began.
    len: Option<u32>,
    /// Length from the IP header on, where it is known that the data began there.
    ip_len: Option<u32>,
    /// The tunnel that it carries.
    tunnel: Name<'a>,
}

/// What may have happened to a packet between its last header and the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    /// Which way it is going.
    pub(super) heading: Heading,
    /// Whether the next header is seen between two devices, where there may be a tunnel that no column names.
    pub(super) crosses_device: bool,
    /// Whether there was so little time that it may have come out of a tunnel, or gone into one.
    pub(super) soon: bool,
}

/// What an ICMP echo message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whether it is a reply, and no request.
    pub is_reply: bool,
    /// Identifier.
    pub id: u16,
    /// Sequence number.
    pub seq: u16,
}

impl Echo {
    /// What an event's header says, where the column `icmp_type` was read (RFC 792; RFC 4443, 4.1 and 4.2).
    pub(super) fn of(event: &Event<'_, '_>) -> Option<Self> {
        let is_reply = match event.u8(ColumnId::IcmpType)? {
            8 | 128 => false,
            0 | 129 => true,
            _ => return None,
        };
        let (id, seq) = event.u16(ColumnId::IcmpId).zip(event.u16(ColumnId::IcmpSeq))?;
        Some(Self { is_reply, id, seq })
    }
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
            ip_len: ip_len(event),
            tunnel: event.name(ColumnId::Tunnel),
        })
    }

    /// Numbers that tell a packet from others of its flow, 0 where there is none.
    pub(super) fn numbers(&self) -> (u32, u32) {
        let echo = self.icmp.map(|(id, seq)| u32::from(id) << 16 | u32::from(seq));
        (self.ip_id.unwrap_or(0), self.seq.or(echo).unwrap_or(0))
    }

    /// Whether the header carries a tunnel.
    pub(super) fn is_tunnelled(&self) -> bool {
        self.tunnel.is_some()
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
    pub(super) fn compare(&self, next: &Self, passage: Passage) -> Same {
        let (a, b) = (&self.flow, &next.flow);
        let is_alike = a.l4 == b.l4 && self.tunnel == next.tunnel;
        let shares_end = is_alike && (a.src == b.src || a.dst == b.dst);
        match () {
            () if self.is_none() || next.is_none() => Same::Unknown,
            () if a == b => self.compare_numbers(next),
            () if *a == b.reversed() => Same::No,
            () if shares_end && self.contradicts(next) => Same::No,
            () if shares_end || self.is_translated(next) || self.may_be_unpacked(next, passage) => {
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
    fn may_be_unpacked(&self, next: &Self, passage: Passage) -> bool {
        let may_carry = |outer: &Self, inner: &Self| outer.may_carry(inner, passage.crosses_device);
        passage.soon
            && match passage.heading {
                Heading::In => may_carry(self, next),
                Heading::Out => may_carry(next, self),
                Heading::Unknown => may_carry(self, next) || may_carry(next, self),
            }
    }

    /// Whether it is the header of a packet that carries one.
    pub(super) fn is_carrier(&self) -> bool {
        self.is_tunnelled() || CARRIERS.iter().any(|carrier| self.flow.l4 == *carrier)
    }

    /// Whether it may be the header of a packet that carries the other. What is inside is shorter, by what its tunnel puts
    /// before it; no more than equal where the outer header was taken off when its length was seen. No tunnel leads through
    /// itself, from one of its ends to the other. UDP may carry anything between two devices (FOU, or a tunnel at a port
    /// that nobody knows), where the length leaves room for more headers.
    fn may_carry(&self, inner: &Self, crosses_device: bool) -> bool {
        if self.overhead().is_some() && self.connects_the_ends_of(inner) {
            return false;
        }
        if let (Some(overhead), Some(whole), Some(inside)) = (self.overhead(), self.ip_len, inner.ip_len) {
            return whole.checked_sub(inside).is_some_and(|before| overhead.contains(&before));
        }
        let Some((outer, inner)) = self.len.zip(inner.len) else { return self.is_carrier() };
        match self.flow.l4 == "udp" {
            true => (self.is_tunnelled() || crosses_device) && inner < outer,
            false => self.is_carrier() && inner <= outer,
        }
    }

    /// What its tunnel puts before the IP header of the packet inside, bytes.
    fn overhead(&self) -> Option<&'static RangeInclusive<u32>> {
        let overhead = OVERHEADS.iter().find(|overhead| self.tunnel == overhead.tunnel)?;
        Some(if self.flow.src.is_v6() { &overhead.v6 } else { &overhead.v4 })
    }

    /// Whether both are between the same two addresses, in either direction.
    fn connects_the_ends_of(&self, other: &Self) -> bool {
        let (a, b) = (&self.flow, &other.flow);
        (a.src, a.dst) == (b.src, b.dst) || (a.src, a.dst) == (b.dst, b.src)
    }
}

/// The length of a packet from its IP header on, where an event shows it: where it is received, and at the functions of
/// which it is known where the data begins. Options of IP are not counted.
fn ip_len(event: &Event<'_, '_>) -> Option<u32> {
    let data = match event.effect {
        Effect::RxEntry | Effect::RxBacklog | Effect::Receive => Data::Ip,
        _ => event.about.gate?.data,
    };
    let pulled = match data {
        Data::Ip => 0,
        Data::Above if event.saddr().is_v6() => 40,
        Data::Above => 20,
    };
    event.u32(ColumnId::Len).map(|len| len + pulled)
}

/// Whether both are known and differ.
fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}
