//! What this kernel's BTF says: the arguments of its tracepoints, and its enums.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use ntc::catalog::{self, Take};

use crate::bpf::types::{constant, role};
use crate::btf::{Btf, Prototype, Type};

/// The place of an argument that a tracepoint does not have.
pub const NO_ARGUMENT: u8 = constant::NO_ARGUMENT.0 as u8;

/// The place of each [`role`] among the arguments of a tracepoint or function.
pub type Arguments = [u8; role::ROLE_MAX.0 as usize];

/// No arguments at all.
pub const NOTHING: Arguments = [NO_ARGUMENT; role::ROLE_MAX.0 as usize];

/// Finds the arguments of a tracepoint by their types.
///
/// Positions differ between kernels: `kfree_skb` has had three signatures.
pub fn tracepoint(btf: &Btf, entry: &catalog::Probe) -> Result<Arguments> {
    let Some(prototype) = btf.tracepoint(entry.name) else {
        bail!("this kernel has no such tracepoint");
    };
    let found = assign(&prototype);
    if entry.takes.iter().any(|takes| found[role_of(*takes).0 as usize] == NO_ARGUMENT) {
        bail!("its arguments on this kernel are not the expected ones");
    }
    Ok(found)
}

/// The role that an argument of the catalog has.
pub fn role_of(takes: Take) -> role {
    match takes {
        Take::Skb => role::ROLE_SKB,
        Take::SkbPointer => role::ROLE_SKB_REF,
        Take::Sk => role::ROLE_SK,
        Take::Socket => role::ROLE_SOCKET,
        Take::PktInfo => role::ROLE_PKTINFO,
        Take::TraceInfo => role::ROLE_TRACEINFO,
        Take::Neigh => role::ROLE_NEIGH,
    }
}

/// Gives each argument the first role that fits its type and is still free.
pub fn assign(prototype: &Prototype) -> Arguments {
    let mut found = NOTHING;
    for (position, ty) in prototype.parameters.iter().enumerate() {
        if *ty == Type::Aggregate {
            // It takes as many registers as it needs: what comes after it cannot be found.
            return found;
        }
        let free = roles_of(ty).iter().find(|r| found[r.0 as usize] == NO_ARGUMENT);
        if let Some(fitting) = free {
            found[fitting.0 as usize] = position as u8;
        }
    }
    found[role::ROLE_RETURN.0 as usize] = prototype.parameters.len() as u8;
    found
}

/// The roles that an argument of this type can have.
fn roles_of(ty: &Type) -> &'static [role] {
    match ty {
        Type::Pointer(name) => pointer_roles(name),
        Type::Reference(name) if name == "sk_buff" => &[role::ROLE_SKB_REF],
        Type::Enum(name) if ["skb_drop_reason", "sk_rst_reason"].contains(&name.as_str()) => {
            &[role::ROLE_REASON]
        }
        Type::Integer(..) => &[role::ROLE_FIRST, role::ROLE_SECOND, role::ROLE_THIRD],
        _ => &[],
    }
}

/// The roles of a pointer to a struct of this name; that of `void *` is empty.
fn pointer_roles(name: &str) -> &'static [role] {
    match name {
        "" => &[role::ROLE_LOCATION],
        "sk_buff" => &[role::ROLE_SKB, role::ROLE_SKB2],
        "sock" => &[role::ROLE_SK],
        "neighbour" => &[role::ROLE_NEIGH],
        "net_device" => &[role::ROLE_DEV],
        "request_sock" => &[role::ROLE_REQUEST],
        "nft_pktinfo" => &[role::ROLE_PKTINFO],
        "socket" => &[role::ROLE_SOCKET],
        "nf_hook_state" => &[role::ROLE_STATE],
        "xt_table" => &[role::ROLE_TABLE],
        "nf_hook_entries" => &[role::ROLE_ENTRIES],
        "nft_traceinfo" => &[role::ROLE_TRACEINFO],
        "nft_verdict" => &[role::ROLE_VERDICT],
        "nft_rule_dp" => &[role::ROLE_RULE],
        _ => &[],
    }
}

/// How arguments were resolved, for the capture's metadata: `skb=0 location=1`.
pub fn describe(arguments: &Arguments) -> String {
    const NAMES: [&str; role::ROLE_MAX.0 as usize] = [
        "skb",
        "sk",
        "reason",
        "location",
        "neigh",
        "dev",
        "request",
        "first",
        "second",
        "third",
        "skb2",
        "skb_ref",
        "pktinfo",
        "socket",
        "state",
        "table",
        "entries",
        "traceinfo",
        "verdict",
        "rule",
        "return",
    ];
    let known = NAMES.iter().zip(arguments).filter(|(_, position)| **position != NO_ARGUMENT);
    known.map(|(name, position)| format!("{name}={position}")).collect::<Vec<_>>().join(" ")
}

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
pub fn enums(btf: &Btf) -> Enums {
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
