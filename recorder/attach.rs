//! Loads the BPF programs with what this kernel offers, and attaches them.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, OpenObject, libbpf_sys};

use crate::args::{Capture, Subject};
use crate::bpf::{NtrecSkel, NtrecSkelBuilder, OpenNtrecSkel, types};
use crate::kernel::{self, Arguments, NO_ARGUMENT};
use crate::privileges;
use crate::probes::{self, TRACEPOINTS, Tracepoint};

/// A tracepoint of the profile on this kernel.
pub struct Probe {
    /// Which one.
    pub tracepoint: &'static Tracepoint,
    /// Where its arguments are, or why it cannot be recorded.
    pub arguments: Result<Arguments, String>,
}

impl Probe {
    /// How the metadata tells of it.
    pub fn describe(&self) -> ntc::Probe {
        let name = self.tracepoint.name.to_owned();
        match &self.arguments {
            Ok(arguments) => ntc::Probe {
                name,
                backend: "tp_btf".to_owned(),
                arguments: kernel::describe(arguments),
                error: None,
            },
            Err(why) => ntc::Probe { name, error: Some(why.clone()), ..ntc::Probe::default() },
        }
    }
}

/// Checks the names that the user gave, and finds each tracepoint on this kernel.
pub fn plan(subject: &Subject, btf: &libbpf_rs::btf::Btf<'_>) -> Result<Vec<Probe>> {
    check_names(&subject.probe)?;
    check_names(&subject.no_probe)?;
    stacks(subject)?;
    let wanted = |t: &Tracepoint| {
        let named = |list: &[String]| list.iter().any(|name| name == t.name);
        (subject.probe.is_empty() || named(&subject.probe)) && !named(&subject.no_probe)
    };
    let chosen: Vec<&'static Tracepoint> = TRACEPOINTS.iter().filter(|t| wanted(t)).collect();
    if chosen.is_empty() {
        bail!("no probe is left to record: --no-probe leaves out all that --probe names");
    }
    let arguments = |t| kernel::arguments(btf, t).map_err(|e| format!("{e:#}"));
    Ok(chosen.into_iter().map(|tracepoint| Probe { tracepoint, arguments: arguments(tracepoint) }).collect())
}

/// Refuses a name that is no probe, and says which are near.
fn check_names(names: &[String]) -> Result<()> {
    for name in names {
        if probes::by_name(name).is_none() {
            let mut known: Vec<&str> = TRACEPOINTS.iter().map(|t| t.name).collect();
            known.sort_by_key(|k| distance(k, name));
            known.truncate(3);
            bail!("there is no probe '{name}'; the nearest names are {}", known.join(", "));
        }
    }
    Ok(())
}

/// How unlike two names are: the pairs of letters that only one of them has.
fn distance(a: &str, b: &str) -> usize {
    let pairs = |s: &str| s.as_bytes().windows(2).map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
    pairs(a).symmetric_difference(&pairs(b)).count()
}

/// The probes that record stacks.
fn stacks(subject: &Subject) -> Result<Vec<&'static Tracepoint>> {
    if subject.stack.iter().any(|name| name == "none") {
        return Ok(Vec::new());
    }
    check_names(&subject.stack)?;
    let found: Vec<_> = subject.stack.iter().filter_map(|name| probes::by_name(name)).collect();
    if let Some(other) = found.iter().find(|t| !records_stacks(t)) {
        bail!(
            "--stack: {} has no stack that says more than its name; choose among {}",
            other.name,
            TRACEPOINTS.iter().filter(|t| records_stacks(t)).map(|t| t.name).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(found)
}

/// Whether a probe's record has room for a stack.
fn records_stacks(tracepoint: &Tracepoint) -> bool {
    use types::probe as p;
    let rare = [p::KFREE_SKB, p::TCP_RETRANSMIT_SKB, p::TCP_RETRANSMIT_SYNACK, p::TCP_SEND_RESET];
    rare.contains(&tracepoint.id) || [p::TCP_BAD_CSUM, p::ICMP_SEND].contains(&tracepoint.id)
}

/// The recording as the kernel sees it.
pub struct Session<'obj> {
    /// Programs and maps.
    skel: NtrecSkel<'obj>,
    /// Attached programs; dropping them detaches.
    links: Vec<Link>,
}

