use proptest::prelude::*;

use super::*;

/// A datagram of 20 bytes from 10.77.1.2:7001 to 10.77.2.2:53.
const UDP: [u8; 48] = [
    0x45, 0, 0, 48, 0, 1, 0x40, 0, 63, 17, 0, 0, 10, 77, 1, 2, 10, 77, 2, 2, 0x1b, 0x59, 0, 53, 0, 28, 0, 0,
    b'a', b'a', b'a', b'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// A SYN from 10.0.0.1:40000 to 224.0.0.1:443, if there were such.
const SYN: [u8; 40] = [
    0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 224, 0, 0, 1, 0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0,
    0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
];
/// A ping from fd77:1::2 to ff02::1.
const PING6: [u8; 48] = [
    0x60, 0, 0, 0, 0, 8, 58, 64, 0xfd, 0x77, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0xff, 2, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 128, 0, 0, 0, 0, 1, 0, 1,
];
/// ARP: who has 10.77.2.2, says 10.77.1.2.
const ARP: [u8; 28] =
    [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 12, 10, 77, 1, 2, 0, 0, 0, 0, 0, 0, 10, 77, 2, 2];

/// The letters of the packets that fit: `u`dp, `s`yn, `p`ing, `a`rp.
fn fitting(text: &str) -> String {
    let expression = Expression::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    let packets: [(char, u16, &[u8]); 4] =
        [('u', 0x0800, &UDP), ('s', 0x0800, &SYN), ('p', 0x86dd, &PING6), ('a', 0x0806, &ARP)];
    let fits = |(_, ethertype, bytes): &(char, u16, &[u8])| {
        expression.fits(&Packet::new(*ethertype, bytes, 0), false)
    };
    packets.iter().filter(|packet| fits(packet)).map(|packet| packet.0).collect()
}

/// Expressions, and which packets fit.
const WORDS: &[(&str, &str)] = &[
    ("ip", "us"),
    ("ip6", "p"),
    ("arp", "a"),
    ("rarp", ""),
    ("tcp", "s"),
    ("udp", "u"),
    ("icmp", ""),
    ("icmp6", "p"),
    ("sctp or igmp or pim or ah or esp", ""),
    ("host 10.77.1.2", "ua"),
    ("src host 10.77.1.2", "ua"),
    ("dst 10.77.1.2", ""),
    ("arp host 10.77.2.2", "a"),
    ("ip host 10.77.2.2", "u"),
    ("net 10.77", "ua"),
    ("net 10", "usa"),
    ("net 10.77.0.0/16", "ua"),
    ("net 10.77.0.0 mask 255.255.0.0", "ua"),
    ("net 0.0.0.0/0", "usa"),
    ("net ::/0", "p"),
    ("src net fd77::/16", "p"),
    ("host fd77:1::2", "p"),
    ("port 53", "u"),
    ("port domain", "u"),
    ("port https", "s"),
    ("src port 53", ""),
    ("tcp port 53", ""),
    ("udp portrange 50-60", "u"),
    ("portrange 60-50", "u"),
    ("src or dst port 53", "u"),
    ("src and dst port 53", ""),
    ("port 53 or 443", "us"),
    ("host 10.77.1.2 or 10.0.0.1", "usa"),
    ("port (53 or 443)", "us"),
    ("not port 53", "spa"),
    ("! tcp && ! arp", "up"),
    ("tcp or udp and port 53", "u"),
    ("tcp or (udp and port 53)", "us"),
    ("proto 17", "u"),
    (r"ip proto \tcp", "s"),
    ("ip6 proto 58", "p"),
    ("ether proto 0x806", "a"),
    (r"ether proto \arp", "a"),
    ("less 54", "sa"),
    ("greater 62", "up"),
    ("len = 62", "up"),
    ("ip multicast", "s"),
    ("ip6 multicast", "p"),
    ("vlan", ""),
    ("not vlan", "uspa"),
    ("tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "s"),
    ("tcp[13] & 2 != 0", "s"),
    ("ip[0] & 0xf != 5", ""),
    ("icmp6[icmp6type] = icmp6-echo", "p"),
    ("ip6[40] = 128", "p"),
    ("udp[8:4] = 0x61616161", "u"),
    ("ip[8] + 1 = 0100", "u"),
    ("ether[12:2] = 0x800", "us"),
    ("1 = 1", "uspa"),
    ("10 - 2 * 3 = 4", "uspa"),
    ("7 & 6 | 1 << 3 = 14", "uspa"),
    ("(ip[0] & 0xf) * 4 = 20", "us"),
    ("stp or iso or lat", ""),
];

#[test]
fn every_word_means_what_it_means_to_libpcap() {
    for (text, expected) in WORDS {
        assert_eq!(fitting(text), *expected, "{text}");
    }
}

#[test]
fn what_was_not_recorded_fits_nothing() {
    for text in [
        "ether host 2:0:0:0:0:1",
        "not ether host 2:0:0:0:0:1",
        "broadcast",
        "not multicast",
        "ether[0] & 1 = 0",
    ] {
        assert_eq!(fitting(text), "", "{text}: addresses of Ethernet are not recorded");
    }
    assert_eq!(fitting("udp[100] = 5 or not udp[100] = 5"), "spa");
    assert_eq!(fitting("ip or udp[100] = 5"), "us", "what was told before hangs on nothing");
    assert_eq!(fitting("ip[0] / (ip[8] - 63) = 2"), "", "division by zero, or another result");
}

#[test]
fn refusals_name_the_word_and_its_place() {
    let refusal = |text: &str| Expression::parse(text).unwrap_err().to_string();
    let cases = [
        ("tcp prot 5", "unknown word \"prot\" at 5"),
        ("tcp and", "it ends where a protocol, host, net, port, or a comparison should follow at 8"),
        ("", "it ends where a protocol, host, net, port, or a comparison should follow at 1"),
        ("port", "it ends where a port should follow at 5"),
        ("host example.com", "\"example.com\" is no address; names are not looked up at 6"),
        ("host 10.0.0.256", "\"10.0.0.256\" is no address of IPv4 at 6"),
        ("10.0.0.1", "an address needs host or net before it at 1"),
        ("net 10.0.0.1/8", "the network has bits that its mask leaves out at 14"),
        ("net 10.0.0.0/33", "a prefix of IPv4 has 0 to 32 bits at 14"),
        ("src 10.0.0.0/8", "a mask needs net before the address at 14"),
        ("net fd77::1/16", "the network has bits that its mask leaves out at 13"),
        ("port 70000", "ports end at 65535 at 6"),
        ("port quux", "unknown service \"quux\": write the port's number at 6"),
        ("icmp port 5", "only tcp, udp and sctp have ports at 11"),
        ("tcp host 10.0.0.1", "this protocol has no such addresses at 10"),
        (
            "ip proto tcp",
            "\"tcp\" where a protocol's number, or its name with a backslash, should follow at 10",
        ),
        ("tcp proto 6", "only ether, ip and ip6 have a protocol's number at 11"),
        ("src proto 6", "a protocol has no source and no destination at 11"),
        ("tcp[13] & 2", "it ends where a comparison, such as = 5, should follow at 12"),
        ("tcp[0:3] = 1", "1, 2 or 4 bytes can be compared at 7"),
        ("tcp[0 = 1", "\"=\" where \"]\" should follow at 7"),
        ("(tcp", "it ends where \")\" should follow at 5"),
        ("tcp)", "\")\" where and, or, or the end should follow at 4"),
        ("tcp udp", "\"udp\" where and, or, or the end should follow at 5"),
        ("ip[0] / 0 = 1", "division by zero at 9"),
        ("ip[0] << 32 = 1", "a shift by more than 31 bits at 10"),
        ("vlan 5000", "a VLAN's number is at most 4095 at 6"),
        ("ether", "\"ether\" needs host, proto or [ behind it at 1"),
        ("ip broadcast", "ip broadcast needs the network's mask, which is not recorded: use net at 4"),
        ("inbound", "\"inbound\" cannot be asked of recorded headers at 1"),
        ("tcp and mpls", "\"mpls\" cannot be asked of recorded headers at 9"),
        ("port 0x1ffffffff", "\"0x1ffffffff\" is no number at 6"),
        ("tcp ; udp", "unknown character ';' at 5"),
        ("ü", "unknown character 'ü' at 1"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |n: usize| format!("{}tcp{}", "(".repeat(n), ")".repeat(n));
    assert!(Expression::parse(&nested(60)).is_ok());
    assert!(Expression::parse(&nested(20_000)).unwrap_err().to_string().contains("parentheses"));
    let bytes = |n: usize| format!("{}1{} = 1", "ip[".repeat(n), "]".repeat(n));
    assert!(Expression::parse(&bytes(10)).is_ok() && Expression::parse(&bytes(20_000)).is_err());
    assert!(Expression::parse(&format!("{}1 = 1", "-".repeat(20_000))).is_err());
    assert!(Expression::parse(&format!("{}1 = 1", "1 ^ ".repeat(20_000))).is_err());
    assert!(Expression::parse(&format!("{}1 = 1", "1 + ".repeat(20_000))).is_err());
    // What is not nested may be long.
    assert_eq!(fitting(&format!("{}udp", "not not ".repeat(20_000))), "u");
    assert_eq!(fitting(&format!("udp{}", " or host 10.9.9.9".repeat(10_000))), "u");
}

#[test]
fn a_tag_is_taken_off_unless_it_is_asked_for() {
    let tagged = |number: u8, ethertype: u16, bytes: &[u8]| {
        [&[0, number][..], &ethertype.to_be_bytes(), bytes].concat()
    };
    let five = tagged(5, 0x0800, &UDP);
    let both = tagged(7, 0x8100, &five);
    let fits = |text: &str, ethertype: u16, bytes: &[u8]| {
        Expression::parse(text).unwrap().fits(&Packet::new(ethertype, bytes, bytes.len() as u32), false)
    };
    for (text, one, two) in [
        ("udp port 53", true, false),
        ("vlan 5 and udp port 53", true, false),
        ("vlan 6", false, false),
        ("vlan", true, true),
        ("vlan 7 and vlan 5 and udp", false, true),
        ("ether proto 0x8100", false, true),
        ("len = 62", true, false),
        ("vlan and len = 66", true, false),
        ("udp and not vlan", false, false),
    ] {
        assert_eq!((fits(text, 0x8100, &five), fits(text, 0x88a8, &both)), (one, two), "{text}");
    }
}

#[test]
fn a_socket_fits_where_its_flow_is_all_that_is_asked() {
    let flow = Flow {
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2".parse().unwrap(),
        protocol: 6,
        ports: Some((40000, 443)),
    };
    let fits =
        |text: &str| Expression::parse(text).unwrap().fits(&Packet::of_flow(flow).unwrap().packet(), false);
    for text in ["tcp", "tcp dst port 443", "src host 10.0.0.1", "ip", "not udp", "tcp[2:2] = 443"] {
        assert!(fits(text), "{text}");
    }
    for text in
        ["tcp src port 443", "len > 0", "tcp[tcpflags] & tcp-syn = 0", "vlan or tcp", "ip[8] > 0", "ip6"]
    {
        assert!(!fits(text), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,80}", words in "((tcp|host|port|not|and|or|\\(|\\)|\\[|\\]|:|ip|-|=|&|10|1\\.2|::1|vlan|len|\\^|%|<<) ?){0,40}") {
        for text in [&text, &words] {
            let Ok(expression) = Expression::parse(text) else { continue };
            expression.fits(&Packet::new(0x0800, &UDP, 0), false);
        }
    }

    #[test]
    fn any_bytes_are_survived(
        ethertype in prop::sample::select(vec![0, 0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x6558]),
        mut bytes in prop::collection::vec(any::<u8>(), 0..140),
        protocol in prop::sample::select(vec![4_u8, 17, 41, 44, 47]),
        len: u32,
    ) {
        if let Some(byte) = bytes.get_mut(if ethertype == 0x86dd { 6 } else { 9 }) {
            *byte = protocol;
        }
        for text in ["tcp port 53 or vlan 5 or len > 7", "ip[ip[0]:4] - len = udp[ip6[40]]", "ether[10:4] = 1", "not ether[100000] = 1"] {
            let expression = Expression::parse(text).unwrap();
            let packet = Packet::new(ethertype, &bytes, len);
            let _ = (expression.fits(&packet, false), expression.fits(&packet, true));
        }
    }
}
