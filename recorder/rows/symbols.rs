//! Kernel addresses -> function+offset.

use ahash::AHashMap;
use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Kernel, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

/// Names kept; a kernel has few places that free packets.
const MOST: usize = 65_536;

/// Names addresses, and remembers them.
pub struct Symbols {
    /// Reads kallsyms.
    symbolizer: Symbolizer,
    /// Names by address.
    known: AHashMap<u64, Box<str>>,
}

impl Symbols {
    /// Opens the kernel's symbols, while the privilege to see addresses is there.
    pub fn new() -> Self {
        let symbolizer = Symbolizer::builder().enable_code_info(false).enable_inlined_fns(false).build();
        let mut symbols = Self { symbolizer, known: AHashMap::default() };
        symbols.name(u64::MAX - 1);
        symbols.known.clear();
        symbols
    }

    /// The name of an address, `tcp_v4_rcv+0x81`; the bare address where it has none.
    pub fn name(&mut self, address: u64) -> &str {
        if self.known.len() > MOST {
            self.known.clear();
        }
        let symbolizer = &self.symbolizer;
        self.known.entry(address).or_insert_with(|| look_up(symbolizer, address).into())
    }

    /// The name of the function that begins at an address.
    pub fn function(&mut self, address: u64) -> &str {
        let name = self.name(address);
        name.strip_suffix("+0x0").unwrap_or(name)
    }

    /// A folded stack, innermost first. Frames of the tracing itself are left out.
    pub fn fold(&mut self, frames: &[u8]) -> String {
        let addresses = frames.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
        let names: Vec<String> = addresses.map(|a| self.name(a).to_owned()).collect();
        let own = names.iter().take_while(|name| is_tracing(name)).count();
        names[own..].join(";")
    }
}

/// Whether a frame belongs to the tracepoint, not to the kernel's work.
fn is_tracing(name: &str) -> bool {
    ["bpf_prog_", "bpf_trace_run", "__traceiter_", "__bpf_trace_", "0x"].iter().any(|p| name.starts_with(p))
}

/// Asks kallsyms.
fn look_up(symbolizer: &Symbolizer, address: u64) -> String {
    let kernel = Kernel { vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() };
    match symbolizer.symbolize_single(&Source::Kernel(kernel), Input::AbsAddr(address)) {
        Ok(Symbolized::Sym(sym)) => format!("{}+{:#x}", sym.name, sym.offset),
        _ => format!("{address:#x}"),
    }
}
