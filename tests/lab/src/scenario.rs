//! Scenarios: named sequences of traffic, one table.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::delayed::Delayed;
use crate::host::Host;
use crate::net::Net;
use crate::topology::{Layer, Middle, Topology};
use crate::traffic::{self, Answered, Backlog, Buffer, Dropped, Refused};

/// A name for a sequence of traffic.
#[derive(Debug)]
pub struct Scenario {
    /// How it is called for.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub about: &'static str,
    /// Which tests record it.
    pub ring: Ring,
    /// What joins the hosts.
    topology: Topology,
    /// What is done, in this order.
    steps: &'static [Step],
}

/// Which tests record a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Those on the running kernel, those in guests, and `make fixtures`.
    Live,
    /// Those in guests only: it may need modules that the running kernel lacks.
    Guest,
}

/// One thing that is done, told in one line.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Traffic that arrives, over one of the ways to the server.
    Flow(Way, fn(&Ends) -> Result<String>),
    /// Traffic that fails for one cause.
    Fault(fn(&Net) -> Result<String>),
}

/// A way to the server.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// From the client to the server, over IPv4.
    V4,
    /// From the client to the server, over IPv6.
    V6,
    /// From the client to the router's address, which stands for the server.
    Published,
    /// From the client to the server, through a tunnel or a VLAN.
    Overlay,
    /// From the client to the host in the middle, over IPv4.
    In,
    /// From the host in the middle to the server, over IPv4.
    Out,
    /// Within the server, over IPv4.
    Loopback4,
    /// Within the server, over IPv6.
    Loopback6,
}

/// The ends of a way.
struct Ends<'a> {
    /// Who asks.
    from: &'a Host,
    /// Who answers.
    to: &'a Host,
    /// The address it answers at.
    addr: IpAddr,
}

impl Way {
    /// Its ends in a net.
    fn ends(self, net: &Net) -> Ends<'_> {
        let Net { client, router, server, .. } = net;
        match self {
            Self::V4 => Ends { from: client, to: server, addr: server.v4() },
            Self::V6 => Ends { from: client, to: server, addr: server.v6() },
            Self::Published => Ends { from: client, to: server, addr: router.v4() },
            Self::Overlay => Ends { from: client, to: server, addr: Net::OVERLAY_SERVER.into() },
            Self::In => Ends { from: client, to: router, addr: router.v4() },
            Self::Out => Ends { from: router, to: server, addr: server.v4() },
            Self::Loopback4 => Ends { from: server, to: server, addr: Ipv4Addr::LOCALHOST.into() },
            Self::Loopback6 => Ends { from: server, to: server, addr: Ipv6Addr::LOCALHOST.into() },
        }
    }
}

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step was done.
    Complete,
    /// The stop flag was set in the middle.
    Stopped,
}

/// What scenarios have in common, unless they say otherwise.
const LIVE: Scenario =
    Scenario { name: "", about: "", ring: Ring::Live, topology: Topology::ROUTED, steps: &[] };

/// The same for those of the guests.
const GUEST: Scenario = Scenario { ring: Ring::Guest, ..LIVE };

