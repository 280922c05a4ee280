use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use clap::Parser;
use ntc::{Capture, Metadata, Options, Rows, Writer};

use crate::args::{Cli, Command};
use crate::commands;

/// Has a decoding thread wait, for a time that differs each time.
pub fn delay() {
    let random = RandomState::new().hash_one(0);
    std::thread::sleep(Duration::from_micros(random % 200));
}

/// Writes a capture of many small row groups, in which many names have the same counts.
fn write(path: &std::path::Path) {
    let options = Options { group_rows: 5, ..Options::default() };
    let mut writer = Writer::create(path, Metadata::default(), options, false).unwrap();
    for start in (0..200_u64).step_by(5) {
        let mut rows = Rows::new();
        for event in start..start + 5 {
            let row = rows.next();
            rows.ts.put(row, 1_000_000_000 + event * 1000);
            rows.cpu.put(row, (event % 2) as u16);
            rows.seq.put(row, event / 2);
            rows.kind.put_str(row, "free");
            rows.probe.put_str(row, "kfree_skb");
            rows.skb.put(row, 0xffff_8881_0000_0000 + event * 256);
            rows.dev.put_str(row, &format!("eth{}", event * 7 % 20));
            rows.netns.put(row, 1);
            rows.saddr.put_str(row, &format!("10.0.0.{}", event * 11 % 25));
            rows.daddr.put_str(row, "10.0.1.1");
            rows.l4.put_str(row, "udp");
            rows.dport.put(row, 53);
            rows.reason
                .put_str(row, ["NO_SOCKET", "NETFILTER_DROP", "QDISC_DROP", "IP_TTL"][event as usize % 4]);
            rows.location.put_str(row, &format!("function_{}+0x1", event * 13 % 40));
        }
        writer.write(&rows.finish().unwrap()).unwrap();
    }
    writer.finish().unwrap();
}

/// What a command prints.
fn printed(args: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    match Cli::try_parse_from(args).unwrap().command {
        Command::Diag(args) => commands::diag::run(&args, &mut out),
        Command::Trace(args) => commands::trace::run(&args, &mut out),
        Command::Drops(args) => commands::drops::run(&args, &mut out),
        Command::Latency(args) => commands::latency::run(&args, &mut out),
        Command::Replay(args) => commands::replay::run(&args, &mut out),
        Command::Stats(args) => commands::stats::run(&args, &mut out),
        Command::Info(_) | Command::Repair(_) => unreachable!(),
    }
    .unwrap();
    out
}

#[test]
fn threads_that_decode_in_another_order_do_not_change_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("many.ntc");
    write(&file);
    assert!(Capture::open(&file).unwrap().groups().len() >= 40);
    let file = file.to_str().unwrap();
    for format in ["text", "json"] {
        let common = ["--format", format, "--time", "mono"];
        for question in [
            &["diag"][..],
            &["trace"],
            &["replay"],
            &["drops"],
            &["drops", "--by", "flow"],
            &["drops", "--by", "dev"],
            &["latency", "--by", "flow", "--worst", "3"],
        ] {
            let args = [&["ntana"], question, &[file], &common].concat();
            let first = printed(&args);
            assert!(!first.is_empty());
            for _ in 1..100 {
                assert!(printed(&args) == first, "{question:?} {format}");
            }
        }
    }
}
