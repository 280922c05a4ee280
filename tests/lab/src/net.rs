//! Nets: hosts, the links between them, and their removal.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::cable::Cable;
use crate::host::{Host, NETNS_DIR, remove};
use crate::process::tool;
use crate::switch::Switch;
use crate::topology::{Middle, Topology};

/// Settings for every device made later, and for `lo`. They keep the kernel from sending anything that no
/// test asked for, and its ICMP errors from being rate-limited.
const QUIET: &[(&str, &str)] = &[
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/lo/rp_filter", "0"),
    // A packet with a foreign source address must not make the ARP request for it have one too.
    ("ipv4/conf/all/arp_announce", "2"),
    ("ipv4/icmp_ratemask", "0"),
    // The list of ICMPv6 types that are limited: one that does not exist.
    ("ipv6/icmp/ratemask", "255"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    // 1 is "none": no link-local address of its own. The nets have static ones, for neighbour discovery.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    // Milliseconds: group reports leave while the net is built, not during a test.
    ("ipv6/conf/default/mldv2_unsolicited_report_interval", "1"),
];

/// Settings of a router.
const FORWARD: &[(&str, &str)] = &[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

/// How long links may take to come up.
const READY: Duration = Duration::from_secs(5);

/// Two hosts joined by a third: `client` (eth0) - (left) `router` (right) - (eth0) `server`.
#[derive(Debug)]
pub struct Net {
    /// What switches in the middle, where a daemon does. It ends before the hosts.
    switch: Option<Box<Switch>>,
    /// What joins the client, where it is a virtual machine.
    cable: Option<Cable>,
    /// 10.77.1.2 and fd77:1::2 on `eth0`.
    pub client: Host,
    /// 10.77.1.1 and fd77:1::1 on `left`, 10.77.2.1 and fd77:2::1 on `right`; no addresses if it switches.
    pub router: Host,
    /// 10.77.2.2 and fd77:2::2 on `eth0`; 10.77.1.3 and fd77:1::3 behind a switch.
    pub server: Host,
}

impl Net {
    /// The client's address in a tunnel or VLAN.
    pub const OVERLAY_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 2);

    /// The server's address in a tunnel or VLAN.
    pub const OVERLAY_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 3, 3);

    /// Builds client, router and server.
    pub fn new() -> Result<Self> {
        Self::build(&Topology::ROUTED)
    }

    /// All three.
    pub fn hosts(&self) -> [&Host; 3] {
        [&self.client, &self.router, &self.server]
    }

    /// Like [`Net::new`], and the router hides the client behind its own address on `right`.
    pub fn with_nat() -> Result<Self> {
        Self::build(&Topology::NAT)
    }

    /// Builds the three hosts and waits until their links are up. The first one a process builds also
    /// removes namespaces that a killed process left.
    pub fn build(topology: &Topology) -> Result<Self> {
        let routed = topology.middle == Middle::Router;
        let prefix = begin()?;
        let mut net = Self {
            switch: None,
            cable: None,
            client: Host::create(&prefix, "client", near(2))?,
            router: Host::create(&prefix, "router", near(1))?,
            server: Host::create(&prefix, "server", if routed { far(2) } else { near(3) })?,
        };
        net.hosts().into_iter().try_for_each(settle)?;
        net.cable = net.join(topology.middle)?;
        let Self { client, router, server, .. } = &net;
        address(client, "eth0", (client.addrs(), "fe80::12"))?;
        address(server, "eth0", (server.addrs(), "fe80::22"))?;
        if routed {
            router.sysctl(FORWARD)?;
            address(router, "left", (near(1), "fe80::11"))?;
            address(router, "right", (far(1), "fe80::21"))?;
            batch(client, "route add default via 10.77.1.1\nroute add ::/0 via fd77:1::1\n")?;
            batch(server, "route add default via 10.77.2.1\nroute add ::/0 via fd77:2::1\n")?;
        }
        for (host, device) in [(client, "eth0"), (router, "left"), (router, "right"), (server, "eth0")] {
            await_link(host, device)?;
        }
        net.switch = topology.middle.set_up(&net.router)?.map(Box::new);
        topology.layers.iter().try_for_each(|layer| layer.add(&net))?;
        Ok(net)
    }

    /// Joins client and server to the host in the middle, by veth pairs or as a virtual machine.
    fn join(&self, middle: Middle) -> Result<Option<Cable>> {
        let Self { client, router, server, .. } = self;
        join(server, "eth0", (router, "right"))?;
        if middle == Middle::Switch {
            let cable = Cable::plug((client, "eth0"), (router, "left"))?;
            bring_up([(client, "eth0"), (router, "left")])?;
            // The first packet waits for the daemon, and so does what asks for its neighbour.
            ask_again_after([(client, "eth0"), (server, "eth0")], "1000")?;
            return Ok(Some(cable));
        }
        join(client, "eth0", (router, "left"))?;
        Ok(None)
    }

    /// Two hosts joined directly, without a router.
    pub fn pair() -> Result<Pair> {
        let prefix = begin()?;
        let client = Host::create(&prefix, "client", near(2))?;
        let server = Host::create(&prefix, "server", near(1))?;
        settle(&client)?;
        settle(&server)?;
        join(&client, "eth0", (&server, "eth0"))?;
        address(&client, "eth0", (near(2), "fe80::12"))?;
        address(&server, "eth0", (near(1), "fe80::11"))?;
        await_link(&client, "eth0")?;
        await_link(&server, "eth0")?;
        Ok(Pair { client, server })
    }

    /// One host with nothing but its loopback device.
    pub fn alone() -> Result<Host> {
        let loopback = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let host = Host::create(&begin()?, "alone", loopback)?;
        settle(&host)?;
        Ok(host)
    }
}

