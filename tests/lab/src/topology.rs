//! What joins client and server: the host in the middle, and what is laid over it.

use anyhow::Result;

use crate::host::Host;
use crate::net::{Net, await_link, batch};
use crate::switch::Switch;
use crate::traffic::{BULK_PORT, DROP_PORT, SHORT_PORT};

/// How client and server are joined.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// What the host in the middle does.
    pub middle: Middle,
    /// What is set up then, in this order.
    pub layers: &'static [Layer],
}

/// What the host in the middle does with packets between its devices `left` and `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle {
    /// It routes; each side has a subnet of its own.
    Router,
    /// It bridges; client and server share a subnet.
    Bridge,
    /// The kernel's Open vSwitch datapath bridges, by flows that are there from the start.
    OpenVSwitch,
    /// Open vSwitch with its daemon switches, and the host has an address in the subnet of client and server; the client is a
    /// virtual machine as far as the host sees it: it is behind a tap device.
    Switch,
}

/// Something laid over the links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The router hides the client behind its own address on `right`.
    Masquerade,
    /// The router passes TCP connections to its address on `left` on to the server (nftables DNAT).
    PortForward,
    /// The same by IPVS, masquerading.
    LoadBalancer,
    /// A VXLAN tunnel between client and server, with the overlay's addresses.
    Vxlan,
    /// A VLAN between client and server, with the overlay's addresses.
    Vlan,
    /// ESP in transport mode between the IPv4 addresses of client and server; nothing else is let in.
    Ipsec,
    /// The link between router and server takes shorter packets than the other.
    Narrow,
    /// The router sends the server a copy of each echo request (nftables dup).
    Duplicate,
    /// The router drops datagrams to UDP port [`DROP_PORT`] by a rule of the older iptables.
    Iptables,
    /// The client's device cannot cut segments, so that its stack does.
    Cut,
    /// The server's device merges received segments (GRO), which a veth device can since 5.13 if its peer cuts none.
    Merge,
    /// The device `right` loses a tenth of what it sends.
    Loss,
}

impl Topology {
    /// A router and nothing else.
    pub const ROUTED: Self = Self { middle: Middle::Router, layers: &[] };

    /// A router that masquerades.
    pub const NAT: Self = Self { middle: Middle::Router, layers: &[Layer::Masquerade] };
}

impl Middle {
    /// Has the host in the middle switch, unless it routes; returns what must live as long as that.
    pub(crate) fn set_up(self, host: &Host) -> Result<Option<Switch>> {
        match self {
            Self::Switch => Ok(Some(Switch::begin(host)?)),
            Self::Router => Ok(None),
            Self::Bridge => {
                let ports = "link set left master bridge\nlink set right master bridge\n";
                batch(host, &format!("link add bridge type bridge\n{ports}link set bridge up\n"))?;
                await_link(host, "bridge")?;
                Ok(None)
            }
            Self::OpenVSwitch => datapath(host).map(|()| None),
        }
    }
}

/// An Open vSwitch datapath with both devices; no user space stands behind it, so it has all flows at once.
fn datapath(host: &Host) -> Result<()> {
    let dpctl = |args: &[&str]| host.sh("ovs-dpctl", args).map(drop);
    dpctl(&["add-dp", "switch"])?;
    // Port 0 is the datapath's own.
    dpctl(&["add-if", "switch", "left", "right"])?;
    for (from, to) in [("1", "2"), ("2", "1")] {
        for kind in ["0x0806),arp()", "0x0800),ipv4(frag=no)", "0x86dd),ipv6(frag=no)"] {
            dpctl(&["add-flow", "switch", &format!("in_port({from}),eth(),eth_type({kind}"), to])?;
        }
    }
    Ok(())
}

