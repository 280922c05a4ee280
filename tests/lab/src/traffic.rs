//! Traffic between two hosts, bounded in count and in time, that says what became of it.
//!
//! With the same host on both sides and a loopback address each function stays inside that host. Servers are
//! bound before clients start, so nothing waits for a port.

mod faults;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::host::{Host, together};
use crate::process::Process;

pub use faults::{
    Backlog, Buffer, DROP_PORT, Dropped, Refused, forwarded_udp_dropped, full_socket_buffer, mtu_too_big,
    neighbour_failed, nft_clear, nft_drop, no_route, rp_filter, tcp_connect_refused, tcp_syn_backlog_full,
    ttl_expired, udp_closed_port, udp_dropped_by_iptables, udp_dropped_in_chain,
};

/// How long any one socket operation may take. Over a link that loses packets, a connection's first one may be lost three
/// times in a row, and TCP sends it anew after 1, 3, 7 and 15 seconds.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// How long a UDP reply may take.
const REPLY: Duration = Duration::from_secs(1);

/// A client that missed this many UDP replies gives up.
const MISSES: u32 = 5;

/// The TCP port of bulk transfers in scenarios; layers of a topology pass it on.
pub const BULK_PORT: u16 = 8080;

/// The TCP port of short connections in scenarios; layers of a topology pass it on.
pub const SHORT_PORT: u16 = 8081;

/// How many bytes a bulk transfer hands to the kernel at once.
const CHUNK: usize = 64 * 1024;

/// Requests and their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub answered: u32,
}

/// Sends `count` echo requests with the `ping` tool, ten milliseconds apart.
pub fn ping(from: &Host, addr: IpAddr, count: u32) -> Result<Answered> {
    let (count, addr) = (count.to_string(), addr.to_string());
    // Without an answer ping fails; what it counted is still on its standard output.
    let script = "ping -n -q -i 0.01 -W 1 -c \"$0\" \"$1\" || test $? = 1";
    let text = from.sh("sh", &["-c", script, &count, &addr])?;
    parse_ping(&text).with_context(|| format!("`ping {addr}` printed no summary but: {}", text.trim()))
}

/// Like [`ping`], while `tcpdump` listens on the sender's device; returns also how many packets it printed.
pub fn ping_watched(from: &Host, addr: IpAddr, count: u32) -> Result<(Answered, u32)> {
    let packets = (2 * count).to_string();
    let mut command = harness::program("tcpdump");
    // As root: it would not find its user where there is no login.
    command.args(["-Z", "root", "-n", "-i", "eth0", "--immediate-mode", "-c", &packets, "icmp or icmp6"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watcher = from.run(|| Process::start(&mut command))?;
    let said = watcher.child.stderr.take().context("tcpdump has no standard error")?;
    let mut said = BufReader::new(said).lines();
    let listens = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.contains("listening on"));
    said.any(|line| listens(&line)).then_some(()).context("tcpdump did not begin to listen")?;
    let answered = ping(from, addr, count)?;
    watcher.wait_for(TIMEOUT)?.with_context(|| format!("tcpdump did not see {packets} packets"))?;
    let printed = watcher.child.stdout.take().context("tcpdump has no standard output")?;
    Ok((answered, BufReader::new(printed).lines().count() as u32))
}

/// Makes one TCP connection; returns whom the server takes for its client.
pub fn tcp_peer(from: &Host, to: &Host, at: SocketAddr) -> Result<IpAddr> {
    let listener = tcp_listener(to, at)?;
    let (peer, _client) = together((to, || Ok(accept(&listener)?.peer_addr()?)), (from, || connect(at)))?;
    Ok(peer.ip())
}

/// Finds `5 packets transmitted, 5 received` (or `5 packets received`) in ping's output.
fn parse_ping(text: &str) -> Option<Answered> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut counts = line.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    Some(Answered { sent: counts.next()??, answered: counts.next()?? })
}

/// Sends `bytes` over one TCP connection; returns how many arrived.
pub fn tcp_bulk(from: &Host, to: &Host, at: SocketAddr, bytes: u64) -> Result<u64> {
    let listener = tcp_listener(to, at)?;
    let serve = || {
        let mut stream = accept(&listener)?;
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        loop {
            match unbroken(|| stream.read(&mut buffer)).context("receive a bulk transfer")? {
                0 => return Ok(total),
                read => total += u64::try_from(read)?,
            }
        }
    };
    let send = || {
        let mut stream = connect(at)?;
        let data = std::io::repeat(b'.').take(bytes);
        std::io::copy(&mut BufReader::with_capacity(CHUNK, data), &mut stream)
            .with_context(|| format!("send {bytes} bytes to {at}"))
    };
    let (received, _sent) = together((to, serve), (from, send))?;
    Ok(received)
}

