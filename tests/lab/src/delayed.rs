//! Datagrams that a netem holds back, and how long it did by the kernel's own tracing of the same packets.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::begun::TellsOther;
use crate::host::Host;
use crate::traffic::{any, server, unbroken};

/// Where the kernel keeps its tracing.
const TRACING: &str = "/sys/kernel/tracing/instances";
/// The events at which a packet is given to a queue, and leaves it.
const QUEUE: [&str; 2] = ["net_dev_queue", "net_dev_start_xmit"];
/// Bytes of each datagram's payload, and of its packet: Ethernet, IPv4 and UDP have 42.
const PAYLOAD: usize = 1000;
/// How long a datagram may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of datagrams that a netem held back. As text: `netem 10 ms: 20 of 20 datagrams to port 7010 arrived, median in
/// the queue 10187000 ns, quartiles 10152000 and 10240000 ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// How long netem holds each back, ms.
    pub ms: u64,
    /// How many were sent.
    pub sent: usize,
    /// How many arrived.
    pub arrived: usize,
    /// The port that they are for.
    pub port: u16,
    /// The median of their times in the queue, ns, as the kernel's tracing tells it.
    pub median: u64,
    /// Their first and third quartile, ns.
    pub quartiles: [u64; 2],
}

impl Delayed {
    /// Sends datagrams to a host, each when the one before has arrived, through a netem on the sender's `eth0`.
    pub fn send(from: &Host, to: &Host, ms: u64, sent: usize) -> Result<Self> {
        let port = 7000 + ms as u16;
        let netem = ["qdisc", "replace", "dev", "eth0", "root", "netem", "delay", &format!("{ms}ms")];
        from.sh("tc", &netem)?;
        let tracing = Tracing::begin(&format!("lab{}", from.inode()))?;
        let arrived = one_by_one(from, to, to.at(port), sent)?;
        let mut times = tracing.times(PAYLOAD + 42)?;
        from.sh("tc", &["qdisc", "del", "dev", "eth0", "root"])?;
        ensure!(times.len() == sent, "tracing has {} of {sent} packets", times.len());
        times.sort_unstable();
        let quarter = |number: usize| times[(sent - 1) * number / 4];
        Ok(Self { ms, sent, arrived, port, median: quarter(2), quartiles: [quarter(1), quarter(3)] })
    }
}

impl Display for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ms, sent, arrived, port, median, quartiles: [first, third] } = self;
        write!(f, "netem {ms} ms: {arrived} of {sent} datagrams to port {port} arrived, ")?;
        write!(f, "median in the queue {median} ns, quartiles {first} and {third} ns")
    }
}

impl FromStr for Delayed {
    type Err = TellsOther;

    fn from_str(line: &str) -> Result<Self, TellsOther> {
        let parse = || {
            let (ms, rest) = line.strip_prefix("netem ")?.split_once(" ms: ")?;
            let (arrived, rest) = rest.split_once(" of ")?;
            let (sent, rest) = rest.split_once(" datagrams to port ")?;
            let (port, rest) = rest.split_once(" arrived, median in the queue ")?;
            let (median, rest) = rest.split_once(" ns, quartiles ")?;
            let (first, third) = rest.strip_suffix(" ns")?.split_once(" and ")?;
            let [ms, median, first, third] = [ms, median, first, third].map(str::parse);
            let [arrived, sent] = [arrived, sent].map(str::parse);
            Some(Self {
                ms: ms.ok()?,
                sent: sent.ok()?,
                arrived: arrived.ok()?,
                port: port.parse().ok()?,
                median: median.ok()?,
                quartiles: [first.ok()?, third.ok()?],
            })
        };
        parse().ok_or(TellsOther)
    }
}

/// Sends datagrams, each when the one before has arrived or is given up; returns how many arrived.
fn one_by_one(from: &Host, to: &Host, at: SocketAddr, count: usize) -> Result<usize> {
    let receiver = server(to, at, UdpSocket::bind)?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let sender = from.run(|| Ok(UdpSocket::bind(any(at))?))?;
    let mut arrived = 0;
    for _ in 0..count {
        sender.send_to(&[b'd'; PAYLOAD], at).with_context(|| format!("send UDP to {at}"))?;
        arrived += usize::from(unbroken(|| receiver.recv(&mut [0; PAYLOAD])).is_ok());
    }
    Ok(arrived)
}

