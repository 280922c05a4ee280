//! Traffic in which every packet can be told from every other one, so that a capture of it can be held against what was
//! sent.
//!
//! Datagrams and echo messages carry a number of their own at the beginning of their payload; TCP segments are told apart
//! by sequence number, acknowledgment number and IP identification. None of these is changed by a router, a bridge,
//! address translation, a tunnel, or the cutting and merging of segments. Several flows of each protocol run at the same
//! time on two CPUs, in both directions, so that the address of an `sk_buff` goes from one flow to another.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::{AddressFamily, SocketType, ipproto, socket, sockopt::set_socket_recv_buffer_size_force};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::host::Host;
use crate::net::{Net, Pair};
use crate::topology::{Layer, Middle, Topology};
use crate::traffic::{accept, connect, is_timeout, server, tcp_listener, udp_client, unbroken};

/// What the numbers begin with.
const MAGIC: u16 = 0x4e54;
/// Set in the number of an answer.
const ANSWER: u64 = 1 << 47;
/// Payload bytes of the shortest numbered datagram.
const SHORTEST: usize = 32;
/// Requests of one flow that may be without answer.
const WINDOW: u64 = 64;
/// Requests that are sent between two looks at the clock.
const BURST: u64 = 16;
/// How long answers may take before the requests are taken for lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// CPUs that flows run on, where the machine has them.
const CPUS: usize = 2;
/// Bytes of TCP's writes, one after the other: single segments, and what is cut into several.
const WRITES: [usize; 4] = [100, 1400, 4000, 20_000];
/// First port; each flow has its own.
const PORT: u16 = 7100;

/// What packets go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The loopback device.
    Loopback,
    /// A pair of veth devices.
    Veth,
    /// A bridge.
    Bridge,
    /// A router that masquerades.
    Nat,
    /// A VXLAN tunnel through a router.
    Vxlan,
    /// A router; the sender's stack cuts segments (GSO), and the receiver merges them (GRO).
    Segments,
}

impl Route {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 6] = [
        ("loopback", Self::Loopback),
        ("veth", Self::Veth),
        ("bridge", Self::Bridge),
        ("nat", Self::Nat),
        ("vxlan", Self::Vxlan),
        ("segments", Self::Segments),
    ];

    /// The route of a name.
    pub fn find(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        Ok(found.with_context(|| format!("there is no route {name}"))?.1)
    }

    /// Builds the hosts.
    pub fn build(self) -> Result<Hosts> {
        let net = |middle, layers| Net::build(&Topology { middle, layers }).map(Hosts::Three);
        match self {
            Self::Loopback => Net::alone().map(Hosts::One),
            Self::Veth => Net::pair().map(Hosts::Two),
            Self::Bridge => net(Middle::Bridge, &[]),
            Self::Nat => net(Middle::Router, &[Layer::Masquerade]),
            Self::Vxlan => net(Middle::Router, &[Layer::Vxlan]),
            Self::Segments => net(Middle::Router, &[Layer::Cut, Layer::Merge]),
        }
    }

    /// The address at which the server is reached.
    fn address(self, to: &Host) -> IpAddr {
        if self == Self::Vxlan { Net::OVERLAY_SERVER.into() } else { to.v4() }
    }
}

/// The hosts of a route.
#[derive(Debug)]
pub enum Hosts {
    /// One that sends to itself.
    One(Host),
    /// Two on a link.
    Two(Pair),
    /// Two with another between them.
    Three(Net),
}

impl Hosts {
    /// Who sends, and who answers.
    fn ends(&self) -> (&Host, &Host) {
        match self {
            Self::One(host) => (host, host),
            Self::Two(Pair { client, server }) | Self::Three(Net { client, server, .. }) => (client, server),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<&Host> {
        match self {
            Self::One(host) => vec![host],
            Self::Two(Pair { client, server }) => vec![client, server],
            Self::Three(Net { client, router, server, .. }) => vec![client, router, server],
        }
    }
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Packets: datagrams, echo messages, their answers, and writes to TCP connections.
    pub packets: u64,
    /// Packets a second.
    pub rate: u64,
}

/// What became of numbered packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams and echo requests sent.
    pub requests: u64,
    /// Their answers.
    pub answers: u64,
    /// Writes to TCP connections.
    pub writes: u64,
}

/// One flow: which requests, how many, how fast.
#[derive(Clone, Copy)]
struct Flow<'a> {
    /// Ends it early when set.
    stop: &'a AtomicBool,
    /// Where to.
    at: SocketAddr,
    /// Tells its numbers from those of other flows.
    stream: u16,
    /// Packets to send.
    count: u64,
    /// The CPU that it runs on.
    cpu: usize,
    /// How long it takes.
    time: Duration,
}

