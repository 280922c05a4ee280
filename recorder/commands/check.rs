//! `ntrec check`: what this machine offers to a recording, and what each missing thing costs.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;

use super::explore::Node;
use super::output::{self, size};
use crate::args;
use crate::attach::{Probe, Target};
use crate::kernel::backends::{Backend, Offers};
use crate::node::host;

/// What was found: an error where something is missing, nothing where it could not be tried.
type Found = Option<Result<String, String>>;

/// One line of the answer.
struct Check {
    /// What is looked for.
    name: &'static str,
    /// Whether nothing can be recorded without it.
    essential: bool,
    /// Looks for it.
    look: fn(&Node) -> Found,
    /// What it costs that it is missing.
    cost: &'static str,
}

/// What nothing can be recorded without.
const fn need(name: &'static str, look: fn(&Node) -> Found, cost: &'static str) -> Check {
    Check { name, essential: true, look, cost }
}

/// What a recording is better with.
const fn wish(name: &'static str, look: fn(&Node) -> Found, cost: &'static str) -> Check {
    Check { name, essential: false, look, cost }
}

/// Everything that is looked for.
const CHECKS: [Check; 19] = [
    need("capabilities", privileges, "nothing can be recorded, and what follows was not tried"),
    need(
        "BTF",
        btf,
        "nothing can be recorded without --btf FILE: BTF says where the arguments of the kernel's functions are",
    ),
    wish("BTF of modules", module_btf, "functions of these modules are not recorded"),
    need("lockdown", lockdown, "nothing can be recorded: BPF programs may not read the kernel's memory"),
    wish(
        "tp_btf",
        |node| backend(node, Backend::TpBtf),
        "tracepoints are recorded by raw_tp, at more CPU time for each event",
    ),
    need(
        "raw_tp",
        |node| backend(node, Backend::RawTp),
        "nothing can be recorded: packets begin and end at tracepoints",
    ),
    wish("tracepoints", tracepoints, "events of the missing ones; `ntrec probes` names them"),
    wish(
        "kprobe.multi",
        |node| backend(node, Backend::KprobeMulti),
        "functions are attached one by one: a start takes seconds, not a fraction of one",
    ),
    wish(
        "fentry",
        |node| backend(node, Backend::Fentry),
        "nothing where kprobe.multi works; else kprobes, which slow each call down more",
    ),
    wish("kprobe", |node| backend(node, Backend::Kprobe), "nothing where kprobe.multi or fentry works"),
    wish(
        "functions",
        functions,
        "tracepoints only: netfilter, routing, bridges and tc show only where they drop or send",
    ),
    wish(
        "atomic fetch",
        |node| helper(node, |offers| offers.has_fetch),
        "--max-events may record a few more, and two events of a CPU may have the same number",
    ),
    wish(
        "cookies",
        |node| helper(node, |offers| offers.has_cookie),
        "kprobes are told apart by their addresses: each call takes a little longer",
    ),
    wish(
        "kernel symbols",
        symbols,
        "drops and stacks are bare addresses; without cookies no function is recorded (kernel.kptr_restrict)",
    ),
    wish(
        "locked memory",
        locked_memory,
        "the buffer does not fit: raise it (ulimit -l), or choose a smaller --buffer-size",
    ),
    wish(
        "memory",
        memory,
        "the kernel may kill the recorder: choose a smaller --buffer-size, or raise the limit",
    ),
    wish("disk", disk, "a recording here ends early; choose another folder for -o, or --max-size"),
    wish("clock", clock, "each event reads a slow clock: about a microsecond of the packet's time"),
    wish("JIT", jit, "BPF programs are interpreted, several times slower (net.core.bpf_jit_enable)"),
];

/// Memory that a recorder takes with the default buffer, at most.
const MEMORY: u64 = 200 << 20;
/// Room that a recording should find.
const ROOM: u64 = 64 << 20;
/// Clocks that are read without leaving the CPU.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

/// What can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Recordable {
    /// Nothing at all.
    Nothing,
    /// Tracepoints, no functions.
    Tracepoints,
    /// Tracepoints and functions.
    Functions,
}

/// The answer.
#[derive(Serialize)]
struct Report {
    /// The version of the recorder.
    ntrec: &'static str,
    /// The kernel's release.
    kernel: String,
    /// The processor's architecture.
    machine: String,
    /// What can be recorded.
    records: Recordable,
    /// What was looked for.
    checks: Vec<Line>,
}

