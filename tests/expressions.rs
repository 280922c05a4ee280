//! `ntana`'s filter expressions on packets chosen at random: what they let pass is what libpcap itself lets pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod grammar;

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

use ntana::expression::{Expression, Packet};
use proptest::prelude::*;

/// `DLT_EN10MB`.
const ETHERNET: c_int = 1;
/// Bytes that the recorder keeps of a header: `HEADER_SHORT` and `HEADER_LONG` of bpf/event.h.
const KEPT: [usize; 2] = [64, 128];

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    /// Number of instructions.
    len: c_uint,
    /// The instructions.
    insns: *mut c_void,
}

#[link(name = "pcap")]
unsafe extern "C" {
    fn pcap_open_dead(linktype: c_int, snaplen: c_int) -> *mut c_void;
    fn pcap_compile(
        handle: *mut c_void,
        program: *mut Program,
        text: *const c_char,
        optimize: c_int,
        netmask: c_uint,
    ) -> c_int;
    fn bpf_filter(program: *const c_void, frame: *const u8, len: c_uint, available: c_uint) -> c_uint;
    fn pcap_freecode(program: *mut Program);
    fn pcap_close(handle: *mut c_void);
}

impl Program {
    /// Has libpcap compile an expression, if it takes it. Without its optimizer, which leaves out loads of bytes that are not
    /// there where the result does not hang on them.
    fn compile(text: &str) -> Option<Self> {
        let text = CString::new(text).unwrap();
        let mut program = Self { len: 0, insns: null_mut() };
        // SAFETY: the handle lives until it is closed, and the text is a string.
        let result = unsafe {
            let handle = pcap_open_dead(ETHERNET, 65535);
            let result = pcap_compile(handle, &raw mut program, text.as_ptr(), 0, c_uint::MAX);
            pcap_close(handle);
            result
        };
        (result == 0).then_some(program)
    }

    /// Whether it lets a frame pass.
    fn passes(&self, frame: &[u8], len: u32) -> bool {
        // SAFETY: the program was compiled and is not freed, and the frame has so many bytes.
        unsafe { bpf_filter(self.insns, frame.as_ptr(), len, frame.len() as c_uint) != 0 }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and is used no more.
        unsafe { pcap_freecode(&raw mut *self) };
    }
}

/// One of these.
fn of<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

/// Numbers of the language, and arithmetic with them.
fn number() -> impl Strategy<Value = String> {
    let header = (
        of(&["ip", "ip6", "tcp", "udp", "icmp", "icmp6", "arp", "sctp"]),
        of(&["0", "2", "4", "6", "8", "9", "12", "tcpflags", "icmptype", "20", "40"]),
        of(&["", ":1", ":2", ":4"]),
    );
    let leaf = prop_oneof![
        of(&["0", "1", "2", "5", "8", "17", "0x1fff", "0800", "53", "1500", "len", "tcp-syn", "icmp-echo"])
            .prop_map(str::to_owned),
        header.prop_map(|(protocol, at, size)| format!("{protocol}[{at}{size}]")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let operator = of(&["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(a, operator, b)| format!("{a} {operator} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("- {a}")),
            inner.prop_map(|a| format!("udp[{a}]")),
        ]
    })
}

/// A primitive with its qualifiers, or a comparison.
fn primitive() -> impl Strategy<Value = String> {
    let side = || of(&["", "src ", "dst ", "src or dst ", "dst and src "]);
    let hosts =
        ["host 10.77.1.2", "host 10.77.1", "net 10", "net 10.77.0.0/16", "net 10.77.0.0 mask 255.255.0.0"];
    let sixes = ["host fd77:1::2", "net fd77::/16", "host fd77:2::2 or 10.77.1.2"];
    let ports =
        ["port 7001", "port domain", "port http", "portrange 50-7001", "port 80 or 443", "port (53 or 7001)"];
    prop_oneof![
        (of(&["", "ip ", "arp "]), side(), of(&hosts)).prop_map(|(a, b, c)| format!("{a}{b}{c}")),
        (side(), of(&sixes)).prop_map(|(a, b)| format!("{a}{b}")),
        (of(&["", "tcp ", "udp ", "sctp "]), side(), of(&ports)).prop_map(|(a, b, c)| format!("{a}{b}{c}")),
        (of(&["", "ip ", "ip6 ", "ether "]), of(&["6", "17", "58", "0x806", "44", "66", r"\udp"]))
            .prop_map(|(a, b)| format!("{a}proto {b}")),
        of(&[
            "vlan",
            "vlan 5",
            "ip multicast",
            "ip6 multicast",
            "igmp",
            "pim",
            "ah",
            "stp",
            "iso",
            "rarp",
            "less 60"
        ])
        .prop_map(str::to_owned),
        (number(), of(&["=", "!=", "<", "<=", ">", ">="]), number())
            .prop_map(|(a, b, c)| format!("{a} {b} {c}")),
    ]
}

