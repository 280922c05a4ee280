//! How many bytes of payload packets have: a header stands only in the first row that shows it.

use ahash::AHashMap;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use ntc::ColumnId;

use super::Event;

/// Packets that are remembered at most; of more, all are forgotten.
const MAX_PACKETS: usize = 1 << 18;

/// Bytes behind the transport headers of packets, by the last header that was recorded of each.
#[derive(Debug, Default)]
pub struct Payloads {
    /// By the packet's address.
    known: AHashMap<u64, u32>,
}

impl Payloads {
    /// That of an event's packet, where it is known. Each event with a header (column `header`) must be given.
    pub fn of(&mut self, event: &Event<'_, '_>) -> Option<u32> {
        let Some(header) = event.bytes(ColumnId::Header) else {
            return self.known.get(&event.skb).copied();
        };
        if self.known.len() >= MAX_PACKETS {
            self.known.clear();
        }
        let payload = payload(header);
        match payload {
            Some(len) => self.known.insert(event.skb, len),
            None => self.known.remove(&event.skb),
        };
        payload
    }
}

/// Bytes behind a packet's transport header, by the lengths in its headers; none where IP's is 0 (BIG TCP).
fn payload(header: &[u8]) -> Option<u32> {
    let protocol = if header.first()? >> 4 == 6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let packet = LaxSlicedPacket::from_ether_type(protocol, header);
    let (behind, headers) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (ip.header().total_len(), ip.header().slice().len()),
        LaxNetSlice::Ipv6(ip) => (ip.header().payload_length(), ip.extensions().slice().len()),
        LaxNetSlice::Arp(_) => return None,
    };
    let headers = headers + transport(packet.transport.as_ref()?);
    u32::from(behind).checked_sub(u32::try_from(headers).ok()?)
}

/// Bytes of a transport header.
fn transport(transport: &TransportSlice<'_>) -> usize {
    match transport {
        TransportSlice::Tcp(tcp) => usize::from(tcp.data_offset()) * 4,
        TransportSlice::Udp(_) | TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) => 8,
        _ => 0,
    }
}