/// Loads the programs of all probes that have arguments; notes why others did not load.
pub fn load<'obj>(
    [storage, second]: &'obj mut [MaybeUninit<OpenObject>; 2],
    args: &Capture,
    plan: &mut [Probe],
) -> Result<Session<'obj>> {
    libbpf_rs::set_print(None);
    privileges::check()?;
    if let Ok(skel) = try_load(storage, args, plan) {
        return Ok(Session { skel, links: Vec::new() });
    }
    find_culprits(args, plan);
    if plan.iter().all(|p| p.arguments.is_err()) {
        let why = plan.iter().find_map(|p| p.arguments.as_ref().err()).cloned().unwrap_or_default();
        bail!("none of the probes can be recorded on this kernel: {why}");
    }
    let skel = try_load(second, args, plan)?;
    Ok(Session { skel, links: Vec::new() })
}

/// Loads each program alone, and notes those that fail.
fn find_culprits(args: &Capture, plan: &mut [Probe]) {
    for probe in plan {
        let Ok(arguments) = probe.arguments else { continue };
        let alone = [Probe { tracepoint: probe.tracepoint, arguments: Ok(arguments) }];
        if let Err(why) = try_load(&mut MaybeUninit::uninit(), args, &alone) {
            probe.arguments = Err(format!("the kernel refused its program: {why:#}"));
        }
    }
}

/// Opens, configures and loads the object with the programs of `plan`.
fn try_load<'obj>(
    storage: &'obj mut MaybeUninit<OpenObject>,
    args: &Capture,
    plan: &[Probe],
) -> Result<NtrecSkel<'obj>> {
    let mut open = NtrecSkelBuilder::default().open(storage).context("cannot open the BPF programs")?;
    configure(&mut open, args, plan)?;
    open.load().context("cannot load the BPF programs")
}

/// Sets the read-only data, the size of the buffer, and which programs are loaded.
fn configure(open: &mut OpenNtrecSkel<'_>, args: &Capture, plan: &[Probe]) -> Result<()> {
    let size = buffer_size(args.limits.buffer_size)?;
    open.maps.events.set_max_entries(size)?;
    let data = open.maps.rodata_data.as_deref_mut().context("the BPF object has no read-only data")?;
    data.filter = args.filter.to_bpf()?;
    let filtered = data.filter.active != 0;
    data.max_events = args.limits.max_events.unwrap_or(0);
    data.wake_from = u64::from(size / 4);
    data.arguments = [[NO_ARGUMENT; types::role::ROLE_MAX.0 as usize]; types::probe::PROBE_MAX.0 as usize];
    for probe in plan {
        if let Ok(arguments) = &probe.arguments {
            data.arguments[probe.tracepoint.id.0 as usize] = *arguments;
        }
    }
    for tracepoint in stacks(&args.subject)? {
        data.with_stack[tracepoint.id.0 as usize] = 1;
    }
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let wanted = |p: &Probe| p.arguments.is_ok() && name.strip_prefix("on_") == Some(p.tracepoint.name);
        // No probe: with filters it tells which packet a socket's event belongs to.
        let helper = filtered && name == "on_softirq_exit";
        program.set_autoload(helper || plan.iter().any(wanted));
    }
    Ok(())
}

/// A ring buffer has a power of two of bytes, at least a page.
fn buffer_size(wanted: u64) -> Result<u32> {
    let size = wanted.max(4096).checked_next_power_of_two().and_then(|size| u32::try_from(size).ok());
    size.filter(|size| *size <= 1 << 30).context("--buffer-size is at most 1G")
}

/// Counters that the kernel keeps for one probe on one CPU.
pub struct KernelCount {
    /// The CPU.
    pub cpu: u16,
    /// The probe's number on the wire.
    pub probe: u8,
    /// Events after filtering.
    pub counted: u64,
    /// Events for which the buffer had no room.
    pub lost: u64,
}

