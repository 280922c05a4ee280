//! Which probes are wanted, and where they are on this kernel.

use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use ntc::catalog;

use crate::args::{Filter, Profile, Subject};
use crate::backends::Backend;
use crate::bpf::types::probe_flag;
use crate::bpf::{PROBES, types};
use crate::btf::Btf;
use crate::functions::{Function, Functions};
use crate::kernel::{self, Arguments};
use crate::tracepoints;

/// The function that calls the hooks of a place of the stack.
const HOOK_CALLER: &str = "nf_hook_slow";

/// The function that nftables calls with each rule that a traced packet meets.
const TRACER: &str = "nft_trace_notify";

/// What a probe is attached to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A tracepoint.
    Tracepoint(&'static catalog::Probe),
    /// A function.
    Function(Box<Function>),
    /// A function of the catalog that this kernel does not have.
    Absent(&'static catalog::Probe),
}

/// A probe of this capture.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its number on the wire.
    pub number: u16,
    /// What it is attached to.
    pub target: Target,
    /// Where its arguments are.
    pub arguments: Arguments,
    /// A tracepoint's way; the ways of functions are tried when all of them are attached.
    pub backend: Option<Backend>,
    /// How it is attached, or why it cannot be; nothing as long as that is not known.
    pub outcome: Option<Result<String, String>>,
}

impl Probe {
    /// Its name in the column `probe`.
    pub fn name(&self) -> &str {
        match &self.target {
            Target::Tracepoint(entry) | Target::Absent(entry) => entry.name,
            Target::Function(function) => function.name(),
        }
    }

    /// The kind of its rows.
    pub fn kind(&self) -> &'static str {
        match &self.target {
            Target::Tracepoint(entry) | Target::Absent(entry) => entry.kind,
            Target::Function(function) => function.kind(),
        }
    }

    /// Whether it is a function of this kernel.
    pub fn function(&self) -> Option<&Function> {
        match &self.target {
            Target::Function(function) => Some(function),
            _ => None,
        }
    }

    /// Whether it is a tracepoint.
    pub fn is_tracepoint(&self) -> bool {
        matches!(self.target, Target::Tracepoint(_))
    }

    /// Whether nothing speaks against it so far.
    pub fn is_hopeful(&self) -> bool {
        !matches!(self.outcome, Some(Err(_)))
    }

    /// How the metadata tells of it.
    pub fn describe(&self) -> ntc::Probe {
        let name = self.name().to_owned();
        match &self.outcome {
            Some(Err(why)) => {
                let absent = matches!(self.target, Target::Absent(_));
                ntc::Probe { name, error: Some(why.clone()), absent, ..ntc::Probe::default() }
            }
            outcome => ntc::Probe {
                name,
                backend: outcome.clone().and_then(Result::ok).unwrap_or_default(),
                arguments: kernel::describe(&self.arguments),
                returns: outcome.as_ref().map(|_| self.function().is_some_and(Function::returns)),
                ..ntc::Probe::default()
            },
        }
    }
}

