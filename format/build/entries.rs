//! The catalog as it stands in TOML, and the check that its entries fit together.
//!
//! What each key means is said at the top of `catalog.toml`.

use std::collections::BTreeSet;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// Stations of a packet's way.
    pub stage: Vec<Stage>,
    /// Functions that a received packet passes once, in the order of its way.
    pub gate: Vec<Gate>,
    /// Groups of probes.
    pub group: Vec<Group>,
    /// Meanings of return values.
    pub returns: Vec<Returns>,
    /// The probes.
    pub probe: Vec<Probe>,
}

/// A station of a packet's way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What happens there.
    pub what: String,
    /// Which way it leads a packet.
    #[serde(default)]
    pub direction: Direction,
    /// Where the network header is.
    pub network_header: Option<NetworkHeader>,
}

/// Functions of which a packet passes one, once each time that a device receives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Names of probes.
    pub probes: Vec<String>,
    /// Where the packet's data begins.
    pub data: Data,
}

/// Where a packet's data begins; the variants are those of `catalog::Data`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Data {
    /// At the header of IP.
    Ip,
    /// At the one behind it.
    Above,
}

/// Which way a stage leads a packet; the variants are those of `catalog::Direction`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A packet that was received.
    In,
    /// A packet that this host sends.
    Out,
    /// A driver hands it over.
    Entry,
    /// Either.
    #[default]
    Any,
}

/// Where the network header is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkHeader {
    /// At `skb->data`.
    Data,
}

/// A group of probes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub what: String,
    /// The smallest profile that its probes are part of.
    pub profile: Profile,
}

/// A set of probes; the variants are those of `catalog::Profile`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// What tells a packet's way from device to device.
    Net,
    /// Its way through the host.
    Life,
    /// Everything.
    All,
}

/// How a register is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Signed 32 bit.
    S32,
    /// Unsigned 32 bit.
    U32,
    /// Signed 64 bit.
    S64,
    /// The lowest byte.
    Bool,
    /// An address, or an errno.
    Pointer,
}

/// What return values mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    /// Its name.
    pub name: String,
    /// How the value is read.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Only these bits count.
    pub mask: Option<u32>,
    /// The meanings, the first that fits wins.
    pub value: Vec<Value>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Also on healthy traffic.
    Info,
    /// May be trouble.
    Warning,
    /// A packet was lost.
    Error,
}

/// What one return value means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Which values.
    pub when: String,
    /// The kernel's name of the value.
    #[serde(default)]
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
}

/// What a call means, whatever it returns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    /// How bad it is.
    pub level: Level,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
}

/// An argument that a function is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// `struct sk_buff *`
    Skb,
    /// `struct sk_buff **`
    #[serde(rename = "skb**")]
    SkbPointer,
    /// `struct sock *`
    Sk,
    /// `struct socket *`
    Socket,
    /// `struct nft_pktinfo *`
    PktInfo,
    /// `struct nft_traceinfo *`
    TraceInfo,
    /// `struct neighbour *`
    Neigh,
}

/// What relation two packets have.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// A second header for the same data.
    Clone,
    /// A copy of the data.
    Copy,
    /// A part that GSO made.
    Segment,
    /// A part that IP made.
    Fragment,
    /// One was merged into the other.
    Merge,
    /// The packet goes on in a tunnel.
    Encapsulation,
}

/// What a probe says; the variants are those of `catalog::Effect`, which explains them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, clippy::missing_docs_in_private_items, reason = "catalog::Effect has them")]
pub enum Effect {
    New,
    Queue,
    Start,
    Sent,
    RxEntry,
    RxBacklog,
    Receive,
    Copy,
    Drop,
    HardwareDrop,
    Consume,
    Free,
    DataReady,
    SetState,
    ReceiveFull,
    BufferLimit,
    TcpProbe,
    Retransmit,
    RetransmitSynack,
    SendReset,
    ReceiveReset,
    BadChecksum,
    IcmpSend,
    Neighbour,
    Enqueued,
    Dequeued,
    Rule,
    Call,
    Note,
}

