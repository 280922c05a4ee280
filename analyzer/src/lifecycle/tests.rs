use proptest::prelude::*;

use super::*;
use crate::knowledge::tests::shipped;
use crate::script::Script;

/// A finished life in short: address, events, outcome.
type Short = (u64, u32, String);

/// The lives of a script, in the order in which they end, and what was counted.
fn lives_with(script: &str, losses: &Losses) -> (Vec<Short>, Tally) {
    let (knowledge, script) = (shipped(), Script::new(script));
    let mut lives = Lives::new(script.names, &knowledge, losses, Keep::Rows);
    let mut ended = Vec::new();
    let mut done = |life: &Life<'_>| ended.push((life.skb, life.count, life.outcome.to_string()));
    for event in script.events() {
        lives.push(&event, &mut done);
    }
    lives.finish(&mut done);
    assert_eq!(lives.kept, 0, "every kept row was let go");
    (ended, lives.tally())
}

/// The lives of a script without losses.
fn lives(script: &str) -> Vec<Short> {
    lives_with(script, &Losses::default()).0
}

/// Compares lives with `SKB EVENTS OUTCOME` lines.
fn assert_lives(script: &str, expected: &[&str]) {
    let found: Vec<String> = lives(script).iter().map(|(skb, n, how)| format!("{skb:x} {n} {how}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_dropped_packet_says_why_and_where() {
    assert_lives(
        "10 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:6
         20 7 kfree_skb NETFILTER_DROP at=nft_do_chain+0x1",
        &["7 2 DROPPED NETFILTER_DROP at nft_do_chain+0x1"],
    );
}

#[test]
fn a_healthy_drop_is_no_drop() {
    assert_lives("20 7 kfree_skb NO_SOCKET at=ping_rcv+0xab", &["7 1 CONSUMED at ping_rcv+0xab"]);
}

#[test]
fn functions_before_the_queue_belong_to_the_packet() {
    assert_lives(
        "10 7 ip_output kind=pkt flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 net_dev_queue eth0 id=1
         30 7 net_dev_start_xmit eth0 id=1
         40 7 net_dev_xmit eth0
         50 7 consume_skb at=veth_poll+0x1
         60 7 __kfree_skb kind=free",
        &["7 5 TRANSMITTED by eth0"],
    );
}

#[test]
fn a_function_that_frees_ends_the_packet() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 udp_rcv kind=pkt
         30 7 __kfree_skb kind=free
         40 7 ip_output kind=pkt flow=10.0.0.2:6>10.0.0.1:5 id=9",
        &["7 3 CONSUMED at __kfree_skb", "7 1 OPEN (capture ended)"],
    );
}

#[test]
fn a_return_belongs_to_the_packet_of_its_call() {
    // The address has another packet when the function returns.
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1 n=1
         20 7 tcp_v4_rcv kind=pkt n=2
         30 7 __kfree_skb kind=free n=3
         40 7 ip_output kind=pkt flow=10.0.0.2:6>10.0.0.1:5 id=9 n=4
         50 7 tcp_v4_rcv kind=ret of=2 ret=0 n=5
         60 7 ip_output kind=ret of=4 ret=0 n=6",
        &["7 3 CONSUMED at __kfree_skb", "7 1 OPEN (capture ended)"],
    );
}

#[test]
fn a_clone_is_a_packet_of_its_own() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 skb_clone kind=link child=8 says=clone
         30 8 consume_skb at=packet_rcv+0x1
         40 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1",
        &["8 2 CONSUMED at packet_rcv+0x1", "7 3 DROPPED NO_SOCKET at __udp4_lib_rcv+0x1"],
    );
}

#[test]
fn a_packet_in_a_tunnel_is_the_same_packet() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 iptunnel_xmit kind=link child=7 says=encapsulation
         30 7 kfree_skb QDISC_DROP at=__dev_queue_xmit+0x1",
        &["7 3 DROPPED QDISC_DROP at __dev_queue_xmit+0x1"],
    );
}

#[test]
fn a_packet_that_merges_ends_in_the_other() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 skb_gro_receive kind=link child=8 says=merge",
        &["7 2 CONSUMED at skb_gro_receive"],
    );
}

#[test]
fn the_verdict_on_a_dropped_packet_is_waited_for() {
    let knowledge = shipped();
    let losses = Losses::default();
    let script = Script::new(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1 n=1
         20 7 nft_do_chain kind=pkt n=2
         30 7 kfree_skb NETFILTER_DROP at=nft_do_chain+0x1 n=3
         40 7 nft_do_chain kind=nf of=2 says=NF_STOLEN table=filter n=4",
    );
    let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Summary);
    let mut tables = Vec::new();
    let mut done = |life: &Life<'_>| tables.push(life.verdict.as_ref().map(|v| v.table.to_string()));
    for event in script.events() {
        lives.push(&event, &mut done);
    }
    lives.finish(&mut done);
    assert_eq!(tables, [Some("filter".to_owned())]);
}