/// Makes `connections` TCP connections one after the other: 100 bytes there, 200 bytes back, closed by the
/// client first. Returns how many went through whole.
pub fn tcp_short(from: &Host, to: &Host, at: SocketAddr, connections: u32) -> Result<u32> {
    let listener = tcp_listener(to, at)?;
    let serve = || {
        for _ in 0..connections {
            let mut stream = accept(&listener)?;
            stream.read_exact(&mut [0; 100]).context("receive a request")?;
            stream.write_all(&[b'a'; 200]).context("send an answer")?;
            stream.read_to_end(&mut Vec::new()).context("await the client's close")?;
        }
        Ok(())
    };
    let ask = || {
        for _ in 0..connections {
            let mut stream = connect(at)?;
            stream.write_all(&[b'q'; 100]).context("send a request")?;
            stream.read_exact(&mut [0; 200]).context("receive an answer")?;
        }
        Ok(connections)
    };
    let ((), asked) = together((to, serve), (from, ask))?;
    Ok(asked)
}

/// Sends `count` datagrams of `size` bytes, each after the answer to the one before, which is as long.
pub fn udp_echo(from: &Host, to: &Host, at: SocketAddr, count: u32, size: usize) -> Result<Answered> {
    exchange((from, to), at, count, (size, size))
}

/// Sends `count` requests of 40 bytes to UDP port 53, each answered by 120 bytes.
pub fn dns_like(from: &Host, to: &Host, addr: IpAddr, count: u32) -> Result<Answered> {
    exchange((from, to), SocketAddr::new(addr, 53), count, (40, 120))
}

/// Requests and answers of the given sizes over UDP, one at a time.
fn exchange(
    (from, to): (&Host, &Host),
    at: SocketAddr,
    count: u32,
    (request, answer): (usize, usize),
) -> Result<Answered> {
    let own = here(at);
    let server = server(to, own, UdpSocket::bind)?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let done = AtomicBool::new(false);
    let serve = || serve_udp(&server, (request, answer), &done);
    let ask = || {
        let asked = ask_udp(at, count, (request, answer));
        done.store(true, Ordering::Release);
        asked
    };
    let ((), answered) = together((to, serve), (from, ask))?;
    Ok(answered)
}

/// Answers datagrams until `done` is set and nothing comes any more.
fn serve_udp(socket: &UdpSocket, (request, answer): (usize, usize), done: &AtomicBool) -> Result<()> {
    let mut buffer = vec![0; request];
    let reply = vec![b'a'; answer];
    loop {
        match unbroken(|| socket.recv_from(&mut buffer)) {
            Ok((_, peer)) => drop(socket.send_to(&reply, peer).context("send a UDP answer")?),
            Err(error) if is_timeout(&error) && done.load(Ordering::Acquire) => return Ok(()),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).context("receive a UDP request"),
        }
    }
}

/// Sends requests and waits for each one's answer; gives up after too many misses.
fn ask_udp(at: SocketAddr, count: u32, (request, answer): (usize, usize)) -> Result<Answered> {
    let socket = udp_client(at)?;
    socket.set_read_timeout(Some(REPLY))?;
    let (query, mut buffer) = (vec![b'q'; request], vec![0; answer]);
    let mut done = Answered { sent: 0, answered: 0 };
    while done.sent < count && done.sent - done.answered < MISSES {
        socket.send(&query).with_context(|| format!("send a UDP request to {at}"))?;
        done.sent += 1;
        match unbroken(|| socket.recv(&mut buffer)) {
            Ok(_) => done.answered += 1,
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("receive a UDP answer from {at}")),
        }
    }
    Ok(done)
}

/// Sends `count` datagrams to an address, whoever is there; returns how many were sent.
pub fn udp_send(from: &Host, at: SocketAddr, count: u32, size: usize) -> Result<u32> {
    from.run(|| send_all(&UdpSocket::bind(any(at))?, at, count, size))
}

/// Sends datagrams over a socket that is not connected, so that ICMP errors do not come back to it.
fn send_all(socket: &UdpSocket, at: SocketAddr, count: u32, size: usize) -> Result<u32> {
    let data = vec![b'u'; size];
    for _ in 0..count {
        socket.send_to(&data, at).with_context(|| format!("send UDP to {at}"))?;
    }
    Ok(count)
}

/// Whether a socket operation ran into its timeout.
pub(crate) fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Makes a call again as long as a signal breaks it off: where a socket has a timeout, Linux does not (signal(7)).
pub(crate) fn unbroken<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Any address and port of the same family.
pub(crate) fn any(at: SocketAddr) -> SocketAddr {
    let addr: IpAddr = if at.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(addr, 0)
}

/// Where a server listens to be reached at `at`: at its port of every address, since a router may translate.
fn here(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(any(at).ip(), at.port())
}

/// A server's socket in host `to`.
///
/// A port that was closed a moment ago can still be taken: a program that another thread starts has a copy of
/// every socket from its fork to its exec. So this waits for the port, at most [`TIMEOUT`].
pub(crate) fn server<T: Send>(
    to: &Host,
    at: SocketAddr,
    mut bind: impl FnMut(SocketAddr) -> std::io::Result<T> + Send,
) -> Result<T> {
    let until = Instant::now() + TIMEOUT;
    to.run(|| {
        loop {
            match bind(at) {
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(1));
                }
                bound => return bound.with_context(|| format!("bind {at} in {}", to.name())),
            }
        }
    })
}

