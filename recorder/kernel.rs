//! What this kernel's BTF says: the arguments of its tracepoints, and its enums.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use libbpf_rs::ReferencesType;
use libbpf_rs::btf::types::{Enum, FuncProto, Ptr, Typedef};
use libbpf_rs::btf::{Btf, BtfKind, BtfType, TypeId};

use crate::bpf::types::role;
use crate::probes::Tracepoint;

/// The place of an argument that a tracepoint does not have.
pub const NO_ARGUMENT: u8 = 0xff;

/// The place of each [`role`] among a tracepoint's arguments.
pub type Arguments = [u8; role::ROLE_MAX.0 as usize];

/// Where the kernel keeps its BTF.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Loads the kernel's BTF.
pub fn btf() -> Result<Btf<'static>> {
    if !Path::new(VMLINUX).exists() {
        bail!("this kernel has no BTF ({VMLINUX} is missing): it must be built with CONFIG_DEBUG_INFO_BTF=y");
    }
    Btf::from_vmlinux().with_context(|| format!("cannot read the kernel's BTF in {VMLINUX}"))
}

/// Finds the arguments of a tracepoint by their types.
///
/// Positions differ between kernels: `kfree_skb` has had three signatures.
pub fn arguments(btf: &Btf<'_>, tracepoint: &Tracepoint) -> Result<Arguments> {
    let name = format!("btf_trace_{}", tracepoint.name);
    let Some(definition) = btf.type_by_name::<Typedef<'_>>(&name) else {
        bail!("this kernel has no such tracepoint");
    };
    let pointer = definition.referenced_type().skip_mods_and_typedefs();
    let prototype = target_of(&pointer).and_then(|t| FuncProto::try_from(t).ok());
    let prototype = prototype.context("its type in BTF is not a function")?;
    // The first parameter is the tracepoint's own data.
    let types: Vec<TypeId> = prototype.iter().skip(1).map(|p| p.ty).collect();
    let found = assign(btf, &types);
    for needed in tracepoint.needs {
        if found[needed.0 as usize] == NO_ARGUMENT {
            bail!("its arguments on this kernel are not the expected ones");
        }
    }
    Ok(found)
}

/// The type behind an id, without `const` and typedefs.
fn target<'a>(btf: &'a Btf<'_>, id: TypeId) -> Option<BtfType<'a>> {
    btf.type_by_id::<BtfType<'a>>(id).map(|t| t.skip_mods_and_typedefs())
}

/// What a pointer type points to.
fn target_of<'a>(pointer: &BtfType<'a>) -> Option<BtfType<'a>> {
    Some(Ptr::try_from(*pointer).ok()?.referenced_type().skip_mods_and_typedefs())
}

/// Gives each argument the first role that fits its type and is still free.
fn assign(btf: &Btf<'_>, types: &[TypeId]) -> Arguments {
    let mut found = [NO_ARGUMENT; role::ROLE_MAX.0 as usize];
    for (position, id) in types.iter().enumerate() {
        let Some(ty) = target(btf, *id) else { continue };
        let free = roles_of(&ty).iter().find(|r| found[r.0 as usize] == NO_ARGUMENT);
        if let Some(fitting) = free {
            found[fitting.0 as usize] = position as u8;
        }
    }
    found
}

/// The roles that an argument of this type can have.
fn roles_of(ty: &BtfType<'_>) -> &'static [role] {
    match ty.kind() {
        BtfKind::Ptr => pointer_roles(target_of(ty).as_ref()),
        BtfKind::Enum => match ty.name().and_then(|n| n.to_str()) {
            Some("skb_drop_reason" | "sk_rst_reason") => &[role::ROLE_REASON],
            _ => &[],
        },
        BtfKind::Int => &[role::ROLE_FIRST, role::ROLE_SECOND],
        _ => &[],
    }
}

/// The roles of a pointer to this type; none is `void *`.
fn pointer_roles(to: Option<&BtfType<'_>>) -> &'static [role] {
    let named = to.filter(|t| t.kind() != BtfKind::Void);
    match named.map(|t| t.name().and_then(|n| n.to_str()).unwrap_or_default()) {
        None => &[role::ROLE_LOCATION],
        Some("sk_buff") => &[role::ROLE_SKB],
        Some("sock") => &[role::ROLE_SK],
        Some("neighbour") => &[role::ROLE_NEIGH],
        Some("net_device") => &[role::ROLE_DEV],
        Some("request_sock") => &[role::ROLE_REQUEST],
        Some(_) => &[],
    }
}

/// How arguments were resolved, for the capture's metadata: `skb=0 location=1`.
pub fn describe(arguments: &Arguments) -> String {
    const NAMES: [&str; role::ROLE_MAX.0 as usize] =
        ["skb", "sk", "reason", "location", "neigh", "dev", "request", "first", "second"];
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
pub fn enums(btf: &Btf<'_>) -> Enums {
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
fn subsystem_reasons(btf: &Btf<'_>, number: u32, subsystem: &str) -> BTreeMap<u32, String> {
    let name = match subsystem {
        "OPENVSWITCH" => "ovs_drop_reason",
        "MAC80211_UNUSABLE" | "MAC80211_MONITOR" => "mac80211_drop_reason",
        "QDISC" => "qdisc_drop_reason",
        _ => return BTreeMap::new(),
    };
    let mut found = members(btf, name, &["___"]);
    for path in modules() {
        if let Ok(module) = Btf::from_path(path) {
            found.extend(members(&module, name, &["___"]));
        }
    }
    found.into_iter().map(|(value, name)| ((number << 16) | (value & 0xffff), name)).collect()
}

/// Modules whose own BTF defines drop reasons.
fn modules() -> Vec<&'static Path> {
    const KNOWN: [&str; 2] = ["/sys/kernel/btf/openvswitch", "/sys/kernel/btf/mac80211"];
    KNOWN.iter().map(Path::new).filter(|p| p.exists()).collect()
}

/// The members of an enum by value, without their common prefix.
fn members(btf: &Btf<'_>, name: &str, prefixes: &[&str]) -> BTreeMap<u32, String> {
    let Some(found) = btf.type_by_name::<Enum<'_>>(name) else { return BTreeMap::new() };
    let named = found.iter().filter_map(|m| Some((m.value as u32, m.name?.to_str()?.to_owned())));
    let short = named.map(|(value, name)| {
        let short = prefixes.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(&name);
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
