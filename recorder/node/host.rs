//! The host: who it is, and its network namespaces with their interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::{fmt, fs, io};

use ntc::{Host, Interface};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Describes this host for the capture's metadata.
pub fn describe() -> Host {
    let system = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    Host {
        name: text(system.nodename()),
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel: text(system.release()),
        machine: text(system.machine()),
        cpus: thread::available_parallelism().map_or(0, |n| n.get() as u32),
        netns: inode(Path::new("/proc/self/ns/net")).unwrap_or_default(),
        netns_names: named_namespaces().into_iter().collect(),
    }
}

/// The modules that the kernel has loaded.
pub fn modules() -> BTreeSet<String> {
    let lines = fs::read_to_string("/proc/modules").unwrap_or_default();
    lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The text of a small file, or nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The inode of a namespace.
fn inode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|m| m.ino() as u32)
}

/// Namespaces under `/run/netns`: inode and name.
fn named_namespaces() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|e| Some((inode(&e.path())?, e.file_name().to_string_lossy().into_owned()))).collect()
}

/// Every network namespace that has a process or a name, by inode.
fn namespaces() -> BTreeMap<u32, PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes =
        processes.filter(|e| e.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
    let of_processes = processes.map(|e| e.path().join("ns/net"));
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|e| e.path());
    of_processes.chain(named).filter_map(|path| Some((inode(&path)?, path))).collect()
}

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its inode.
    inode: u32,
    /// What leads to it; nothing for our own.
    path: Option<PathBuf>,
}

impl Namespace {
    /// Our own.
    pub fn own() -> Self {
        Self { inode: inode(Path::new("/proc/self/ns/net")).unwrap_or_default(), path: None }
    }

    /// The one at a path.
    pub fn at(path: PathBuf) -> Option<Self> {
        let inode = inode(&path)?;
        let own = Self::own();
        Some(if inode == own.inode { own } else { Self { inode, path: Some(path) } })
    }

    /// The one with an inode, if it has a process or a name.
    pub fn find(inode: u32) -> Option<Self> {
        namespaces().remove(&inode).and_then(Self::at)
    }

    /// Does something in it: in a thread of its own, since a thread that has moved does not come back.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let Some(path) = &self.path else { return Ok(work()) };
        let moved = || {
            let namespace = fs::File::open(path)?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.inode == other.inode
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "the network namespace at {}", path.display()),
            None => f.write_str("the network namespace of the recorder"),
        }
    }
}

/// The interfaces of all namespaces, as they are now.
pub fn interfaces(now: u64) -> Vec<Interface> {
    let each = namespaces().into_values().filter_map(Namespace::at);
    each.flat_map(|namespace| interfaces_of(&namespace, now)).collect()
}

/// The interfaces of one namespace.
fn interfaces_of(namespace: &Namespace, since: u64) -> Vec<Interface> {
    let netns = namespace.inode;
    let list = || {
        let names = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        let probe = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        let names = names.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
        let found = names.filter_map(|name| Some((name_to_index(&probe, &name).ok()?, name)));
        Some(found.map(|(ifindex, name)| Interface { netns, ifindex, name, since }).collect())
    };
    namespace.inside(list).ok().flatten().unwrap_or_default()
}
