//! One host: a network namespace, entered by threads and by child processes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Process, tool};

/// Where `ip netns` keeps the namespaces that have a name.
pub(crate) const NETNS_DIR: &str = "/run/netns";

/// A network namespace with a name; dropping it removes the namespace and all that is in it.
#[derive(Debug)]
pub struct Host {
    /// The name `ip netns` knows it by: `nt<pid>-<count>-<role>`.
    name: String,
    /// What it is in its net: `client`, `router`, `server`.
    role: &'static str,
    /// The inode number, by which the kernel and captures name a network namespace.
    inode: u64,
    /// Its IPv4 address, the one nearest to the client if there are two.
    v4: IpAddr,
    /// Its IPv6 address, the one nearest to the client if there are two.
    v6: IpAddr,
}

impl Host {
    /// Makes an empty namespace; the addresses are a promise that the caller keeps.
    pub(crate) fn create(prefix: &str, role: &'static str, addrs: (IpAddr, IpAddr)) -> Result<Self> {
        let name = format!("{prefix}-{role}");
        // A value from here on: what a tool that breaks off leaves is removed, too.
        let mut host = Self { name, role, inode: 0, v4: addrs.0, v6: addrs.1 };
        tool("ip", &["netns", "add", &host.name], "")?;
        host.inode = fs::metadata(host.path())
            .with_context(|| format!("`ip netns add` left no {}", host.path().display()))?
            .ino();
        Ok(host)
    }

