//! Following: a packet that matched is recorded to its end whatever happens to its headers, and whoever uses
//! its address afterwards is not.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::thread;

use lab::flood::{Flood, Limit, udp_flood};
use lab::{Host, Net, traffic};

use crate::recorder::{only_with, record};
use crate::rows::Row;
use crate::support::{beside_others, undisturbed};

/// How many requests are followed.
const REQUESTS: usize = 200;

/// Rows of a probe in a host.
fn at<'a>(rows: &'a [Row], host: &Host, probe: &str) -> Vec<&'a Row> {
    let here = |row: &&Row| row.netns.map(u64::from) == Some(host.inode()) && &*row.probe == probe;
    rows.iter().filter(here).collect()
}

#[test]
fn a_masqueraded_packet_is_followed_to_its_delivery() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::with_nat().unwrap();
    let Net { client, router, server, .. } = &net;
    let args = only_with(&[client, router, server], &["--src", "10.77.1.2", "--proto", "udp"]);
    let recording = record(&args, || {
        assert_eq!(traffic::udp_echo(client, server, server.at(7001), 20, 100).unwrap().answered, 20);
    });
    let rows = recording.rows();
    let sources =
        |host, probe| at(&rows, host, probe).iter().map(|row| row.saddr.to_string()).collect::<Vec<_>>();
    assert_eq!(sources(client, "net_dev_queue"), vec!["10.77.1.2"; 20]);
    assert_eq!(sources(router, "netif_receive_skb"), vec!["10.77.1.2"; 20]);
    assert_eq!(sources(router, "net_dev_queue"), vec!["10.77.2.1"; 20]);
    assert_eq!(sources(server, "netif_receive_skb"), vec!["10.77.2.1"; 20]);
    assert_eq!(at(&rows, server, "sk_data_ready").len(), 20);
    // The answers do not come from the client's address, not even behind the router.
    assert!(rows.iter().all(|row| row.kind.as_ref() != "pkt" || row.sport != Some(7001)));
}

#[test]
fn a_masqueraded_connection_is_followed_to_its_delivery() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::with_nat().unwrap();
    let Net { client, router, server, .. } = &net;
    let args = only_with(&[client, router, server], &["--src", "10.77.1.2", "--proto", "tcp"]);
    let recording = record(&args, || {
        assert_eq!(traffic::tcp_short(client, server, server.at(8001), 5).unwrap(), 5);
    });
    let rows = recording.rows();
    let arrived = at(&rows, server, "netif_receive_skb");
    assert!(arrived.iter().all(|row| &*row.saddr == "10.77.2.1"), "{arrived:?}");
    for flags in ["S", "PA", "FA"] {
        assert_eq!(arrived.iter().filter(|row| &*row.tcp_flags == flags).count(), 5, "{flags}");
    }
    assert!(!at(&rows, server, "sk_data_ready").is_empty());
    let own: BTreeSet<&str> = rows.iter().filter(|r| &*r.kind == "pkt").map(|r| &*r.saddr).collect();
    assert!(own.is_subset(&BTreeSet::from(["10.77.1.2", "10.77.2.1", ""])), "{own:?}");
}

/// Sends heavy UDP and TCP traffic of no interest beside `work`.
fn beside_heavy_traffic(net: &Net, work: impl FnOnce()) {
    let Net { client, server, .. } = net;
    let never = AtomicBool::new(false);
    let flood = Flood { at: server.at(7000), size: 100, limit: Limit::Packets(20_000), stop: &never };
    thread::scope(|scope| {
        let udp = scope.spawn(|| udp_flood(client, server, &flood).unwrap());
        let tcp = scope.spawn(|| traffic::tcp_bulk(client, server, server.at(8080), 30 << 20).unwrap());
        work();
        assert_eq!(udp.join().unwrap().sent, 20_000);
        assert_eq!(tcp.join().unwrap(), 30 << 20);
    });
}

#[test]
fn an_address_that_another_packet_reuses_is_not_followed() {
    let Some(_turn) = undisturbed() else { return };
    let net = Net::new().unwrap();
    let Net { client, router, server, .. } = &net;
    let args = only_with(&[client, router, server], &["--proto", "icmp"]);
    let recording = record(&args, || {
        beside_heavy_traffic(&net, || {
            assert_eq!(traffic::ping(client, server.v4(), 100).unwrap().answered, 100);
        });
        // What matched is over: only leftovers could be followed now.
        beside_heavy_traffic(&net, || {});
    });
    let rows = recording.rows();
    let foreign = |row: &&Row| {
        let header = matches!(&*row.l4, "udp" | "tcp") || &*row.protocol == "arp" || &*row.protocol == "ip6";
        // Rows without a header tell by their process whose packet they are about.
        let reader = &*row.ctx == "task" && row.comm.starts_with("lab-");
        header || reader
    };
    let found: Vec<&Row> = rows.iter().filter(foreign).collect();
    assert!(found.is_empty(), "{} rows, such as {:?}", found.len(), found[0]);
    let echoes =
        |row: &&Row| &*row.probe == "net_dev_queue" && row.icmp_type == Some(8) && &*row.dev == "eth0";
    assert_eq!(rows.iter().filter(echoes).count(), 100);
}

