//! Protocols by the names of pcap-filter(7).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::{Error, decimal};

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(Layer);

/// The layer of a protocol, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Above the link: an ethertype.
    Ethertype(u16),
    /// Above IP: an IP protocol.
    Ip(u8),
}

/// Names of protocols. Captures have the same in `protocol` and `l4`.
const NAMES: [(&str, Layer); 15] = [
    ("ip", Layer::Ethertype(0x0800)),
    ("ip6", Layer::Ethertype(0x86dd)),
    ("arp", Layer::Ethertype(0x0806)),
    ("vlan", Layer::Ethertype(0x8100)),
    ("lldp", Layer::Ethertype(0x88cc)),
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

impl Protocol {
    /// Its layer and number.
    pub fn layer(self) -> Layer {
        self.0
    }
}

/// The name of a number in a layer.
fn name(layer: Layer) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == layer).map(|(name, _)| *name)
}

/// The name of an ethertype, or its number as `0x88b5`.
pub fn ethertype_name(number: u16) -> Cow<'static, str> {
    name(Layer::Ethertype(number)).map_or_else(|| format!("{number:#06x}").into(), Into::into)
}

/// The name of an IP protocol, or its number.
pub fn ip_protocol_name(number: u8) -> Cow<'static, str> {
    name(Layer::Ip(number)).map_or_else(|| number.to_string().into(), Into::into)
}

/// An ethertype as `0x88b5`.
fn ethertype(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

impl FromStr for Protocol {
    type Err = Error;

    /// A name in any case, the number of an IP protocol, or an ethertype as `0x88b5`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, layer)| *layer);
        let numbered = || decimal(text).map(Layer::Ip).or_else(|| ethertype(text).map(Layer::Ethertype));
        named.or_else(numbered).map(Self).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            Error::new(
                text,
                "protocol",
                format!("write {names}, an IP protocol's number, or an ethertype as 0x88b5"),
            )
        })
    }
}

impl fmt::Display for Protocol {
    /// As captures name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Layer::Ethertype(number) => f.write_str(&ethertype_name(number)),
            Layer::Ip(number) => f.write_str(&ip_protocol_name(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_numbers_are_the_same() {
        let read = |text: &str| text.parse::<Protocol>().unwrap();
        assert_eq!((read("tcp"), read("TCP")), (read("6"), read("6")));
        assert_eq!(read("ip6"), read("0x86dd"));
        assert_eq!(read("0x88b5").layer(), Layer::Ethertype(0x88b5));
        assert_eq!((read("112").to_string(), read("58").to_string()), ("112".to_owned(), "icmp6".to_owned()));
        for text in ["", "quic", "256", "0x", "0x10000", "-1"] {
            let refusal = text.parse::<Protocol>().unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("'{text}' is no protocol: write ip, ip6")), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn what_captures_have_is_read(ethertype: u16, ip: u8) {
            let read = |text: &str| text.parse::<Protocol>().unwrap().layer();
            prop_assert_eq!(read(&ethertype_name(ethertype)), Layer::Ethertype(ethertype));
            prop_assert_eq!(read(&ip_protocol_name(ip)), Layer::Ip(ip));
        }
    }
}
