//! The kernel's enums, with the names as people write them.

use std::collections::BTreeMap;

use super::btf::Btf;

/// The kernel's enums that a capture needs, with the names as people write them.
pub struct Enums {
    /// `skb_drop_reason`, subsystems included.
    pub drop: BTreeMap<u32, String>,
    /// `sk_rst_reason`; empty where resets give no reason.
    pub reset: BTreeMap<u32, String>,
    /// TCP states.
    pub tcp: BTreeMap<u32, String>,
}

/// Reads the enums from BTF: their values differ between kernels.
pub fn read(btf: &Btf) -> Enums {
    let mut drop = members(btf, "skb_drop_reason", &["SKB_DROP_REASON_"]);
    drop.retain(|value, _| *value < 1 << 16);
    for (number, subsystem) in members(btf, "skb_drop_reason_subsys", &["SKB_DROP_REASON_SUBSYS_"]) {
        drop.extend(subsystem_reasons(btf, number, &subsystem));
    }
    Enums {
        drop,
        reset: members(btf, "sk_rst_reason", &["SK_RST_REASON_"]),
        tcp: TCP_STATES.iter().map(|(value, name)| (*value, (*name).to_owned())).collect(),
    }
}

/// The reasons of one subsystem, with its number in the upper 16 bits.
fn subsystem_reasons(btf: &Btf, number: u32, subsystem: &str) -> BTreeMap<u32, String> {
    let name = match subsystem {
        "OPENVSWITCH" => "ovs_drop_reason",
        "MAC80211_UNUSABLE" | "MAC80211_MONITOR" => "mac80211_drop_reason",
        "QDISC" => "qdisc_drop_reason",
        _ => return BTreeMap::new(),
    };
    let mut found = members(btf, name, &["___"]);
    for module in ["openvswitch", "mac80211"].iter().filter_map(|module| btf.module(module).ok()) {
        found.extend(members(&module, name, &["___"]));
    }
    found.into_iter().map(|(value, name)| ((number << 16) | (value & 0xffff), name)).collect()
}

/// The members of an enum by value, without their common prefix.
fn members(btf: &Btf, name: &str, prefixes: &[&str]) -> BTreeMap<u32, String> {
    let short = btf.members(name).into_iter().map(|(value, name)| {
        let short = prefixes.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        (value, short.to_owned())
    });
    short.filter(|(_, name)| name != "MAX" && name != "SUBSYS_MASK").collect()
}

/// States of `inet_sock_set_state`: include/net/tcp_states.h, part of the kernel's user interface.
pub const TCP_STATES: [(u32, &str); 13] = [
    (1, "ESTABLISHED"),
    (2, "SYN_SENT"),
    (3, "SYN_RECV"),
    (4, "FIN_WAIT1"),
    (5, "FIN_WAIT2"),
    (6, "TIME_WAIT"),
    (7, "CLOSE"),
    (8, "CLOSE_WAIT"),
    (9, "LAST_ACK"),
    (10, "LISTEN"),
    (11, "CLOSING"),
    (12, "NEW_SYN_RECV"),
    (13, "BOUND_INACTIVE"),
];

/// Neighbour states: include/uapi/linux/neighbour.h.
pub const NUD_STATES: [(u32, &str); 9] = [
    (0x00, "NONE"),
    (0x01, "INCOMPLETE"),
    (0x02, "REACHABLE"),
    (0x04, "STALE"),
    (0x08, "DELAY"),
    (0x10, "PROBE"),
    (0x20, "FAILED"),
    (0x40, "NOARP"),
    (0x80, "PERMANENT"),
];

/// Congestion states: `enum tcp_ca_state`, include/uapi/linux/tcp.h.
pub const CA_STATES: [&str; 5] = ["Open", "Disorder", "CWR", "Recovery", "Loss"];
