//! What drops, resets, ICMP errors and other signals mean: tables in TOML, shipped inside the program.

mod table;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ntc::catalog;

use crate::event::Snapshot;
use crate::probes::RETURN;
pub use table::stages::{Join, Limit, Model, Role, Stage, Within};
pub use table::{Cause, Grouping, Key, Severity, Signal, Thresholds};
use table::{Location, Reason, Silent, Tables};

/// Drop reasons, reset reasons, ICMP errors and their root causes.
const DROPS: &str = include_str!("../knowledge/drops.toml");
/// How findings are made: grouping, thresholds, signals other than drops.
const CAUSES: &str = include_str!("../knowledge/causes.toml");
/// Stages of a packet's way, and between which of them the time is measured.
const STAGES: &str = include_str!("../knowledge/stages.toml");
/// The cause of a drop reason that no table knows.
const UNKNOWN: &str = "unknown-drop";
/// The reason of a drop that gives none, at a place that no table knows.
const NOT_SPECIFIED: &str = "NOT_SPECIFIED";
/// IP and TCP headers have at most so many bytes each.
const LONGEST_HEADER: u32 = 60;

impl Severity {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What an observation means.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// How bad it is.
    pub severity: Severity,
    /// Root cause.
    pub cause: String,
    /// What it means, one sentence.
    pub means: String,
    /// What to do; empty: what the cause says.
    pub advice: String,
    /// Kernel counters that count it.
    pub counters: String,
}

/// All tables, indexed.
#[derive(Debug)]
pub struct Knowledge {
    /// The rows.
    tables: Tables,
    /// Drop reasons by name.
    reasons: HashMap<String, Reason>,
    /// Places by function.
    locations: HashMap<String, Vec<Location>>,
    /// Reasons that places stand for, by function.
    silent: HashMap<String, Vec<Silent>>,
    /// Times and shares that decide.
    thresholds: Thresholds,
}

impl Knowledge {
    /// The tables inside the program, with the rows of other files over them.
    pub fn load(rules: &[impl AsRef<Path>]) -> Result<Self> {
        let shipped = [("causes.toml", CAUSES), ("drops.toml", DROPS), ("stages.toml", STAGES)];
        let mut texts: Vec<(String, String)> =
            shipped.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        for path in rules {
            let path = path.as_ref();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading rules {}", path.display()))?;
            texts.push((path.display().to_string(), text));
        }
        Self::from_texts(&texts)
    }

    /// Tables from texts, each with its name for messages; later ones replace rows of earlier ones.
    pub fn from_texts(texts: &[(String, String)]) -> Result<Self> {
        let mut tables = Tables::default();
        for (name, text) in texts {
            tables.extend(Tables::parse(text).map_err(|e| anyhow!("rules {name}: {e}"))?);
        }
        let last = texts.last().map_or("", |(name, _)| name);
        tables.check_causes().map_err(|e| anyhow!("rules {last}: {e}"))?;
        tables.check_stages(is_probe_or_stage).map_err(|e| anyhow!("rules {last}: {e}"))?;
        let thresholds = tables.thresholds().map_err(|e| anyhow!("rules {last}: {e}"))?;
        Ok(Self::index(tables, thresholds))
    }

    /// Indexes the tables.
    fn index(tables: Tables, thresholds: Thresholds) -> Self {
        let reasons = tables.reason.iter().map(|r| (r.name.clone(), r.clone())).collect();
        let mut locations: HashMap<String, Vec<Location>> = HashMap::new();
        for location in &tables.location {
            locations.entry(location.function.clone()).or_default().push(location.clone());
        }
        let mut silent: HashMap<String, Vec<Silent>> = HashMap::new();
        for place in &tables.silent {
            silent.entry(place.function.clone()).or_default().push(place.clone());
        }
        Self { tables, reasons, locations, silent, thresholds }
    }

    /// Times and shares that decide.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Why a packet was dropped. That is what the kernel says, with two exceptions: before 5.17 it says nothing, so
    /// that the place has to tell; and until 6.14 it did not tell a pure ACK that reordering made old from a segment
    /// with data, which PAWS (RFC 7323, section 5) or its sequence number takes away from a program.
    pub fn reason<'a>(&'a self, event: &Snapshot<'a>) -> &'a str {
        let is_short = event.len.is_none_or(|len| len <= LONGEST_HEADER);
        let is_pure_ack = || event.tcp_flags == "A" && is_short;
        match event.reason.text() {
            "" => self.reason_of_place(event),
            "TCP_RFC7323_PAWS" | "TCP_INVALID_SEQUENCE" if is_pure_ack() => "TCP_RFC7323_PAWS_ACK",
            reason => reason,
        }
    }