/// One line of the answer.
#[derive(Serialize)]
struct Line {
    /// What was looked for.
    name: &'static str,
    /// Whether it is there; nothing where that could not be tried.
    works: Option<bool>,
    /// What was found.
    found: String,
    /// What it costs that it is missing.
    cost: Option<&'static str>,
}

/// Answers.
///
/// # Errors
///
/// When nothing can be recorded.
pub fn run(args: &args::Check) -> Result<()> {
    let node = Node::explore();
    let report = report(&node);
    output::print(&report, || text(&report), args.format)?;
    if report.records == Recordable::Nothing {
        bail!("nothing can be recorded on this machine: {}", obstacle(&report).unwrap_or_default());
    }
    Ok(())
}

/// Looks for everything.
fn report(node: &Node) -> Report {
    let system = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    let checks: Vec<Line> = CHECKS.iter().map(|check| line(check, node)).collect();
    let essential = CHECKS.iter().zip(&checks).filter(|(check, _)| check.essential);
    let records = match () {
        () if essential.into_iter().any(|(_, line)| line.works == Some(false)) => Recordable::Nothing,
        () if node.backend().is_none() => Recordable::Tracepoints,
        () => Recordable::Functions,
    };
    Report {
        ntrec: env!("CARGO_PKG_VERSION"),
        kernel: text(system.release()),
        machine: text(system.machine()),
        records,
        checks,
    }
}

/// Looks for one thing.
fn line(check: &Check, node: &Node) -> Line {
    let found = (check.look)(node);
    let works = found.as_ref().map(Result::is_ok);
    let (Ok(found) | Err(found)) = found.unwrap_or_else(|| Ok("not tried".to_owned()));
    Line { name: check.name, works, found, cost: (works == Some(false)).then_some(check.cost) }
}

/// Why nothing can be recorded.
fn obstacle(report: &Report) -> Option<&str> {
    let essential = |line: &&Line| CHECKS.iter().any(|check| check.essential && check.name == line.name);
    report
        .checks
        .iter()
        .filter(essential)
        .find(|line| line.works == Some(false))
        .map(|line| line.found.as_str())
}

