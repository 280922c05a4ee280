//! The knowledge tables as they stand in TOML, and the check that they fit together.
//!
//! `build.rs` includes this file, so that a wrong table does not build.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

// The same file, whoever includes this one.
#[path = "stages.rs"]
pub mod stages;

use stages::{Limit, Model, Role, Stage};

/// How bad something is; a greater one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Part of healthy traffic.
    Normal,
    /// May be trouble.
    Warning,
    /// Is trouble.
    Error,
}

/// What a drop reason means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Name in the kernel's enum, without prefix.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Root cause, an id of [`Cause`]; normal ones have none.
    #[serde(default)]
    pub cause: String,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
    /// Kernel counters that count it.
    #[serde(default)]
    pub counters: String,
}

/// What a drop reason means at one place of the kernel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Drop reason, or `*`.
    pub reason: String,
    /// Function that drops.
    pub function: String,
    /// How bad it is.
    pub severity: Severity,
    /// Root cause, unless that of the reason.
    #[serde(default)]
    pub cause: Option<String>,
    /// What it means.
    #[serde(default)]
    pub means: String,
    /// What to do, unless that of the reason.
    #[serde(default)]
    pub advice: String,
}

/// Which drop reason a place stands for on kernels that give none, those before 5.17.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silent {
    /// Function that drops.
    pub function: String,
    /// The reason that later kernels give there.
    pub reason: String,
    /// Only for TCP segments with exactly these flags.
    #[serde(default)]
    pub tcp_flags: Option<String>,
    /// Only where this function is on the stack.
    #[serde(default)]
    pub under: Option<String>,
}

impl Silent {
    /// Which drops it is about.
    fn place(&self) -> (String, Option<String>, Option<String>) {
        (self.function.clone(), self.tcp_flags.clone(), self.under.clone())
    }

    /// Whether it is about more than the function, and so goes before rows that are not.
    pub fn is_special(&self) -> bool {
        self.tcp_flags.is_some() || self.under.is_some()
    }
}

/// What a TCP reset reason means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Name in the kernel's enum.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Root cause; normal ones have none.
    #[serde(default)]
    pub cause: String,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
}

/// What an ICMP error means that the host sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Icmp {
    /// `4` or `6`; absent: IPv4.
    #[serde(default)]
    pub family: Option<u8>,
    /// Type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Code; absent: every code.
    #[serde(default)]
    pub code: Option<u8>,
    /// How bad it is.
    pub severity: Severity,
    /// Root cause; normal ones have none.
    #[serde(default)]
    pub cause: String,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
}

/// A root cause.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Its id, as findings show it.
    pub id: String,
    /// One line that says what is wrong.
    pub title: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
}

/// What a finding of a cause is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// Destination address and port.
    Destination,
    /// Destination address.
    Address,
    /// Source address.
    Source,
    /// Device and namespace.
    Device,
    /// Both ends, either way.
    Flow,
    /// Reason and function.
    Location,
    /// Reason.
    Reason,
    /// The host.
    Host,
}

/// How observations of a cause become findings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grouping {
    /// The cause, or `*` for all others.
    pub cause: String,
    /// One finding per what.
    pub key: Key,
    /// More findings than this become one.
    #[serde(default = "default_most")]
    pub most: usize,
    /// Whether of TCP segments only the first of a connection (SYN) count.
    #[serde(default)]
    pub syn_only: bool,
    /// Fewer packets than this are healthy.
    #[serde(default = "default_least")]
    pub least: u64,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            cause: "*".into(),
            key: Key::Destination,
            most: default_most(),
            syn_only: false,
            least: default_least(),
        }
    }
}

/// Findings of one cause that are shown apart unless the table says otherwise.
fn default_most() -> usize {
    4
}

/// Something other than a drop that the analysis looks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Its name in the analysis.
    pub name: String,
    /// Root cause.
    pub cause: String,
    /// How bad it is where it stands alone.
    pub severity: Severity,
    /// What it means.
    pub means: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
    /// Fewer than this are healthy.
    #[serde(default = "default_least")]
    pub least: u64,
    /// Fewer than this share of the flow's segments, in percent, are healthy.
    #[serde(default)]
    pub percent: f64,
    /// Whether another finding about the same flow explains it.
    #[serde(default)]
    pub consequence: bool,
}

/// Occurrences that are enough unless the table says otherwise.
fn default_least() -> u64 {
    1
}

/// Times and shares that decide, ns where they are times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Within this time a device hands a packet to the device below it.
    pub nested: u64,
    /// Within this time a packet has come out of a tunnel, or gone into one.
    pub tunnel: u64,
    /// A packet that was freed within calls waits so long for their returns, which may give the verdict on it.
    pub linger: u64,
    /// A life with proof of its end is closed after this time without an event.
    pub idle_finished: u64,
    /// Any life is closed after this time without an event.
    pub idle: u64,
    /// Idle lives are looked for each time this time has passed.
    pub sweep: u64,
    /// A connection that is given up earlier than this after its SYN was not waited for.
    pub connect_patience: u64,
    /// A connection that still waits when the capture ends is reported from this many retransmitted SYNs on.
    pub connect_retransmissions: u64,
    /// Where it is not known how many segments were sent, so many times the least count of a signal is asked for.
    pub unknown_share: u64,
}

