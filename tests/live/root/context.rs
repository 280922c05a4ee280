//! In which context an event happened, and for drops why and where.

use std::time::Duration;

use lab::{Host, Net, traffic};

use crate::recorder::{only, only_with, record};
use crate::rows::Row;
use crate::support::{beside_others, undisturbed};

/// Whether a row belongs to a host.
fn is_in(row: &Row, host: &Host) -> bool {
    row.netns.map(u64::from) == Some(host.inode())
}

#[test]
fn a_sender_is_known_by_its_process_and_receiving_is_softirq() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let Net { client, router, server, .. } = &net;
    // The first one would wait for the neighbour and be sent by whoever receives its answer.
    traffic::ping(client, server.v4(), 1).unwrap();
    let mut sender = 0;
    let recording = record(&only(&[client, router, server]), || {
        let mut ping = client.spawn("ping", &["-n", "-q", "-c", "5", "-i", "0.01", "10.77.2.2"]).unwrap();
        sender = ping.id();
        assert!(ping.wait_for(Duration::from_secs(10)).unwrap().unwrap().success());
        traffic::udp_echo(server, server, "127.0.0.1:7001".parse().unwrap(), 5, 100).unwrap();
    });
    let rows = recording.rows();
    let of = |probe: &'static str| rows.iter().filter(move |row| &*row.probe == probe);
    let requests: Vec<&Row> =
        of("net_dev_queue").filter(|row| is_in(row, client) && row.icmp_type == Some(8)).collect();
    assert_eq!(requests.len(), 5);
    for row in requests {
        assert_eq!((row.pid, &*row.comm, &*row.ctx), (Some(sender), "ping", "task"), "{row:?}");
    }
    let echoed: Vec<&Row> = of("net_dev_queue").filter(|row| &*row.dev == "lo").collect();
    assert_eq!(echoed.len(), 10);
    for row in echoed {
        assert_eq!((row.pid, &*row.ctx), (Some(std::process::id()), "task"), "{row:?}");
        assert!(["lab-server"].contains(&&*row.comm), "{row:?}");
    }
    for device in ["eth0", "left", "right", "lo"] {
        assert!(of("netif_receive_skb").any(|row| &*row.dev == device), "{device}");
    }
    let in_task = of("netif_receive_skb").find(|row| &*row.ctx != "softirq");
    assert!(in_task.is_none(), "{in_task:?}");
    // What the router sends on, it sends while it receives.
    let forwarded: Vec<&Row> = of("net_dev_queue").filter(|row| is_in(row, router)).collect();
    assert!(forwarded.len() >= 10);
    assert!(forwarded.iter().all(|row| &*row.ctx == "softirq"), "{forwarded:?}");
}

// A packet in a socket's queue has other things where its device was.
#[test]
fn rows_name_no_device_but_those_that_there_are() {
    // Packets are followed by address: one of another test may have that of one whose end no tracepoint tells.
    let Some(_turn) = undisturbed() else { return };
    let net = Net::new().unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let recording = record(&only(&hosts), || {
        traffic::udp_echo(&net.client, &net.server, net.server.at(7001), 50, 100).unwrap();
        traffic::tcp_bulk(&net.client, &net.server, net.server.at(7002), 1 << 20).unwrap();
    });
    for row in recording.rows().iter().filter(|row| !row.dev.is_empty()) {
        assert!(["eth0", "left", "right", "lo"].contains(&&*row.dev), "{row:?}");
        assert!(hosts.iter().any(|host| is_in(row, host)), "{row:?}");
    }
}

/// Whether this is a kernel function with an offset.
fn is_function(name: &str) -> bool {
    name.split_once("+0x").is_some_and(|(function, offset)| {
        !function.is_empty() && u64::from_str_radix(offset, 16).is_ok() && !function.contains(' ')
    })
}

#[test]
fn a_drop_has_its_reason_its_place_and_the_way_there() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let recording = record(&only(&[&net.client, &net.router, &net.server]), || {
        traffic::forwarded_udp_dropped(&net, 10).unwrap();
    });
    let rows = recording.rows();
    let drops: Vec<&Row> = rows.iter().filter(|row| &*row.reason == "NETFILTER_DROP").collect();
    assert_eq!(drops.len(), 10);
    for row in drops {
        assert_eq!((&*row.probe, &*row.kind, row.dport), ("kfree_skb", "free", Some(traffic::DROP_PORT)));
        assert!(is_in(row, &net.router) && is_function(&row.location), "{row:?}");
        let frames: Vec<&str> = row.stack.split(';').collect();
        assert!(frames.len() > 3 && frames.iter().all(|frame| is_function(frame)), "{frames:?}");
        let has = |name: &str| frames.iter().any(|frame| frame.starts_with(&format!("{name}+")));
        assert!(has("nf_hook_slow") && has("ip_forward") && has("process_backlog"), "{frames:?}");
        assert!(!row.stack.contains("bpf_") && frames.contains(&&*row.location), "{frames:?}");
    }
    // Only drops were asked for.
    assert!(rows.iter().all(|row| row.stack.is_empty() || &*row.probe == "kfree_skb"));
}

#[test]
fn stacks_are_left_out_or_taken_at_other_probes_on_request() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let hosts = [&net.client, &net.router, &net.server];
    let mut other = None;
    let none = record(&only_with(&hosts, &["--stack", "none"]), || {
        let args = only_with(&hosts, &["--stack", "tcp_send_reset,icmp_send"]);
        other = Some(record(&args, || {
            traffic::forwarded_udp_dropped(&net, 5).unwrap();
            traffic::tcp_connect_refused(&net.client, net.server.at(81), 2).unwrap();
            traffic::udp_closed_port(&net.client, net.server.at(82), 2).unwrap();
        }));
    });
    let rows = none.rows();
    assert!(rows.iter().any(|row| &*row.reason == "NETFILTER_DROP" && is_function(&row.location)));
    assert!(rows.iter().all(|row| row.stack.is_empty()));
    let rows = other.unwrap().rows();
    for probe in ["tcp_send_reset", "icmp_send"] {
        let found: Vec<&Row> = rows.iter().filter(|row| &*row.probe == probe).collect();
        assert_eq!(found.len(), 2, "{probe}");
        assert!(found.iter().all(|row| row.stack.split(';').all(is_function)), "{found:?}");
    }
    assert!(rows.iter().all(|row| &*row.probe != "kfree_skb" || row.stack.is_empty()));
}

#[test]
fn reasons_have_the_names_of_the_kernel_without_its_prefix() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let recording = record(&only(&[&net.client, &net.router, &net.server]), || {
        traffic::tcp_connect_refused(&net.client, net.server.at(81), 2).unwrap();
        traffic::udp_closed_port(&net.client, net.server.at(82), 2).unwrap();
        traffic::full_socket_buffer(&net.client, &net.server, net.server.at(9000), 50, 400).unwrap();
    });
    let rows = recording.rows();
    for reason in ["NO_SOCKET", "SOCKET_RCVBUFF"] {
        assert!(rows.iter().any(|row| &*row.reason == reason && &*row.probe == "kfree_skb"), "{reason}");
    }
    assert!(rows.iter().any(|row| &*row.probe == "tcp_send_reset" && &*row.reason == "NO_SOCKET"));
    for row in rows.iter().filter(|row| !row.reason.is_empty()) {
        let plain = row.reason.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        assert!(plain && !row.reason.starts_with("SK"), "{row:?}");
    }
    assert!(recording.metadata().enums["skb_drop_reason"].values().any(|name| name == "NETFILTER_DROP"));
}