#[test]
fn a_life_matches_by_a_verdict_or_a_traced_rule() {
    let knowledge = shipped();
    let losses = Losses::default();
    for (chain, matches) in [("first", true), ("refused", true), ("other", false)] {
        let script = Script::new(
            "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1 n=1
             20 7 nft_do_chain kind=pkt n=2
             30 7 nft_trace_notify kind=nf says=NFT_CONTINUE table=t chain=refused step=return n=3
             40 7 nft_do_chain kind=nf of=2 says=NF_ACCEPT table=t chain=first n=4",
        );
        let filter = move |event: &Event<'_, '_>, _: &Flow<'_>| event.name(ColumnId::Chain) == chain;
        let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Summary).with_filter(filter);
        let mut matched = Vec::new();
        for event in script.events() {
            lives.push(&event, &mut |life| matched.push(life.matched));
        }
        lives.finish(&mut |life| matched.push(life.matched));
        assert_eq!(matched, [matches], "{chain}");
    }
}

#[test]
fn a_pure_ack_that_paws_refuses_is_healthy() {
    let paws = "20 7 kfree_skb TCP_RFC7323_PAWS at=tcp_validate_incoming+0x1 flags=A";
    assert_lives(&format!("{paws} len=32"), &["7 1 CONSUMED at tcp_validate_incoming+0x1"]);
    assert_lives(&format!("{paws} len=1000"), &["7 1 DROPPED TCP_RFC7323_PAWS at tcp_validate_incoming+0x1"]);
}

#[test]
fn a_reused_address_is_two_packets() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 netif_receive_skb eth0 id=2
         30 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1",
        &["7 1 REUSED (end not observed)", "7 2 DROPPED NO_SOCKET at __udp4_lib_rcv+0x1"],
    );
}

#[test]
fn a_reused_address_without_identification_is_two_packets() {
    assert_lives(
        "10 7 napi_gro_receive_entry eth0 flow=10.0.0.1:5>10.0.0.2:6 id=0
         11 7 netif_receive_skb eth0
         20 7 napi_gro_receive_entry eth0
         21 7 netif_receive_skb eth0",
        &["7 2 REUSED (end not observed)", "7 2 OPEN (capture ended)"],
    );
}

#[test]
fn an_answer_at_the_same_address_is_another_packet() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         20 7 net_dev_queue eth0 flow=10.0.0.2:6>10.0.0.1:5 id=9
         21 7 net_dev_start_xmit eth0
         22 7 net_dev_xmit eth0
         23 7 consume_skb",
        &["7 1 REUSED (end not observed)", "7 4 TRANSMITTED by eth0"],
    );
}

#[test]
fn that_a_queue_has_taken_a_packet_begins_no_life() {
    // It cut the packet; it lost the packet, which is freed later.
    assert_lives(
        "10 7 net_dev_queue v0 kind=pkt flow=10.0.0.1:5>10.0.2.2:6 id=4
         11 7 consume_skb v0 kind=free
         12 7 qdisc_enqueue kind=pkt
         20 8 net_dev_queue v0 kind=pkt flow=10.0.0.1:5>10.0.2.2:6 id=5
         21 8 qdisc_enqueue kind=pkt
         22 8 kfree_skb QDISC_DROP at=__dev_queue_xmit+0x1 kind=free",
        &["7 2 CONSUMED at consume_skb", "8 3 DROPPED QDISC_DROP at __dev_queue_xmit+0x1"],
    );
}

#[test]
fn a_packet_over_loopback_is_one_life() {
    assert_lives(
        "10 7 net_dev_queue lo flow=127.0.0.1:5>127.0.0.1:6 id=0
         11 7 net_dev_start_xmit lo
         12 7 netif_rx_entry lo
         13 7 netif_rx lo
         14 7 net_dev_xmit lo
         15 7 netif_receive_skb lo
         16 - sk_data_ready ctx=softirq family=inet local=127.0.0.1:6
         20 7 net_dev_queue lo
         21 7 net_dev_start_xmit lo
         22 7 netif_rx lo
         23 7 netif_receive_skb lo",
        &["7 6 DELIVERED (sk_data_ready)", "7 4 OPEN (capture ended)"],
    );
}

