//! The command line: types only. Values are checked here, so that nothing later meets a wrong one.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ntc::catalog;
use words::{Device, Flags, Network, Protocol, Range};

use crate::kernel::backends::Backend;
use crate::node::netns::NetNs;

/// The probe whose stacks are recorded unless something else is asked for.
pub const DEFAULT_STACK: &str = "kfree_skb";

/// Examples that stand before the flags in `--help`.
const EXAMPLES: &str = "\
EXAMPLES:
  ntrec check                                         what can be recorded here
  ntrec capture -o host1.ntc                          everything, until Ctrl-C
  ntrec capture -o host1.ntc --duration 30s           for half a minute
  ntrec capture -o host1.ntc --addr 10.0.0.0/8 --port 443
  ntrec capture -o host1.ntc --netns web --proto udp  one namespace's UDP
  ntrec capture -o host1.ntc 'tcp port 443 and host 10.0.0.1'

Then, anywhere: ntana diag host1.ntc";

/// Examples of `ntrec check`.
const CHECK_EXAMPLES: &str = "\
EXAMPLES:
  ntrec check                       before the first recording on a machine
  ntrec check --format json         the same for scripts; status 2: nothing can be recorded";

/// Examples of `ntrec probes`.
const PROBES_EXAMPLES: &str = "\
EXAMPLES:
  ntrec probes                      everything, by group
  ntrec probes netfilter ip_rcv     a group and a function
  ntrec probes 'tcp_*'              all functions with such names that take a packet or a socket";

/// Records what the kernel does with each packet.
#[derive(Debug, Parser)]
#[command(name = "ntrec", version, about, before_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record into a capture file until stopped
    #[command(before_long_help = EXAMPLES)]
    Capture(Box<Capture>),
    /// Say what this machine offers to a recording, and what each missing thing costs
    #[command(before_long_help = CHECK_EXAMPLES)]
    Check(Check),
    /// List what can be recorded here, how it would be probed, or why it cannot be
    #[command(before_long_help = PROBES_EXAMPLES)]
    Probes(Probes),
}

/// `ntrec check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Output as text or JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// `ntrec probes`.
#[derive(Debug, Args)]
pub struct Probes {
    /// Only these: probes, groups, functions or patterns, as for `ntrec capture --probe` [default: all]
    #[arg(value_name = "PROBE")]
    pub words: Vec<String>,
    /// Output as text or JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// `ntrec capture`.
#[derive(Debug, Args)]
pub struct Capture {
    /// The capture file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// What to record.
    #[command(flatten)]
    pub subject: Subject,
    /// Which packets.
    #[command(flatten)]
    pub filter: Filter,
    /// When to stop.
    #[command(flatten)]
    pub limits: Limits,
}

/// Which probes, and what they record.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to record")]
pub struct Subject {
    /// net: where packets are queued, received, delivered and freed; life: their whole way, through functions too; all:
    /// everything in the catalog [default: life]
    #[arg(long, conflicts_with = "probe")]
    pub profile: Option<Profile>,
    /// Record only these: probes or groups (`ntrec probes` lists them), any function that takes a packet or a
    /// socket, patterns such as 'tcp_*'
    #[arg(long, value_name = "PROBE,...", value_delimiter = ',')]
    pub probe: Vec<String>,
    /// Leave these out: the same words
    #[arg(long, value_name = "PROBE,...", value_delimiter = ',')]
    pub no_probe: Vec<String>,
    /// With each verdict of netfilter: which functions are registered at that hook, and what each of them said
    #[arg(long)]
    pub hooks: bool,
    /// Every rule of nftables that a packet meets, with its handle. Meanwhile a table of ours, in the recorder's network
    /// namespace and in those of --netns, marks all packets to be traced: `nft monitor trace` shows them, too
    #[arg(long)]
    pub nft_trace: bool,
    /// How to attach to functions or tracepoints: only in one of these ways [default: the best that works]
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',')]
    pub backend: Vec<Backend>,
    /// The kernel's types (BTF), where it does not show its own
    #[arg(long, value_name = "FILE")]
    pub btf: Option<PathBuf>,
    /// Record kernel stacks at these probes, groups or patterns; `none` for no stacks at all
    #[arg(long, value_name = "PROBE,...", value_delimiter = ',', default_value = DEFAULT_STACK)]
    pub stack: Vec<String>,
}

