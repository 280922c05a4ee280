use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use clap::Parser;
use ntc::{Capture, Metadata, Options, Rows, Writer};

use super::*;
use crate::args::{Cli, Command};
use crate::commands;

/// Has a decoding thread wait, for a time that differs each time.
pub fn delay() {
    let random = RandomState::new().hash_one(0);
    thread::sleep(Duration::from_micros(random % 200));
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
        Command::Path(args) => commands::path::run(&args, &mut out),
        Command::Replay(args) => commands::replay::run(&args, &mut out),
        Command::Stats(args) => commands::stats::run(&args, &mut out),
        Command::Query(_) | Command::Info(_) | Command::Repair(_) => unreachable!(),
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
            &["path"],
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

/// An IPv4 header and a UDP header, without data.
const UDP: [u8; 28] =
    [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 0, 54, 0, 8, 0, 0];

#[test]
fn parts_of_row_groups_have_the_rows_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("packet.ntc");
    let options = Options { group_rows: 10, ..Options::default() };
    let mut writer = Writer::create(&file, Metadata::default(), options, false).unwrap();
    for start in [0, 10, 20] {
        let mut rows = Rows::new();
        for event in start..start + 10 {
            let row = rows.next();
            rows.ts.put(row, 1000 + event);
            rows.cpu.put(row, 0);
            rows.kind.put_str(row, "pkt");
            rows.probe.put_str(row, &format!("probe_{event}"));
            rows.skb.put(row, 0xffff_8881_0000_0000 + event % 2 * 256);
            rows.protocol.put_str(row, "ip");
            // Only the first of the row group tells that its packet fits.
            if event == start {
                rows.header.put(row, &UDP);
            }
        }
        writer.write(&rows.finish().unwrap()).unwrap();
    }
    writer.finish().unwrap();

    let args = ["ntana", "replay", file.to_str().unwrap(), "--filter", "udp"];
    let mut cli = Cli::try_parse_from(args).unwrap();
    cli.parse_expression().unwrap();
    let Command::Replay(args) = cli.command else { unreachable!() };
    let source = Source::open(&file, args.input.time, &args.filter).unwrap();
    let scan = Scan::new(ColumnId::ALL, source.filter.range());
    let row = |event: &Event<'_, '_>| (event.id, event.ts, event.probe().text().to_owned(), event.fits());
    let mut whole = Vec::new();
    scan.for_each(&source, |event| {
        whole.push(row(event));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(whole.iter().filter(|(.., fits)| *fits).count(), 15);
    for most in [1, 3, 10, 11] {
        let mut parts = Parts::new(&scan, &source, most);
        let mut found = Vec::new();
        while let Some(block) = parts.next().unwrap() {
            assert!(block.rows() <= most);
            found.extend(block.events().map(|event| row(&event)));
        }
        assert_eq!(found, whole, "{most} rows at once");
    }
}
