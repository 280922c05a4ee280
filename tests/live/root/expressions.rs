//! Filter expressions chosen at random: what they let pass is what libpcap itself finds in tcpdump's recording of the
//! same traffic.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Net, Pair, Process, traffic};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::recorder::{Recorder, Recording, only_with};
use crate::support::beside_others;

/// Recorders that run at the same time.
const AT_ONCE: usize = 7;
/// How often.
const TIMES: usize = 2;
/// How long tcpdump may take to end.
const END: Duration = Duration::from_secs(10);
/// The link layer's header, which tcpdump's lengths have and the kernel's do not.
const ETHERNET: u32 = 14;

/// The length of the last packet, and of no other.
const LAST: u32 = 805;

/// What an expression is made of. None asks for the link layer or the length, which are not the same for both.
const PRIMITIVES: [&str; 23] = [
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
];

/// Expressions of primitives with `and`, `or` and `not`.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(PRIMITIVES.as_slice()).prop_map(str::to_owned);
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

/// Whether libpcap lets it pass anything at all: it refuses what contradicts itself.
fn makes_sense(expression: &str) -> bool {
    Command::new("tcpdump").args(["-y", "RAW", "-d", expression]).output().unwrap().status.success()
}

/// Some of everything, to the server.
fn send(pair: &Pair) {
    let (client, server) = (&pair.client, &pair.server);
    for at in [server.at(7001), server.at6(7002)] {
        traffic::ping(client, at.ip(), 2).unwrap();
        traffic::tcp_short(client, server, at, 2).unwrap();
        traffic::udp_echo(client, server, at, 2, 100).unwrap();
        traffic::dns_like(client, server, at.ip(), 2).unwrap();
        // In fragments, of which only the first has ports.
        traffic::udp_echo(client, server, at, 1, 3000).unwrap();
    }
    traffic::udp_send(client, server.at(7001), 1, LAST as usize - 28).unwrap();
}

/// Waits until tcpdump has written the last packet.
fn await_last(dump: &Path) {
    let until = Instant::now() + END;
    while !lengths(&std::fs::read(dump).unwrap()).contains(&LAST) {
        assert!(Instant::now() < until, "tcpdump has not seen the last packet");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// tcpdump, once it records what the server receives.
fn tcpdump(pair: &Pair, file: &Path) -> Process {
    let mut command = Command::new("tcpdump");
    command.args(["-Z", "root", "-i", "eth0", "-Q", "in", "--immediate-mode", "-U", "-w"]).arg(file);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = pair.server.run(|| Process::start(&mut command)).unwrap();
    let stderr = process.child.stderr.take().unwrap();
    let listens = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.contains("listening on"));
    assert!(BufReader::new(stderr).lines().any(|line| listens(&line)), "tcpdump did not begin");
    process
}

/// Lengths of the IP packets in tcpdump's recording that libpcap lets pass, without the link layer's header. An expression
/// of ours is about IP alone; for tcpdump on Ethernet `host` is about ARP, too.
fn passed(recording: &Path, expression: &str) -> Vec<u32> {
    let expression = &format!("({expression}) and (ip or ip6)");
    let output =
        Command::new("tcpdump").arg("-r").arg(recording).args(["-w", "-", expression]).output().unwrap();
    assert!(output.status.success(), "{expression}: {}", String::from_utf8_lossy(&output.stderr));
    lengths(&output.stdout)
}

/// Lengths of the packets in a pcap file: behind its header of 24 bytes, each has one of 16, which ends with the stored and
/// the original length.
fn lengths(pcap: &[u8]) -> Vec<u32> {
    let (mut rest, mut found) = (pcap.get(24..).unwrap_or_default(), Vec::new());
    while let Some((header, packet)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().unwrap());
        found.push(word(12) - ETHERNET);
        // The last one may be half written.
        rest = packet.get(word(8) as usize..).unwrap_or_default();
    }
    found.sort_unstable();
    found
}

/// Lengths of the IP packets that the server received, as far as they are recorded.
fn received(recording: &Recording, pair: &Pair) -> Vec<u32> {
    let server = u32::try_from(pair.server.inode()).unwrap();
    let rows = recording.rows().into_iter();
    let arrived = rows.filter(|row| &*row.probe == "netif_receive_skb" && row.netns == Some(server));
    let ip = arrived.filter(|row| &*row.dev == "eth0" && row.protocol.starts_with("ip"));
    let mut found: Vec<u32> = ip.filter_map(|row| row.len).collect();
    found.sort_unstable();
    found
}

#[test]
fn expressions_choose_what_libpcap_chooses() {
    let Some(_turn) = beside_others() else { return };
    let mut runner = TestRunner::default();
    for _ in 0..TIMES {
        let pair = Net::pair().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let dump = dir.path().join("all.pcap");
        let samples = std::iter::from_fn(|| Some(expression().new_tree(&mut runner).unwrap().current()));
        let expressions: Vec<String> = samples.filter(|e| makes_sense(e)).take(AT_ONCE).collect();
        let start = |expression: &String| {
            let args = ["--buffer-size", "8M", expression];
            Recorder::launch(&only_with(&[&pair.client, &pair.server], &args))
        };
        let recorders: Vec<Recorder> = expressions.iter().map(start).map(Recorder::ready).collect();
        let tcpdump = tcpdump(&pair, &dump);
        send(&pair);
        await_last(&dump);
        tcpdump.stop(END).unwrap();
        let recordings = recorders.into_iter().map(Recorder::stop);
        for (expression, recording) in expressions.iter().zip(recordings) {
            assert_eq!(received(&recording, &pair), passed(&dump, expression), "{expression}");
        }
    }
}
