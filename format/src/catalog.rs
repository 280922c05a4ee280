//! The kernel functions and tracepoints that can be recorded, and what their return values mean.
//!
//! The tables are made from `catalog.toml` when the crate is built; that file says what each field is for.

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// The smallest errno that the kernel returns as a pointer.
const MIN_ERRNO: i64 = -4095;

/// A station on a packet's way.
#[derive(Debug)]
pub struct Stage {
    /// Its position on the way, from 0: first the way in, then the way out.
    pub order: usize,
    /// Its name.
    pub name: &'static str,
    /// What happens there, one line.
    pub what: &'static str,
}

/// Probes that are chosen together.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// What its probes are about, one line.
    pub what: &'static str,
}

/// A set of probes; a greater one has those of the smaller ones, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// What tells a packet's way from device to device: tracepoints.
    Net,
    /// Its way through the host.
    Life,
    /// Everything.
    All,
}

impl Profile {
    /// Its name, as the catalog and `--profile` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Life => "life",
            Self::All => "all",
        }
    }
}

/// How the register of a return value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Signed 32 bit.
    S32,
    /// Unsigned 32 bit.
    U32,
    /// Signed 64 bit.
    S64,
    /// The lowest byte: 0 or 1.
    Bool,
    /// An address, or an errno in its place.
    Pointer,
}

impl Type {
    /// The value in a register: what the column `ret` holds.
    pub fn read(self, register: u64) -> i64 {
        match self {
            Self::S32 => i64::from(register as i32),
            Self::U32 => i64::from(register as u32),
            Self::Bool => i64::from(register as u8),
            Self::S64 | Self::Pointer => register as i64,
        }
    }
}

/// How bad something is; a greater one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Occurs on healthy traffic, too.
    Info,
    /// May be trouble.
    Warning,
    /// A packet that somebody wanted was lost.
    Error,
}

/// Which values a [`Meaning`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Whatever is returned: the call itself says it.
    Always,
    /// This value.
    Is(i64),
    /// Any other value.
    Not(i64),
    /// Smaller values.
    Below(i64),
    /// Greater values.
    Above(i64),
    /// A pointer that is an errno.
    Errno,
}

impl When {
    /// Whether a value is one of them.
    fn fits(self, value: i64) -> bool {
        match self {
            Self::Always => true,
            Self::Is(other) => value == other,
            Self::Not(other) => value != other,
            Self::Below(other) => value < other,
            Self::Above(other) => value > other,
            Self::Errno => (MIN_ERRNO..0).contains(&value),
        }
    }
}

/// What a return value, or a call, means.
#[derive(Debug)]
pub struct Meaning {
    /// For which values.
    pub when: When,
    /// The kernel's name of the value; may be empty.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it means, one sentence.
    pub means: &'static str,
    /// What to do; may be empty.
    pub advice: &'static str,
}

/// What the return values of some functions mean.
#[derive(Debug)]
pub struct Returns {
    /// Its name.
    pub name: &'static str,
    /// How the register is read.
    pub kind: Type,
    /// The bits that count; all of them where -1.
    pub mask: i64,
    /// The meanings; the first that fits is right.
    pub values: &'static [Meaning],
}

impl Returns {
    /// What a value means, as [`Type::read`] gives it.
    pub fn meaning(&self, value: i64) -> Option<&'static Meaning> {
        self.values.iter().find(|m| m.when.fits(value & self.mask))
    }
}

/// An argument that a function is looked up for. Where it stands is found by its type, in the BTF of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// `struct sk_buff *`
    Skb,
    /// `struct sk_buff **`
    SkbPointer,
    /// `struct sock *`
    Sk,
    /// `struct socket *`: its `sk`.
    Socket,
    /// `struct nft_pktinfo *`: its `skb`.
    PktInfo,
    /// `struct nft_traceinfo *`: its packet's, where there is no [`Take::PktInfo`].
    TraceInfo,
}

/// What relation two packets have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The child is a second header for the same data.
    Clone,
    /// The child has a copy of the data.
    Copy,
    /// The child is a part that GSO made.
    Segment,
    /// The child is a part that IP made.
    Fragment,
    /// The parent went up in the child, which lives on.
    Merge,
    /// The child is the parent itself, in a tunnel from here on.
    Encapsulation,
}

