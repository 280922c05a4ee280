//! Loads the BPF programs with what this kernel offers, and attaches them.

use std::io::{IsTerminal, Write, stderr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{KprobeMultiOpts, KprobeOpts, Link, MapCore, MapFlags, OpenObject, ProgramMut, libbpf_sys};
use rustix::thread::{MembarrierCommand, membarrier};

use crate::args::{Capture, Profile};
use crate::backends::{self, Backend, Loading, Offers};
use crate::bpf::{NtrecSkel, NtrecSkelBuilder, OpenNtrecSkel, PROBES, types};
use crate::btf::Btf;
use crate::functions::{Function, Functions};
use crate::kernel::NO_ARGUMENT;
use crate::linger;
use crate::plan::{self, Marks, Probe, Target};
use crate::privileges;

/// What stands in the instruction that a copy's number is written into (`NUMBER_HERE`, bpf/function.bpf.h).
const NUMBER_HERE: i32 = 0x4e54_5245;
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
    /// What the kernel offers.
    pub offers: Offers,
    /// Why no functions are recorded, where they would be by default.
    pub without_functions: Option<String>,
    /// The filter expression's program.
    pub expression: Vec<types::sock_filter>,
}

impl Plan {
    /// Checks what the user asks for, and finds it on this kernel.
    pub fn make(args: &Capture, btf: &Rc<Btf>) -> Result<Self> {
        let expression = args.filter.program()?;
        privileges::check()?;
        let subject = &args.subject;
        // Trampolines go by ids of the kernel's own BTF.
        let own = btf.prototype("bpf_fentry_test1").filter(|_| subject.btf.is_none());
        let trampoline = own.map(|p| p.id);
        let offers = Offers::find(trampoline);
        let backends = offers.usable(subject.backend);
        let functions = (!backends.is_empty()).then(|| Functions::new(btf.clone())).transpose()?;
        let wanted = subject.profile.unwrap_or(Profile::Life);
        let without_functions = functions.is_none().then(|| offers.why_not(subject.backend));
        let probes = plan::choose(subject, wanted, btf, functions.as_ref())?;
        plan::check_demanded(subject, &probes)?;
        plan::stacks(subject, &probes)?;
        Marks::make(&args.filter, &probes)?;
        let only_net = wanted == Profile::Net && subject.probe.is_empty();
        let without_functions = without_functions.filter(|_| !only_net);
        Ok(Self { probes, backends, offers, without_functions, expression })
    }

