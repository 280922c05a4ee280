//! Capabilities: enough to load and attach, and no more than needed from then on.

use anyhow::{Result, bail};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Refuses with a sentence where the kernel would with EPERM.
pub fn check() -> Result<()> {
    let Ok(held) = capabilities(None) else { return Ok(()) };
    let needed = [(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::PERFMON, "CAP_PERFMON")];
    if held.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(());
    }
    let missing = needed.iter().filter(|(cap, _)| !held.effective.contains(*cap)).map(|(_, name)| *name);
    let missing: Vec<&str> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("recording needs {}: run it as root, or grant it with setcap", missing.join(" and "))
}

/// Gives up everything but what a running capture needs: its maps' counters (`CAP_BPF`, on old kernels
/// `CAP_SYS_ADMIN`), its journal, which may lie in another user's folder (`CAP_DAC_OVERRIDE`), and, if there is something
/// in the network to be removed in the end, that (`CAP_NET_ADMIN`).
///
/// Threads that start later inherit it. Where it cannot be done, the recording goes on as it was.
pub fn give_up(network: bool) {
    let Ok(held) = capabilities(None) else { return };
    let mut kept = CapabilitySet::BPF | CapabilitySet::DAC_OVERRIDE;
    if !held.permitted.contains(CapabilitySet::BPF) {
        kept |= CapabilitySet::SYS_ADMIN;
    }
    if network {
        kept |= CapabilitySet::NET_ADMIN;
    }
    let fewer = CapabilitySets {
        effective: held.effective & kept,
        permitted: held.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    // Nothing depends on it: the recording is as right with the old set.
    let _ = set_capabilities(None, fewer);
}