#[test]
fn a_drop_at_an_address_that_was_followed_is_not_taken_for_the_packet_delivered_before() {
    let Some(_turn) = beside_others() else { return };
    let (own, other) = (Net::alone().unwrap(), Net::alone().unwrap());
    // What its socket sends is freed before any tracepoint has seen it.
    let chain = "chain output {\ntype filter hook output priority 0\nudp dport 7001 drop\n}";
    other.feed("nft", &["-f", "-"], &format!("table inet lab {{ {chain}\n}}\n")).unwrap();
    let refused = other.run(|| Ok(UdpSocket::bind(other.at(0))?)).unwrap();
    let (at, nowhere) = (own.at(7001), other.at(7001));
    let socket = own.run(|| Ok(UdpSocket::bind(at)?)).unwrap();
    let recording = record(&only_with(&[&own], &["--proto", "udp"]), || {
        for _ in 0..20 * REQUESTS {
            socket.send_to(b"delivered", at).unwrap();
            socket.recv(&mut [0; 16]).unwrap();
            // Often at the address that has just become free.
            refused.send_to(b"dropped", nowhere).unwrap_err();
        }
    });
    let rows = recording.rows();
    assert!(rows.len() > 20 * REQUESTS);
    let foreign = rows.iter().find(|row| &*row.reason == "NETFILTER_DROP");
    assert!(foreign.is_none(), "{foreign:?}");
}

#[test]
fn what_matched_is_followed_to_its_end_beside_heavy_traffic() {
    let Some(_turn) = undisturbed() else { return };
    let net = Net::new().unwrap();
    let Net { client, router, server, .. } = &net;
    let args = only_with(&[client, router, server], &["--port", "7001"]);
    let recording = record(&args, || {
        beside_heavy_traffic(&net, || {
            let count = REQUESTS as u32;
            let echoed = traffic::udp_echo(client, server, server.at(7001), count, 100).unwrap();
            assert_eq!(echoed.answered, count);
        });
    });
    let rows = recording.rows();
    for (host, probe, count) in [
        (client, "net_dev_queue", REQUESTS),
        (router, "netif_receive_skb", 2 * REQUESTS),
        (router, "net_dev_queue", 2 * REQUESTS),
        (server, "netif_receive_skb", REQUESTS),
        (server, "net_dev_queue", REQUESTS),
        (client, "netif_receive_skb", REQUESTS),
        (server, "sk_data_ready", REQUESTS),
        (client, "sk_data_ready", REQUESTS),
    ] {
        assert_eq!(at(&rows, host, probe).len(), count, "{probe} in {}", host.role());
    }
    let foreign = rows.iter().find(|row| !row.l4.is_empty() && ![row.sport, row.dport].contains(&Some(7001)));
    assert!(foreign.is_none(), "{foreign:?}");
}

#[test]
fn a_timers_event_is_not_taken_for_the_packet_delivered_before() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let Net { client, router, server, .. } = &net;
    let at = server.at(8001);
    let listener = server.run(|| Ok(TcpListener::bind(at)?)).unwrap();
    let mut stream = client.run(|| Ok(TcpStream::connect(at)?)).unwrap();
    let (_peer, _) = listener.accept().unwrap();
    traffic::nft_drop(router, "tcp dport 8001").unwrap();
    let args = only_with(&[client, router, server], &["--proto", "icmp"]);
    let all = only_with(&[client], &["--probe", "tcp_retransmit_skb"]);
    let mut retransmissions = 0;
    let recording = record(&args, || {
        // The data is sent again after 200, 600, 1400 ms, always by a timer.
        let reference = record(&all, || {
            stream.write_all(b"lost").unwrap();
            traffic::ping(client, server.v4(), 150).unwrap();
        });
        retransmissions = reference.rows().iter().filter(|row| &*row.probe == "tcp_retransmit_skb").count();
    });
    assert!(retransmissions > 0);
    let rows = recording.rows();
    let foreign = rows.iter().find(|row| &*row.l4 == "tcp");
    assert!(foreign.is_none(), "{foreign:?}");
}
