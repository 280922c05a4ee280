//! The command line: types, and which of its words are files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use words::{Device, Flags, Network, Protocol, Range};

use crate::expression::{Asked, Expression};

mod latency;
mod path;

pub use latency::{HistogramStyle, Latency, LatencyBy};
pub use path::Path;

/// Diagnoses packet lives in captures of ntrec.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Tasks, not flags.
const EXAMPLES: &str = "\
Examples:
  ntana diag host1.ntc                       what went wrong, where, why, what to do
  ntana diag host1.ntc host2.ntc --port 53   the same for DNS on two hosts
  ntana diag host1.ntc 'tcp port 443 and host 10.0.0.1'
  ntana trace host1.ntc --outcome dropped    every dropped packet with its events
  ntana drops host1.ntc --by flow            who is hit
  ntana stats host1.ntc --by dev,probe       events and bytes by any columns
  ntana latency host1.ntc                    where the time goes, from stage to stage
  ntana path host1.ntc host2.ntc             where packets are lost or late: which host, which network
  ntana query 'select dev, sum(len) from events group by dev' host1.ntc
  ntana info host1.ntc                       what the capture holds and what is missing";

impl Cli {
    /// Parses the filter expression, and takes it from among the files where it stands behind them.
    ///
    /// # Errors
    ///
    /// When it is wrong, or missing where --inner needs it.
    pub fn parse_expression(&mut self) -> Result<()> {
        let (input, filter) = match &mut self.command {
            Command::Diag(args) => (&mut args.input, &mut args.filter),
            Command::Trace(args) => (&mut args.input, &mut args.filter),
            Command::Drops(args) => (&mut args.input, &mut args.filter),
            Command::Latency(args) => (&mut args.input, &mut args.filter),
            Command::Path(args) => (&mut args.input, &mut args.filter),
            Command::Replay(args) => (&mut args.input, &mut args.filter),
            Command::Stats(args) => (&mut args.input, &mut args.filter),
            Command::Query(_) | Command::Info(_) | Command::Repair(_) => return Ok(()),
        };
        let trailing = input.split_expression();
        let inner = filter.inner;
        filter.expression = match (trailing, &filter.filter) {
            (Some(_), Some(_)) => bail!("write one filter expression: behind the files, or with --filter"),
            (Some(words), None) => Some(parse_trailing(&words)?),
            (None, Some(text)) => {
                Some(Expression::parse(text).map_err(|wrong| {
                    anyhow!("the filter expression is wrong: {wrong}; see man pcap-filter")
                })?)
            }
            (None, None) if inner => bail!(
                "--inner says which packet the filter expression is about: write one, such as 'tcp port 443'"
            ),
            (None, None) => None,
        }
        .map(|expression| Asked { expression, inner });
        Ok(())
    }
}

/// Parses words that are no files.
fn parse_trailing(words: &str) -> Result<Expression> {
    Expression::parse(words).map_err(|wrong| {
        let first = words.split_whitespace().next().unwrap_or_default();
        anyhow!(
            "no such file as `{first}`, and no filter expression begins there: {wrong}; see man pcap-filter"
        )
    })
}

/// The questions that can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What went wrong, where, why, what to do
    Diag(Diag),
    /// Lives of packets, with their events
    Trace(Trace),
    /// Drops by reason, location, stack, flow or device
    Drops(Drops),
    /// Where the time goes: times between the stages of a packet's way
    Latency(Latency),
    /// Where packets are lost or late: inside which host, or on the network between two
    Path(Path),
    /// The events as they came, one line each
    Replay(Replay),
    /// Events and bytes, counted by any columns and by time
    Stats(Stats),
    /// Any question in SQL, about events, lives, findings and more
    Query(Query),
    /// Which host, kernel, probes, time range, events, losses
    Info(Info),
    /// Makes a plain Parquet file of a capture that was cut off
    Repair(Repair),
}

