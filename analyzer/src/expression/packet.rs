//! A recorded packet as the frame that an expression is about.

use std::net::IpAddr;

use super::names::{IP, IP6};

/// Bytes of Ethernet's header.
const LINK: u64 = 14;
/// Where its type stands.
const TYPE: usize = 12;
/// Bytes of a VLAN's tag.
const TAG: usize = 4;
/// Ethertypes of such tags, as far as the kernel takes them off: 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// Ethertype of Ethernet in a tunnel.
const BRIDGED: u16 = 0x6558;

/// A packet as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What the bytes are: an ethertype, that of a tag where one is the first of them.
    pub ethertype: u16,
    /// The bytes from the network header on, as far as they were recorded.
    pub bytes: &'a [u8],
    /// Which of the first 64 bytes are known: all, unless the header is made of decoded columns.
    pub known: u64,
    /// Length of the packet from the network header on; none where that is not known.
    pub len: Option<u32>,
}

impl<'a> Packet<'a> {
    /// A packet with its header; `len` is that of the socket buffer, for packets that do not tell their own.
    pub fn new(ethertype: u16, bytes: &'a [u8], len: u32) -> Self {
        Self { ethertype, bytes, known: u64::MAX, len: Some(own_len(ethertype, bytes).unwrap_or(len)) }
    }

    /// The header that all packets of a flow have, as far as it is the same. None where its ends are of two versions of IP.
    pub fn of_flow(flow: Flow) -> Option<FlowHeader> {
        let mut bytes = [0; FLOW];
        let (ethertype, known, at) = match (flow.source, flow.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes[0] = 0x45;
                bytes[9] = flow.protocol;
                bytes[12..16].copy_from_slice(&source.octets());
                bytes[16..20].copy_from_slice(&destination.octets());
                (IP, bits(0, 1) | bits(6, 2) | bits(9, 1) | bits(12, 8), 20)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                bytes[0] = 0x60;
                bytes[6] = flow.protocol;
                bytes[8..24].copy_from_slice(&source.octets());
                bytes[24..40].copy_from_slice(&destination.octets());
                (IP6, bits(0, 1) | bits(6, 1) | bits(8, 32), 40)
            }
            _ => return None,
        };
        let Some((source, destination)) = flow.ports else {
            return Some(FlowHeader { ethertype: ethertype as u16, bytes, known });
        };
        let ports = [source.to_be_bytes(), destination.to_be_bytes()];
        bytes[at..at + 4].copy_from_slice(ports.as_flattened());
        Some(FlowHeader { ethertype: ethertype as u16, bytes, known: known | bits(at, 4) })
    }
}

/// Bytes of the longest header that a flow tells: IPv6 and ports.
const FLOW: usize = 44;

/// A header that is made of what a flow tells.
pub struct FlowHeader {
    /// What it is.
    ethertype: u16,
    /// Its bytes.
    bytes: [u8; FLOW],
    /// Which of them are known.
    known: u64,
}

impl FlowHeader {
    /// A packet with this header.
    pub fn packet(&self) -> Packet<'_> {
        Packet { ethertype: self.ethertype, bytes: &self.bytes, known: self.known, len: None }
    }
}

/// Who talks to whom, as a socket knows it.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
}

impl Flow {
    /// The other direction.
    pub fn reversed(self) -> Self {
        let ports = self.ports.map(|(source, destination)| (destination, source));
        Self { source: self.destination, destination: self.source, ports, ..self }
    }
}

/// Bits for `count` bytes from `at` on.
fn bits(at: usize, count: u32) -> u64 {
    ((1 << count) - 1) << at
}

