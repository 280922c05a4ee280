//! Every hook of the profile fires in its scenario.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::{Host, Net, tap, traffic};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::recorder::{Recorder, only_with};
use crate::support::{beside_others, monotonic};

/// What makes some hooks fire.
pub struct Scene {
    /// What happens.
    pub play: fn(&Net) -> Result<()>,
    /// The hooks that fire.
    pub probes: &'static [&'static str],
}

/// The hooks and their scenes.
pub const SCENES: [Scene; 12] = [
    Scene { play: queued, probes: &["qdisc_enqueue", "qdisc_dequeue"] },
    Scene {
        play: plain,
        probes: &[
            "net_dev_queue",
            "net_dev_start_xmit",
            "net_dev_xmit",
            "netif_rx",
            "netif_rx_entry",
            "netif_receive_skb",
            "consume_skb",
            "skb_copy_datagram_iovec",
            "sk_data_ready",
            "inet_sock_set_state",
            "tcp_destroy_sock",
            "tcp_probe",
        ],
    },
    Scene { play: merged, probes: &["napi_gro_receive_entry"] },
    Scene { play: from_a_tap, probes: &["netif_receive_skb_entry"] },
    Scene { play: from_a_tap_with_fragments, probes: &["napi_gro_frags_entry"] },
    Scene { play: dropped, probes: &["kfree_skb"] },
    Scene { play: lost, probes: &["tcp_retransmit_skb", "tcp_cong_state_set"] },
    Scene { play: answer_lost, probes: &["tcp_retransmit_synack"] },
    Scene { play: refused, probes: &["tcp_send_reset", "tcp_receive_reset", "icmp_send"] },
    Scene { play: damaged, probes: &["tcp_bad_csum"] },
    Scene { play: not_read, probes: &["sock_rcvqueue_full"] },
    Scene {
        play: neighbours,
        probes: &[
            "neigh_create",
            "neigh_update",
            "neigh_update_done",
            "neigh_timer_handler",
            "neigh_event_send_done",
            "neigh_cleanup_and_release",
        ],
    },
];

/// A kernel without devlink does not have it.
const HARDWARE: &str = "devlink_trap_report";

/// Hooks that cannot be provoked here, and why.
const UNPROVOKED: [(&str, &str); 4] = [
    (HARDWARE, "only devices with traps have something to report, or netdevsim, which is hardly built"),
    ("netif_receive_skb_list_entry", "only drivers of real devices call it (mlx5, sfc), and XDP's cpumap"),
    ("sock_exceed_buf_limit", "the limit (udp_mem, tcp_mem) is the whole machine's, not a namespace's"),
    ("neigh_event_send_dead", "a packet has to meet a neighbour between its removal and its release"),
];

