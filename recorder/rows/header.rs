//! Bytes from the network header -> fields. A header that was cut short gives the fields it still has.

use std::net::IpAddr;

use etherparse::{
    EtherType, IpFragOffset, LaxNetSlice, LaxSlicedPacket, TcpOptionElement, TcpSlice, TransportSlice,
    UdpSlice,
};
use ntc::schema::FINGERPRINT_BYTES;
use twox_hash::XxHash64;

use crate::bpf::types::constant;

/// Bytes of the header of UDP.
const UDP_HEADER: u16 = 8;

/// What a header says. `None` is: not there, or not seen.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Source and destination address.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// IP protocol number.
    pub l4: Option<u8>,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// IPv4 identification, or that of the fragment header.
    pub ip_id: Option<u32>,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// Type of service or traffic class.
    pub tos: Option<u8>,
    /// Fragment offset in bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// TCP's own fields.
    pub tcp: Option<Tcp>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Identifier and sequence number of echo messages.
    pub echo: Option<(u16, u16)>,
    /// What it carries, and the VNI or key.
    pub tunnel: Option<(&'static str, Option<u32>)>,
    /// The payload's fingerprint: see [`FINGERPRINT_BYTES`].
    pub payload: Option<u64>,
}

/// Fields of a TCP header.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// The flags byte.
    pub flags: u8,
    /// Window, unscaled.
    pub window: u16,
    /// Timestamp value and echo reply.
    pub timestamps: Option<(u32, u32)>,
}

/// Decodes a header of this ethertype.
pub fn decode(ethertype: u16, bytes: &[u8]) -> Header {
    let packet = LaxSlicedPacket::from_ether_type(EtherType(ethertype), bytes);
    let mut header = Header::default();
    match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let h = ip.header();
            header.addresses = Some((h.source_addr().into(), h.destination_addr().into()));
            header.l4 = Some(h.protocol().0);
            header.ip_id = Some(h.identification().into());
            header.ttl = Some(h.ttl());
            header.tos = bytes.get(1).copied();
            header.fragment = fragment(h.fragments_offset(), h.more_fragments());
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let h = ip.header();
            header.addresses = Some((h.source_addr().into(), h.destination_addr().into()));
            header.l4 = Some(ip.payload().ip_number.0);
            header.ttl = Some(h.hop_limit());
            header.tos = Some(h.traffic_class());
            extension_fragment(&mut header, h.next_header().0, bytes.get(40..).unwrap_or_default());
        }
        Some(LaxNetSlice::Arp(arp)) => header.addresses = arp_addresses(arp.slice()),
        None => {}
    }
    if let Some(transport) = &packet.transport {
        decode_transport(&mut header, transport, packet.net.as_ref().map_or(0, carried));
    }
    header.tunnel = tunnel(&header, packet.transport.as_ref(), &packet);
    header
}

/// Bytes of what a packet carries behind its network headers, by what these say.
fn carried(net: &LaxNetSlice<'_>) -> usize {
    match net {
        LaxNetSlice::Ipv4(ip) => ip.header().payload_len().unwrap_or_default().into(),
        LaxNetSlice::Ipv6(ip) => {
            usize::from(ip.header().payload_length()).saturating_sub(ip.extensions().slice().len())
        }
        LaxNetSlice::Arp(_) => 0,
    }
}

/// A fragment's place, unless the packet is whole.
fn fragment(offset: IpFragOffset, more: bool) -> Option<(u16, bool)> {
    let bytes = offset.value() * 8;
    (bytes > 0 || more).then_some((bytes, more))
}

/// Fields of an IPv6 fragment header that stands first (RFC 8200, section 4.5).
fn extension_fragment(header: &mut Header, next: u8, bytes: &[u8]) {
    const FRAGMENT: u8 = 44;
    if next != FRAGMENT {
        return;
    }
    if let Some([_, _, high, low, a, b, c, d]) = bytes.first_chunk() {
        let place = u16::from_be_bytes([*high, *low]);
        header.fragment = Some((place & 0xfff8, place & 1 != 0));
        header.ip_id = Some(u32::from_be_bytes([*a, *b, *c, *d]));
    }
}

