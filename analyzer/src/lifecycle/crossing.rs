//! Where a packet crossed a device, and what tells it there from all others, on this host and on every other.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use ntc::ColumnId;
use twox_hash::XxHash64;

use super::identity::Echo;
use crate::event::{Effect, Event, Flow, Payloads, Place};

/// Columns that crossings are made from, beside those of lives.
pub const COLUMNS: [ColumnId; 10] = [
    ColumnId::Header,
    ColumnId::Tos,
    ColumnId::FragOff,
    ColumnId::MoreFrags,
    ColumnId::TcpAck,
    ColumnId::TcpWin,
    ColumnId::TcpTsval,
    ColumnId::IcmpType,
    ColumnId::IcmpCode,
    ColumnId::GsoSize,
];

/// Which way a packet crosses a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// The device received it.
    In,
    /// It was given to the device: to its queue, then to its driver.
    Out,
}

/// A packet at a device.
#[derive(Clone, Debug)]
pub struct Crossing<'a> {
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// Device and namespace.
    pub at: Place<'a>,
    /// Which way.
    pub way: Way,
    /// Who talks to whom, by the header there.
    pub flow: Flow<'a>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
    /// What tells it from others; none where nothing does, and where a tunnel's header hides it.
    pub key: Option<Key>,
    /// Whether its header is a tunnel's.
    pub is_tunnelled: bool,
    /// Whether it was only queued there, as far as is known: a driver may have got parts of it.
    pub is_queued: bool,
}

/// What is the same of one packet wherever it is seen, and differs from others: fields that no hop changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Hash of the fields.
    pub bucket: u64,
    /// The bytes of its TCP stream that a segment carries, by their sequence numbers: segments are split and merged on the
    /// way. None of what goes through as it is.
    pub bytes: Option<Range<u32>>,
    /// What the fields are.
    pub kind: KeyKind,
}

/// What the fields of a key are, and so how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// ICMP echo: addresses, type, identifier, sequence number.
    Echo,
    /// TCP data: addresses, ports, timestamp; its bytes.
    Segment,
    /// TCP without data: addresses, ports, sequence and acknowledgment numbers, flags, window, timestamp.
    Control,
    /// UDP and others: addresses, ports, length, IP identification or the payload's fingerprint.
    Datagram,
    /// A fragment: addresses, protocol, identification, offset.
    Fragment,
    /// UDP and others without a number or payload of which anything was seen: only their order tells them apart.
    Anonymous,
}

/// Makes crossings of events.
#[derive(Debug, Default)]
pub(super) struct Crossings {
    /// Whether a payload's fingerprint is the same wherever it is seen.
    fingerprints: bool,
    /// How many bytes of payload packets have.
    payloads: Payloads,
}

impl Crossings {
    /// Crossings of which the keys have fingerprints, or have none.
    pub(super) fn new(fingerprints: bool) -> Self {
        Self { fingerprints, ..Self::default() }
    }

    /// What an event shows. Each event with a header must be given: the header is recorded where it changed.
    pub(super) fn of<'a>(&mut self, event: &Event<'_, 'a>) -> Option<Crossing<'a>> {
        let payload = self.payloads.of(event);
        let way = match event.effect {
            Effect::RxEntry | Effect::RxBacklog | Effect::Receive => Way::In,
            Effect::Queue | Effect::Start => Way::Out,
            _ => return None,
        };
        let is_tunnelled = event.name(ColumnId::Tunnel).is_some();
        Some(Crossing {
            ts: event.ts,
            at: event.place(),
            way,
            flow: event.flow(),
            ttl: event.u8(ColumnId::Ttl),
            tos: event.u8(ColumnId::Tos),
            key: if is_tunnelled { None } else { Key::of(event, payload, self.fingerprints) },
            is_tunnelled,
            is_queued: event.effect == Effect::Queue,
        })
    }
}

impl<'a> Crossing<'a> {
    /// Whether it is the same crossing as the one before: a driver hands a packet over before the protocols get it, and a
    /// driver that refused a packet gets it again.
    pub(super) fn repeats(&self, before: &Self) -> bool {
        self.at == before.at && self.way == before.way
    }
}

impl Key {
    /// What an event's header says; `payload` are the bytes behind its transport header, if known; `fingerprints`: the
    /// payload's may be compared.
    fn of(event: &Event<'_, '_>, payload: Option<u32>, fingerprints: bool) -> Option<Self> {
        let flow = event.flow();
        if flow.is_none() {
            return None;
        }
        let mut hash = XxHash64::with_seed(0);
        (flow.src, flow.dst, flow.l4.text()).hash(&mut hash);
        if let Some(offset) = event.u16(ColumnId::FragOff) {
            (KeyKind::Fragment as u8, event.u32(ColumnId::IpId), offset).hash(&mut hash);
            return Some(Self { bucket: hash.finish(), bytes: None, kind: KeyKind::Fragment });
        }
        (flow.sport, flow.dport).hash(&mut hash);
        let kind = match (flow.l4.text(), Echo::of(event)) {
            ("tcp", _) => return tcp(event, payload?, hash),
            (_, Some(echo)) => {
                (event.u8(ColumnId::IcmpType), echo.id, echo.seq).hash(&mut hash);
                KeyKind::Echo
            }
            _ => datagram(event, payload, fingerprints, &mut hash),
        };
        Some(Self { bucket: hash.finish(), bytes: None, kind })
    }

    /// What it has in common with the first segment of a batch: the sender's host sees many segments as one.
    pub fn first(&self) -> u64 {
        let mut hash = XxHash64::with_seed(self.bucket);
        self.bytes.as_ref().map(|bytes| bytes.start).hash(&mut hash);
        hash.finish()
    }
}

/// The key of a TCP segment.
fn tcp(event: &Event<'_, '_>, payload: u32, mut hash: XxHash64) -> Option<Key> {
    let seq = event.u32(ColumnId::TcpSeq)?;
    let flags = event.name(ColumnId::TcpFlags).text();
    event.u32(ColumnId::TcpTsval).hash(&mut hash);
    if payload > 0 {
        KeyKind::Segment.hash(&mut hash);
        let bytes = Some(seq..seq.wrapping_add(payload));
        return Some(Key { bucket: hash.finish(), bytes, kind: KeyKind::Segment });
    }
    (KeyKind::Control, seq, event.u32(ColumnId::TcpAck)).hash(&mut hash);
    (event.u16(ColumnId::TcpWin), flags).hash(&mut hash);
    Some(Key { bucket: hash.finish(), bytes: None, kind: KeyKind::Control })
}

/// Adds what tells a datagram from others of its flow.
fn datagram(event: &Event<'_, '_>, payload: Option<u32>, fingerprints: bool, hash: &mut XxHash64) -> KeyKind {
    let id = event.u32(ColumnId::IpId).filter(|id| *id != 0);
    let fingerprint = event.u64(ColumnId::PayloadHash).filter(|_| fingerprints);
    (payload, id, event.u8(ColumnId::IcmpType), event.u8(ColumnId::IcmpCode)).hash(hash);
    // With an identification the payload, of which not every host saw enough, is not needed.
    if id.is_none() {
        fingerprint.hash(hash);
    }
    if id.or(fingerprint.map(|_| 0)).is_some() { KeyKind::Datagram } else { KeyKind::Anonymous }
}
