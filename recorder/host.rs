//! The host: who it is, and its network namespaces with their interfaces.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

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

/// The interfaces of all namespaces, as they are now.
pub fn interfaces(now: u64) -> Vec<Interface> {
    namespaces().into_iter().flat_map(|(netns, path)| interfaces_of(netns, path, now)).collect()
}

/// The interfaces of one namespace, which is entered by a thread of its own.
fn interfaces_of(netns: u32, path: PathBuf, since: u64) -> Vec<Interface> {
    let list = move || {
        let namespace = fs::File::open(&path).ok()?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
        let names = fs::read_to_string("/proc/thread-self/net/dev").ok()?;
        let probe = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
        let names = names.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
        let found = names.filter_map(|name| Some((name_to_index(&probe, &name).ok()?, name)));
        Some(found.map(|(ifindex, name)| Interface { netns, ifindex, name, since }).collect())
    };
    thread::spawn(list).join().ok().flatten().unwrap_or_default()
}