/// Sender and target of an ARP packet for IPv4 over Ethernet (RFC 826).
fn arp_addresses(slice: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let address = |at: usize| slice.get(at..at + 4)?.first_chunk::<4>().map(|b| IpAddr::from(*b));
    (slice.get(4..6)? == [6, 4]).then_some((address(14)?, address(24)?))
}

/// Ports, TCP, ICMP and the payload's fingerprint; `len` bytes are the transport's. TCP has none: a segment is known by its
/// sequence number, and where it begins and ends changes on its way.
fn decode_transport(header: &mut Header, transport: &TransportSlice<'_>, len: usize) {
    let behind = |slice: &[u8], payload: &[u8]| {
        fingerprint(payload, (len + payload.len()).saturating_sub(slice.len()))
    };
    match transport {
        TransportSlice::Udp(udp) => {
            header.ports = Some((udp.source_port(), udp.destination_port()));
            header.payload = fingerprint(udp.payload(), udp.length().saturating_sub(UDP_HEADER).into());
        }
        TransportSlice::Tcp(tcp) => {
            header.ports = Some((tcp.source_port(), tcp.destination_port()));
            header.tcp = Some(decode_tcp(tcp));
        }
        TransportSlice::Icmpv4(icmp) => {
            decode_icmp(header, icmp.slice(), &[0, 8]);
            header.payload = behind(icmp.slice(), icmp.payload());
        }
        TransportSlice::Icmpv6(icmp) => {
            decode_icmp(header, icmp.slice(), &[128, 129]);
            header.payload = behind(icmp.slice(), icmp.payload());
        }
        _ => {}
    }
}

/// TCP's own fields.
fn decode_tcp(tcp: &TcpSlice<'_>) -> Tcp {
    let timestamps = tcp.options_iterator().flatten().find_map(|option| match option {
        TcpOptionElement::Timestamp(value, echo) => Some((value, echo)),
        _ => None,
    });
    Tcp {
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: tcp.slice().get(13).copied().unwrap_or_default(),
        window: tcp.window_size(),
        timestamps,
    }
}

/// Type, code, and the echo fields where the type is one of `echoes`.
fn decode_icmp(header: &mut Header, slice: &[u8], echoes: &[u8]) {
    let Some([kind, code, _, _, a, b, c, d]) = slice.first_chunk() else { return };
    header.icmp = Some((*kind, *code));
    if echoes.contains(kind) {
        header.echo = Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])));
    }
}

/// Hash of the first bytes of a payload of `len`, if all of them were seen.
fn fingerprint(seen: &[u8], len: usize) -> Option<u64> {
    let covered = seen.get(..len.min(FINGERPRINT_BYTES))?;
    (!covered.is_empty()).then(|| XxHash64::oneshot(0, covered))
}

/// The tunnel that a packet is, by its protocol or UDP port.
fn tunnel(
    header: &Header,
    transport: Option<&TransportSlice<'_>>,
    packet: &LaxSlicedPacket<'_>,
) -> Option<(&'static str, Option<u32>)> {
    if let Some(TransportSlice::Udp(udp)) = transport {
        let vni = udp.payload().get(4..7).map(|b| b.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)));
        return match constant(udp.destination_port().into()) {
            constant::PORT_VXLAN | constant::PORT_VXLAN_LINUX => Some(("vxlan", vni)),
            constant::PORT_GENEVE => Some(("geneve", vni)),
            _ if is_wireguard_data(udp) => Some(("wireguard", None)),
            _ => None,
        };
    }
    let v4 = header.addresses.is_some_and(|(source, _)| source.is_ipv4());
    match (header.l4?, v4) {
        (4, true) => Some(("ipip", None)),
        (41, true) => Some(("sit", None)),
        (4 | 41, false) => Some(("ip6tnl", None)),
        (47, _) => Some(("gre", packet.ip_payload().and_then(|p| gre_key(p.payload)))),
        _ => None,
    }
}

/// Whether a datagram is data of WireGuard, which has no port of its own (`struct message_data`): the type 4 in 32 bits,
/// 12 more bytes, what is encrypted, in blocks of 16, and a tag of 16.
fn is_wireguard_data(udp: &UdpSlice<'_>) -> bool {
    let len = udp.length().saturating_sub(UDP_HEADER);
    udp.payload().starts_with(&[4, 0, 0, 0]) && len >= 32 && len.is_multiple_of(16)
}

