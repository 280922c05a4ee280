//! Loads the BPF programs with what this kernel offers, and attaches them.

use std::io::{IsTerminal, Write, stderr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{
    KprobeMultiOpts, KprobeOpts, Link, MapCore, MapFlags, OpenObject, ProgramMut, ProgramType, libbpf_sys,
};
use rustix::thread::{MembarrierCommand, membarrier};

use crate::args::{Capture, Profile};
use crate::backends::{self, Backend, CALL, KFUNC, Loading, Offers};
use crate::bpf::types::{self, constant};
use crate::bpf::{NtrecSkel, NtrecSkelBuilder, OpenNtrecSkel, PROBES};
use crate::btf::Btf;
use crate::functions::{Function, Functions};
use crate::kernel;
use crate::linger;
use crate::nftables;
use crate::pcap;
use crate::plan::{self, Marks, Probe};
use crate::privileges;

/// Code of the instructions that load an immediate number into a register of 64 or 32 bits.
const LOADS: [u8; 2] = [0xb7, 0xb4];
/// Code of atomic operations on 64 bits, and the bit that makes them return the old value.
const ATOMIC: u8 = 0xdb;
/// See [`ATOMIC`].
const FETCH: i32 = 0x01;

/// What is to be recorded, and by which means.
pub struct Plan {
    /// The probes.
    pub probes: Vec<Probe>,
    /// Ways to probe functions, the best first.
    pub backends: Vec<Backend>,
    /// Ways to attach to tracepoints, the best first.
    pub ways: Vec<Backend>,
    /// What the kernel offers.
    pub offers: Offers,
    /// Why no functions are recorded, where they would be by default.
    pub without_functions: Option<String>,
    /// The filter expression.
    pub expression: pcap::Compiled,
    /// Tracepoints that are no probes, but tell with a filter which packet a socket's event belongs to.
    pub helpers: &'static [&'static str],
}

impl Plan {
    /// Checks what the user asks for, and finds it on this kernel.
    pub fn make(args: &Capture, btf: &Rc<Btf>) -> Result<Self> {
        let expression = args.filter.compiled()?;
        privileges::check()?;
        let subject = &args.subject;
        let own = if subject.btf.is_none() { Some(btf.clone()) } else { Btf::kernel().ok().map(Rc::new) };
        let offers = Offers::find(own.as_deref(), subject.btf.is_none());
        let ways = offers.usable(&Backend::OF_TRACEPOINTS, &subject.backend);
        let backends = offers.usable(&Backend::OF_FUNCTIONS, &subject.backend);
        let functions = (!backends.is_empty()).then(|| Functions::new(btf.clone())).transpose()?;
        let wanted = subject.profile.unwrap_or(Profile::Life);
        let without_functions =
            functions.is_none().then(|| offers.why_not(&Backend::OF_FUNCTIONS, &subject.backend));
        let mut probes = plan::choose(subject, wanted, btf, functions.as_ref())?;
        for probe in probes.iter_mut().filter(|p| p.is_tracepoint()) {
            probe.backend = ways.first().copied();
            if probe.backend.is_none() {
                let why_not = offers.why_not(&Backend::OF_TRACEPOINTS, &subject.backend);
                probe.outcome.get_or_insert(Err(why_not));
            }
        }
        plan::check_demanded(subject, &probes)?;
        plan::stacks(subject, &probes)?;
        Marks::make(&args.filter, &probes)?;
        let without_functions = without_functions.filter(|_| plan::asks_functions(subject, wanted));
        let helpers = if args.filter.is_active() { ends_of_delivery(btf) } else { &[] };
        Ok(Self { probes, backends, ways, offers, without_functions, expression, helpers })
    }

    /// Functions that nothing speaks against so far.
    fn functions(&self) -> impl Iterator<Item = (&Probe, &Function)> {
        self.probes.iter().filter(|p| p.is_hopeful()).filter_map(|p| Some((p, p.function()?)))
    }
}

