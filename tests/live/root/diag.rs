//! The whole way: a scenario is recorded, and the analyzer names its cause, and no other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;

use lab::Net;
use lab::scenario::{Ring, SCENARIOS};
use serde_json::Value;

use crate::recorder::{Recording, binary, only_with, record};
use crate::support::beside_others;

/// Scenarios at the same time.
const AT_ONCE: usize = 3;

/// The causes of each scenario, as `analyzer/knowledge` calls them.
const CAUSES: [(&str, &[&str]); 12] = [
    ("demo", &["netfilter-drop", "socket-receive-buffer-full", "tcp-port-closed", "udp-port-closed"]),
    ("healthy", &[]),
    ("tcp-closed-port", &["tcp-port-closed"]),
    ("udp-closed-port", &["udp-port-closed"]),
    ("nft-drop", &["netfilter-drop"]),
    ("full-socket-buffer", &["socket-receive-buffer-full"]),
    ("no-route", &["no-route"]),
    ("ttl-expired", &["ttl-expired"]),
    ("neighbour-failed", &["neighbour-unreachable"]),
    ("syn-backlog-full", &["listen-backlog-full"]),
    ("mtu-too-big", &["mtu-exceeded"]),
    ("rp-filter", &["reverse-path-filter"]),
];

/// Records a scenario.
fn play(name: &str, profile: &str) -> Recording {
    let scenario = lab::scenario::Scenario::find(name).unwrap();
    let net = Net::new().unwrap();
    record(&only_with(&[&net.client, &net.router, &net.server], &["--profile", profile]), || {
        scenario.play(&net, &mut Vec::new(), &AtomicBool::new(false)).unwrap();
    })
}

/// What the analyzer finds.
fn diagnose(file: &Path) -> Value {
    let ntana = Path::new(binary()).with_file_name("ntana");
    let output = harness::own(&ntana).args(["diag", "--format", "json"]).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; cargo build -p ntana", ntana.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All findings, wherever they stand: severity and cause.
fn findings(value: &Value) -> Vec<(&str, &str)> {
    let inner = match value {
        Value::Object(members) => members.values().flat_map(findings).collect(),
        Value::Array(items) => items.iter().flat_map(findings).collect(),
        _ => Vec::new(),
    };
    let own = value.get("severity").zip(value.get("cause"));
    let own = own.and_then(|(severity, cause)| Some((severity.as_str()?, cause.as_str()?)));
    own.into_iter().chain(inner).collect()
}

/// What is wrong with the diagnosis of a scenario.
fn fault((name, causes): (&str, &[&str]), profile: &str) -> Option<String> {
    let recording = play(name, profile);
    recording.open();
    let diagnosis = diagnose(&recording.file);
    let found: BTreeSet<(&str, &str)> = findings(&diagnosis).into_iter().collect();
    let named: BTreeSet<&str> = found.iter().map(|(_, cause)| *cause).collect();
    (named != causes.iter().copied().collect())
        .then(|| format!("{name}, {profile}: {found:?} instead of {causes:?}"))
}

#[test]
fn each_scenario_is_diagnosed_with_its_own_cause_only() {
    let Some(_turn) = beside_others() else { return };
    let live = SCENARIOS.iter().filter(|scenario| scenario.ring == Ring::Live);
    assert!(CAUSES.iter().map(|(name, _)| *name).eq(live.map(|scenario| scenario.name)));
    let faults: Vec<String> = thread::scope(|scope| {
        let play_share = |share: usize| {
            let mine = CAUSES.iter().skip(share).step_by(AT_ONCE);
            mine.filter_map(|case| fault(*case, "life")).collect::<Vec<String>>()
        };
        let threads: Vec<_> = (0..AT_ONCE).map(|share| scope.spawn(move || play_share(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_smallest_profile_is_enough_for_a_diagnosis() {
    let Some(_turn) = beside_others() else { return };
    let many = CAUSES.iter().filter(|(name, _)| ["demo", "healthy"].contains(name));
    let faults: Vec<String> = many.filter_map(|case| fault(*case, "net")).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