/// A UDP socket of the calling thread's host, connected to `at`, so that ICMP errors come back to it.
pub(crate) fn udp_client(at: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(any(at))?;
    socket.connect(at).with_context(|| format!("connect UDP to {at}; is there a route?"))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// A listening socket in host `to` whose accept has a timeout.
pub(crate) fn tcp_listener(to: &Host, at: SocketAddr) -> Result<TcpListener> {
    let own = here(at);
    let listener = server(to, own, TcpListener::bind)?;
    set_socket_timeout(&listener, Timeout::Recv, Some(TIMEOUT))?;
    Ok(listener)
}

/// The next connection, with timeouts on both directions.
pub(crate) fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().context("no connection came")?;
    bound(&stream)?;
    Ok(stream)
}

/// A connection of the calling thread's host, with timeouts on both directions.
pub(crate) fn connect(at: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, TIMEOUT).with_context(|| format!("connect to {at}"))?;
    bound(&stream)?;
    Ok(stream)
}

/// Gives both directions their timeouts.
fn bound(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_summary_is_read() {
        let text =
            "--- ::1 ping statistics ---\n5 packets transmitted, 3 received, 40% packet loss, time 8ms\n";
        assert_eq!(parse_ping(text), Some(Answered { sent: 5, answered: 3 }));
        let errors = "4 packets transmitted, 0 received, +4 errors, 100% packet loss, time 8ms\n";
        assert_eq!(parse_ping(errors), Some(Answered { sent: 4, answered: 0 }));
        assert_eq!(parse_ping("ping: unknown host"), None);
    }

    #[test]
    fn a_call_that_a_signal_breaks_off_is_made_again() {
        let mut answers = [Err(ErrorKind::Interrupted), Err(ErrorKind::Interrupted), Ok(7)].into_iter();
        assert_eq!(unbroken(|| answers.next().unwrap().map_err(Into::into)).unwrap(), 7);
        assert_eq!(answers.next(), None);
    }
}

#[cfg(test)]
mod root {
    use super::*;
    use crate::Net;

    /// Everything a healthy pair of hosts does, over one address.
    fn all_is_well(from: &Host, to: &Host, addr: IpAddr) {
        let whole = |count| Answered { sent: count, answered: count };
        let at = SocketAddr::new(addr, 7000);
        assert_eq!(ping(from, addr, 3).unwrap(), whole(3));
        assert_eq!(tcp_bulk(from, to, at, 1_000_000).unwrap(), 1_000_000);
        assert_eq!(tcp_short(from, to, at, 20).unwrap(), 20);
        assert_eq!(udp_echo(from, to, at, 20, 100).unwrap(), whole(20));
        assert_eq!(dns_like(from, to, addr, 20).unwrap(), whole(20));
        assert_eq!(udp_send(from, at, 3, 100).unwrap(), 3);
    }

    #[test]
    fn traffic_passes_a_router() {
        let net = Net::new().unwrap();
        all_is_well(&net.client, &net.server, net.server.v4());
        all_is_well(&net.client, &net.server, net.server.v6());
        all_is_well(&net.server, &net.client, net.client.v6());
    }

    #[test]
    fn traffic_passes_one_link() {
        let pair = Net::pair().unwrap();
        all_is_well(&pair.client, &pair.server, pair.server.v4());
        all_is_well(&pair.server, &pair.client, pair.client.v6());
    }

    #[test]
    fn traffic_passes_loopback() {
        let host = Net::alone().unwrap();
        all_is_well(&host, &host, host.v4());
        all_is_well(&host, &host, host.v6());
    }

    #[test]
    fn a_server_waits_for_a_port_that_is_being_closed() {
        let host = Net::alone().unwrap();
        let at = host.at(7000);
        let mut former = Some(server(&host, at, TcpListener::bind).unwrap());
        let next = server(&host, at, |at| {
            let next = TcpListener::bind(at);
            former = None;
            next
        });
        next.unwrap();
    }

    #[test]
    fn nat_hides_the_client() {
        let net = Net::with_nat().unwrap();
        all_is_well(&net.client, &net.server, net.server.v4());
        let listener = tcp_listener(&net.server, net.server.at(7001)).unwrap();
        let _client = net.client.run(|| connect(net.server.at(7001))).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "10.77.2.1");
    }

    #[test]
    fn a_server_nobody_reaches_is_an_error_and_bounded() {
        let net = Net::pair().unwrap();
        let host = Net::alone().unwrap();
        let error = udp_echo(&host, &net.server, net.server.at(7002), 3, 10).unwrap_err();
        assert!(format!("{error:#}").contains("unreachable"), "{error:#}");
    }
}