/// The tracepoints that end what a CPU does for a received packet. The end of each softirq is the surest, but with one
/// packet in each it costs as much as a probe; timers and tasklets are rarer.
fn ends_of_delivery(btf: &Btf) -> &'static [&'static str] {
    if btf.tracepoint("tasklet_entry").is_some() {
        &["timer_expire_entry", "tasklet_entry", "workqueue_execute_start"]
    } else {
        &["softirq_exit"]
    }
}

/// The recording as the kernel sees it.
pub struct Session<'obj> {
    /// Programs and maps.
    skel: NtrecSkel<'obj>,
    /// Attached programs; dropping them detaches.
    links: Vec<Link>,
    /// The same for copies of programs: what keeps them attached.
    copies: Vec<(OwnedFd, OwnedFd)>,
    /// Names of the probes by their numbers.
    names: Vec<String>,
}

/// Loads the programs of all probes that have arguments; notes why others did not load.
pub fn load<'obj>(
    [storage, second]: &'obj mut [MaybeUninit<OpenObject>; 2],
    args: &Capture,
    plan: &mut Plan,
) -> Result<Session<'obj>> {
    let session =
        |skel, plan: &Plan| Session { skel, links: Vec::new(), copies: Vec::new(), names: names(plan) };
    if let Ok(skel) = try_load(storage, args, plan) {
        return Ok(session(skel, plan));
    }
    find_culprits(args, plan);
    if !plan.probes.iter().any(Probe::is_hopeful) {
        bail!("none of the probes can be recorded on this kernel: {}", first_error(plan));
    }
    let skel = try_load(second, args, plan)?;
    Ok(session(skel, plan))
}

/// The first reason why a probe cannot be recorded.
fn first_error(plan: &Plan) -> String {
    let errors = plan.probes.iter().filter_map(|p| p.outcome.as_ref()?.as_ref().err());
    errors.cloned().chain(plan.without_functions.clone()).next().unwrap_or_default()
}

/// Names of probes by their numbers.
fn names(plan: &Plan) -> Vec<String> {
    let mut names = vec![String::new(); PROBES];
    for probe in &plan.probes {
        if let Some(place) = names.get_mut(usize::from(probe.number)) {
            probe.name().clone_into(place);
        }
    }
    names
}

/// Loads each program alone, and notes those that fail.
fn find_culprits(args: &Capture, plan: &mut Plan) {
    let alone = |probes: Vec<Probe>, backends: Vec<Backend>| Plan {
        probes,
        backends,
        ways: plan.ways.clone(),
        offers: plan.offers.clone(),
        without_functions: None,
        expression: plan.expression.clone(),
        helpers: plan.helpers,
    };
    let refused = |why: anyhow::Error| format!("the kernel refused its program: {why:#}");
    let mut outcomes = Vec::new();
    for probe in plan.probes.iter().filter(|p| p.is_hopeful() && p.is_tracepoint()) {
        let mut outcome = Err(anyhow!("no way to attach to it works"));
        for way in &plan.ways {
            let one = alone(vec![Probe { backend: Some(*way), ..probe.clone() }], Vec::new());
            outcome = try_load(&mut MaybeUninit::uninit(), args, &one).map(|_| *way);
            if outcome.is_ok() {
                break;
            }
        }
        outcomes.push((probe.number, outcome.map_err(refused)));
    }
    let functions: Vec<Probe> = plan.functions().map(|(probe, _)| probe.clone()).collect();
    let works = |backend: &Backend| {
        let one = alone(functions.clone(), vec![*backend]);
        try_load(&mut MaybeUninit::uninit(), args, &one).is_ok()
    };
    let working: Vec<Backend> = plan.backends.iter().filter(|b| works(b)).copied().collect();
    plan.backends = working;
    for probe in &mut plan.probes {
        let found = outcomes.iter().find(|(number, _)| *number == probe.number);
        match found.map(|(_, outcome)| outcome.clone()) {
            Some(Ok(way)) => probe.backend = Some(way),
            Some(Err(why)) => probe.outcome = Some(Err(why)),
            None if probe.function().is_some() && plan.backends.is_empty() => {
                probe.outcome = Some(Err("the kernel refused the program for functions".to_owned()));
            }
            None => {}
        }
    }
}

