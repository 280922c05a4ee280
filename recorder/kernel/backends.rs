//! The backends for functions and tracepoints, and which of them this kernel has. Found out by trying.

use std::ffi::{CString, c_void};
use std::fmt;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::libbpf_sys::{self, bpf_attach_type, bpf_insn, bpf_prog_load_opts, bpf_prog_type};

use super::btf::Btf;

/// How a program is attached to functions or tracepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Backend {
    /// Many functions by one call; needs FPROBE (5.18).
    #[value(name = "kprobe.multi")]
    KprobeMulti,
    /// A BPF trampoline for each function.
    Fentry,
    /// A kprobe for each function.
    Kprobe,
    /// Tracepoints whose arguments have types, so that fields are loaded; needs the kernel's own BTF.
    #[value(name = "tp_btf")]
    TpBtf,
    /// Tracepoints whose arguments are numbers, so that each field is read by a call.
    #[value(name = "raw_tp")]
    RawTp,
}

impl Backend {
    /// Those for functions, the best first: a call for all functions attaches fastest, a trampoline runs fastest.
    pub const OF_FUNCTIONS: [Self; 3] = [Self::KprobeMulti, Self::Fentry, Self::Kprobe];
    /// Those for tracepoints, the best first.
    pub const OF_TRACEPOINTS: [Self; 2] = [Self::TpBtf, Self::RawTp];
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KprobeMulti => "kprobe.multi",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::TpBtf => "tp_btf",
            Self::RawTp => "raw_tp",
        })
    }
}

/// What this kernel offers.
#[derive(Clone, Debug)]
pub struct Offers {
    /// Each backend, and why not where it does not work.
    pub backends: Vec<(Backend, Result<(), String>)>,
    /// Whether atomic operations can return a value (5.12).
    pub has_fetch: bool,
    /// The id of the function by which a typed program says of which type memory is (6.2).
    pub cast: Option<u32>,
    /// Whether a probe can be told apart by a number given at attachment (5.15).
    pub has_cookie: bool,
    /// Whether the memory of maps is charged to the cgroup (5.11), not to `RLIMIT_MEMLOCK`.
    pub charges_cgroup: bool,
}

/// The code of a call.
pub const CALL: u8 = 0x85;
/// The source register of a call of a kernel function by its id (`BPF_PSEUDO_KFUNC_CALL`).
pub const KFUNC: u8 = 2;
/// A tracepoint that is on every kernel.
const TRIED: &str = "kfree_skb";
/// A helper that is as old as the charging of cgroups.
const OF_CGROUPS: libbpf_sys::bpf_func_id = libbpf_sys::BPF_FUNC_ktime_get_coarse_ns;

impl Offers {
    /// Finds out. Programs go by the ids of the kernel's own types; `trampolines` where functions do, too.
    pub fn find(own: Option<&Btf>, trampolines: bool) -> Self {
        let function = || own.filter(|_| trampolines)?.prototype("bpf_fentry_test1");
        let tracepoint = || own?.tracepoint(TRIED);
        let tried = |backend| match backend {
            Backend::KprobeMulti => try_multi(),
            Backend::Fentry => try_typed(libbpf_sys::BPF_TRACE_FENTRY, function().map(|p| p.id)),
            Backend::Kprobe => try_kprobe(),
            Backend::TpBtf => try_typed(libbpf_sys::BPF_TRACE_RAW_TP, tracepoint().map(|p| p.id)),
            Backend::RawTp => try_raw(),
        };
        let all = Backend::OF_FUNCTIONS.into_iter().chain(Backend::OF_TRACEPOINTS);
        Self {
            backends: all.map(|b| (b, tried(b).map_err(|e| format!("{e:#}")))).collect(),
            has_fetch: has_fetch(),
            cast: own.and_then(cast),
            has_cookie: has_helper(libbpf_sys::BPF_PROG_TYPE_KPROBE, libbpf_sys::BPF_FUNC_get_attach_cookie),
            charges_cgroup: has_helper(libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER, OF_CGROUPS),
        }
    }

    /// Those of some backends that work, the best first; only `forced` ones if any of them is.
    pub fn usable(&self, of: &[Backend], forced: &[Backend]) -> Vec<Backend> {
        self.wanted(of, forced).filter(|(_, outcome)| outcome.is_ok()).map(|(backend, _)| *backend).collect()
    }