/// What a user's word stands for.
enum Word {
    /// Tracepoints and functions of the catalog.
    Entries(Vec<&'static catalog::Probe>),
    /// Functions of the kernel that the catalog does not have.
    Functions(Vec<Function>),
}

/// Chooses the probes that `subject` asks for.
pub fn choose(
    subject: &Subject,
    profile: Profile,
    btf: &Rc<Btf>,
    functions: Option<&Functions>,
) -> Result<Vec<Probe>> {
    let mut chosen = Chosen::default();
    if subject.probe.is_empty() {
        chosen.entries.extend(of_profile(profile).map(|entry| entry.name));
    }
    for word in &subject.probe {
        chosen.add(look_up(word, functions)?);
    }
    if subject.hooks {
        chosen.add(hooks(functions)?);
    }
    if subject.nft_trace {
        functions.with_context(|| without_functions("--nft-trace"))?;
        chosen.add(vec![Word::Entries(catalog::by_name(TRACER).into_iter().collect())]);
    }
    for word in &subject.no_probe {
        chosen.remove(&look_up(word, functions)?);
    }
    chosen.plan(btf, functions)
}

/// Whether a subject that could be chosen is about functions at all.
pub fn asks_functions(subject: &Subject, profile: Profile) -> bool {
    let is_function = |part: &Word| match part {
        Word::Entries(entries) => entries.iter().any(|entry| entry.tracepoint.is_none()),
        Word::Functions(functions) => !functions.is_empty(),
    };
    let is_about = |word: &String| look_up(word, None).is_ok_and(|parts| parts.iter().any(is_function));
    if subject.probe.is_empty() { profile != Profile::Net } else { subject.probe.iter().any(is_about) }
}

/// What `--hooks` adds: the function that calls the hooks, and the hooks.
fn hooks(functions: Option<&Functions>) -> Result<Vec<Word>> {
    let functions = functions.with_context(|| without_functions("--hooks"))?;
    let (known, others): (Vec<_>, Vec<_>) = functions.hooks().into_iter().partition(|f| f.entry.is_some());
    let entries = catalog::by_name(HOOK_CALLER).into_iter().chain(known.iter().filter_map(|f| f.entry));
    Ok(vec![Word::Entries(entries.collect()), Word::Functions(others)])
}

/// Refuses what only functions can tell.
fn without_functions(flag: &str) -> String {
    format!("{flag} is about functions, and this kernel's cannot be probed: `ntrec check` says why")
}

/// Refuses a flag whose probe cannot be recorded; to be asked again when all that can be is attached.
///
/// # Errors
///
/// When a flag says nothing without a probe that is not there.
pub fn check_demanded(subject: &Subject, plan: &[Probe]) -> Result<()> {
    let demands = [(subject.hooks, "--hooks", HOOK_CALLER), (subject.nft_trace, "--nft-trace", TRACER)];
    for (_, flag, name) in demands.into_iter().filter(|(wanted, ..)| *wanted) {
        match plan.iter().find(|probe| probe.name() == name).map(|probe| &probe.outcome) {
            None => bail!("{flag} needs the probe {name}, which --no-probe leaves out"),
            Some(Some(Err(why))) => bail!("{flag} needs the probe {name}, which cannot be recorded: {why}"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// The probes of a profile.
fn of_profile(profile: Profile) -> impl Iterator<Item = &'static catalog::Probe> {
    catalog::probes().iter().filter(move |entry| entry.profile <= profile.into())
}

/// What is chosen, by name.
#[derive(Default)]
struct Chosen {
    /// Tracepoints and functions of the catalog.
    entries: BTreeSet<&'static str>,
    /// Other functions.
    functions: Vec<Function>,
}

impl Chosen {
    /// Takes something in.
    fn add(&mut self, word: Vec<Word>) {
        for part in word {
            match part {
                Word::Entries(entries) => self.entries.extend(entries.iter().map(|entry| entry.name)),
                Word::Functions(functions) => self.functions.extend(functions),
            }
        }
    }

    /// Leaves something out.
    fn remove(&mut self, word: &[Word]) {
        for part in word {
            match part {
                Word::Entries(entries) => self.entries.retain(|name| entries.iter().all(|e| e.name != *name)),
                Word::Functions(gone) => {
                    self.functions.retain(|f| gone.iter().all(|g| g.symbol.name != f.symbol.name));
                }
            }
        }
    }

    /// Finds everything on this kernel, and numbers it.
    fn plan(self, btf: &Btf, functions: Option<&Functions>) -> Result<Vec<Probe>> {
        let tracepoints = tracepoints::all().filter(|(_, entry)| self.entries.contains(entry.name));
        let mut plan: Vec<Probe> = tracepoints.map(|(number, t)| of_tracepoint(number, t, btf)).collect();
        if let Some(functions) = functions {
            let entries = catalog::probes().iter().filter(|entry| entry.tracepoint.is_none());
            let entries = entries.filter(|entry| self.entries.contains(entry.name));
            plan.extend(entries.map(|entry| of_entry(entry, functions)));
            plan.extend(self.functions.into_iter().map(of_function));
            drop_doubles(&mut plan);
        }
        if plan.is_empty() && functions.is_none() && !self.entries.is_empty() {
            bail!("only functions are asked for, and this kernel's cannot be probed: `ntrec check` says why");
        }
        if plan.is_empty() {
            bail!("no probe is left to record: --no-probe leaves out all that --probe names");
        }
        let found = plan.iter_mut().filter(|probe| probe.function().is_some());
        let first = types::probe::PROBE_MAX.0 as usize;
        for (position, probe) in found.enumerate() {
            if first + position >= PROBES {
                bail!(
                    "these are too many probes: at most {} functions can be recorded at once",
                    PROBES - first
                );
            }
            probe.number = (first + position) as u16;
        }
        Ok(plan)
    }
}

/// A function that was chosen by several words is one probe.
fn drop_doubles(plan: &mut Vec<Probe>) {
    let mut seen = BTreeSet::new();
    plan.retain(|probe| probe.function().is_none_or(|f| seen.insert(f.symbol.name.clone())));
}

/// A tracepoint on this kernel.
fn of_tracepoint(number: u16, entry: &'static catalog::Probe, btf: &Btf) -> Probe {
    let found = kernel::tracepoint(btf, entry);
    Probe {
        number,
        target: Target::Tracepoint(entry),
        arguments: found.as_ref().copied().unwrap_or(kernel::NOTHING),
        backend: None,
        outcome: found.err().map(|why| Err(format!("{why:#}"))),
    }
}

/// A function of the catalog on this kernel.
fn of_entry(entry: &'static catalog::Probe, functions: &Functions) -> Probe {
    match functions.find(entry) {
        Ok(function) => of_function(function),
        Err(why) => Probe {
            number: u16::MAX,
            target: Target::Absent(entry),
            arguments: kernel::NOTHING,
            backend: None,
            outcome: Some(Err(why)),
        },
    }
}

/// A function of this kernel.
fn of_function(function: Function) -> Probe {
    let arguments = function.arguments;
    Probe {
        number: u16::MAX,
        target: Target::Function(Box::new(function)),
        arguments,
        backend: None,
        outcome: None,
    }
}

/// What a word of the user's stands for: a tracepoint, a function, a group, or a pattern.
fn look_up(word: &str, functions: Option<&Functions>) -> Result<Vec<Word>> {
    if word.contains(['*', '?']) {
        return by_pattern(word, functions);
    }
    if catalog::group(word).is_some() {
        return Ok(vec![Word::Entries(catalog::in_group(word).collect())]);
    }
    if let Some(entry) = catalog::by_name(word) {
        return Ok(vec![Word::Entries(vec![entry])]);
    }
    if let Some(function) = functions.map_or(Ok(None), |f| f.named(word))? {
        return Ok(vec![Word::Functions(vec![function])]);
    }
    let where_from = if functions.is_some() { "" } else { " among those that this kernel can record" };
    bail!("there is no probe '{word}'{where_from}; {}", nearest(word, functions))
}

/// Everything that a pattern fits.
fn by_pattern(pattern: &str, functions: Option<&Functions>) -> Result<Vec<Word>> {
    let entries: Vec<_> = catalog::probes().iter().filter(|entry| fits(pattern, entry.name)).collect();
    let others = functions.map(|f| f.matching(|name| fits(pattern, name))).unwrap_or_default();
    let others: Vec<Function> = others.into_iter().filter(|f| catalog::by_name(f.name()).is_none()).collect();
    if entries.is_empty() && others.is_empty() {
        bail!("the pattern '{pattern}' fits no tracepoint and no function that takes a packet or a socket");
    }
    Ok(vec![Word::Entries(entries), Word::Functions(others)])
}

/// Whether a pattern of `*` and `?` fits a name.
fn fits(pattern: &str, name: &str) -> bool {
    let (mut p, mut n) = (pattern.chars(), name.chars());
    match (p.next(), n.next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = p.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| fits(rest, &name[at..]))
        }
        (Some('?'), Some(_)) => fits(p.as_str(), n.as_str()),
        (Some(a), Some(b)) if a == b => fits(p.as_str(), n.as_str()),
        _ => false,
    }
}

/// Where to look when there is no probe of a name: the three that are most like it, if any is at all.
fn nearest(word: &str, functions: Option<&Functions>) -> String {
    let known = catalog::probes().iter().map(|entry| entry.name);
    let known = known.chain(catalog::groups().iter().map(|group| group.name));
    let names: BTreeSet<&str> = known.chain(functions.into_iter().flat_map(Functions::names)).collect();
    let alike = names.into_iter().map(|name| (strsim::sorensen_dice(name, word), name));
    let mut alike: Vec<(f64, &str)> = alike.filter(|(similarity, _)| *similarity > ALIKE).collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let alike: Vec<&str> = alike.into_iter().map(|(_, name)| name).take(3).collect();
    match alike.as_slice() {
        [] => "`ntrec probes` lists them".to_owned(),
        names => format!("nearest to it: {}", names.join(", ")),
    }
}

/// More of their pairs of letters than this are in both of two names if one may be meant for the other.
const ALIKE: f64 = 0.5;

/// The probes of this capture that a word of a flag names.
fn named<'a>(flag: &str, word: &str, plan: &'a [Probe]) -> Result<Vec<&'a Probe>> {
    let fitting = |probe: &&Probe| fits(word, probe.name()) || group_of(probe) == Some(word);
    let found: Vec<&Probe> = plan.iter().filter(fitting).collect();
    if found.is_empty() {
        bail!("{flag}: '{word}' is not among the probes of this capture");
    }
    Ok(found)
}