/// A set of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// What tells a packet's way from device to device, at the least cost: tracepoints.
    Net,
    /// A packet's whole way: tracepoints, and the functions that the catalog has for it.
    Life,
    /// All tracepoints and functions of the catalog.
    All,
}

impl From<Profile> for catalog::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Net => Self::Net,
            Profile::Life => Self::Life,
            Profile::All => Self::All,
        }
    }
}

/// Capture filters. A packet must pass all of them; of several values of one, any. Once it has
/// passed, it is followed to its end, whatever happens to its headers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which packets (all must fit; then each is followed to its end)")]
pub struct Filter {
    /// Source or destination address
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub addr: Vec<Network>,
    /// Source address
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub src: Vec<Network>,
    /// Destination address
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub dst: Vec<Network>,
    /// Source or destination port
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub port: Vec<Range>,
    /// Source port
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub sport: Vec<Range>,
    /// Destination port
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub dport: Vec<Range>,
    /// ip, ip6, arp, tcp, udp, icmp, icmp6, sctp, esp, gre, ..., an IP protocol's number, or an ethertype as 0x88b5
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub proto: Vec<Protocol>,
    /// Device that the packet is on
    #[arg(long, value_name = "DEV,...", value_delimiter = ',')]
    pub dev: Vec<Device>,
    /// Network namespace: a name under /run/netns, a path, or an inode
    #[arg(long, value_name = "NETNS,...", value_delimiter = ',')]
    pub netns: Vec<NetNs>,
    /// Process that sends the packet, or acts on the socket
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Length of the packet at the probe, bytes
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::lengths)]
    pub len: Vec<Range>,
    /// TCP segments with any of these flags: letters of FSRPAUEC
    #[arg(long, value_name = "FLAGS")]
    pub tcp_flags: Option<Flags>,
    /// Only at these probes, groups or patterns may a packet or socket begin to fit [default: at all]
    #[arg(long = "match", value_name = "PROBE,...", value_delimiter = ',')]
    pub starts: Vec<String>,
    /// At these functions a packet's life ends: what has its address later is another packet
    #[arg(long = "free", value_name = "PROBE,...", value_delimiter = ',')]
    pub ends: Vec<String>,
    /// Do not follow a packet into its clones and copies
    #[arg(long)]
    pub no_clone: bool,
    /// The expression is about the packet in a tunnel: VXLAN, Geneve, GRE, ERSPAN, IP in IP; others do not fit
    #[arg(long)]
    pub inner: bool,
    /// An expression of tcpdump's language (man pcap-filter), as on an Ethernet device: 'tcp port 443 and host
    /// 10.0.0.1', 'arp or ether host 2:0:0:0:0:1'. Where a packet has no such header, its addresses fit nothing; a
    /// socket's events fit where its protocol, addresses and ports are all that it asks for
    #[arg(value_name = "EXPRESSION")]
    pub expression: Vec<String>,
}

/// Limits of the recording.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Stop after this time: 30s, 5m, 500ms
    #[arg(long, value_name = "TIME", value_parser = positive_duration)]
    pub duration: Option<Duration>,
    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
    /// Stop when the file has this size: 100M, 2G
    #[arg(long, value_name = "BYTES", value_parser = positive_size)]
    pub max_size: Option<u64>,
    /// Record at most so many events a second on each CPU; what is left out is counted as lost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate_limit: Option<u64>,
    /// Memory for events that are not read yet
    #[arg(long, value_name = "BYTES", value_parser = positive_size, default_value = "32M")]
    pub buffer_size: u64,
    /// Write to the disk itself each second, so that a power cut loses at most that
    #[arg(long)]
    pub durable: bool,
}

/// How long to record: not for no time at all.
fn positive_duration(text: &str) -> Result<Duration, String> {
    let time = words::duration(text).map_err(|e| e.to_string())?;
    if time.is_zero() { Err("it must be more than nothing".to_owned()) } else { Ok(time) }
}

/// A size that something has room in.
fn positive_size(text: &str) -> Result<u64, String> {
    let size = words::size(text).map_err(|e| e.to_string())?;
    if size == 0 { Err("it must be more than nothing".to_owned()) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_more_than_nothing() {
        assert_eq!(positive_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(positive_duration("0s").is_err() && positive_duration("10 parsecs").is_err());
        assert_eq!(positive_size("64M"), Ok(64 << 20));
        assert!(positive_size("0").is_err() && positive_size("many").is_err());
    }
}
