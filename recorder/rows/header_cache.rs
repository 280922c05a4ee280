//! Packet headers: decoded once while they stay the same, and stored only when they change.

use ntc::Rows;
use ntc::schema::FINGERPRINT_BYTES;

use super::dictionary_keys::DictionaryKeys;
use super::header::{self, Header};
use super::record::HEADER_LONG as LONGEST;
use crate::bpf::types::{probe as Id, record};

/// Headers remembered, to store one only when it changes. A power of two.
const REMEMBERED: usize = 1 << 13;

/// A header and its decoded fields.
#[derive(Clone)]
struct Remembered {
    /// The skb's address.
    skb: u64,
    /// The row batch in which it was stored.
    batch: u64,
    /// The bytes, as many as `len` says; beside the rest, so that comparing costs no detour.
    bytes: [u8; LONGEST],
    /// How many bytes.
    len: u8,
    /// The ethertype it was decoded as.
    ethertype: u16,
    /// The CPU on which a driver was given the packet last, while nothing else was seen at the address.
    started_on: Option<u16>,
    /// The fields, as keys and numbers.
    fields: Fields,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            skb: 0,
            batch: 0,
            bytes: [0; LONGEST],
            len: 0,
            ethertype: 0,
            started_on: None,
            fields: Fields::default(),
        }
    }
}

/// A decoded header whose texts are keys already.
#[derive(Clone, Default)]
struct Fields {
    /// The header.
    header: Header,
    /// Keys in `saddr` and `daddr`.
    addresses: Option<(i32, i32)>,
    /// Key in `l4`.
    l4: Option<i32>,
    /// Key in `tcp_flags`.
    flags: Option<i32>,
}

/// The header last seen at each skb address.
pub struct HeaderCache(Vec<Remembered>);

impl Default for HeaderCache {
    fn default() -> Self {
        Self(vec![Remembered::default(); REMEMBERED])
    }
}

impl HeaderCache {
    /// The header's fields, and its bytes if they changed since the last row of this skb. Says whether it has addresses.
    pub fn put(
        &mut self,
        to: (&mut Rows, &mut DictionaryKeys),
        row: usize,
        r: &record,
        bytes: &[u8],
    ) -> bool {
        let (rows, keys) = to;
        let slot = slot(r.skb);
        let batch = keys.batch();
        let ethertype = ethertype(u16::from_be(r.protocol), bytes);
        let seen = &self.0[slot];
        let same = seen.skb == r.skb
            && seen.batch == batch
            && seen.ethertype == ethertype.0
            && seen.bytes.get(..usize::from(seen.len)) == Some(bytes);
        if !same {
            rows.header.put(row, bytes);
            let header = bytes.get(ethertype.1..).unwrap_or_default();
            let fields = decode((rows, keys), ethertype.0, header, r.gso_size);
            let entry = &mut self.0[slot];
            (entry.skb, entry.batch, entry.ethertype, entry.fields) = (r.skb, batch, ethertype.0, fields);
            let len = bytes.len().min(LONGEST);
            entry.bytes[..len].copy_from_slice(&bytes[..len]);
            entry.len = len as u8;
        }
        let entry = &mut self.0[slot];
        if u32::from(r.probe) == Id::NET_DEV_START_XMIT.0 {
            entry.started_on = Some(r.cpu);
        } else if !same {
            entry.started_on = None;
        }
        put_fields(rows, row, &entry.fields);
        entry.fields.addresses.is_some()
    }

    /// `net_dev_xmit` must not touch the packet, which the driver may have freed: it gets the fields that
    /// `net_dev_start_xmit` showed on this CPU, if no other header came to the address since.
    pub fn put_started(&self, to: (&mut Rows, &mut DictionaryKeys), row: usize, r: &record) -> bool {
        let (rows, keys) = to;
        let entry = &self.0[slot(r.skb)];
        let known = u32::from(r.probe) == Id::NET_DEV_XMIT.0
            && entry.skb == r.skb
            && entry.batch == keys.batch()
            && entry.started_on == Some(r.cpu);
        if known {
            keys.put_protocol(rows, row, entry.ethertype);
            put_fields(rows, row, &entry.fields);
        }
        known
    }
}

