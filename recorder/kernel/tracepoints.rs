//! The catalog's tracepoints. For each there is a BPF program `on_NAME`.

use ntc::catalog::{self, Probe};

/// Every tracepoint with its number on the wire: `enum probe` of `bpf/event.h` is made in the same order.
pub fn all() -> impl Iterator<Item = (u16, &'static Probe)> {
    catalog::probes()
        .iter()
        .filter(|entry| entry.tracepoint.is_some())
        .zip(0..)
        .map(|(e, number)| (number, e))
}

/// Names of those whose records have room for a stack.
pub fn with_stack() -> Vec<&'static str> {
    all().filter(|(_, entry)| entry.stack).map(|(_, entry)| entry.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::types::probe;

    #[test]
    fn numbers_are_those_of_the_wire() {
        let number = |name: &str| all().find(|(_, e)| e.name == name).map(|(number, _)| u32::from(number));
        assert_eq!(all().count(), probe::PROBE_MAX.0 as usize);
        assert_eq!(number("kfree_skb"), Some(probe::KFREE_SKB.0));
        assert_eq!(number("net_dev_xmit"), Some(probe::NET_DEV_XMIT.0));
        assert_eq!(number("neigh_cleanup_and_release"), Some(probe::NEIGH_CLEANUP_AND_RELEASE.0));
    }
}
