use super::*;
use crate::knowledge::tests::shipped;
use crate::knowledge::{Knowledge, Severity};
use crate::lifecycle::{Keep, Lives};
use crate::loss::Losses;
use crate::script::Script;

/// The findings of a script.
fn findings_with(script: &str, knowledge: &Knowledge, losses: &Losses) -> Vec<Finding> {
    let script = Script::new(script);
    let mut lives = Lives::new(script.names, knowledge, losses, Keep::Summary);
    let mut observer = Observer::new(script.names, knowledge);
    for event in script.events() {
        lives.push(&event, &mut |life| observer.life(life));
        observer.event(&event, &lives);
    }
    lives.finish(&mut |life| observer.life(life));
    observer.findings(losses)
}

/// The findings of a script without losses.
fn findings(script: &str) -> Vec<Finding> {
    findings_with(script, &shipped(), &Losses::default())
}

/// Cause, victim, packets and flows of each finding.
fn short(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|f| format!("{} {} {} {}", f.cause, f.about, f.packets.value, f.flows.value))
        .collect()
}

/// A SYN to a closed port, its answer, and the client's view.
fn refused(t: u64, skb: u32, port: u16) -> String {
    format!(
        "{t} - inet_sock_set_state old=CLOSE new=SYN_SENT l4=tcp local=10.0.0.1:{port} remote=10.0.0.2:81
         {t} {skb:x} netif_receive_skb eth0 flow=10.0.0.1:{port}>10.0.0.2:81 l4=tcp id={port} flags=S
         {t} {skb:x} tcp_send_reset NO_SOCKET local=10.0.0.2:81 remote=10.0.0.1:{port} flags=S
         {t} {skb:x} kfree_skb NO_SOCKET at=tcp_v4_rcv+0x1 flow=10.0.0.1:{port}>10.0.0.2:81 l4=tcp flags=S
         {t} - tcp_receive_reset l4=tcp local=10.0.0.1:{port} remote=10.0.0.2:81 new=SYN_SENT
         {t} - inet_sock_set_state old=SYN_SENT new=CLOSE l4=tcp local=10.0.0.1:{port} remote=10.0.0.2:81\n"
    )
}

#[test]
fn a_closed_tcp_port_is_one_finding() {
    let script: String = (0..20).map(|i| refused(u64::from(i) * 10, 7, 40_000 + i)).collect();
    let found = findings(&script);
    assert_eq!(short(&found), ["tcp-port-closed 10.0.0.2:81 20 20"]);
    assert_eq!(found[0].severity, Severity::Error);
    assert_eq!(found[0].examples.len(), 3);
    let seen: Vec<String> = found[0].evidence.iter().map(|e| format!("{} {}", e.what, e.count)).collect();
    assert_eq!(seen, ["kfree_skb NO_SOCKET 20", "tcp_receive_reset 20", "tcp_send_reset NO_SOCKET 20"]);
}

#[test]
fn a_closed_udp_port_is_one_finding() {
    let found = findings(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:99 id=1
         11 7 icmp_send icmp=3/3
         12 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1 stack=a+0x1;b+0x2
         20 7 netif_receive_skb eth0 flow=10.0.0.1:6>10.0.0.2:99 id=2
         21 7 icmp_send icmp=3/3
         22 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1",
    );
    assert_eq!(short(&found), ["udp-port-closed 10.0.0.2:99 2 2"]);
    assert_eq!(found[0].stack.as_deref(), Some("a+0x1;b+0x2"));
    assert_eq!((found[0].first, found[0].last), (11_000, 22_000));
}

#[test]
fn a_full_receive_buffer_is_one_finding_with_figures() {
    let found = findings(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:99 id=1
         11 7 sock_rcvqueue_full rmem=212000 rcvbuf=212992
         12 7 kfree_skb SOCKET_RCVBUFF at=__udp_enqueue_schedule_skb+0x1",
    );
    assert_eq!(short(&found), ["socket-receive-buffer-full 10.0.0.2:99 1 1"]);
    assert_eq!(found[0].figures, ["receive buffer: 212,000 of 212,992 bytes queued"]);
}

#[test]
fn packets_behind_a_dead_gateway_are_one_finding() {
    let found = findings(
        "10 7 net_dev_queue eth0 flow=10.0.0.1:5>8.8.8.8:53 id=1
         11 8 net_dev_queue eth0 flow=10.0.0.1:5>9.9.9.9:53 id=1
         19 - neigh_timer_handler eth0 remote=10.0.0.253 old=INCOMPLETE new=INCOMPLETE
         20 - neigh_timer_handler eth0 remote=10.0.0.254 old=FAILED new=FAILED
         21 7 kfree_skb NEIGH_FAILED at=arp_error_report+0x1 eth0
         22 8 kfree_skb NEIGH_FAILED at=arp_error_report+0x1 eth0",
    );
    assert_eq!(found.len(), 1, "{:?}", short(&found));
    assert_eq!(found[0].cause, "neighbour-unreachable");
    assert_eq!((found[0].about.as_str(), found[0].packets.value), ("10.0.0.254", 2));
}

