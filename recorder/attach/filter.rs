//! Capture filters: words of the command line -> the values that the BPF programs compare.

use std::fmt::Display;
use std::net::Ipv6Addr;

use anyhow::{Result, bail};
use words::{Device, Layer, Network, Range};

use super::pcap;
use crate::args;
use crate::bpf::types::{self, ask};
use crate::node::netns::NetNs;

/// Values that one filter takes.
const MOST: usize = types::limits::FILTER_MAX.0 as usize;

/// For the kernel: two words each, whose bytes are in network order.
fn network_to_bpf(network: &Network) -> types::prefix {
    types::prefix { addr: halves(network.base()), mask: halves(network.mask()) }
}

/// The 16 bytes of an address in network order, as two words of this machine.
fn halves(address: u128) -> [u64; 2] {
    let bytes = Ipv6Addr::from(address).octets();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| u64::from_ne_bytes(half.try_into().unwrap_or_default()))
}

/// The name of a device for the kernel: 16 bytes, zero-padded, as two words.
fn device_to_bpf(device: &Device) -> [u64; 2] {
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(device.name().bytes()).for_each(|(to, from)| *to = from);
    halves(u128::from_be_bytes(bytes))
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
        f.addr.n = list("addr", &self.addr, &mut f.addr.list, network_to_bpf)?;
        f.src.n = list("src", &self.src, &mut f.src.list, network_to_bpf)?;
        f.dst.n = list("dst", &self.dst, &mut f.dst.list, network_to_bpf)?;
        let range = |r: &Range| types::range { from: r.first, to: r.last };
        f.port.n = list("port", &self.port, &mut f.port.list, range)?;
        f.sport.n = list("sport", &self.sport, &mut f.sport.list, range)?;
        f.dport.n = list("dport", &self.dport, &mut f.dport.list, range)?;
        f.len.n = list("len", &self.len, &mut f.len.list, range)?;
        f.dev.n = list("dev", &self.dev, &mut f.dev.list, device_to_bpf)?;
        f.netns.n = list("netns", &self.netns, &mut f.netns.list, NetNs::inode)?;
        f.pid.n = list("pid", &self.pid, &mut f.pid.list, |pid| *pid)?;
        let (ethertypes, protocols) = self.layers();
        f.ethertype.n = list("proto", &ethertypes, &mut f.ethertype.list, |n| *n)?;
        f.l4.n = list("proto", &protocols, &mut f.l4.list, |n| *n)?;
        f.tcp_flags = self.tcp_flags.as_ref().map_or(0, |flags| flags.bits().into());
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
            match protocol.layer() {
                Layer::Ethertype(n) => found.0.push(n.into()),
                Layer::Ip(n) => found.1.push(n.into()),
            }
        }
        found
    }

    /// Every filter in force, by its flag.
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
        self.dev.iter().map(Device::name)
    }
}

/// Values as one text.
fn join<T: Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_the_byte_order() {
        let bytes: Vec<u8> =
            halves(u128::from_be_bytes(*b"0123456789abcdef")).iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(bytes, b"0123456789abcdef");
    }
}
