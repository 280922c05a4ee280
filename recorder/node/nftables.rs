//! A table of the recorder's own, by which nftables traces every packet (`--nft-trace`).
//!
//! The table belongs to the socket that made it (NFT_TABLE_F_OWNER, 5.12): when the recorder ends, by whatever means, the
//! kernel removes it. On older kernels a recorder that is killed leaves it, and the next one removes it.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow};
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Expressions, Hook, Immediate, InetHookNumber, Meta, MetaKey,
    NfTablesMessage, Register, RuleAttribute, RuleMessage, TableAttribute, TableFlags, TableMessage,
};

use super::host::Namespace;
use super::netlink::Socket;
use crate::args::Capture;

/// What the name of a table of ours begins with; a process id follows. The BPF programs leave these
/// tables' rules out.
pub const OWN: &str = "ntrec-";
/// The families with a table; a kernel may lack the second.
const FAMILIES: [NetfilterProtoFamily; 2] = [NetfilterProtoFamily::Inet, NetfilterProtoFamily::Bridge];
/// Where packets are marked: as soon as they come in or are made. The numbers are the same in both families.
const HOOKS: [(&str, InetHookNumber); 2] =
    [("prerouting", InetHookNumber::PreRouting), ("output", InetHookNumber::LocalOut)];
/// Before connection tracking (-200) and what tells it to leave packets alone (-300), and before fragments are joined
/// (-400): NF_IP_PRI_*, include/uapi/linux/netfilter_ipv4.h.
const PRIORITY: i32 = -500;

/// Tables of ours, which end with this.
pub struct Tables(Vec<Table>);

/// A table of ours.
struct Table {
    /// What it belongs to.
    socket: Socket,
    /// Its family.
    family: NetfilterProtoFamily,
    /// Whether the kernel removes it when the socket is closed.
    owned: bool,
}

impl Tables {
    /// Has nftables trace packets in our own network namespace, and in those that a recording is about.
    pub fn add(args: &Capture) -> Result<Self> {
        let mut tables = Vec::new();
        for namespace in namespaces(args)? {
            let added = namespace.inside(|| FAMILIES.map(add)).and_then(usable).map_err(sentence);
            tables.extend(added.with_context(|| format!("--nft-trace: no table in {namespace}"))?);
        }
        Ok(Self(tables))
    }

    /// Whether they have to be removed, for which CAP_NET_ADMIN is needed.
    pub fn are_left(&self) -> bool {
        self.0.iter().any(|table| !table.owned)
    }
}

impl Drop for Table {
    /// Removes it where the kernel does not.
    fn drop(&mut self) {
        if !self.owned {
            // Nobody is left to be told; the next start tries again.
            let _ = remove(&self.socket, self.family, &own_name());
        }
    }
}

/// The tables that could be added; all but the first are welcome, not needed.
fn usable(added: [io::Result<Table>; FAMILIES.len()]) -> io::Result<Vec<Table>> {
    let [needed, others @ ..] = added;
    Ok([needed?].into_iter().chain(others.into_iter().flatten()).collect())
}

/// Why it failed, and what to do.
fn sentence(error: io::Error) -> Error {
    if error.kind() == ErrorKind::PermissionDenied {
        anyhow!("it takes CAP_NET_ADMIN, and CAP_SYS_ADMIN to enter a namespace: run it as root")
    } else {
        error.into()
    }
}

/// Removes tables that recorders left which are no longer there, from the same namespaces. Asks nothing of a kernel that
/// has not loaded nftables, unless it is about to be used: then it is loaded, and its functions can be found.
pub fn sweep(args: &Capture) {
    if !args.subject.nft_trace && !Path::new("/sys/module/nf_tables").exists() {
        return;
    }
    for namespace in namespaces(args).unwrap_or_default() {
        // What stands in the way will be told by who adds a table.
        let _ = namespace.inside(remove_leftovers);
    }
}

/// The network namespaces that tables are for.
fn namespaces(args: &Capture) -> Result<Vec<Namespace>> {
    let mut all = vec![Namespace::own()];
    for wanted in &args.filter.netns {
        let found = wanted.find().with_context(|| {
            format!("--nft-trace: no process and no name leads to the network namespace {wanted}")
        })?;
        if !all.contains(&found) {
            all.push(found);
        }
    }
    Ok(all)
}

/// Removes leftovers from this namespace. Tables with a living owner cannot be removed, whatever the process ids say.
fn remove_leftovers() -> io::Result<()> {
    let socket = Socket::open()?;
    for (family, name) in tables(&socket)?.iter().filter(|(_, name)| is_left(name)) {
        let _ = remove(&socket, *family, name);
    }
    Ok(())
}

/// The tables of this namespace, by family and name.
fn tables(socket: &Socket) -> io::Result<Vec<(NetfilterProtoFamily, String)>> {
    let all = socket.list(NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() }))?;
    let named = all.into_iter().filter_map(|(family, told)| match told {
        NfTablesMessage::NewTable(table) => Some((family, table.attributes)),
        _ => None,
    });
    let each = named.flat_map(|(family, attributes)| attributes.into_iter().map(move |a| (family, a)));
    Ok(each
        .filter_map(|(family, attribute)| match attribute {
            TableAttribute::Name(name) => Some((family, name)),
            _ => None,
        })
        .collect())
}