#[test]
fn healthy_traffic_has_no_finding() {
    let found = findings(
        "1 7 kfree_skb NO_SOCKET at=ping_rcv+0xab
         2 8 kfree_skb NOT_SPECIFIED at=packet_rcv+0x1
         3 9 netif_receive_skb lo flow=10.0.0.1:5>10.0.0.2:99 id=1
         3 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:99
         4 - inet_sock_set_state old=CLOSE new=SYN_SENT l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         5 - inet_sock_set_state old=SYN_SENT new=ESTABLISHED l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         6 - tcp_retransmit_skb new=ESTABLISHED l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         7 - tcp_receive_reset new=CLOSE_WAIT l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         8 a netif_receive_skb lo flow=10.0.0.1:5>10.0.0.2:81 l4=tcp flags=FA id=3
         9 a kfree_skb NO_SOCKET at=tcp_v4_rcv+0x1 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp flags=FA",
    );
    assert_eq!(short(&found), [] as [&str; 0]);
}

#[test]
fn a_change_of_nftables_is_no_finding() {
    // Linux 6.1 frees its copy of the message with kfree_skb, 6.12 with consume_skb.
    let found = findings("1 7 kfree_skb NOT_SPECIFIED at=nfnetlink_rcv_batch+0x7fa");
    assert_eq!(short(&found), [] as [&str; 0]);
}

#[test]
fn retransmissions_become_a_finding_above_the_thresholds() {
    let sent = |n: u64| -> String {
        (0..n)
            .map(|i| format!("{i} 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp seq={i} id={i}\n"))
            .collect()
    };
    let again: String = (0..6)
        .map(|i| {
            format!(
                "{} - tcp_retransmit_skb new=ESTABLISHED l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81\n",
                5000 + i
            )
        })
        .collect();
    assert_eq!(short(&findings(&(sent(1000) + &again))), [] as [&str; 0]);
    let found = findings(&(sent(100) + &again));
    assert_eq!(short(&found), ["tcp-retransmissions tcp 10.0.0.1:5 -> 10.0.0.2:81 6 1"]);
    assert_eq!((found[0].first, found[0].last), (5_000_000, 5_005_000));
}

#[test]
fn drops_explain_retransmissions_of_their_flow() {
    let mut script = String::new();
    for i in 0..10 {
        script += &format!(
            "{0} 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp seq={0} id={0}
             {0} 7 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1
             {0} - tcp_retransmit_skb new=ESTABLISHED l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81\n",
            i + 1
        );
    }
    let found = findings(&script);
    assert_eq!(short(&found), ["netfilter-drop 10.0.0.2:81 10 1"]);
    assert!(found[0].evidence.iter().any(|e| e.what == "tcp_retransmit_skb" && e.count == 10));
}

#[test]
fn what_a_translated_flow_sent_again_arrives_twice() {
    // The router gives 10.0.0.9 the address of the server; before 6.14 an old segment has this reason.
    let twice = |i: u64, sent_again: bool| {
        let again = "l4=tcp new=ESTABLISHED local=10.0.0.1:5 remote=10.0.0.9:81";
        let again = if sent_again { format!("{i} - tcp_retransmit_skb {again}\n") } else { String::new() };
        format!(
            "{again}{i} 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.9:81 l4=tcp seq=9 id={i}
             {i} 7 netif_receive_skb v0 ns=2 flow=10.0.0.1:5>10.0.0.9:81 l4=tcp seq=9 id={i}
             {i} 7 kfree_skb TCP_INVALID_SEQUENCE at=tcp_validate_incoming+0x1 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp\n"
        )
    };
    let many = |sent_again| (0..40).map(|i| twice(i, sent_again)).collect::<String>();
    assert_eq!(short(&findings(&many(false))), ["tcp-out-of-window 10.0.0.2:81 40 1"]);
    let found = short(&findings(&many(true)));
    assert!(!found.iter().any(|finding| finding.starts_with("tcp-out-of-window")), "{found:?}");
}