/// All scenarios.
pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "demo",
        about: "ping, a file by TCP, UDP; closed ports, an nftables drop, a full socket buffer",
        steps: &[
            Step::Flow(Way::V4, ping),
            Step::Flow(Way::V4, bulk),
            Step::Flow(Way::V4, echo),
            Step::Fault(tcp_closed_port),
            Step::Fault(udp_closed_port),
            Step::Fault(nft_drop),
            Step::Fault(full_socket_buffer),
        ],
        ..LIVE
    },
    Scenario {
        name: "healthy",
        about: "ping, TCP, UDP and DNS-like traffic that all arrives, through the router and on loopback",
        steps: &[
            Step::Flow(Way::V4, ping),
            Step::Flow(Way::V6, ping),
            Step::Flow(Way::V4, bulk),
            Step::Flow(Way::V6, bulk),
            Step::Flow(Way::V4, short),
            Step::Flow(Way::V4, echo),
            Step::Flow(Way::V6, echo),
            Step::Flow(Way::V4, dns),
            Step::Flow(Way::Loopback4, ping),
            Step::Flow(Way::Loopback6, ping),
            Step::Flow(Way::Loopback4, bulk),
            Step::Flow(Way::Loopback6, bulk),
            Step::Flow(Way::Loopback4, short),
            Step::Flow(Way::Loopback4, echo),
            Step::Flow(Way::Loopback6, echo),
            Step::Flow(Way::Loopback4, dns),
        ],
        ..LIVE
    },
    Scenario {
        name: "tcp-closed-port",
        about: "connections to a TCP port where nobody listens",
        steps: &[Step::Fault(tcp_closed_port)],
        ..LIVE
    },
    Scenario {
        name: "udp-closed-port",
        about: "datagrams to a UDP port where nobody listens",
        steps: &[Step::Fault(udp_closed_port)],
        ..LIVE
    },
    Scenario {
        name: "nft-drop",
        about: "datagrams that an nftables rule on the router drops",
        steps: &[Step::Fault(nft_drop)],
        ..LIVE
    },
    Scenario {
        name: "full-socket-buffer",
        about: "datagrams to a receiver that does not read",
        steps: &[Step::Fault(full_socket_buffer)],
        ..LIVE
    },
    Scenario {
        name: "no-route",
        about: "datagrams to an address the router has no route to",
        steps: &[Step::Fault(no_route)],
        ..LIVE
    },
    Scenario {
        name: "ttl-expired",
        about: "datagrams whose TTL ends at the router",
        steps: &[Step::Fault(ttl_expired)],
        ..LIVE
    },
    Scenario {
        name: "neighbour-failed",
        about: "datagrams to an address on the link that nobody has",
        steps: &[Step::Fault(neighbour_failed)],
        ..LIVE
    },
    Scenario {
        name: "syn-backlog-full",
        about: "connections to a server whose accept queue is full",
        steps: &[Step::Fault(syn_backlog_full)],
        ..LIVE
    },
    Scenario {
        name: "mtu-too-big",
        about: "datagrams that are longer than the router's next link takes and must not be fragmented",
        steps: &[Step::Fault(mtu_too_big)],
        ..LIVE
    },
    Scenario {
        name: "rp-filter",
        about: "datagrams whose source address the router would look for on its other side",
        steps: &[Step::Fault(rp_filter)],
        ..LIVE
    },
    Scenario { name: "ping", about: "ping through the router", steps: &[Step::Flow(Way::V4, ping)], ..GUEST },
    Scenario {
        name: "ping6",
        about: "ping through the router over IPv6",
        steps: &[Step::Flow(Way::V6, ping)],
        ..GUEST
    },
    Scenario {
        name: "forward",
        about: "TCP through the router, a file and short connections",
        steps: &[Step::Flow(Way::V4, bulk), Step::Flow(Way::V4, short)],
        ..GUEST
    },
    Scenario {
        name: "nat",
        about: "ping through a masquerading router, TCP to a port that it forwards",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Masquerade, Layer::PortForward] },
        steps: &[
            Step::Flow(Way::V4, ping),
            Step::Flow(Way::Published, translated),
            Step::Flow(Way::Published, bulk),
        ],
        ..GUEST
    },
    Scenario {
        name: "ipvs",
        about: "TCP to an IPVS service of the router",
        topology: Topology { middle: Middle::Router, layers: &[Layer::LoadBalancer] },
        steps: &[Step::Flow(Way::Published, bulk), Step::Flow(Way::Published, short)],
        ..GUEST
    },
    Scenario {
        name: "bridge",
        about: "ping, TCP and UDP between two hosts on a bridge",
        topology: Topology { middle: Middle::Bridge, layers: &[] },
        steps: &[Step::Flow(Way::V4, ping), Step::Flow(Way::V4, bulk), Step::Flow(Way::V6, echo)],
        ..GUEST
    },
    Scenario {
        name: "vxlan",
        about: "ping and TCP in a VXLAN tunnel through the router",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Vxlan] },
        steps: &[Step::Flow(Way::Overlay, ping), Step::Flow(Way::Overlay, bulk)],
        ..GUEST
    },
    Scenario {
        name: "vlan",
        about: "ping and TCP in a VLAN over a bridge",
        topology: Topology { middle: Middle::Bridge, layers: &[Layer::Vlan] },
        steps: &[Step::Flow(Way::Overlay, ping), Step::Flow(Way::Overlay, bulk)],
        ..GUEST
    },
    Scenario {
        name: "ipsec",
        about: "ping and TCP in ESP transport mode through the router",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Ipsec] },
        steps: &[Step::Flow(Way::V4, ping), Step::Flow(Way::V4, bulk)],
        ..GUEST
    },
    Scenario {
        name: "fragments",
        about: "UDP datagrams of 4000 bytes through the router, which cuts their fragments again, and back",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Narrow] },
        steps: &[Step::Flow(Way::V4, fragments)],
        ..GUEST
    },
    Scenario {
        name: "gro",
        about: "a file by TCP whose sender cuts segments and whose receiver merges them",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Cut, Layer::Merge] },
        steps: &[Step::Flow(Way::V4, bulk)],
        ..GUEST
    },
    Scenario {
        name: "copy",
        about: "ping through a router that sends the server a copy of each request",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Duplicate] },
        steps: &[Step::Flow(Way::V4, ping)],
        ..GUEST
    },
    Scenario {
        name: "nft-chain",
        about: "datagrams that an nftables rule drops in a chain that another chain leads to",
        steps: &[Step::Fault(nft_chain)],
        ..GUEST
    },
    Scenario {
        name: "iptables",
        about: "datagrams that a rule of iptables drops",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Iptables] },
        steps: &[Step::Fault(iptables)],
        ..GUEST
    },
    Scenario {
        name: "clone",
        about: "ping while tcpdump listens on the client",
        steps: &[Step::Flow(Way::V4, watched)],
        ..GUEST
    },
    Scenario {
        name: "delay",
        about: "datagrams that a netem of the client holds back, 100, 10 and 1 ms",
        steps: &[
            Step::Flow(Way::V4, delayed::<100, 5>),
            Step::Flow(Way::V4, delayed::<10, 20>),
            Step::Flow(Way::V4, delayed::<1, 50>),
        ],
        ..GUEST
    },
    Scenario {
        name: "ovs",
        about: "ping, TCP and UDP between two ports of an Open vSwitch datapath",
        topology: Topology { middle: Middle::OpenVSwitch, layers: &[] },
        steps: &[Step::Flow(Way::V4, ping), Step::Flow(Way::V4, bulk), Step::Flow(Way::V6, echo)],
        ..GUEST
    },
    Scenario {
        name: "ovs-host",
        about: "ping through Open vSwitch with its daemon, and between its host and others",
        topology: Topology { middle: Middle::Switch, layers: &[] },
        steps: &[Step::Flow(Way::V4, ping), Step::Flow(Way::In, ping), Step::Flow(Way::Out, ping)],
        ..GUEST
    },
    // Last of them: TCP may go on to send, and the link to lose, what ends the connection.
    Scenario {
        name: "gso-loss",
        about: "a file by TCP whose sender cuts segments itself, over a link that loses a tenth of its packets",
        topology: Topology { middle: Middle::Router, layers: &[Layer::Cut, Layer::Loss] },
        steps: &[Step::Flow(Way::V4, lossy)],
        ..GUEST
    },
];