    /// Why none of them works, in one clause.
    pub fn why_not(&self, of: &[Backend], forced: &[Backend]) -> String {
        let failed = self.wanted(of, forced);
        let reasons = failed.filter_map(|(b, outcome)| Some(format!("{b}: {}", outcome.as_ref().err()?)));
        reasons.collect::<Vec<_>>().join("; ")
    }

    /// What was tried of some backends.
    fn wanted(
        &self,
        of: &[Backend],
        forced: &[Backend],
    ) -> impl Iterator<Item = &(Backend, Result<(), String>)> {
        let any_forced = of.iter().any(|backend| forced.contains(backend));
        self.backends.iter().filter(move |(b, _)| of.contains(b) && (!any_forced || forced.contains(b)))
    }
}

/// An instruction.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> bpf_insn {
    let mut insn = bpf_insn { code, off, imm, ..bpf_insn::default() };
    insn.set_dst_reg(dst);
    insn.set_src_reg(src);
    insn
}

/// The shortest program: `return 0`.
fn nothing() -> [bpf_insn; 2] {
    [insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)]
}

/// How a program is loaded.
#[derive(Default)]
pub struct Loading {
    /// What it will be attached to.
    pub attach_type: bpf_attach_type,
    /// The BTF id of the function.
    pub btf_id: u32,
    /// The descriptor of its module's BTF; 0: the kernel's own.
    pub btf_fd: u32,
}

/// Loads a program.
pub fn load(kind: bpf_prog_type, name: &str, insns: &[bpf_insn], how: &Loading) -> Result<OwnedFd> {
    let name = CString::new(name.chars().take(15).filter(|c| *c != '.').collect::<String>())?;
    let mut options = bpf_prog_load_opts {
        sz: size_of::<bpf_prog_load_opts>() as _,
        expected_attach_type: how.attach_type,
        attach_btf_id: how.btf_id,
        attach_btf_obj_fd: how.btf_fd,
        ..Default::default()
    };
    // SAFETY: all pointers are valid during the call, and the lengths are theirs.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            name.as_ptr(),
            c"Dual BSD/GPL".as_ptr(),
            insns.as_ptr(),
            insns.len() as _,
            &raw mut options,
        )
    };
    own(fd)
}

/// A descriptor that a call returned, or its error.
fn own(fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(std::io::Error::from_raw_os_error(-fd).into());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches an fentry or fexit program, for as long as the result lives.
pub fn attach_trampoline(program: &OwnedFd) -> Result<OwnedFd> {
    // SAFETY: the descriptor is open; without a name it is attached to what it was loaded for.
    own(unsafe { libbpf_sys::bpf_raw_tracepoint_open(std::ptr::null(), program.as_raw_fd()) })
}

/// Whether a program of the kind that knows its arguments' types can be loaded and attached, tried on what has this id:
/// a function that is there for such trials, or a tracepoint's typedef.
fn try_typed(attach_type: bpf_attach_type, btf_id: Option<u32>) -> Result<()> {
    let Some(btf_id) = btf_id else { bail!("the kernel does not show BTF of its own for it") };
    let how = Loading { attach_type, btf_id, btf_fd: 0 };
    let program = load(libbpf_sys::BPF_PROG_TYPE_TRACING, "ntrec_trial", &nothing(), &how);
    let program = program.context("the kernel refuses such programs")?;
    attach_trampoline(&program).map(drop).context("the kernel cannot attach them")
}

/// Whether tracepoints can be attached to without types.
fn try_raw() -> Result<()> {
    let program =
        load(libbpf_sys::BPF_PROG_TYPE_RAW_TRACEPOINT, "ntrec_trial", &nothing(), &Loading::default());
    let program = program.context("the kernel refuses such programs")?;
    let name = CString::new(TRIED)?;
    // SAFETY: the name is a string that outlives the call, and the descriptor is open.
    let link = own(unsafe { libbpf_sys::bpf_raw_tracepoint_open(name.as_ptr(), program.as_raw_fd()) });
    link.map(drop).context("the kernel cannot attach them")
}

/// Whether one call can probe many functions.
fn try_multi() -> Result<()> {
    let how = Loading { attach_type: libbpf_sys::BPF_TRACE_KPROBE_MULTI, ..Loading::default() };
    let program = load(libbpf_sys::BPF_PROG_TYPE_KPROBE, "ntrec_trial", &nothing(), &how)
        .context("the kernel refuses such programs")?;
    let symbol = c"ip_rcv".as_ptr();
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    options.__bindgen_anon_1.kprobe_multi.cnt = 1;
    options.__bindgen_anon_1.kprobe_multi.syms = (&raw const symbol).cast_mut().cast();
    // SAFETY: the descriptor is open, and the options point to one symbol that outlives the call.
    let link = unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            0,
            libbpf_sys::BPF_TRACE_KPROBE_MULTI,
            &raw const options,
        )
    };
    own(link).map(drop).context("the kernel cannot attach them (CONFIG_FPROBE)")
}

