//! Capture filters: words of the command line -> the values that the BPF programs compare.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::args;
use crate::bpf::types::{self, ask};
use crate::host::Namespace;
use crate::pcap;

/// Values that one filter takes, as `FILTER_MAX` of `bpf/event.h`.
const MOST: usize = 8;

/// An address with its prefix length.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// As the user wrote it.
    text: String,
    /// The address, IPv4 as `::ffff:a.b.c.d`, host bits cleared.
    address: u128,
    /// The bits that count.
    mask: u128,
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("'{address}' is no IPv4 or IPv6 address; names are not looked up"))?;
        let (bits, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = match length {
            None => bits,
            Some(l) => l
                .parse()
                .ok()
                .filter(|l| *l <= bits)
                .ok_or(format!("the prefix is 0 to {bits} bits, not '{l}'"))?,
        };
        let mask = u128::MAX.checked_shl(128 - offset - length).unwrap_or(0);
        let value = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Ok(Self { text: text.to_owned(), address: u128::from(value) & mask, mask })
    }
}

impl Prefix {
    /// For the kernel: two words whose bytes are in network order.
    fn to_bpf(&self) -> types::prefix {
        types::prefix { addr: words(self.address), mask: words(self.mask) }
    }
}

/// The 16 bytes of an address in network order, as two words of this machine.
fn words(address: u128) -> [u64; 2] {
    let bytes = Ipv6Addr::from(address).octets();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| u64::from_ne_bytes(half.try_into().unwrap_or_default()))
}

/// A number, or all from one to another.
#[derive(Clone, Debug)]
pub struct Range {
    /// The first.
    from: u32,
    /// The last.
    to: u32,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let number =
            |t: &str| t.parse::<u32>().map_err(|_| format!("'{t}' is no number; write 443 or 8000-8099"));
        let (from, to) = (number(from)?, number(to)?);
        if from > to { Err(format!("{from} is more than {to}")) } else { Ok(Self { from, to }) }
    }
}

impl Range {
    /// A range of ports.
    pub fn of_ports(text: &str) -> Result<Self, String> {
        let range: Self = text.parse()?;
        if range.to > u16::MAX.into() {
            Err(format!("{} is no port: they end at 65535", range.to))
        } else {
            Ok(range)
        }
    }
}

/// A protocol, by the names of pcap-filter.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// As the user wrote it.
    text: String,
    /// What it is compared with.
    layer: Layer,
}

/// The layer of a protocol, with its number.
#[derive(Clone, Copy, Debug)]
enum Layer {
    /// An ethertype.
    Ethertype(u32),
    /// An IP protocol.
    Ip(u32),
}

/// Names of protocols.
const PROTOCOLS: [(&str, Layer); 13] = [
    ("ip", Layer::Ethertype(0x0800)),
    ("ip6", Layer::Ethertype(0x86dd)),
    ("arp", Layer::Ethertype(0x0806)),
    ("icmp", Layer::Ip(1)),
    ("igmp", Layer::Ip(2)),
    ("tcp", Layer::Ip(6)),
    ("udp", Layer::Ip(17)),
    ("gre", Layer::Ip(47)),
    ("esp", Layer::Ip(50)),
    ("ah", Layer::Ip(51)),
    ("icmp6", Layer::Ip(58)),
    ("sctp", Layer::Ip(132)),
    ("udplite", Layer::Ip(136)),
];

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, layer)| *layer);
        let numbered = || text.parse::<u8>().ok().map(|n| Layer::Ip(n.into()));
        let layer = named.or_else(numbered).ok_or_else(|| {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            format!("'{text}' is no protocol: use {}, or an IP protocol number", names.join(", "))
        })?;
        Ok(Self { text: text.to_owned(), layer })
    }
}