impl Relation {
    /// Its name in the column `relation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::Copy => "copy",
            Self::Segment => "segment",
            Self::Fragment => "fragment",
            Self::Merge => "merge",
            Self::Encapsulation => "encapsulation",
        }
    }
}

/// Where the other packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// The function returns it.
    Return,
    /// The function returns the first; the others follow by `skb->next`.
    List,
    /// The first in the packet's `frag_list`, when the function is called; the others follow by `skb->next`.
    FragList,
    /// It is the packet itself, with other headers from the call on.
    Itself,
    /// It is the argument of this name.
    Argument(&'static str),
}

impl Child {
    /// Whether it is known when the function is called, not only when it returns.
    pub fn is_at_call(self) -> bool {
        matches!(self, Self::FragList | Self::Itself)
    }
}

/// How a function relates two packets.
#[derive(Debug)]
pub struct Link {
    /// The relation.
    pub relation: Relation,
    /// The argument that is the packet of the row; where none is named, the first `struct sk_buff *`.
    pub parent: Option<&'static str>,
    /// The other packet.
    pub child: Child,
}

/// What is recorded beside packet and socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Of the `struct nf_hook_state *`: hook, protocol family and namespace.
    Hook,
    /// Name of the `struct xt_table *`, or of the `void *` before the packet where there is no such argument.
    Table,
    /// Names of the `struct nft_chain` in the `void *`, and of its table.
    Chain,
    /// Of the `struct nft_traceinfo *`: the rule, its chain and table, and the verdict.
    Trace,
    /// The `enum sk_rst_reason`, where the kernel has it.
    Reset,
    /// The first two `long` arguments: round-trip times in us, by sequence numbers and by SACK.
    Rtt,
}

/// A function or tracepoint that can be recorded.
#[derive(Debug)]
pub struct Probe {
    /// Its name, as in the column `probe`.
    pub name: &'static str,
    /// Other names by which [`by_name`] finds it.
    pub also: &'static [&'static str],
    /// Its group.
    pub group: &'static Group,
    /// Where on a packet's way it is; none: anywhere.
    pub stage: Option<&'static Stage>,
    /// Kind of its rows: pkt, free, link, nf, sock, tcp, icmp or neigh.
    pub kind: &'static str,
    /// `category:name` of the tracepoint it is; none: a function.
    pub tracepoint: Option<&'static str>,
    /// The function's names on different kernels, to be tried in this order; what compilers append is left to the
    /// loader. Empty for tracepoints.
    pub symbols: &'static [&'static str],
    /// Arguments that it must have. Empty for tracepoints.
    pub takes: &'static [Take],
    /// What happens there, one line.
    pub what: &'static str,
    /// What its return values mean.
    pub returns: Option<&'static Returns>,
    /// What its call means, whatever it returns.
    pub called: Option<Meaning>,
    /// The relation to another packet that it makes.
    pub link: Option<Link>,
    /// What else is recorded.
    pub extra: &'static [Extra],
    /// The smallest profile that it is part of.
    pub profile: Profile,
    /// On which kernels it is there, or why it can be missing; may be empty.
    pub since: &'static str,
}

/// All stages, in the order of a packet's way.
pub fn stages() -> &'static [Stage] {
    &STAGES
}

/// All groups.
pub fn groups() -> &'static [Group] {
    &GROUPS
}

/// All meanings of return values.
pub fn returns() -> &'static [Returns] {
    &RETURNS
}

/// All probes.
pub fn probes() -> &'static [Probe] {
    &PROBES
}

/// The probe of this name, or with this other name.
pub fn by_name(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|p| p.name == name || p.also.contains(&name))
}

/// The group of this name.
pub fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|g| g.name == name)
}

/// The probes of a group.
pub fn in_group(name: &str) -> impl Iterator<Item = &'static Probe> {
    PROBES.iter().filter(move |p| p.group.name == name)
}

#[cfg(test)]
mod tests;
