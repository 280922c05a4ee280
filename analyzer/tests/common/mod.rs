//! Captures from scripts, for tests of the whole program.
//!
//! One line an event: `TIME_US COLUMN=VALUE ...`. `kind` is found out from the probe.

#![allow(
    dead_code,
    missing_docs,
    clippy::missing_docs_in_private_items,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use ntc::schema::Type;
use ntc::{ClockSample, ColumnId, Host, Metadata, Options, Probe, Rows, Stopped, Totals, Value, Writer};

/// When scripts begin: CLOCK_MONOTONIC, and the wall clock 2025-11-20 19:03:02 UTC.
pub const START: u64 = 1_000_000_000_000;
const REALTIME: i64 = 1_763_665_382_000_000_000;

/// Metadata of a host as the recorder writes it.
pub fn metadata(name: &str) -> Metadata {
    let sample = |after: u64| ClockSample {
        monotonic: START + after,
        realtime: REALTIME + after as i64,
        ..ClockSample::default()
    };
    Metadata {
        recorder: "ntrec 0.1.0".into(),
        command: vec!["ntrec".into(), "capture".into()],
        host: Host {
            name: name.into(),
            kernel: "6.18.44".into(),
            machine: "x86_64".into(),
            boot_id: "boot".into(),
            cpus: 2,
            netns_names: BTreeMap::from([(4026532001, "client".into()), (4026532002, "server".into())]),
            ..Host::default()
        },
        probes: vec![Probe { name: "kfree_skb".into(), backend: "tp_btf".into(), ..Probe::default() }],
        clocks: vec![sample(0), sample(10_000_000_000)],
        started: START,
        stopped: Some(Stopped { at: START + 10_000_000_000, why: "SIGINT".into() }),
        totals: Totals::default(),
        ..Metadata::default()
    }
}

/// Writes a capture.
pub fn write(path: &Path, metadata: Metadata, script: &str) {
    let mut rows = Rows::new();
    let lines = script.lines().map(str::trim).filter(|l| !l.is_empty());
    lines.for_each(|line| row(&mut rows, line));
    let mut writer = Writer::create(path, metadata, Options::default(), false).unwrap();
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
}

/// Adds a row.
fn row(rows: &mut Rows, line: &str) {
    let (time, fields) = line.split_once(' ').unwrap();
    let r = rows.next();
    rows.ts.put(r, START + time.parse::<u64>().unwrap() * 1000);
    rows.cpu.put(r, 0);
    let mut kind = "pkt";
    for field in fields.split_whitespace() {
        let (name, value) = field.split_once('=').unwrap();
        if name == "probe" {
            kind = kind_of(value);
        }
        if name == "kind" {
            kind = Box::leak(value.to_owned().into_boxed_str())
        } else {
            put(rows, r, name, value)
        }
    }
    rows.kind.put_str(r, kind);
}

fn kind_of(probe: &str) -> &'static str {
    match probe {
        "kfree_skb" | "consume_skb" => "free",
        "sk_data_ready" | "inet_sock_set_state" | "sock_rcvqueue_full" => "sock",
        "icmp_send" => "icmp",
        p if p.starts_with("tcp_") => "tcp",
        p if p.starts_with("neigh_") => "neigh",
        _ => "pkt",
    }
}

fn put(rows: &mut Rows, r: usize, name: &str, value: &str) {
    let column = ColumnId::from_name(name).unwrap_or_else(|| panic!("no such column: {name}"));
    let bytes: Vec<u8>;
    let value = match column.column().kind {
        Type::Bytes => {
            let digits: Vec<u8> =
                value.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
            bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
            Value::Bytes(&bytes)
        }
        Type::Text => Value::Text(value),
        Type::I64 => Value::Signed(value.parse().unwrap()),
        _ if matches!(name, "skb" | "child") => Value::Unsigned(u64::from_str_radix(value, 16).unwrap()),
        _ => Value::Unsigned(value.parse().unwrap()),
    };
    rows.put(r, column, value).unwrap();
}

/// A delivered packet, a dropped one, and a healthy drop.
pub const MIXED: &str = "\
100 probe=net_dev_queue skb=ffff888100000700 netns=4026532001 ifindex=2 dev=veth0 len=128 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999 ip_id=7 pid=42 comm=nc ctx=task
101 probe=net_dev_start_xmit skb=ffff888100000700 netns=4026532001 ifindex=2 dev=veth0 len=128 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999 ip_id=7
102 probe=netif_rx skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 len=128 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999 ip_id=7
103 probe=net_dev_xmit skb=ffff888100000700 netns=4026532001 ifindex=2 dev=veth0 ret=0
104 probe=netif_receive_skb skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 len=128 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999 ip_id=7
105 probe=icmp_send skb=ffff888100000700 icmp_type=3 icmp_code=3 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999
106 probe=kfree_skb skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 len=128 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=5999 ip_id=7 reason=NO_SOCKET location=__udp4_lib_rcv+0x9a1 stack=__udp4_lib_rcv+0x9a1;ip_protocol_deliver_rcu+0x2c
2000 probe=netif_receive_skb skb=ffff888100000800 netns=4026532002 ifindex=3 dev=veth1 len=84 saddr=10.77.1.2 daddr=10.77.2.2 l4=icmp ip_id=8 icmp_type=8 icmp_code=0
2010 probe=consume_skb skb=ffff888100000800 location=icmp_rcv+0x1b
3000 probe=kfree_skb skb=ffff888100000900 len=84 saddr=10.77.2.2 daddr=10.77.1.2 l4=icmp ip_id=9 reason=NO_SOCKET location=ping_rcv+0xab
";

/// Captures in a folder of their own.
pub struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a capture of a script.
    pub fn capture(&self, name: &str, script: &str) -> &Self {
        write(&self.path(name), metadata(name.trim_end_matches(".ntc")), script);
        self
    }

    /// Runs ntana in the folder, with times in UTC.
    pub fn ntana(&self, args: &[&str]) -> Output {
        let mut command = Command::cargo_bin("ntana").unwrap();
        let output = command.current_dir(self.dir.path()).env("TZ", "UTC").args(args).output().unwrap();
        Output {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What a run gave.
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}
