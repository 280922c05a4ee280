//! Expressions about the packet in a tunnel (`--inner`): every tunnel that is known, made by hand.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::Result;
use lab::Net;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, ipproto, sendto, socket};

use crate::recorder::{only_with, record};
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

/// What stands before a packet in a tunnel with Ethernet in it: the tunnel's header and 14 bytes.
fn ethernet(header: &[u8], packet: &[u8]) -> Vec<u8> {
    [header, &[0; 12], &[8, 0], packet].concat()
}

/// Sends a payload in an IPv4 packet of a protocol.
fn send_raw(protocol: Protocol, payload: &[u8]) -> Result<()> {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(protocol))?;
    sendto(&raw, payload, SendFlags::empty(), &SocketAddrV4::new(HERE, 0))?;
    Ok(())
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
    Ok(11)
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
    assert_eq!(recording.rows().iter().filter(|row| &*row.probe == "net_dev_queue").count(), sent);
}

#[test]
fn a_length_is_that_of_the_inner_packet() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let args = only_with(&[&host], &["--probe", "net_dev_queue", "--inner", "ip and len = 28"]);
    let recording = record(&args, || {
        host.run(|| send_raw(ipproto::IPIP, &inner4(WANTED))).unwrap();
        host.run(|| send_udp(4789, &ethernet(&[8, 0, 0, 0, 0, 0, 7, 0], &inner4(WANTED)))).unwrap();
        host.run(|| send_raw(ipproto::IPIP, &[inner4(WANTED), vec![0]].concat())).unwrap();
    });
    assert_eq!(recording.rows().iter().filter(|row| &*row.probe == "net_dev_queue").count(), 2);
}
