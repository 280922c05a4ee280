//! Capture filters: what passes each, and that nothing else does.
//!
//! One mix of traffic has every protocol in it. Each row of a capture belongs to one class of that mix, so
//! that a filter is described by the classes that must be there; all others must not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use lab::{Net, Process, traffic};

use crate::recorder::{Recorder, Recording, only_with};
use crate::rows::Row;
use crate::support::beside_others;

/// Recorders that run at the same time.
const AT_ONCE: usize = 7;

/// UDP with 100 bytes of payload, within the server too.
const SMALL: u16 = 7001;
/// UDP with 1000 bytes of payload.
const BIG: u16 = 7002;
/// UDP where nobody listens.
const CLOSED: u16 = 7003;
/// TCP.
const OPEN: u16 = 8001;
/// TCP where nobody listens.
const REFUSED: u16 = 8002;

/// A filter and what it lets through.
struct Case {
    /// The arguments.
    args: &'static str,
    /// The classes that must be there.
    must: &'static str,
    /// Classes that may be there too: neighbour discovery comes when the kernel wants.
    may: &'static str,
    /// What holds for each packet with a header.
    each: fn(&Row) -> bool,
}

/// A filter that says nothing about single packets.
const fn case(args: &'static str, must: &'static str) -> Case {
    Case { args, must, may: "", each: |_| true }
}

/// A filter that holds for each packet.
const fn each(args: &'static str, must: &'static str, each: fn(&Row) -> bool) -> Case {
    Case { args, must, may: "", each }
}

/// A filter that lets neighbour discovery pass, too.
const fn with_discovery(args: &'static str, must: &'static str) -> Case {
    Case { args, must, may: "nd neigh", each: |_| true }
}

/// Everything that is sent over IPv4 between hosts.
const ROUTED4: &str = "ping4 unreach4 small4 big4 closed4 tcp4 refused4";
/// Everything that is sent over IPv4.
const ALL4: &str = "ping4 unreach4 small4 big4 closed4 tcp4 refused4 local4";
/// Everything that is sent over IPv6.
const ALL6: &str = "ping6 unreach6 small6 big6 closed6 tcp6 local6";
/// Everything over IPv4 that has ports and is answered, or refused by a reset.
const PORTS4: &str = "small4 big4 closed4 tcp4 refused4";

/// Plays the mix once.
fn mix(net: &Net) {
    let Net { client, server, .. } = net;
    for addr in [server.v4(), server.v6()] {
        let at = |port| (addr, port).into();
        assert_eq!(traffic::ping(client, addr, 2).unwrap().answered, 2);
        assert_eq!(traffic::udp_echo(client, server, at(SMALL), 3, 100).unwrap().answered, 3);
        assert_eq!(traffic::udp_echo(client, server, at(BIG), 3, 1000).unwrap().answered, 3);
        assert_eq!(traffic::udp_closed_port(client, at(CLOSED), 2).unwrap().refused, 2);
        assert_eq!(traffic::tcp_short(client, server, at(OPEN), 3).unwrap(), 3);
    }
    traffic::tcp_connect_refused(client, server.at(REFUSED), 2).unwrap();
    for local in ["127.0.0.1", "::1"] {
        let at = (local.parse::<std::net::IpAddr>().unwrap(), SMALL).into();
        assert_eq!(traffic::udp_echo(server, server, at, 3, 100).unwrap().answered, 3);
    }
}

