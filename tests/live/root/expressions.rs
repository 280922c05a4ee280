//! Filter expressions chosen at random: what they let pass is what libpcap itself finds in tcpdump's recording of the
//! same traffic.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{Net, Pair, Process, traffic};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::frames::{self, Mac, frame};
use crate::grammar::expression;
use crate::recorder::{Recorder, Recording, only_with};
use crate::rows::Row;
use crate::support::beside_others;

/// Recorders that run at the same time.
const AT_ONCE: usize = 7;
/// How the kernel shows a packet to the programs: with its type, and as a number.
const BACKENDS: [&str; 2] = ["tp_btf", "raw_tp"];
/// How long tcpdump may take to end.
const END: Duration = Duration::from_secs(10);
/// The link layer's header, which tcpdump's lengths have and the kernel's do not.
const ETHERNET: u32 = 14;

/// The client's address of the link.
const CLIENT: Mac = [2, 0, 0, 0, 0, 12];
/// The server's.
const SERVER: Mac = [2, 0, 0, 0, 0, 5];

/// The length of the last packet, and of no other.
const LAST: u32 = 805;

/// Whether libpcap lets it pass anything at all: it refuses what contradicts itself.
fn makes_sense(expression: &str) -> bool {
    harness::program("tcpdump").args(["-y", "EN10MB", "-d", expression]).output().unwrap().status.success()
}

/// Gives both ends addresses that expressions ask for. Neighbours are not asked again while a test runs.
fn settle(pair: &Pair) {
    for (host, address) in [(&pair.client, "2:0:0:0:0:c"), (&pair.server, "2:0:0:0:0:5")] {
        host.sh("ip", &["link", "set", "eth0", "address", address]).unwrap();
        for family in ["ipv4", "ipv6"] {
            let setting = format!("net.{family}.neigh.eth0.delay_first_probe_time=60");
            host.sh("sysctl", &["-q", "-w", &setting]).unwrap();
        }
    }
}

/// Some of everything, to the server.
fn send(pair: &Pair) {
    let (client, server) = (&pair.client, &pair.server);
    for (at, family) in [(server.at(7001), "-4"), (server.at6(7002), "-6")] {
        // The first packet asks for the server's address.
        for host in [client, server] {
            host.sh("ip", &[family, "neigh", "flush", "dev", "eth0"]).unwrap();
        }
        traffic::ping(client, at.ip(), 2).unwrap();
        traffic::tcp_short(client, server, at, 2).unwrap();
        traffic::udp_echo(client, server, at, 2, 100).unwrap();
        traffic::dns_like(client, server, at.ip(), 2).unwrap();
        // In fragments, of which only the first has ports.
        traffic::udp_echo(client, server, at, 1, 3000).unwrap();
    }
    let to_group = |last| (CLIENT, [1, 0x80, 0xc2, 0, 0, last]);
    let frames = [
        frame(to_group(14), &[], 0x88cc, &[2; 60]),
        // Spanning tree: IEEE 802.3 has a length there.
        frame(to_group(0), &[], 38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat()),
        frame((CLIENT, [255; 6]), &[], 0x88b5, &[1; 30]),
    ];
    frames::send(client, "eth0", &frames).unwrap();
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
    let mut command = harness::program("tcpdump");
    command.args(["-Z", "root", "-i", "eth0", "-Q", "in", "--immediate-mode", "-U", "-w"]).arg(file);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = pair.server.run(|| Process::start(&mut command)).unwrap();
    let stderr = process.child.stderr.take().unwrap();
    let listens = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.contains("listening on"));
    assert!(BufReader::new(stderr).lines().any(|line| listens(&line)), "tcpdump did not begin");
    process
}