/// The name of a device: at most 15 bytes.
#[derive(Clone, Debug)]
pub struct DeviceName(String);

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 15 || text.contains(['/', ' ']) {
            return Err(format!("'{text}' is no device name (1 to 15 characters)"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl DeviceName {
    /// For the kernel: 16 bytes, zero-padded, as two words.
    fn to_bpf(&self) -> [u64; 2] {
        let mut bytes = [0_u8; 16];
        bytes.iter_mut().zip(self.0.bytes()).for_each(|(to, from)| *to = from);
        words(u128::from_be_bytes(bytes))
    }
}

/// A network namespace.
#[derive(Clone, Debug)]
pub struct NetNs {
    /// As the user wrote it.
    text: String,
    /// Its inode.
    inode: u32,
    /// What leads to it, where the user said so.
    path: Option<PathBuf>,
}

impl NetNs {
    /// The namespace itself, if it can be reached.
    pub fn find(&self) -> Option<Namespace> {
        self.path.clone().map_or_else(|| Namespace::find(self.inode), Namespace::at)
    }
}

impl FromStr for NetNs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(inode) = text.parse() {
            return Ok(Self { text: text.to_owned(), inode, path: None });
        }
        let path = if text.contains('/') { PathBuf::from(text) } else { Path::new("/run/netns").join(text) };
        let found = std::fs::metadata(&path);
        let found = found.map_err(|e| format!("no network namespace at {}: {e}", path.display()))?;
        Ok(Self { text: text.to_owned(), inode: found.ino() as u32, path: Some(path) })
    }
}

/// TCP flags, any of which is wanted.
#[derive(Clone, Debug)]
pub struct Flags {
    /// As the user wrote it.
    text: String,
    /// Their bits.
    bits: u32,
}

impl FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LETTERS: &str = "FSRPAUEC";
        let bit = |c: char| LETTERS.find(c.to_ascii_uppercase()).map(|position| 1 << position);
        let bits: Option<u32> = text.chars().map(bit).sum();
        let bits =
            bits.filter(|b| *b > 0).ok_or(format!("TCP flags are letters of {LETTERS}, not '{text}'"))?;
        Ok(Self { text: text.to_owned(), bits })
    }
}

/// Puts the values of one filter into its fixed list.
fn list<T, U: Copy, const N: usize>(
    name: &str,
    values: &[T],
    into: &mut [U; N],
    to: impl Fn(&T) -> U,
) -> Result<u32> {
    if values.len() > N {
        bail!("--{name} takes at most {MOST} values, not {}", values.len());
    }
    into.iter_mut().zip(values).for_each(|(slot, value)| *slot = to(value));
    Ok(values.len() as u32)
}

impl args::Filter {
    /// The filters as the kernel compares them.
    ///
    /// # Errors
    ///
    /// When a filter has too many values, or a device is on none of the host's namespaces.
    pub fn to_bpf(&self) -> Result<types::filter> {
        let mut f = types::filter::default();
        let prefix = Prefix::to_bpf;
        f.addr.n = list("addr", &self.addr, &mut f.addr.list, prefix)?;
        f.src.n = list("src", &self.src, &mut f.src.list, prefix)?;
        f.dst.n = list("dst", &self.dst, &mut f.dst.list, prefix)?;
        let range = |r: &Range| types::range { from: r.from, to: r.to };
        f.port.n = list("port", &self.port, &mut f.port.list, range)?;
        f.sport.n = list("sport", &self.sport, &mut f.sport.list, range)?;
        f.dport.n = list("dport", &self.dport, &mut f.dport.list, range)?;
        f.len.n = list("len", &self.len, &mut f.len.list, range)?;
        f.dev.n = list("dev", &self.dev, &mut f.dev.list, DeviceName::to_bpf)?;
        f.netns.n = list("netns", &self.netns, &mut f.netns.list, |n| n.inode)?;
        f.pid.n = list("pid", &self.pid, &mut f.pid.list, |pid| *pid)?;
        let (ethertypes, protocols) = self.layers();
        f.ethertype.n = list("proto", &ethertypes, &mut f.ethertype.list, |n| *n)?;
        f.l4.n = list("proto", &protocols, &mut f.l4.list, |n| *n)?;
        f.tcp_flags = self.tcp_flags.as_ref().map_or(0, |flags| flags.bits);
        f.asks = self.asks();
        Ok(f)
    }