impl Scenario {
    /// Finds a scenario by its name.
    pub fn find(name: &str) -> Result<&'static Self> {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.with_context(|| format!("there is no scenario {name}; `lab list` shows them"))
    }

    /// Builds its net.
    pub fn net(&self) -> Result<Net> {
        Net::build(&self.topology).with_context(|| format!("scenario {}: build its net", self.name))
    }

    /// Does all steps and tells each one's outcome; `stop` is looked at between them.
    pub fn play(&self, net: &Net, out: &mut dyn Write, stop: &AtomicBool) -> Result<Ending> {
        for step in self.steps {
            if stop.load(Ordering::Relaxed) {
                return Ok(Ending::Stopped);
            }
            let line = match step {
                Step::Flow(way, send) => send(&way.ends(net)),
                Step::Fault(send) => send(net),
            };
            let line = line.with_context(|| format!("scenario {}", self.name))?;
            writeln!(out, "{line}")?;
        }
        Ok(Ending::Complete)
    }
}

/// Bytes of the file transfer: about 4 MB.
const FILE: u64 = 4 << 20;

/// How many short connections are made.
const SHORT: u32 = 200;

/// Pings. The first is alone: where two wait for an address to be resolved and are then sent at once, connection tracking
/// may drop one of them, since both begin the same connection.
fn ping(Ends { from, to: _, addr }: &Ends) -> Result<String> {
    let (first, others) = (traffic::ping(from, *addr, 1)?, traffic::ping(from, *addr, 4)?);
    let all = Answered { sent: first.sent + others.sent, answered: first.answered + others.answered };
    told_answers(&format!("ping {addr}"), all)
}