/// The same as they stand in a file, each of which may be missing in one that only changes others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThresholdRow {
    /// See [`Thresholds::nested`].
    nested_ms: Option<u64>,
    /// See [`Thresholds::tunnel`].
    tunnel_ms: Option<u64>,
    /// See [`Thresholds::linger`].
    linger_ms: Option<u64>,
    /// See [`Thresholds::idle_finished`].
    idle_finished_ms: Option<u64>,
    /// See [`Thresholds::idle`].
    idle_ms: Option<u64>,
    /// See [`Thresholds::sweep`].
    sweep_ms: Option<u64>,
    /// See [`Thresholds::connect_patience`].
    connect_patience_ms: Option<u64>,
    /// See [`Thresholds::connect_retransmissions`].
    connect_retransmissions: Option<u64>,
    /// See [`Thresholds::unknown_share`].
    unknown_share: Option<u64>,
}

impl ThresholdRow {
    /// Takes what another file says.
    fn extend(&mut self, other: &Self) {
        self.nested_ms = other.nested_ms.or(self.nested_ms);
        self.tunnel_ms = other.tunnel_ms.or(self.tunnel_ms);
        self.linger_ms = other.linger_ms.or(self.linger_ms);
        self.idle_finished_ms = other.idle_finished_ms.or(self.idle_finished_ms);
        self.idle_ms = other.idle_ms.or(self.idle_ms);
        self.sweep_ms = other.sweep_ms.or(self.sweep_ms);
        self.connect_patience_ms = other.connect_patience_ms.or(self.connect_patience_ms);
        self.connect_retransmissions = other.connect_retransmissions.or(self.connect_retransmissions);
        self.unknown_share = other.unknown_share.or(self.unknown_share);
    }
}

/// One file of knowledge.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    /// Drop reasons.
    #[serde(default)]
    pub reason: Vec<Reason>,
    /// Drop reasons at places.
    #[serde(default)]
    pub location: Vec<Location>,
    /// Drop reasons of places on kernels that give none.
    #[serde(default)]
    pub silent: Vec<Silent>,
    /// Reset reasons.
    #[serde(default)]
    pub reset: Vec<Reset>,
    /// ICMP errors.
    #[serde(default)]
    pub icmp: Vec<Icmp>,
    /// Root causes.
    #[serde(default)]
    pub cause: Vec<Cause>,
    /// How findings are grouped.
    #[serde(default)]
    pub grouping: Vec<Grouping>,
    /// Other signals.
    #[serde(default)]
    pub signal: Vec<Signal>,
    /// Stations on a packet's way.
    #[serde(default)]
    pub stage: Vec<Stage>,
    /// Devices by what they are for.
    #[serde(default)]
    pub role: Vec<Role>,
    /// Stages whose legs are measured.
    #[serde(default)]
    pub model: Vec<Model>,
    /// From which time on a leg is abnormal.
    #[serde(default)]
    pub limit: Vec<Limit>,
    /// Times and shares that decide.
    #[serde(default)]
    thresholds: ThresholdRow,
}

