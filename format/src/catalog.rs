//! The kernel functions and tracepoints that can be recorded, and what their return values mean.
//!
//! The tables are made from `catalog.toml` when the crate is built; that file says what each field is for.

use crate::schema::kind;

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
    /// Which way it leads a packet.
    pub direction: Direction,
    /// Whether `skb->data` is the network header there. Elsewhere `skb->network_header` tells, if it is set.
    pub at_network_header: bool,
}

/// Which way a stage leads a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The packet was received.
    In,
    /// This host sends the packet.
    Out,
    /// A driver hands the packet over: it may be a new one at the address of an old one.
    Entry,
    /// Either way, or it cannot be told.
    Any,
}

/// Functions of which a packet passes one, once each time that a device receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Their position on the way in, from 0.
    pub order: usize,
    /// Where the packet's data begins there.
    pub data: Data,
}

/// Where a packet's data begins (`skb->data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// At the header of IP.
    Ip,
    /// At the one behind it.
    Above,
}

/// What a probe says about a packet or a socket. Several probes may say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The packet was allocated just before.
    New,
    /// The packet is handed to a device's queue.
    Queue,
    /// The driver is given the packet.
    Start,
    /// The driver took or refused the packet: the return code of ndo_start_xmit.
    Sent,
    /// A driver hands the packet to the stack.
    RxEntry,
    /// The packet is put into a CPU's backlog.
    RxBacklog,
    /// The protocols get the packet.
    Receive,
    /// A process copies the packet's data.
    Copy,
    /// The packet is dropped, or freed by a function that the kernel uses for drops.
    Drop,
    /// A device dropped the packet, and shows it: a trap of devlink.
    HardwareDrop,
    /// The packet is freed after use.
    Consume,
    /// A function frees the packet, for whatever reason.
    Free,
    /// A socket has something to read.
    DataReady,
    /// A socket changes its state.
    SetState,
    /// A socket's receive buffer is full.
    ReceiveFull,
    /// A protocol's or socket's buffer limit is exceeded.
    BufferLimit,
    /// An established TCP connection gets a segment.
    TcpProbe,
    /// A retransmission of TCP.
    Retransmit,
    /// A retransmission of a SYN-ACK.
    RetransmitSynack,
    /// TCP sends a reset.
    SendReset,
    /// TCP gets a reset.
    ReceiveReset,
    /// TCP found a wrong checksum.
    BadChecksum,
    /// An ICMP error is sent; the packet is the one that it is about.
    IcmpSend,
    /// A neighbour entry changes.
    Neighbour,
    /// A queueing discipline has taken the packet, and may have freed it before this is told.
    Enqueued,
    /// A queueing discipline gives the packet out.
    Dequeued,
    /// A rule of nftables, the end of a chain or its policy is traced.
    Rule,
    /// A function is called with the packet.
    Call,
    /// A function returns: a row of kind `ret`, which no probe has by itself.
    Return,
    /// A function of netfilter gives a verdict: a row of kind `nf`, which no probe has by itself.
    Verdict,
    /// A packet is derived from another or merged into it: a row of kind `link`, which no probe has by itself.
    Link,
    /// Something about a packet or socket that does not move it.
    Note,
    /// A sample of another clock: a row that no probe of the catalog wrote.
    Clock,
    /// Events were lost: a row that no probe of the catalog wrote.
    Loss,
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
    /// `struct neighbour *`
    Neigh,
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
    /// The parent was merged into the child, which lives on.
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
    /// Name of the `struct xt_table *`, or of the `void *` before the packet where there is no such argument.
    Table,
    /// Names of the `struct nft_chain` in the `void *`, and of its table.
    Chain,
    /// Of the `struct nft_traceinfo *`: the rule, its chain and table, and the verdict.
    Trace,
    /// The `long` arguments behind an `int`: round-trip times in us, by sequence numbers, or else by SACK.
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
    /// Its gate, where a packet passes it once each time that a device receives it.
    pub gate: Option<Gate>,
    /// Kind of its rows: pkt, free, link, nf, sock, tcp, icmp or neigh.
    pub kind: &'static str,
    /// What it says. The returns, links and verdicts of a function are rows of their own kinds.
    pub effect: Effect,
    /// Whether its rows are about a socket or a connection, and thus about both directions.
    pub two_way: bool,
    /// `category:name` of the tracepoint it is, where `name` is its own; none: a function.
    pub tracepoint: Option<&'static str>,
    /// Whether a tracepoint's record has room for the kernel's stack.
    pub stack: bool,
    /// The function's names on different kernels, to be tried in this order; what compilers append is left to the
    /// loader. Empty for tracepoints.
    pub symbols: &'static [&'static str],
    /// Arguments that it must have.
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

impl Probe {
    /// Whether the function's return is recorded, if it has one: where that says something. Which returns a capture
    /// has, its metadata says: [`crate::Probe::returns`].
    pub fn has_return(&self) -> bool {
        let relates = self.link.as_ref().is_some_and(|link| !link.child.is_at_call());
        let at_call = self.tracepoint.is_some() || self.extra.contains(&Extra::Trace);
        !at_call && (self.returns.is_some() || relates || self.kind == kind::NF)
    }
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
    let at = BY_NAME.binary_search_by_key(&name, |(name, _)| name).ok()?;
    BY_NAME.get(at).and_then(|(_, position)| PROBES.get(*position))
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
