//! Filter expressions chosen at random, for tests of both programs against libpcap.

use proptest::prelude::*;

/// What an expression is made of.
const PRIMITIVES: [&str; 42] = [
    "ip",
    "ip6",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "host 10.77.1.2",
    "src host 10.77.1.2",
    "dst net 10.77.0.0/16",
    "src net 10.0.0.0/30",
    "port 7001",
    "src port 7001",
    "dst portrange 7000-7002",
    "udp dst port 53",
    "ip[6:2] & 0x1fff != 0",
    "ip[2:2] > 500",
    "ip6[40] = 128",
    "tcp[tcpflags] & (tcp-fin | tcp-syn) != 0",
    "udp[4:2] < 200",
    "ip proto 17",
    "(ip[0] & 0xf) * 4 + ip[1] + ip[8] = 84",
    "icmp[0] = 8",
    "ip6 proto 6",
    "arp",
    "not ip",
    "arp src host 10.77.1.2",
    "arp[6:2] = 1",
    "ether proto 0x88cc",
    "ether host 2:0:0:0:0:c",
    "ether src 2:0:0:0:0:c",
    "ether dst 2:0:0:0:0:5",
    "ether multicast",
    "ether broadcast",
    "ip6 multicast",
    "stp",
    "ether[0] & 1 = 0",
    "ether[12:2] > 0x800",
    "ether[10:4] & 0xffff = 0x0806",
    "ether[12:4] & 0xffffff00 = 0x08004500",
    "len = 142",
    "less 60",
    "greater 500",
];

/// Expressions of primitives with `and`, `or` and `not`.
pub fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(PRIMITIVES.as_slice()).prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}
