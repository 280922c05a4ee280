//! Loads the BPF programs with what this kernel offers.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{OpenObject, ProgramType, libbpf_sys};

use super::plan::Plan;
use super::probe::Probe;
use crate::args::Capture;
use crate::bpf::types::{self, constant};
use crate::bpf::{NtrecSkel, NtrecSkelBuilder, OpenNtrecSkel, PROBES};
use crate::kernel::arguments;
use crate::kernel::backends::{Backend, CALL, KFUNC, Offers};
use crate::node::nftables;

/// Code of atomic operations on 64 bits, and the bit that makes them return the old value.
const ATOMIC: u8 = 0xdb;
/// See [`ATOMIC`].
const FETCH: i32 = 0x01;

/// Room for the BPF object, and for another where one does not load.
pub type Storage = [MaybeUninit<OpenObject>; 2];

/// Loads the programs of all probes that have arguments; notes why others did not load.
pub fn load<'obj>(
    [storage, second]: &'obj mut Storage,
    args: &Capture,
    plan: &mut Plan,
) -> Result<NtrecSkel<'obj>> {
    // What is wrong with a filter is no fault of a probe.
    args.filter.to_bpf()?;
    if let Ok(skel) = try_load(storage, args, plan) {
        return Ok(skel);
    }
    find_culprits(args, plan);
    if !plan.probes.iter().any(Probe::is_candidate) {
        bail!("none of the probes can be recorded on this kernel: {}", plan.first_error());
    }
    try_load(second, args, plan)
}

/// Loads each program alone, and notes those that fail.
fn find_culprits(args: &Capture, plan: &mut Plan) {
    let alone = |probes: Vec<Probe>, of_functions: Vec<Backend>| Plan {
        probes,
        of_functions,
        of_tracepoints: plan.of_tracepoints.clone(),
        offers: plan.offers.clone(),
        without_functions: None,
        expression: plan.expression.clone(),
        helpers: plan.helpers,
    };
    let refused = |why: anyhow::Error| format!("the kernel refused its program: {why:#}");
    let mut outcomes = Vec::new();
    for probe in plan.probes.iter().filter(|p| p.is_candidate() && p.is_tracepoint()) {
        let mut outcome = Err(anyhow!("no way to attach to it works"));
        for backend in &plan.of_tracepoints {
            let one = alone(vec![Probe { backend: Some(*backend), ..probe.clone() }], Vec::new());
            outcome = try_load(&mut MaybeUninit::uninit(), args, &one).map(|_| *backend);
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
    let working: Vec<Backend> = plan.of_functions.iter().filter(|b| works(b)).copied().collect();
    plan.of_functions = working;
    for probe in &mut plan.probes {
        let found = outcomes.iter().find(|(number, _)| *number == probe.number);
        match found.map(|(_, outcome)| outcome.clone()) {
            Some(Ok(backend)) => probe.backend = Some(backend),
            Some(Err(why)) => probe.outcome = Some(Err(why)),
            None if probe.function().is_some() && plan.of_functions.is_empty() => {
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
    let nothing = types::setup { arguments: arguments::NOTHING, ..types::setup::default() };
    data.setups = [nothing; PROBES];
    for probe in plan.probes.iter().filter(|p| p.is_candidate()) {
        let setup = &mut data.setups[usize::from(probe.number)];
        *setup = probe.setup;
        if probe.backend == Some(Backend::TpBtf) {
            setup.flags |= types::probe_flag::PROBE_TYPED.0 as u8;
        }
    }
    let functions = plan.functions().next().is_some();
    for mut program in open.open_object_mut().progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let of_backend =
            functions && plan.of_functions.iter().any(|b| programs_of(*b).contains(&name.as_str()));
        let tracepoint = name.strip_prefix("on_");
        let helper = tracepoint.is_some_and(|name| plan.helpers.contains(&name));
        let wanted = |p: &&Probe| p.is_tracepoint() && p.is_candidate() && tracepoint == Some(p.name());
        let probe = plan.probes.iter().find(wanted);
        let backend =
            probe.map_or_else(|| plan.of_tracepoints.first().copied().filter(|_| helper), |p| p.backend);
        if backend == Some(Backend::RawTp) {
            program.set_prog_type(ProgramType::RawTracepoint);
        }
        program.set_autoload(of_backend || backend.is_some());
    }
    Ok(())
}

/// The programs for calls and for returns, by backend.
pub const MULTI: [&str; 2] = ["function_kprobe_multi", "function_kretprobe_multi"];
/// See [`MULTI`].
pub const FENTRY: [&str; 2] = ["function_fentry", "function_fexit"];
/// See [`MULTI`].
pub const KPROBE: [&str; 2] = ["function_kprobe", "function_kretprobe"];

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