#[test]
fn a_forwarded_packet_stays_one_life() {
    assert_lives(
        "10 7 net_dev_queue v0 ns=1 flow=10.0.0.1:5>10.0.2.2:6 id=4
         11 7 net_dev_start_xmit v0 ns=1
         12 7 netif_rx v1 ns=2
         13 7 net_dev_xmit v0 ns=1
         14 7 netif_receive_skb v1 ns=2
         15 7 net_dev_queue v2 ns=2 iif=3
         16 7 net_dev_start_xmit v2 ns=2 iif=3
         17 7 netif_rx v3 ns=3
         18 7 net_dev_xmit v2 ns=2
         19 7 netif_receive_skb v3 ns=3
         20 7 kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1",
        &["7 11 DROPPED NO_SOCKET at __udp4_lib_rcv+0x1"],
    );
}

#[test]
fn a_forwarded_packet_that_functions_see_stays_one_life() {
    // The answer of the first driver may come when the packet is already on its way to the second.
    for (early, late) in [("13 7 net_dev_xmit v0 ns=1", ""), ("", "16 7 net_dev_xmit v0 ns=1")] {
        assert_lives(
            &format!(
                "10 7 net_dev_queue v0 ns=1 flow=10.0.0.1:5>10.0.2.2:6 id=4
                 11 7 net_dev_start_xmit v0 ns=1
                 12 7 netif_rx v1 ns=2
                 {early}
                 14 7 netif_receive_skb v1 ns=2
                 15 7 net_dev_queue v2 ns=2 iif=3
                 {late}
                 17 7 validate_xmit_skb v2 kind=pkt ns=2 iif=3 n=1
                 18 7 net_dev_start_xmit v2 ns=2 iif=3
                 19 7 net_dev_xmit v2 ns=2
                 20 7 consume_skb at=napi_consume_skb+0x1"
            ),
            &["7 10 TRANSMITTED by v2"],
        );
    }
}

#[test]
fn a_translated_packet_stays_one_life() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.2.2:6 id=4
         15 7 net_dev_queue eth1 iif=3 flow=192.0.2.1:999>10.0.2.2:6
         16 7 net_dev_start_xmit eth1 iif=3
         17 7 net_dev_xmit eth1
         18 7 consume_skb",
        &["7 5 TRANSMITTED by eth1"],
    );
}

#[test]
fn an_encapsulated_packet_stays_one_life() {
    assert_lives(
        "10 7 net_dev_queue vxlan0 flow=10.9.0.1:5>10.9.0.2:6 id=4
         11 7 net_dev_start_xmit vxlan0
         12 7 net_dev_queue eth0 flow=192.0.2.1:50000>192.0.2.2:4789 id=77 tunnel=vxlan
         13 7 net_dev_start_xmit eth0 tunnel=vxlan
         14 7 net_dev_xmit eth0
         15 7 net_dev_xmit vxlan0
         16 7 consume_skb",
        &["7 7 TRANSMITTED by eth0"],
    );
}

#[test]
fn a_decapsulated_packet_stays_one_life() {
    assert_lives(
        "10 7 napi_gro_receive_entry eth0 flow=192.0.2.1:50000>192.0.2.2:4789 id=77 tunnel=vxlan
         11 7 netif_receive_skb eth0 tunnel=vxlan
         12 7 napi_gro_receive_entry vxlan0 flow=10.9.0.1:5>10.9.0.2:6 id=4
         13 7 netif_receive_skb vxlan0
         14 - sk_data_ready ctx=softirq family=inet local=10.9.0.2:6",
        &["7 4 DELIVERED (sk_data_ready)"],
    );
}

#[test]
fn a_bridged_packet_stays_one_life() {
    assert_lives(
        "10 7 netif_rx v1 flow=10.0.0.1:5>10.0.0.2:6 id=0
         11 7 netif_receive_skb v1
         12 7 netif_receive_skb_entry br0 iif=3
         13 7 netif_receive_skb br0 iif=3
         14 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6",
        &["7 4 DELIVERED (sk_data_ready)"],
    );
}

#[test]
fn a_routing_loop_is_one_life() {
    let round = |t: u64| {
        format!(
            "{} 7 net_dev_queue v0 ns=1 iif=2
             {} 7 net_dev_start_xmit v0 ns=1 iif=2
             {} 7 netif_rx v1 ns=2
             {} 7 netif_receive_skb v1 ns=2
             {} 7 net_dev_queue v1 ns=2 iif=2
             {} 7 net_dev_start_xmit v1 ns=2 iif=2
             {} 7 netif_rx v0 ns=1
             {} 7 netif_receive_skb v0 ns=1\n",
            t,
            t + 1,
            t + 2,
            t + 3,
            t + 4,
            t + 5,
            t + 6,
            t + 7
        )
    };
    let start = "1 7 netif_receive_skb eth0 ns=1 flow=10.0.0.1:5>10.9.9.9:6 id=4\n";
    let script = format!("{start}{}{}90 7 kfree_skb IP_TTL at=ip_forward+0x1", round(10), round(20));
    assert_lives(&script, &["7 18 DROPPED IP_TTL at ip_forward+0x1"]);
}