/// The key of a GRE header, if it has one (RFC 2890).
fn gre_key(bytes: &[u8]) -> Option<u32> {
    let flags = *bytes.first()?;
    let at = if flags & 0x80 != 0 { 8 } else { 4 };
    let key = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    (flags & 0x20 != 0).then(|| u32::from_be_bytes(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn built(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        bytes
    }

    #[test]
    fn a_udp_datagram_has_addresses_ports_and_a_fingerprint() {
        let bytes = built(PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1000, 53), b"query");
        let header = decode(0x0800, &bytes);
        assert_eq!(header.ports, Some((1000, 53)));
        assert_eq!((header.l4, header.ttl), (Some(17), Some(64)));
        assert!(header.payload.is_some() && header.fragment.is_none());
    }

    #[test]
    fn a_fingerprint_is_the_same_however_much_is_seen_or_absent() {
        let payload: Vec<u8> = (0..100).collect();
        for len in [0, 1, 20, 31, 32, 33, 100] {
            let udp = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1000, 53);
            let echo = PacketBuilder::ipv6([1; 16], [2; 16], 64).icmpv6_echo_request(7, 1);
            let mut ping = Vec::new();
            echo.write(&mut ping, &payload[..len]).unwrap();
            for (ethertype, bytes, headers) in [(0x0800, built(udp, &payload[..len]), 28), (0x86dd, ping, 48)]
            {
                let of = |seen: &[u8]| decode(ethertype, seen).payload;
                let needed = headers + len.min(FINGERPRINT_BYTES);
                assert_eq!(of(&bytes).is_some(), len > 0, "{len}");
                // A frame that is shorter than Ethernet wants it is padded.
                assert_eq!(of(&[&bytes[..], &[0; 30]].concat()), of(&bytes), "{len}");
                (headers..=bytes.len()).for_each(|end| {
                    assert_eq!(of(&bytes[..end]), of(&bytes).filter(|_| end >= needed), "{len} to {end}");
                });
            }
        }
    }

    #[test]
    fn a_header_cut_short_gives_what_it_has() {
        let bytes = built(PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1000, 53), &[7; 500]);
        for end in 0..64 {
            let header = decode(0x0800, &bytes[..end]);
            assert_eq!(header.addresses.is_some(), end >= 20, "at {end}");
            assert_eq!(header.ports.is_some(), end >= 28, "at {end}");
        }
    }

    #[test]
    fn tcp_flags_and_timestamps_are_read() {
        let step = PacketBuilder::ipv6([1; 16], [2; 16], 9).tcp(1, 2, 77, 500);
        let step = step.syn().ack(5).options(&[TcpOptionElement::Timestamp(11, 22)]).unwrap();
        let mut bytes = Vec::new();
        step.write(&mut bytes, &[]).unwrap();
        let tcp = decode(0x86dd, &bytes).tcp.unwrap();
        assert_eq!((tcp.seq, tcp.ack, tcp.flags), (77, 5, 0x12));
        assert_eq!(tcp.timestamps, Some((11, 22)));
    }

    #[test]
    fn vxlan_carries_its_vni() {
        let inner = [8, 0, 0, 0, 0, 0, 42, 0];
        let bytes = built(PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1000, 4789), &inner);
        assert_eq!(decode(0x0800, &bytes).tunnel, Some(("vxlan", Some(42))));
    }

    #[test]
    fn data_of_wireguard_is_known_by_its_form() {
        let tunnel_of = |payload: &[u8]| {
            decode(0x0800, &built(PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(51820, 51820), payload)).tunnel
        };
        let data = |kind: u8, len: usize| [&[kind, 0, 0, 0][..], &vec![7; len - 4]].concat();
        assert_eq!(tunnel_of(&data(4, 128)), Some(("wireguard", None)));
        // A handshake; no whole blocks; a tag alone.
        for other in [data(1, 144), data(4, 130), data(4, 16)] {
            assert_eq!(tunnel_of(&other), None);
        }
    }

    #[test]
    fn any_bytes_are_survived() {
        for seed in 0..2000_u64 {
            let bytes: Vec<u8> =
                (0..seed % 128).map(|i| XxHash64::oneshot(seed, &i.to_ne_bytes()) as u8).collect();
            for ethertype in [0x0800, 0x86dd, 0x0806, 0x8100, 0x88cc] {
                decode(ethertype, &bytes);
            }
        }
    }
}
