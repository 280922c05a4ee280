//! Names of the language: protocols, numbers, services.

use super::Operator;

/// A protocol as the language knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The link: `ether`.
    Link,
    /// One above the link, by its ethertype, or up to 1500 by the number of its LLC header.
    Network(u32),
    /// One above IP, by its number, over both versions or one.
    Transport(u32, Versions),
}

/// Versions of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Both.
    Both,
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

use Protocol::{Link, Network, Transport};

/// Ethertype of IPv4.
pub const IP: u32 = 0x0800;
/// Ethertype of IPv6.
pub const IP6: u32 = 0x86dd;
/// Ethertype of ARP.
pub const ARP: u32 = 0x0806;
/// Ethertype of reverse ARP.
pub const RARP: u32 = 0x8035;

/// Protocols.
const PROTOCOLS: [(&str, Protocol); 28] = [
    ("ether", Link),
    ("link", Link),
    ("ip", Network(IP)),
    ("ip6", Network(IP6)),
    ("arp", Network(ARP)),
    ("rarp", Network(RARP)),
    ("decnet", Network(0x6003)),
    ("lat", Network(0x6004)),
    ("moprc", Network(0x6002)),
    ("mopdl", Network(0x6001)),
    ("sca", Network(0x6007)),
    ("stp", Network(0x42)),
    ("iso", Network(0xfe)),
    ("netbeui", Network(0xf0)),
    ("tcp", Transport(6, Versions::Both)),
    ("udp", Transport(17, Versions::Both)),
    ("sctp", Transport(132, Versions::Both)),
    ("icmp", Transport(1, Versions::Four)),
    ("icmp6", Transport(58, Versions::Six)),
    ("igmp", Transport(2, Versions::Four)),
    ("igrp", Transport(9, Versions::Four)),
    ("pim", Transport(103, Versions::Both)),
    ("vrrp", Transport(112, Versions::Four)),
    ("carp", Transport(112, Versions::Four)),
    ("ah", Transport(51, Versions::Both)),
    ("esp", Transport(50, Versions::Both)),
    ("fddi", Link),
    ("ppp", Link),
];

/// A protocol by its name.
pub fn protocol(word: &str) -> Option<Protocol> {
    PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, protocol)| *protocol)
}

/// Words that libpcap knows and that mean nothing for recorded headers, or only on other links.
const ELSEWHERE: [&str; 26] = [
    "inbound",
    "outbound",
    "ifindex",
    "gateway",
    "protochain",
    "mpls",
    "pppoed",
    "pppoes",
    "geneve",
    "vxlan",
    "wlan",
    "type",
    "subtype",
    "dir",
    "llc",
    "lane",
    "oam",
    "slip",
    "tr",
    "atalk",
    "aarp",
    "ipx",
    "byte",
    "action",
    "ruleset",
    "esis",
];

/// Whether libpcap knows a word that is not understood here.
pub fn is_elsewhere(word: &str) -> bool {
    ELSEWHERE.contains(&word)
}

/// Numbers with names: offsets in headers, and what stands there.
const NUMBERS: [(&str, u32); 57] = [
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("tcpflags", 13),
    ("tcp-fin", 1),
    ("tcp-syn", 2),
    ("tcp-rst", 4),
    ("tcp-push", 8),
    ("tcp-ack", 16),
    ("tcp-urg", 32),
    ("tcp-ece", 64),
    ("tcp-cwr", 128),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

/// A number by its name.
pub fn number(word: &str) -> Option<u32> {
    NUMBERS.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

/// Services by name, with the IP protocol that has them alone; 0: TCP and UDP (IANA, as Debian's /etc/services).
const SERVICES: [(&str, u32, u32); 26] = [
    ("ftp", 21, 6),
    ("ssh", 22, 6),
    ("telnet", 23, 6),
    ("smtp", 25, 6),
    ("domain", 53, 0),
    ("bootps", 67, 17),
    ("bootpc", 68, 17),
    ("tftp", 69, 17),
    ("http", 80, 6),
    ("kerberos", 88, 0),
    ("pop3", 110, 6),
    ("sunrpc", 111, 0),
    ("ntp", 123, 17),
    ("imap2", 143, 6),
    ("snmp", 161, 0),
    ("bgp", 179, 6),
    ("ldap", 389, 0),
    ("https", 443, 0),
    ("submission", 587, 6),
    ("ldaps", 636, 0),
    ("imaps", 993, 6),
    ("nfs", 2049, 0),
    ("mysql", 3306, 6),
    ("postgresql", 5432, 6),
    ("sip", 5060, 0),
    ("http-alt", 8080, 6),
];

/// The port of a service, and the IP protocol that has it alone.
pub fn service(word: &str) -> Option<(u32, Option<u32>)> {
    let found = SERVICES.iter().find(|(name, ..)| *name == word);
    found.map(|(_, port, protocol)| (*port, Some(*protocol).filter(|p| *p != 0)))
}

/// Binary operators with their binding powers to the left and right. `%` and `^` have no precedence in libpcap's grammar
/// (1.10): they bind to their left closer than all others, and take all to their right.
pub fn operator(symbol: &str) -> Option<(Operator, u8, u8)> {
    Some(match symbol {
        "|" => (Operator::Or, 1, 2),
        "&" => (Operator::And, 3, 4),
        "<<" => (Operator::ShiftLeft, 5, 6),
        ">>" => (Operator::ShiftRight, 5, 6),
        "+" => (Operator::Add, 7, 8),
        "-" => (Operator::Subtract, 7, 8),
        "*" => (Operator::Multiply, 9, 10),
        "/" => (Operator::Divide, 9, 10),
        "%" => (Operator::Modulo, 20, 0),
        "^" => (Operator::Xor, 20, 0),
        _ => return None,
    })
}
