//! The catalog is whole, and reads values rightly.

use super::*;

/// Every target of nettrace's traces.
const NETTRACE: [&str; 158] = [
    "napi_gro_receive_entry",
    "dev_gro_receive",
    "enqueue_to_backlog",
    "netif_receive_generic_xdp",
    "xdp_do_generic_redirect",
    "__netif_receive_skb_core",
    "__dev_queue_xmit",
    "dev_hard_start_xmit",
    "tcf_classify",
    "cls_bpf_classify",
    "tcf_bpf_act",
    "qdisc_dequeue",
    "qdisc_enqueue",
    "ipvlan_queue_xmit",
    "ipvlan_handle_frame",
    "ipvlan_rcv_frame",
    "ipvlan_xmit_mode_l3",
    "ipvlan_process_v4_outbound",
    "br_nf_pre_routing",
    "br_nf_forward_ip",
    "br_nf_forward_arp",
    "br_nf_post_routing",
    "arp_rcv",
    "arp_process",
    "bond_dev_queue_xmit",
    "__iptunnel_pull_header",
    "vxlan_rcv",
    "vxlan_xmit_one",
    "vlan_do_receive",
    "vlan_dev_hard_start_xmit",
    "netdev_port_receive",
    "ovs_vport_receive",
    "ovs_dp_process_packet",
    "packet_rcv",
    "tpacket_rcv",
    "packet_direct_xmit",
    "ipt_do_table",
    "nft_do_chain",
    "nf_nat_manip_pkt",
    "nf_hook_slow",
    "ipv4_confirm",
    "nf_confirm",
    "ipv4_conntrack_in",
    "nf_conntrack_in",
    "ipv4_pkt_to_tuple",
    "tcp_new",
    "tcp_pkt_to_tuple",
    "resolve_normal_ct",
    "tcp_packet",
    "tcp_in_window",
    "__nf_ct_refresh_acct",
    "ip_rcv",
    "ip_rcv_core",
    "ip_rcv_finish",
    "ip_local_deliver",
    "ip_local_deliver_finish",
    "ip_forward",
    "ip_forward_finish",
    "ip6_forward",
    "ip6_rcv_finish",
    "ip6_rcv_core",
    "ipv6_rcv",
    "__ip_queue_xmit",
    "__ip_local_out",
    "ip_output",
    "ip_finish_output",
    "ip_finish_output_gso",
    "ip_finish_output2",
    "ip6_output",
    "ip6_finish_output",
    "ip6_finish_output2",
    "ip6_send_skb",
    "ip6_local_out",
    "xfrm4_output",
    "xfrm_output",
    "xfrm_output2",
    "xfrm_output_gso",
    "xfrm_output_resume",
    "xfrm4_transport_output",
    "xfrm4_prepare_output",
    "xfrm4_policy_check",
    "xfrm4_rcv",
    "xfrm_input",
    "xfrm4_transport_input",
    "ah_output",
    "esp_output",
    "esp_output_tail",
    "ah_input",
    "esp_input",
    "fib_validate_source",
    "ip_route_input_slow",
    "tcp_v4_rcv",
    "tcp_v6_rcv",
    "tcp_filter",
    "tcp_child_process",
    "tcp_v4_send_reset",
    "tcp_v6_send_reset",
    "tcp_v4_do_rcv",
    "tcp_v6_do_rcv",
    "tcp_rcv_established",
    "tcp_rcv_state_process",
    "tcp_queue_rcv",
    "tcp_data_queue_ofo",
    "tcp_ack_probe",
    "tcp_ack",
    "tcp_probe_timer",
    "tcp_send_probe0",
    "__inet_lookup_listener",
    "inet6_lookup_listener",
    "tcp_bad_csum",
    "tcp_sendmsg_locked",
    "tcp_skb_entail",
    "skb_entail",
    "__tcp_push_pending_frames",
    "__tcp_transmit_skb",
    "__tcp_retransmit_skb",
    "tcp_rate_skb_delivered",
    "udp_rcv",
    "udp_unicast_rcv_skb",
    "udp_queue_rcv_skb",
    "xfrm4_udp_encap_rcv",
    "xfrm4_rcv_encap",
    "__udp_queue_rcv_skb",
    "__udp_enqueue_schedule_skb",
    "icmp_rcv",
    "icmp_echo",
    "icmp_reply",
    "icmpv6_rcv",
    "icmpv6_echo_reply",
    "ping_rcv",
    "__ping_queue_rcv_skb",
    "ping_queue_rcv_skb",
    "ping_lookup",
    "inet_listen",
    "tcp_v4_destroy_sock",
    "tcp_close",
    "tcp_send_active_reset",
    "tcp_ack_update_rtt",
    "tcp_write_timer_handler",
    "tcp_retransmit_timer",
    "tcp_enter_recovery",
    "tcp_enter_loss",
    "tcp_try_keep_open",
    "tcp_enter_cwr",
    "tcp_fastretrans_alert",
    "tcp_rearm_rto",
    "tcp_event_new_data_sent",
    "tcp_schedule_loss_probe",
    "tcp_rtx_synack",
    "tcp_retransmit_skb",
    "tcp_rcv_spurious_retrans",
    "tcp_dsack_set",
    "skb_clone",
    "consume_skb",
    "kfree_skb",
    "__kfree_skb",
    "kfree_skb_partial",
    "skb_attempt_defer_free",
];