#[test]
fn a_receiver_tells_old_segments_by_what_it_acknowledges_next() {
    let drop_and_answer = |i: u32, reason: &str, seq: u32, ack: u32| {
        format!(
            "{i} 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp seq={seq} flags=A id={i}
             {i} 7 kfree_skb {reason} at=tcp_validate_incoming+0x1 flow=10.0.0.1:5>10.0.0.2:81 l4=tcp
             {i} 8 net_dev_queue eth0 flow=10.0.0.2:81>10.0.0.1:5 l4=tcp seq=1 ack={ack} flags=A
             {i} 9 net_dev_queue eth0 flow=10.0.0.2:81>10.0.0.1:5 l4=tcp seq=1 ack={} flags=A\n",
            seq.wrapping_add(9_000)
        )
    };
    let many = |reason, seq: u32, ack| {
        short(&findings(&(0..40).map(|i| drop_and_answer(i, reason, seq, ack)).collect::<String>()))
    };
    // The sequence number may have begun anew at 0 in between.
    for (seq, ack) in [(1000, 2000), (u32::MAX - 5, 3)] {
        assert_eq!(many("TCP_INVALID_SEQUENCE", seq, ack), [] as [&str; 0], "{seq} {ack}");
        assert_eq!(many("TCP_RFC7323_PAWS", seq, ack), [] as [&str; 0], "{seq} {ack}");
        assert_eq!(many("TCP_OVERWINDOW", seq, ack), ["tcp-out-of-window 10.0.0.2:81 40 1"], "{seq} {ack}");
    }
    for (seq, ack) in [(2000, 1000), (3, u32::MAX - 5)] {
        let found = many("TCP_INVALID_SEQUENCE", seq, ack);
        assert_eq!(found, ["tcp-out-of-window 10.0.0.2:81 40 1"], "{seq} {ack}");
    }
}

#[test]
fn connections_without_an_answer_are_a_finding() {
    let found = findings(
        "0 - inet_sock_set_state sk=1 old=CLOSE new=SYN_SENT l4=tcp local=10.0.0.1:0 remote=10.0.0.2:81
         1000000 - tcp_retransmit_skb sk=1 new=SYN_SENT l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         2000000 - inet_sock_set_state sk=1 old=SYN_SENT new=CLOSE l4=tcp local=10.0.0.1:0 remote=10.0.0.2:81
         3000000 - inet_sock_set_state old=CLOSE new=SYN_SENT l4=tcp local=10.0.0.1:6 remote=10.0.0.2:81
         4000000 - tcp_retransmit_skb new=SYN_SENT l4=tcp local=10.0.0.1:6 remote=10.0.0.2:81
         6000000 - tcp_retransmit_skb new=SYN_SENT l4=tcp local=10.0.0.1:6 remote=10.0.0.2:81",
    );
    assert_eq!(short(&found), ["tcp-connect-timeout 10.0.0.2:81 2 2"]);
}

#[test]
fn a_connection_that_was_given_up_at_once_is_no_finding() {
    let found = findings(
        "0 - inet_sock_set_state old=CLOSE new=SYN_SENT l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         1000 - inet_sock_set_state old=SYN_SENT new=CLOSE l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81",
    );
    assert_eq!(short(&found), [] as [&str; 0]);
}

#[test]
fn a_refusal_by_another_host_is_a_finding() {
    let found = findings(
        "0 - tcp_receive_reset new=SYN_SENT l4=tcp local=10.0.0.1:5 remote=10.0.0.2:81
         1 - tcp_receive_reset new=ESTABLISHED l4=tcp local=10.0.0.1:6 remote=10.0.0.3:81",
    );
    assert_eq!(
        short(&found),
        ["tcp-connection-refused 10.0.0.2:81 1 1", "tcp-reset-by-peer 10.0.0.3:81 1 1"]
    );
}

#[test]
fn a_scan_of_many_ports_is_one_finding() {
    let script: String = (1..=100)
        .map(|port| {
            format!("{port} 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1 flow=10.0.0.1:5>10.0.0.2:{port} id={port}\n")
        })
        .collect();
    assert_eq!(short(&findings(&script)), ["udp-port-closed 100 destinations 100 100"]);
}

#[test]
fn errors_come_before_warnings_and_many_before_few() {
    let found = findings(
        "1 7 kfree_skb NEVER_HEARD at=foo+0x1 flow=10.0.0.1:5>10.0.0.2:1
         2 7 kfree_skb NEVER_HEARD at=foo+0x1 flow=10.0.0.1:5>10.0.0.2:1
         3 7 kfree_skb NEVER_HEARD at=foo+0x1 flow=10.0.0.1:5>10.0.0.2:1
         4 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1 flow=10.0.0.1:5>10.0.0.2:2
         5 7 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1 flow=10.0.0.1:5>10.0.0.2:3
         6 7 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1 flow=10.0.0.1:5>10.0.0.2:3",
    );
    let causes: Vec<&str> = found.iter().map(|f| f.cause.as_str()).collect();
    assert_eq!(causes, ["netfilter-drop", "udp-port-closed", "unknown-drop"]);
    assert_eq!(found[2].about, "NEVER_HEARD at foo");
}

