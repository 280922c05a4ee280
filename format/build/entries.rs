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
    /// One went up in the other.
    Merge,
    /// The packet goes on in a tunnel.
    Encapsulation,
}

/// What else is recorded.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    /// The netfilter hook.
    Hook,
    /// The table of iptables.
    Table,
    /// The chain of nftables.
    Chain,
    /// The step of nftables' rules.
    Trace,
    /// Why a reset is sent.
    Reset,
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
    /// The tracepoint it is.
    pub tracepoint: Option<String>,
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
            Some(_) if !self.symbols.is_empty() || !self.takes.is_empty() => {
                return wrong("is a tracepoint and must not name symbols or takes");
            }
            Some(name) if !name.contains(':') => return wrong("names a tracepoint without its category"),
            None if self.takes.is_empty() => return wrong("takes nothing: no packet and no socket"),
            _ => {}
        }
        if self.link.is_some() != (self.kind == "link") || self.child.is_some() != self.link.is_some() {
            return wrong("must have link and child if it is of the kind link, and only then");
        }
        Ok(())
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
