//! Attaches the programs, and is the recording as the kernel sees it.

use std::io::{IsTerminal, Write, stderr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::Skel;
use libbpf_rs::{KprobeMultiOpts, KprobeOpts, Link, MapCore, MapFlags, ProgramMut, ProgramType, libbpf_sys};
use rustix::thread::{MembarrierCommand, membarrier};

use super::counters::{self, KernelCount};
use super::deferred_detach;
use super::plan::Plan;
use super::probe::Probe;
use super::program::{self, FENTRY, KPROBE, MULTI, Storage};
use crate::args::Capture;
use crate::bpf::NtrecSkel;
use crate::bpf::types::constant;
use crate::kernel::backends::{self, Backend, Loading};
use crate::kernel::functions::Function;

/// Code of the instructions that load an immediate number into a register of 64 or 32 bits.
const LOADS: [u8; 2] = [0xb7, 0xb4];

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

impl<'obj> Session<'obj> {
    /// Loads the programs of all probes that have arguments, and attaches none; notes why others did not load.
    ///
    /// # Errors
    ///
    /// When none of them loads.
    pub fn load(storage: &'obj mut Storage, args: &Capture, plan: &mut Plan) -> Result<Self> {
        let skel = program::load(storage, args, plan)?;
        Ok(Self { skel, links: Vec::new(), copies: Vec::new(), names: plan.names() })
    }

    /// Attaches every program; notes those that cannot be.
    ///
    /// # Errors
    ///
    /// When none could be attached.
    pub fn attach(&mut self, plan: &mut Plan) -> Result<()> {
        self.attach_functions(plan)?;
        for probe in plan.probes.iter_mut().filter(|p| p.is_candidate() && p.function().is_none()) {
            probe.outcome = Some(match (probe.backend, self.attach_tracepoint(probe.name())) {
                (Some(backend), Ok(())) => Ok(backend.to_string()),
                (_, Err(why)) => Err(format!("it cannot be attached: {why:#}")),
                (None, Ok(())) => Err("no way to attach to it works".to_owned()),
            });
        }
        if !plan.probes.iter().any(|p| matches!(p.outcome, Some(Ok(_)))) {
            bail!("no probe could be attached: {}", plan.first_error());
        }
        for helper in plan.helpers {
            self.attach_tracepoint(helper).with_context(|| format!("cannot attach to {helper}"))?;
        }
        Ok(())
    }

    /// Attaches to a tracepoint by the backend for which its program was loaded.
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

    /// Attaches to every function by the first backend that works.
    fn attach_functions(&mut self, plan: &mut Plan) -> Result<()> {
        let has_cookie = plan.offers.has_cookie;
        for backend in plan.of_functions.clone() {
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

    /// The counters of all CPUs and probes.
    pub fn counters(&self) -> Result<Vec<KernelCount>> {
        counters::read(&self.skel)
    }

    /// Events left out by `--rate-limit`.
    pub fn left_out(&self) -> Result<u64> {
        counters::left_out(&self.skel)
    }

    /// Runs that the kernel refused because the program was already running on that CPU, by probe. What functions
    /// share is told under the program's name.
    pub fn missed(&self) -> Vec<(String, u64)> {
        counters::missed(&self.skel, self.copies.iter().map(|(program, _)| program))
    }

    /// The name of a probe by its number.
    pub fn name(&self, probe: u16) -> &str {
        self.names.get(usize::from(probe)).map_or("", String::as_str)
    }
}

impl Drop for Session<'_> {
    /// Detaches everything.
    fn drop(&mut self) {
        deferred_detach::hand_over(self.links.len() + self.copies.len());
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