/// The length that IP's header gives, and that of ARP for IPv4 over Ethernet. Segments that are not cut yet may have none.
fn own_len(ethertype: u16, bytes: &[u8]) -> Option<u32> {
    const ARP: u16 = 0x0806;
    let word =
        |at: usize| bytes.get(at..at + 2)?.first_chunk::<2>().map(|b| u32::from(u16::from_be_bytes(*b)));
    match ethertype {
        ARP => (bytes.get(4..6)? == [6, 4]).then_some(28),
        ethertype if u32::from(ethertype) == IP => word(2).filter(|len| *len != 0),
        ethertype if u32::from(ethertype) == IP6 => word(4).filter(|len| *len != 0).map(|len| len + 40),
        ethertype if TAGS.contains(&ethertype) => {
            let inner = u16::try_from(word(2)?).ok().filter(|inner| !TAGS.contains(inner))?;
            Some(own_len(inner, bytes.get(TAG..)?)? + TAG as u32)
        }
        _ => None,
    }
}

/// What an expression looks at: a header of Ethernet, of which the addresses are not recorded, and the bytes behind it.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The tag of a VLAN, if it is part of the header: its ethertype and number.
    tag: Option<(u16, u16)>,
    /// What the bytes are.
    ethertype: u16,
    /// The addresses and what else stands before the type; none where it was not recorded.
    addresses: Option<&'a [u8]>,
    /// The bytes behind the link's header.
    bytes: &'a [u8],
    /// Which of the first 64 are known.
    known: u64,
    /// Length of the bytes, as far as they were sent.
    len: Option<u32>,
}

impl<'a> Frame<'a> {
    /// The packet's own frame. Without `tagged`, the first tag is not part of it.
    pub fn outer(packet: &Packet<'a>, tagged: bool) -> Option<Self> {
        let Packet { ethertype, bytes, known, len } = *packet;
        if known != u64::MAX && tagged {
            return None;
        }
        Self { tag: None, ethertype, addresses: None, bytes, known, len }.untagged(tagged)
    }

    /// The frame that a packet carries as a tunnel.
    pub fn inner(packet: &Packet<'a>, tagged: bool) -> Option<Self> {
        if packet.known != u64::MAX {
            return None;
        }
        // A tag before the outer header is none of the inner frame's.
        let outer = Self::outer(packet, false)?;
        let (at, ethertype) = tunnelled(outer.ethertype, outer.bytes)?;
        let inner = Self { tag: None, ethertype, addresses: None, ..outer.behind(at)? };
        if ethertype != BRIDGED {
            return Some(inner);
        }
        let addresses = inner.bytes.get(..TYPE)?;
        let ethertype = be16(inner.bytes, TYPE)?;
        Self { ethertype, addresses: Some(addresses), ..inner.behind(LINK as usize)? }.untagged(tagged)
    }

    /// Takes a tag off the bytes, into the header if it is asked for.
    fn untagged(self, tagged: bool) -> Option<Self> {
        if !TAGS.contains(&self.ethertype) {
            return Some(self);
        }
        let tag = (self.ethertype, be16(self.bytes, 0)?);
        let ethertype = be16(self.bytes, 2)?;
        Some(Self { tag: tagged.then_some(tag), ethertype, ..self.behind(TAG)? })
    }

    /// What follows so many bytes.
    fn behind(&self, count: usize) -> Option<Self> {
        let bytes = self.bytes.get(count..)?;
        let len = self.len.map(|len| len.saturating_sub(count as u32));
        Some(Self { bytes, len, ..self.clone() })
    }

    /// Length of the link's header.
    fn link(&self) -> u64 {
        LINK + if self.tag.is_some() { TAG as u64 } else { 0 }
    }

    /// The frame's length.
    pub fn len(&self) -> Option<u32> {
        Some(self.len? + self.link() as u32)
    }

    /// So many bytes as a number in network order; none where one is not known.
    pub fn load(&self, at: u64, size: u32) -> Option<u32> {
        (at..at + u64::from(size)).try_fold(0, |number, at| Some(number << 8 | u32::from(self.byte(at)?)))
    }

