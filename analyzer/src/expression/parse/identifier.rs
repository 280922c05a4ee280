//! Identifiers, which are addresses, networks, ports and protocols, and the qualifiers before them.

use super::cursor::is_known;
use super::{Operand, Parser};
use crate::expression::lexer::Token;
use crate::expression::lower::Side;
use crate::expression::names::{self, ARP, IP, IP6, Protocol, RARP};
use crate::expression::{Joint, Test, Wrong};

/// What stands before an identifier, and is inherited by the next: `port 80 or 443`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Qualifier {
    /// The protocol, if one was named.
    protocol: Option<Protocol>,
    /// The side.
    side: Side,
    /// Whether a side was named.
    sided: bool,
    /// What the identifier is.
    kind: Kind,
}

/// What an identifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An address.
    Host,
    /// A network.
    Net,
    /// A port.
    Port,
    /// A range of ports.
    PortRange,
    /// A protocol.
    Proto,
}

impl Parser {
    /// An identifier whose qualifier stands before the one before it.
    pub(super) fn inherit(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        match (inherited, self.peek()) {
            (Some(qualifier), Some(_)) if !self.peek_word().is_some_and(is_known) => {
                Ok(Operand::Test(self.identifier(qualifier)?, inherited))
            }
            (None, Some(Token::Dotted(..) | Token::Ipv6(_) | Token::Mac(_))) => {
                Err(self.wrong("an address needs host or net before it"))
            }
            _ => Err(self.unexpected("a protocol, host, net, port, or a comparison")),
        }
    }

    /// `broadcast` or `multicast` of a protocol.
    pub(super) fn group_address(&mut self, protocol: Protocol) -> Result<Test, Wrong> {
        let test = if self.word("broadcast") {
            match protocol {
                Protocol::Link => Some(self.layers.broadcast()),
                Protocol::Network(IP) => {
                    return Err(self.wrong_before(
                        "ip broadcast needs the network's mask, which is not recorded: use net",
                    ));
                }
                _ => None,
            }
        } else {
            self.next += 1;
            self.layers.multicast(protocol)
        };
        test.ok_or_else(|| {
            self.wrong_before("only ether, ip and ip6 have groups of receivers, which stand here")
        })
    }

    /// A primitive that begins with qualifiers.
    pub(super) fn qualified(&mut self) -> Result<Operand, Wrong> {
        let protocol = self.peek_word().and_then(names::protocol);
        self.next += usize::from(protocol.is_some());
        if matches!(self.peek_word(), Some("broadcast" | "multicast"))
            && let Some(protocol) = protocol
        {
            return Ok(Operand::Test(self.group_address(protocol)?, None));
        }
        let (side, sided) = self.side();
        let kind = self.kind();
        match (protocol, kind) {
            (Some(protocol), None) if !sided => {
                let test = self.layers.protocol(protocol);
                let test =
                    test.ok_or_else(|| self.wrong_before("\"ether\" needs host, proto or [ behind it"))?;
                Ok(Operand::Test(test, None))
            }
            _ => {
                let qualifier = Qualifier { protocol, side, sided, kind: kind.unwrap_or(Kind::Host) };
                Ok(Operand::Test(self.identifiers(qualifier)?, Some(qualifier)))
            }
        }
    }

    /// The side that is named, and whether one is.
    fn side(&mut self) -> (Side, bool) {
        let first = match self.peek_word() {
            Some("src") => Side::Source,
            Some("dst") => Side::Destination,
            _ => return (Side::Either, false),
        };
        self.next += 1;
        let start = self.next;
        let other = if first == Side::Source { "dst" } else { "src" };
        match self.joint() {
            Some(joint) if self.word(other) => {
                (if joint == Joint::And { Side::Both } else { Side::Either }, true)
            }
            _ => {
                self.next = start;
                (first, true)
            }
        }
    }

    /// What the identifier is, if it is said.
    fn kind(&mut self) -> Option<Kind> {
        let kind = match self.peek_word()? {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            "portrange" => Kind::PortRange,
            "proto" => Kind::Proto,
            _ => return None,
        };
        self.next += 1;
        Some(kind)
    }

    /// An identifier, or several in parentheses.
    fn identifiers(&mut self, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mut negated = false;
        while self.word("not") {
            negated = !negated;
        }
        let test = if self.symbol("(") {
            self.open()?;
            let first = self.identifiers(qualifier)?;
            let mut rest = Vec::new();
            while let Some(joint) = self.joint() {
                rest.push((joint, self.identifiers(qualifier)?));
            }
            self.expect(")")?;
            self.depth -= 1;
            if rest.is_empty() { first } else { Test::Chain(Box::new(first), rest) }
        } else {
            self.identifier(qualifier)?
        };
        Ok(if negated { Test::Not(Box::new(test)) } else { test })
    }