/// Sends numbered packets over a route: half of them UDP, a quarter ICMP, a quarter TCP; fewer if `stop` is set meanwhile.
pub fn send(route: Route, hosts: &Hosts, amount: Amount, stop: &AtomicBool) -> Result<Sent> {
    let (from, to) = hosts.ends();
    from.sysctl(&[("ipv4/ping_group_range", "0 0")])?;
    let addr = route.address(to);
    let time = Duration::from_secs_f64(amount.packets as f64 / amount.rate as f64);
    let flow = |stream: usize, share: u64| Flow {
        stop,
        at: SocketAddr::new(addr, PORT + stream as u16),
        stream: stream as u16,
        count: amount.packets / share,
        cpu: stream % CPUS,
        time,
    };
    let (done, total) = (AtomicBool::new(false), Total::default());
    thread::scope(|scope| {
        let ended = Ended(&done);
        let mut servers = Vec::new();
        let mut clients = Vec::new();
        for cpu in 0..CPUS {
            let [udp, icmp, tcp] = [flow(cpu, 8), flow(CPUS + cpu, 16), flow(2 * CPUS + cpu, 8)];
            let socket = server(to, here(udp.at), UdpSocket::bind)?;
            set_socket_recv_buffer_size_force(&socket, 4 << 20)?;
            let listener = tcp_listener(to, tcp.at)?;
            let (done, total) = (&done, &total);
            servers.push(to.start(scope, move || answer(&socket, udp, done))?);
            servers.push(to.start(scope, move || receive(&listener, tcp))?);
            clients.push(from.start(scope, move || total.add(ask(&udp_client(udp.at)?, udp, 0)?))?);
            clients.push(from.start(scope, move || total.add(ask(&icmp_client(icmp.at)?, icmp, 8)?))?);
            clients.push(from.start(scope, move || total.add(write(tcp)?))?);
        }
        let asked: Vec<Result<()>> = clients.into_iter().map(crate::host::join).collect();
        drop(ended);
        let served: Vec<Result<()>> = servers.into_iter().map(crate::host::join).collect();
        asked.into_iter().chain(served).collect::<Result<()>>()
    })?;
    Ok(total.sent())
}

/// Ends the servers when it is dropped, whatever happened.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The sum of all flows.
#[derive(Default)]
struct Total([AtomicU64; 3]);

impl Total {
    /// Adds those of a flow.
    fn add(&self, sent: Sent) -> Result<()> {
        let Sent { requests, answers, writes } = sent;
        for (sum, count) in self.0.iter().zip([requests, answers, writes]) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The sum.
    fn sent(&self) -> Sent {
        let [requests, answers, writes] = &self.0;
        let sum = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Sent { requests: sum(requests), answers: sum(answers), writes: sum(writes) }
    }
}

/// Any address, at the port of `at`: a router may translate.
fn here(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port())
}

/// Has the calling thread run on one CPU, where there are as many.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // On a machine with one CPU the flows share it.
    let _ = sched_setaffinity(None, &set);
}

/// A socket for echo requests; the kernel gives it an identifier and counts checksums.
fn icmp_client(at: SocketAddr) -> Result<UdpSocket> {
    let echo = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP));
    let echo = UdpSocket::from(echo.context("a socket for echo requests")?);
    echo.connect(at)?;
    Ok(echo)
}