/// Opens, configures and loads the object with the programs of `plan`.
fn try_load<'obj>(
    storage: &'obj mut MaybeUninit<OpenObject>,
    args: &Capture,
    plan: &Plan,
) -> Result<NtrecSkel<'obj>> {
    let mut builder = NtrecSkelBuilder::default();
    if let Some(file) = &args.subject.btf {
        builder.object_builder_mut().btf_custom_path(file)?;
    }
    let mut open = builder.open(storage).context("cannot open the BPF programs")?;
    configure(&mut open, args, plan)?;
    fit(&mut open, &plan.offers)?;
    open.load().context("cannot load the BPF programs")
}

/// Sets the read-only data, the size of the buffer, and which programs are loaded.
fn configure(open: &mut OpenNtrecSkel<'_>, args: &Capture, plan: &Plan) -> Result<()> {
    let size = buffer_size(args.limits.buffer_size)?;
    open.maps.events.set_max_entries(size)?;
    let data = open.maps.rodata_data.as_deref_mut().context("the BPF object has no read-only data")?;
    data.filter = args.filter.to_bpf()?;
    let program = &plan.expression.program;
    data.pcap.iter_mut().zip(program).for_each(|(slot, instruction)| *slot = *instruction);
    data.pcap_len = program.len() as u32;
    data.pcap_link = plan.expression.asks_link.into();
    data.pcap_vlan = plan.expression.asks_vlan.into();
    data.pcap_inner = args.filter.inner.into();
    data.max_events = args.limits.max_events.unwrap_or(0);
    data.interval = args.limits.rate_limit.map_or(0, |limit| 1_000_000_000 / limit);
    data.wake_from = u64::from(size / 4);
    data.has_fetch = plan.offers.has_fetch.into();
    data.can_cast = plan.offers.cast.is_some().into();
    data.with_hooks = args.subject.hooks.into();
    data.own_tables.iter_mut().zip(nftables::OWN.bytes()).for_each(|(to, from)| *to = from.cast_signed());
    let nothing = types::setup { arguments: kernel::NOTHING, ..types::setup::default() };
    data.setups = [nothing; PROBES];
    let marks = Marks::make(&args.filter, &plan.probes)?;
    for probe in plan.probes.iter().filter(|p| p.is_hopeful()) {
        data.setups[usize::from(probe.number)] = marks.setup(probe);
    }
    for number in plan::stacks(&args.subject, &plan.probes)? {
        data.setups[usize::from(number)].flags |= types::probe_flag::PROBE_STACK.0 as u8;
    }
    let functions = plan.functions().next().is_some();
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let of_backend = functions && plan.backends.iter().any(|b| programs_of(*b).contains(&name.as_str()));
        let hook = name.strip_prefix("on_");
        let helper = hook.is_some_and(|hook| plan.helpers.contains(&hook));
        let wanted = |p: &&Probe| p.is_tracepoint() && p.is_hopeful() && hook == Some(p.name());
        let probe = plan.probes.iter().find(wanted);
        let way = probe.map_or_else(|| plan.ways.first().copied().filter(|_| helper), |p| p.backend);
        if way == Some(Backend::RawTp) {
            program.set_prog_type(ProgramType::RawTracepoint);
        }
        program.set_autoload(of_backend || way.is_some());
    }
    Ok(())
}

/// The programs for calls and for returns, by backend.
const MULTI: [&str; 2] = ["function_kprobe_multi", "function_kretprobe_multi"];
/// See [`MULTI`].
const FENTRY: [&str; 2] = ["function_fentry", "function_fexit"];
/// See [`MULTI`].
const KPROBE: [&str; 2] = ["function_kprobe", "function_kretprobe"];

/// The programs that a backend attaches to functions.
fn programs_of(backend: Backend) -> &'static [&'static str] {
    match backend {
        Backend::KprobeMulti => &MULTI,
        Backend::Fentry => &FENTRY,
        Backend::Kprobe => &KPROBE,
        Backend::TpBtf | Backend::RawTp => &[],
    }
}

