//! Kernel functions: where each is on this kernel, and where its arguments are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Result, bail};
use ntc::catalog::{self, Child, Extra, Relation, Take};
use ntc::schema::kind;

use super::arguments::{self, Arguments, NO_ARGUMENT};
use super::btf::{Btf, Prototype, Type};
use super::kallsyms::{Kallsyms, Symbol};
use crate::bpf::types::{self, link as ChildAt, netfilter as Verdict, probe_flag, role as Role};

/// What the return values of hook functions mean, in the catalog.
const HOOK_RETURNS: &str = "netfilter";

/// A function that can be probed.
#[derive(Clone, Debug)]
pub struct Function {
    /// What the catalog says of it, if it is in there.
    pub entry: Option<&'static catalog::Probe>,
    /// Where it is.
    pub symbol: Symbol,
    /// Its arguments and what it returns.
    pub prototype: Prototype,
    /// The places of its arguments.
    pub arguments: Arguments,
}

impl Function {
    /// Its name in the column `probe`.
    pub fn name(&self) -> &str {
        self.entry.map_or_else(|| base(&self.symbol.name), |entry| entry.name)
    }

    /// The kind of the rows of its calls. Its links and verdicts are rows of their own, at its return.
    pub fn kind(&self) -> &'static str {
        match self.entry.map(|entry| entry.kind) {
            Some(kind::LINK | kind::NF) => kind::PKT,
            Some(other) => other,
            None if self.takes_packet() => kind::PKT,
            None => kind::SOCK,
        }
    }

    /// Whether it is called with a packet.
    fn takes_packet(&self) -> bool {
        let roles = [Role::ROLE_SKB, Role::ROLE_SKB_REF, Role::ROLE_PKTINFO, Role::ROLE_TRACEINFO];
        roles.iter().any(|role| self.has(*role))
    }

    /// Whether it has such an argument.
    fn has(&self, role: Role) -> bool {
        self.arguments[role.0 as usize] != NO_ARGUMENT
    }

    /// Whether its return is recorded: where that says something.
    pub fn returns(&self) -> bool {
        let says = self.entry.map_or_else(|| self.prototype.is_hook(), catalog::Probe::has_return);
        says && self.prototype.returns != Type::Void
    }

    /// What its return values mean.
    pub fn meanings(&self) -> Option<&'static catalog::Returns> {
        match self.entry {
            Some(entry) => entry.returns,
            None if self.prototype.is_hook() => catalog::returns().iter().find(|r| r.name == HOOK_RETURNS),
            None => None,
        }
    }

    /// What the BPF programs must know of it.
    pub fn setup(&self) -> types::setup {
        let set = |flag: probe_flag, holds: bool| if holds { flag.0 as u8 } else { 0 };
        let receives = self.entry.and_then(|e| e.stage).is_some_and(|stage| stage.at_network_header);
        let ends = self.entry.is_some_and(|e| e.kind == kind::FREE);
        types::setup {
            flags: set(probe_flag::PROBE_RETURNS, self.returns())
                | set(probe_flag::PROBE_STARTS, !ends)
                | set(probe_flag::PROBE_ENDS, ends)
                | set(probe_flag::PROBE_RECEIVES, receives)
                | set(probe_flag::PROBE_RTT, self.measures_rtt()),
            link: self.link().0 as u8,
            netfilter: self.netfilter().0 as u8,
            ..types::setup::default()
        }
    }

    /// How it makes another packet of one.
    fn link(&self) -> ChildAt {
        match self.entry.and_then(|e| e.link.as_ref()).map(|link| link.child) {
            None => ChildAt::LINK_NONE,
            Some(Child::Return) => ChildAt::LINK_RETURN,
            Some(Child::List) => ChildAt::LINK_LIST,
            Some(Child::FragList) => ChildAt::LINK_FRAG_LIST,
            Some(Child::Itself) => ChildAt::LINK_ITSELF,
            Some(Child::Argument(_)) if matches!(self.prototype.returns, Type::Integer(4, _)) => {
                ChildAt::LINK_IF_ZERO
            }
            Some(Child::Argument(_)) => ChildAt::LINK_IF_TRUE,
        }
    }

    /// Whether it gives a packet another header, or copies it.
    pub fn clones(&self) -> bool {
        let link = self.entry.and_then(|e| e.link.as_ref());
        link.is_some_and(|link| matches!(link.relation, Relation::Clone | Relation::Copy))
    }

    /// Whether a step of nftables' rules is recorded instead of its call.
    pub fn traces(&self) -> bool {
        self.netfilter() == Verdict::NETFILTER_TRACE
    }

    /// Whether it is called with round-trip times.
    pub fn measures_rtt(&self) -> bool {
        self.entry.is_some_and(|e| e.extra.contains(&Extra::Rtt)) && self.has(Role::ROLE_THIRD)
    }

    /// Which verdict of netfilter it gives.
    fn netfilter(&self) -> Verdict {
        let Some(entry) = self.entry else {
            return if self.prototype.is_hook() { Verdict::NETFILTER_HOOK } else { Verdict::NETFILTER_NONE };
        };
        if entry.kind != kind::NF {
            return Verdict::NETFILTER_NONE;
        }
        let has = |extra| entry.extra.contains(&extra);
        if has(Extra::Trace) {
            Verdict::NETFILTER_TRACE
        } else if has(Extra::Chain) {
            Verdict::NETFILTER_NFTABLES
        } else if has(Extra::Table) {
            Verdict::NETFILTER_XTABLES
        } else if self.has(Role::ROLE_STATE) {
            Verdict::NETFILTER_HOOK
        } else {
            Verdict::NETFILTER_NONE
        }
    }

    /// A value of the return register as its type says.
    pub fn read_return(&self, raw: i64) -> i64 {
        read_as(&self.prototype.returns, raw)
    }
}

