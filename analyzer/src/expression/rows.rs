//! A filter expression, asked of the rows of a capture.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use ntc::columns::{BytesColumn, TextColumn, Unsigned};
use ntc::{Batch, ColumnId};
use words::{Layer, Protocol};

use super::{Expression, Flow, Packet};

/// What a user asks of packets.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The expression.
    pub expression: Expression,
    /// Whether it is about the packet in a tunnel.
    pub inner: bool,
}

impl Asked {
    /// The columns that it looks at.
    pub const COLUMNS: [ColumnId; 10] = [
        ColumnId::Kind,
        ColumnId::Skb,
        ColumnId::Header,
        ColumnId::Protocol,
        ColumnId::Len,
        ColumnId::Saddr,
        ColumnId::Daddr,
        ColumnId::L4,
        ColumnId::Sport,
        ColumnId::Dport,
    ];

    /// Which rows of a row group fit.
    ///
    /// A row without a header has its packet's last one: a capture has the header in the first row of a packet, and again
    /// where it changed. Where there is none, as in a socket's rows, the columns tell the flow, which may fit in either
    /// direction.
    pub fn mask(&self, batch: &Batch) -> Vec<bool> {
        let rows = Rows::new(batch);
        // Keys come from a file: their places in the map are chosen at random.
        let mut last: HashMap<u64, usize> = HashMap::new();
        let count = batch.record().num_rows();
        let mut fits = Vec::with_capacity(count);
        for row in 0..count {
            let skb = rows.skb.get(row);
            let own = rows.header(row).map(|_| row);
            let known = own.or_else(|| last.get(&skb?).copied());
            fits.push(
                known.map_or_else(|| self.flow_fits(&rows, row), |of| self.packet_fits(&rows, row, of)),
            );
            let Some(skb) = skb else { continue };
            if text(rows.kind, row) == Some("free") {
                last.remove(&skb);
            } else if let Some(own) = own {
                last.insert(skb, own);
            }
        }
        fits
    }

    /// Whether a row's packet fits, whose header stands in the row `of`.
    fn packet_fits(&self, rows: &Rows<'_>, row: usize, of: usize) -> bool {
        let bytes = rows.header(of).unwrap_or_default();
        let ethertype = text(rows.protocol, of).and_then(|name| name.parse::<Protocol>().ok());
        let ethertype = match (ethertype.map(Protocol::layer), bytes.first().map(|first| first >> 4)) {
            (Some(Layer::Ethertype(number)), _) => number,
            (_, Some(4)) => 0x0800,
            (_, Some(6)) => 0x86dd,
            _ => 0,
        };
        let len = rows.len.get(row).and_then(|len| u32::try_from(len).ok()).unwrap_or_default();
        self.expression.fits(&Packet::new(ethertype, bytes, len), self.inner)
    }

    /// Whether the flow fits that a row's columns tell.
    fn flow_fits(&self, rows: &Rows<'_>, row: usize) -> bool {
        let Some(flow) = rows.flow(row) else { return false };
        let two_way = matches!(text(rows.kind, row), Some("sock" | "tcp"));
        self.way_fits(flow) || two_way && self.way_fits(flow.reversed())
    }

    /// Whether a flow fits in its direction.
    fn way_fits(&self, flow: Flow) -> bool {
        let packet = Packet::of_flow(flow);
        packet.is_some_and(|header| self.expression.fits(&header.packet(), self.inner))
    }
}

/// The columns that tell what a packet is.
struct Rows<'a> {
    /// Kind of the row.
    kind: Option<TextColumn<'a>>,
    /// Address of the packet.
    skb: Unsigned<'a>,
    /// Bytes from the network header on.
    header: Option<BytesColumn<'a>>,
    /// Ethertype by name.
    protocol: Option<TextColumn<'a>>,
    /// Length of the socket buffer.
    len: Unsigned<'a>,
    /// Source address.
    saddr: Option<TextColumn<'a>>,
    /// Destination address.
    daddr: Option<TextColumn<'a>>,
    /// IP protocol by name.
    l4: Option<TextColumn<'a>>,
    /// Source port.
    sport: Unsigned<'a>,
    /// Destination port.
    dport: Unsigned<'a>,
}

impl<'a> Rows<'a> {
    /// The columns of a batch.
    fn new(batch: &'a Batch) -> Self {
        Self {
            kind: batch.text(ColumnId::Kind),
            skb: batch.unsigned(ColumnId::Skb),
            header: batch.bytes(ColumnId::Header),
            protocol: batch.text(ColumnId::Protocol),
            len: batch.unsigned(ColumnId::Len),
            saddr: batch.text(ColumnId::Saddr),
            daddr: batch.text(ColumnId::Daddr),
            l4: batch.text(ColumnId::L4),
            sport: batch.unsigned(ColumnId::Sport),
            dport: batch.unsigned(ColumnId::Dport),
        }
    }

    /// The header of a row.
    fn header(&self, row: usize) -> Option<&'a [u8]> {
        self.header.and_then(|headers| headers.get(row))
    }

    /// Who talks to whom, as a row's columns tell.
    fn flow(&self, row: usize) -> Option<Flow> {
        let address = |texts| text(texts, row)?.parse::<IpAddr>().ok();
        let (source, destination) = same_version(address(self.saddr)?, address(self.daddr)?);
        let protocol = match text(self.l4, row)?.parse::<Protocol>().ok()?.layer() {
            Layer::Ip(number) => number,
            Layer::Ethertype(_) => return None,
        };
        let port = |ports: Unsigned<'_>| u16::try_from(ports.get(row)?).ok();
        let ports = port(self.sport).zip(port(self.dport));
        Some(Flow { source, destination, protocol, ports })
    }
}

/// Addresses of a socket for both versions: what is not bound is of the other's version.
fn same_version(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    let unbound = |ip: IpAddr| if ip.is_unspecified() { Ipv4Addr::UNSPECIFIED.into() } else { ip };
    match (source.to_canonical(), destination.to_canonical()) {
        (IpAddr::V4(four), other) => (four.into(), unbound(other)),
        (other, IpAddr::V4(four)) => (unbound(other), four.into()),
        both => both,
    }
}

/// A row's text.
fn text<'a>(column: Option<TextColumn<'a>>, row: usize) -> Option<&'a str> {
    column.and_then(|texts| texts.get(row))
}
