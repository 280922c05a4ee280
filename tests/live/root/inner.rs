//! Expressions about the packet in a tunnel (`--inner`): every tunnel that is known, made by hand.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6, UdpSocket};

use anyhow::Result;
use lab::{Host, Net};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, ipproto, sendto, socket};

use crate::frames::frame;
use crate::recorder::{Recorder, Recording, only_with, record};
use crate::rows::Row;
use crate::support::beside_others;

/// Where all is sent to.
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A port that is in no header but the one the expression is about.
const WANTED: u16 = 7777;

/// An IPv4 packet with UDP to a port.
fn inner4(port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 4, 210];
    packet.extend(port.to_be_bytes());
    packet.extend([0, 8, 0, 0]);
    packet
}

/// The same over IPv6.
fn inner6(port: u16) -> Vec<u8> {
    let mut packet = [&[0x60, 0, 0, 0, 0, 8, 17, 64][..], &[0xfd; 32], &[4, 210]].concat();
    packet.extend(port.to_be_bytes());
    packet.extend([0, 8, 0, 0]);
    packet
}

/// The ethertype of an IP packet.
fn type_of(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

/// A packet in a tunnel with Ethernet in it, behind the tunnel's header.
fn ethernet(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, &frame(([0; 6], [0; 6]), &[], type_of(packet), packet)].concat()
}

/// Sends a payload in an IPv4 packet of a protocol.
fn send_raw(protocol: Protocol, payload: &[u8]) -> Result<()> {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(protocol))?;
    sendto(&raw, payload, SendFlags::empty(), &SocketAddrV4::new(HERE, 0))?;
    Ok(())
}

/// Sends a payload in an IPv6 packet of a protocol, behind extension headers.
fn send_raw6(extensions: &[u8], payload: &[u8]) -> Result<()> {
    // The kernel sends it as it is.
    let raw = socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::RAW))?;
    let mut packet = vec![0x60, 0, 0, 0, 0, (extensions.len() + payload.len()) as u8, 60, 64];
    packet.extend([Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets()].concat());
    packet.extend([extensions, payload].concat());
    sendto(&raw, &packet, SendFlags::empty(), &SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0))?;
    Ok(())
}

/// Destination options of 8 bytes, which are padding, before a protocol.
fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// A header of a fragment that is the whole packet, before a protocol.
fn whole(next: u8) -> [u8; 8] {
    [next, 0, 0, 0, 0, 0, 0, 1]
}

/// Sends a payload in a datagram.
fn send_udp(port: u16, payload: &[u8]) -> Result<()> {
    UdpSocket::bind((HERE, 0))?.send_to(payload, (HERE, port))?;
    Ok(())
}

/// Sends a packet to `port` through every tunnel; returns how many.
fn send_all(port: u16) -> Result<usize> {
    let (four, six) = (inner4(port), inner6(port));
    let gre = |header: &[u8]| send_raw(ipproto::GRE, &[header, &four].concat());
    send_raw(ipproto::IPIP, &four)?;
    send_raw(ipproto::IPV6, &six)?;
    gre(&[0, 0, 8, 0])?;
    gre(&[0x20, 0, 8, 0, 1, 2, 3, 4])?; // a key
    gre(&[0xb0, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])?; // checksum, key and number
    send_raw(ipproto::GRE, &ethernet(&[0, 0, 0x65, 0x58], &four))?;
    send_udp(4789, &ethernet(&[8, 0, 0, 0, 0, 0, 7, 0], &four))?;
    send_udp(8472, &ethernet(&[8, 0, 0, 0, 0, 0, 7, 0], &six))?;
    send_udp(6081, &ethernet(&[0, 0, 0x65, 0x58, 0, 0, 7, 0], &four))?;
    send_udp(6081, &ethernet(&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4], &four))?; // an option
    send_udp(6081, &[&[0, 0, 8, 0, 0, 0, 7, 0], &four[..]].concat())?;
    // A tag in the frame in the tunnel.
    let tagged = frame(([0; 6], [0; 6]), &[(0x8100, 5)], 0x0800, &four);
    send_udp(4789, &[&[8, 0, 0, 0, 0, 0, 7, 0], &tagged[..]].concat())?;
    // ERSPAN of types I, II, III, and III with more.
    let erspan = |header: &[u8]| send_raw(ipproto::GRE, &ethernet(header, &four));
    erspan(&[0, 0, 0x88, 0xbe])?;
    erspan(&[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..], &[0x10; 8]].concat())?;
    erspan(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x20; 12]].concat())?;
    erspan(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x21; 20]].concat())?;
    // IPv6 outside, with headers before the tunnel's.
    send_raw6(&options(4), &four)?;
    send_raw6(&options(41), &six)?;
    send_raw6(&[options(44), whole(47)].concat(), &[&[0, 0, 8, 0], &four[..]].concat())?;
    Ok(19)
}