    /// Functions that nothing speaks against so far.
    fn functions(&self) -> impl Iterator<Item = (&Probe, &Function)> {
        self.probes.iter().filter(|p| p.is_hopeful()).filter_map(|p| Some((p, p.function()?)))
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
        offers: plan.offers.clone(),
        without_functions: None,
        expression: plan.expression.clone(),
    };
    let refused = |why: anyhow::Error| format!("the kernel refused its program: {why:#}");
    let mut outcomes = Vec::new();
    for probe in plan.probes.iter().filter(|p| p.is_hopeful() && p.function().is_none()) {
        let one = alone(vec![probe.clone()], Vec::new());
        let result = try_load(&mut MaybeUninit::uninit(), args, &one).map(drop);
        outcomes.push((probe.number, result.map_err(refused).err()));
    }
    let functions: Vec<Probe> = plan.functions().map(|(probe, _)| probe.clone()).collect();
    let works = |backend: &Backend| {
        let one = alone(functions.clone(), vec![*backend]);
        try_load(&mut MaybeUninit::uninit(), args, &one).is_ok()
    };
    let working: Vec<Backend> = plan.backends.iter().filter(|b| works(b)).copied().collect();
    plan.backends = working;
    for probe in &mut plan.probes {
        let found = outcomes.iter_mut().find(|(number, _)| *number == probe.number);
        if let Some(why) = found.and_then(|(_, why)| why.take()) {
            probe.outcome = Some(Err(why));
        } else if probe.function().is_some() && plan.backends.is_empty() {
            probe.outcome = Some(Err("the kernel refused the program for functions".to_owned()));
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
    if !plan.offers.has_fetch {
        take_fetch_off(&mut open)?;
    }
    open.load().context("cannot load the BPF programs")
}

/// Sets the read-only data, the size of the buffer, and which programs are loaded.
fn configure(open: &mut OpenNtrecSkel<'_>, args: &Capture, plan: &Plan) -> Result<()> {
    let size = buffer_size(args.limits.buffer_size)?;
    open.maps.events.set_max_entries(size)?;
    let data = open.maps.rodata_data.as_deref_mut().context("the BPF object has no read-only data")?;
    data.filter = args.filter.to_bpf()?;
    let filtered = data.filter.active != 0;
    data.pcap.iter_mut().zip(&plan.expression).for_each(|(slot, instruction)| *slot = *instruction);
    data.pcap_len = plan.expression.len() as u32;
    data.pcap_inner = args.filter.inner.into();
    data.max_events = args.limits.max_events.unwrap_or(0);
    data.interval = args.limits.rate_limit.map_or(0, |limit| 1_000_000_000 / limit);
    data.wake_from = u64::from(size / 4);
    data.has_fetch = plan.offers.has_fetch.into();
    data.with_hooks = args.subject.hooks.into();
    data.arguments = [[NO_ARGUMENT; types::role::ROLE_MAX.0 as usize]; PROBES];
    let marks = Marks::make(&args.filter, &plan.probes)?;
    for probe in plan.probes.iter().filter(|p| p.is_hopeful()) {
        data.arguments[usize::from(probe.number)] = probe.arguments;
        data.functions[usize::from(probe.number)] = marks.configuration(probe);
    }
    for number in plan::stacks(&args.subject, &plan.probes)? {
        data.with_stack[usize::from(number)] = 1;
    }
    let functions = plan.functions().next().is_some();
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let of_backend = functions && plan.backends.iter().any(|b| programs_of(*b).contains(&name.as_str()));
        // No probe: with filters it tells which packet a socket's event belongs to.
        let helper = filtered && name == "on_softirq_exit";
        let wanted = |p: &Probe| {
            let tracepoint = matches!(p.target, Target::Tracepoint(_));
            tracepoint && p.is_hopeful() && name.strip_prefix("on_") == Some(p.name())
        };
        program.set_autoload(helper || of_backend || plan.probes.iter().any(wanted));
    }
    Ok(())
}

/// The programs for calls and for returns.
fn programs_of(backend: Backend) -> [&'static str; 2] {
    match backend {
        Backend::KprobeMulti => ["function_kprobe_multi", "function_kretprobe_multi"],
        Backend::Fentry => ["function_fentry", "function_fexit"],
        Backend::Kprobe => ["function_kprobe", "function_kretprobe"],
    }
}

/// Makes atomic operations return nothing, for kernels that know no other (before 5.12).
fn take_fetch_off(open: &mut OpenNtrecSkel<'_>) -> Result<()> {
    use libbpf_rs::AsRawLibbpf;
    for program in open.open_object_mut().progs_mut().filter(|p| p.autoload()) {
        let mut insns = program.insns().to_vec();
        for insn in insns.iter_mut().filter(|insn| insn.code == ATOMIC) {
            insn.imm &= !FETCH;
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
            let wanted = format!("on_{}", probe.name());
            let outcome = self.program(&wanted).and_then(|program| Ok(program.attach()?));
            probe.outcome = Some(match outcome {
                Ok(link) => {
                    self.links.push(link);
                    Ok("tp_btf".to_owned())
                }
                Err(why) => Err(format!("it cannot be attached: {why:#}")),
            });
        }
        if !plan.probes.iter().any(|p| matches!(p.outcome, Some(Ok(_)))) {
            bail!("no probe could be attached: {}", first_error(plan));
        }
        if self.skel.progs.on_softirq_exit.autoload() {
            self.links
                .push(self.skel.progs.on_softirq_exit.attach().context("cannot attach to softirq_exit")?);
        }
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
        let [call, ret] = programs_of(Backend::KprobeMulti);
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
        let [call, ret] = programs_of(Backend::Kprobe);
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
        let [call, ret] = programs_of(Backend::Fentry);
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
    for insn in insns.iter_mut().filter(|i| LOADS.contains(&i.code) && i.imm == NUMBER_HERE) {
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