    /// The reason that a place stands for.
    fn reason_of_place(&self, event: &Snapshot<'_>) -> &str {
        let rows = self.silent.get(function_of(event.location.text())).map_or(&[][..], Vec::as_slice);
        let (flags, stack) = (event.tcp_flags.text(), event.stack.text());
        let on_stack = |function: &str| stack.split(';').any(|frame| function_of(frame) == function);
        let mut fitting = rows.iter().filter(|s| {
            s.tcp_flags.as_deref().is_none_or(|wanted| wanted == flags)
                && s.under.as_deref().is_none_or(on_stack)
        });
        let row = fitting.clone().find(|s| s.is_special()).or_else(|| fitting.next());
        row.map_or(NOT_SPECIFIED, |s| &s.reason)
    }

    /// What a drop with this reason at this place means.
    pub fn drop(&self, reason: &str, location: &str) -> Meaning {
        let general = self.reasons.get(reason);
        let special = self.special(reason, function_of(location));
        match (general, special) {
            (Some(general), None) => meaning_of(general),
            (None, None) => unknown(reason),
            (general, Some(special)) => {
                narrowed(general.map_or_else(|| unknown(reason), meaning_of), special)
            }
        }
    }

    /// The row about a reason at a function; one that names the reason goes before one for all reasons.
    fn special(&self, reason: &str, function: &str) -> Option<&Location> {
        let rows = self.locations.get(function)?;
        rows.iter().find(|l| l.reason == reason).or_else(|| rows.iter().find(|l| l.reason == "*"))
    }

    /// What a reset with this reason means.
    pub fn reset(&self, reason: &str) -> Option<Meaning> {
        let row = self.tables.reset.iter().find(|r| r.name == reason)?;
        Some(meaning(row.severity, &row.cause, &row.means, &row.advice))
    }

    /// What an ICMP error means.
    pub fn icmp(&self, ipv6: bool, kind: u8, code: u8) -> Option<Meaning> {
        let family = if ipv6 { 6 } else { 4 };
        let fits = |family_of: Option<u8>| family_of.unwrap_or(4) == family;
        let rows = || self.tables.icmp.iter().filter(|i| fits(i.family) && i.kind == kind);
        let row = rows().find(|i| i.code == Some(code)).or_else(|| rows().find(|i| i.code.is_none()))?;
        Some(meaning(row.severity, &row.cause, &row.means, &row.advice))
    }

    /// The row about a signal.
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.tables.signal.iter().find(|s| s.name == name)
    }

    /// The rows about stages.
    pub fn stages(&self) -> &[Stage] {
        &self.tables.stage
    }

    /// The rows about roles of devices.
    pub fn roles(&self) -> &[Role] {
        &self.tables.role
    }

    /// The rows about models.
    pub fn models(&self) -> &[Model] {
        &self.tables.model
    }

    /// The row about the time of a leg from which on it is abnormal, or of the whole way.
    pub fn limit(&self, model: &str, leg: Option<(&str, &str)>) -> Option<&Limit> {
        let ends = |limit: &Limit| {
            limit.from.as_deref() == leg.map(|l| l.0) && limit.to.as_deref() == leg.map(|l| l.1)
        };
        self.tables.limit.iter().find(|limit| limit.model == model && ends(limit))
    }

    /// The row about a cause.
    pub fn cause(&self, id: &str) -> Option<&Cause> {
        self.tables.cause.iter().find(|c| c.id == id)
    }

    /// How findings of a cause are grouped.
    pub fn grouping(&self, cause: &str) -> Grouping {
        let row = |id: &str| self.tables.grouping.iter().find(|g| g.cause == id);
        row(cause).or_else(|| row("*")).cloned().unwrap_or_default()
    }
}

/// Whether a model may name it as a stage though no row has it: a stage of the catalog, or a probe; any function may be one.
fn is_probe_or_stage(name: &str) -> bool {
    let function = name.strip_suffix(RETURN).unwrap_or(name);
    !function.is_empty() && function.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        || catalog::stages().iter().any(|stage| stage.name == name)
}

/// What a signal means.
impl From<&Signal> for Meaning {
    fn from(row: &Signal) -> Self {
        meaning(row.severity, &row.cause, &row.means, &row.advice)
    }
}

/// A meaning without counters.
fn meaning(severity: Severity, cause: &str, means: &str, advice: &str) -> Meaning {
    Meaning {
        severity,
        cause: cause.to_owned(),
        means: means.to_owned(),
        advice: advice.to_owned(),
        counters: String::new(),
    }
}

