//! Primitives of the language as comparisons of a frame's bytes, in the order of libpcap's code generator.

use super::names::{ARP, IP, IP6, Protocol, RARP, Versions};
use super::{Joint, Operator, Relation, Test, Value};

/// Where Ethernet's type stands, and what follows it.
const TYPE: u32 = 12;
/// The greatest length of IEEE 802.3; what is above is an ethertype.
const LONGEST: u32 = 1500;
/// IPv6's fragment header.
const FRAGMENT: u32 = 44;
/// Bytes of IPv6's header.
const HEADER6: u32 = 40;

/// Which side of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Either.
    #[default]
    Either,
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Both.
    Both,
}

impl Side {
    /// A test of the source's place and one of the destination's, as this side wants them.
    fn of(self, source: Test, destination: Test) -> Test {
        match self {
            Self::Either => any([source, destination]),
            Self::Both => all([source, destination]),
            Self::Source => source,
            Self::Destination => destination,
        }
    }
}

/// Tests, all of which must fit.
pub fn all(tests: impl IntoIterator<Item = Test>) -> Test {
    joined(Joint::And, tests)
}

/// Tests, one of which must fit.
pub fn any(tests: impl IntoIterator<Item = Test>) -> Test {
    joined(Joint::Or, tests)
}

/// Tests that are joined in one way; one that always fits of none.
fn joined(joint: Joint, tests: impl IntoIterator<Item = Test>) -> Test {
    let mut tests = tests.into_iter();
    let first = tests.next().unwrap_or(Test::Compare(Value::Number(0), Relation::Equal, Value::Number(0)));
    let rest: Vec<(Joint, Test)> = tests.map(|test| (joint, test)).collect();
    if rest.is_empty() { first } else { Test::Chain(Box::new(first), rest) }
}

/// Bytes at a place that is always the same.
fn load(at: u32, size: u32) -> Value {
    Value::Load { base: at, index: Box::new(Value::Number(0)), size }
}

/// A value under a mask.
fn masked(value: Value, mask: u32) -> Value {
    match mask {
        0 => Value::Number(0),
        u32::MAX => value,
        mask => Value::Calculate(Box::new(value), Operator::And, Box::new(Value::Number(mask))),
    }
}

/// Whether a value is a number.
fn is(value: Value, number: u32) -> Test {
    Test::Compare(value, Relation::Equal, Value::Number(number))
}

/// Whether the frame's length is in a relation to a number.
pub fn length(relation: Relation, number: u32) -> Test {
    Test::Compare(Value::Length, relation, Value::Number(number))
}

/// The headers as the part of the expression before has left them: behind how many tags of VLANs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers {
    /// Tags before the type.
    tags: u32,
}

impl Layers {
    /// Where the type of the network header stands.
    fn link_type(self) -> u32 {
        TYPE + 4 * self.tags
    }

    /// Where the network header begins.
    fn network(self) -> u32 {
        self.link_type() + 2
    }

    /// Whether the type is that of a protocol. Up to 1500 it is a length, and the LLC header tells.
    pub fn is_type(self, number: u32) -> Test {
        let ethertype = load(self.link_type(), 2);
        if number > LONGEST {
            return is(ethertype, number);
        }
        let llc = match number {
            // These have the same access point at both ends.
            0x06 | 0xf0 | 0xfe => is(load(self.network(), 2), number << 8 | number),
            _ => is(load(self.network(), 1), number),
        };
        all([Test::Compare(ethertype, Relation::AtMost, Value::Number(LONGEST)), llc])
    }

    /// Whether there is a tag, of this VLAN. What follows is about the headers behind it.
    pub fn vlan(&mut self, number: Option<u32>) -> Test {
        let tagged = any([0x8100, 0x88a8, 0x9100].map(|tag| is(load(self.link_type(), 2), tag)));
        let numbered = number.map(|number| is(masked(load(self.network(), 2), 0xfff), number));
        self.tags += 1;
        all([tagged].into_iter().chain(numbered))
    }

    /// Whether IPv4 carries a protocol.
    pub fn in_ip(self, number: u32) -> Test {
        all([self.is_type(IP), is(load(self.network() + 9, 1), number)])
    }

    /// Whether IPv6 carries a protocol, or its first fragment header does.
    pub fn in_ip6(self, number: u32) -> Test {
        let next = || load(self.network() + 6, 1);
        let behind = all([is(next(), FRAGMENT), is(load(self.network() + HEADER6, 1), number)]);
        all([self.is_type(IP6), any([is(next(), number), behind])])
    }

    /// Whether IP carries a protocol.
    pub fn in_either(self, number: u32) -> Test {
        any([self.in_ip(number), self.in_ip6(number)])
    }

    /// Whether a packet is of a protocol; none of the link's.
    pub fn protocol(self, protocol: Protocol) -> Option<Test> {
        Some(match protocol {
            Protocol::Link => return None,
            Protocol::Network(number) => self.is_type(number),
            Protocol::Transport(number, Versions::Both) => self.in_either(number),
            Protocol::Transport(number, Versions::Four) => self.in_ip(number),
            Protocol::Transport(number, Versions::Six) => self.in_ip6(number),
        })
    }