/// The class of a row that has a header, a socket or a neighbour.
fn class(row: &Row) -> Option<String> {
    let six = row.saddr.contains(':') || row.daddr.contains(':');
    let version = if six { '6' } else { '4' };
    let ports = [row.sport, row.dport];
    let is = |port: u16| ports.contains(&Some(port));
    let local = [&row.saddr, &row.daddr].iter().any(|a| matches!(&***a, "127.0.0.1" | "::1"));
    // A server's socket is bound to no address: it belongs to the packet that it announces, whichever that is.
    let unbound = [&row.saddr, &row.daddr].iter().all(|a| matches!(&***a, "0.0.0.0" | "::"));
    let name = match &*row.l4 {
        _ if unbound && &*row.probe == "sk_data_ready" => return None,
        _ if &*row.kind == "neigh" => return Some("neigh".to_owned()),
        _ if &*row.protocol == "arp" => return Some("arp".to_owned()),
        "" => return None,
        "icmp6" if matches!(row.icmp_type, Some(133..=137)) => return Some("nd".to_owned()),
        "udp" if local && is(SMALL) => "local",
        "icmp" if matches!(row.icmp_type, Some(0 | 8)) => "ping",
        "icmp6" if matches!(row.icmp_type, Some(128 | 129)) => "ping",
        "icmp" if row.icmp_type == Some(3) => "unreach",
        "icmp6" if row.icmp_type == Some(1) => "unreach",
        "udp" if is(SMALL) => "small",
        "udp" if is(BIG) => "big",
        "udp" if is(CLOSED) => "closed",
        "tcp" if is(OPEN) => "tcp",
        "tcp" if is(REFUSED) => "refused",
        // Group reports of a link that has just come up.
        "icmp6" if row.icmp_type == Some(143) => return None,
        // The socket of `ping`, which is bound to no address.
        "icmp" | "icmp6" if &*row.probe == "sk_data_ready" && row.icmp_type.is_none() => "ping",
        l4 => {
            return Some(format!(
                "{} of {l4} {}:{:?}-{}:{:?}",
                row.probe, row.saddr, row.sport, row.daddr, row.dport
            ));
        }
    };
    Some(format!("{name}{version}"))
}

/// Rows without a header belong to the packet that was last seen with one at their address.
fn classes(rows: &[Row]) -> BTreeMap<String, usize> {
    let (mut found, mut known) = (BTreeMap::new(), BTreeMap::new());
    for row in rows.iter().filter(|row| !row.probe.is_empty()) {
        let own = class(row);
        if let (Some(class), Some(skb)) = (&own, row.skb) {
            known.insert(skb, class.clone());
        }
        if let Some(class) = own.or_else(|| known.get(&row.skb?).cloned()) {
            *found.entry(class).or_default() += 1;
        }
    }
    found
}

/// Names as a set.
fn set(names: &str) -> BTreeSet<&str> {
    names.split_whitespace().collect()
}

/// What is wrong with what came through a filter.
fn faults(case: &Case, recording: &Recording, own: &[u32]) -> Option<String> {
    let mut rows = recording.rows();
    // Other tests' packets begin unseen in namespaces of their own: one may be freed at an address that is followed.
    rows.retain(|row| &*row.kind != "free" || row.netns.is_none_or(|netns| own.contains(&netns)));
    let found = classes(&rows);
    let (must, may) = (set(case.must), set(case.may));
    let missing: Vec<_> = must.iter().filter(|name| !found.contains_key(**name)).collect();
    let allowed = |name: &str| must.contains(name) || may.contains(name);
    let surplus: Vec<_> = found.iter().filter(|(name, _)| !allowed(name)).collect();
    let packets = rows.iter().filter(|row| &*row.kind == "pkt" && !row.l4.is_empty());
    let other =
        packets.filter(|row| class(row).is_some_and(|class| class != "nd")).find(|row| !(case.each)(row));
    let well = missing.is_empty() && surplus.is_empty() && other.is_none();
    (!well).then(|| format!("{}: missing {missing:?}, not wanted {surplus:?} {other:?}", case.args))
}