/// What a drop reason means anywhere.
fn meaning_of(row: &Reason) -> Meaning {
    Meaning { counters: row.counters.clone(), ..meaning(row.severity, &row.cause, &row.means, &row.advice) }
}

/// What a drop reason means at a place.
fn narrowed(general: Meaning, special: &Location) -> Meaning {
    let or = |text: &str, other: String| if text.is_empty() { other } else { text.to_owned() };
    Meaning {
        severity: special.severity,
        cause: special.cause.clone().unwrap_or(general.cause),
        means: or(&special.means, general.means),
        advice: or(&special.advice, general.advice),
        counters: general.counters,
    }
}

/// What a reason means that no table knows.
fn unknown(reason: &str) -> Meaning {
    let reason = if reason.is_empty() { "-" } else { reason };
    let means = format!("the kernel dropped it for {reason}, which this build does not know");
    meaning(Severity::Warning, UNKNOWN, &means, "")
}

/// The function of a location, without its offset and what the compiler appended: `tcp_v4_rcv.isra.0+0x81`.
pub fn function_of(location: &str) -> &str {
    let name = location.split(['+', ' ']).next().unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tables inside the program.
    pub fn shipped() -> Knowledge {
        Knowledge::load(&[] as &[&str]).unwrap()
    }

    /// Those tables with a file of rules over them.
    fn with_rules(rules: &str) -> Result<Knowledge> {
        let texts = [("causes", CAUSES), ("drops", DROPS), ("mine.toml", rules)];
        Knowledge::from_texts(&texts.map(|(name, text)| (name.to_owned(), text.to_owned())))
    }

    #[test]
    fn the_shipped_tables_fit_together() {
        shipped();
    }

    #[test]
    fn a_place_goes_before_its_reason() {
        let knowledge = shipped();
        let at = |reason, location| knowledge.drop(reason, location);
        assert_eq!(at("NO_SOCKET", "ping_rcv+0xab").severity, Severity::Normal);
        assert_eq!(at("NO_SOCKET", "tcp_v4_rcv.isra.0+0x1").cause, "tcp-port-closed");
        assert_eq!(at("NO_SOCKET", "__udp4_lib_rcv+0x1").cause, "udp-port-closed");
        assert_eq!(at("NOT_SPECIFIED", "packet_rcv.cold+0x10").severity, Severity::Normal);
    }

    #[test]
    fn where_the_kernel_gives_no_reason_the_place_tells() {
        let knowledge = shipped();
        let at = |location: &str, flags: &str| {
            let flags = if flags.is_empty() { String::new() } else { format!(" flags={flags}") };
            let script = crate::script::Script::new(&format!("1 7 kfree_skb at={location}{flags}"));
            knowledge.reason(&Snapshot::of(&script.block().event(0))).to_owned()
        };
        assert_eq!(at("nf_hook_slow+0x93", ""), "NETFILTER_DROP");
        assert_eq!(at("tcp_v4_rcv+0x62", "S"), "NO_SOCKET");
        assert_eq!(at("tcp_v4_rcv+0x62", "A"), "SKB_CONSUMED");
        assert_eq!(at("never_heard+0x1", ""), "NOT_SPECIFIED");
    }

    #[test]
    fn an_unknown_reason_is_a_warning_that_names_it() {
        let meaning = shipped().drop("NEVER_HEARD", "foo+0x1");
        assert_eq!(meaning.severity, Severity::Warning);
        assert!(meaning.means.contains("NEVER_HEARD"));
    }

    #[test]
    fn wrong_rules_are_refused_with_file_and_reason() {
        let refuse = |text: &str| with_rules(text).unwrap_err().to_string();
        let row = r#"[[reason]]
            name = "A"
            cause = "nowhere"
            means = "m"
            severity = "error""#;
        assert!(refuse(row).contains("mine.toml: reason A names the cause `nowhere`"));
        assert!(refuse(&row.replace("\"error\"", "\"bad\"")).contains("bad"));
        let twice = "[[cause]]\nid = \"a\"\ntitle = \"t\"\n".repeat(2);
        assert!(refuse(&twice).contains("[[cause]] describes a twice"));
    }

    #[test]
    fn rules_replace_rows() {
        let row = "[[reason]]\nname='NETFILTER_DROP'\nseverity='normal'\nmeans='ours'";
        let knowledge = with_rules(row).unwrap();
        assert_eq!(knowledge.drop("NETFILTER_DROP", "").means, "ours");
    }
}