/// Expressions of everything, with parentheses and without.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![primitive(), grammar::expression()];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), of(&["and", "or", "&&", "||"]), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) {b} ({c})")),
            (inner.clone(), of(&["and", "or"]), inner.clone()).prop_map(|(a, b, c)| format!("{a} {b} {c}")),
            (of(&["not", "!"]), inner).prop_map(|(a, b)| format!("{a} ({b})")),
        ]
    })
}

/// What stands behind IP: of a protocol, with ports of these.
fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let port = || of(&[7001_u16, 53, 80, 443, 40000]);
    let protocol = of(&[6_u8, 17, 132, 1, 58, 2, 103, 50]);
    let rest = prop::collection::vec(any::<u8>(), 0..80);
    (protocol, port(), port(), any::<[u8; 4]>(), rest).prop_map(
        |(protocol, source, destination, random, rest)| {
            let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
            match protocol {
                6 => bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, random[0], 1, 0, 0, 0, 0, 0]),
                17 | 132 => bytes.extend([0, 20, 0, 0]),
                _ => bytes = vec![[0, 3, 8, 128][usize::from(random[0] % 4)], 0, 0, 0, 0, 1, 0, 1],
            }
            bytes.extend(rest);
            (protocol, bytes)
        },
    )
}

/// A packet from its network header on, with its ethertype.
fn packet() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let v4 = || of(&[[10_u8, 77, 1, 2], [10, 77, 2, 2], [10, 9, 0, 1], [224, 0, 0, 1]]);
    let v6 = || {
        of(&["fd77:1::2", "fd77:2::2", "ff02::1"])
            .prop_map(|a| a.parse::<std::net::Ipv6Addr>().unwrap().octets())
    };
    let ip = (v4(), v4(), transport(), 0_u8..2, of(&[[0x40, 0], [0x20, 0], [0x20, 3]])).prop_map(
        |(source, destination, (protocol, rest), options, fragment)| {
            let header = 20 + 4 * usize::from(options);
            let len = ((header + rest.len()) as u16).to_be_bytes();
            let mut bytes =
                vec![0x45 + options, 0, len[0], len[1], 0, 1, fragment[0], fragment[1], 64, protocol, 0, 0];
            bytes.extend([source, destination].concat());
            bytes.resize(header, 1);
            (0x0800, [bytes, rest].concat())
        },
    );
    let ip6 = (v6(), v6(), transport(), any::<bool>()).prop_map(
        |(source, destination, (protocol, rest), fragment)| {
            let rest = if fragment { [&[protocol, 0, 0, 9, 0, 0, 0, 1][..], &rest].concat() } else { rest };
            let len = (rest.len() as u16).to_be_bytes();
            let mut bytes = vec![0x60, 0, 0, 0, len[0], len[1], if fragment { 44 } else { protocol }, 64];
            bytes.extend([source, destination].concat());
            (0x86dd, [bytes, rest].concat())
        },
    );
    let arp = (v4(), v4(), of(&[0x0806_u16, 0x8035])).prop_map(|(source, destination, ethertype)| {
        let bytes =
            [&[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 12][..], &source, &[0; 6], &destination].concat();
        (ethertype, bytes)
    });
    let other = (of(&[0x88cc_u16, 38, 4]), of(&[0x42_u8, 0xfe, 2]))
        .prop_map(|(ethertype, point)| (ethertype, [&[point, point, 3][..], &[0; 40]].concat()));
    prop_oneof![4 => ip, 3 => ip6, 1 => arp, 1 => other]
}

