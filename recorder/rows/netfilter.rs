//! The columns of netfilter: verdicts, rules, and the functions of a hook.

use ntc::Rows;

use super::record;
use super::symbols::Symbols;
use crate::bpf::types::{self, hooks_part, netfilter_part};
use crate::kernel::functions::Function;

/// A verdict of netfilter that a function has returned, or that a rule gave.
pub fn put_verdict(
    rows: &mut Rows,
    row: usize,
    function: Option<&Function>,
    parts: (&types::record, &netfilter_part),
) {
    let (r, n) = parts;
    let returns = function.and_then(|f| Some((f.read_return(r.ret), f.meanings()?)));
    let verdict = returns.and_then(|(value, returns)| Some(returns.meaning(value)?.name));
    match verdict.filter(|name| !name.is_empty()) {
        Some(name) => rows.verdict.put_str(row, name),
        None => rows.verdict.put_str(row, &(r.ret as i32).to_string()),
    }
    rows.family.put_str(row, netfilter_family(n.family));
    rows.hook.put_str(row, hook(n.pf, n.hook));
    put_name(&mut rows.table, row, &n.table);
    put_name(&mut rows.chain, row, &n.chain);
    if n.handle != 0 {
        rows.handle.put(row, n.handle);
    }
    if let Some(step) = step(n.step) {
        rows.step.put_str(row, step);
    }
}

/// The functions that netfilter called, in their order.
pub fn put_hooks(rows: &mut Rows, row: usize, symbols: &mut Symbols, hooks: &hooks_part) {
    let known = hooks.functions.iter().take(hooks.count as usize);
    let mut names: Vec<String> = known.map(|address| symbols.function(*address).to_owned()).collect();
    if hooks.count as usize > names.len() {
        names.push("...".to_owned());
    }
    if !names.is_empty() {
        rows.hooks.put_str(row, &names.join(";"));
    }
}

/// Sets a name of the kernel's, unless it is empty.
fn put_name(column: &mut ntc::rows::Text, row: usize, name: &[i8]) {
    if name.first().is_some_and(|first| *first != 0) {
        column.put_str(row, &record::name(name));
    }
}

/// The name of a protocol family of netfilter: NFPROTO_*, include/uapi/linux/netfilter.h.
fn netfilter_family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "other",
    }
}

/// The name of a hook: NF_INET_*, NF_ARP_*, NF_NETDEV_*, NF_BR_*, include/uapi/linux/netfilter*.h.
fn hook(family: u8, number: u8) -> &'static str {
    let names: &[&str] = match family {
        3 => &["IN", "OUT", "FORWARD"],
        5 => &["INGRESS", "EGRESS"],
        7 => &["PRE_ROUTING", "INPUT", "FORWARD", "OUTPUT", "POST_ROUTING", "BROUTING"],
        _ => &["PRE_ROUTING", "INPUT", "FORWARD", "OUTPUT", "POST_ROUTING", "INGRESS"],
    };
    names.get(usize::from(number)).copied().unwrap_or("other")
}

/// What nftables traces: NFT_TRACETYPE_*, include/uapi/linux/netfilter/nf_tables.h.
fn step(number: u8) -> Option<&'static str> {
    [None, Some("policy"), Some("return"), Some("rule")].get(usize::from(number)).copied().flatten()
}