/// The kernel's tracing of [`QUEUE`], in an instance of its own, which is removed with this value.
struct Tracing {
    /// The instance's folder.
    folder: PathBuf,
}

impl Tracing {
    /// Begins.
    fn begin(name: &str) -> Result<Self> {
        let tracing = Self { folder: Path::new(TRACING).join(name) };
        let make = fs::create_dir(&tracing.folder);
        make.with_context(|| format!("cannot make {}; is tracefs mounted?", tracing.folder.display()))?;
        tracing.set("trace_clock", "mono")?;
        QUEUE.iter().try_for_each(|event| tracing.set(&format!("events/net/{event}/enable"), "1"))?;
        Ok(tracing)
    }

    /// Writes a setting.
    fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, value).with_context(|| format!("cannot set {} to {value}", path.display()))
    }

    /// The times of packets of a length in the queue of `eth0`, ns.
    fn times(&self, len: usize) -> Result<Vec<u64>> {
        let text = fs::read_to_string(self.folder.join("trace")).context("read the kernel's trace")?;
        Ok(times(&text, len))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("lab: cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// The times between [`QUEUE`] in a trace, by the packets' addresses.
fn times(trace: &str, len: usize) -> Vec<u64> {
    let (mut queued, mut times) = (HashMap::new(), Vec::new());
    let len = len.to_string();
    for (event, at, line) in trace.lines().filter_map(event) {
        let field =
            |name| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        if field("dev") != Some("eth0") || field("len") != Some(&len) {
            continue;
        }
        match (event == QUEUE[0], field("skbaddr")) {
            (true, Some(skb)) => drop(queued.insert(skb, at)),
            (false, Some(skb)) => times.extend(queued.remove(skb).map(|begin: u64| at.saturating_sub(begin))),
            (_, None) => {}
        }
    }
    times
}

/// One of [`QUEUE`] in a line of a trace, its time in ns, and its fields: `lab-7 [001] ..... 12.345678: net_dev_queue: dev=...`.
fn event(line: &str) -> Option<(&str, u64, &str)> {
    let (before, fields) = QUEUE.iter().find_map(|event| line.split_once(&format!(": {event}: ")))?;
    let (seconds, micros) = before.split_whitespace().last()?.split_once('.')?;
    let us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let name = line[before.len() + 2..].split(':').next()?;
    Some((name, us * 1000, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_again() {
        let delayed = Delayed {
            ms: 10,
            sent: 20,
            arrived: 19,
            port: 7010,
            median: 10_187_000,
            quartiles: [10_152_000, 10_240_000],
        };
        assert_eq!(delayed.to_string().parse(), Ok(delayed));
        assert_eq!("ping 10.77.2.2: 5 sent, 5 answered".parse::<Delayed>(), Err(TellsOther));
    }

    #[test]
    fn a_trace_has_the_times_of_packets_of_one_length_on_one_device() {
        let trace = "# tracer: nop
             lab-9 [000] b..1.  12.000100: net_dev_queue: dev=eth0 skbaddr=00000000a1 len=1042
             lab-9 [000] b..1.  12.000110: net_dev_queue: dev=eth0 skbaddr=00000000b2 len=98
          <idle>-0 [000] ..s..  12.001250: net_dev_start_xmit: dev=eth0 queue_mapping=0 skbaddr=00000000a1 len=1042 data_len=0
          <idle>-0 [000] ..s..  12.001260: net_dev_queue: dev=right skbaddr=00000000a1 len=1042
          <idle>-0 [000] ..s..  12.001270: net_dev_start_xmit: dev=right queue_mapping=0 skbaddr=00000000a1 len=1042 data_len=0";
        assert_eq!(times(trace, 1042), [1_150_000]);
        assert_eq!(times(trace, 98), []);
    }
}