/// How long a scene waits for what it is for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until something is so.
fn wait_until(mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        ensure!(Instant::now() < deadline, "it did not happen");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Traffic that arrives. Of TCP the receiver copies page fragments, so the copy shows, too.
fn plain(net: &Net) -> Result<()> {
    traffic::ping(&net.client, net.server.v4(), 3)?;
    traffic::udp_echo(&net.client, &net.server, net.server.at(7001), 5, 100)?;
    traffic::tcp_bulk(&net.client, &net.server, net.server.at(8001), 1 << 20).map(drop)
}

/// A veth device merges segments that its peer does not: it receives by NAPI.
fn merged(net: &Net) -> Result<()> {
    net.router.sh("ethtool", &["-K", "right", "tso", "off"])?;
    net.server.sh("ethtool", &["-K", "eth0", "gro", "on"])?;
    traffic::tcp_bulk(&net.client, &net.server, net.server.at(8001), 1 << 20)?;
    net.server.sh("ethtool", &["-K", "eth0", "gro", "off"]).map(drop)
}

/// A frame from a program that plays a device.
fn from_a_tap(net: &Net) -> Result<()> {
    send_from_tap(&net.client, 0)
}

/// The same, in the way of drivers that hand over page fragments.
fn from_a_tap_with_fragments(net: &Net) -> Result<()> {
    const NAPI: i16 = 0x10;
    const FRAGS: i16 = 0x20;
    send_from_tap(&net.client, NAPI | FRAGS)
}

/// Makes a tap device and sends a frame from it.
fn send_from_tap(host: &Host, flags: i16) -> Result<()> {
    let mut tap = host.run(|| Ok(tap("taplive", flags)?))?;
    host.sh("ip", &["link", "set", "taplive", "up"])?;
    let mut frame = vec![0xff; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(ipv4(Ipv4Addr::new(10, 99, 0, 1), 17, &[0, 7, 0, 7, 0, 28, 0, 0]));
    frame.resize(60, 0);
    tap.write_all(&frame)?;
    Ok(())
}

/// An IPv4 packet from the client.
fn ipv4(to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20 + payload.len() as u8, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 77, 1, 2];
    packet.extend(to.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Datagrams that a rule drops.
fn dropped(net: &Net) -> Result<()> {
    traffic::forwarded_udp_dropped(net, 3).map(drop)
}

/// Data that is lost until the connection notices.
fn lost(net: &Net) -> Result<()> {
    let (listener, mut stream) = connected(net, net.server.at(8002))?;
    let (mut peer, _) = listener.accept()?;
    let before = net.client.counters()?;
    let grown = |name| Ok::<_, anyhow::Error>(net.client.counters()?.get(name)? - before.get(name)?);
    traffic::nft_drop(&net.router, "tcp dport 8002")?;
    stream.write_all(b"lost")?;
    wait_until(|| Ok(grown("TcpExtTCPTimeouts")? > 0 && grown("TcpRetransSegs")? > 1))?;
    traffic::nft_clear(&net.router)?;
    peer.read_exact(&mut [0; 4])?;
    Ok(())
}

/// A connection to a listener in the server.
fn connected(net: &Net, at: SocketAddr) -> Result<(TcpListener, TcpStream)> {
    let listener = net.server.run(|| Ok(TcpListener::bind(at)?))?;
    let stream = net.client.run(|| Ok(TcpStream::connect_timeout(&at, PATIENCE)?))?;
    Ok((listener, stream))
}

/// A SYN whose answer is lost.
fn answer_lost(net: &Net) -> Result<()> {
    let at = net.server.at(8003);
    let _listener = net.server.run(|| Ok(TcpListener::bind(at)?))?;
    traffic::nft_drop(&net.router, "tcp sport 8003")?;
    let _ = net.client.run(|| Ok(TcpStream::connect_timeout(&at, Duration::from_millis(1500)).is_ok()))?;
    traffic::nft_clear(&net.router)
}

/// Ports where nobody listens.
fn refused(net: &Net) -> Result<()> {
    traffic::tcp_connect_refused(&net.client, net.server.at(81), 2)?;
    traffic::udp_closed_port(&net.client, net.server.at(82), 2).map(drop)
}

/// A segment with a wrong checksum.
fn damaged(net: &Net) -> Result<()> {
    let mut segment = vec![0x1f, 0x90, 0x1f, 0x91, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0xba, 0xad];
    segment.extend([0, 0]);
    let packet = ipv4("10.77.2.2".parse()?, 6, &segment);
    let before = net.server.counters()?;
    net.client.run(|| {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        Ok(sendto(&raw, &packet, SendFlags::empty(), &net.server.at(0))?)
    })?;
    wait_until(|| Ok(net.server.counters()?.get("TcpInCsumErrors")? > before.get("TcpInCsumErrors")?))
}

/// A socket of its own for pings, with the smallest buffer, whose answers nobody reads.
fn not_read(net: &Net) -> Result<()> {
    net.client.sh("sysctl", &["-w", "net.ipv4.ping_group_range=0 0"])?;
    let before = net.client.counters()?.get("IcmpInEchoReps")?;
    net.client.run(|| {
        let pinger = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP))?;
        set_socket_recv_buffer_size(&pinger, 1)?;
        for _ in 0..20 {
            sendto(&pinger, &[8, 0, 0, 0, 0, 0, 0, 1], SendFlags::empty(), &net.server.at(0))?;
        }
        wait_until(|| Ok(net.client.counters()?.get("IcmpInEchoReps")? >= before + 20))
    })
}

/// A ping whose packets wait in a queueing discipline.
fn queued(net: &Net) -> Result<()> {
    net.client.sh(
        "tc",
        &["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "1mbit", "burst", "4k", "latency", "50ms"],
    )?;
    traffic::ping(&net.client, net.server.v4(), 2)?;
    net.client.sh("tc", &["qdisc", "del", "dev", "eth0", "root"]).map(drop)
}

/// A neighbour that answers and one that does not; then both are forgotten.
fn neighbours(net: &Net) -> Result<()> {
    net.client.sh("ip", &["neigh", "flush", "all"])?;
    traffic::ping(&net.client, net.router.v4(), 1)?;
    traffic::neighbour_failed(net, 2)?;
    net.client.sh("ip", &["neigh", "flush", "all"]).map(drop)
}

#[test]
fn a_connection_tells_its_least_round_trip_time() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let recorder = Recorder::start(&only_with(&[&net.client], &["--profile", "all"]));
    plain(&net).unwrap();
    let rows = recorder.stop().rows();
    let measured: Vec<_> = rows
        .iter()
        .filter(|row| &*row.probe == "tcp_probe")
        .filter_map(|row| row.min_rtt.zip(row.srtt))
        .collect();
    assert!(!measured.is_empty());
    // Of the samples of a short connection the least is no more than their smoothed value.
    assert!(measured.iter().all(|(min, srtt)| *min > 0 && min <= srtt), "{measured:?}");
}

#[test]
fn every_hook_fires_in_its_scene() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let recorder = Recorder::start(&only_with(&hosts, &["--profile", "all"]));
    let mut times = Vec::new();
    for scene in &SCENES {
        let begun = monotonic();
        (scene.play)(&net).unwrap_or_else(|error| panic!("{:?}: {error:#}", scene.probes));
        times.push(begun..monotonic());
    }
    let recording = recorder.stop();
    let rows = recording.rows();
    let fired = |probe: &str, time: &std::ops::Range<u64>| {
        rows.iter().any(|row| &*row.probe == probe && time.contains(&row.ts))
    };
    let silent: Vec<&str> = SCENES
        .iter()
        .zip(&times)
        .flat_map(|(scene, time)| scene.probes.iter().copied().filter(|probe| !fired(probe, time)))
        .collect();
    assert!(silent.is_empty(), "{silent:?} did not fire in their scenes");
    let metadata = recording.metadata();
    let (failed, attached): (Vec<_>, Vec<_>) = metadata.probes.iter().partition(|p| p.error.is_some());
    assert!(failed.iter().all(|probe| probe.name == HARDWARE), "{failed:?}");
    // A new hook needs a scene, or a reason.
    let mut known: Vec<&str> = SCENES.iter().flat_map(|scene| scene.probes).copied().collect();
    known.extend(UNPROVOKED.iter().map(|(probe, _)| probe));
    known.retain(|name| failed.iter().all(|probe| probe.name != *name));
    known.sort_unstable();
    let tracepoints = attached.iter().filter(|probe| probe.backend == "tp_btf");
    let mut hooks: Vec<&str> = tracepoints.map(|probe| probe.name.as_str()).collect();
    hooks.sort_unstable();
    assert_eq!(known, hooks);
}