#[test]
fn a_retransmission_at_the_same_address_is_a_new_life() {
    assert_lives(
        "10 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:6 l4=tcp seq=100 id=1
         11 7 net_dev_start_xmit eth0
         12 7 net_dev_xmit eth0
         90 7 net_dev_queue eth0 seq=100 id=2
         91 7 net_dev_start_xmit eth0
         92 7 net_dev_xmit eth0",
        &["7 3 TRANSMITTED by eth0", "7 3 TRANSMITTED by eth0"],
    );
}

#[test]
fn a_packet_that_a_nic_receives_is_not_the_one_it_sent() {
    assert_lives(
        "10 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:6 id=0
         11 7 net_dev_start_xmit eth0
         12 7 net_dev_xmit eth0
         20 7 napi_gro_receive_entry eth0 flow=10.0.0.2:6>10.0.0.1:5 id=0
         21 7 netif_receive_skb eth0",
        &["7 3 TRANSMITTED by eth0", "7 2 OPEN (capture ended)"],
    );
}

#[test]
fn a_packet_dropped_on_output_is_not_the_one_that_was_delivered() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.2:6>10.0.0.1:5 id=0
         11 - sk_data_ready ctx=softirq family=inet local=10.0.0.1:5
         20 7 kfree_skb NETFILTER_DROP at=nft_do_chain+0x1 flow=10.0.0.1:40>10.0.0.9:53 id=0",
        &["7 1 DELIVERED (sk_data_ready)", "7 1 DROPPED NETFILTER_DROP at nft_do_chain+0x1"],
    );
}

#[test]
fn a_busy_driver_gets_the_packet_again() {
    assert_lives(
        "10 7 net_dev_queue eth0 flow=10.0.0.1:5>10.0.0.2:6 id=3
         11 7 net_dev_start_xmit eth0
         12 7 net_dev_xmit eth0 ret=16
         13 7 net_dev_start_xmit eth0
         14 7 net_dev_xmit eth0
         15 7 consume_skb",
        &["7 6 TRANSMITTED by eth0"],
    );
}

#[test]
fn one_announcement_is_evidence_for_one_packet() {
    let (found, _) = lives_with(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         11 8 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=2
         12 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6
         13 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6",
        &Losses::default(),
    );
    assert_eq!(found[0], (7, 1, "OPEN (capture ended)".into()));
    assert_eq!(found[1], (8, 1, "DELIVERED (sk_data_ready)".into()));
}

#[test]
fn announcements_elsewhere_are_no_evidence() {
    let ready = [
        "12 - sk_data_ready ctx=softirq family=packet",
        "12 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:7",
        "12 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6 cpu=3",
        "12 - sk_data_ready ctx=task family=inet local=10.0.0.2:6",
    ];
    for line in ready {
        let script = format!("10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1\n{line}");
        assert_lives(&script, &["7 1 OPEN (capture ended)"]);
    }
}

#[test]
fn copies_and_processed_segments_are_evidence() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         11 8 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=2
         12 7 skb_copy_datagram_iovec
         13 8 tcp_probe
         14 8 consume_skb at=tcp_ack+0x1",
        &["8 3 DELIVERED (tcp_probe)", "7 2 DELIVERED (skb_copy_datagram_iovec)"],
    );
}

#[test]
fn a_drop_after_evidence_is_a_drop() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         11 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6
         12 7 kfree_skb SOCKET_RCVBUFF at=__udp_enqueue_schedule_skb+0x1 id=1",
        &["7 2 DROPPED SOCKET_RCVBUFF at __udp_enqueue_schedule_skb+0x1"],
    );
}

#[test]
fn a_copy_after_the_end_is_an_orphan() {
    let (found, tally) = lives_with(
        "10 7 netif_receive_skb eth0
         11 7 consume_skb
         12 7 skb_copy_datagram_iovec
         13 9 tcp_probe",
        &Losses::default(),
    );
    assert_eq!(found.len(), 1);
    assert_eq!((tally.packet_events, tally.orphans), (4, 2));
}