    /// Which criteria there are, as bits.
    fn asks(&self) -> u32 {
        let criteria = [
            (!self.src.is_empty(), ask::ASK_SRC),
            (!self.dst.is_empty(), ask::ASK_DST),
            (!self.addr.is_empty(), ask::ASK_ADDR),
            (!self.sport.is_empty(), ask::ASK_SPORT),
            (!self.dport.is_empty(), ask::ASK_DPORT),
            (!self.port.is_empty(), ask::ASK_PORT),
            (!self.proto.is_empty(), ask::ASK_PROTO),
            (!self.dev.is_empty(), ask::ASK_DEV),
            (!self.netns.is_empty(), ask::ASK_NETNS),
            (!self.pid.is_empty(), ask::ASK_PID),
            (!self.len.is_empty(), ask::ASK_LEN),
            (self.tcp_flags.is_some(), ask::ASK_TCP_FLAGS),
            (self.expression.iter().any(|word| !word.trim().is_empty()), ask::ASK_EXPRESSION),
            (!self.starts.is_empty(), ask::ASK_MATCH),
        ];
        criteria.iter().filter(|(asked, _)| *asked).map(|(_, bit)| bit.0).sum()
    }

    /// Whether there is any.
    pub fn is_active(&self) -> bool {
        self.asks() != 0
    }

    /// The expression, compiled.
    ///
    /// # Errors
    ///
    /// When it does not compile, or is missing where it is needed.
    pub fn compiled(&self) -> Result<pcap::Compiled> {
        if self.inner && self.expression.is_empty() {
            bail!(
                "--inner says which packet the filter expression is about: write one, such as 'tcp port 443'"
            );
        }
        pcap::compile(&self.expression)
    }

    /// The protocols asked for, apart by layer.
    fn layers(&self) -> (Vec<u32>, Vec<u32>) {
        let mut found = (Vec::new(), Vec::new());
        for protocol in &self.proto {
            match protocol.layer {
                Layer::Ethertype(n) => found.0.push(n),
                Layer::Ip(n) => found.1.push(n),
            }
        }
        found
    }

    /// Every filter in force, by its flag, as the user wrote it.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let filters = [
            ("addr", join(&self.addr)),
            ("src", join(&self.src)),
            ("dst", join(&self.dst)),
            ("port", join(&self.port)),
            ("sport", join(&self.sport)),
            ("dport", join(&self.dport)),
            ("proto", join(&self.proto)),
            ("dev", join(&self.dev)),
            ("netns", join(&self.netns)),
            ("pid", join(&self.pid)),
            ("len", join(&self.len)),
            ("tcp-flags", self.tcp_flags.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("match", self.starts.join(",")),
            (if self.inner { "inner expression" } else { "expression" }, self.expression.join(" ")),
        ];
        filters.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The devices asked for.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.dev.iter().map(|d| d.0.as_str())
    }
}

/// Values as the user wrote them.
fn join<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_clear_the_host_bits() {
        let p: Prefix = "10.1.2.3/8".parse().unwrap();
        assert_eq!(Ipv6Addr::from(p.address), "::ffff:10.0.0.0".parse::<Ipv6Addr>().unwrap());
        assert_eq!(p.mask, u128::MAX << 24);
        let any: Prefix = "0.0.0.0/0".parse().unwrap();
        assert_eq!(any.mask, u128::MAX << 32);
        let all: Prefix = "::/0".parse().unwrap();
        assert_eq!(all.mask, 0);
    }

    #[test]
    fn bad_words_say_what_is_wrong() {
        assert!("example.com".parse::<Prefix>().unwrap_err().contains("not looked up"));
        assert!("10.0.0.1/33".parse::<Prefix>().unwrap_err().contains("0 to 32"));
        assert!("9-1".parse::<Range>().is_err());
        assert!("quic".parse::<Protocol>().unwrap_err().contains("tcp"));
        assert!("SX".parse::<Flags>().is_err());
        assert!("a-very-long-device".parse::<DeviceName>().is_err());
    }

    #[test]
    fn flags_are_bits_of_the_header() {
        assert_eq!("SA".parse::<Flags>().unwrap().bits, 0x12);
    }

    #[test]
    fn words_keep_the_byte_order() {
        let bytes: Vec<u8> =
            words(u128::from_be_bytes(*b"0123456789abcdef")).iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(bytes, b"0123456789abcdef");
    }
}