/// Fits the programs to the kernel: atomic operations return nothing where it knows no other (before 5.12), and the call
/// that casts gets the id of its function (since 6.2). Where there is none, no program comes to that call.
fn fit(open: &mut OpenNtrecSkel<'_>, offers: &Offers) -> Result<()> {
    use libbpf_rs::AsRawLibbpf;
    for program in open.open_object_mut().progs_mut().filter(|p| p.autoload()) {
        let typed = program.prog_type() == ProgramType::Tracing;
        let mut insns = program.insns().to_vec();
        for insn in &mut insns {
            match (insn.code, offers.cast.filter(|_| typed)) {
                (ATOMIC, _) if !offers.has_fetch => insn.imm &= !FETCH,
                (CALL, Some(cast)) if insn.imm == constant::RDONLY_CAST.0.cast_signed() => {
                    insn.set_src_reg(KFUNC);
                    insn.imm = cast.cast_signed();
                }
                _ => {}
            }
        }
        // SAFETY: the program is open and not loaded; libbpf copies the instructions.
        let result = unsafe {
            let program = program.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_program__set_insns(program, insns.as_mut_ptr(), insns.len() as _)
        };
        if result < 0 {
            bail!(
                "cannot fit the BPF programs to this kernel: {}",
                std::io::Error::from_raw_os_error(-result)
            );
        }
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
    pub probe: u16,
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
    pub fn attach(&mut self, plan: &mut Plan) -> Result<()> {
        self.attach_functions(plan)?;
        for probe in plan.probes.iter_mut().filter(|p| p.is_hopeful() && p.function().is_none()) {
            probe.outcome = Some(match (probe.backend, self.attach_tracepoint(probe.name())) {
                (Some(way), Ok(())) => Ok(way.to_string()),
                (_, Err(why)) => Err(format!("it cannot be attached: {why:#}")),
                (None, Ok(())) => Err("no way to attach to it works".to_owned()),
            });
        }
        if !plan.probes.iter().any(|p| matches!(p.outcome, Some(Ok(_)))) {
            bail!("no probe could be attached: {}", first_error(plan));
        }
        for helper in plan.helpers {
            self.attach_tracepoint(helper).with_context(|| format!("cannot attach to {helper}"))?;
        }
        Ok(())
    }

    /// Attaches to a tracepoint in the way for which its program was loaded.
    fn attach_tracepoint(&mut self, name: &str) -> Result<()> {
        let program = self.program(&format!("on_{name}"))?;
        let link = match program.prog_type() {
            ProgramType::RawTracepoint => program.attach_raw_tracepoint(name)?,
            _ => program.attach()?,
        };
        self.links.push(link);
        Ok(())
    }

    /// A program by its name.
    fn program(&self, name: &str) -> Result<ProgramMut<'_>> {
        let found = self.skel.object().progs_mut().find(|p| p.name() == name);
        found.with_context(|| format!("there is no BPF program {name}"))
    }

    /// Attaches to every function by the first way that works.
    fn attach_functions(&mut self, plan: &mut Plan) -> Result<()> {
        let has_cookie = plan.offers.has_cookie;
        for backend in plan.backends.clone() {
            let mut left: Vec<&mut Probe> =
                plan.probes.iter_mut().filter(|p| p.function().is_some() && !is_attached(p)).collect();
            match backend {
                Backend::KprobeMulti => self.attach_many(&mut left),
                Backend::Fentry => self.each(&mut left, backend, Self::attach_copies)?,
                Backend::Kprobe => self.each(&mut left, backend, |session, number, function| {
                    session.attach_kprobes(number, function, has_cookie)
                })?,
                Backend::TpBtf | Backend::RawTp => {}
            }
        }
        Ok(())
    }

    /// Attaches to functions one by one; shows how far it is on a terminal.
    fn each(
        &mut self,
        probes: &mut [&mut Probe],
        backend: Backend,
        mut attach: impl FnMut(&mut Self, u16, &Function) -> Result<()>,
    ) -> Result<()> {
        let count = probes.len();
        for (done, probe) in probes.iter_mut().enumerate() {
            show_progress(done, count);
            let Some(function) = probe.function() else { continue };
            let outcome = attach(self, probe.number, function);
            probe.outcome =
                Some(outcome.map(|()| backend.to_string()).map_err(|why| format!("{backend}: {why:#}")));
        }
        show_progress(count, count);
        Ok(())
    }

    /// Attaches to all functions by one call; those that the kernel refuses are found by halving.
    fn attach_many(&mut self, probes: &mut [&mut Probe]) {
        if probes.is_empty() {
            return;
        }
        match self.attach_at_once(probes) {
            Ok(links) => {
                self.links.extend(links);
                for probe in probes {
                    probe.outcome = Some(Ok(Backend::KprobeMulti.to_string()));
                }
            }
            Err(why) if probes.len() == 1 => probes[0].outcome = Some(Err(format!("kprobe.multi: {why:#}"))),
            Err(_) => {
                let (one, other) = probes.split_at_mut(probes.len() / 2);
                self.attach_many(one);
                self.attach_many(other);
            }
        }
    }

    /// Attaches to all functions, or to none.
    fn attach_at_once(&self, probes: &[&mut Probe]) -> Result<Vec<Link>> {
        let options = |retprobe: bool| {
            let found = probes.iter().filter_map(|p| Some((p.number, p.function()?)));
            let found = found.filter(|(_, function)| !retprobe || function.returns());
            let (symbols, cookies): (Vec<String>, Vec<u64>) =
                found.map(|(number, f)| (f.symbol.name.clone(), u64::from(number))).unzip();
            KprobeMultiOpts { symbols, cookies, retprobe, ..KprobeMultiOpts::default() }
        };
        let [call, ret] = MULTI;
        let mut links = Vec::new();
        // Returns first: a call that is seen finds its return watched.
        let returns = options(true);
        if !returns.symbols.is_empty() {
            links.push(self.program(ret)?.attach_kprobe_multi_with_opts(returns)?);
        }
        links.push(self.program(call)?.attach_kprobe_multi_with_opts(options(false))?);
        Ok(links)
    }

    /// Attaches kprobes to a function.
    fn attach_kprobes(&mut self, number: u16, function: &Function, has_cookie: bool) -> Result<()> {
        let [call, ret] = KPROBE;
        let name = &function.symbol.name;
        if !has_cookie {
            let address = function.symbol.address;
            let number = u32::from(number).to_ne_bytes();
            self.skel.maps.numbers_by_address.update(&address.to_ne_bytes(), &number, MapFlags::ANY)?;
        }
        let options =
            || KprobeOpts { cookie: if has_cookie { number.into() } else { 0 }, ..KprobeOpts::default() };
        let mut links = Vec::new();
        if function.returns() {
            links.push(self.program(ret)?.attach_kprobe_with_opts(true, name, options())?);
        }
        links.push(self.program(call)?.attach_kprobe_with_opts(false, name, options())?);
        self.links.extend(links);
        Ok(())
    }

    /// Attaches copies of the trampoline programs to a function.
    fn attach_copies(&mut self, number: u16, function: &Function) -> Result<()> {
        let [call, ret] = FENTRY;
        let btf = function.symbol.module.as_deref().map(backends::module_btf).transpose()?;
        let btf_fd = btf.as_ref().map_or(0, |fd| fd.as_raw_fd().cast_unsigned());
        let mut copies = Vec::new();
        let mut attach = |template: &str, attach_type| -> Result<()> {
            let insns = numbered(self.program(template)?.insns(), number);
            let how = Loading { attach_type, btf_id: function.prototype.id, btf_fd };
            let program =
                backends::load(libbpf_sys::BPF_PROG_TYPE_TRACING, &function.symbol.name, &insns, &how)
                    .context("the kernel refuses the program")?;
            let link = backends::attach_trampoline(&program).context("it cannot be attached")?;
            copies.push((program, link));
            Ok(())
        };
        if function.returns() {
            attach(ret, libbpf_sys::BPF_TRACE_FEXIT)?;
        }
        attach(call, libbpf_sys::BPF_TRACE_FENTRY)?;
        self.copies.extend(copies);
        Ok(())
    }

    /// The ring buffer.
    pub fn events(&self) -> &impl MapCore {
        &self.skel.maps.events
    }

    /// Silences the programs, and waits until those that run have ended. Dropping the session detaches them,
    /// which takes long where there are many.
    pub fn stop(&mut self) {
        if let Some(data) = self.skel.maps.bss_data.as_deref_mut() {
            data.stopped = 1;
        }
        // It waits for a grace period of RCU, under whose protection all programs run.
        if membarrier(MembarrierCommand::Global).is_err() {
            self.links.clear();
            self.copies.clear();
        }
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
                probe: probe as u16,
                counted,
                lost,
            })
        });
        Ok(rows.filter(|c| c.counted > 0).collect())
    }

    /// Events left out by `--rate-limit`.
    pub fn left_out(&self) -> Result<u64> {
        let per_cpu = self.skel.maps.cpu_states.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY);
        let per_cpu = per_cpu.context("cannot read the kernel's counters")?.unwrap_or_default();
        let at = std::mem::offset_of!(types::cpu_state, left_out);
        let count = |bytes: &Vec<u8>| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
        Ok(per_cpu.iter().filter_map(count).map(u64::from_ne_bytes).sum())
    }

    /// Runs that the kernel refused because the program was already running on that CPU, by probe. What functions
    /// share is told under the program's name.
    pub fn missed(&self) -> Vec<(String, u64)> {
        let programs = self.skel.object().progs_mut().filter(|p| p.autoload());
        let shared = programs.filter_map(|program| {
            let name = program.name().to_str()?.trim_start_matches("on_").to_owned();
            Some((name, recursion_misses(program.as_fd().as_raw_fd())?))
        });
        let copies = self.copies.iter().filter_map(|(program, _)| recursion_misses(program.as_raw_fd()));
        let copies = [("function_fentry".to_owned(), copies.sum())];
        shared.chain(copies).filter(|(_, count)| *count > 0).collect()
    }

    /// The name of a probe by its number.
    pub fn name(&self, probe: u16) -> &str {
        self.names.get(usize::from(probe)).map_or("", String::as_str)
    }
}