/// A request: the header of an echo request, if `skip` is its length, the number, and something to fill it up.
fn request(flow: Flow<'_>, index: u64, skip: usize) -> Vec<u8> {
    let number = u64::from(MAGIC) << 48 | u64::from(flow.stream) << 32 | index;
    let mut bytes = vec![0; skip];
    if let [kind, .., high, low] = bytes.as_mut_slice() {
        *kind = 8;
        [*high, *low] = (index as u16).to_be_bytes();
    }
    bytes.extend(number.to_be_bytes());
    // Some fit into the sk_buff's own first buffer, some need more.
    bytes.resize(skip + SHORTEST + (index as usize * 37) % 1000, b'n');
    bytes
}

/// Sends requests, at most [`WINDOW`] without an answer, evenly over the flow's time.
fn ask(socket: &UdpSocket, flow: Flow<'_>, skip: usize) -> Result<Sent> {
    pin(flow.cpu);
    socket.set_read_timeout(Some(PATIENCE))?;
    let (begin, mut sent, mut buffer) = (Instant::now(), Sent::default(), [0; 2048]);
    while sent.requests < flow.count && !flow.stop.load(Ordering::Relaxed) {
        for index in sent.requests..flow.count.min(sent.requests + BURST) {
            unbroken(|| socket.send(&request(flow, index, skip)))
                .with_context(|| format!("send to {} after {index} requests", flow.at))?;
            sent.requests += 1;
        }
        while sent.requests - sent.answers > WINDOW && unbroken(|| socket.recv(&mut buffer)).is_ok() {
            sent.answers += 1;
        }
        ensure!(sent.requests - sent.answers <= 4 * WINDOW, "{} does not answer any more", flow.at);
        pace(begin, flow, sent.requests);
    }
    while sent.answers < sent.requests && unbroken(|| socket.recv(&mut buffer)).is_ok() {
        sent.answers += 1;
    }
    Ok(sent)
}

/// Waits until so many packets are due.
fn pace(begin: Instant, flow: Flow<'_>, sent: u64) {
    let due = flow.time.mul_f64(sent as f64 / flow.count as f64);
    thread::sleep(due.saturating_sub(begin.elapsed()));
}

/// Answers datagrams, each with its number as an answer's, until `done` is set and nothing comes any more.
fn answer(socket: &UdpSocket, flow: Flow<'_>, done: &AtomicBool) -> Result<()> {
    pin(flow.cpu);
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 2048];
    loop {
        match unbroken(|| socket.recv_from(&mut buffer)) {
            Ok((size, peer)) => {
                if let Some(number) = buffer.first_chunk_mut::<8>() {
                    *number = (u64::from_be_bytes(*number) | ANSWER).to_be_bytes();
                }
                socket.send_to(buffer.get(..size).unwrap_or_default(), peer).context("send an answer")?;
            }
            Err(error) if is_timeout(&error) && done.load(Ordering::Acquire) => return Ok(()),
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).context("receive a numbered datagram"),
        }
    }
}

/// Writes to a connection, evenly over the flow's time, and reads what comes back.
fn write(flow: Flow<'_>) -> Result<Sent> {
    pin(flow.cpu);
    let mut stream = connect(flow.at)?;
    stream.set_nodelay(true)?;
    let (begin, mut sent) = (Instant::now(), Sent::default());
    let data = [b't'; WRITES[WRITES.len() - 1]];
    let mut back = stream.try_clone()?;
    let reader = thread::spawn(move || drain(&mut back));
    while sent.writes < flow.count && !flow.stop.load(Ordering::Relaxed) {
        let size = WRITES[sent.writes as usize % WRITES.len()];
        stream.write_all(&data[..size]).with_context(|| format!("write to {}", flow.at))?;
        sent.writes += 1;
        if sent.writes.is_multiple_of(BURST) {
            pace(begin, flow, sent.writes);
        }
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(sent)
}

/// Reads a connection to its end.
fn drain(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    while unbroken(|| stream.read(&mut buffer)).context("read what comes back")? > 0 {}
    Ok(())
}

/// Reads a connection to its end, and answers now and then.
fn receive(listener: &TcpListener, flow: Flow<'_>) -> Result<()> {
    pin(flow.cpu);
    let mut stream = accept(listener)?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut reads) = (vec![0; 64 << 10], 0_u64);
    while unbroken(|| stream.read(&mut buffer)).context("read numbered segments")? > 0 {
        reads += 1;
        if reads.is_multiple_of(4) {
            stream.write_all(&[b'a'; 64]).context("answer numbered segments")?;
        }
    }
    Ok(())
}

