//! The whole program on captures from scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use common::{Lab, MIXED, Output, metadata};

/// A folder with the mixed capture in `host1.ntc`.
fn mixed() -> Lab {
    let lab = Lab::new();
    lab.capture("host1.ntc", MIXED);
    lab
}

/// Runs ntana on the mixed capture; it must answer without complaint.
fn answer(args: &[&str]) -> String {
    let Output { code, out, err } = mixed().ntana(args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

#[test]
fn diag_answers_on_the_first_screen() {
    assert_eq!(
        answer(&["diag", "host1.ntc"]),
        "\
host1.ntc: host host1, kernel 6.18.44
  2025-11-20 19:03:02.000000 to 19:03:12.000000 (+00:00 UTC), 10.00 s, 10 events
  3 packets: 1 dropped, 2 consumed
1 problem found

1. ERROR udp-port-closed  packets to a UDP port where nobody listens: 1 packet, 1 flow, since 19:03:02.000105
   where  10.77.2.2:5999, in __udp4_lib_rcv+0x9a1, on veth1 (netns server)
   who    udp 10.77.1.2:40001 -> 10.77.2.2:5999 (1)
   why    no process listens on this UDP port
   do     ss -lunp on this host: is the service up, and bound to this address? If not, stop the sender or correct its target port
   seen   icmp_send 3/3 (1), kfree_skb NO_SOCKET (1)
   stack  __udp4_lib_rcv+0x9a1 < ip_protocol_deliver_rcu+0x2c
   see    ntana trace host1.ntc --skb ffff888100000700 --since 0.000099s --until 0.000108s --detail
"
    );
}

#[test]
fn the_example_that_diag_names_shows_the_life() {
    let out = answer(&[
        "trace",
        "host1.ntc",
        "--skb",
        "ffff888100000700",
        "--since",
        "0.000099s",
        "--until",
        "0.000108s",
    ]);
    assert!(
        out.contains("*** ffff888100000700 udp 10.77.1.2:40001 -> 10.77.2.2:5999  DROPPED NO_SOCKET"),
        "{out}"
    );
}

#[test]
fn trace_shows_lives_with_their_events() {
    assert_eq!(
        answer(&["trace", "host1.ntc", "--outcome", "dropped", "--detail", "--latency"]),
        "\
host1.ntc: host host1, kernel 6.18.44
  2025-11-20 19:03:02.000000 to 19:03:12.000000 (+00:00 UTC), 10.00 s, 10 events

*** ffff888100000700 udp 10.77.1.2:40001 -> 10.77.2.2:5999  DROPPED NO_SOCKET at __udp4_lib_rcv+0x9a1 ***
[19:03:02.000100] [veth0 ][cpu:0  ][nc-42][ns:client] [net_dev_queue       ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128 +0 ns
[19:03:02.000101] [veth0 ][cpu:0  ][---][ns:client] [net_dev_start_xmit  ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128 +1.0 us
[19:03:02.000102] [veth1 ][cpu:0  ][---][ns:server] [netif_rx            ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128 +1.0 us
[19:03:02.000103] [veth0 ][cpu:0  ][---][ns:client] [net_dev_xmit        ]  +1.0 us
[19:03:02.000104] [veth1 ][cpu:0  ][---][ns:server] [netif_receive_skb   ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128 +1.0 us
[19:03:02.000105] [-     ][cpu:0  ][---][ns:-] [icmp_send           ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 *answered with ICMP 3/3* +1.0 us
[19:03:02.000106] [veth1 ][cpu:0  ][---][ns:server] [kfree_skb           ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128 *reason: NO_SOCKET, __udp4_lib_rcv+0x9a1* +1.0 us
    __udp4_lib_rcv+0x9a1
    ip_protocol_deliver_rcu+0x2c
total latency: 6.0 us

1 life shown
"
    );
}

#[test]
fn replay_shows_events_one_a_line() {
    let out = answer(&["replay", "host1.ntc", "--limit", "2", "--time", "rel"]);
    let lines: Vec<&str> = out.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "[0.000100] [net_dev_queue       ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128",
            "[0.000101] [net_dev_start_xmit  ] UDP: 10.77.1.2:40001 -> 10.77.2.2:5999 len 128",
        ]
    );
}

/// A folder with captures of two hosts, whose events follow each other by turns: the clock of the second host is
/// 100 us ahead.
fn two_hosts() -> Lab {
    let lab = Lab::new();
    let script =
        "100 probe=netif_rx skb=ffff888100000700 tcp_win=0\n300 probe=netif_rx skb=ffff888100000700\n";
    lab.capture("host1.ntc", script);
    let mut ahead = metadata("host2");
    ahead.clocks.iter_mut().for_each(|sample| sample.realtime += 100_000);
    common::write(&lab.path("host2.ntc"), ahead, script);
    lab
}

#[test]
fn replay_merges_hosts_by_the_wall_clock() {
    let lab = two_hosts();
    let files = ["replay", "host2.ntc", "host1.ntc"];
    let out = lab.ntana(&files).out;
    let events: Vec<&str> = out.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        events,
        [
            "[19:03:02.000100] [host1][netif_rx            ]",
            "[19:03:02.000200] [host2][netif_rx            ]",
            "[19:03:02.000300] [host1][netif_rx            ]",
            "[19:03:02.000400] [host2][netif_rx            ]",
        ]
        .map(|line| format!("{line} "))
    );
    assert!(out.ends_with("\nall: 4 events in 2 captures\n"), "{out}");
    let json = lab.ntana(&[&files[..], &["--format", "json", "--limit", "3"]].concat()).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let hosts: Vec<&str> =
        json["events"].as_array().unwrap().iter().map(|e| e["host"].as_str().unwrap()).collect();
    assert_eq!(hosts, ["host1", "host2", "host1"]);
    assert_eq!(json["totals"], serde_json::json!({"captures": 2, "events": 3}));
    let missing = lab.ntana(&["replay", "missing.ntc", "host1.ntc", "--format", "csv"]);
    assert_eq!((missing.code, records(&missing.out).len()), (2, 2));
    assert!(missing.err.contains("missing.ntc"));
}

#[test]
fn captures_of_one_host_are_told_apart_by_their_files() {
    let lab = Lab::new();
    let script = "100 probe=netif_rx skb=ffff888100000700\n";
    for name in ["a.ntc", "b.ntc"] {
        common::write(&lab.path(name), metadata("host1"), script);
    }
    let hosts = records(&lab.ntana(&["replay", "a.ntc", "b.ntc", "--format", "csv"]).out);
    assert_eq!(hosts.iter().map(|row| &*row["host"]).collect::<Vec<_>>(), ["a.ntc", "b.ntc"]);
}

#[test]
fn replay_shows_the_columns_that_are_asked_for() {
    let lab = two_hosts();
    let args = ["replay", "host1.ntc", "--time", "rel", "--columns", "tcp_win,probe"];
    let csv = lab.ntana(&[&args[..], &["--format", "csv"]].concat()).out;
    assert_eq!(csv, "host,time,tcp_win,probe\nhost1,0.000100,0,netif_rx\nhost1,0.000300,,netif_rx\n");
    let json = lab.ntana(&[&args[..], &["--format", "json", "--skb", "ffff888100000700"]].concat()).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["events"][0], serde_json::json!({"time": "0.000100", "tcp_win": 0, "probe": "netif_rx"}));
    let refused = |args: &[&str], expected: &str| {
        let output = lab.ntana(args);
        assert_eq!((output.code, output.err.as_str()), (2, expected));
    };
    refused(&args, "ntana: --columns is about JSON and CSV: give --format json or csv with it\n");
    refused(
        &["replay", "host1.ntc", "--columns", "says", "--format", "csv"],
        "ntana: there is no column `says`: FORMAT.md lists them\n",
    );
}

#[test]
fn drops_leaves_healthy_ones_out_and_says_so() {
    let out = answer(&["drops", "host1.ntc"]);
    assert!(out.contains("         1 100.0%  error"), "{out}");
    assert!(out.ends_with("1 drop; 1 of healthy traffic left out (--all shows them)\n"), "{out}");
    let all = answer(&["drops", "host1.ntc", "--all"]);
    assert!(all.contains("ping_rcv") && all.ends_with("2 drops\n"), "{all}");
}

#[test]
fn drops_counts_by_any_key() {
    let by = |key| answer(&["drops", "host1.ntc", "--by", key]);
    assert!(by("flow").contains("udp 10.77.1.2:40001 -> 10.77.2.2:5999"));
    assert!(by("dev").contains("veth1 (netns server)"));
    assert!(by("stack").contains("__udp4_lib_rcv+0x9a1 < ip_protocol_deliver_rcu+0x2c"));
    assert!(by("reason").contains("NO_SOCKET"));
}

#[test]
fn info_says_what_the_capture_holds() {
    let out = answer(&["info", "host1.ntc"]);
    for line in ["recorder     ntrec 0.1.0", "command      ntrec capture", "ended        SIGINT", "kfree_skb"]
    {
        assert!(out.contains(line), "{line} is missing in:\n{out}");
    }
}

#[test]
fn info_reads_no_rows_where_the_recorder_counted_all() {
    let lab = mixed();
    let counted = [
        ("consume_skb", 1),
        ("icmp_send", 1),
        ("kfree_skb", 2),
        ("net_dev_queue", 1),
        ("net_dev_start_xmit", 1),
        ("net_dev_xmit", 1),
        ("netif_receive_skb", 2),
        ("netif_rx", 1),
    ];
    let capture = |name: &str, counted: &[(&str, u64)]| {
        let count = |(probe, recorded): &(&str, u64)| ntc::Count {
            probe: (*probe).into(),
            recorded: *recorded,
            ..ntc::Count::default()
        };
        let counts = counted.iter().map(count).collect();
        let totals = ntc::Totals { counts, ..ntc::Totals::default() };
        common::write(&lab.path(name), ntc::Metadata { totals, ..metadata(name) }, MIXED);
        let out = lab.ntana(&["info", name, "--format", "json"]).out;
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["captures"][0].clone()
    };
    let (whole, partial) = (capture("whole.ntc", &counted), capture("partial.ntc", &counted[1..]));
    assert_eq!((&whole["counts_from"], &partial["counts_from"]), (&"totals".into(), &"rows".into()));
    for name in ["kinds", "probes"] {
        assert_eq!(whole[name], partial[name], "{name}");
    }
    assert_eq!(whole["kinds"], serde_json::json!({"free": 3, "icmp": 1, "pkt": 6}));
}

#[test]
fn every_answer_is_json_too() {
    for command in ["diag", "trace", "drops", "replay", "stats", "info"] {
        let out = answer(&[command, "host1.ntc", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["captures"][0]["head"]["host"], "host1", "{command}");
    }
    let diag: serde_json::Value =
        serde_json::from_str(&answer(&["diag", "host1.ntc", "--format", "json"])).unwrap();
    let finding = &diag["captures"][0]["findings"][0];
    assert_eq!(finding["cause"], "udp-port-closed");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["examples"][0]["skb"], "ffff888100000700");
    assert_eq!(diag["totals"]["errors"], 1);
}

/// The records of an answer as CSV: values by column name.
fn records(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|record| record.unwrap()).collect()
}

#[test]
fn every_answer_is_csv_too() {
    let csv = |args: &[&str]| records(&answer(&[args, &["host1.ntc", "--format", "csv"]].concat()));
    let findings = csv(&["diag"]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["cause"], "udp-port-closed");
    assert_eq!((&*findings[0]["packets"], &*findings[0]["flows_at_least"]), ("1", "false"));
    assert_eq!(findings[0]["devices"], "veth1 (netns server) (1)");
    let drops = csv(&["drops", "--by", "dev"]);
    let [drop] = &drops[..] else { panic!("{drops:?}") };
    assert_eq!((&*drop["host"], &*drop["dev"], &*drop["netns"]), ("host1", "veth1", "4026532002"));
    assert_eq!((&*drop["count"], &*drop["reason"]), ("1", "NO_SOCKET"));
    let events = csv(&["replay"]);
    assert_eq!(events.len(), 10);
    assert_eq!((&*events[0]["probe"], &*events[0]["sport"]), ("net_dev_queue", "40001"));
    assert_eq!((&*events[3]["ret"], &*events[3]["saddr"]), ("0", ""), "null is not zero");
    let lives = csv(&["trace"]);
    assert_eq!(lives.len(), 10);
    let last = &lives[6];
    assert_eq!((&*last["life"], &*last["outcome"], &*last["probe"]), ("1", "dropped", "kfree_skb"));
    let info = csv(&["info"]);
    let value = |what: &str, name: &str| {
        let row = info.iter().find(|row| row["what"] == what && row["name"] == name);
        row.map(|row| row["value"].clone())
    };
    assert_eq!(value("capture", "kernel").as_deref(), Some("6.18.44"));
    assert_eq!(value("probe", "kfree_skb").as_deref(), Some("2"));
}

#[test]
fn counts_that_were_cut_off_say_at_least() {
    // More flows than a finding counts (4,096), and more lines than `drops` has (65,536).
    let lab = Lab::new();
    let drop = |number: u32| {
        let (to, port) = (number >> 14, 1024 + (number & 0x3fff));
        format!(
            "{number} probe=kfree_skb skb=ffff888100000700 dev=eth0 saddr=10.0.0.1 daddr=10.1.0.{to} l4=udp \
             sport=5 dport={port} reason=NO_SOCKET location=__udp4_lib_rcv+0x1\n"
        )
    };
    lab.capture("some.ntc", &(0..4000).map(drop).collect::<String>());
    lab.capture("many.ntc", &(0..66_000).map(drop).collect::<String>());
    let finding = |file: &str| {
        let out = lab.ntana(&["diag", file, "--format", "json"]).out;
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        let finding = &json["captures"][0]["findings"][0];
        let names = ["packets", "flows", "flows_at_least", "destinations", "destinations_at_least"];
        serde_json::json!(names.map(|name| &finding[name]))
    };
    assert_eq!(finding("some.ntc"), serde_json::json!([4000, 4000, false, 4000, false]));
    assert_eq!(finding("many.ntc"), serde_json::json!([66_000, 4096, true, 4096, true]));
    let text = lab.ntana(&["diag", "many.ntc"]).out;
    for expected in [
        ": 66,000 packets, at least 4,096 flows, since",
        "at least 4,096 destinations",
        "and at least 4,091 more",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    let drops = lab.ntana(&["drops", "many.ntc", "--by", "flow", "--limit", "2"]).out;
    assert!(drops.contains("(too many lines)") && drops.contains("all others"), "{drops}");
    assert!(drops.ends_with("66,000 drops; at least 65,535 lines not shown (--limit)\n"), "{drops}");
    let drops = lab.ntana(&["drops", "some.ntc", "--by", "flow", "--limit", "2"]).out;
    assert!(drops.ends_with("4,000 drops; 3,998 lines not shown (--limit)\n"), "{drops}");
}

#[test]
fn json_names_columns_as_the_file_does() {
    let lab = Lab::new();
    lab.capture("host1.ntc", "100 probe=nf_hook_slow kind=nf skb=ffff888100000700 ret=0 verdict=NF_DROP hook=INPUT table=filter chain=input hooks=nft_do_chain_inet\n\
                              110 probe=skb_clone kind=link skb=ffff888100000700 child=ffff888100000800 relation=clone\n");
    let out = lab.ntana(&["replay", "host1.ntc", "--format", "json"]).out;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let events = &json["events"];
    let schema: BTreeSet<&str> = ntc::schema::COLUMNS.iter().map(|column| column.name).collect();
    for event in events.as_array().unwrap() {
        let mut names = event.as_object().unwrap().keys().map(String::as_str);
        assert!(names.all(|name| name == "time" || schema.contains(name)), "{event}");
    }
    let verdict = serde_json::json!(["NF_DROP", "INPUT", "filter", "input", "nft_do_chain_inet"]);
    let names = ["verdict", "hook", "table", "chain", "hooks"];
    assert_eq!(serde_json::json!(names.map(|name| &events[0][name])), verdict);
    assert_eq!((&events[1]["relation"], &events[1]["child"]), (&"clone".into(), &"ffff888100000800".into()));
}

#[test]
fn filters_choose_lives() {
    let none = |args: &[&str]| {
        let out = answer(&[&["diag", "host1.ntc"], args].concat());
        out.contains("no problem found")
    };
    assert!(!none(&["--port", "5999"]));
    assert!(!none(&["--addr", "10.77.0.0/16", "--proto", "udp", "--netns", "server"]));
    assert!(!none(&["--comm", "nc"]));
    assert!(none(&["--port", "53"]));
    assert!(none(&["--src", "10.77.2.2"]));
    assert!(none(&["--proto", "icmp"]));
    assert!(none(&["--since", "1s"]));
}

#[test]
fn several_hosts_are_reported_each_by_itself() {
    let lab = mixed();
    lab.capture("host2.ntc", MIXED);
    let out = lab.ntana(&["diag", "host1.ntc", "host2.ntc"]).out;
    assert!(out.contains("host host1") && out.contains("host host2"));
    assert!(out.ends_with("all: 2 errors and 0 warnings in 2 captures, 6 packets\n"), "{out}");
    let json = lab.ntana(&["diag", "host1.ntc", "host2.ntc", "--format", "json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["captures"][1]["head"]["host"], "host2");
}

#[test]
fn fail_on_sets_the_exit_status() {
    let lab = mixed();
    lab.capture("healthy.ntc", "10 probe=kfree_skb skb=1 reason=NO_SOCKET location=ping_rcv+0xab");
    let code = |args: &[&str]| lab.ntana(args).code;
    assert_eq!(code(&["diag", "host1.ntc"]), 0);
    assert_eq!(code(&["diag", "host1.ntc", "--fail-on", "error"]), 1);
    assert_eq!(code(&["diag", "host1.ntc", "--fail-on", "warning"]), 1);
    assert_eq!(code(&["diag", "healthy.ntc", "--fail-on", "warning"]), 0);
}

#[test]
fn losses_and_missing_probes_stand_in_the_head() {
    let lab = Lab::new();
    let mut meta = metadata("lossy");
    meta.totals.counts.push(ntc::Count { probe: "kfree_skb".into(), lost: 1234, ..Default::default() });
    meta.probes.push(ntc::Probe {
        name: "tcp_probe".into(),
        error: Some("no such event".into()),
        ..Default::default()
    });
    let script = format!("{MIXED}5000 kind=loss value=1234 span=4999000\n");
    common::write(&lab.path("lossy.ntc"), meta, &script);
    for command in ["diag", "trace", "drops", "replay", "stats", "info"] {
        let out = lab.ntana(&[command, "lossy.ntc"]).out;
        assert!(out.contains("  ! 1,234 events were lost while recording"), "{command}: {out}");
        assert!(out.contains("  ! not attached on this kernel: tcp_probe"), "{command}: {out}");
    }
    assert!(lab.ntana(&["info", "lossy.ntc"]).out.contains("not attached tcp_probe: no such event"));
    assert!(lab.ntana(&["diag", "lossy.ntc"]).out.contains("note   events were lost meanwhile"));
}

#[test]
fn modules_that_were_loaded_later_stand_in_the_head() {
    let lab = Lab::new();
    let meta = ntc::Metadata { late_modules: vec!["nf_nat".into(), "vxlan".into()], ..metadata("late") };
    common::write(&lab.path("late.ntc"), meta, MIXED);
    for command in ["diag", "trace", "drops", "replay", "stats", "info"] {
        let out = lab.ntana(&[command, "late.ntc"]).out;
        let told = "  ! loaded while recording, so that their functions were not seen: nf_nat, vxlan\n";
        assert!(out.contains(told), "{command}: {out}");
    }
}

#[test]
fn an_end_that_was_lost_is_unknown_not_reused() {
    let lab = Lab::new();
    let mut meta = metadata("lossy");
    meta.totals.counts.push(ntc::Count { lost: 1, ..Default::default() });
    let receive = |t: u32, seq: u32| {
        format!(
            "{t} probe=netif_receive_skb skb=7 dev=eth0 seq={seq} saddr=10.0.0.1 daddr=10.0.0.2 l4=udp ip_id={t}\n"
        )
    };
    common::write(&lab.path("lossy.ntc"), meta, &(receive(10, 1) + &receive(20, 3) + &receive(30, 4)));
    let out = lab.ntana(&["trace", "lossy.ntc"]).out;
    let outcomes: Vec<&str> = out.lines().filter(|l| l.starts_with("***")).collect();
    assert!(outcomes[0].contains("UNKNOWN"), "its end may be among what was lost: {out}");
    assert!(outcomes[1].contains("REUSED"), "nothing was lost meanwhile: {out}");
}

#[test]
fn errors_are_one_sentence_each() {
    let lab = mixed();
    std::fs::write(lab.path("text.ntc"), "this is not a capture").unwrap();
    std::fs::create_dir(lab.path("folder")).unwrap();
    let fails = |args: &[&str], expected: &str| {
        let output = lab.ntana(args);
        assert_eq!(output.code, 2, "{args:?}");
        assert!(output.err.contains(expected), "{args:?}: {}", output.err);
        assert_eq!(output.err.trim_end().lines().count(), 1, "{args:?}: {}", output.err);
    };
    fails(&["diag", "missing.ntc"], "missing.ntc");
    fails(&["diag", "folder"], "folder is a directory, not a capture");
    fails(&["diag", "text.ntc"], "not a capture");
    fails(&["diag", "host1.ntc", "--outcome", "lost"], "`lost` is not an outcome: dropped, delivered");
    fails(&["diag", "host1.ntc", "--netns", "nowhere"], "there is no namespace `nowhere`");
    fails(&["diag", "host1.ntc", "--probe", "nothing"], "there is no probe `nothing`");
    fails(&["diag", "host1.ntc", "--since", "yesterday"], "`yesterday` is not a time");
    fails(&["replay", "host1.ntc", "--outcome", "dropped"], "use `ntana trace`");
    fails(&["diag", "host1.ntc", "--rules", "missing.toml"], "reading rules missing.toml");
}

#[test]
fn wrong_words_are_refused_before_a_file_is_read() {
    let wrong = [
        ("--addr", "10.0.0", "no address or network: write 10.0.0.1"),
        ("--port", "http", "no port or range of ports: write 443"),
        ("--proto", "quic", "no protocol: write ip"),
        ("--dev", "eth0:1", "no name of a device"),
        ("--len", "9-1", "no length or range of lengths"),
        ("--tcp-flags", "SX", "no set of TCP flags"),
        ("--skb", "xyz", "no address of a packet"),
    ];
    for (option, word, expected) in wrong {
        let output = mixed().ntana(&["diag", "missing.ntc", option, word]);
        assert_eq!(output.code, 2);
        assert!(output.err.contains(&format!("'{word}' is {expected}")), "{}", output.err);
        assert!(!output.err.contains("missing.ntc"), "{}", output.err);
    }
}

#[test]
fn options_take_the_words_that_the_recorders_take() {
    let lives = |args: &[&str]| {
        let out = answer(&[&["trace", "host1.ntc"], args].concat());
        out.lines().filter(|line| line.starts_with("***")).count()
    };
    assert_eq!(lives(&["--addr", "0.0.0.0/0"]), 3);
    assert_eq!(lives(&["--addr", "::/0"]), 0, "IPv4 is no part of IPv6");
    assert_eq!(lives(&["--addr", "10.9.0.0/16,10.77.0.0/255.255.0.0"]), 3);
    assert_eq!(lives(&["--port", "53,5999"]), 1);
    assert_eq!(lives(&["--port", "0-65535"]), 1, "ICMP has no ports");
    assert_eq!((lives(&["--proto", "UDP"]), lives(&["--proto", "17"])), (1, 1));
    assert_eq!((lives(&["--len", "100-200"]), lives(&["--len", "84"])), (1, 2));
    assert_eq!((lives(&["--pid", "42"]), lives(&["--comm", "nc"])), (1, 1));
    assert_eq!(lives(&["--skb", "0xffff888100000700"]), 1);
    assert_eq!(lives(&["--tcp-flags", "SS"]), 0);
}

#[test]
fn captures_are_given_once_and_not_too_many() {
    let lab = mixed();
    lab.capture("host2.ntc", MIXED);
    std::fs::copy(lab.path("host1.ntc"), lab.path("copy.ntc")).unwrap();
    std::fs::hard_link(lab.path("host1.ntc"), lab.path("link.ntc")).unwrap();
    let refused = |args: &[&str], expected: &str| {
        for command in ["diag", "trace", "drops", "replay", "stats", "info"] {
            let output = lab.ntana(&[&[command], args].concat());
            assert_eq!((output.code, output.out.as_str()), (2, ""), "{command}");
            assert_eq!(output.err, format!("ntana: {expected}\n"), "{command}");
        }
    };
    refused(&["host1.ntc", "host1.ntc"], "host1.ntc is the same file as host1.ntc: give each capture once");
    refused(
        &["host1.ntc", "./host1.ntc"],
        "./host1.ntc is the same file as host1.ntc: give each capture once",
    );
    refused(
        &["link.ntc", "host2.ntc", "host1.ntc"],
        "host1.ntc is the same file as link.ntc: give each capture once",
    );
    refused(&["host1.ntc", "copy.ntc"], "copy.ntc is a copy of host1.ntc: give each capture once");
    let many: Vec<String> = (0..51).map(|number| format!("{number}.ntc")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&many, "at most 50 captures are read at once, and these are 51");
}

/// A datagram to port 53 with its header, without while it is the same, and what comes to its address afterwards.
const HEADERS: &str = "\
100 probe=net_dev_queue skb=a00 len=46 protocol=ip header=4500002000010000401100000a4d01020a4d02021b590035000c000061616161 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=7001 dport=53
101 probe=netif_receive_skb skb=a00 len=32 protocol=ip saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=7001 dport=53
102 probe=consume_skb skb=a00
103 probe=netif_receive_skb skb=a00 len=32 protocol=ip saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=7001 dport=53
104 probe=sk_data_ready sk=7 saddr=10.77.2.2 daddr=10.77.1.2 l4=udp sport=53 dport=7001
105 probe=neigh_update daddr=10.77.2.2
";

#[test]
fn expressions_are_asked_of_headers_and_of_flows() {
    let lab = Lab::new();
    lab.capture("host1.ntc", HEADERS);
    let times = |args: &[&str]| {
        let Output { code, out, err } =
            lab.ntana(&[&["replay", "host1.ntc", "--format", "csv", "--time", "rel"], args].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        records(&out)
            .iter()
            .map(|row| row["ts"].clone())
            .map(|ts| ts[ts.len() - 6..ts.len() - 3].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&["udp port 53"]), ["100", "101", "102", "103", "104"]);
    assert_eq!(
        times(&["udp", "dst", "port", "53", "and", "src", "host", "10.77.1.2"]).len(),
        5,
        "sockets talk both ways"
    );
    assert_eq!(times(&["udp[8:4] = 0x61616161"]), ["100", "101", "102"], "an end is the end of a header");
    assert_eq!(times(&["len = 46"]), ["100", "101", "102"], "with Ethernet's header, wherever the packet is");
    assert_eq!(times(&["-f", "ip[8] = 64 and not tcp"]), ["100", "101", "102"]);
    assert_eq!(times(&["tcp or arp"]), [""; 0]);
    assert_eq!(times(&["--inner", "udp"]), [""; 0]);
}

#[test]
fn what_follows_the_files_is_an_expression() {
    let lab = mixed();
    std::fs::create_dir(lab.path("src")).unwrap();
    let lives = |args: &[&str]| {
        let out = lab.ntana(&[&["trace", "host1.ntc"], args].concat()).out;
        out.lines().filter(|line| line.starts_with("***")).count()
    };
    assert_eq!((lives(&["udp port 5999"]), lives(&["udp", "port", "5999"])), (1, 1));
    assert_eq!(lives(&["src", "port", "40001"]), 1, "a directory is no capture");
    assert_eq!((lives(&["icmp"]), lives(&["--filter", "icmp"]), lives(&["icmp or udp"])), (2, 2, 3));
    let fails = |args: &[&str], expected: &str| {
        let output = lab.ntana(&[&["diag", "host1.ntc"], args].concat());
        assert_eq!((output.code, output.out.as_str()), (2, ""), "{args:?}");
        assert_eq!(output.err, format!("ntana: {expected}\n"));
    };
    fails(
        &["tcp prot 5"],
        "no such file as `tcp`, and no filter expression begins there: unknown word \"prot\" at 5; see man pcap-filter",
    );
    fails(
        &["host2.nct"],
        "no such file as `host2.nct`, and no filter expression begins there: unknown word \"host2.nct\" at 1; see man \
         pcap-filter",
    );
    fails(
        &["-f", "port"],
        "the filter expression is wrong: it ends where a port should follow at 5; see man pcap-filter",
    );
    fails(&["-f", "tcp", "udp"], "write one filter expression: behind the files, or with --filter");
    fails(
        &["--inner"],
        "--inner says which packet the filter expression is about: write one, such as 'tcp port 443'",
    );
    let missing = lab.ntana(&["diag", "host1.ntc", "missing.ntc"]);
    assert!(
        missing.out.contains("udp-port-closed") && missing.err.contains("missing.ntc"),
        "a capture's name is no word"
    );
}

#[test]
fn an_unreadable_file_does_not_stop_the_others() {
    let output = mixed().ntana(&["diag", "missing.ntc", "host1.ntc"]);
    assert_eq!(output.code, 2);
    assert!(output.out.contains("udp-port-closed") && output.err.contains("missing.ntc"));
}

#[test]
fn rules_change_what_is_trouble() {
    let lab = mixed();
    let rule = "[[location]]\nreason = 'NO_SOCKET'\nfunction = '__udp4_lib_rcv'\nseverity = 'normal'\n\
                [[icmp]]\ntype = 3\ncode = 3\nseverity = 'normal'\nmeans = 'ours'\n";
    std::fs::write(lab.path("ours.toml"), rule).unwrap();
    let out = lab.ntana(&["diag", "host1.ntc", "--rules", "ours.toml"]).out;
    assert!(out.contains("no problem found in 3 packets"), "{out}");
    std::fs::write(lab.path("bad.toml"), "[[reason]]\nname = 'X'\n").unwrap();
    let output = lab.ntana(&["diag", "host1.ntc", "--rules", "bad.toml"]);
    assert_eq!(output.code, 2);
    assert!(output.err.contains("rules bad.toml"), "{}", output.err);
}

#[test]
fn query_without_its_program_says_how_to_get_it() {
    let lab = mixed();
    std::fs::copy(assert_cmd::cargo::cargo_bin("ntana"), lab.path("ntana")).unwrap();
    let alone = |args: &[&str]| {
        let mut command = harness::own(lab.path("ntana"));
        let output = command.current_dir(lab.path("")).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    assert_eq!(
        alone(&["query", "select 1", "host1.ntc"]),
        (
            2,
            String::new(),
            "ntana: ntana-query, which answers SQL, is neither beside ntana nor in PATH: take it from where ntana is \
             from, or build it by `cargo build --release -p ntana-query`\n"
                .to_owned()
        )
    );
    let (code, out, err) = alone(&["query", "--schema", "losses"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("losses: events of one probe that were lost"), "{out}");
    let span = out.lines().find(|line| line.trim_start().starts_with("span ")).unwrap();
    assert_eq!(span, "  span                   u64    how long before ts that time began, ns");
    let (code, _, err) = alone(&["query", "--schema", "loses"]);
    assert_eq!((code, err.as_str()), (2, "ntana: there is no table `loses`; nearest to it: losses\n"));
}

#[test]
fn a_closed_pipe_is_success() {
    let lab = Lab::new();
    let many: String = (0..20_000)
        .map(|i| {
            format!("{i} probe=netif_receive_skb skb={i:x}1 dev=eth0 saddr=10.0.0.1 daddr=10.0.0.2 l4=udp\n")
        })
        .collect();
    lab.capture("many.ntc", &many);
    for command in [
        &["replay"][..],
        &["trace"],
        &["replay", "--format", "json"],
        &["replay", "--format", "csv"],
        &["trace", "--format", "csv"],
    ] {
        let mut child = harness::own(assert_cmd::cargo::cargo_bin("ntana"))
            .args(command)
            .arg(lab.path("many.ntc"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
    }
}