/// Whether a table is one of a recorder that has ended; or had our own process id.
fn is_left(name: &str) -> bool {
    let pid = name.strip_prefix(OWN).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists())
}

/// The name of our tables.
fn own_name() -> String {
    format!("{OWN}{}", std::process::id())
}

/// Adds a table to this namespace. A kernel before 5.12 refuses a flag that it does not know.
fn add(family: NetfilterProtoFamily) -> io::Result<Table> {
    let socket = Socket::open()?;
    let unknown =
        |error: &io::Error| [Some(libc::EINVAL), Some(libc::EOPNOTSUPP)].contains(&error.raw_os_error());
    let owned = match socket.add(family, commands(TableFlags::Owner)) {
        Err(error) if unknown(&error) => socket.add(family, commands(TableFlags::empty())).map(|()| false)?,
        other => other.map(|()| true)?,
    };
    Ok(Table { socket, family, owned })
}

/// What adds a table: `chain prerouting { type filter hook prerouting priority -500; meta nftrace set 1 }`, and so on.
fn commands(flags: TableFlags) -> Vec<NfTablesMessage> {
    let attributes = vec![TableAttribute::Name(own_name()), TableAttribute::Flags(flags)];
    let mut all = vec![NfTablesMessage::NewTable(TableMessage { attributes })];
    for (name, hook) in HOOKS {
        let place = vec![Hook::Number(hook.into()), Hook::Priority(PRIORITY.cast_unsigned())];
        let chain = vec![
            ChainAttribute::Table(own_name()),
            ChainAttribute::Name(name.to_owned()),
            ChainAttribute::Hook(place),
            ChainAttribute::Type("filter".to_owned()),
        ];
        let rule = vec![
            RuleAttribute::Table(own_name()),
            RuleAttribute::Chain(name.to_owned()),
            RuleAttribute::Expressions(vec![load_one().into(), set_trace().into()]),
        ];
        all.push(NfTablesMessage::NewChain(ChainMessage { attributes: chain }));
        all.push(NfTablesMessage::NewRule(RuleMessage { attributes: rule }));
    }
    all
}

/// Loads 1 into a register.
fn load_one() -> Expressions {
    let one = DataAttribute::Value(vec![1]);
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Reg1), Immediate::Data(one)])
}

/// Has the packet traced as the register says.
fn set_trace() -> Expressions {
    Expressions::Meta(vec![Meta::Key(MetaKey::NftraceBit), Meta::SourceRegister(Register::Reg1)])
}

/// Removes a table.
fn remove(socket: &Socket, family: NetfilterProtoFamily, name: &str) -> io::Result<()> {
    let attributes = vec![TableAttribute::Name(name.to_owned())];
    socket.remove(family, NfTablesMessage::DeleteTable(TableMessage { attributes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_ended_recorders_are_left() {
        let parent = std::os::unix::process::parent_id();
        assert!(is_left("ntrec-4194305") && is_left(&own_name()));
        assert!(!is_left(&format!("ntrec-{parent}")) && !is_left("ntrec-") && !is_left("lab"));
    }
}

#[cfg(test)]
mod root {
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    use super::*;

    /// The names of this namespace's tables.
    fn names() -> Vec<String> {
        tables(&Socket::open().unwrap()).unwrap().into_iter().map(|(_, name)| name).collect()
    }

    /// Does something in a network namespace of its own, where that can be made.
    fn alone(work: fn()) {
        let inside = move || {
            // SAFETY: only the network namespace of this thread, which ends then.
            let moved = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
            match moved.map_err(io::Error::from).and_then(|()| tables(&Socket::open()?).map(drop)) {
                Ok(()) => work(),
                Err(error) => {
                    harness::skip(&format!("there is no nftables in a namespace of its own here: {error}"));
                }
            }
        };
        std::thread::spawn(inside).join().unwrap();
    }

    #[test]
    fn tables_are_there_and_gone_with_their_sockets() {
        alone(|| {
            let tables = usable(FAMILIES.map(add)).unwrap();
            assert_eq!(names(), vec![own_name(); tables.len()]);
            // Nobody can take it away from its owner.
            let taken = remove(&Socket::open().unwrap(), FAMILIES[0], &own_name());
            assert_eq!(taken.is_err(), tables[0].owned);
            drop(tables);
            assert!(names().is_empty());
        });
    }

    #[test]
    fn what_a_killed_recorder_left_is_removed() {
        alone(|| {
            let left = |name: &str| {
                let attributes = vec![TableAttribute::Name(name.to_owned())];
                let command = NfTablesMessage::NewTable(TableMessage { attributes });
                Socket::open().unwrap().add(FAMILIES[0], vec![command]).unwrap();
            };
            ["ntrec-4194305", "ntrec-1", "lab"].into_iter().for_each(left);
            remove_leftovers().unwrap();
            assert_eq!(names(), ["ntrec-1", "lab"]);
        });
    }
}
