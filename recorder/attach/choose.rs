//! Which probes are wanted, and where they are on this kernel.

use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use ntc::catalog;
use wildmatch::WildMatch;

use super::probe::Probe;
use crate::args::{Profile, Subject};
use crate::bpf::{PROBES, types};
use crate::kernel::btf::Btf;
use crate::kernel::functions::{Function, Functions};
use crate::kernel::tracepoints;

/// The function that calls the functions registered at a netfilter hook.
const HOOK_CALLER: &str = "nf_hook_slow";

/// The function that nftables calls with each rule that a traced packet meets.
const TRACER: &str = "nft_trace_notify";

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
        let mut plan: Vec<Probe> =
            tracepoints.map(|(number, t)| Probe::of_tracepoint(number, t, btf)).collect();
        if let Some(functions) = functions {
            let entries = catalog::probes().iter().filter(|entry| entry.tracepoint.is_none());
            let entries = entries.filter(|entry| self.entries.contains(entry.name));
            plan.extend(entries.map(|entry| Probe::of_entry(entry, functions)));
            plan.extend(self.functions.into_iter().map(Probe::of_function));
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
fn by_pattern(word: &str, functions: Option<&Functions>) -> Result<Vec<Word>> {
    let pattern = WildMatch::new(word);
    let entries: Vec<_> = catalog::probes().iter().filter(|entry| pattern.matches(entry.name)).collect();
    let others = functions.map(|f| f.matching(|name| pattern.matches(name))).unwrap_or_default();
    let others: Vec<Function> = others.into_iter().filter(|f| catalog::by_name(f.name()).is_none()).collect();
    if entries.is_empty() && others.is_empty() {
        bail!("the pattern '{word}' fits no tracepoint and no function that takes a packet or a socket");
    }
    Ok(vec![Word::Entries(entries), Word::Functions(others)])
}

/// Where to look when there is no probe of a name.
fn nearest(word: &str, functions: Option<&Functions>) -> String {
    let known = catalog::probes().iter().map(|entry| entry.name);
    let known = known.chain(catalog::groups().iter().map(|group| group.name));
    let names = known.chain(functions.into_iter().flat_map(Functions::names));
    words::nearest(word, names).unwrap_or_else(|| "`ntrec probes` lists them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
