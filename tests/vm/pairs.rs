//! Recordings of several guests, each with its own kernel and clock: `tests/vm/pair/run` makes them, and complains where its
//! guests' counts contradict each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt16Type, UInt64Type};
use ntc::schema::FINGERPRINT_BYTES;
use ntc::{Capture, ColumnId};
use serde_json::Value;

use crate::guest::PROJECT;

/// Folders in which a pair and a router's captures are kept.
const KEPT: &str = "fixtures/hosts";

/// Records a plan's guests into `target/vm` where that is asked for (`NTREC_VM=pairs scripts/test-vm pairs`); with
/// `NTREC_VM=again` takes what is there. Three guests on two CPUs are at times so slow that a ping's answer comes too late for
/// what the plan foresees, and the recording is refused: the ring judges the kept ones.
fn record(plan: &str) -> Option<String> {
    let asked = std::env::var_os("NTREC_VM").filter(|asked| asked == "pairs" || asked == "again");
    let folder = format!("target/vm/{plan}");
    let Some(asked) = asked else {
        eprintln!(
            "skipped: a pair of guests takes a minute; `NTREC_VM=pairs scripts/test-vm pairs` boots them"
        );
        return None;
    };
    if asked == "again" && !Path::new(PROJECT).join(&folder).exists() {
        return None;
    }
    if asked != "again" {
        let recorder =
            std::env::var_os("NTREC").expect("NTREC names the recorder, as scripts/test-vm sets it");
        let mut run: Command = harness::own(Path::new(PROJECT).join("tests/vm/pair/run"));
        run.current_dir(PROJECT).arg(&folder).arg(recorder).args([plan, "--profile", "net"]);
        assert!(run.status().unwrap().success(), "what contradicts stands above");
    }
    Some(folder)
}

/// Fingerprints of whole UDP datagrams at a probe, by destination port, in the order of the file.
fn fingerprints(file: &Path, probe: &str) -> BTreeMap<u16, Vec<Option<u64>>> {
    let capture = Capture::open(file).unwrap();
    assert_eq!(capture.metadata().fingerprint_bytes, FINGERPRINT_BYTES as u32);
    let mut found: BTreeMap<u16, Vec<Option<u64>>> = BTreeMap::new();
    for group in 0..capture.groups().len() {
        let columns = [ColumnId::Probe, ColumnId::Dport, ColumnId::PayloadHash];
        let rows = capture.read(group, &columns).unwrap();
        let rows = rows.record();
        let probes = rows["probe"].as_dictionary::<Int32Type>();
        let names = probes.values().as_string::<i32>();
        let ports = rows["dport"].as_primitive::<UInt16Type>();
        let hashes = rows["payload_hash"].as_primitive::<UInt64Type>();
        for at in (0..rows.num_rows()).filter(|at| ports.is_valid(*at)) {
            if probes.key(at).is_some_and(|key| names.value(key) == probe) {
                let hash = hashes.is_valid(at).then(|| hashes.value(at));
                found.entry(ports.value(at)).or_default().push(hash);
            }
        }
    }
    found
}

/// What the receiver saw of a flow's datagrams, of which each has another payload, has the fingerprint that it had at the
/// sender, and each datagram that came is among it.
fn check_fingerprints(folder: &Path) {
    let truth: Value = serde_json::from_str(&fs::read_to_string(folder.join("truth.json")).unwrap()).unwrap();
    let at = |host: &str, probe| fingerprints(&folder.join(format!("{host}.ntc")), probe);
    let hosts = ["A", "B"].map(|host| (host, (at(host, "net_dev_queue"), at(host, "netif_receive_skb"))));
    let hosts = BTreeMap::from(hosts);
    let flows = truth["flows"].as_array().unwrap().iter();
    let mut checked = 0;
    for flow in flows.filter(|flow| flow["received"].is_array() && flow.get("equal").is_none()) {
        let port = flow["port"].as_u64().unwrap() as u16;
        let sides = ["from", "to"].map(|side| &hosts[flow[side].as_str().unwrap()]);
        // Fragments have no ports.
        let (Some(sent), Some(came)) = (sides[0].0.get(&port), sides[1].1.get(&port)) else { continue };
        assert!(sent.iter().chain(came).all(Option::is_some), "{flow}: {sent:?} {came:?}");
        assert!(came.iter().all(|hash| sent.contains(hash)), "{flow}: {came:?} came of {sent:?}");
        assert!(came.len() >= flow["received"].as_array().unwrap().len(), "{flow}: {came:?}");
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} flows of {}", folder.display());
}

/// Records a plan, if that is asked for, and judges what there is.
fn check(plan: &str) {
    check_fingerprints(&Path::new(PROJECT).join(KEPT).join(plan));
    if let Some(folder) = record(plan) {
        check_fingerprints(&Path::new(PROJECT).join(folder));
    }
}

#[test]
fn a_datagram_has_the_same_fingerprint_on_both_hosts() {
    check("pair");
}

#[test]
fn a_datagram_has_the_same_fingerprint_on_both_sides_of_a_router() {
    check("router");
}