    /// An identifier.
    fn identifier(&mut self, qualifier: Qualifier) -> Result<Test, Wrong> {
        let wanted = match qualifier.kind {
            Kind::Host => "an address",
            Kind::Net => "a network",
            Kind::Port => "a port",
            Kind::PortRange => "a range of ports",
            Kind::Proto => "a protocol's number, or its name with a backslash,",
        };
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected(wanted)) };
        self.next += 1;
        match token {
            Token::Number(number) => self.numbered(number, None, qualifier),
            Token::Dotted(value, bits) => self.dotted(value, bits, qualifier),
            Token::Ipv6(address) => self.ipv6(address.to_bits(), qualifier),
            Token::Mac(mac) => self.station(mac, qualifier),
            Token::Name(name) => self.named(&name, qualifier),
            Token::Word(word) if !is_known(&word) => self.named(&word, qualifier),
            _ => {
                self.next -= 1;
                Err(self.unexpected(wanted))
            }
        }
    }

    /// An identifier that is a number; of several with dots also their bits.
    pub(super) fn numbered(
        &mut self,
        value: u32,
        bits: Option<u32>,
        qualifier: Qualifier,
    ) -> Result<Test, Wrong> {
        let layers = self.layers;
        match qualifier.kind {
            Kind::Port => self.ports(value, value, qualifier),
            Kind::PortRange => self.ports(value, value, qualifier),
            Kind::Proto => self.carries(value, qualifier),
            Kind::Host | Kind::Net => {
                let of = self.network_of(qualifier, &[IP, ARP, RARP])?;
                // A network may be written by its first numbers only: 10 is 10.0.0.0/8.
                let unused = match bits {
                    Some(bits) => 32 - bits,
                    None if qualifier.kind == Kind::Net && value != 0 => value.leading_zeros() / 8 * 8,
                    None => 0,
                };
                let mask = u32::MAX.checked_shl(unused).unwrap_or(0);
                Ok(layers.host(of, qualifier.side, value.checked_shl(unused).unwrap_or(0), mask))
            }
        }
    }

    /// Numbers with dots: an address, or a network with its mask.
    fn dotted(&mut self, value: u32, bits: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mask = if self.symbol("/") {
            let length = self.number()?;
            let wrong = || self.wrong_before("a prefix of IPv4 has 0 to 32 bits");
            let unused = 32_u32.checked_sub(length).ok_or_else(wrong)?;
            u32::MAX.checked_shl(unused).unwrap_or(0)
        } else if self.word("mask") {
            let Some(Token::Dotted(mask, bits)) = self.peek() else { return Err(self.unexpected("a mask")) };
            let mask = mask << (32 - bits);
            self.next += 1;
            mask
        } else {
            return self.numbered(value, Some(bits), qualifier);
        };
        let address = value << (32 - bits);
        self.check_net(qualifier, address & !mask == 0)?;
        let of = self.network_of(qualifier, &[IP, ARP, RARP])?;
        Ok(self.layers.host(of, qualifier.side, address, mask))
    }

    /// An address of IPv6, or a network.
    fn ipv6(&mut self, address: u128, qualifier: Qualifier) -> Result<Test, Wrong> {
        let mut mask = u128::MAX;
        if self.symbol("/") {
            let length = self.number()?;
            let wrong = || self.wrong_before("a prefix of IPv6 has 0 to 128 bits");
            let unused = 128_u32.checked_sub(length).ok_or_else(wrong)?;
            mask = u128::MAX.checked_shl(unused).unwrap_or(0);
            if unused > 0 {
                self.check_net(qualifier, true)?;
            }
        }
        self.check_net(Qualifier { kind: Kind::Net, ..qualifier }, address & !mask == 0)?;
        if !matches!(qualifier.kind, Kind::Host | Kind::Net) {
            return Err(self.wrong_before("an address is no port and no protocol"));
        }
        self.network_of(qualifier, &[IP6])?;
        Ok(self.layers.host6(qualifier.side, address, mask))
    }

    /// Refuses a mask that is no network's, or leaves bits of the address out.
    fn check_net(&self, qualifier: Qualifier, whole: bool) -> Result<(), Wrong> {
        if qualifier.kind != Kind::Net {
            return Err(self.wrong_before("a mask needs net before the address"));
        }
        if whole { Ok(()) } else { Err(self.wrong_before("the network has bits that its mask leaves out")) }
    }

    /// The ethertype whose addresses are meant: one of those that have such ones, or none for all.
    fn network_of(&self, qualifier: Qualifier, with: &[u32]) -> Result<Option<u32>, Wrong> {
        match qualifier.protocol {
            None => Ok(None),
            Some(Protocol::Network(number)) if with.contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong_before("this protocol has no such addresses")),
        }
    }

    /// A range of ports.
    fn ports(&self, first: u32, last: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        let protocol = match qualifier.protocol {
            None => None,
            Some(Protocol::Transport(number @ (6 | 17 | 132), _)) => Some(number),
            _ => return Err(self.wrong_before("only tcp, udp and sctp have ports")),
        };
        if first.max(last) > u16::MAX.into() {
            return Err(self.wrong_before("ports end at 65535"));
        }
        Ok(self.layers.ports(protocol, qualifier.side, first.min(last), first.max(last)))
    }

    /// Whether a protocol carries another one.
    fn carries(&self, number: u32, qualifier: Qualifier) -> Result<Test, Wrong> {
        if qualifier.sided {
            return Err(self.wrong_before("a protocol has no source and no destination"));
        }
        match qualifier.protocol {
            None => Ok(self.layers.in_either(number)),
            Some(Protocol::Link) if [0xe0, 0x809b, 0x80f3].contains(&number) => {
                Err(self.wrong_before("IPX and AppleTalk cannot be asked of recorded headers"))
            }
            Some(Protocol::Link) => Ok(self.layers.is_type(number)),
            Some(Protocol::Network(IP)) => Ok(self.layers.in_ip(number)),
            Some(Protocol::Network(IP6)) => Ok(self.layers.in_ip6(number)),
            _ => Err(self.wrong_before("only ether, ip and ip6 have a protocol's number")),
        }
    }

    /// An address of Ethernet.
    fn station(&self, mac: [u8; 6], qualifier: Qualifier) -> Result<Test, Wrong> {
        match (qualifier.protocol, qualifier.kind) {
            (Some(Protocol::Link), Kind::Host) => Ok(self.layers.station(qualifier.side, mac)),
            _ => Err(self.wrong_before("an address of Ethernet needs ether host before it")),
        }
    }

    /// An identifier that is a name.
    fn named(&mut self, name: &str, qualifier: Qualifier) -> Result<Test, Wrong> {
        match qualifier.kind {
            Kind::Host | Kind::Net => {
                Err(self.wrong_before(format!("\"{name}\" is no address; names are not looked up")))
            }
            Kind::Proto => match names::protocol(name) {
                Some(Protocol::Network(number)) if qualifier.protocol == Some(Protocol::Link) => {
                    self.carries(number, qualifier)
                }
                Some(Protocol::Transport(number, _)) if qualifier.protocol != Some(Protocol::Link) => {
                    self.carries(number, qualifier)
                }
                _ => Err(self.wrong_before(format!("unknown protocol \"{name}\": write its number"))),
            },
            Kind::Port => {
                let (port, alone) = names::service(name).ok_or_else(|| {
                    self.wrong_before(format!("unknown service \"{name}\": write the port's number"))
                })?;
                self.service(port, alone, qualifier)
            }
            Kind::PortRange => {
                let range = name.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let (first, last) = range.ok_or_else(|| {
                    self.wrong_before(format!("\"{name}\" is no range of ports: write 8000-8099"))
                })?;
                self.ports(first, last, qualifier)
            }
        }
    }

    /// The port of a service, which one protocol may have alone.
    fn service(&self, port: u32, alone: Option<u32>, qualifier: Qualifier) -> Result<Test, Wrong> {
        let protocol = match (qualifier.protocol, alone) {
            (None, Some(alone)) => Some(Protocol::Transport(alone, names::Versions::Both)),
            (Some(Protocol::Transport(number, _)), Some(alone)) if number != alone => {
                return Err(self.wrong_before("another protocol has this service"));
            }
            (protocol, _) => protocol,
        };
        self.ports(port, port, Qualifier { protocol, ..qualifier })
    }
}

/// Words before an identifier.
pub(super) fn is_qualifier(word: &str) -> bool {
    ["src", "dst", "host", "net", "port", "portrange", "proto"].contains(&word)
}