/// Lengths of the packets in tcpdump's recording that libpcap lets pass, without the link layer's header.
fn passed(recording: &Path, expression: &str) -> Vec<u32> {
    let output =
        harness::program("tcpdump").arg("-r").arg(recording).args(["-w", "-", expression]).output().unwrap();
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

/// Lengths of the packets that the server received, as far as they are recorded.
fn received(recording: &Recording, pair: &Pair) -> Vec<u32> {
    let server = u32::try_from(pair.server.inode()).unwrap();
    let rows = recording.rows().into_iter();
    let arrived = rows.filter(|row| &*row.probe == "netif_receive_skb" && row.netns == Some(server));
    let mut found: Vec<u32> = arrived.filter(|row| &*row.dev == "eth0").filter_map(|row| row.len).collect();
    found.sort_unstable();
    found
}

#[test]
fn expressions_choose_what_libpcap_chooses() {
    let Some(_turn) = beside_others() else { return };
    let mut runner = TestRunner::default();
    for backend in BACKENDS {
        let pair = Net::pair().unwrap();
        settle(&pair);
        let dir = tempfile::tempdir().unwrap();
        let dump = dir.path().join("all.pcap");
        let samples = std::iter::from_fn(|| Some(expression().new_tree(&mut runner).unwrap().current()));
        let expressions: Vec<String> = samples.filter(|e| makes_sense(e)).take(AT_ONCE).collect();
        let start = |expression: &String| {
            let args = ["--buffer-size", "8M", "--backend", backend, expression];
            Recorder::launch(&only_with(&[&pair.client, &pair.server], &args))
        };
        let recorders: Vec<Recorder> = expressions.iter().map(start).map(Recorder::ready).collect();
        let tcpdump = tcpdump(&pair, &dump);
        send(&pair);
        await_last(&dump);
        tcpdump.stop(END).unwrap();
        let recordings = recorders.into_iter().map(Recorder::stop);
        for (expression, recording) in expressions.iter().zip(recordings) {
            assert_eq!(received(&recording, &pair), passed(&dump, expression), "{expression} by {backend}");
        }
    }
}

/// An IPv4 packet with UDP to port 9.
const DATAGRAM: [u8; 28] =
    [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 4, 210, 0, 9, 0, 8, 0, 0];

/// Expressions, and how many they let pass of four frames: without a tag, of VLAN 5, of VLAN 6, and of 5 in 7.
const TAGGED: [(&str, usize); 12] = [
    // One tag is taken off before an expression that does not speak of tags sees a packet, as tcpdump has it.
    ("udp port 9", 3),
    ("ether src 2:0:0:0:0:c and udp port 9", 3),
    ("ether proto 0x8100", 1),
    ("len = 42", 3),
    ("vlan", 3),
    ("vlan 5", 1),
    ("vlan 5 and udp port 9", 1),
    ("vlan and ether src 2:0:0:0:0:c and udp", 2),
    ("vlan 7 and vlan 5 and udp port 9", 1),
    ("udp and not vlan", 1),
    ("vlan and len = 46", 2),
    ("vlan and udp port 10", 0),
];

#[test]
fn tags_are_taken_off_unless_they_are_asked_for() {
    let Some(_turn) = beside_others() else { return };
    let tags: [&[(u16, u16)]; 4] = [&[], &[(0x8100, 5)], &[(0x8100, 6)], &[(0x88a8, 7), (0x8100, 5)]];
    let frames = tags.map(|tags| frame((CLIENT, SERVER), tags, 0x0800, &DATAGRAM));
    for probe in ["net_dev_queue", "netif_receive_skb"] {
        let pair = Net::pair().unwrap();
        settle(&pair);
        let host = if probe == "net_dev_queue" { &pair.client } else { &pair.server };
        for cases in TAGGED.chunks(AT_ONCE) {
            let start = |(expression, _): &(&str, usize)| {
                Recorder::launch(&only_with(&[host], &["--buffer-size", "1M", "--probe", probe, expression]))
            };
            let recorders: Vec<Recorder> = cases.iter().map(start).map(Recorder::ready).collect();
            frames::send(&pair.client, "eth0", &frames).unwrap();
            let recordings = recorders.into_iter().map(Recorder::stop);
            for ((expression, expected), recording) in cases.iter().zip(recordings) {
                let own = |row: &&Row| row.netns.map(u64::from) == Some(host.inode()) && &*row.probe == probe;
                let found = recording.rows().iter().filter(own).count();
                assert_eq!(found, *expected, "{expression} at {probe}");
            }
        }
    }
}