/// Bytes behind the tags of VLANs, and the ethertype of the first.
fn tagged(tags: &[(u16, u16)], (ethertype, bytes): (u16, Vec<u8>)) -> (u16, Vec<u8>) {
    tags.iter().rfold((ethertype, bytes), |(ethertype, bytes), (tag, number)| {
        (*tag, [&number.to_be_bytes()[..], &ethertype.to_be_bytes(), &bytes].concat())
    })
}

/// An Ethernet frame.
fn frame(ethertype: u16, bytes: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 12][..], &ethertype.to_be_bytes(), bytes].concat()
}

/// Whether an expression asks for addresses of Ethernet, which are not recorded.
fn asks_addresses(text: &str) -> bool {
    ["ether host", "ether src", "ether dst", "ether multicast", "ether broadcast", "ether[0]", "ether[10"]
        .iter()
        .any(|words| text.contains(words))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_fits_is_what_libpcap_lets_pass(
        text in expression().prop_filter("addresses of Ethernet are not recorded", |text| !asks_addresses(text)),
        tags in of(&[&[][..], &[], &[(0x8100, 5)], &[(0x8100, 6)], &[(0x88a8, 7), (0x8100, 5)]]),
        packets in prop::collection::vec(packet(), 12),
    ) {
        let Some(program) = Program::compile(&text) else { return Ok(()) };
        let expression = Expression::parse(&text).map_err(|wrong| TestCaseError::fail(format!("{text}: {wrong}")))?;
        for (at, packet) in packets.into_iter().enumerate() {
            let (ethertype, whole) = tagged(tags, packet);
            let kept = &whole[..whole.len().min(KEPT[at % 2])];
            let fits = expression.fits(&Packet::new(ethertype, kept, whole.len() as u32), false);
            // One tag is taken off before an expression that does not speak of tags.
            let (ethertype, off) = match kept {
                [_, _, high, low, ..] if !tags.is_empty() && !text.contains("vlan") => (u16::from_be_bytes([*high, *low]), 4),
                _ => (ethertype, 0),
            };
            let len = (14 + whole.len() - off) as u32;
            prop_assert_eq!(fits, program.passes(&frame(ethertype, &kept[off..]), len), "{} of {:02x?}", text, kept);
        }
    }

    #[test]
    fn the_packet_in_a_tunnel_is_asked_with_inner(
        text in expression().prop_filter("tags are taken off", |text| !text.contains("vlan")),
        packet in packet(),
        udp in of(&[4789_u16, 8472, 6081]),
        gre in any::<bool>(),
    ) {
        let Some(program) = Program::compile(&text) else { return Ok(()) };
        let expression = Expression::parse(&text).map_err(|wrong| TestCaseError::fail(format!("{text}: {wrong}")))?;
        let inner = frame(packet.0, &packet.1);
        let tunnel = match (gre, udp) {
            (true, _) => vec![0x20, 0, 0x65, 0x58, 0, 0, 0, 7],
            (_, 6081) => [&[0, 9][..], &udp.to_be_bytes(), &[0, 0, 0, 0, 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 1, 1, 1]].concat(),
            _ => [&[0, 9][..], &udp.to_be_bytes(), &[0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0]].concat(),
        };
        let len = ((20 + tunnel.len() + inner.len()) as u16).to_be_bytes();
        let outer = [0x45, 0, len[0], len[1], 0, 0, 0, 0, 64, if gre { 47 } else { 17 }, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
        let whole = [&outer[..], &tunnel, &inner].concat();
        let fits = expression.fits(&Packet::new(0x0800, &whole, 0), true);
        prop_assert_eq!(fits, program.passes(&inner, inner.len() as u32), "{}", text);
        let plain = expression.fits(&Packet::new(packet.0, &packet.1, 0), true);
        prop_assert!(!plain, "{} fits what is no tunnel", text);
    }
}