/// Two hosts on one link.
#[derive(Debug)]
pub struct Pair {
    /// 10.77.1.2 and fd77:1::2 on `eth0`.
    pub client: Host,
    /// 10.77.1.1 and fd77:1::1 on `eth0`.
    pub server: Host,
}

/// Whether this process may make namespaces at all.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Checks for root, removes what killed processes left, and gives the next net's prefix.
fn begin() -> Result<String> {
    /// Removes leftovers before this process makes its first namespace.
    static SWEPT: Once = Once::new();
    /// Tells the nets of one process apart.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !is_root() {
        bail!("network namespaces need root; run this as root (sudo)");
    }
    SWEPT.call_once(sweep);
    Ok(format!("nt{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Removes the namespaces of processes that no longer live. A process in another pid namespace looks dead,
/// so two containers must not share `/run/netns`.
fn sweep() {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(is_stale) {
            // Another process may have been faster.
            let _ = remove(&entry.path());
        }
    }
}

/// The process that made a namespace, if its name is one of ours.
fn owner(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix("nt")?.split_once('-')?;
    let (count, _role) = rest.split_once('-')?;
    count.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// Whether a namespace made by process `pid` is left over. Our own number was given out again if it stands
/// in a name before we made one.
fn is_stale(pid: u32) -> bool {
    pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists()
}

/// The addresses of host `n` on the client's link.
fn near(n: u16) -> (IpAddr, IpAddr) {
    (Ipv4Addr::new(10, 77, 1, n.to_be_bytes()[1]).into(), Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, n).into())
}

/// The addresses of host `n` on the server's link.
fn far(n: u16) -> (IpAddr, IpAddr) {
    (Ipv4Addr::new(10, 77, 2, n.to_be_bytes()[1]).into(), Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, n).into())
}

/// Gives a fresh host its settings and its loopback device.
fn settle(host: &Host) -> Result<()> {
    host.sysctl(QUIET)?;
    batch(host, "link set lo up\n")
}

/// Runs `ip` commands in a host, one a line.
pub(crate) fn batch(host: &Host, commands: &str) -> Result<()> {
    tool("ip", &["-n", host.name(), "-batch", "-"], commands).map(drop)
}