/// Records the mix through all filters, some at a time.
fn run(cases: &[Case]) {
    let mut wrong = Vec::new();
    for cases in cases.chunks(AT_ONCE) {
        let net = Net::new().unwrap();
        let hosts = [&net.client, &net.router, &net.server];
        let start = |case: &Case| {
            let mut args: Vec<&str> = case.args.split_whitespace().collect();
            args.extend(["--buffer-size", "8M"]);
            let given = args.contains(&"--netns");
            let own = args.iter().map(|arg| (*arg).to_owned()).collect();
            Recorder::launch(&if given { own } else { only_with(&hosts, &args) })
        };
        let recorders: Vec<Recorder> = cases.iter().map(start).map(Recorder::ready).collect();
        mix(&net);
        let recordings: Vec<Recording> = recorders.into_iter().map(Recorder::stop).collect();
        let own = hosts.map(|host| host.inode() as u32);
        wrong.extend(cases.iter().zip(&recordings).filter_map(|(case, found)| faults(case, found, &own)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_a_filter_all_of_the_mix_is_there() {
    let Some(_turn) = beside_others() else { return };
    let all: &'static str = [ALL4, ALL6, "arp nd neigh"].join(" ").leak();
    run(&[case("", all)]);
}

#[test]
fn addresses_let_only_their_packets_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        case("--addr 10.77.1.2", ROUTED4),
        case("--addr 10.77.2.0/24", ROUTED4),
        case("--addr 127.0.0.0/8", "local4"),
        case("--addr 10.99.0.0/16", ""),
        with_discovery("--addr fd77:1::2", "ping6 unreach6 small6 big6 closed6 tcp6"),
        with_discovery("--addr fd77:2::/64", "ping6 unreach6 small6 big6 closed6 tcp6"),
        // A prefix of no bits is one of its own family only.
        case("--addr 0.0.0.0/0", ALL4),
        with_discovery("--addr ::/0", ALL6),
    ]);
}

#[test]
fn directions_of_addresses_let_only_their_packets_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        each("--src 10.77.1.2", "ping4 small4 big4 closed4 tcp4 refused4", |r| &*r.saddr == "10.77.1.2"),
        each("--dst 10.77.1.2", ROUTED4_BACK, |r| &*r.daddr == "10.77.1.2"),
        each("--dst 10.77.2.2,fd77:2::2 --proto udp", "small4 big4 closed4 small6 big6 closed6", |r| {
            matches!(&*r.daddr, "10.77.2.2" | "fd77:2::2")
        }),
        each("--src 10.77.1.0/24 --dst 10.77.2.0/24 --proto icmp", "ping4", |r| r.icmp_type == Some(8)),
        each("--src fd77:1::2 --proto tcp", "tcp6", |r| &*r.saddr == "fd77:1::2"),
        case("--src 10.77.1.2 --dst 10.77.1.2", ""),
        case("--src 10.77.1.2 --addr fd77:2::2", ""),
    ]);
}

/// What comes back to the client: no datagram returns from a closed port, but an ICMP error does.
const ROUTED4_BACK: &str = "ping4 unreach4 small4 big4 tcp4 refused4";

#[test]
fn ports_let_neither_icmp_nor_arp_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        case("--port 7001", "small4 small6 local4 local6"),
        case("--port 7001-7002,8001", "small4 small6 local4 local6 big4 big6 tcp4 tcp6"),
        each("--sport 7001", "small4 small6 local4 local6", |r| r.sport == Some(SMALL)),
        each("--dport 8001-8002", "tcp4 tcp6 refused4", |r| matches!(r.dport, Some(OPEN | REFUSED))),
        case("--port 1-65535 --addr 10.77.2.2", PORTS4),
        // A raw socket keeps its protocol where others keep their port.
        case("--port 1,58", ""),
        case("--sport 7001 --dport 7001", ""),
    ]);
}

#[test]
fn protocols_let_only_their_packets_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        case("--proto ip", ALL4),
        Case { args: "--proto ip6", must: ALL6, may: "nd", each: |_| true },
        case("--proto arp", "arp"),
        case("--proto tcp", "tcp4 tcp6 refused4"),
        case("--proto udp", "small4 big4 closed4 local4 small6 big6 closed6 local6"),
        case("--proto icmp", "ping4 unreach4"),
        Case { args: "--proto icmp6", must: "ping6 unreach6", may: "nd", each: |_| true },
        case("--proto arp,icmp", "arp ping4 unreach4"),
        case("--proto 6", "tcp4 tcp6 refused4"),
        case("--proto udp --port 8001", ""),
        case("--proto tcp --addr 10.77.1.2 --port 8001", "tcp4"),
        case("--proto sctp,gre", ""),
    ]);
}