#[test]
fn a_finding_touched_by_loss_says_so() {
    let script = "10 7 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1 flow=10.0.0.1:5>10.0.0.2:3
         20 8 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1 flow=10.0.0.1:5>10.0.0.2:3";
    let with = |interval| {
        let losses = Losses::from_intervals(vec![interval], 5);
        findings_with(script, &shipped(), &losses)[0].touched_by_loss
    };
    assert!(with((12_000, 13_000)));
    assert!(!with((30_000, 40_000)));
}

#[test]
fn a_busy_device_is_a_finding_of_its_device() {
    let script = "10 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:3
         11 7 net_dev_start_xmit eth0
         12 7 net_dev_xmit eth0 ret=16\n";
    let found = findings(&script.repeat(20));
    assert_eq!(short(&found), ["device-refuses eth0 20 0"]);
}

/// A packet that a place with hook functions drops; `nested` are the lines of what happens there.
fn dropped_by_hooks(hooks: &str, nested: &str) -> Vec<String> {
    let found = findings(&format!(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:3 n=1
         11 7 nf_hook_slow kind=pkt n=2
         {nested}
         18 7 kfree_skb NETFILTER_DROP at=nf_hook_slow+0x1 n=8
         19 7 nf_hook_slow kind=nf of=2 says=NF_DROP hook=FORWARD family=ip hooks={hooks} n=9"
    ));
    assert_eq!(short(&found), ["netfilter-drop 10.0.0.2:3 1 1"]);
    found[0].rules.iter().map(|rule| format!("{}{}", rule.what, rule.what.blame())).collect()
}

#[test]
fn the_hook_function_that_returned_last_gave_the_verdict() {
    let second = "12 7 a kind=pkt n=3
         13 7 a kind=nf of=3 says=NF_ACCEPT n=4
         14 7 b kind=pkt n=5
         15 7 nft_do_chain kind=pkt n=6
         16 7 nft_do_chain kind=nf of=6 says=NF_DROP hook=FORWARD family=ip table=t chain=c n=7
         17 7 b kind=nf of=5 says=NF_DROP n=8";
    assert_eq!(dropped_by_hooks("a;b.isra.0;c", second), ["ip t c at FORWARD, by b"]);
}

#[test]
fn the_rule_that_was_traced_to_drop_is_named() {
    let traced = |step: &str| {
        let nested = format!(
            "12 7 nft_trace_notify kind=nf says=NFT_JUMP hook=FORWARD family=inet table=t chain=c handle=3 step=rule n=3
             13 7 nft_trace_notify kind=nf says=NF_DROP hook=FORWARD family=inet table=t {step} n=4
             14 7 nft_do_chain kind=pkt n=5
             15 7 nft_do_chain kind=nf of=5 says=NF_DROP hook=FORWARD family=inet table=t chain=c n=6"
        );
        dropped_by_hooks("a", &nested)
    };
    assert_eq!(traced("chain=user handle=7 step=rule"), ["inet t user handle 7 at FORWARD, by a"]);
    assert_eq!(traced("handle=7 step=rule"), ["inet t handle 7 at FORWARD, by a"]);
    assert_eq!(traced("chain=c step=policy"), ["inet t c policy at FORWARD, by a"]);
}

#[test]
fn the_only_hook_function_gave_the_verdict() {
    assert_eq!(dropped_by_hooks("a", ""), ["ip at FORWARD, by a"]);
}

#[test]
fn hook_functions_are_listed_where_none_of_them_was_seen_to_drop() {
    let listed = ["ip at FORWARD, by one of a, b (which one is not known)"];
    let accepts = "12 7 a kind=pkt n=3
         13 7 a kind=nf of=3 says=NF_ACCEPT hook=FORWARD family=ip n=4";
    let before = "12 7 b kind=pkt n=1
         13 7 b kind=nf of=1 says=NF_DROP hook=FORWARD family=ip n=4";
    let foreign = accepts.replace(" a ", " other ").replace("ACCEPT", "DROP");
    for nested in ["", accepts, before, &foreign] {
        assert_eq!(dropped_by_hooks("a;b", nested), listed, "{nested}");
    }
}

#[test]
fn what_was_not_remembered_makes_counts_lower_bounds() {
    let resets = |flows: u32| -> String {
        let reset = |n: u32| {
            let (port, address) = (1024 + (n & 0x7fff), n >> 15);
            format!(
                "{n} - tcp_receive_reset l4=tcp local=10.0.0.1:{port} remote=10.1.{address}.2:81 new=ESTABLISHED\n"
            )
        };
        (0..flows).map(reset).collect()
    };
    let all = |flows: u32, at_least: bool| {
        let found = findings(&resets(flows));
        !found.is_empty() && found.iter().all(|finding| finding.packets.at_least == at_least)
    };
    assert!(all(1000, false));
    assert!(all((128 << 10) + 1, true));
}