#[test]
fn an_end_that_may_have_been_lost_is_unknown() {
    let losses = Losses::from_intervals(vec![(15_000, 18_000)], 1);
    let (found, _) = lives_with(
        "10 7 netif_receive_skb eth0 id=1 flow=10.0.0.1:5>10.0.0.2:6
         12 8 netif_receive_skb eth0 id=3 flow=10.0.0.1:5>10.0.0.2:6
         13 8 consume_skb at=tcp_ack+1
         30 7 netif_receive_skb eth0 id=2",
        &losses,
    );
    let outcomes: Vec<&str> = found.iter().map(|(_, _, how)| how.as_str()).collect();
    assert_eq!(outcomes, ["CONSUMED at tcp_ack+1", "UNKNOWN (events were lost)", "OPEN (capture ended)"]);
}

#[test]
fn idle_lives_are_closed() {
    let knowledge = shipped();
    let losses = Losses::default();
    let mut ended = Vec::new();
    let script = Script::new(
        "0 7 netif_receive_skb eth0
         0 7 skb_copy_datagram_iovec
         0 8 netif_receive_skb eth0
         4000000 9 netif_receive_skb eth0
         40000000 a netif_receive_skb eth0
         40000001 7 skb_copy_datagram_iovec",
    );
    let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Summary);
    for event in script.events() {
        lives.push(&event, &mut |life| ended.push((life.skb, event.ts / 1_000_000_000)));
    }
    assert_eq!(ended, [(7, 4), (8, 40), (9, 40)]);
    assert_eq!(lives.tally().orphans, 1);
}

#[test]
fn open_lives_are_bounded() {
    let (knowledge, losses) = (shipped(), Losses::default());
    let total = MAX_OPEN as u64 + 100;
    let script: String = (1..=total).map(|skb| format!("10 {skb:x} netif_receive_skb eth0\n")).collect();
    let script = Script::new(&script);
    let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Rows);
    let mut ended = 0_u64;
    for event in script.events() {
        lives.push(&event, &mut |_| ended += 1);
    }
    assert!(lives.open.len() <= MAX_OPEN && ended > 0);
    lives.finish(&mut |_| ended += 1);
    assert_eq!((ended, lives.kept), (total, 0));
}

#[test]
fn a_life_knows_whether_an_event_matched() {
    let knowledge = shipped();
    let losses = Losses::default();
    let script = Script::new("1 7 netif_receive_skb eth0\n2 8 netif_receive_skb eth1");
    let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Summary)
        .with_filter(|event, _| event.place().dev == "eth1");
    let mut matched = Vec::new();
    for event in script.events() {
        lives.push(&event, &mut |_| {});
    }
    lives.finish(&mut |life| matched.push((life.skb, life.matched)));
    assert_eq!(matched, [(7, false), (8, true)]);
}

/// Any event at one of a few addresses and devices.
fn any_event() -> impl Strategy<Value = String> {
    let probes: Vec<&str> =
        ntc::catalog::probes().iter().filter(|p| p.tracepoint.is_some()).map(|p| p.name).collect();
    let devices = proptest::sample::select(vec!["eth0", "eth1", "lo"]);
    let reasons =
        proptest::sample::select(vec!["NETFILTER_DROP at=nft_do_chain+1", "NO_SOCKET at=ping_rcv+1"]);
    (proptest::sample::select(probes), devices, reasons, 0..5_u64, 0..3_u32, 0..3_u32, 0..2_u32).prop_map(
        |(probe, dev, reason, skb, id, port, iif)| {
            let skb = if skb == 0 { "-".to_owned() } else { format!("{skb:x}") };
            let iif = if iif == 0 { String::new() } else { format!("iif={iif}") };
            format!("{skb} {probe} {dev} {reason} id={id} {iif} ret=0 flow=10.0.0.1:{port}>10.0.0.2:9")
        },
    )
}

proptest! {
    #[test]
    fn nothing_appears_or_vanishes(events in proptest::collection::vec(any_event(), 0..300)) {
        let (knowledge, losses) = (shipped(), Losses::default());
        let lines = events.iter().enumerate().map(|(ts, event)| format!("{ts} {event}\n"));
        let script = Script::new(&lines.collect::<String>());
        let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Rows);
        let (mut ended, mut in_lives) = (0_u64, 0_u64);
        let mut done = |life: &Life<'_>| {
            ended += 1;
            in_lives += u64::from(life.count);
            assert!(life.start <= life.end && life.count > 0);
        };
        for event in script.events() {
            lives.push(&event, &mut done);
        }
        lives.finish(&mut done);
        let mut tally = lives.tally();
        let by_outcome: u64 = OutcomeKind::ALL.iter().map(|(kind, _)| *tally.outcomes.of(*kind)).sum();
        prop_assert_eq!(by_outcome, ended);
        prop_assert_eq!(tally.outcomes.lives, ended);
        prop_assert_eq!(in_lives + tally.orphans, tally.packet_events);
        prop_assert_eq!(tally.packet_events, script.events().filter(|e| e.skb != 0).count() as u64);
    }
}