/// For people.
fn text(report: &Report) -> String {
    let records = match report.records {
        Recordable::Nothing => "nothing can be recorded",
        Recordable::Tracepoints => "tracepoints can be recorded, functions cannot",
        Recordable::Functions => "tracepoints and functions can be recorded",
    };
    let mut text =
        format!("ntrec {} on kernel {} ({}): {records}\n", report.ntrec, report.kernel, report.machine);
    let width = CHECKS.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for line in &report.checks {
        let mark = match line.works {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        let _ = writeln!(text, "  {mark:3}  {:width$}  {}", line.name, line.found);
        if let Some(cost) = line.cost {
            let _ = writeln!(text, "       {:width$}  costs: {cost}", "");
        }
    }
    text
}

/// Something that is there.
fn yes(found: impl Into<String>) -> Found {
    Some(Ok(found.into()))
}

/// Something that is missing.
fn no(found: impl Into<String>) -> Found {
    Some(Err(found.into()))
}

/// Whether this process may record.
fn privileges(node: &Node) -> Found {
    Some(node.privileges.clone().map(|()| "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN".to_owned()))
}

/// The kernel's types.
fn btf(node: &Node) -> Found {
    Some(node.btf.as_ref().map(|_| "of the kernel".to_owned()).map_err(Clone::clone))
}

/// The types of modules.
fn module_btf(_: &Node) -> Found {
    let modules = host::modules();
    let has = |name: &str| Path::new("/sys/kernel/btf").join(name).exists();
    let without: Vec<&str> = modules.iter().map(String::as_str).filter(|name| !has(name)).collect();
    if without.is_empty() {
        return yes(format!("{} modules are loaded, all have it", modules.len()));
    }
    no(format!(
        "{} of {} modules that are loaded have none: {}",
        without.len(),
        modules.len(),
        without.join(", ")
    ))
}

/// Whether the kernel keeps its memory from root.
fn lockdown(_: &Node) -> Found {
    const PATH: &str = "/sys/kernel/security/lockdown";
    let Ok(state) = fs::read_to_string(PATH) else { return yes(format!("none: there is no {PATH}")) };
    let state = state.split(['[', ']']).nth(1).unwrap_or_default();
    if state == "confidentiality" { no(state) } else { yes(state) }
}

/// Whether a way to attach works.
fn backend(node: &Node, backend: Backend) -> Found {
    let (_, outcome) = node.offers.as_ref()?.backends.iter().find(|(other, _)| *other == backend)?;
    Some(outcome.clone().map(|()| "works".to_owned()))
}

/// Whether the kernel's BPF has something.
fn helper(node: &Node, has: fn(&Offers) -> bool) -> Found {
    if has(node.offers.as_ref()?) { yes("works") } else { no("this kernel's BPF does not have it") }
}

/// Counts those that this kernel has, among all probes that are wanted.
fn count(node: &Node, wanted: fn(&Probe) -> bool) -> Option<(usize, usize)> {
    let probes = node.probes(&[]).ok()?;
    let all: Vec<&Probe> = probes.iter().filter(|probe| wanted(probe)).collect();
    Some((all.iter().filter(|probe| probe.is_candidate()).count(), all.len()))
}

/// How many tracepoints are here.
fn tracepoints(node: &Node) -> Found {
    let (here, all) = count(node, |probe| matches!(probe.target, Target::Tracepoint(_)))?;
    let found = format!("{here} of {all}");
    if here == all { yes(found) } else { no(found) }
}

/// How many functions are here. Some always miss: in modules that nobody needs, or inlined.
fn functions(node: &Node) -> Found {
    let (here, all) = count(node, |probe| !matches!(probe.target, Target::Tracepoint(_)))?;
    let found = format!("{here} of {all} of the catalog are here");
    match node.backend() {
        Some(backend) => yes(format!("{found}, probed by {backend}")),
        None if node.offers.is_none() => yes(found),
        None => no(format!("{found}, but no way to probe them works")),
    }
}

/// Whether addresses of functions are shown.
fn symbols(node: &Node) -> Found {
    node.privileges.as_ref().ok()?;
    let text = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let shown = text.lines().any(|line| !line.starts_with("0000000000000000 "));
    if shown { yes("readable") } else { no("/proc/kallsyms hides the addresses") }
}

/// Whether the buffer may be locked in memory.
fn locked_memory(node: &Node) -> Found {
    if node.offers.as_ref()?.charges_cgroup {
        return yes("not limited: this kernel charges the cgroup");
    }
    let held = capabilities(None).map_or(CapabilitySet::empty(), |held| held.effective);
    match getrlimit(Resource::Memlock).maximum {
        _ if held.contains(CapabilitySet::SYS_RESOURCE) => yes("the limit is raised for a recording"),
        Some(limit) if limit < MEMORY => no(format!("limited to {}", size(limit))),
        Some(limit) => yes(format!("limited to {}", size(limit))),
        None => yes("not limited"),
    }
}

/// Whether the cgroup leaves enough memory.
fn memory(_: &Node) -> Found {
    let Some(limit) = memory_limit() else { return yes("not limited by a cgroup") };
    let found = format!("the cgroup allows {}", size(limit));
    if limit < MEMORY { no(found) } else { yes(found) }
}

/// The smallest limit of memory of the cgroups that this process is in, of either version.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(limit_of_group).min()
}

/// The smallest limit of a line of `/proc/self/cgroup`, `4:memory:/user`, and of what it lies in.
fn limit_of_group(line: &str) -> Option<u64> {
    /// Version 1 has no word for "no limit"; this is larger than any memory.
    const UNLIMITED: u64 = 1 << 60;
    let mut parts = line.splitn(3, ':').skip(1);
    let (root, file) = match parts.next()? {
        "" => ("/sys/fs/cgroup", "memory.max"),
        "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return None,
    };
    let folders = Path::new(parts.next()?.trim_start_matches('/')).ancestors();
    let limits = folders.filter_map(|f| fs::read_to_string(Path::new(root).join(f).join(file)).ok());
    limits.filter_map(|text| text.trim().parse().ok()).filter(|limit| *limit < UNLIMITED).min()
}

/// Room in the folder where a recording would be written.
fn disk(_: &Node) -> Found {
    let stat = rustix::fs::statvfs(".").ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} free in this folder", size(free));
    if free < ROOM { no(found) } else { yes(found) }
}

/// The clock that time stamps are read from.
fn clock(_: &Node) -> Found {
    const PATH: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = fs::read_to_string(PATH).ok()?.trim().to_owned();
    if FAST_CLOCKS.contains(&source.as_str()) { yes(source) } else { no(source) }
}

/// Whether BPF programs are compiled.
fn jit(_: &Node) -> Found {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(state) if state.trim() == "0" => no("off"),
        _ => yes("on"),
    }
}
