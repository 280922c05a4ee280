//! Where the arguments of functions and tracepoints are: by their types, in this kernel's BTF.

use anyhow::{Result, bail};
use ntc::catalog::{self, Extra, Take};
use ntc::schema::kind;

use super::btf::{Btf, Prototype, Type};
use crate::bpf::types::{constant, role};

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
    let found = assign(&prototype, Some(entry));
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
pub fn assign(prototype: &Prototype, entry: Option<&catalog::Probe>) -> Arguments {
    let mut found = NOTHING;
    for (position, ty) in prototype.parameters.iter().enumerate() {
        if *ty == Type::Aggregate {
            // It takes as many registers as it needs: what comes after it cannot be found.
            return found;
        }
        let fitting = if is_untyped(ty) { untyped_role(entry) } else { roles_of(ty) };
        if let Some(fitting) = fitting.iter().find(|r| found[r.0 as usize] == NO_ARGUMENT) {
            found[fitting.0 as usize] = position as u8;
        }
    }
    found[role::ROLE_RETURN.0 as usize] = prototype.parameters.len() as u8;
    found
}

/// Whether it is `void *`.
fn is_untyped(ty: &Type) -> bool {
    matches!(ty, Type::Pointer(name) if name.is_empty())
}

/// What `void *` is to a probe, as the catalog knows it.
fn untyped_role(entry: Option<&catalog::Probe>) -> &'static [role] {
    match entry {
        Some(entry) if entry.kind == kind::FREE => &[role::ROLE_LOCATION],
        Some(entry) if entry.takes.contains(&Take::Neigh) => &[role::ROLE_KEY],
        Some(entry) if entry.extra.contains(&Extra::Chain) => &[role::ROLE_CHAIN],
        Some(entry) if entry.extra.contains(&Extra::Table) => &[role::ROLE_TABLE],
        _ => &[],
    }
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

/// The roles of a pointer to a struct of this name.
fn pointer_roles(name: &str) -> &'static [role] {
    match name {
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
        "key",
        "chain",
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The roles of the arguments of a probe of the catalog.
    fn described(probe: &str, parameters: &[&str]) -> String {
        let parameters = parameters.iter().map(|name| Type::Pointer((*name).to_owned())).collect();
        let prototype = Prototype { id: 0, parameters, returns: Type::Void };
        describe(&assign(&prototype, catalog::by_name(probe)))
    }

    #[test]
    fn an_untyped_pointer_is_what_the_catalog_knows_of_the_probe() {
        assert_eq!(described("kfree_skb", &["sk_buff", ""]), "skb=0 location=1 return=2");
        let neighbour = described("neigh_create", &["neigh_table", "net_device", "", "neighbour"]);
        assert_eq!(neighbour, "key=2 neigh=3 dev=1 return=4");
        assert_eq!(described("nft_do_chain", &["nft_pktinfo", ""]), "chain=1 pktinfo=0 return=2");
        assert_eq!(described("tcp_v4_rcv", &["sk_buff", ""]), "skb=0 return=2");
        assert_eq!(described("of_no_catalog", &["sk_buff", ""]), "skb=0 return=2");
    }

    #[test]
    fn a_table_of_iptables_is_found_in_either_signature() {
        let before_5_16 = described("ipt_do_table", &["sk_buff", "nf_hook_state", "xt_table"]);
        assert_eq!(before_5_16, "skb=0 state=1 table=2 return=3");
        let since_5_16 = described("ipt_do_table", &["", "sk_buff", "nf_hook_state"]);
        assert_eq!(since_5_16, "skb=1 state=2 table=0 return=3");
    }
}
