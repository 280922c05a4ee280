//! Filter expressions: words of pcap-filter -> a classic BPF program that `bpf/pcap.bpf.h` runs.
//!
//! Five functions of libpcap are declared here. They make no use of its capturing, so that a static program needs none
//! of what that is linked with.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{NonNull, null_mut};

use anyhow::{Context, Result, anyhow, bail};

use crate::bpf::types::{limits, sock_filter};

/// Instructions of a program at most.
const MOST: usize = limits::PCAP_MAX.0 as usize;
/// Words of memory that a program may use.
const MEMORY: usize = limits::MEMWORDS.0 as usize;
/// `DLT_EN10MB`: packets begin with an Ethernet header. `bpf/pcap.bpf.h` makes one where there is none.
const ETHERNET: c_int = 1;
/// Bytes of that header.
const LINK: u32 = 14;
/// The load of the protocol in it: half a word at 12.
const LOAD_PROTOCOL: (u16, u32) = (0x28, 12);
/// Where classic BPF loads what is not among the packet's bytes: `SKF_AD_OFF`.
const ANCILLARY: u32 = -0x1000_i32 as u32;
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

/// An expression that the kernel's side can run; no instructions if there is none.
#[derive(Clone, Default)]
pub struct Compiled {
    /// Its program.
    pub program: Vec<sock_filter>,
    /// Whether it asks for more of the link's header than the protocol.
    pub asks_link: bool,
    /// Whether it asks for VLAN tags. They are part of its packets' headers then; else it is given packets without.
    pub asks_vlan: bool,
}

/// Compiles an expression, given as the words of the command line; nothing of no words.
///
/// # Errors
///
/// When libpcap refuses it, with its reason and the place, or when it needs more than the kernel's side can do.
pub fn compile(words: &[String]) -> Result<Compiled> {
    let text = words.join(" ");
    if text.trim().is_empty() {
        return Ok(Compiled::default());
    }
    let mut program = ask(&text).map_err(|why| {
        let (place, word) = culprit(&text);
        anyhow!("the filter expression is wrong at '{word}' (word {place}): {why}; see man pcap-filter")
    })?;
    check(&program)?;
    renumber(&mut program)?;
    let asks_vlan = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "vlan");
    let asks_link = asks_vlan || program.iter().any(loads_link);
    Ok(Compiled { program, asks_link, asks_vlan })
}

/// Whether an instruction loads bytes of the link's header, or may, other than the protocol as a whole.
fn loads_link(insn: &sock_filter) -> bool {
    is_load(insn) && insn.k < LINK && (insn.code, insn.k) != LOAD_PROTOCOL
}

/// Whether it is a load from the packet: LD of a word, half a word or a byte at a place or behind X, and LDX of the length
/// of an IPv4 header.
fn is_load(insn: &sock_filter) -> bool {
    [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1].contains(&insn.code)
}

/// Has libpcap compile a text; what it says if it refuses.
fn ask(text: &str) -> Result<Vec<sock_filter>> {
    let text = CString::new(text)?;
    // SAFETY: takes numbers only.
    let handle =
        NonNull::new(unsafe { pcap_open_dead(ETHERNET, SNAPSHOT) }).context("libpcap has no memory")?;
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
    if program.iter().any(|insn| is_load(insn) && insn.k >= ANCILLARY) {
        bail!(
            "the filter expression asks for what only a packet socket knows (inbound, outbound): say where packets may \
             begin to fit instead, with --match netif_receive_skb or --match net_dev_queue"
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
    fn compiled(text: &str) -> Result<Compiled> {
        compile(&[text.to_owned()])
    }

    /// Why an expression is refused.
    fn refusal(text: &str) -> String {
        format!("{:#}", compiled(text).err().unwrap())
    }

    #[test]
    fn words_and_one_argument_are_the_same() {
        let words = ["tcp", "port", "443"].map(str::to_owned);
        let code = |c: Compiled| c.program.iter().map(|i| (i.code, i.k)).collect::<Vec<_>>();
        assert_eq!(code(compile(&words).unwrap()), code(compiled("tcp port 443").unwrap()));
        assert!(compile(&[]).unwrap().program.is_empty() && compiled(" ").unwrap().program.is_empty());
    }

    #[test]
    fn what_is_asked_of_the_link_is_known() {
        let asks = |text| compiled(text).map(|c| (c.asks_link, c.asks_vlan)).unwrap();
        for text in ["tcp port 80", "arp", "not ip", "ether proto 0x88cc", "less 100", "ip[ip[0]] = 1", "stp"]
        {
            assert_eq!(asks(text), (false, false), "{text}");
        }
        for text in
            ["ether host 2:0:0:0:0:1", "multicast", "ether[12] = 8", "ether[10:4] = 1", "ether[ip[0]] = 1"]
        {
            assert_eq!(asks(text), (true, false), "{text}");
        }
        for text in ["vlan", "tcp and not(vlan 5)"] {
            assert_eq!(asks(text), (true, true), "{text}");
        }
    }

    #[test]
    fn refusals_name_the_reason_and_the_word() {
        let typo = refusal("tcp prt 5");
        assert!(typo.contains("'prt' (word 2)") && typo.contains("syntax error"), "{typo}");
        assert!(refusal("tcp port").contains("'port' (word 2)"));
        let raw = refusal("tcp or wlan type data");
        assert!(raw.contains("802.11"), "{raw}");
        assert!(refusal("inbound and tcp").contains("--match netif_receive_skb"));
        assert!(refusal("ip6 protochain 6").contains("protochain"));
        let many: Vec<String> = (1..200).map(|n| format!("host 10.0.0.{n}")).collect();
        assert!(refusal(&many.join(" or ")).contains("too long"));
        assert!(refusal("tcp\0").contains("nul byte"));
    }

    #[test]
    fn memory_is_numbered_from_nothing() {
        let program = compiled("(ip[0] & 0xf) * 4 + ip[1] > ip[2:2]").unwrap().program;
        let words: BTreeSet<u32> = program.iter().filter(|i| uses_memory(i)).map(|i| i.k).collect();
        assert_eq!(words, (0..words.len() as u32).collect());
        assert!(words.len() > 1);
    }
}
