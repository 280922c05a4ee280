//! Traffic that must fail, each for one cause. The kernel's own counters say that it failed for that cause.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Timeout, set_ip_mtu_discover, set_ip_ttl, set_socket_recv_buffer_size,
    set_socket_timeout,
};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

use super::{TIMEOUT, accept, any, is_timeout, send_all, server, udp_client, udp_send, unbroken};
use crate::host::Host;
use crate::net::Net;

/// The UDP port that [`forwarded_udp_dropped`] has the router drop.
pub const DROP_PORT: u16 = 5999;

/// A port that no function here listens on.
const IDLE_PORT: u16 = 5998;

/// Payload bytes of a datagram that is to be dropped.
const SIZE: usize = 100;

/// Shorter than the first retransmission of a SYN (1 s), so that each connection sends exactly one.
const CONNECT: Duration = Duration::from_millis(900);

/// Attempts and refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Connections or datagrams tried.
    pub tried: u32,
    /// How many of them the other side refused (TCP reset, ICMP port unreachable).
    pub refused: u32,
}

/// Packets sent, and how many of them the kernel counted as dropped for the cause asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Datagrams sent.
    pub sent: u64,
    /// Growth of the counter that belongs to the cause.
    pub dropped: u64,
}

/// What became of datagrams for a receiver that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Datagrams sent.
    pub sent: u64,
    /// How many the receiver found when it read at last.
    pub readable: u64,
    /// How many the kernel counted as dropped (`UdpRcvbufErrors`, `Udp6RcvbufErrors`).
    pub dropped: u64,
}

/// What became of connections to a server that does not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Connections that found a place in the queue.
    pub connected: u32,
    /// Connections that timed out.
    pub timed_out: u32,
    /// SYNs that the kernel dropped since the queue was full (`TcpExtListenOverflows`).
    pub dropped: u64,
}

/// Connects `count` times to a TCP port where nobody listens.
pub fn tcp_connect_refused(from: &Host, at: SocketAddr, count: u32) -> Result<Refused> {
    from.run(|| {
        let mut refused = 0;
        for _ in 0..count {
            match TcpStream::connect_timeout(&at, TIMEOUT) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => refused += 1,
                Err(error) => return Err(error).with_context(|| format!("connect to {at}")),
                Ok(_) => {}
            }
        }
        Ok(Refused { tried: count, refused })
    })
}

/// Sends `count` datagrams to a UDP port where nobody listens, each after the refusal of the one before.
pub fn udp_closed_port(from: &Host, at: SocketAddr, count: u32) -> Result<Refused> {
    from.run(|| {
        let socket = udp_client(at)?;
        let mut done = Refused { tried: 0, refused: 0 };
        // Silence or an answer is no refusal, and the next ones will not differ.
        while done.tried < count && done.tried == done.refused {
            socket.send(&[b'u'; SIZE]).with_context(|| format!("send UDP to {at}"))?;
            done.tried += 1;
            match unbroken(|| socket.recv(&mut [0; SIZE])) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => done.refused += 1,
                Err(error) if !is_timeout(&error) => return Err(error).context("await a refusal"),
                _ => {}
            }
        }
        Ok(done)
    })
}

/// Sends `count` datagrams to a receiver with the smallest buffer there is, which reads only afterwards.
pub fn full_socket_buffer(from: &Host, to: &Host, at: SocketAddr, count: u32, size: usize) -> Result<Buffer> {
    let receiver = server(to, at, UdpSocket::bind)?;
    // The kernel raises this to its minimum, a little over 2 kB.
    set_socket_recv_buffer_size(&receiver, 1)?;
    receiver.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (arrived, errors) = if at.is_ipv4() {
        ("IpInDelivers", "UdpRcvbufErrors")
    } else {
        ("Ip6InDelivers", "Udp6RcvbufErrors")
    };
    let before = to.counters()?;
    let sent = u64::from(udp_send(from, at, count, size)?);
    to.growth(&before, arrived, sent)?;
    let readable = drain(&receiver)?;
    let dropped = to.growth(&before, errors, sent - readable.min(sent))?;
    Ok(Buffer { sent, readable, dropped })
}