/// Transfers a file.
fn bulk(Ends { from, to, addr }: &Ends) -> Result<String> {
    let at = SocketAddr::new(*addr, traffic::BULK_PORT);
    let received = traffic::tcp_bulk(from, to, at, FILE)?;
    let line = format!("file to {at}: {FILE} bytes sent by TCP, {received} received");
    as_meant(line, received == FILE)
}

/// Makes short connections.
fn short(Ends { from, to, addr }: &Ends) -> Result<String> {
    let at = SocketAddr::new(*addr, traffic::SHORT_PORT);
    let whole = traffic::tcp_short(from, to, at, SHORT)?;
    let line = format!("short connections to {at}: {SHORT} made, {whole} answered and closed");
    as_meant(line, whole == SHORT)
}

/// Has datagrams echoed.
fn echo(Ends { from, to, addr }: &Ends) -> Result<String> {
    let at = SocketAddr::new(*addr, 7);
    told_answers(&format!("UDP echo at {at}"), traffic::udp_echo(from, to, at, 50, 200)?)
}

/// Asks like a resolver does.
fn dns(Ends { from, to, addr }: &Ends) -> Result<String> {
    told_answers(&format!("DNS-like queries to {addr}"), traffic::dns_like(from, to, *addr, 50)?)
}

/// Connects through a router that hides the client.
fn translated(Ends { from, to, addr }: &Ends) -> Result<String> {
    let at = SocketAddr::new(*addr, traffic::SHORT_PORT);
    let peer = traffic::tcp_peer(from, to, at)?;
    let line = format!("connection from {} to {at}: the server {} sees {peer}", from.v4(), to.v4());
    as_meant(line, peer != from.v4() && *addr != to.v4())
}

/// Has datagrams echoed that are longer than a link takes.
fn fragments(Ends { from, to, addr }: &Ends) -> Result<String> {
    let at = SocketAddr::new(*addr, 7);
    let before = to.counters()?;
    let Answered { sent, answered } = traffic::udp_echo(from, to, at, 5, 4000)?;
    let joined = to.growth(&before, "IpReasmOKs", sent.into())?;
    let line =
        format!("UDP echo of 4000 bytes at {at}: {sent} sent, {answered} answered, {joined} reassembled");
    as_meant(line, answered == sent && joined == u64::from(sent))
}

/// Transfers a file although packets are lost.
fn lossy(ends: &Ends) -> Result<String> {
    let before = ends.from.counters()?;
    let line = bulk(ends)?;
    let again = ends.from.growth(&before, "TcpRetransSegs", 1)?;
    as_meant(format!("{line}, {again} segments sent again"), again > 0)
}

/// Sends datagrams through a netem that holds each back so long.
fn delayed<const MS: u64, const COUNT: usize>(Ends { from, to, addr }: &Ends) -> Result<String> {
    // Resolves the address: see `ping`.
    traffic::ping(from, *addr, 1)?;
    let delayed = Delayed::send(from, to, MS, COUNT)?;
    as_meant(delayed.to_string(), delayed.arrived == delayed.sent)
}

/// Pings while somebody listens.
fn watched(Ends { from, to: _, addr }: &Ends) -> Result<String> {
    // Resolves the address: see `ping`.
    traffic::ping(from, *addr, 1)?;
    let (Answered { sent, answered }, seen) = traffic::ping_watched(from, *addr, 5)?;
    let line = format!("ping {addr}: {sent} sent, {answered} answered, {seen} packets watched");
    as_meant(line, answered == sent && seen >= sent + answered)
}

/// Connects to a closed TCP port.
fn tcp_closed_port(net: &Net) -> Result<String> {
    let at = net.server.at(81);
    told_refusals(&format!("closed TCP port {at}"), traffic::tcp_connect_refused(&net.client, at, 5)?)
}

/// Sends to a closed UDP port.
fn udp_closed_port(net: &Net) -> Result<String> {
    let at = net.server.at(82);
    told_refusals(&format!("closed UDP port {at}"), traffic::udp_closed_port(&net.client, at, 5)?)
}

/// Has the router drop datagrams.
fn nft_drop(net: &Net) -> Result<String> {
    let cause = format!("nftables rule on the router, UDP port {}", traffic::DROP_PORT);
    told_drops(&cause, traffic::forwarded_udp_dropped(net, 10)?)
}

/// Has the router drop datagrams in a chain of their own.
fn nft_chain(net: &Net) -> Result<String> {
    let cause = format!("nftables rule in a chain of the router, UDP port {}", traffic::DROP_PORT);
    told_drops(&cause, traffic::udp_dropped_in_chain(net, 10)?)
}

