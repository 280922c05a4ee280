//! Networks and single addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::Error;

/// A network, or one address: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, `10.0.0.1`.
///
/// It has addresses of its own family only: all of IPv4 is `0.0.0.0/0`, and all of IPv6 is `::/0`. Host bits are ignored,
/// as iptables does. An IPv4 address that is mapped into IPv6, as sockets for both have it, is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Bits of `::ffff:0:0/96`, below which IPv4 is mapped into IPv6.
const MAPPED: u8 = 96;

impl Network {
    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Its first address as a number, IPv4 as `::ffff:a.b.c.d`.
    pub fn base(self) -> u128 {
        match self.0 {
            IpNet::V4(net) => net.network().to_ipv6_mapped().to_bits(),
            IpNet::V6(net) => net.network().to_bits(),
        }
    }

    /// The bits of an address that count, IPv4 as `::ffff:a.b.c.d`.
    pub fn mask(self) -> u128 {
        let skipped = if matches!(self.0, IpNet::V4(_)) { MAPPED } else { 0 };
        u128::MAX.checked_shl(128 - u32::from(skipped + self.0.prefix_len())).unwrap_or(0)
    }
}

/// A mapped network is IPv4's.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let four = six.network().to_ipv4_mapped().filter(|_| six.prefix_len() >= MAPPED);
    four.and_then(|four| Ipv4Net::new(four, six.prefix_len() - MAPPED).ok()).map_or(net, IpNet::V4)
}

/// The prefix length that is written as a number of bits or as a mask.
fn prefix_length(text: &str) -> Option<u8> {
    crate::decimal(text).or_else(|| ipnet::ip_mask_to_prefix(text.parse().ok()?).ok())
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| {
            let remedy = "write 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32; names are not looked up";
            Error::new(text, "address or network", remedy)
        })?;
        let net = match length {
            None => Some(address.into()),
            Some(length) => prefix_length(length).and_then(|bits| IpNet::new(address, bits).ok()),
        };
        let net = net.ok_or_else(|| {
            let most = if address.is_ipv4() { "0 to 32 bits in IPv4" } else { "0 to 128 bits in IPv6" };
            Error::new(text, "network", format!("the prefix has {most}"))
        })?;
        Ok(Self(canonical(net.trunc())))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// The bytes of a number in network order are those of the address.
impl From<Network> for Ipv6Addr {
    fn from(network: Network) -> Self {
        Self::from_bits(network.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn has(network: &str, address: &str) -> bool {
        net(network).contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_its_own_addresses_only() {
        assert!(has("10.77.0.0/16", "10.77.200.1") && !has("10.77.0.0/16", "10.78.0.1"));
        assert!(has("2001:db8::1", "2001:db8::1") && !has("2001:db8::1", "2001:db8::2"));
        assert!(has("10.1.2.3/8", "10.200.0.1"));
        assert!(has("10.0.0.0/255.0.0.0", "10.200.0.1"));
    }

    #[test]
    fn no_bits_are_all_addresses_of_one_family() {
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "2001:db8::1") && !has("0.0.0.0/0", "::"));
        assert!(has("::/0", "2001:db8::1") && !has("::/0", "1.2.3.4") && !has("::/0", "::ffff:1.2.3.4"));
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        assert_eq!(net("::ffff:10.0.0.1"), net("10.0.0.1"));
        assert_eq!(net("::ffff:0:0/96"), net("0.0.0.0/0"));
        assert!(!has("::ffff:0:0/95", "1.2.3.4") && has("10.0.0.1", "::ffff:10.0.0.1"));
    }

    #[test]
    fn numbers_are_those_that_the_kernel_compares() {
        assert_eq!(Ipv6Addr::from(net("10.1.2.3/8")), "::ffff:10.0.0.0".parse::<Ipv6Addr>().unwrap());
        assert_eq!(net("10.1.2.3/8").mask(), u128::MAX << 24);
        assert_eq!(net("0.0.0.0/0").mask(), u128::MAX << 32);
        assert_eq!((net("::/0").base(), net("::/0").mask()), (0, 0));
        assert_eq!(net("::1").mask(), u128::MAX);
    }

    #[test]
    fn refusals_name_the_word_and_what_is_right() {
        let refusal = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        assert_eq!(
            refusal("example.com"),
            "'example.com' is no address or network: write 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32; names are not looked up"
        );
        assert_eq!(
            refusal("10.0.0.1/33"),
            "'10.0.0.1/33' is no network: the prefix has 0 to 32 bits in IPv4"
        );
        assert_eq!(refusal("::1/129"), "'::1/129' is no network: the prefix has 0 to 128 bits in IPv6");
        for text in ["", "/", "10.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/255.0.255.0", "1.2.3.4/8/8"] {
            refusal(text);
        }
    }

    proptest! {
        #[test]
        fn the_kernels_comparison_is_the_same(bits: u128, length in 0_u8..=128, other: u128, flips in 0_u32..128) {
            let network = net(&format!("{}/{length}", Ipv6Addr::from_bits(bits)));
            for address in [other, bits, bits ^ 1 << flips] {
                let address = IpAddr::from(Ipv6Addr::from_bits(address));
                let (four, number) = match address.to_canonical() {
                    IpAddr::V4(v4) => (true, v4.to_ipv6_mapped().to_bits()),
                    IpAddr::V6(v6) => (false, v6.to_bits()),
                };
                let of_family = !four || network.mask() as u32 == u32::MAX || network.mask() >> 32 == u128::MAX >> 32;
                prop_assert_eq!(network.contains(address), of_family && number & network.mask() == network.base());
            }
        }

        #[test]
        fn text_is_read_back(bits: u32, length in 0_u8..=32) {
            let network = net(&format!("{}/{length}", std::net::Ipv4Addr::from_bits(bits)));
            prop_assert_eq!(net(&network.to_string()), network);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,40}") {
            let _ = text.parse::<Network>();
        }
    }
}
