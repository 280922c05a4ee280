//! `ntana path` on captures of several guests, against what became of each packet (`truth.json`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// A folder of captures.
fn folder(plan: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/hosts").join(plan)
}

/// All packets that `ntana path --verbose` shows of a plan's captures, in this order.
fn packets(plan: &str, hosts: &[&str]) -> Vec<Value> {
    let files = hosts.iter().map(|host| folder(plan).join(format!("{host}.ntc")));
    let ran = Command::cargo_bin("ntana")
        .unwrap()
        .arg("path")
        .args(files)
        .args(["--verbose", "--format", "json"])
        .unwrap();
    assert!(ran.stderr.is_empty());
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap();
    answer["packets"].as_array().unwrap().clone()
}

/// What became of the datagrams of each flow: they are in the file, each with what was done to which.
fn flows(plan: &str) -> Vec<Value> {
    let truth: Value =
        serde_json::from_str(&fs::read_to_string(folder(plan).join("truth.json")).unwrap()).unwrap();
    let flows = truth["flows"].as_array().unwrap().iter();
    flows.filter(|flow| flow["received"].is_array()).cloned().collect()
}

/// The host at which a packet was seen last, by the name of its file.
fn last_host(packet: &Value) -> String {
    let stages = packet["stages"].as_array().unwrap();
    let host = stages.last().unwrap()["host"].as_str().unwrap();
    Path::new(host).file_stem().unwrap().to_string_lossy().into_owned()
}

/// The packets to a port of UDP.
fn to_port(packets: &[Value], port: &Value) -> Vec<Value> {
    let end = format!(":{port}");
    let is_one = |packet: &&Value| {
        let flow = packet["flow"].as_str().unwrap();
        flow.starts_with("udp ") && flow.ends_with(&end)
    };
    packets.iter().filter(is_one).cloned().collect()
}

/// Numbers in a list of the truth; none where there is no such list.
fn numbers(list: &Value) -> BTreeSet<usize> {
    list.as_array().into_iter().flatten().map(|number| number.as_u64().unwrap() as usize).collect()
}

/// How many packets each host dropped, and how many the network lost, as `ntana` has it.
fn found(packets: &[Value]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for packet in packets {
        match packet["verdict"].as_str().unwrap() {
            "INTERNAL_DROP" => *found.entry(last_host(packet)).or_default() += 1,
            "NETWORK_DROP" => *found.entry("wire".to_owned()).or_default() += 1,
            _ => {}
        }
    }
    found
}

/// Whether only their order tells a flow's datagrams apart.
fn is_anonymous(flow: &Value) -> bool {
    flow.get("equal").is_some() && flow.get("df").is_some()
}

/// The same, as it was injected. Where only their order tells datagrams apart, one that was doubled on the network stands for
/// one that was lost there: as many came as if neither had happened.
fn injected(flow: &Value) -> BTreeMap<String, usize> {
    let by_host = flow["dropped"].as_object().unwrap().iter();
    let by_host = by_host.map(|(host, dropped)| (host.clone(), numbers(dropped).len()));
    let doubled = if is_anonymous(flow) { numbers(&flow["wire"]["double"]).len() } else { 0 };
    let wire = ("wire".to_owned(), numbers(&flow["wire"]["lose"]).len() - doubled);
    by_host.chain([wire]).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn each_datagram_between_two_hosts_was_lost_where_it_was_lost() {
    let packets = packets("pair", &["A", "B"]);
    for flow in flows("pair").iter().filter(|flow| flow["size"].as_u64().unwrap() < 1400) {
        let sent = to_port(&packets, &flow["port"]);
        assert_eq!(found(&sent), injected(flow), "{flow}");
        assert_eq!(sent.len(), flow["sent"].as_u64().unwrap() as usize, "{flow}");
        if is_anonymous(flow) {
            continue;
        }
        let of = |verdict: &str, host: &str| -> BTreeSet<usize> {
            let is_it = |packet: &Value| packet["verdict"] == verdict && last_host(packet) == host;
            (0..sent.len()).filter(|number| is_it(&sent[*number])).collect()
        };
        assert_eq!(of("INTERNAL_DROP", "A"), numbers(&flow["dropped"]["A"]), "{flow}");
        assert_eq!(of("INTERNAL_DROP", "B"), numbers(&flow["dropped"]["B"]), "{flow}");
        assert_eq!(
            of("NETWORK_DROP", flow["from"].as_str().unwrap()),
            numbers(&flow["wire"]["lose"]),
            "{flow}"
        );
    }
}

#[test]
fn behind_a_router_that_translates_addresses_losses_are_where_they_were() {
    let packets = packets("router", &["A", "M", "B"]);
    for flow in flows("router").iter().filter(|flow| flow["size"].as_u64().unwrap() < 1400) {
        assert_eq!(found(&to_port(&packets, &flow["port"])), injected(flow), "{flow}");
    }
}

#[test]
fn no_packet_comes_in_before_it_left_by_more_than_its_interval() {
    for (plan, hosts) in [("pair", &["A", "B"][..]), ("router", &["A", "M", "B"])] {
        for packet in packets(plan, hosts) {
            for stage in packet["stages"].as_array().unwrap() {
                let (Some(since), Some(bound)) = (stage["since"].as_i64(), stage["bound"].as_i64()) else {
                    continue;
                };
                assert!(since + bound >= 0, "{packet:#}");
            }
        }
    }
}