/// How many of a host's packets were recorded. What has the address of one later may be in another host's row.
fn queued(recording: &Recording, host: &Host) -> usize {
    let own = |row: &&Row| row.netns.map(u64::from) == Some(host.inode()) && &*row.probe == "net_dev_queue";
    recording.rows().iter().filter(own).count()
}

/// Expressions, and how many they let pass of four packets in tunnels: UDP in Ethernet, the same in VLAN 5, ARP in Ethernet,
/// and UDP without Ethernet.
const IN_ETHERNET: [(&str, usize); 9] = [
    ("udp", 3),
    ("arp", 1),
    ("ether src 2:0:0:0:0:9", 3),
    ("ether src 2:0:0:0:0:9 and ip", 2),
    ("not ether host 2:0:0:0:0:9", 0),
    ("ether dst 2:0:0:0:0:a and vlan 5 and udp", 1),
    ("vlan", 1),
    ("ip and len = 42", 3),
    ("vlan and len = 46", 1),
];

#[test]
fn expressions_are_about_the_frame_in_a_tunnel() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let ends = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 10]);
    let (udp, arp) = (inner4(WANTED), [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat());
    let frames = [
        frame(ends, &[], 0x0800, &udp),
        frame(ends, &[(0x8100, 5)], 0x0800, &udp),
        frame(ends, &[], 0x0806, &arp),
    ];
    for cases in IN_ETHERNET.chunks(5) {
        let start = |(expression, _): &(&str, usize)| {
            let args = ["--buffer-size", "1M", "--probe", "net_dev_queue", "--inner", expression];
            Recorder::launch(&only_with(&[&host], &args))
        };
        let recorders: Vec<Recorder> = cases.iter().map(start).map(Recorder::ready).collect();
        for frame in &frames {
            let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], &frame[..]].concat();
            host.run(|| send_udp(4789, &vxlan)).unwrap();
        }
        host.run(|| send_raw(ipproto::IPIP, &udp)).unwrap();
        for ((expression, expected), recorder) in cases.iter().zip(recorders) {
            assert_eq!(queued(&recorder.stop(), &host), *expected, "{expression}");
        }
    }
}

#[test]
fn expressions_are_about_the_packet_in_any_tunnel() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let mut sent = 0;
    let args = only_with(&[&host], &["--probe", "net_dev_queue", "--inner", "udp port 7777"]);
    let recording = record(&args, || {
        sent = host.run(|| send_all(WANTED)).unwrap();
        host.run(|| send_all(WANTED + 1)).unwrap();
        // The outer header is not what is asked for, and no tunnel is no match.
        host.run(|| send_udp(WANTED, b"no tunnel")).unwrap();
        host.run(|| send_udp(4789, b"short")).unwrap();
    });
    assert_eq!(queued(&recording, &host), sent);
}

/// A later fragment of a datagram, whose length reads like VXLAN's port, with a frame where one would be behind it.
fn send_fragment() -> Result<()> {
    const VXLAN: usize = 4789;
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
    let header = [0x45, 0, 0, 0, 0, 1, 0, 1, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    let frame = frame(([0; 6], [0; 6]), &[], 0x0800, &inner4(WANTED));
    // Its first addresses are the header's last.
    let mut packet = [&header[..], &frame[4..]].concat();
    packet.resize(VXLAN, 0);
    sendto(&raw, &packet, SendFlags::empty(), &SocketAddrV4::new(HERE, 0))?;
    Ok(())
}

#[test]
fn a_later_fragment_is_no_tunnel() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let probe = ["--probe", "net_dev_queue"];
    let all = Recorder::start(&only_with(&[&host], &[&probe[..], &["ip[6:2] & 0x1fff != 0"]].concat()));
    let inner = Recorder::start(&only_with(&[&host], &[&probe[..], &["--inner", "udp port 7777"]].concat()));
    host.run(send_fragment).unwrap();
    assert_eq!([all, inner].map(|recorder| queued(&recorder.stop(), &host)), [1, 0]);
}

#[test]
fn a_length_is_that_of_the_inner_packet() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let args = only_with(&[&host], &["--probe", "net_dev_queue", "--inner", "ip and len = 42"]);
    let recording = record(&args, || {
        host.run(|| send_raw(ipproto::IPIP, &inner4(WANTED))).unwrap();
        host.run(|| send_udp(4789, &ethernet(&[8, 0, 0, 0, 0, 0, 7, 0], &inner4(WANTED)))).unwrap();
        host.run(|| send_raw(ipproto::IPIP, &[inner4(WANTED), vec![0]].concat())).unwrap();
    });
    assert_eq!(queued(&recording, &host), 2);
}