    /// Whether a side has an address of IPv4 or is in a network, in IP or in ARP.
    pub fn host(self, of: Option<u32>, side: Side, address: u32, mask: u32) -> Test {
        let network = self.network();
        let place = |ethertype: u32, at: u32| {
            all([self.is_type(ethertype), is(masked(load(network + at, 4), mask), address)])
        };
        let within = |ethertype: u32| {
            let (source, destination) = if ethertype == IP { (12, 16) } else { (14, 24) };
            side.of(place(ethertype, source), place(ethertype, destination))
        };
        of.map_or_else(|| any([IP, ARP, RARP].map(within)), within)
    }

    /// Whether a side has an address of IPv6 or is in a network.
    pub fn host6(self, side: Side, address: u128, mask: u128) -> Test {
        let word = |number: u128, place: u32| (number >> (96 - 32 * place)) as u32;
        let place = |at: u32| {
            let words = (0..4).filter(|place| word(mask, *place) != 0);
            let parts = words.map(|place| {
                is(masked(load(self.network() + at + 4 * place, 4), word(mask, place)), word(address, place))
            });
            all([self.is_type(IP6)].into_iter().chain(parts))
        };
        side.of(place(8), place(24))
    }

    /// Whether a side has a port in a range. In IPv6 only right behind its header, in IPv4 not in later fragments.
    pub fn ports(self, protocol: Option<u32>, side: Side, first: u32, last: u32) -> Test {
        let numbers = protocol.map_or_else(|| vec![132, 6, 17], |number| vec![number]);
        let in_range = |port: Value| {
            if first == last {
                return is(port, first);
            }
            let from = Test::Compare(port.clone(), Relation::AtLeast, Value::Number(first));
            all([from, Test::Compare(port, Relation::AtMost, Value::Number(last))])
        };
        let six = numbers.iter().map(|number| {
            let port = |at: u32| in_range(load(self.network() + HEADER6 + at, 2));
            all([is(load(self.network() + 6, 1), *number), side.of(port(0), port(2))])
        });
        let four = numbers.iter().map(|number| {
            let port = |at: u32| in_range(self.behind_ip(Value::Number(0), at, 2));
            all([is(load(self.network() + 9, 1), *number), self.whole(), side.of(port(0), port(2))])
        });
        any([all([self.is_type(IP6), any(six)]), all([self.is_type(IP), any(four)])])
    }

    /// Whether it is no later fragment of IPv4.
    fn whole(self) -> Test {
        is(masked(load(self.network() + 6, 2), 0x1fff), 0)
    }

    /// Bytes behind the header of IPv4.
    fn behind_ip(self, index: Value, at: u32, size: u32) -> Value {
        let words = Box::new(masked(load(self.network(), 1), 0xf));
        let header = Value::Calculate(words, Operator::Multiply, Box::new(Value::Number(4)));
        let index = Value::Calculate(Box::new(index), Operator::Add, Box::new(header));
        Value::Load { base: self.network() + at, index: Box::new(index), size }
    }

    /// Bytes of a protocol's header, and what must hold so that it has one: transports are looked at in IPv4 only, but ICMPv6.
    pub fn header(self, protocol: Protocol, index: Value, size: u32) -> (Vec<Test>, Value) {
        let at = |base: u32, index: Value| Value::Load { base, index: Box::new(index), size };
        match protocol {
            Protocol::Link => (vec![], at(0, index)),
            Protocol::Network(number) => (vec![self.is_type(number)], at(self.network(), index)),
            Protocol::Transport(number, Versions::Six) => {
                let checks = vec![self.is_type(IP6), is(load(self.network() + 6, 1), number)];
                (checks, at(self.network() + HEADER6, index))
            }
            Protocol::Transport(..) => {
                let checks =
                    [self.is_type(IP)].into_iter().chain(self.protocol(protocol)).chain([self.whole()]);
                (checks.collect(), self.behind_ip(index, 0, size))
            }
        }
    }

    /// Whether the frame goes to everyone.
    pub fn broadcast(self) -> Test {
        all([is(load(2, 4), u32::MAX), is(load(0, 2), 0xffff)])
    }

    /// Whether the frame, or the packet of a version of IP, goes to a group; none for other protocols.
    pub fn multicast(self, protocol: Protocol) -> Option<Test> {
        let at_least = |at: u32, number: u32| {
            Test::Compare(load(self.network() + at, 1), Relation::AtLeast, Value::Number(number))
        };
        match protocol {
            Protocol::Link => Some(Test::Not(Box::new(is(masked(load(0, 1), 1), 0)))),
            Protocol::Network(IP) => Some(all([self.is_type(IP), at_least(16, 224)])),
            Protocol::Network(IP6) => Some(all([self.is_type(IP6), at_least(24, 255)])),
            _ => None,
        }
    }

    /// Whether a side of the frame has an address of Ethernet.
    pub fn station(self, side: Side, mac: [u8; 6]) -> Test {
        let [a, b, c, d, e, f] = mac;
        let place = |at: u32| {
            all([
                is(load(at + 2, 4), u32::from_be_bytes([c, d, e, f])),
                is(load(at, 2), u16::from_be_bytes([a, b]).into()),
            ])
        };
        side.of(place(6), place(0))
    }
}