/// Every group of nettrace's that has traces.
const NETTRACE_GROUPS: [&str; 27] = [
    "link-in",
    "link-out",
    "sched",
    "ipvlan",
    "bridge",
    "arp",
    "bonding",
    "vxlan",
    "vlan",
    "ovs",
    "pkt-in",
    "pkt-output",
    "netfilter",
    "conntrack",
    "ip-in",
    "ip-out",
    "xfrm",
    "esp",
    "ip-route",
    "tcp-in",
    "tcp-out",
    "udp-in",
    "icmp-in",
    "tcp-state",
    "tcp-congestion",
    "tcp-retrans",
    "life",
];

#[test]
fn all_traces_of_nettrace_are_there() {
    let missing: Vec<_> = NETTRACE.iter().filter(|n| by_name(n).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(by_name("ipt_do_table_legacy").is_some());
    assert!(probes().len() > 2 * NETTRACE.len());
}

#[test]
fn nettraces_defaults_are_kept() {
    let off = NETTRACE.iter().filter(|n| by_name(n).is_some_and(|p| p.profile == Profile::All)).count();
    assert_eq!(off, 19);
}

#[test]
fn groups_come_in_nettraces_order_and_have_probes() {
    let first: Vec<_> = groups().iter().map(|g| g.name).take(NETTRACE_GROUPS.len()).collect();
    assert_eq!(first, NETTRACE_GROUPS);
    let empty: Vec<_> = groups().iter().filter(|g| in_group(g.name).next().is_none()).collect();
    assert!(empty.is_empty(), "{empty:?}");
    assert!(group("nowhere").is_none());
}

#[test]
fn stages_and_meanings_are_used() {
    for stage in stages() {
        assert!(probes().iter().any(|p| p.stage.is_some_and(|s| s.order == stage.order)), "{}", stage.name);
    }
    for returns in returns() {
        assert!(
            probes().iter().any(|p| p.returns.is_some_and(|r| r.name == returns.name)),
            "{}",
            returns.name
        );
    }
}

#[test]
fn functions_have_symbols_and_tracepoints_have_none() {
    for probe in probes() {
        assert_eq!(probe.tracepoint.is_some(), probe.symbols.is_empty(), "{}", probe.name);
        let end = probe.tracepoint.and_then(|t| t.split_once(':'));
        assert!(end.is_none_or(|(_, name)| name == probe.name), "{}", probe.name);
    }
}

#[test]
fn no_function_belongs_to_two_probes() {
    let mut symbols: Vec<_> = probes().iter().flat_map(|p| p.symbols).collect();
    symbols.sort();
    let twice: Vec<_> = symbols.windows(2).filter(|w| w[0] == w[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn every_name_is_found() {
    for probe in probes() {
        for name in probe.also.iter().chain([&probe.name]) {
            assert_eq!(by_name(name).map(|found| found.name), Some(probe.name), "{name}");
        }
    }
    for nobody in ["", "kfree", "kfree_skbx", "zzz"] {
        assert!(by_name(nobody).is_none(), "{nobody}");
    }
}

#[test]
fn a_probe_says_what_its_kind_says_or_its_own_word() {
    let effect = |name: &str| by_name(name).map(|p| (p.effect, p.two_way));
    for (name, says) in [
        ("net_dev_queue", (Effect::Queue, false)),
        ("ip_rcv", (Effect::Call, false)),
        ("skb_clone", (Effect::Call, false)),
        ("nf_hook_slow", (Effect::Call, false)),
        ("nft_trace_notify", (Effect::Rule, false)),
        ("__kfree_skb", (Effect::Free, false)),
        ("tcp_ack_update_rtt", (Effect::Note, true)),
        ("sk_data_ready", (Effect::DataReady, true)),
        ("neigh_create", (Effect::Note, false)),
    ] {
        assert_eq!(effect(name), Some(says), "{name}");
    }
}

#[test]
fn returns_are_recorded_where_they_say_something() {
    let returns = |name: &str| by_name(name).map(Probe::has_return);
    for (name, expected) in [
        ("ipt_do_table", true),     // a verdict
        ("skb_clone", true),        // the clone
        ("__dev_queue_xmit", true), // a value with meanings
        ("ip_rcv", false),
        ("nft_trace_notify", false), // recorded at its call
        ("net_dev_xmit", false),     // a tracepoint, whose value is an argument
    ] {
        assert_eq!(returns(name), Some(expected), "{name}");
    }
}

#[test]
fn a_stage_has_a_direction() {
    let of =
        |name: &str| stages().iter().find(|s| s.name == name).map(|s| (s.direction, s.at_network_header));
    assert_eq!(of("driver"), Some((Direction::Entry, true)));
    assert_eq!(of("receive"), Some((Direction::In, true)));
    assert_eq!(of("ip-in"), Some((Direction::In, false)));
    assert_eq!(of("qdisc"), Some((Direction::Out, false)));
    assert_eq!(of("netfilter"), Some((Direction::Any, false)));
}

#[test]
fn a_register_is_read_by_its_type() {
    let minus_one = u64::from(u32::MAX);
    for (kind, register, value) in [
        (Type::S32, minus_one, -1),
        (Type::U32, minus_one, i64::from(u32::MAX)),
        (Type::S64, minus_one, i64::from(u32::MAX)),
        (Type::Bool, 0xff00, 0),
        (Type::Bool, 0xff01, 1),
        (Type::Pointer, u64::MAX - 21, -22),
    ] {
        assert_eq!(kind.read(register), value, "{kind:?} {register:#x}");
    }
}

/// Name and level of what a function's return value means, as it is in the register.
fn meaning(probe: &str, register: u64) -> Option<(&'static str, Level)> {
    let returns = by_name(probe).and_then(|p| p.returns)?;
    returns.meaning(returns.kind.read(register)).map(|m| (m.name, m.level))
}

/// A negative 32-bit value in a register whose upper half is zero.
fn negative(value: i32) -> u64 {
    u64::from(value as u32)
}

#[test]
fn return_values_mean_what_the_kernel_means() {
    use Level::{Error, Info, Warning};
    /// An address of the kernel.
    const ADDRESS: u64 = 0xffff_8880_0123_4500;
    for (probe, register, expected) in [
        ("ipt_do_table", 0, ("NF_DROP", Error)),
        ("ipt_do_table", 1, ("NF_ACCEPT", Info)),
        ("nft_do_chain", negative(-1) << 16, ("NF_DROP", Error)),
        ("nft_do_chain", 0x0005_0003, ("NF_QUEUE", Info)),
        ("nf_hook_slow", 1, ("NF_ACCEPT", Info)),
        ("nf_hook_slow", negative(-1), ("NF_DROP", Error)),
        ("nf_hook_slow", negative(-113), ("NF_DROP", Error)),
        ("tcp_packet", negative(-1), ("", Warning)),
        ("tcp_packet", 1, ("NF_ACCEPT", Info)),
        ("dev_gro_receive", 4, ("GRO_CONSUMED", Info)),
        ("fib_validate_source", 1, ("", Info)),
        ("fib_validate_source", negative(-18), ("EXDEV", Error)),
        ("fib_validate_source", negative(-22), ("", Error)),
        ("ip_route_input_slow", 0, ("", Info)),
        ("ip_route_input_slow", negative(-22), ("", Error)),
        ("ip_route_input_slow", 70, ("", Error)),
        ("ping_lookup", 0, ("", Info)),
        ("__inet_lookup_listener", 0, ("", Info)),
        ("__inet_lookup_listener", ADDRESS, ("", Info)),
        ("__dev_queue_xmit", 0, ("NET_XMIT_SUCCESS", Info)),
        ("__dev_queue_xmit", 1, ("NET_XMIT_DROP", Error)),
        ("__dev_queue_xmit", 2, ("NET_XMIT_CN", Info)),
        ("__dev_queue_xmit", negative(-100), ("", Error)),
        ("netif_receive_generic_xdp", 2, ("XDP_PASS", Info)),
        ("netif_receive_generic_xdp", 0, ("XDP_ABORTED", Error)),
        ("skb_clone", 0, ("", Error)),
        ("skb_clone", ADDRESS, ("", Info)),
        ("skb_segment", negative(-22) | 0xffff_ffff_0000_0000, ("", Error)),
        ("skb_segment", ADDRESS, ("", Info)),
        ("ip_defrag", negative(-115), ("EINPROGRESS", Info)),
        ("tcp_add_backlog", 1, ("", Error)),
        ("__udp_enqueue_schedule_skb", negative(-12), ("ENOMEM", Error)),
    ] {
        assert_eq!(meaning(probe, register), Some(expected), "{probe} {register:#x}");
    }
}

#[test]
fn a_value_nobody_knows_means_nothing() {
    assert_eq!(meaning("ipt_do_table", 77), None);
    assert_eq!(meaning("tcf_classify", 99), None);
}

#[test]
fn being_called_means_something() {
    let called = |name: &str| by_name(name).and_then(|p| p.called.as_ref()).map(|m| m.level);
    assert_eq!(called("nf_nat_manip_pkt"), Some(Level::Info));
    assert_eq!(called("tcp_bad_csum"), Some(Level::Error));
    assert_eq!(called("tcp_retransmit_timer"), Some(Level::Warning));
    assert_eq!(called("ip_rcv"), None);
}