impl Command {
    /// The captures that are asked.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Diag(Diag { input, .. })
            | Self::Trace(Trace { input, .. })
            | Self::Drops(Drops { input, .. })
            | Self::Latency(Latency { input, .. })
            | Self::Path(Path { input, .. })
            | Self::Replay(Replay { input, .. })
            | Self::Stats(Stats { input, .. })
            | Self::Info(Info { input }) => &input.files,
            Self::Query(Query { files, .. }) => files,
            Self::Repair(Repair { file, .. }) => std::slice::from_ref(file),
        }
    }
}

/// Arguments of `ntana diag`.
#[derive(Debug, Args)]
pub struct Diag {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Exit with 1 if there is a finding at least this bad
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<FailOn>,
    /// Show the stack and all evidence of each finding
    #[arg(long)]
    pub detail: bool,
}

/// Arguments of `ntana trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Prefix each event with device, CPU, task and namespace
    #[arg(long)]
    pub detail: bool,
    /// Show the time since the life's previous event
    #[arg(long)]
    pub latency: bool,
}

/// Arguments of `ntana drops`.
#[derive(Debug, Args)]
pub struct Drops {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// One line per what
    #[arg(long, value_name = "KEY", default_value = "location")]
    pub by: By,
    /// Also show drops that are part of healthy traffic
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `ntana replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Prefix each event with packet, device, CPU, task and namespace
    #[arg(long)]
    pub detail: bool,
    /// Columns of JSON and CSV, by the names in FORMAT.md; default: all
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
}

/// Arguments of `ntana stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
    /// Filters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Columns of FORMAT.md to count by; default: probe, or nothing but time with --interval
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub by: Vec<String>,
    /// Also count by intervals of time from the capture's start on
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    pub interval: Option<Duration>,
}

/// Arguments of `ntana query`.
#[derive(Debug, Args)]
#[command(after_help = QUERY_EXAMPLES)]
pub struct Query {
    /// A SELECT over the tables events, lives, sightings, findings, captures, interfaces, probes, losses and clocks
    #[arg(value_name = "SQL", required_unless_present = "schema")]
    pub sql: Option<String>,
    /// Captures to read; the columns host and file say which one a row is of
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub files: Vec<PathBuf>,
    /// Print the columns of a table, or of all, with types and units
    #[arg(long, value_name = "TABLE", num_args = 0..=1, default_missing_value = "", exclusive = true)]
    pub schema: Option<String>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub format: QueryFormat,
    /// File to write; default: standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Rules that extend or replace those inside the program (TOML)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub rules: Vec<PathBuf>,
}

/// Questions in SQL.
const QUERY_EXAMPLES: &str = "\
Examples:
  ntana query --schema lives                 the columns of a table
  ntana query 'select probe, count(*) as n from events group by probe order by n desc' host1.ntc
  ntana query 'select host, reason, location, count(*) as n from lives where reason is not null
    group by all order by n desc' host1.ntc host2.ntc
COOKBOOK.md has more.";

/// Output formats of `ntana query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// For other tools that take tables
    Parquet,
}

/// Arguments of `ntana info`.
#[derive(Debug, Args)]
pub struct Info {
    /// Files and output.
    #[command(flatten)]
    pub input: Input,
}

/// Arguments of `ntana repair`.
#[derive(Debug, Args)]
pub struct Repair {
    /// Capture that was cut off
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File to write; default: FILE with .repaired.ntc
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub format: Format,
}

/// Files to read and how to answer.
#[derive(Debug, Args)]
pub struct Input {
    /// Captures to read; what follows the last file is a filter expression, as for --filter
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub format: Format,
    /// How times are shown
    #[arg(long, value_name = "STYLE", default_value = "local", help_heading = "Output")]
    pub time: TimeStyle,
    /// Rules that extend or replace those inside the program (TOML)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub rules: Vec<PathBuf>,
}

