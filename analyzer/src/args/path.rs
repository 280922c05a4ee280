//! Arguments of `ntana path`.

use std::time::Duration;

use clap::Args;

use super::{FilterArgs, Input};

/// Tasks, not flags.
const EXAMPLES: &str = "\
Examples:
  ntana path host1.ntc host2.ntc                 on which host or network packets are lost, and how long each took
  ntana path host1.ntc router.ntc host2.ntc 'udp port 53'
  ntana path host1.ntc --list                    which devices packets crossed
  ntana path host1.ntc --proto icmp              requests and replies that one host forwards";

/// Arguments of `ntana path`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Path {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Show which devices packets crossed, and how many did, in place of the summary
    #[arg(long)]
    pub list: bool,
    /// Show each packet with its stages, in place of the summary
    #[arg(long, conflicts_with = "list")]
    pub verbose: bool,
    /// A packet that did not come into the next host within this time is lost; one that was sent so short before the end of
    /// its capture is on its way
    #[arg(long, value_name = "TIME", value_parser = words::duration, default_value = "1s")]
    pub timeout: Duration,
}