#[test]
fn lengths_hold_for_both_ip_versions() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        // 1000 bytes and their headers: 14 Ethernet, 20 or 40 IP, 8 UDP.
        case("--len 1028-1062", "big4 big6"),
        case("--len 1028,1042", "big4"),
        case("--len 1048,1062", "big6"),
        case("--len 1000-1027,1063-9000", ""),
        case("--len 1-1027 --port 7002", ""),
        case("--len 128-142 --proto udp --addr 10.77.1.2", "small4 closed4"),
    ]);
}

#[test]
fn tcp_flags_let_neither_udp_nor_other_segments_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        each("--tcp-flags S", "tcp4 tcp6 refused4", |r| r.tcp_flags.contains('S')),
        each("--tcp-flags R", "refused4", |r| r.tcp_flags.contains('R')),
        each("--tcp-flags FR", "tcp4 tcp6 refused4", |r| r.tcp_flags.contains(['F', 'R'])),
        each("--tcp-flags P --addr fd77:2::2", "tcp6", |r| r.tcp_flags.contains('P')),
        case("--tcp-flags U", ""),
        case("--tcp-flags S --proto udp", ""),
    ]);
}

#[test]
fn expressions_let_only_their_packets_pass() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        case("tcp port 8001", "tcp4 tcp6"),
        case("udp and host 10.77.1.2", "small4 big4 closed4"),
        case("ip6 and udp port 7002", "big6"),
        case("icmp", "ping4 unreach4"),
        case("portrange 7001-7002 and src net 10.77.1.0/24", "small4 big4"),
        case("not ip and not ip6", "arp"),
        case("tcp port 7001 or udp port 8001", ""),
        each("tcp[tcpflags] & tcp-syn != 0", "tcp4 refused4", |r| r.tcp_flags.contains('S')),
        // What a router has sent on.
        case("ip[8] == 63", ROUTED4),
        case("ip[8] < 5", ""),
        // With the link's header, wherever the packet is.
        case("len = 1042", "big4"),
        case("len = 1062", "big6"),
        case("len = 1028 or len = 1048", ""),
        case("arp", "arp"),
        // ARP is about hosts, too.
        case("host 10.77.2.2 and not tcp and not icmp and not udp", "arp"),
        case("ether proto 0x806 or tcp port 8001", "arp tcp4 tcp6"),
        case("ether broadcast", "arp"),
        case("less 41", ""),
        // Arithmetic that needs memory: an IPv4 header without options, and a TTL or a service.
        case("udp and (ip[0] & 0xf) * 4 + ip[1] + ip[8] = 84", "small4 big4 closed4 local4"),
    ]);
}

#[test]
fn expressions_and_flags_must_both_fit() {
    let Some(_turn) = beside_others() else { return };
    run(&[
        case("--proto udp port 7001", "small4 small6 local4 local6"),
        case("--proto tcp port 7001", ""),
        case("--addr 10.77.2.0/24 udp port 7001", "small4"),
        case("--inner udp port 7001", ""),
    ]);
}

#[test]
fn packets_begin_to_fit_only_where_they_may() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let recorder = Recorder::start(&only_with(&hosts, &["--match", "netif_receive_skb", "udp port 7001"]));
    mix(&net);
    let rows = recorder.stop().rows();
    let found = classes(&rows);
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), set("small4 small6 local4 local6"));
    let mut seen = BTreeSet::new();
    let first = |row: &&Row| row.skb.is_some_and(|skb| seen.insert(skb));
    let early = rows.iter().filter(first).find(|row| &*row.probe != "netif_receive_skb");
    assert!(early.is_none(), "{early:?}");
    // And are followed from there on.
    assert!(rows.iter().any(|row| &*row.probe == "net_dev_queue" && &*row.dev == "right"));
}