/// Has the router drop datagrams by iptables.
fn iptables(net: &Net) -> Result<String> {
    let cause = format!("iptables rule on the router, UDP port {}", traffic::DROP_PORT);
    told_drops(&cause, traffic::udp_dropped_by_iptables(net, 10)?)
}

/// Fills a socket buffer.
fn full_socket_buffer(net: &Net) -> Result<String> {
    let at = net.server.at(9000);
    let Buffer { sent, readable, dropped } =
        traffic::full_socket_buffer(&net.client, &net.server, at, 50, 400)?;
    let line = format!("full socket buffer at {at}: {sent} sent, {readable} fitted, {dropped} dropped");
    as_meant(line, dropped > 0 && readable + dropped == sent)
}

/// Sends where no route leads.
fn no_route(net: &Net) -> Result<String> {
    told_drops("no route on the router, 10.99.0.1", traffic::no_route(net, 5)?)
}

/// Lets a TTL expire.
fn ttl_expired(net: &Net) -> Result<String> {
    told_drops("TTL ends at the router", traffic::ttl_expired(net, 5)?)
}

/// Sends to a neighbour that is not there.
fn neighbour_failed(net: &Net) -> Result<String> {
    told_drops("no such neighbour, 10.77.1.77", traffic::neighbour_failed(net, 3)?)
}

/// Fills an accept queue.
fn syn_backlog_full(net: &Net) -> Result<String> {
    let at = net.server.at(8082);
    let Backlog { connected, timed_out, dropped } =
        traffic::tcp_syn_backlog_full(&net.client, &net.server, at, 5)?;
    let line = format!(
        "full accept queue at {at}: {connected} connected, {timed_out} timed out, {dropped} SYNs dropped"
    );
    as_meant(line, dropped > 0 && dropped >= timed_out.into())
}

/// Sends more than a link takes.
fn mtu_too_big(net: &Net) -> Result<String> {
    told_drops("1400 bytes, not to be fragmented, into an MTU of 1280", traffic::mtu_too_big(net, 5)?)
}

/// Sends from the wrong side.
fn rp_filter(net: &Net) -> Result<String> {
    told_drops("source address from the other side, 10.77.2.99", traffic::rp_filter(net, 5)?)
}

/// Requests and answers, in words.
fn told_answers(what: &str, Answered { sent, answered }: Answered) -> Result<String> {
    as_meant(format!("{what}: {sent} sent, {answered} answered"), answered == sent)
}

/// Attempts and refusals, in words.
fn told_refusals(what: &str, Refused { tried, refused }: Refused) -> Result<String> {
    as_meant(format!("{what}: {tried} tried, {refused} refused"), refused == tried)
}

/// Datagrams and drops, in words.
fn told_drops(cause: &str, Dropped { sent, dropped }: Dropped) -> Result<String> {
    as_meant(format!("{cause}: {sent} sent, {dropped} dropped"), dropped == sent)
}

/// A line about traffic; that it did not do what the scenario is for is an error, since a capture of it
/// would be taken for something it is not.
fn as_meant(line: String, well: bool) -> Result<String> {
    ensure!(well, "not what was meant to happen: {line}");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_and_an_unknown_one_is_an_error() {
        for scenario in SCENARIOS {
            assert!(std::ptr::eq(Scenario::find(scenario.name).unwrap(), scenario), "{}", scenario.name);
        }
        assert!(Scenario::find("sunshine").is_err());
    }
}

#[cfg(test)]
mod root {
    use super::*;

    #[test]
    fn every_scenario_plays_to_its_end() {
        for scenario in SCENARIOS.iter().filter(|scenario| scenario.ring == Ring::Live) {
            let net = scenario.net().unwrap();
            let mut told = Vec::new();
            let ending = scenario.play(&net, &mut told, &AtomicBool::new(false)).unwrap();
            assert_eq!(ending, Ending::Complete);
            assert_eq!(String::from_utf8(told).unwrap().lines().count(), scenario.steps.len());
        }
    }

    #[test]
    fn a_stop_is_heeded_before_the_next_step() {
        let net = Net::new().unwrap();
        let mut told = Vec::new();
        let ending = Scenario::find("demo").unwrap().play(&net, &mut told, &AtomicBool::new(true)).unwrap();
        assert_eq!((ending, told.len()), (Ending::Stopped, 0));
    }
}