impl Session<'_> {
    /// Attaches every program; notes those that cannot be.
    ///
    /// # Errors
    ///
    /// When none could be attached.
    pub fn attach(&mut self, plan: &mut [Probe]) -> Result<()> {
        for probe in plan.iter_mut().filter(|p| p.arguments.is_ok()) {
            let wanted = format!("on_{}", probe.tracepoint.name);
            let program = self.skel.object().progs_mut().find(|p| p.name() == wanted.as_str());
            let Some(program) = program else { continue };
            match program.attach() {
                Ok(link) => self.links.push(link),
                Err(why) => probe.arguments = Err(format!("it cannot be attached: {why}")),
            }
        }
        if self.links.is_empty() {
            let why = plan.iter().find_map(|p| p.arguments.as_ref().err()).cloned().unwrap_or_default();
            bail!("no probe could be attached: {why}");
        }
        if self.skel.progs.on_softirq_exit.autoload() {
            self.links
                .push(self.skel.progs.on_softirq_exit.attach().context("cannot attach to softirq_exit")?);
        }
        Ok(())
    }

    /// The ring buffer.
    pub fn events(&self) -> &impl MapCore {
        &self.skel.maps.events
    }

    /// Silences the programs, then detaches them.
    pub fn stop(&mut self) {
        if let Some(data) = self.skel.maps.bss_data.as_deref_mut() {
            data.stopped = 1;
        }
        self.links.clear();
    }

    /// Whether the programs have stopped themselves (`--max-events`).
    pub fn has_stopped(&self) -> bool {
        self.skel.maps.bss_data.as_deref().is_some_and(|data| {
            let stopped: *const u32 = &raw const data.stopped;
            // SAFETY: the map is mapped as long as the skeleton lives; the kernel may write it at any time.
            unsafe { stopped.read_volatile() != 0 }
        })
    }

    /// Reads the counters of all CPUs and probes.
    pub fn counters(&self) -> Result<Vec<KernelCount>> {
        let per_cpu = self.skel.maps.cpu_states.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY);
        let per_cpu = per_cpu.context("cannot read the kernel's counters")?.unwrap_or_default();
        let states = per_cpu.iter().map(|bytes| counts(bytes));
        let rows = states.enumerate().flat_map(|(cpu, (counted, lost))| {
            let counts = counted.into_iter().zip(lost).enumerate();
            counts.map(move |(probe, (counted, lost))| KernelCount {
                cpu: cpu as u16,
                probe: probe as u8,
                counted,
                lost,
            })
        });
        Ok(rows.filter(|c| c.counted > 0).collect())
    }

    /// Runs that the kernel refused because the program was already running on that CPU, by probe.
    pub fn missed(&self) -> Vec<(&'static str, u64)> {
        let programs = self.skel.object().progs_mut();
        let misses = programs.filter_map(|program| {
            let name = program.name().to_str()?.strip_prefix("on_")?;
            let tracepoint = probes::by_name(name)?;
            Some((tracepoint.name, recursion_misses(program.as_fd().as_raw_fd())?))
        });
        misses.filter(|(_, count)| *count > 0).collect()
    }
}

/// `counted` and `lost` of a CPU's `struct cpu_state`.
fn counts(bytes: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|chunk| u64::from_ne_bytes(*chunk)).collect();
    let probes = types::probe::PROBE_MAX.0 as usize;
    let from = std::mem::offset_of!(types::cpu_state, counted) / 8;
    let list = |start: usize| words.get(start..start + probes).unwrap_or_default().to_vec();
    (list(from), list(from + probes))
}

/// `recursion_misses` of a program (`struct bpf_prog_info`).
fn recursion_misses(fd: i32) -> Option<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed struct of `length` bytes and asks for no arrays.
    let result = unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd, (&raw mut info).cast(), &raw mut length) };
    (result == 0).then_some(info.recursion_misses)
}