#[test]
fn devices_let_only_packets_pass_that_were_on_them() {
    let Some(_turn) = beside_others() else { return };
    run(&[Case { args: "--dev lo", must: "local4 local6", may: "neigh", each: |_| true }]);
    let net = Net::new().unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let left = Recorder::start(&only_with(&hosts, &["--dev", "left"]));
    let both = Recorder::start(&only_with(&hosts, &["--dev", "right,lo", "--proto", "udp"]));
    mix(&net);
    let (left, both) = (left.stop().rows(), both.stop().rows());
    let found = classes(&left);
    for class in set(ROUTED4).iter().chain(&set("small6 big6 tcp6 arp")) {
        assert!(found.contains_key(*class), "{class} crossed the device and is not in {found:?}");
    }
    assert!(!found.contains_key("local4") && !found.contains_key("local6"), "{found:?}");
    // Before the router nothing can be known of the device that a packet will be on.
    let client = net.client.inode();
    let early = |row: &&Row| {
        row.netns.map(u64::from) == Some(client) && &*row.probe == "net_dev_queue" && &*row.protocol != "arp"
    };
    assert_eq!(left.iter().filter(early).count(), 0, "{:?}", left.iter().find(early));
    let found = classes(&both);
    let wanted = "small4 big4 closed4 local4 small6 big6 closed6 local6";
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), set(wanted));
}

#[test]
fn namespaces_are_named_by_inode_name_or_path() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let (client, server) = (&net.client, &net.server);
    let words = [
        server.inode().to_string(),
        server.name().to_owned(),
        server.path().to_str().unwrap().to_owned(),
        client.name().to_owned(),
        format!("{},{}", client.inode(), server.name()),
    ];
    let start = |word: &String| Recorder::launch(&["--netns", word, "--proto", "udp"]);
    let recorders: Vec<Recorder> = words.iter().map(start).map(Recorder::ready).collect();
    mix(&net);
    // The kernel frees the last packets when it has time, when some of the recorders may have ended.
    let timely = |rows: Vec<Row>| rows.into_iter().filter(|r| &*r.probe != "consume_skb").collect::<Vec<_>>();
    let found: Vec<BTreeMap<String, usize>> =
        recorders.into_iter().map(|recorder| classes(&timely(recorder.stop().rows()))).collect();
    let routed = set("small4 big4 closed4 small6 big6 closed6");
    let all: BTreeSet<&str> = routed.iter().copied().chain(["local4", "local6"]).collect();
    let names = |at: usize| found[at].keys().map(String::as_str).collect::<BTreeSet<_>>();
    assert_eq!(names(0), all);
    assert_eq!((&found[1], &found[2]), (&found[0], &found[0]));
    assert_eq!(names(3), routed);
    assert_eq!(names(4), all);
}

#[test]
fn a_process_filter_lets_only_its_own_packets_pass() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    // The shell becomes `ping` when it is told to, and keeps its number.
    let script = "read go && exec ping -q -n -c 3 -i 0.01 10.77.2.2";
    let mut command = harness::program("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut ping = net.client.run(|| Process::start(&mut command)).unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let recorder = Recorder::start(&only_with(&hosts, &["--pid", &ping.id().to_string()]));
    mix(&net);
    ping.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(ping.wait_for(Duration::from_secs(10)).unwrap().unwrap().success());
    let rows = recorder.stop().rows();
    let sent = |row: &&Row| &*row.probe == "net_dev_queue" && row.icmp_type == Some(8) && &*row.dev == "eth0";
    assert_eq!(rows.iter().filter(sent).count(), 3);
    let found = classes(&rows);
    let surplus: Vec<_> =
        found.keys().filter(|class| !["ping4", "arp", "neigh"].contains(&class.as_str())).collect();
    assert!(surplus.is_empty(), "{found:?}");
    for row in rows.iter().filter(|row| &*row.ctx == "task" && &*row.probe == "net_dev_queue") {
        assert_eq!(row.pid, Some(ping.id()), "{row:?}");
    }
}