impl Tables {
    /// Reads one file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tables: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        tables.check_unique()?;
        Ok(tables)
    }

    /// Adds another file, whose rows replace those about the same thing.
    pub fn extend(&mut self, other: Self) {
        replace(&mut self.reason, other.reason, |r| r.name.clone());
        replace(&mut self.location, other.location, |l| (l.reason.clone(), l.function.clone()));
        replace(&mut self.silent, other.silent, |s| s.place());
        replace(&mut self.reset, other.reset, |r| r.name.clone());
        replace(&mut self.icmp, other.icmp, |i| (i.family, i.kind, i.code));
        replace(&mut self.cause, other.cause, |c| c.id.clone());
        replace(&mut self.grouping, other.grouping, |g| g.cause.clone());
        replace(&mut self.signal, other.signal, |s| s.name.clone());
        replace(&mut self.stage, other.stage, |s| s.name.clone());
        replace(&mut self.role, other.role, |r| r.name.clone());
        replace(&mut self.model, other.model, |m| m.name.clone());
        replace(&mut self.limit, other.limit, Limit::place);
        self.thresholds.extend(&other.thresholds);
    }

    /// The thresholds, all of which some file must give.
    pub fn thresholds(&self) -> Result<Thresholds, String> {
        let row = &self.thresholds;
        let given =
            |value: Option<u64>, name: &str| value.ok_or_else(|| format!("[thresholds] lacks {name}"));
        let ns = |value, name| given(value, name).map(|ms| ms.saturating_mul(1_000_000));
        Ok(Thresholds {
            nested: ns(row.nested_ms, "nested_ms")?,
            tunnel: ns(row.tunnel_ms, "tunnel_ms")?,
            linger: ns(row.linger_ms, "linger_ms")?,
            idle_finished: ns(row.idle_finished_ms, "idle_finished_ms")?,
            idle: ns(row.idle_ms, "idle_ms")?,
            sweep: ns(row.sweep_ms, "sweep_ms")?,
            connect_patience: ns(row.connect_patience_ms, "connect_patience_ms")?,
            connect_retransmissions: given(row.connect_retransmissions, "connect_retransmissions")?,
            unknown_share: given(row.unknown_share, "unknown_share")?,
        })
    }

    /// Whether no thing is described twice.
    fn check_unique(&self) -> Result<(), String> {
        unique("reason", self.reason.iter().map(|r| r.name.clone()))?;
        unique("location", self.location.iter().map(|l| format!("{} at {}", l.reason, l.function)))?;
        unique("silent", self.silent.iter().map(|s| format!("{:?}", s.place())))?;
        unique("reset", self.reset.iter().map(|r| r.name.clone()))?;
        unique("icmp", self.icmp.iter().map(|i| format!("{:?} {}/{:?}", i.family, i.kind, i.code)))?;
        unique("cause", self.cause.iter().map(|c| c.id.clone()))?;
        unique("grouping", self.grouping.iter().map(|g| g.cause.clone()))?;
        unique("signal", self.signal.iter().map(|s| s.name.clone()))?;
        unique("stage", self.stage.iter().map(|s| s.name.clone()))?;
        unique("role", self.role.iter().map(|r| r.name.clone()))?;
        unique("model", self.model.iter().map(|m| m.name.clone()))?;
        unique("limit", self.limit.iter().map(|l| format!("{:?}", l.place())))
    }

    /// Whether models, stages, roles and limits fit together; `is_stage` knows the names of stages that stand elsewhere.
    pub fn check_stages(&self, is_stage: impl Fn(&str) -> bool) -> Result<(), String> {
        stages::check(&self.stage, &self.role, &self.model, is_stage)?;
        stages::check_limits(&self.limit, &self.model)
    }

    /// Whether every cause that is named exists.
    pub fn check_causes(&self) -> Result<(), String> {
        self.check_trouble()?;
        self.check_silent()?;
        let known: BTreeSet<&str> = self.cause.iter().map(|c| c.id.as_str()).collect();
        match self.causes_named().find(|(_, cause)| !known.contains(cause)) {
            Some((what, cause)) => {
                Err(format!("{what} names the cause `{cause}`, which no [[cause]] describes"))
            }
            None => Ok(()),
        }
    }

    /// Every cause that is named, and by what.
    fn causes_named(&self) -> impl Iterator<Item = (String, &str)> {
        let reasons = self.reason.iter().map(|r| (format!("reason {}", r.name), r.cause.as_str()));
        let locations = self
            .location
            .iter()
            .filter_map(|l| Some((format!("location {}", l.function), l.cause.as_deref()?)));
        let resets = self.reset.iter().map(|r| (format!("reset {}", r.name), r.cause.as_str()));
        let icmp = self.icmp.iter().map(|i| (format!("icmp {}", i.kind), i.cause.as_str()));
        let groupings = self.grouping.iter().map(|g| ("a grouping".to_owned(), g.cause.as_str()));
        let signals = self.signal.iter().map(|s| (format!("signal {}", s.name), s.cause.as_str()));
        let named = reasons.chain(locations).chain(resets).chain(icmp).chain(groupings).chain(signals);
        named.filter(|(_, cause)| *cause != "*" && !cause.is_empty())
    }

    /// Whether the reasons of places are known.
    fn check_silent(&self) -> Result<(), String> {
        let known = |name: &str| self.reason.iter().any(|r| r.name == name);
        match self.silent.iter().find(|s| !known(&s.reason)) {
            Some(s) => {
                Err(format!("{} names the reason `{}`, which no [[reason]] has", s.function, s.reason))
            }
            None => Ok(()),
        }
    }

    /// Whether everything that is trouble names its cause.
    fn check_trouble(&self) -> Result<(), String> {
        let reasons = self.reason.iter().map(|r| (&r.name, r.severity, &r.cause));
        let resets = self.reset.iter().map(|r| (&r.name, r.severity, &r.cause));
        let mut all = reasons.chain(resets);
        match all.find(|(_, severity, cause)| *severity != Severity::Normal && cause.is_empty()) {
            Some((name, ..)) => Err(format!("{name} is trouble but names no cause")),
            None => Ok(()),
        }
    }
}

/// Replaces rows that are about the same thing, and adds the others.
fn replace<T, K: PartialEq>(rows: &mut Vec<T>, new: Vec<T>, key: impl Fn(&T) -> K) {
    for row in new {
        rows.retain(|old| key(old) != key(&row));
        rows.push(row);
    }
}

/// Whether all names of a table differ.
fn unique(table: &str, names: impl Iterator<Item = String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            return Err(format!("[[{table}]] describes {name} twice"));
        }
    }
    Ok(())
}