    /// A byte.
    fn byte(&self, at: u64) -> Option<u8> {
        if at < self.link() {
            return self.link_byte(at as usize);
        }
        let at = usize::try_from(at - self.link()).ok()?;
        let known = self.known == u64::MAX || at < 64 && self.known >> at & 1 != 0;
        self.bytes.get(at).copied().filter(|_| known)
    }

    /// A byte of the link's header.
    fn link_byte(&self, at: usize) -> Option<u8> {
        let Some(behind) = at.checked_sub(TYPE) else { return self.addresses?.get(at).copied() };
        let (tag, number) = self.tag.unwrap_or((self.ethertype, 0));
        let types = [tag, number, self.ethertype].map(u16::to_be_bytes);
        types.as_flattened().get(behind).copied()
    }
}

/// Two bytes in network order.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

/// Where the packet in a tunnel begins, and what it is: as `find_inner` of bpf/pcap.bpf.h.
fn tunnelled(ethertype: u16, bytes: &[u8]) -> Option<(usize, u16)> {
    let (at, protocol) = payload(ethertype, bytes)?;
    let rest = bytes.get(at..)?;
    let (offset, inner) = match protocol {
        4 => (0, IP as u16),
        41 => (0, IP6 as u16),
        47 => in_gre(rest)?,
        17 => in_udp(rest)?,
        _ => return None,
    };
    let known = [IP as u16, IP6 as u16, BRIDGED].contains(&inner);
    known.then_some((at + offset, inner))
}

/// Where IP's payload begins, and which protocol it has; none in later fragments.
fn payload(ethertype: u16, bytes: &[u8]) -> Option<(usize, u8)> {
    match u32::from(ethertype) {
        IP if be16(bytes, 6)? & 0x1fff == 0 => Some((usize::from(bytes[0] & 0xf) * 4, bytes[9])),
        IP6 => behind_extensions(bytes),
        _ => None,
    }
}

/// Where IPv6's payload begins, behind at most four extension headers (RFC 8200, section 4).
fn behind_extensions(bytes: &[u8]) -> Option<(usize, u8)> {
    const FRAGMENT: u8 = 44;
    let (mut next, mut at) = (*bytes.get(6)?, 40);
    for _ in 0..4 {
        if ![0, 43, FRAGMENT, 60].contains(&next) {
            break;
        }
        let header = bytes.get(at..at + 4)?;
        if next == FRAGMENT && be16(header, 2)? & 0xfff8 != 0 {
            return None;
        }
        at += if next == FRAGMENT { 8 } else { (usize::from(header[1]) + 1) * 8 };
        next = header[0];
    }
    Some((at, next))
}

/// GRE (RFC 2890), with a checksum, a key and a number of 4 bytes each, and ERSPAN in it.
fn in_gre(gre: &[u8]) -> Option<(usize, u16)> {
    const ERSPAN: u16 = 0x88be;
    const ERSPAN3: u16 = 0x22eb;
    let (flags, ethertype) = (*gre.first()?, be16(gre, 2)?);
    let header = 4 + 4 * [0x80, 0x20, 0x10].iter().filter(|bit| flags & **bit != 0).count();
    let erspan = match ethertype {
        ERSPAN if flags & 0x10 != 0 => 8,
        ERSPAN => 0,
        ERSPAN3 if gre.get(header + 11).is_some_and(|last| last & 1 != 0) => 20,
        ERSPAN3 => 12,
        _ => return Some((header, ethertype)),
    };
    Some((header + erspan, BRIDGED))
}

/// UDP with VXLAN (RFC 7348) or Geneve (RFC 8926).
fn in_udp(udp: &[u8]) -> Option<(usize, u16)> {
    match be16(udp, 2)? {
        4789 | 8472 => Some((8 + 8, BRIDGED)),
        6081 => Some((8 + 8 + usize::from(udp.get(8)? & 0x3f) * 4, be16(udp, 10)?)),
        _ => None,
    }
}