/// A register's value as a type says.
fn read_as(ty: &Type, raw: i64) -> i64 {
    use super::btf::Signed;
    match ty {
        Type::Integer(_, Signed::Bool) => i64::from(raw & 0xff != 0),
        Type::Integer(1, _) => raw & 0xff,
        Type::Integer(2, _) => raw & 0xffff,
        Type::Integer(4, Signed::Yes) | Type::Enum(_) => i64::from(raw as i32),
        Type::Integer(4, Signed::No) => raw & 0xffff_ffff,
        _ => raw,
    }
}

/// A symbol's name without what the compiler appended.
pub fn base(symbol: &str) -> &str {
    symbol.split('.').next().unwrap_or(symbol)
}

/// The functions of this kernel.
pub struct Functions {
    /// All symbols.
    kallsyms: Kallsyms,
    /// The kernel's types.
    vmlinux: Rc<Btf>,
    /// The types of modules, as far as they were asked for.
    modules: RefCell<HashMap<String, Result<Rc<Btf>, String>>>,
}

impl Functions {
    /// Reads the symbols.
    pub fn new(vmlinux: Rc<Btf>) -> Result<Self> {
        Ok(Self { kallsyms: Kallsyms::read()?, vmlinux, modules: RefCell::default() })
    }

    /// The types of a module, or the kernel's.
    fn btf(&self, module: Option<&String>) -> Result<Rc<Btf>, String> {
        let Some(module) = module else { return Ok(self.vmlinux.clone()) };
        let mut modules = self.modules.borrow_mut();
        let open = || self.vmlinux.module(module).map(Rc::new).map_err(|e| format!("{e:#}"));
        modules.entry(module.clone()).or_insert_with(open).clone()
    }

    /// Finds a function of the catalog, by any of its names.
    pub fn find(&self, entry: &'static catalog::Probe) -> Result<Function, String> {
        let mut why =
            "this kernel has no such function: not built, inlined, or in a module that is not loaded"
                .to_owned();
        for name in entry.symbols {
            let Some(symbol) = self.kallsyms.find(name) else { continue };
            match self.resolve(symbol, Some(entry)) {
                Ok(function) => return Ok(function),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// Looks a symbol's arguments up.
    fn resolve(&self, symbol: &Symbol, entry: Option<&'static catalog::Probe>) -> Result<Function, String> {
        let btf = self.btf(symbol.module.as_ref())?;
        let Some(prototype) = btf.prototype(base(&symbol.name)) else {
            return Err(format!("the kernel's BTF does not describe {}", symbol.name));
        };
        let arguments = arguments::assign(&prototype, entry);
        let function = Function { entry, symbol: symbol.clone(), prototype, arguments };
        let takes: &[Take] = entry.map_or(&[], |e| e.takes);
        match takes.iter().find(|takes| !function.has(arguments::role_of(**takes))) {
            Some(missing) => Err(format!("on this kernel it has no argument {}", name_of(*missing))),
            None => Ok(function),
        }
    }

    /// All functions that take a packet or a socket and whose name fits.
    pub fn matching(&self, fits: impl Fn(&str) -> bool) -> Vec<Function> {
        let symbols = self.kallsyms.iter().filter(|symbol| fits(base(&symbol.name)));
        let found = symbols.filter_map(|symbol| self.resolve(symbol, None).ok());
        found.filter(|f| f.takes_packet() || f.has(Role::ROLE_SK)).collect()
    }

    /// The functions that netfilter can call as hooks, of the kernel and of the modules that are loaded.
    pub fn hooks(&self) -> Vec<Function> {
        let mut modules: Vec<Option<&String>> = self.kallsyms.iter().map(|s| s.module.as_ref()).collect();
        modules.sort_unstable();
        modules.dedup();
        modules.into_iter().flat_map(|module| self.hooks_of(module)).collect()
    }

    /// Those of one module, or of the kernel itself.
    fn hooks_of(&self, module: Option<&String>) -> Vec<Function> {
        let Ok(btf) = self.btf(module) else { return Vec::new() };
        let names = btf.functions(Prototype::is_hook);
        let symbols = names.into_iter().filter_map(|name| self.kallsyms.find(name));
        let symbols = symbols.filter(|symbol| symbol.module.as_ref() == module);
        symbols.filter_map(|s| self.resolve(s, catalog::by_name(base(&s.name))).ok()).collect()
    }

    /// A function that the catalog does not have, by its name.
    pub fn named(&self, name: &str) -> Result<Option<Function>> {
        let Some(symbol) = self.kallsyms.find(name) else { return Ok(None) };
        match self.resolve(symbol, None) {
            Ok(function) if function.takes_packet() || function.has(Role::ROLE_SK) => Ok(Some(function)),
            Ok(_) => {
                bail!("{name} takes neither a struct sk_buff nor a struct sock: it says nothing of packets")
            }
            Err(why) => bail!("{name} cannot be probed: {why}"),
        }
    }

    /// The names of all functions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kallsyms.iter().map(|symbol| base(&symbol.name))
    }
}

/// What an argument is called in C.
fn name_of(takes: Take) -> &'static str {
    match takes {
        Take::Skb => "struct sk_buff *",
        Take::SkbPointer => "struct sk_buff **",
        Take::Sk => "struct sock *",
        Take::Socket => "struct socket *",
        Take::PktInfo => "struct nft_pktinfo *",
        Take::TraceInfo => "struct nft_traceinfo *",
        Take::Neigh => "struct neighbour *",
    }
}
