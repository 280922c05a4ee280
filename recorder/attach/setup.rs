//! What the BPF programs must know of each probe: where its arguments are, and what the user asks for there.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use ntc::catalog;
use wildmatch::WildMatch;

use super::probe::{Probe, Target};
use crate::args::{self, Filter, Subject};
use crate::bpf::types::{self, probe_flag};
use crate::kernel::functions::Function;
use crate::kernel::tracepoints;

/// Sets up every probe.
///
/// # Errors
///
/// When a flag names no probe of this capture, or one that cannot do what it is to do.
pub fn make(subject: &Subject, filter: &Filter, probes: &mut [Probe]) -> Result<()> {
    let stacks = stacks(subject, probes)?;
    let marks = Marks::make(filter, probes)?;
    for probe in probes {
        probe.setup = marks.setup(probe);
        if stacks.contains(&probe.number) {
            probe.setup.flags |= probe_flag::PROBE_STACK.0 as u8;
        }
    }
    Ok(())
}

/// The probes of this capture that a word of a flag names.
fn named<'a>(flag: &str, word: &str, plan: &'a [Probe]) -> Result<Vec<&'a Probe>> {
    let pattern = WildMatch::new(word);
    let fitting = |probe: &&Probe| pattern.matches(probe.name()) || group_of(probe) == Some(word);
    let found: Vec<&Probe> = plan.iter().filter(fitting).collect();
    if found.is_empty() {
        bail!("{flag}: '{word}' is not among the probes of this capture");
    }
    Ok(found)
}

/// The numbers of the probes that record stacks.
fn stacks(subject: &Subject, plan: &[Probe]) -> Result<Vec<u16>> {
    if subject.stack.iter().any(|name| name == "none") {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::new();
    for word in &subject.stack {
        if word == args::DEFAULT_STACK && plan.iter().all(|probe| probe.name() != word) {
            continue;
        }
        let found = named("--stack", word, plan)?;
        if let Some(other) = found.iter().find(|probe| !records_stacks(probe)) {
            bail!(
                "--stack: {} has no stack that says more than its name; choose functions, or among {}",
                other.name(),
                tracepoints::with_stack().join(", ")
            );
        }
        numbers.extend(found.iter().filter(|probe| probe.is_candidate()).map(|probe| probe.number));
    }
    Ok(numbers)
}

/// What the user says of how packets are followed.
struct Marks {
    /// Probes at which a packet may begin to fit; nothing for all.
    starts: Option<BTreeSet<u16>>,
    /// Functions at which packets end.
    ends: BTreeSet<u16>,
    /// Clones are not followed.
    no_clone: bool,
}

impl Marks {
    /// Looks up what the flags name.
    ///
    /// # Errors
    ///
    /// When a word names no probe of this capture, or one that cannot do what it is to do.
    fn make(filter: &Filter, plan: &[Probe]) -> Result<Self> {
        let starts = numbers("--match", &filter.starts, plan)?;
        let ends = numbers("--free", &filter.ends, plan)?;
        let first = types::probe::PROBE_MAX.0 as u16;
        if let Some(tracepoint) = plan.iter().find(|p| p.number < first && ends.contains(&p.number)) {
            bail!("--free: {} is a tracepoint, which knows by itself what it ends", tracepoint.name());
        }
        let starts = (!filter.starts.is_empty()).then_some(starts);
        Ok(Self { starts, ends, no_clone: filter.no_clone })
    }

    /// What the BPF programs must know of a probe.
    fn setup(&self, probe: &Probe) -> types::setup {
        const STARTS: u8 = probe_flag::PROBE_STARTS.0 as u8;
        let tracepoint = types::setup { flags: STARTS, ..types::setup::default() };
        let mut found = probe.function().map_or(tracepoint, Function::setup);
        found.arguments = probe.arguments;
        if self.starts.as_ref().is_some_and(|starts| !starts.contains(&probe.number)) {
            found.flags &= !STARTS;
        }
        if self.ends.contains(&probe.number) {
            found.flags |= probe_flag::PROBE_ENDS.0 as u8;
        }
        if self.no_clone && probe.function().is_some_and(Function::clones) {
            found.link = types::link::LINK_NONE.0 as u8;
        }
        found
    }
}

/// The numbers of the probes that a flag names, of which the kernel must have some.
fn numbers(flag: &str, words: &[String], plan: &[Probe]) -> Result<BTreeSet<u16>> {
    let mut found = Vec::new();
    for word in words {
        found.extend(named(flag, word, plan)?);
    }
    let numbers: BTreeSet<u16> = found.iter().filter(|p| p.is_candidate()).map(|p| p.number).collect();
    match found.first().and_then(|probe| probe.outcome.as_ref()) {
        Some(Err(why)) if numbers.is_empty() => {
            bail!("{flag}: {} cannot be recorded: {why}", found[0].name())
        }
        _ => Ok(numbers),
    }
}

/// The group that the catalog has a probe in.
fn group_of(probe: &Probe) -> Option<&'static str> {
    catalog::by_name(probe.name()).map(|entry| entry.group.name)
}

/// Whether a probe's record has room for a stack.
fn records_stacks(probe: &Probe) -> bool {
    match &probe.target {
        Target::Tracepoint(entry) => entry.stack,
        Target::Function(function) => !function.traces(),
        Target::Absent(_) => true,
    }
}
