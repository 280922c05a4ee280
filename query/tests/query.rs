//! The whole program on captures from scripts and on fixtures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../../analyzer/tests/common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Lab, MIXED, Output, START, metadata};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Runs ntana-query in a lab's folder.
fn query(lab: &Lab, args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("ntana-query").unwrap();
    let output = command.current_dir(lab.path("")).args(args).output().unwrap();
    Output {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with the mixed capture in `host1.ntc`.
fn mixed() -> Lab {
    let lab = Lab::new();
    lab.capture("host1.ntc", MIXED);
    lab
}

/// What a query of the mixed capture gives as CSV.
fn csv(sql: &str) -> String {
    let Output { code, out, err } = query(&mixed(), &[sql, "host1.ntc", "--format", "csv"]);
    assert_eq!((code, err.as_str()), (0, ""), "{sql}");
    out
}

/// What a query of the mixed capture is refused with.
fn refusal(sql: &str) -> String {
    let Output { code, out, err } = query(&mixed(), &[sql, "host1.ntc"]);
    assert_eq!((code, out.as_str()), (2, ""), "{sql}");
    err
}

/// A capture of the repository.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

#[test]
fn text_begins_with_what_every_answer_says_first() {
    let sql = "select probe, count(*) as n, sum(len) as bytes from events group by probe order by n desc, probe limit 3";
    assert_eq!(
        query(&mixed(), &[sql, "host1.ntc"]).out,
        "\
host1.ntc: host host1, kernel 6.18.44
  2025-11-20 19:03:02.000000 to 19:03:12.000000 (UTC), 10.00 s, 10 events
probe              n  bytes
kfree_skb          2    212
netif_receive_skb  2    212
consume_skb        1      -
3 rows
"
    );
}

#[test]
fn json_has_a_row_an_object_and_null_is_not_zero() {
    let sql =
        "select ts, skb, dev, ret, saddr from events where probe in ('net_dev_xmit', 'netif_rx') order by ts";
    let out = query(&mixed(), &[sql, "host1.ntc", "--format", "json"]).out;
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        json["rows"],
        json!([
            {"ts": START + 102_000, "skb": "ffff888100000700", "dev": "veth1", "ret": null, "saddr": "10.77.1.2"},
            {"ts": START + 103_000, "skb": "ffff888100000700", "dev": "veth0", "ret": 0, "saddr": null},
        ])
    );
    assert_eq!(json["captures"][0]["head"]["host"], "host1");
    assert_eq!(json["totals"], json!({"captures": 1, "rows": 2}));
}

#[test]
fn tables_are_joined() {
    assert_eq!(
        csv("select l.outcome, l.time, s.step, s.probe from lives l join sightings s on l.life = s.life \
             where l.l4 = 'icmp' and s.step = 2"),
        "outcome,time,step,probe\nconsumed,2025-11-20 19:03:02.002,2,consume_skb\n"
    );
}

#[test]
fn numbers_do_not_overflow() {
    let lab = Lab::new();
    let script: String =
        (0..3).map(|at| format!("{at} probe=netif_rx skb=a00 len=4294967295 hash=1\n")).collect();
    lab.capture("host1.ntc", &script);
    let sql =
        "select sum(len) as bytes, min(len) - max(len) * 2 as difference, max(cpu) - 1 as cpu from events";
    let out = query(&lab, &[sql, "host1.ntc", "--format", "csv"]).out;
    assert_eq!(out, "bytes,difference,cpu\n12884901885,-4294967295,-1\n");
}

#[test]
fn rows_of_several_captures_are_counted() {
    let lab = mixed();
    lab.capture("host2.ntc", "5 probe=netif_rx skb=ffff888100000700\n");
    for (files, expected) in [(&["host1.ntc"][..], "n\n10\n"), (&["host1.ntc", "host2.ntc"], "n\n11\n")] {
        let args = [&["select count(*) as n from events", "--format", "csv"], files].concat();
        assert_eq!(query(&lab, &args).out, expected);
    }
}

#[test]
fn captures_of_several_hosts_are_one_table() {
    let lab = mixed();
    lab.capture("host2.ntc", "5 probe=netif_rx skb=ffff888100000700\n");
    common::write(&lab.path("again.ntc"), metadata("host2"), "6 probe=netif_rx skb=ffff888100000700\n");
    let sql = "select host, file, count(*) as n from events group by host, file order by file";
    let out = query(&lab, &[sql, "host1.ntc", "host2.ntc", "again.ntc", "--format", "csv"]).out;
    assert_eq!(out, "host,file,n\nhost2,again.ntc,1\nhost1,host1.ntc,10\nhost2,host2.ntc,1\n");
}

#[test]
fn every_table_has_the_columns_that_its_schema_says() {
    let capture = fixture("nft-chain-6.12.ntc");
    for table in ntana::tables::TableId::ALL {
        let sql = format!("select * from {} limit 1", table.name());
        let out = query(&mixed(), &[&sql, capture.to_str().unwrap(), "--format", "csv"]);
        assert_eq!((out.code, out.err.as_str()), (0, ""), "{table:?}");
        let names: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
        assert_eq!(out.out.lines().next(), Some(names.join(",").as_str()));
    }
}

#[test]
fn captures_of_older_formats_lack_columns_which_are_null() {
    let (old, new) = (fixture("old/format-1.ntc"), fixture("ping-6.12.ntc"));
    let sql = "select file, count(*) > 0 as events, count(relation) > 0 as links from events group by file order by links";
    let out = query(&mixed(), &[sql, old.to_str().unwrap(), new.to_str().unwrap(), "--format", "csv"]);
    assert_eq!(out.err, "");
    let ends: Vec<&str> =
        out.out.lines().filter_map(|line| line.split_once(".ntc,")).map(|(_, end)| end).collect();
    assert_eq!(ends, ["true,false", "true,true"], "{}", out.out);
}

#[test]
fn a_capture_that_is_not_closed_is_asked_all_the_same() {
    let lab = mixed();
    let whole = std::fs::read(lab.path("host1.ntc")).unwrap();
    // Without the footer it is what a recorder leaves that was killed.
    std::fs::write(lab.path("cut.ntc"), &whole[..whole.len() - 9]).unwrap();
    let sql = "select c.unfinished, c.events, count(*) as n from captures c join events e on c.file = e.file group by all";
    let out = query(&lab, &[sql, "cut.ntc", "--format", "csv"]);
    assert_eq!((out.err.as_str(), out.out.as_str()), ("", "unfinished,events,n\ntrue,10,10\n"));
}

#[test]
fn only_the_columns_and_the_times_that_a_query_needs_are_read() {
    let capture = fixture("demo.ntc");
    let sql = "explain select probe, sum(len) as bytes from events where ts > 8553777000000 group by probe";
    let plan = query(&mixed(), &[sql, capture.to_str().unwrap()]).out;
    let scan =
        plan.lines().skip_while(|line| !line.contains("Parquet SCAN")).take(3).collect::<Vec<_>>().join("\n");
    assert!(scan.contains("PROJECT 3/"), "{plan}");
    assert!(scan.contains("SELECTION: col(\"ts\") > 8553777000000"), "{plan}");
}

#[test]
fn parquet_is_what_it_says() {
    let lab = mixed();
    let sql = "select life, step, ts, time, probe, ret from sightings order by life, step";
    let written = query(&lab, &[sql, "host1.ntc", "--format", "parquet", "-o", "out.parquet"]);
    assert_eq!((written.code, written.out.as_str(), written.err.as_str()), (0, "", ""));
    let file = std::fs::File::open(lab.path("out.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let fields: Vec<String> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(fields, ["life", "step", "ts", "time", "probe", "ret"]);
    let rows: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 10);
    let again = query(&lab, &[sql, "host1.ntc", "--format", "parquet", "-o", "out.parquet"]);
    assert_eq!(again.code, 2);
    assert!(again.err.starts_with("ntana-query: creating out.parquet: "), "{}", again.err);
}

#[test]
fn what_cannot_be_answered_is_refused_in_a_sentence() {
    for (sql, expected) in [
        ("select * from live", "there is no table `live`; nearest to it: lives (line 1, column 15)"),
        (
            "select sadr from events",
            "there is no column `sadr` here; nearest to it: saddr, daddr (line 1, column 8)",
        ),
        (
            "select probe\nfrom events where prob = 'x'",
            "there is no column `prob` here; nearest to it: probe (line 2, column 19)",
        ),
        ("selec 1", "the query is wrong: Expected: an SQL statement, found: selec at Line: 1, Column: 1"),
        (
            "select b.probe as p, count(*) as n from sightings a join sightings b on a.life = b.life group by b.probe",
            "give `probe` of `b` a name of its own in a subquery or WITH: others have its name, too",
        ),
        ("delete from events", "only SELECT is answered: captures are never changed"),
    ] {
        assert_eq!(refusal(sql), format!("ntana-query: {expected}\n"), "{sql}");
    }
    let unknown = refusal("select no_such_function(len) from events");
    assert!(
        unknown.starts_with("ntana-query: the query cannot be answered: ") && unknown.lines().count() == 1,
        "{unknown}"
    );
}

#[test]
fn a_capture_that_cannot_be_read_stops_the_answer() {
    let lab = mixed();
    let out = query(&lab, &["select count(*) from events", "host1.ntc", "missing.ntc"]);
    assert_eq!((out.code, out.out.as_str()), (2, ""));
    assert!(out.err.contains("missing.ntc") && out.err.lines().count() == 1, "{}", out.err);
}

#[test]
fn damaged_captures_end_in_an_error_and_not_in_a_panic() {
    let lab = Lab::new();
    let whole = std::fs::read(fixture("demo.ntc")).unwrap();
    let sql = "select sum(len), count(saddr), max(stack), min(header) from events";
    for at in (2_000..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        std::fs::write(lab.path("damaged.ntc"), damaged).unwrap();
        let out = query(&lab, &[sql, "damaged.ntc"]);
        assert!(matches!(out.code, 0 | 2), "{at}: {} {}", out.code, out.err);
        assert!(!out.err.contains("panicked") && out.err.lines().count() <= 1, "{at}: {}", out.err);
    }
}

#[test]
fn a_signal_leaves_no_files_behind() {
    let lab = Lab::new();
    let script: String = (0..20_000).map(|at| format!("{at} probe=netif_rx skb=a00 dev=eth0\n")).collect();
    lab.capture("many.ntc", &script);
    let folder = tempfile::tempdir().unwrap();
    let left = || std::fs::read_dir(folder.path()).unwrap().count();
    let mut child = harness::own(assert_cmd::cargo::cargo_bin("ntana-query"))
        .args(["select * from sightings", "--format", "csv"])
        .arg(lab.path("many.ntc"))
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has more to say than a pipe holds, and waits behind its first line.
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    assert_eq!(left(), 1, "its tables stand in files");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(left(), 0);
}

#[test]
fn a_signal_leaves_no_part_of_an_answer_behind() {
    let lab = Lab::new();
    let script: String = (0..5_000).map(|at| format!("{at} probe=netif_rx skb=a00 dev=eth0\n")).collect();
    lab.capture("many.ntc", &script);
    let left = || {
        let names = std::fs::read_dir(lab.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != "many.ntc").collect::<Vec<_>>()
    };
    let mut child = harness::own(assert_cmd::cargo::cargo_bin("ntana-query"))
        .args(["select a.ts, b.ts as other from events a cross join events b", "many.ntc", "-o", "out.csv"])
        .args(["--format", "csv"])
        .current_dir(lab.path(""))
        .spawn()
        .unwrap();
    // 25 million rows: it has begun and not ended.
    while left().is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it began to write");
        std::thread::yield_now();
    }
    assert_ne!(left(), ["out.csv"], "nothing has the name before it is whole");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(left(), [""; 0]);
}

#[test]
fn a_closed_pipe_is_success() {
    let lab = Lab::new();
    let script: String = (0..20_000).map(|at| format!("{at} probe=netif_rx skb=a00 dev=eth0\n")).collect();
    lab.capture("many.ntc", &script);
    for format in ["text", "json", "csv"] {
        let mut child = harness::own(assert_cmd::cargo::cargo_bin("ntana-query"))
            .args(["select * from events", "--format", format])
            .arg(lab.path("many.ntc"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{format}: {output:?}");
    }
}

#[test]
fn ntana_passes_the_question_on_and_the_status_back() {
    let lab = mixed();
    let sql = "select count(*) as n from events";
    let out = lab.ntana(&["query", sql, "host1.ntc", "--format", "csv"]);
    assert_eq!((out.code, out.out.as_str(), out.err.as_str()), (0, "n\n10\n", ""));
    let wrong = lab.ntana(&["query", "select", "host1.ntc"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.starts_with("ntana-query: the query is wrong: "), "{}", wrong.err);
}