/// What else is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// The table of iptables.
    Table,
    /// The chain of nftables.
    Chain,
    /// The step of nftables' rules.
    Trace,
    /// The measured round-trip times.
    Rtt,
}

/// A probe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Its name in the column `probe`.
    pub name: String,
    /// Other names of it.
    #[serde(default)]
    pub also: Vec<String>,
    /// Its group.
    pub group: String,
    /// Its stage, if it has one.
    pub stage: Option<String>,
    /// Kind of its rows.
    pub kind: String,
    /// What it says, if that is not what its kind says.
    pub effect: Option<Effect>,
    /// The tracepoint it is.
    pub tracepoint: Option<String>,
    /// Its record has room for a stack.
    #[serde(default)]
    pub stack: bool,
    /// Functions to try, unless just its name.
    #[serde(default)]
    pub symbols: Vec<String>,
    /// Arguments it is looked up for.
    #[serde(default)]
    pub takes: Vec<Take>,
    /// What happens there.
    pub what: String,
    /// Meaning of its return values.
    pub returns: Option<String>,
    /// Meaning of the call.
    pub called: Option<Called>,
    /// Relation to another packet.
    pub link: Option<Relation>,
    /// The other packet.
    pub child: Option<String>,
    /// The argument that is the packet.
    pub parent: Option<String>,
    /// What else is recorded.
    #[serde(default)]
    pub extra: Vec<Extra>,
    /// The smallest profile that it is part of, if other than its group's.
    pub profile: Option<Profile>,
    /// On which kernels it is there.
    #[serde(default)]
    pub since: String,
}

/// Which values a meaning is for; the variants are those of `catalog::When`.
#[derive(Debug)]
pub enum When {
    /// This one.
    Is(i64),
    /// Any other.
    Not(i64),
    /// Smaller ones.
    Below(i64),
    /// Greater ones.
    Above(i64),
    /// A pointer that is an errno.
    Errno,
}

/// Row kinds that probes have.
const KINDS: [&str; 8] = ["pkt", "free", "link", "nf", "sock", "tcp", "icmp", "neigh"];

impl Catalog {
    /// The catalog, if it is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let catalog: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        unique("stage", catalog.stage.iter().map(|s| &s.name))?;
        unique("group", catalog.group.iter().map(|g| &g.name))?;
        unique("returns", catalog.returns.iter().map(|r| &r.name))?;
        unique("probe", catalog.probe.iter().flat_map(|p| p.also.iter().chain([&p.name])))?;
        catalog.returns.iter().try_for_each(Returns::check)?;
        catalog.probe.iter().try_for_each(|p| catalog.check(p))?;
        unique("gate of probe", catalog.gate.iter().flat_map(|gate| &gate.probes))?;
        catalog.gate.iter().flat_map(|gate| &gate.probes).try_for_each(|name| catalog.check_gate(name))?;
        Ok(catalog)
    }

    /// Position of a stage.
    pub fn stage_of(&self, name: &str) -> Option<usize> {
        self.stage.iter().position(|s| s.name == name)
    }

    /// Position of a group.
    pub fn group_of(&self, name: &str) -> Option<usize> {
        self.group.iter().position(|g| g.name == name)
    }

    /// Position of meanings.
    pub fn returns_of(&self, name: &str) -> Option<usize> {
        self.returns.iter().position(|r| r.name == name)
    }

    /// The gate that a probe is of, with its position.
    pub fn gate_of(&self, name: &str) -> Option<(usize, &Gate)> {
        self.gate.iter().enumerate().find(|(_, gate)| gate.probes.iter().any(|probe| probe == name))
    }

    /// Refuses a probe of a gate that received packets do not pass.
    fn check_gate(&self, name: &str) -> Result<(), String> {
        let probe = self.probe.iter().find(|probe| probe.name == name);
        let stage = probe.and_then(|probe| probe.stage.as_ref()).and_then(|stage| self.stage_of(stage));
        match stage.map(|stage| self.stage[stage].direction) {
            Some(Direction::In | Direction::Entry) => Ok(()),
            _ => Err(format!("gate {name} is no probe of a stage on the way in")),
        }
    }

    /// Names of the tracepoints, in their order.
    pub fn tracepoints(&self) -> Vec<&str> {
        self.probe.iter().filter(|p| p.tracepoint.is_some()).map(|p| p.name.as_str()).collect()
    }

    /// Refuses a probe that does not fit in.
    fn check(&self, probe: &Probe) -> Result<(), String> {
        let known = |what: &str, name: Option<&String>, found: fn(&Self, &str) -> Option<usize>| match name {
            Some(name) if found(self, name).is_none() => {
                Err(format!("probe {} names the {what} `{name}`, which is not there", probe.name))
            }
            _ => Ok(()),
        };
        known("group", Some(&probe.group), Self::group_of)?;
        known("stage", probe.stage.as_ref(), Self::stage_of)?;
        known("returns", probe.returns.as_ref(), Self::returns_of)?;
        probe.check()
    }
}