/// Reads what there is and counts it.
fn drain(socket: &UdpSocket) -> Result<u64> {
    let mut count = 0;
    loop {
        match unbroken(|| socket.recv(&mut [0; SIZE])) {
            Ok(_) => count += 1,
            Err(error) if is_timeout(&error) => return Ok(count),
            Err(error) => return Err(error).context("read what fitted into the buffer"),
        }
    }
}

/// Has a router drop what it forwards and `rule` matches, with a counter: `udp dport 5999`.
pub fn nft_drop(router: &Host, rule: &str) -> Result<()> {
    let chain = format!("chain forward {{\ntype filter hook forward priority 0\n{rule} counter drop\n}}");
    // Adding first lets the deletion succeed when there is no such table yet.
    let rules = format!("table inet lab\ndelete table inet lab\ntable inet lab {{ {chain}\n}}\n");
    router.feed("nft", &["-f", "-"], &rules).map(drop)
}

/// Has a router drop datagrams to UDP port 5999 before it routes them: one chain looks at the port, and sends them to
/// another, whose second rule drops. Connection tracking is at the same hook.
fn nft_chain(router: &Host) -> Result<()> {
    let refused = "chain refused {\nmeta l4proto tcp accept\ncounter drop\n}";
    let jump = format!("ct state new udp dport {DROP_PORT} jump refused");
    let first = format!("chain first {{\ntype filter hook prerouting priority 0\n{jump}\n}}");
    router.feed("nft", &["-f", "-"], &format!("table inet lab {{ {refused}\n{first}\n}}\n")).map(drop)
}

/// Removes what [`nft_drop`] or a chain of its own added.
pub fn nft_clear(host: &Host) -> Result<()> {
    host.sh("nft", &["delete", "table", "inet", "lab"]).map(drop)
}

/// How many packets the rule of [`nft_drop`] has dropped.
fn nft_dropped(router: &Host) -> Result<u64> {
    let text = router.sh("nft", &["list", "table", "inet", "lab"])?;
    let count = text.split_once("counter packets ").and_then(|(_, rest)| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("nft shows no counter in: {text}"))
}

/// Sends `count` datagrams to UDP port 5999 of the server, which the router drops by an nftables rule.
pub fn forwarded_udp_dropped(net: &Net, count: u32) -> Result<Dropped> {
    nft_drop(&net.router, &format!("udp dport {DROP_PORT}"))?;
    dropped_by_nft(net, count)
}

/// The same, by a rule in a chain that another chain leads to.
pub fn udp_dropped_in_chain(net: &Net, count: u32) -> Result<Dropped> {
    nft_chain(&net.router)?;
    dropped_by_nft(net, count)
}

/// The same, by the rule of [`Layer::Iptables`](crate::topology::Layer::Iptables).
pub fn udp_dropped_by_iptables(net: &Net, count: u32) -> Result<Dropped> {
    let sent = send_to_router(net, count)?;
    // Packets and bytes stand first.
    let text = net.router.sh("iptables-legacy", &["-nvxL", "FORWARD", "1"])?;
    let dropped = text.split_whitespace().next().and_then(|packets| packets.parse().ok());
    let dropped = dropped.with_context(|| format!("iptables shows no counter in: {text}"))?;
    Ok(Dropped { sent, dropped })
}

/// Sends what the router's nftables drops, and removes the rules.
fn dropped_by_nft(net: &Net, count: u32) -> Result<Dropped> {
    let sent = send_to_router(net, count)?;
    let dropped = nft_dropped(&net.router)?;
    nft_clear(&net.router)?;
    Ok(Dropped { sent, dropped })
}

/// Sends the server datagrams for port [`DROP_PORT`], and waits until they are at the router.
fn send_to_router(net: &Net, count: u32) -> Result<u64> {
    let arrived = net.router.counters()?;
    let sent = u64::from(udp_send(&net.client, net.server.at(DROP_PORT), count, SIZE)?);
    net.router.growth(&arrived, "IpInReceives", sent)?;
    Ok(sent)
}