impl Layer {
    /// Sets it up.
    pub(crate) fn add(self, net: &Net) -> Result<()> {
        let Net { client, router, server, .. } = net;
        let (near, far) = (client.v4(), server.v4());
        match self {
            Self::Masquerade => nat(router, "postrouting", "100", "oifname \"right\" masquerade"),
            Self::PortForward => {
                let matched = format!("ip daddr {} tcp dport {{ {BULK_PORT}, {SHORT_PORT} }}", router.v4());
                nat(router, "prerouting", "-100", &format!("{matched} dnat ip to {far}"))
            }
            Self::LoadBalancer => [BULK_PORT, SHORT_PORT].iter().try_for_each(|port| balance(net, *port)),
            Self::Vxlan => {
                let device = |peer| format!("vxlan id 7 remote {peer} dstport 4789 dev eth0");
                overlay(client, &device(far), Net::OVERLAY_CLIENT)?;
                overlay(server, &device(near), Net::OVERLAY_SERVER)
            }
            Self::Vlan => {
                overlay(client, "vlan id 7", Net::OVERLAY_CLIENT)?;
                overlay(server, "vlan id 7", Net::OVERLAY_SERVER)
            }
            Self::Ipsec => {
                encrypt(client, (client, server))?;
                encrypt(server, (server, client))
            }
            Self::Narrow => {
                let set = |host: &Host, dev| host.sh("ip", &["link", "set", dev, "mtu", "1300"]).map(drop);
                set(router, "right")?;
                set(server, "eth0")
            }
            Self::Duplicate => {
                let rule = format!("icmp type echo-request dup to {far} device \"right\"");
                let chain = format!("chain forward {{\ntype filter hook forward priority 0\n{rule}\n}}");
                router.feed("nft", &["-f", "-"], &format!("table ip labdup {{ {chain}\n}}\n")).map(drop)
            }
            Self::Iptables => {
                let port = DROP_PORT.to_string();
                let rule = ["-A", "FORWARD", "-p", "udp", "--dport", &port, "-j", "DROP"];
                router.sh("iptables-legacy", &rule).map(drop)
            }
            Self::Cut => client.sh("ethtool", &["-K", "eth0", "tso", "off"]).map(drop),
            Self::Merge => {
                router.sh("ethtool", &["-K", "right", "tso", "off"])?;
                server.sh("ethtool", &["-K", "eth0", "gro", "on"]).map(drop)
            }
            Self::Loss => {
                router.sh("tc", &["qdisc", "add", "dev", "right", "root", "netem", "loss", "10%"]).map(drop)
            }
        }
    }
}

/// Adds a rule to a NAT chain of the router.
fn nat(router: &Host, hook: &str, priority: &str, rule: &str) -> Result<()> {
    let chain = format!("chain {hook} {{\ntype nat hook {hook} priority {priority}\n{rule}\n}}");
    router.feed("nft", &["-f", "-"], &format!("table inet labnat {{ {chain}\n}}\n")).map(drop)
}

/// Has the router pass connections to a port of its own on to the server.
fn balance(Net { router, server, .. }: &Net, port: u16) -> Result<()> {
    let (service, real) = (router.at(port).to_string(), server.at(port).to_string());
    router.sh("ipvsadm", &["-A", "-t", &service, "-s", "rr"])?;
    router.sh("ipvsadm", &["-a", "-t", &service, "-r", &real, "-m"]).map(drop)
}

/// Gives a host a device over `eth0` with an address of the overlay.
fn overlay(host: &Host, kind: &str, addr: std::net::Ipv4Addr) -> Result<()> {
    // A VXLAN device names the one below it among its own settings, where it does not bind the link.
    let below = if kind.starts_with("vlan") { "link eth0 " } else { "" };
    let add = format!("link add {below}name over type {kind}\n");
    batch(host, &format!("{add}addr add {addr}/24 dev over\nlink set over up\n"))
}

/// Gives a host keys and rules for what it sends to its peer and gets from it.
fn encrypt(host: &Host, (own, peer): (&Host, &Host)) -> Result<()> {
    let mut commands = String::new();
    for (from, to, direction) in [(own, peer, "out"), (peer, own, "in")] {
        let ends = format!("src {} dst {}", from.v4(), to.v4());
        // Each direction has a number and a key of its own, the same on both hosts.
        let number = from.v4().to_string().bytes().map(u32::from).sum::<u32>() + 0x1000;
        let (auth, enc) = (format!("0x{number:064x}"), format!("0x{number:032x}"));
        commands += &format!(
            "xfrm state add {ends} proto esp spi {number} mode transport \
             auth hmac(sha256) {auth} enc cbc(aes) {enc}\n\
             xfrm policy add {ends} dir {direction} tmpl {ends} proto esp mode transport\n"
        );
    }
    batch(host, &commands)
}