/// What the new rules are for.
#[test]
fn another_flow_at_the_same_device_is_another_packet_whatever_the_probe() {
    assert_lives(
        "10 7 ip_rcv eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1
         11 7 udp_rcv eth0
         20 7 ip_rcv eth0 flow=10.0.0.3:5>10.0.0.4:6 id=9
         30 7 ip_rcv eth0 flow=10.0.0.3:5>10.0.0.4:6 id=2",
        &["7 2 REUSED (end not observed)", "7 1 REUSED (end not observed)", "7 1 OPEN (capture ended)"],
    );
}

#[test]
fn a_packet_out_of_a_tunnel_stays_one_life() {
    // WireGuard: the header inside has nothing in common, and the device is another.
    assert_lives(
        "10 7 ip_rcv eth0 flow=192.0.2.1:51820>192.0.2.2:51820 id=7 tunnel=wireguard len=156
         11 7 ip_rcv wg0 flow=10.9.0.1:5>10.9.0.2:6 id=4 len=84",
        &["7 2 OPEN (capture ended)"],
    );
    // ESP: the device is the same.
    assert_lives(
        "10 7 ip_rcv eth0 flow=192.0.2.1>192.0.2.2 l4=esp id=7
         11 7 ip_rcv eth0 flow=10.9.0.1:5>10.9.0.2:6 l4=udp id=4",
        &["7 2 OPEN (capture ended)"],
    );
    // A tunnel that no column names: the packet was received before, by another device.
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=192.0.2.1:5555>192.0.2.2:5555 id=7 len=112 ifindex=2
         11 7 netif_receive_skb fou0 flow=10.9.0.1:5>10.9.0.2:6 id=4 len=84 ifindex=3 iif=2",
        &["7 2 OPEN (capture ended)"],
    );
}

#[test]
fn what_did_not_come_out_of_a_tunnel_is_another_packet() {
    let vxlan = "flow=192.0.2.1:999>192.0.2.2:4789 tunnel=vxlan len=134";
    let two = ["7 1 REUSED (end not observed)", "7 1 OPEN (capture ended)"];
    for next in [
        // Not what VXLAN leaves; through the tunnel from one of its ends to the other; long after.
        "11 7 ip_rcv eth1 flow=10.9.0.1:5>10.9.0.2:6 len=85",
        "11 7 ip_rcv eth1 flow=192.0.2.2:5>192.0.2.1:6 len=84",
        "2000010 7 ip_rcv eth1 flow=10.9.0.1:5>10.9.0.2:6 len=84",
    ] {
        assert_lives(&format!("10 7 ip_rcv eth0 {vxlan}\n{next}"), &two);
    }
    // Its length counts from the header of UDP where UDP has it.
    assert_lives(
        "10 7 udp_rcv eth0 flow=192.0.2.1:999>192.0.2.2:4789 tunnel=vxlan len=114
         11 7 tcp_v4_rcv over flow=10.9.0.1:5>10.9.0.2:6 l4=tcp len=64",
        &["7 2 OPEN (capture ended)"],
    );
    // A datagram that may be a tunnel's, for all that is known, where nothing shows that a device handed on what it carried.
    assert_lives(
        "10 7 ip_rcv eth0 flow=192.0.2.1:5555>192.0.2.2:5555 id=7 len=112
         11 7 ip_rcv eth1 flow=10.9.0.1:5>10.9.0.2:6 id=4 len=84",
        &two,
    );
}

#[test]
fn a_segment_that_is_put_into_the_send_queue_is_new() {
    // The one before it was freed by the acknowledgment, which no probe shows.
    assert_lives(
        "10 7 tcp_skb_entail
         11 7 __tcp_transmit_skb
         20 7 tcp_skb_entail
         21 7 __tcp_transmit_skb",
        &["7 2 REUSED (end not observed)", "7 2 OPEN (capture ended)"],
    );
}

