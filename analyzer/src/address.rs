//! Network addresses as 16 bytes, and the networks that filters name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Serialize, Serializer};

use crate::symbol::Sym;

/// An address of a packet: IPv4 (mapped into IPv6), IPv6, other text (a link address), or none.
///
/// Plain bytes instead of symbols: addresses are the one column that a flood fills with endless different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr([u64; 2]);

/// Upper half of addresses that are not IP: the reserved prefix 100:0:0:1::/64 marks them.
const OTHER: u64 = 0x0100_0000_0000_0001;

impl Addr {
    /// No address.
    pub const NONE: Self = Self([u64::MAX; 2]);

    /// The address that a text of the capture stands for.
    pub fn from_text(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) => ip.into(),
            Err(_) if text.is_empty() => Self::NONE,
            Err(_) => Self([OTHER, u64::from(Sym::new(text).place())]),
        }
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Whether it is `0.0.0.0` or `::`.
    pub fn is_unspecified(self) -> bool {
        matches!(self.ip(), Some(ip) if ip.is_unspecified())
    }

    /// The IP address, if it is one.
    pub fn ip(self) -> Option<IpAddr> {
        if self.is_none() || self.0[0] == OTHER {
            return None;
        }
        Some(Ipv6Addr::from_bits(self.bits()).to_canonical())
    }

    /// The address as one number.
    fn bits(self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
}

impl Default for Addr {
    fn default() -> Self {
        Self::NONE
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        let bits = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self([(bits >> 64) as u64, bits as u64])
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => ip.fmt(f),
            None if self.is_none() => f.pad("-"),
            None => f.pad(Sym::at(self.0[1]).text()),
        }
    }
}

impl Serialize for Addr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_none() { serializer.serialize_none() } else { serializer.collect_str(self) }
    }
}

/// An address with its port, in brackets where that is needed.
pub fn with_port(addr: Addr, port: u16) -> String {
    match addr.ip() {
        Some(IpAddr::V6(ip)) if port != 0 => format!("[{ip}]:{port}"),
        _ if port != 0 => format!("{addr}:{port}"),
        _ => addr.to_string(),
    }
}

/// A network: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    base: u128,
    /// The bits that count.
    mask: u128,
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(self, addr: Addr) -> bool {
        addr.ip().is_some() && addr.bits() & self.mask == self.base
    }
}

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let ip: IpAddr = address.parse().with_context(|| {
            format!("`{text}` is not an address or network such as 10.0.0.0/8 or 2001:db8::1")
        })?;
        let (skip, width) = if ip.is_ipv4() { (96, 32) } else { (0, 128) };
        let length: u32 = match length {
            Some(l) => l.parse().with_context(|| format!("`{text}`: `{l}` is not a prefix length"))?,
            None => width,
        };
        if length > width {
            bail!("`{text}`: the prefix length is at most {width}");
        }
        let mask = u128::MAX.checked_shl(128 - skip - length).unwrap_or(0);
        Ok(Self { base: Addr::from(ip).bits() & mask, mask })
    }
}

/// The IPv4 address of four bytes, for tests and defaults.
pub fn v4(a: u8, b: u8, c: u8, d: u8) -> Addr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_text() {
        for text in ["10.77.1.2", "2001:db8::1", "::", "0.0.0.0", "02:42:ac:11:00:02"] {
            assert_eq!(Addr::from_text(text).to_string(), text);
        }
        assert!(Addr::from_text("").is_none());
    }

    #[test]
    fn networks_contain_their_addresses_only() {
        let net: Network = "10.77.0.0/16".parse().unwrap();
        assert!(net.contains(v4(10, 77, 200, 1)));
        assert!(!net.contains(v4(10, 78, 0, 1)));
        assert!(!net.contains(Addr::NONE));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains(v4(1, 2, 3, 4)));
        let one: Network = "2001:db8::1".parse().unwrap();
        assert!(one.contains(Addr::from_text("2001:db8::1")));
        assert!(!one.contains(Addr::from_text("2001:db8::2")));
    }

    #[test]
    fn bad_networks_are_refused_with_the_reason() {
        let message = |t: &str| t.parse::<Network>().unwrap_err().to_string();
        assert!(message("10.0.0.0/33").contains("at most 32"));
        assert!(message("10.0.0").contains("not an address"));
        assert!(message("10.0.0.0/x").contains("not a prefix length"));
    }

    #[test]
    fn ports_follow_brackets_in_ipv6() {
        assert_eq!(with_port(Addr::from_text("2001:db8::1"), 80), "[2001:db8::1]:80");
        assert_eq!(with_port(v4(10, 0, 0, 1), 80), "10.0.0.1:80");
        assert_eq!(with_port(v4(10, 0, 0, 1), 0), "10.0.0.1");
    }
}
