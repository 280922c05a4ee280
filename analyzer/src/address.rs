//! Network addresses as 16 bytes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde::{Serialize, Serializer};

/// An address of a packet: IPv4 (mapped into IPv6), IPv6, a link address of 6 bytes, or none.
///
/// Plain bytes instead of names: addresses are the one column that a flood fills with endless different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr([u64; 2]);

/// Upper half of link addresses: the reserved prefix 100:0:0:1::/64 marks them.
const LINK: u64 = 0x0100_0000_0000_0001;

impl Addr {
    /// No address.
    pub const NONE: Self = Self([u64::MAX; 2]);

    /// The address that a text of the capture stands for; none where it is no address.
    pub fn from_text(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) => ip.into(),
            Err(_) => link_address(text).map_or(Self::NONE, |bits| Self([LINK, bits])),
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
        if self.is_none() || self.0[0] == LINK {
            return None;
        }
        Some(Ipv6Addr::from_bits(self.bits()).to_canonical())
    }

    /// Whether it is an address of IPv6.
    pub fn is_v6(self) -> bool {
        matches!(self.ip(), Some(IpAddr::V6(_)))
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
            None => {
                let [_, _, a, b, c, d, e, g] = self.0[1].to_be_bytes();
                f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
            }
        }
    }
}

impl Serialize for Addr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_none() { serializer.serialize_none() } else { serializer.collect_str(self) }
    }
}

/// The bits of a link address such as `02:42:ac:11:00:02`.
fn link_address(text: &str) -> Option<u64> {
    let mut bits = 0;
    let mut count = 0;
    for byte in text.split(':') {
        bits = bits << 8 | u64::from(u8::from_str_radix(byte, 16).ok()?);
        count += 1;
    }
    (count == 6).then_some(bits)
}

/// An address with its port, in brackets where that is needed.
pub fn with_port(addr: Addr, port: Option<u16>) -> String {
    match (addr.ip(), port) {
        (Some(IpAddr::V6(ip)), Some(port)) => format!("[{ip}]:{port}"),
        (_, Some(port)) => format!("{addr}:{port}"),
        (_, None) => addr.to_string(),
    }
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
    fn ports_follow_brackets_in_ipv6() {
        assert_eq!(with_port(Addr::from_text("2001:db8::1"), Some(80)), "[2001:db8::1]:80");
        assert_eq!(with_port(Addr::from_text("10.0.0.1"), Some(80)), "10.0.0.1:80");
        assert_eq!(with_port(Addr::from_text("10.0.0.1"), None), "10.0.0.1");
    }
}
