//! Arguments of `ntana latency`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{FilterArgs, Input};

/// Tasks, not flags.
const EXAMPLES: &str = "\
Examples:
  ntana latency host1.ntc                                  where the time goes
  ntana latency host1.ntc --from net_dev_queue --to net_dev_start_xmit --by dev
  ntana latency host1.ntc --model rx-read --free --worst 3 slow readers, with the packets' lives
  ntana latency host1.ntc --model icmp-rtt --interval 1s   the round-trip time, second by second
  ntana latency host1.ntc --from receive --to socket --hist --min 100us
  ntana latency today.ntc --baseline yesterday.ntc         what has changed, and whether by chance

Models, of which those with * are shown where none is asked for:
  in* out* forward* send-queue* icmp-rtt* icmp-answer*     the way through the host
  qdisc, backlog                                           where packets wait
  rx-read, rx-queue, tx-send, tx-driver, tx-acked          nettrace's recipes
  send-ack                                                 from TCP data to its acknowledgment, without functions
  system-tx, system-rx, vm-tx, vm-rx, vm-vm, vhost, internal-port, ovs-upcall, ovs-icmp-rtt, ovs-icmp-answer
                                                           Open vSwitch and virtual machines, as everoute has them

A stage is one of a model, one of the recorder's catalog, a probe, or NAME:return, where a function returns. Up to 4,096 times of a line its percentiles are exact;
of more they are within 0.1 %.";

/// Arguments of `ntana latency`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Latency {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Models of the packets' way, see below
    #[arg(long, visible_alias = "recipe", value_name = "NAME,...", value_delimiter = ',')]
    pub model: Vec<String>,
    /// Stage or probe at which the time begins; where a packet passes it again, the last one counts
    #[arg(long, value_name = "STAGE", requires = "to", conflicts_with = "model")]
    pub from: Option<String>,
    /// Stage or probe at which the time ends
    #[arg(long, value_name = "STAGE", requires = "from")]
    pub to: Option<String>,
    /// One line per what
    #[arg(long, value_name = "KEY")]
    pub by: Option<LatencyBy>,
    /// One line per interval of time, by when a leg began
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    pub interval: Option<Duration>,
    /// Only legs that took at least so long
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    pub min: Option<Duration>,
    /// Also show the N slowest packets with their lives
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub worst: usize,
    /// Also show histograms by powers of two, as bcc, bpftrace or nettrace prints them
    #[arg(long, value_name = "STYLE", num_args = 0..=1, default_missing_value = "bcc", require_equals = true)]
    pub hist: Option<HistogramStyle>,
    /// The packet's end is a stage, too: the last of each model
    #[arg(long)]
    pub free: bool,
    /// Compare with a capture of the same host on another day
    #[arg(long, value_name = "FILE", conflicts_with_all = ["by", "interval"])]
    pub baseline: Option<PathBuf>,
    /// Compare with a baseline of another kernel, too
    #[arg(long, requires = "baseline")]
    pub any_kernel: bool,
}

/// What times are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LatencyBy {
    /// Both probes
    Probe,
    /// Device and namespace where the leg begins
    Dev,
    /// Queue of the device where it ends
    Queue,
    /// CPU on which it begins
    Cpu,
    /// Addresses and ports
    Flow,
    /// Task that sends or reads
    #[value(alias = "process")]
    Comm,
    /// Namespace in which it begins
    Netns,
}

/// Whose histograms they are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HistogramStyle {
    /// `4 -> 7 : 3 |****|`
    Bcc,
    /// `[4, 8) 3 |@@@@|`
    Bpftrace,
    /// `4 - 7us: 3 0.0300`
    Nettrace,
}