/// Sends `count` datagrams to 10.99.0.1, to which the router has no route.
pub fn no_route(net: &Net, count: u32) -> Result<Dropped> {
    let at = SocketAddr::from((Ipv4Addr::new(10, 99, 0, 1), IDLE_PORT));
    counted(&net.router, "IpExtInNoRoutes", || udp_send(&net.client, at, count, SIZE))
}

/// Sends `count` datagrams to the server with a TTL of 1, which ends at the router.
pub fn ttl_expired(net: &Net, count: u32) -> Result<Dropped> {
    let at = net.server.at(IDLE_PORT);
    let send = || {
        net.client.run(|| {
            let socket = UdpSocket::bind(any(at))?;
            set_ip_ttl(&socket, 1)?;
            send_all(&socket, at, count, SIZE)
        })
    };
    counted(&net.router, "IpInHdrErrors", send)
}

/// Sends `count` datagrams to 10.77.1.77 on the client's own link, where nobody is. At most 100: the kernel
/// keeps only so many while it looks for the neighbour.
pub fn neighbour_failed(net: &Net, count: u32) -> Result<Dropped> {
    let at = SocketAddr::from((Ipv4Addr::new(10, 77, 1, 77), IDLE_PORT));
    // The kernel answers each datagram it gives up on by an ICMP host unreachable to itself.
    counted(&net.client, "IcmpInDestUnreachs", || udp_send(&net.client, at, count.min(100), SIZE))
}

/// Sends `count` datagrams of 1400 bytes that must not be fragmented, over a link of the router that takes
/// 1280.
pub fn mtu_too_big(net: &Net, count: u32) -> Result<Dropped> {
    let at = net.server.at(IDLE_PORT);
    let mtu = |bytes| net.router.sh("ip", &["link", "set", "dev", "right", "mtu", bytes]);
    mtu("1280")?;
    let send = || {
        net.client.run(|| {
            let socket = UdpSocket::bind(any(at))?;
            // "Probe" sets DF and pays no heed to what the path has told before, so that each one is sent.
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
            send_all(&socket, at, count, 1400)
        })
    };
    let dropped = counted(&net.router, "IpFragFails", send);
    mtu("1500")?;
    dropped
}

/// Sends `count` datagrams from a source address that the router would look for on its other side.
pub fn rp_filter(net: &Net, count: u32) -> Result<Dropped> {
    let source = Ipv4Addr::new(10, 77, 2, 99);
    let with_prefix = format!("{source}/32");
    net.client.sh("ip", &["addr", "add", &with_prefix, "dev", "lo"])?;
    net.router.sysctl(&[("ipv4/conf/left/rp_filter", "1")])?;
    let send = || {
        net.client.run(|| {
            let socket = UdpSocket::bind((source, 0))?;
            send_all(&socket, net.server.at(IDLE_PORT), count, SIZE)
        })
    };
    let dropped = counted(&net.router, "TcpExtIPReversePathFilter", send);
    net.router.sysctl(&[("ipv4/conf/left/rp_filter", "0")])?;
    net.client.sh("ip", &["addr", "del", &with_prefix, "dev", "lo"])?;
    dropped
}

/// Makes `count` connections to a server with room for two that it does not accept before all were tried.
pub fn tcp_syn_backlog_full(from: &Host, to: &Host, at: SocketAddr, count: u32) -> Result<Backlog> {
    let listener =
        to.run(|| crowded_listener(at).with_context(|| format!("bind TCP {at} in {}", to.name())))?;
    let before = to.counters()?;
    let clients = from.run(|| {
        let tries = (0..count).map(|_| TcpStream::connect_timeout(&at, CONNECT));
        let kept = tries.filter_map(|tried| match tried {
            Err(error) if is_timeout(&error) => None,
            other => Some(other.with_context(|| format!("connect to {at}"))),
        });
        kept.collect::<Result<Vec<TcpStream>>>()
    })?;
    let connected = u32::try_from(clients.len())?;
    let timed_out = count - connected;
    let dropped = to.growth(&before, "TcpExtListenOverflows", timed_out.into())?;
    close_in_order(&listener, clients)?;
    Ok(Backlog { connected, timed_out, dropped })
}

