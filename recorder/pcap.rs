//! Filter expressions: words of pcap-filter -> a classic BPF program that `bpf/pcap.bpf.h` runs.
//!
//! Five functions of libpcap are declared here. They make no use of its capturing, so that a static program needs none
//! of what that is linked with.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{NonNull, null_mut};

use anyhow::{Context, Result, anyhow, bail};

use crate::bpf::types::sock_filter;

/// Instructions of a program at most: `PCAP_MAX` of `bpf/pcap.bpf.h`.
const MOST: usize = 512;
/// Words of memory that a program may use: `MEMWORDS` of `bpf/pcap.bpf.h`.
const MEMORY: usize = 4;
/// `DLT_RAW`: packets begin with their IP header.
const RAW: c_int = 12;
/// Bytes of a packet that are looked at, at most.
const SNAPSHOT: c_int = 65535;
/// `PCAP_NETMASK_UNKNOWN`.
const NO_NETMASK: c_uint = u32::MAX;

/// `struct bpf_program`.
#[repr(C)]
struct Program {
    /// Number of instructions.
    len: c_uint,
    /// The instructions.
    insns: *mut sock_filter,
}

#[link(name = "pcap")]
unsafe extern "C" {
    fn pcap_open_dead(linktype: c_int, snaplen: c_int) -> *mut c_void;
    fn pcap_compile(
        handle: *mut c_void,
        program: *mut Program,
        text: *const c_char,
        optimize: c_int,
        netmask: c_uint,
    ) -> c_int;
    fn pcap_geterr(handle: *mut c_void) -> *const c_char;
    fn pcap_freecode(program: *mut Program);
    fn pcap_close(handle: *mut c_void);
}

/// Compiles an expression, given as the words of the command line; nothing of no words.
///
/// # Errors
///
/// When libpcap refuses it, with its reason and the place, or when it needs more than the kernel's side can do.
pub fn compile(words: &[String]) -> Result<Vec<sock_filter>> {
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut program = ask(&text).map_err(|why| {
        let (place, word) = culprit(&text);
        anyhow!("the filter expression is wrong at '{word}' (word {place}): {why}; see man pcap-filter")
    })?;
    check(&program)?;
    renumber(&mut program)?;
    Ok(program)
}

/// Has libpcap compile a text; what it says if it refuses.
fn ask(text: &str) -> Result<Vec<sock_filter>> {
    let text = CString::new(text)?;
    // SAFETY: takes numbers only.
    let handle = NonNull::new(unsafe { pcap_open_dead(RAW, SNAPSHOT) }).context("libpcap has no memory")?;
    let mut program = Program { len: 0, insns: null_mut() };
    // SAFETY: the handle is open, and the text a string; the program is filled in if the result is 0.
    let result = unsafe { pcap_compile(handle.as_ptr(), &raw mut program, text.as_ptr(), 1, NO_NETMASK) };
    let compiled = if result == 0 {
        // SAFETY: the program has so many instructions until it is freed, and their layout is that of the kernel.
        let insns = unsafe { std::slice::from_raw_parts(program.insns, program.len as usize) }.to_vec();
        // SAFETY: it was compiled, and is used no more.
        unsafe { pcap_freecode(&raw mut program) };
        Ok(insns)
    } else {
        // SAFETY: the handle is open, and the message a string in it.
        let message = unsafe { CStr::from_ptr(pcap_geterr(handle.as_ptr())) };
        Err(anyhow!("{}", message.to_string_lossy()))
    };
    // SAFETY: it is used no more.
    unsafe { pcap_close(handle.as_ptr()) };
    compiled
}

/// The first word that the words before it do not compile with, and its place; libpcap does not tell.
fn culprit(text: &str) -> (usize, &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let good = (0..words.len()).rev().find(|n| ask(&words[..*n].join(" ")).is_ok()).unwrap_or(0);
    (good + 1, words[good])
}

/// Refuses programs that the interpreter does not run to their end.
fn check(program: &[sock_filter]) -> Result<()> {
    const JA: u16 = 0x05;
    if program.len() > MOST {
        bail!(
            "the filter expression is too long: libpcap makes {} instructions of it, and the kernel's part runs {MOST}; \
             write it shorter, with nets and port ranges",
            program.len()
        );
    }
    let left = |at: usize| (program.len() - at) as u32;
    if program.iter().enumerate().any(|(at, insn)| insn.code == JA && insn.k >= left(at) - 1) {
        bail!(
            "the filter expression needs a loop (protochain), which the kernel does not run: use proto instead"
        );
    }
    Ok(())
}

/// Whether an instruction uses a word of memory: ST, STX, and LD and LDX of memory.
fn uses_memory(insn: &sock_filter) -> bool {
    [0x02, 0x03, 0x60, 0x61].contains(&insn.code)
}

/// Numbers the words of memory from 0: libpcap takes any of 16, and few at a time.
fn renumber(program: &mut [sock_filter]) -> Result<()> {
    let used: BTreeSet<u32> = program.iter().filter(|i| uses_memory(i)).map(|i| i.k).collect();
    if used.len() > MEMORY {
        bail!(
            "the filter expression is too complex: its arithmetic has more than {MEMORY} intermediate results"
        );
    }
    for insn in program.iter_mut().filter(|i| uses_memory(i)) {
        insn.k = used.range(..insn.k).count() as u32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles one argument.
    fn compiled(text: &str) -> Result<Vec<sock_filter>> {
        compile(&[text.to_owned()])
    }

    /// Why an expression is refused.
    fn refusal(text: &str) -> String {
        format!("{:#}", compiled(text).unwrap_err())
    }

    #[test]
    fn words_and_one_argument_are_the_same() {
        let words = ["tcp", "port", "443"].map(str::to_owned);
        let code = |program: Vec<sock_filter>| program.iter().map(|i| (i.code, i.k)).collect::<Vec<_>>();
        assert_eq!(code(compile(&words).unwrap()), code(compiled("tcp port 443").unwrap()));
        assert!(compile(&[]).unwrap().is_empty() && compiled(" ").unwrap().is_empty());
    }

    #[test]
    fn refusals_name_the_reason_and_the_word() {
        let typo = refusal("tcp prt 5");
        assert!(typo.contains("'prt' (word 2)") && typo.contains("syntax error"), "{typo}");
        assert!(refusal("tcp port").contains("'port' (word 2)"));
        let vlan = refusal("tcp or vlan 5");
        assert!(vlan.contains("no VLAN support"), "{vlan}");
        assert!(refusal("ip6 protochain 6").contains("protochain"));
        let many: Vec<String> = (1..200).map(|n| format!("host 10.0.0.{n}")).collect();
        assert!(refusal(&many.join(" or ")).contains("too long"));
        assert!(refusal("tcp\0").contains("nul byte"));
    }

    #[test]
    fn memory_is_numbered_from_nothing() {
        let program = compiled("(ip[0] & 0xf) * 4 + ip[1] > ip[2:2]").unwrap();
        let words: BTreeSet<u32> = program.iter().filter(|i| uses_memory(i)).map(|i| i.k).collect();
        assert_eq!(words, (0..words.len() as u32).collect());
        assert!(words.len() > 1);
    }
}