/// The numbers of the probes that record stacks.
pub fn stacks(subject: &Subject, plan: &[Probe]) -> Result<Vec<u16>> {
    if subject.stack.iter().any(|name| name == "none") {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::new();
    for word in &subject.stack {
        if word == DEFAULT_STACK && plan.iter().all(|probe| probe.name() != word) {
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
        numbers.extend(found.iter().filter(|probe| probe.is_hopeful()).map(|probe| probe.number));
    }
    Ok(numbers)
}

/// What the user says of how packets are followed.
#[derive(Default)]
pub struct Marks {
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
    pub fn make(filter: &Filter, plan: &[Probe]) -> Result<Self> {
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
    pub fn setup(&self, probe: &Probe) -> types::setup {
        const STARTS: u8 = probe_flag::PROBE_STARTS.0 as u8;
        let tracepoint = types::setup { flags: STARTS, ..types::setup::default() };
        let mut found = probe.function().map_or(tracepoint, Function::setup);
        found.arguments = probe.arguments;
        if probe.backend == Some(Backend::TpBtf) {
            found.flags |= probe_flag::PROBE_TYPED.0 as u8;
        }
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
    let numbers: BTreeSet<u16> = found.iter().filter(|p| p.is_hopeful()).map(|p| p.number).collect();
    match found.first().and_then(|probe| probe.outcome.as_ref()) {
        Some(Err(why)) if numbers.is_empty() => {
            bail!("{flag}: {} cannot be recorded: {why}", found[0].name())
        }
        _ => Ok(numbers),
    }
}

/// The probe whose stacks are recorded unless something else is asked for.
pub const DEFAULT_STACK: &str = "kfree_skb";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        assert!(
            fits("tcp_*", "tcp_v4_rcv") && fits("*rcv", "tcp_v4_rcv") && fits("tcp_v?_rcv", "tcp_v6_rcv")
        );
        assert!(!fits("tcp_*", "udp_rcv") && !fits("rcv", "tcp_v4_rcv") && !fits("tcp_v?_rcv", "tcp_rcv"));
        assert!(fits("*", "") && fits("**", "x"));
    }

    #[test]
    fn names_are_suggested_that_are_like_the_word() {
        for (word, name) in
            [("tcp_v4_rvc", "tcp_v4_rcv"), ("kfree_skbb", "kfree_skb"), ("netfiler", "netfilter")]
        {
            let told = nearest(word, None);
            assert!(told.starts_with(&format!("nearest to it: {name}")), "{word}: {told}");
        }
        for word in ["", "schedule_work_on", "0"] {
            assert_eq!(nearest(word, None), "`ntrec probes` lists them");
        }
    }
}