    /// The name `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is in its net: `client`, `router` or `server`.
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// The namespace's inode number, as captures name it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The namespace as a file.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.name)
    }

    /// Its IPv4 address; of the router, the one on the client's side.
    pub fn v4(&self) -> IpAddr {
        self.v4
    }

    /// Its IPv6 address; of the router, the one on the client's side.
    pub fn v6(&self) -> IpAddr {
        self.v6
    }

    /// Both.
    pub(crate) fn addrs(&self) -> (IpAddr, IpAddr) {
        (self.v4, self.v6)
    }

    /// A port at its IPv4 address.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4, port)
    }

    /// A port at its IPv6 address.
    pub fn at6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6, port)
    }

    /// Runs `work` inside the host, on a thread of its own named `lab-<role>`, and returns its result.
    ///
    /// Sockets made there stay in the host's namespace when they are returned; child processes too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| join(self.start(scope, work)?))
    }

    /// Like [`Host::run`], without waiting for the end.
    pub(crate) fn start<'scope, T: Send + 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> Result<T> + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, Result<T>>> {
        let thread = thread::Builder::new().name(format!("lab-{}", self.role));
        let handle = thread.spawn_scoped(scope, || {
            self.enter()?;
            work()
        })?;
        Ok(handle)
    }

    /// Moves the calling thread into the namespace, for good.
    fn enter(&self) -> Result<()> {
        let path = self.path();
        let file =
            File::open(&path).with_context(|| format!("host {} is gone: {}", self.name, path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter network namespace {}; root is needed", path.display()))
    }

    /// Starts a program inside the host, with no input and no output; for other pipes use
    /// `host.run(|| Process::start(&mut command))`.
    pub fn spawn(&self, program: &str, args: &[&str]) -> Result<Process> {
        let mut command = harness::program(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.run(|| Process::start(&mut command))
    }

    /// Runs a program inside the host to its end and returns its standard output; that it fails is an error
    /// with its standard error.
    pub fn sh(&self, program: &str, args: &[&str]) -> Result<String> {
        self.run(|| tool(program, args, ""))
    }

    /// Like [`Host::sh`], with something to read on standard input.
    pub fn feed(&self, program: &str, args: &[&str], input: &str) -> Result<String> {
        self.run(|| tool(program, args, input))
    }

    /// Writes kernel settings, by their path below `/proc/sys/net`.
    pub(crate) fn sysctl<P: AsRef<str> + Sync>(&self, settings: &[(P, &str)]) -> Result<()> {
        self.run(|| {
            for (key, value) in settings {
                let path = Path::new("/proc/sys/net").join(key.as_ref());
                fs::write(&path, value)
                    .with_context(|| format!("cannot set {} to {value}", path.display()))?;
            }
            Ok(())
        })
    }

    /// The kernel's protocol counters of this host, as they stand now.
    pub fn counters(&self) -> Result<Counters> {
        self.run(|| {
            let dir = Path::new("/proc/thread-self/net");
            let mut counters = parse_pairs(&fs::read_to_string(dir.join("snmp"))?);
            counters.extend(parse_pairs(&fs::read_to_string(dir.join("netstat"))?));
            counters.extend(parse_lines(&fs::read_to_string(dir.join("snmp6"))?));
            Ok(Counters(counters))
        })
    }

    /// Waits until the counter `name` has grown by `by` since `before`, at most a second; returns its growth.
    ///
    /// Packets cross a veth in softirq context, so a send may return before the last one is counted.
    pub(crate) fn growth(&self, before: &Counters, name: &str, by: u64) -> Result<u64> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let grown = self.counters()?.get(name)?.saturating_sub(before.get(name)?);
            if grown >= by || Instant::now() > deadline {
                return Ok(grown);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path()) {
            eprintln!("lab: {error:#}; remove it with `ip netns delete {}`", self.name);
        }
    }
}

/// Removes a named namespace as `ip netns delete` does, but here: a child process could be hit by the very
/// Ctrl-C that ends us, between its birth and its move to a process group of its own.
pub(crate) fn remove(path: &Path) -> Result<()> {
    // Fails only if nothing is mounted: `ip netns add` did not get so far.
    let _ = unmount(path, UnmountFlags::DETACH);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Runs two pieces of work at the same time, each in its host. If both fail, the second one's error is
/// returned: the side that asks knows more than the side that waited in vain.
pub(crate) fn together<S: Send, C: Send>(
    serving: (&Host, impl FnOnce() -> Result<S> + Send),
    asking: (&Host, impl FnOnce() -> Result<C> + Send),
) -> Result<(S, C)> {
    thread::scope(|scope| {
        let served = serving.0.start(scope, serving.1)?;
        let asked = join(asking.0.start(scope, asking.1)?);
        let served = join(served);
        let asked = asked?;
        Ok((served?, asked))
    })
}

/// A thread's result; its panic goes on in the caller.
pub(crate) fn join<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The kernel's protocol counters of one host at one time, by the names that `nstat` prints:
/// `UdpRcvbufErrors`, `IpExtInNoRoutes`, `TcpExtListenOverflows`.
#[derive(Clone, Debug)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// One counter; that this kernel does not have it is an error.
    pub fn get(&self, name: &str) -> Result<u64> {
        match self.0.get(name) {
            Some(value) => Ok(*value),
            None => bail!("this kernel has no counter {name} in /proc/net/snmp, snmp6 or netstat"),
        }
    }
}

/// Reads pairs of lines, `Udp: InDatagrams NoPorts` and `Udp: 7 0`. Values that are no count (`MaxConn -1`)
/// are left out.
fn parse_pairs(text: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = BTreeMap::new();
    for pair in lines.chunks_exact(2) {
        let (Some((group, names)), Some((_, values))) = (pair[0].split_once(':'), pair[1].split_once(':'))
        else {
            continue;
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            value.parse().ok().and_then(|count| counters.insert(format!("{group}{name}"), count));
        }
    }
    counters
}

/// Reads lines like `Ip6InDelivers 7`.
fn parse_lines(text: &str) -> BTreeMap<String, u64> {
    let parse = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_nstat_prints() {
        let text = "Tcp: MaxConn InSegs\nTcp: -1 12\nTcpExt: ListenOverflows\nTcpExt: 3\n";
        let counters = Counters(parse_pairs(text));
        assert_eq!(counters.get("TcpInSegs").unwrap(), 12);
        assert_eq!(counters.get("TcpExtListenOverflows").unwrap(), 3);
        assert!(counters.get("TcpMaxConn").is_err());
        assert_eq!(parse_lines("Ip6InDelivers      \t\t7\n")["Ip6InDelivers"], 7);
    }
}