impl Returns {
    /// Refuses values that cannot be.
    fn check(&self) -> Result<(), String> {
        for value in &self.value {
            let wrong = |why: &str| Err(format!("returns {}: when `{}` {why}", self.name, value.when));
            match when(&value.when) {
                None => return wrong("is none of \"0\", \"< 0\", \"> 0\", \"!= 0\", \"error\""),
                Some(When::Errno) if self.kind != Type::Pointer => return wrong("is for pointers only"),
                Some(When::Below(_) | When::Above(_)) if self.kind == Type::Pointer => {
                    return wrong("is not for pointers");
                }
                Some(When::Below(..=0)) if self.kind == Type::U32 => return wrong("is never true of u32"),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Probe {
    /// Refuses keys that contradict each other.
    fn check(&self) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("probe {} {why}", self.name));
        if !KINDS.contains(&self.kind.as_str()) {
            return wrong(&format!("has the kind `{}`, which is none of {}", self.kind, KINDS.join(", ")));
        }
        match &self.tracepoint {
            Some(_) if !self.symbols.is_empty() => return wrong("is a tracepoint and must not name symbols"),
            Some(_) if self.effect.is_none() => return wrong("is a tracepoint and must name its effect"),
            Some(name) if name.split_once(':').is_none_or(|(_, name)| name != self.name) => {
                return wrong("must be named as its tracepoint, which has a category before a colon");
            }
            None if self.stack => return wrong("is a function, for which a stack needs no room"),
            _ if self.takes.is_empty() => return wrong("takes nothing: no packet, socket or neighbour"),
            _ => {}
        }
        if self.link.is_some() != (self.kind == "link") || self.child.is_some() != self.link.is_some() {
            return wrong("must have link and child if it is of the kind link, and only then");
        }
        Ok(())
    }

    /// What it says: its own word, or what its kind says.
    pub fn effect(&self) -> Effect {
        self.effect.unwrap_or(match self.kind.as_str() {
            "free" => Effect::Free,
            "pkt" | "link" | "nf" => Effect::Call,
            _ => Effect::Note,
        })
    }

    /// Whether its rows are about a socket or a connection, and thus about both directions.
    pub fn is_two_way(&self) -> bool {
        ["sock", "tcp"].contains(&self.kind.as_str())
    }

    /// The functions to try.
    pub fn functions(&self) -> &[String] {
        match self {
            Self { tracepoint: Some(_), .. } => &[],
            Self { symbols, .. } if symbols.is_empty() => std::slice::from_ref(&self.name),
            Self { symbols, .. } => symbols,
        }
    }
}

/// Reads a condition.
pub fn when(text: &str) -> Option<When> {
    if text == "error" {
        return Some(When::Errno);
    }
    match text.split_once(' ') {
        None => text.parse().ok().map(When::Is),
        Some(("!=", value)) => value.parse().ok().map(When::Not),
        Some(("<", value)) => value.parse().ok().map(When::Below),
        Some((">", value)) => value.parse().ok().map(When::Above),
        Some(_) => None,
    }
}

/// Refuses a name that stands twice.
fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} {name} stands there twice"));
        }
    }
    Ok(())
}