/// Whether there are kprobes at all.
fn try_kprobe() -> Result<()> {
    const DEVICE: &str = "/sys/bus/event_source/devices/kprobe/type";
    if !Path::new(DEVICE).exists() {
        bail!("the kernel is built without kprobes (CONFIG_KPROBE_EVENTS)");
    }
    if fs::read_to_string("/sys/kernel/debug/kprobes/enabled").is_ok_and(|text| text.trim() == "0") {
        bail!("kprobes are switched off (/sys/kernel/debug/kprobes/enabled)");
    }
    let program = load(libbpf_sys::BPF_PROG_TYPE_KPROBE, "ntrec_trial", &nothing(), &Loading::default());
    program.map(drop).context("the kernel refuses such programs")
}

/// Whether a program that fetches and adds is accepted.
fn has_fetch() -> bool {
    let program = [
        insn(0xb7, 1, 0, 0, 1),      // r1 = 1
        insn(0x7b, 10, 1, -8, 0),    // *(u64 *)(r10 - 8) = r1
        insn(0xdb, 10, 1, -8, 0x01), // r1 = atomic_fetch_add((u64 *)(r10 - 8), r1)
        insn(0xb7, 0, 0, 0, 0),
        insn(0x95, 0, 0, 0, 0),
    ];
    load(libbpf_sys::BPF_PROG_TYPE_KPROBE, "ntrec_trial", &program, &Loading::default()).is_ok()
}

/// The id of the function `bpf_rdonly_cast`, if a program at a tracepoint may call it.
fn cast(own: &Btf) -> Option<u32> {
    let (cast, ty) = (own.prototype("bpf_rdonly_cast")?.id, own.structure(c"new_utsname")?);
    let program = [
        insn(0xb7, 1, 0, 0, 0),                      // r1 = 0
        insn(0xb7, 2, 0, 0, ty.cast_signed()),       // r2 = the id of the type
        insn(CALL, 0, KFUNC, 0, cast.cast_signed()), // r0 = bpf_rdonly_cast(r1, r2)
        insn(0xb7, 0, 0, 0, 0),
        insn(0x95, 0, 0, 0, 0),
    ];
    let attach_type = libbpf_sys::BPF_TRACE_RAW_TP;
    let how = Loading { attach_type, btf_id: own.tracepoint(TRIED)?.id, btf_fd: 0 };
    load(libbpf_sys::BPF_PROG_TYPE_TRACING, "ntrec_trial", &program, &how).is_ok().then_some(cast)
}

/// Whether programs of a kind may call a helper.
fn has_helper(kind: bpf_prog_type, helper: libbpf_sys::bpf_func_id) -> bool {
    // SAFETY: takes numbers only; there are no options.
    unsafe { libbpf_sys::libbpf_probe_bpf_helper(kind, helper, std::ptr::null()) == 1 }
}

/// The descriptor of a module's BTF.
pub fn module_btf(module: &str) -> Result<OwnedFd> {
    let mut id = 0;
    loop {
        // SAFETY: `id` is valid during the call.
        let result = unsafe { libbpf_sys::bpf_btf_get_next_id(id, &raw mut id) };
        if result < 0 {
            bail!("the kernel does not give out the BTF of module {module}");
        }
        // SAFETY: takes a number only.
        let fd = own(unsafe { libbpf_sys::bpf_btf_get_fd_by_id(id) })?;
        if name_of(&fd)? == module {
            return Ok(fd);
        }
    }
}

/// The name of a BTF object.
fn name_of(fd: &OwnedFd) -> Result<String> {
    let mut name = [0_u8; 64];
    let mut info = libbpf_sys::bpf_btf_info {
        name: name.as_mut_ptr() as u64,
        name_len: name.len() as u32,
        ..Default::default()
    };
    let mut length = size_of_val(&info) as u32;
    let at = (&raw mut info).cast::<c_void>();
    // SAFETY: `info` is a struct of `length` bytes and points to `name`, both of which outlive the call.
    let result = unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd.as_raw_fd(), at, &raw mut length) };
    if result < 0 {
        return Err(anyhow!(std::io::Error::from_raw_os_error(-result)));
    }
    Ok(String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned())
}