#[test]
fn what_a_packet_has_passed_it_does_not_pass_again() {
    let header = "flow=10.0.0.1:5>10.0.0.2:6 len=84";
    let once = format!("10 7 ip_rcv eth0 {header} ttl=64\n 11 7 udp_rcv eth0 ttl=64 len=64");
    // The same function again, one before it, and the last one again, each at the same device with the same TTL.
    for again in ["ip_rcv", "udp_rcv"] {
        assert_lives(
            &format!("{once}\n20 7 {again} eth0 {header} ttl=64"),
            &["7 2 REUSED (end not observed)", "7 1 OPEN (capture ended)"],
        );
    }
    // Another sender of the same service.
    assert_lives(
        &format!("{once}\n20 7 ip_rcv eth0 flow=10.0.0.9:5>10.0.0.2:6 len=84 ttl=60"),
        &["7 2 REUSED (end not observed)", "7 1 OPEN (capture ended)"],
    );
    // Two routers that send a packet to each other.
    assert_lives(
        &format!(
            "10 7 ip_rcv eth0 {header} ttl=64
             20 7 ip_rcv eth0 {header} ttl=62"
        ),
        &["7 2 OPEN (capture ended)"],
    );
    // A device that hands a packet on to another one above it.
    assert_lives(
        &format!("10 7 ip_rcv eth0 {header} ttl=64\n11 7 ip_rcv br0 {header} ttl=64"),
        &["7 2 OPEN (capture ended)"],
    );
}

#[test]
fn a_task_that_polls_delivers() {
    let received = "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1 ctx=task pid=9";
    let ready = "12 - sk_data_ready family=inet local=10.0.0.2:6";
    assert_lives(&format!("{received}\n{ready} ctx=task pid=9"), &["7 1 DELIVERED (sk_data_ready)"]);
    for other in ["ctx=task pid=8", "ctx=softirq", "ctx=task pid=9 cpu=1"] {
        assert_lives(&format!("{received}\n{ready} {other}"), &["7 1 OPEN (capture ended)"]);
    }
}

#[test]
fn an_answer_of_a_driver_is_about_the_packet_that_it_was_given() {
    // The packet was received and its address has another one by then.
    let (found, tally) = lives_with(
        "10 7 net_dev_queue v0 ns=1 flow=10.0.0.1:5>10.0.2.2:6 id=4
         11 7 net_dev_start_xmit v0 ns=1
         12 7 netif_rx v1 ns=2 cpu=1
         13 7 consume_skb cpu=1
         14 7 net_dev_queue v0 ns=1 cpu=1 flow=10.0.0.1:5>10.0.2.2:6 id=5
         15 7 net_dev_start_xmit v0 ns=1 cpu=1
         16 7 net_dev_xmit v0 ns=1
         17 7 net_dev_xmit v0 ns=1 cpu=1",
        &Losses::default(),
    );
    let counts: Vec<u32> = found.iter().map(|(_, count, _)| *count).collect();
    assert_eq!((counts, tally.orphans), (vec![4, 3], 1));
}

#[test]
fn calls_without_a_recorded_return_are_not_awaited() {
    let knowledge = shipped();
    let losses = Losses::default();
    let script = Script::new(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.0.2:6 id=1 n=1
         11 7 ip_rcv_finish eth0 n=2
         12 7 kfree_skb IP_INHDR at=ip_rcv_core+0x1 n=3",
    );
    let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Summary);
    let mut ended = 0;
    for event in script.events() {
        lives.push(&event, &mut |_| ended += 1);
    }
    assert_eq!(ended, 1, "it ended at once");
}

#[test]
fn a_packet_that_was_cut_behind_its_queue_is_not_the_next_one_at_its_address() {
    // Profile net: neither what the driver gets nor the free of what was cut is recorded.
    assert_lives(
        "10 7 netif_receive_skb left ns=1 iif=2 flow=10.77.1.2:40000>10.77.2.2:7104 l4=tcp seq=100 id=7
         11 7 net_dev_queue right ns=1 iif=2
         20 7 net_dev_queue eth0 ns=2 flow=10.77.2.2:7104>10.77.1.2:40000 l4=tcp seq=900 id=55
         21 7 netif_receive_skb right ns=1 iif=3
         22 7 net_dev_queue left ns=1 iif=3
         23 7 netif_receive_skb eth0 ns=3 iif=2
         24 7 tcp_probe",
        &["7 2 REUSED (end not observed)", "7 5 DELIVERED (tcp_probe)"],
    );
}

#[test]
fn of_two_packets_that_a_host_sends_and_cuts_each_is_a_life() {
    assert_lives(
        "10 7 net_dev_queue eth0 ns=1 flow=10.77.1.2:40000>10.77.2.2:7104 l4=tcp seq=100 id=7
         20 7 net_dev_queue eth1 ns=1 flow=10.77.1.2:40001>10.77.3.2:7104 l4=tcp seq=900 id=55",
        &["7 1 REUSED (end not observed)", "7 1 OPEN (capture ended)"],
    );
}