/// A listening socket whose queue of connections not yet accepted is full with two. (With a backlog of zero
/// the kernel would answer the first SYN by a cookie.)
fn crowded_listener(at: SocketAddr) -> Result<TcpListener> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let listener = socket(family, SocketType::STREAM, None)?;
    bind(&listener, &at)?;
    listen(&listener, 1)?;
    set_socket_timeout(&listener, Timeout::Recv, Some(TIMEOUT))?;
    Ok(listener.into())
}

/// Accepts what is in the queue and closes it, clients first, so that nothing is reset.
fn close_in_order(listener: &TcpListener, clients: Vec<TcpStream>) -> Result<()> {
    for client in &clients {
        client.shutdown(Shutdown::Write)?;
    }
    for _ in &clients {
        let mut server = accept(listener)?;
        std::io::copy(&mut server, &mut std::io::sink()).context("await the client's close")?;
    }
    Ok(())
}

/// Sends and compares: how far did `counter` of the host that drops grow?
fn counted(dropper: &Host, counter: &str, send: impl FnOnce() -> Result<u32>) -> Result<Dropped> {
    let before = dropper.counters()?;
    let sent = u64::from(send()?);
    let dropped = dropper.growth(&before, counter, sent)?;
    Ok(Dropped { sent, dropped })
}

#[cfg(test)]
mod root {
    use super::*;

    /// All `count` datagrams were sent, and the kernel counted each as dropped.
    fn all(count: u64) -> Dropped {
        Dropped { sent: count, dropped: count }
    }

    #[test]
    fn one_net_takes_every_fault_in_turn() {
        let net = Net::new().unwrap();
        // Twice: what a fault changes it must change back.
        for _ in 0..2 {
            assert_eq!(forwarded_udp_dropped(&net, 7).unwrap(), all(7));
            assert_eq!(no_route(&net, 6).unwrap(), all(6));
            assert_eq!(ttl_expired(&net, 5).unwrap(), all(5));
            assert_eq!(neighbour_failed(&net, 4).unwrap(), all(4));
            assert_eq!(mtu_too_big(&net, 3).unwrap(), all(3));
            assert_eq!(rp_filter(&net, 2).unwrap(), all(2));
            assert_eq!(
                crate::traffic::tcp_bulk(&net.client, &net.server, net.server.at(7000), 100_000).unwrap(),
                100_000
            );
        }
    }

    #[test]
    fn closed_ports_refuse() {
        let net = Net::new().unwrap();
        let refused = Refused { tried: 60, refused: 60 };
        for at in [net.server.at(IDLE_PORT), net.server.at6(IDLE_PORT)] {
            assert_eq!(tcp_connect_refused(&net.client, at, 60).unwrap(), refused);
            assert_eq!(udp_closed_port(&net.client, at, 60).unwrap(), refused);
        }
    }

    #[test]
    fn a_full_buffer_drops_what_does_not_fit() {
        let net = Net::new().unwrap();
        for at in [net.server.at(7000), net.server.at6(7000)] {
            let Buffer { sent, readable, dropped } =
                full_socket_buffer(&net.client, &net.server, at, 50, 400).unwrap();
            assert_eq!((sent, readable + dropped), (50, 50));
            assert!(readable > 0 && dropped > 0, "{readable} readable, {dropped} dropped");
        }
    }

    #[test]
    fn a_full_backlog_drops_each_further_syn() {
        let net = Net::pair().unwrap();
        let backlog = tcp_syn_backlog_full(&net.client, &net.server, net.server.at(7000), 4).unwrap();
        assert_eq!(backlog, Backlog { connected: 2, timed_out: 2, dropped: 2 });
    }
}