impl Input {
    /// Takes the words of an expression from behind the files. The first argument is a file, and so are all up to the last
    /// that exists, or that has a capture's ending.
    fn split_expression(&mut self) -> Option<String> {
        let is_file =
            |path: &PathBuf| path.extension().is_some_and(|e| e == "ntc") || path.exists() && !path.is_dir();
        let last = self.files.iter().rposition(is_file).unwrap_or(0);
        let words = self.files.split_off(self.files.len().min(last + 1));
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Filters, all of which must match.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// An expression of tcpdump's language (man pcap-filter), as for `ntrec`: 'tcp port 443 and host 10.0.0.1'. Addresses of
    /// Ethernet are not recorded and fit nothing; a socket's events fit where its protocol, addresses and ports are all
    /// that it asks for
    #[arg(short, long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// The expression is about the packet in a tunnel: VXLAN, Geneve, GRE, ERSPAN, IP in IP; others do not fit
    #[arg(long)]
    pub inner: bool,
    /// The expression, parsed.
    #[arg(skip)]
    pub expression: Option<Asked>,
    /// Source or destination address or network
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub addr: Vec<Network>,
    /// Source address or network
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub src: Vec<Network>,
    /// Destination address or network
    #[arg(long, value_name = "ADDR[/PREFIX],...", value_delimiter = ',')]
    pub dst: Vec<Network>,
    /// Source or destination port, or a range such as 8000-8099
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub port: Vec<Range>,
    /// Source port or range
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub sport: Vec<Range>,
    /// Destination port or range
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::ports)]
    pub dport: Vec<Range>,
    /// ip, ip6, arp, tcp, udp, icmp, icmp6, sctp, esp, gre, ..., an IP protocol's number, or an ethertype as 0x88b5
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub proto: Vec<Protocol>,
    /// Device that the packet is on
    #[arg(long, value_name = "DEV,...", value_delimiter = ',')]
    pub dev: Vec<Device>,
    /// Network namespace, name or inode
    #[arg(long, value_name = "NETNS", value_delimiter = ',')]
    pub netns: Vec<String>,
    /// Process that sends the packet, or acts on the socket
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Name of the task that sends the packet, or acts on the socket
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub comm: Vec<String>,
    /// Length of the packet at the probe, bytes
    #[arg(long, value_name = "N[-M],...", value_delimiter = ',', value_parser = Range::lengths)]
    pub len: Vec<Range>,
    /// TCP segments with any of these flags: letters of FSRPAUEC
    #[arg(long, value_name = "FLAGS")]
    pub tcp_flags: Option<Flags>,
    /// Probes
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub probe: Vec<String>,
    /// Drop or reset reasons
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub reason: Vec<String>,
    /// Table of netfilter whose rules a packet met
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub table: Vec<String>,
    /// Chain of nftables that a packet went through; user-defined ones where rules were traced (ntrec --nft-trace)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub chain: Vec<String>,
    /// Outcomes of lives: dropped, delivered, transmitted, consumed, reused, open, unknown
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub outcome: Vec<String>,
    /// Address of the packet's sk_buff
    #[arg(long, value_name = "ADDR,...", value_delimiter = ',', value_parser = words::packet_address)]
    pub skb: Vec<u64>,
    /// From this time on: seconds after the start (1.5s) or a clock time (19:03:02)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For spreadsheets: a record a row of the answer
    Csv,
}

/// How times are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeStyle {
    /// Wall clock of this machine's time zone
    Local,
    /// Wall clock in UTC
    Utc,
    /// Seconds of the recorded host's CLOCK_MONOTONIC
    Mono,
    /// Seconds since the capture began
    Rel,
}

/// Severities that end with exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
}

/// What drops are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Reason and function
    Location,
    /// Reason
    Reason,
    /// Addresses and ports
    Flow,
    /// Device and namespace
    Dev,
    /// Kernel stack
    Stack,
}