impl Drop for Session<'_> {
    /// Detaches everything.
    fn drop(&mut self) {
        linger::hand_over(self.links.len() + self.copies.len());
    }
}

/// Whether a probe is attached.
fn is_attached(probe: &Probe) -> bool {
    matches!(probe.outcome, Some(Ok(_)))
}

/// A program's instructions with a probe's number in them.
fn numbered(template: &[libbpf_sys::bpf_insn], number: u16) -> Vec<libbpf_sys::bpf_insn> {
    let mut insns = template.to_vec();
    for insn in
        insns.iter_mut().filter(|i| LOADS.contains(&i.code) && i.imm == constant::NUMBER_HERE.0.cast_signed())
    {
        insn.imm = number.into();
    }
    insns
}

/// Says on a terminal how far attaching is.
fn show_progress(done: usize, count: usize) {
    if stderr().is_terminal() && count > 0 {
        let end = if done == count { "\r\x1b[K" } else { "" };
        let _ = write!(stderr(), "\rattaching to functions: {done} of {count}\x1b[K{end}");
    }
}

/// `counted` and `lost` of a CPU's `struct cpu_state`.
fn counts(bytes: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|chunk| u64::from_ne_bytes(*chunk)).collect();
    let from = std::mem::offset_of!(types::cpu_state, counted) / 8;
    let list = |start: usize| words.get(start..start + PROBES).unwrap_or_default().to_vec();
    (list(from), list(from + PROBES))
}

/// `recursion_misses` of a program (`struct bpf_prog_info`).
fn recursion_misses(fd: i32) -> Option<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed struct of `length` bytes and asks for no arrays.
    let result = unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd, (&raw mut info).cast(), &raw mut length) };
    (result == 0).then_some(info.recursion_misses)
}