/// Decodes a header and finds the keys of its texts. Segments of `gso_size` that are shorter than the fingerprint have
/// others than the packet that they are cut from.
fn decode(
    (rows, keys): (&mut Rows, &mut DictionaryKeys),
    ethertype: u16,
    bytes: &[u8],
    gso_size: u16,
) -> Fields {
    let mut header = header::decode(ethertype, bytes);
    if gso_size > 0 && usize::from(gso_size) < FINGERPRINT_BYTES {
        header.payload = None;
    }
    let addresses = header
        .addresses
        .map(|(source, destination)| (keys.address(rows, source).0, keys.address(rows, destination).1));
    let l4 = header.l4.map(|number| keys.l4(rows, number));
    let flags = header.tcp.map(|tcp| keys.flags(rows, tcp.flags));
    Fields { addresses, l4, flags, header }
}

/// The place of an skb's header among the remembered ones.
fn slot(skb: u64) -> usize {
    ((skb >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - REMEMBERED.trailing_zeros())) as usize
}

/// The ethertype, and where its header begins: behind an 802.1Q tag that is still in the data.
fn ethertype(protocol: u16, bytes: &[u8]) -> (u16, usize) {
    match (protocol, bytes) {
        (0x8100 | 0x88a8, [_, _, high, low, ..]) => (u16::from_be_bytes([*high, *low]), 4),
        (0, [first, ..]) if first >> 4 == 4 => (0x0800, 0),
        (0, [first, ..]) if first >> 4 == 6 => (0x86dd, 0),
        _ => (protocol, 0),
    }
}

/// Writes the decoded header.
fn put_fields(rows: &mut Rows, row: usize, fields: &Fields) {
    let h = &fields.header;
    if let Some((source, destination)) = fields.addresses {
        rows.saddr.put(row, source);
        rows.daddr.put(row, destination);
    }
    if let Some(key) = fields.l4 {
        rows.l4.put(row, key);
    }
    if let Some((source, destination)) = h.ports {
        rows.sport.put(row, source);
        rows.dport.put(row, destination);
    }
    put(&mut rows.ip_id, row, h.ip_id);
    put(&mut rows.ttl, row, h.ttl);
    put(&mut rows.tos, row, h.tos);
    put(&mut rows.payload_hash, row, h.payload);
    if let Some((offset, more)) = h.fragment {
        rows.frag_off.put(row, offset);
        rows.more_frags.put(row, more);
    }
    if let Some((kind, code)) = h.icmp {
        rows.icmp_type.put(row, kind);
        rows.icmp_code.put(row, code);
    }
    if let Some((id, seq)) = h.echo {
        rows.icmp_id.put(row, id);
        rows.icmp_seq.put(row, seq);
    }
    if let Some((name, id)) = h.tunnel {
        rows.tunnel.put_str(row, name);
        put(&mut rows.tunnel_id, row, id);
    }
    if let (Some(tcp), Some(flags)) = (&h.tcp, fields.flags) {
        rows.tcp_seq.put(row, tcp.seq);
        rows.tcp_ack.put(row, tcp.ack);
        rows.tcp_flags.put(row, flags);
        rows.tcp_win.put(row, tcp.window);
        if let Some((value, echo)) = tcp.timestamps {
            rows.tcp_tsval.put(row, value);
            rows.tcp_tsecr.put(row, echo);
        }
    }
}

/// Sets a value if there is one.
fn put<T: Copy + Default>(column: &mut ntc::rows::Column<T>, row: usize, value: Option<T>) {
    if let Some(value) = value {
        column.put(row, value);
    }
}