#[test]
fn what_no_tunnel_explains_is_another_packet() {
    // The outer header again after the inner one; another protocol; another payload of the same flow.
    assert_lives(
        "10 7 ip_rcv eth0 flow=192.0.2.1:999>192.0.2.2:4789 tunnel=vxlan len=134
         11 7 ip_rcv vxlan0 flow=10.9.0.1:5>10.9.0.2:6 len=84 payload=1
         20 7 ip_rcv eth1 flow=192.0.2.1:999>192.0.2.2:4789 tunnel=vxlan len=134
         30 7 ip_rcv eth2 flow=10.9.0.1>10.9.0.9 l4=icmp len=134
         40 7 udp_rcv eth0 flow=10.9.0.1:5>10.9.0.2:6 l4=udp len=64 payload=1
         50 7 udp_rcv eth1 flow=10.9.0.1:5>10.9.0.2:6 l4=udp len=64 payload=2",
        &[
            "7 2 REUSED (end not observed)",
            "7 1 REUSED (end not observed)",
            "7 1 REUSED (end not observed)",
            "7 1 REUSED (end not observed)",
            "7 1 OPEN (capture ended)",
        ],
    );
}

#[test]
fn a_packet_of_which_both_ends_are_translated_stays_one_life() {
    assert_lives(
        "10 7 netif_receive_skb eth0 flow=10.0.0.1:5>10.0.2.2:6 payload=3 iif=2
         15 7 net_dev_queue eth0 iif=2 flow=192.0.2.1:999>192.0.2.9:6 payload=3
         16 7 net_dev_start_xmit eth0 iif=2
         17 7 net_dev_xmit eth0
         18 7 consume_skb",
        &["7 5 TRANSMITTED by eth0"],
    );
}

#[test]
fn a_packet_that_rests_in_a_driver_stays_one_life() {
    assert_lives(
        "10 7 net_dev_queue over flow=10.77.3.3:5>10.77.3.2:6 id=4
         11 7 net_dev_start_xmit over
         12 7 ip_output kind=pkt flow=10.77.2.2:60865>10.77.1.2:4789 id=77 tunnel=vxlan
         10313 7 net_dev_queue eth0 tunnel=vxlan
         10314 7 net_dev_start_xmit eth0 tunnel=vxlan
         10315 7 net_dev_xmit eth0
         10316 7 net_dev_xmit over
         10317 7 consume_skb",
        &["7 8 TRANSMITTED by eth0"],
    );
}

#[test]
fn a_packet_in_the_backlog_is_not_the_one_that_a_socket_announces() {
    assert_lives(
        "10 9 netif_receive_skb eth0 ns=3 iif=2 flow=10.0.0.1:5>10.0.0.2:6 id=9
         11 7 netif_rx right ns=2 flow=10.0.0.2>10.0.0.1 l4=icmp id=1
         12 9 udp_rcv kind=pkt eth0 ns=3 iif=2
         13 - sk_data_ready ctx=softirq family=inet local=10.0.0.2:6
         14 7 netif_receive_skb right ns=2 iif=3
         15 7 net_dev_queue left ns=2 iif=3",
        &["9 2 DELIVERED (sk_data_ready)", "7 3 OPEN (capture ended)"],
    );
}

#[test]
fn a_header_that_is_not_filled_in_yet_tells_nothing() {
    assert_lives(
        "10 7 ip_build_and_send_pkt flow=127.0.0.1>127.0.0.1 l4=0
         11 7 __ip_local_out flow=127.0.0.1:7105>127.0.0.1:4465 l4=tcp seq=0 payload=1
         12 7 ip_output flow=127.0.0.1:7105>127.0.0.1:4465 l4=tcp seq=365927507 flags=SA payload=2
         13 7 net_dev_queue lo flow=127.0.0.1:7105>127.0.0.1:4465 l4=tcp flags=SA",
        &["7 4 OPEN (capture ended)"],
    );
}

#[test]
fn a_packet_whose_headers_are_being_moved_stays_one_life() {
    // esp_output of 6.1: the ICMP header is read where the IP header was.
    assert_lives(
        "10 7 xfrm_output_resume flow=10.77.1.2>10.77.2.2 l4=icmp id=21023 echo=888/1
         11 7 esp_output flow=10.77.1.2>10.77.2.2 l4=icmp id=21023 echo=17664/84
         12 7 esp_output kind=link child=7 says=encapsulation
         13 7 esp_output_tail flow=10.77.1.2>10.77.2.2 l4=esp id=21023",
        &["7 4 OPEN (capture ended)"],
    );
}