/// Joins two hosts by a veth pair and brings both ends up.
fn join(host: &Host, device: &str, (peer, peer_device): (&Host, &str)) -> Result<()> {
    let add = format!("link add {device} type veth peer name {peer_device} netns {}\n", peer.name());
    let ends = [(host, device), (peer, peer_device)];
    batch(host, &add)?;
    bring_up(ends)?;
    // An address that nobody has is known to be so after three tries: 150 ms instead of 3 s.
    ask_again_after(ends, "50")
}

/// Brings both ends of a link up.
fn bring_up(ends: [(&Host, &str); 2]) -> Result<()> {
    ends.into_iter().try_for_each(|(end, name)| batch(end, &format!("link set {name} up\n")))
}

/// How long an answer of a neighbour may take before it is asked again, ms.
fn ask_again_after(ends: [(&Host, &str); 2], ms: &str) -> Result<()> {
    ends.into_iter().try_for_each(|(end, name)| {
        end.sysctl(&["ipv4", "ipv6"].map(|family| (format!("{family}/neigh/{name}/retrans_time_ms"), ms)))
    })
}

/// Gives a device its addresses, without duplicate address detection.
fn address(host: &Host, device: &str, ((v4, v6), link_local): ((IpAddr, IpAddr), &str)) -> Result<()> {
    let commands = [
        format!("addr add {v4}/24 dev {device}\n"),
        format!("addr add {v6}/64 dev {device} nodad\n"),
        format!("addr add {link_local}/64 dev {device} nodad\n"),
    ];
    batch(host, &commands.concat())
}

/// Waits until a device is up and its addresses can be used. The kernel's carrier event follows within
/// milliseconds, so it is asked again rather than subscribed to.
pub(crate) fn await_link(host: &Host, device: &str) -> Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        let link = tool("ip", &["-n", host.name(), "-o", "link", "show", "dev", device], "")?;
        let tentative =
            tool("ip", &["-n", host.name(), "-6", "addr", "show", "dev", device, "tentative"], "")?;
        // A device whose link was never down has no state.
        let is_up =
            link.contains("state UP") || link.contains(",LOWER_UP>") && link.contains("state UNKNOWN");
        if is_up && tentative.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{device} of {} is not ready after {READY:?}: {}", host.name(), link.trim());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_have_an_owner() {
        assert_eq!(owner("nt42-0-client"), Some(42));
        for foreign in ["nt42", "nt42-client", "ntx-0-client", "prod", "nt-0-client", "42-0-client"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_dead_owner_is_stale_and_a_live_one_is_not() {
        assert!(is_stale(u32::MAX));
        assert!(!is_stale(1));
    }
}

#[cfg(test)]
mod root {
    use super::*;

    #[test]
    fn a_net_disappears_with_its_value() {
        let net = Net::new().unwrap();
        let path = net.client.path();
        assert!(path.exists());
        assert_ne!(net.client.inode(), net.server.inode());
        drop(net);
        assert!(!path.exists());
    }

    #[test]
    fn a_thread_in_a_host_sees_only_that_host() {
        let net = Net::new().unwrap();
        let devices = net.router.sh("ip", &["-br", "link"]).unwrap();
        assert!(devices.contains("left@") && devices.contains("right@"), "{devices}");
        let devices = net.client.run(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?)).unwrap();
        assert!(devices.contains("eth0") && !devices.contains("left"), "{devices}");
    }

    #[test]
    fn a_process_ends_with_its_guard() {
        let host = Net::alone().unwrap();
        let process = host.spawn("sleep", &["60"]).unwrap();
        let entry = Path::new("/proc").join(process.id().to_string());
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
    }

    #[test]
    fn a_tools_error_names_the_tool_and_what_it_said() {
        let host = Net::alone().unwrap();
        let error = host.sh("ip", &["link", "show", "dev", "eth7"]).unwrap_err().to_string();
        assert!(error.contains("`ip link show dev eth7`") && error.contains("does not exist"), "{error}");
    }
}