/// What tells a packet from every other one, by the bytes from its network header on; of a tunnel's packet, that of the
/// packet inside. `None` where the bytes do not reach so far, or are no packet that this module sends.
pub fn identity(header: &[u8]) -> Option<u128> {
    let (protocol, id, rest) = match header.first()? >> 4 {
        4 => {
            let length = usize::from(header[0] & 15) * 4;
            (*header.get(9)?, number(header, 4, 2)?, header.get(length..)?)
        }
        6 => (*header.get(6)?, 0, header.get(40..)?),
        _ => return None,
    };
    match protocol {
        17 if number(rest, 2, 2)? == 4789 => match number(rest, 28, 2)? {
            0x0800 | 0x86dd => identity(rest.get(30..)?),
            _ => None,
        },
        17 => numbered(17, rest.get(8..)?),
        1 | 58 => numbered(u128::from(*rest.first()?) << 8 | u128::from(protocol), rest.get(8..)?),
        6 => Some(6 << 120 | number(rest, 4, 4)? << 64 | number(rest, 8, 4)? << 32 | id),
        _ => None,
    }
}

/// The number that a payload begins with, and whose it is.
fn numbered(of: u128, payload: &[u8]) -> Option<u128> {
    let number = number(payload, 0, 8)?;
    (number >> 48 == u128::from(MAGIC)).then_some(of << 96 | number)
}

/// A number in network byte order.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u128> {
    Some(bytes.get(at..at + size)?.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 packet with this protocol and what follows its header.
    fn ipv4(protocol: u8, id: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, id, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        bytes.extend(rest);
        bytes
    }

    /// A UDP header to a port, and its payload.
    fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
        let [high, low] = port.to_be_bytes();
        [&[0, 9, high, low, 0, 0, 0, 0], payload].concat()
    }

    /// The payload with a number.
    fn payload(index: u64) -> Vec<u8> {
        let at = SocketAddr::from(([10, 0, 0, 2], 7));
        request(
            Flow { stop: &AtomicBool::new(false), at, stream: 3, count: 9, cpu: 0, time: Duration::ZERO },
            index,
            0,
        )
    }

    #[test]
    fn translation_and_tunnels_do_not_change_what_a_packet_is() {
        let plain = ipv4(17, 1, &udp(7, &payload(5)));
        let mut translated = plain.clone();
        translated[15] = 77;
        translated[21] = 78;
        let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0], [0; 12].as_slice(), &[8, 0], &plain].concat();
        let tunnelled = ipv4(17, 2, &udp(4789, &vxlan));
        assert!(identity(&plain).is_some());
        assert_eq!(identity(&translated), identity(&plain));
        assert_eq!(identity(&tunnelled), identity(&plain));
        assert_ne!(identity(&ipv4(17, 1, &udp(7, &payload(6)))), identity(&plain));
        assert_ne!(identity(&ipv4(1, 1, &udp(7, &payload(5)))), identity(&plain));
    }

    #[test]
    fn bytes_that_end_early_or_are_of_others_tell_nothing() {
        let plain = ipv4(17, 1, &udp(7, &payload(5)));
        for end in 0..36 {
            assert_eq!(identity(&plain[..end]), None, "{end}");
        }
        assert_eq!(identity(&ipv4(17, 1, &udp(7, b"somebody else's"))), None);
    }
}

#[cfg(test)]
mod root {
    use super::*;

    #[test]
    fn numbered_packets_arrive_over_every_route() {
        for (name, route) in Route::ALL {
            let hosts = route.build().unwrap();
            let Sent { requests, answers, writes } =
                send(route, &hosts, Amount { packets: 1600, rate: 10_000 }, &AtomicBool::new(false)).unwrap();
            assert_eq!((requests, answers, writes), (600, 600, 400), "{name}");
        }
    }
}
