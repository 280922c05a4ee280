//! What a guest's recordings must be like.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use ntc::{Capture, Probe, State};
use serde_json::Value;

use crate::guest::{Guest, PROJECT, Recording};

/// What the recorder says where none of its programs can be loaded.
const REFUSED: &str = "none of the probes can be recorded on this kernel";

/// Words by which a kernel reports that it is broken.
const BROKEN: [&str; 5] = ["BUG:", "Oops", "WARNING:", "kernel BUG", "unregister_netdevice"];

/// Every complaint about a guest, one a line.
pub fn all(guest: &Guest) -> Vec<String> {
    let mut complaints: Vec<String> =
        guest.recordings.iter().filter_map(|recording| one(guest, recording).err()).collect();
    let broken = guest.console.lines().filter(|line| BROKEN.iter().any(|word| line.contains(word)));
    complaints.extend(broken.map(|line| format!("console: {line}")));
    complaints.extend(expect(guest, "tables", &guest.tables).err());
    complaints
}

/// Judges one recording.
fn one(guest: &Guest, recording: &Recording) -> Result<(), String> {
    let Recording { scenario, status, stderr, file } = recording;
    let complain = |what: &dyn std::fmt::Display| format!("{scenario}: {what}");
    match status {
        Some(0) => {}
        // Kernels without BTF of modules.
        Some(2) if *scenario == "nft-chain" && stderr.contains("--nft-trace needs") => {
            return expect(guest, "rule", "refused\n").map_err(|error| complain(&error));
        }
        // It told why; that it should not have is a matter of the expected probes.
        Some(_) if stderr.contains(REFUSED) => {
            return expect(guest, "probes", "none\n").map_err(|error| complain(&error));
        }
        Some(status) => return Err(complain(&format!("exit status {status}: {}", stderr.trim()))),
        None => return Err(complain(&"the guest ended before it was recorded")),
    }
    let capture = Capture::open(file).map_err(|error| complain(&error))?;
    if *capture.state() != State::Closed {
        return Err(complain(&"the capture is not closed"));
    }
    balance(&capture).map_err(|error| complain(&error))?;
    ask(&["info"], file).map_err(|error| complain(&error))?;
    diagnosis(guest.kernel, scenario, file).map_err(|error| complain(&error))?;
    // Modules bring functions; the last scenario finds those of all scenarios loaded.
    if guest.recordings.last().is_some_and(|last| last.scenario == *scenario) {
        expect(guest, "probes", &attached(&capture)).map_err(|error| complain(&error))?;
    }
    if *scenario == "nft-chain" {
        expect(guest, "rule", &rules(file)).map_err(|error| complain(&error))?;
        return expect(guest, scenario, &verdicts(file)).map_err(|error| complain(&error));
    }
    expect(guest, scenario, &life(file)).map_err(|error| complain(&error))
}

/// What netfilter said of one packet; how it came there is the matter of other scenarios.
fn verdicts(file: &Path) -> String {
    let way = life(file);
    way.lines().filter(|line| line.contains(": ")).fold(String::new(), |text, line| text + line + "\n")
}

/// The rules that `ntana diag` names, one a line.
fn rules(file: &Path) -> String {
    let Ok(answer) = ask(&["diag"], file) else { return String::new() };
    let findings = answer["captures"][0]["findings"].as_array().cloned().unwrap_or_default();
    let rules = findings.iter().flat_map(|finding| finding["rules"].as_array().into_iter().flatten());
    rules.fold(String::new(), |text, rule| format!("{text}{}\n", rule["what"]))
}

/// The causes that `ntana diag` must find, and no others; healthy traffic has none.
fn causes(scenario: &str) -> BTreeSet<&'static str> {
    let found: &[&str] = match scenario {
        "demo" => &["socket-receive-buffer-full", "netfilter-drop", "tcp-port-closed", "udp-port-closed"],
        // A netem that loses packets is a qdisc that drops them; what TCP does about it is a consequence.
        "gso-loss" => &["qdisc-full"],
        "nft-chain" => &["netfilter-drop"],
        _ => &[],
    };
    found.iter().copied().collect()
}

/// Causes that may be found as well, since they are there at times: on 5.10 with two processors, decrypted packets come
/// out of order (of 3,037 segments that were sent in order, 146 arrived behind a later one), so that TCP sends some again.
fn at_times(kernel: &str, scenario: &str) -> Option<&'static str> {
    (kernel == "5.10" && scenario == "ipsec").then_some("tcp-retransmissions")
}

/// Runs `ntana` and returns the JSON that it prints.
fn ask(arguments: &[&str], file: &Path) -> Result<Value, String> {
    let mut command = Command::cargo_bin("ntana").unwrap();
    let output = command.args(arguments).args(["--format", "json"]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !output.stderr.is_empty() {
        return Err(format!("ntana {}: {}: {said}", arguments.join(" "), output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("ntana {}: {error}", arguments.join(" ")))
}

/// The verdict is right: every cause is found, and nothing else.
fn diagnosis(kernel: &str, scenario: &str, file: &Path) -> Result<(), String> {
    let answer = ask(&["diag"], file)?;
    let findings = answer["captures"][0]["findings"].as_array().cloned().unwrap_or_default();
    let found = findings.iter().filter_map(|finding| Some(finding["cause"].as_str()?.to_owned()));
    let found: BTreeSet<String> =
        found.filter(|cause| at_times(kernel, scenario) != Some(cause.as_str())).collect();
    let expected: BTreeSet<String> = causes(scenario).into_iter().map(str::to_owned).collect();
    if found == expected { Ok(()) } else { Err(format!("diag found {found:?} instead of {expected:?}")) }
}

/// The way of one packet: of the last one that passed the most probes, among those that did not have to wait for an address
/// to be resolved. By then nothing is cached for the first time, so that every packet of its kind passes the same
/// functions in the same order.
fn life(file: &Path) -> String {
    let Ok(answer) = ask(&["trace"], file) else { return String::new() };
    let lives = answer["captures"][0]["lives"].as_array().cloned().unwrap_or_default();
    let longest = lives.iter().rev().max_by_key(|life| (!passes(life, "__neigh_event_send"), distinct(life)));
    let Some(life) = longest else { return String::new() };
    let steps = life["events"].as_array().cloned().unwrap_or_default();
    steps.iter().fold(String::new(), |text, event| text + &step(event) + "\n")
}

/// Whether a packet passed a probe.
fn passes(life: &Value, probe: &str) -> bool {
    life["events"].as_array().into_iter().flatten().any(|event| event["probe"].as_str() == Some(probe))
}

/// How many different steps a life has.
fn distinct(life: &Value) -> usize {
    let steps = life["events"].as_array().into_iter().flatten();
    steps.map(|event| (event["probe"].as_str(), event["dev"].as_str())).collect::<BTreeSet<_>>().len()
}

/// A step of a life: the probe and the device, or what was returned, decided or linked.
fn step(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let probe = text("probe");
    if !text("nf_hook").is_empty() {
        // The process id differs from run to run.
        let table = text("nf_table");
        let table = if table.starts_with("ntrec-") { "ntrec" } else { table };
        let rule = event["nf_handle"].as_u64().map_or_else(String::new, |handle| format!(" handle {handle}"));
        return format!("{probe} {table} {}{rule} {}: {}", text("nf_chain"), text("nf_hook"), text("says"));
    }
    if !text("says").is_empty() {
        return format!("{probe} {}", text("says"));
    }
    match event["ret"].as_i64() {
        // Addresses differ from run to run.
        Some(value) if (-4095..=65_536).contains(&value) => format!("{probe} returns {value}"),
        Some(_) => format!("{probe} returns a pointer"),
        None => format!("{probe} {}", text("dev")).trim_end().to_owned(),
    }
}

/// Each event that was counted was recorded or lost, and the table has those that were recorded.
fn balance(capture: &Capture) -> Result<(), String> {
    let totals = &capture.metadata().totals;
    if let Some(count) = totals.counts.iter().find(|count| count.counted != count.recorded + count.lost) {
        return Err(format!("recorded and lost are not what was counted: {count:?}"));
    }
    if totals.counts.iter().all(|count| count.recorded == 0) {
        return Err("nothing was recorded".to_owned());
    }
    if totals.rows != capture.rows() {
        return Err(format!("{} rows were written, the table has {}", totals.rows, capture.rows()));
    }
    Ok(())
}

/// The probes with their backends, one a line.
fn attached(capture: &Capture) -> String {
    capture.metadata().probes.iter().fold(String::new(), |mut text, Probe { name, backend, .. }| {
        let backend = if backend.is_empty() { "not attached" } else { backend };
        let _ = writeln!(text, "{name} {backend}");
        text
    })
}

/// Compares with the file of that name that stands for this kernel, if there is one; `UPDATE=1` writes it.
fn expect(guest: &Guest, name: &str, text: &str) -> Result<(), String> {
    let file = Path::new(PROJECT).join("tests/vm/expected").join(guest.kernel).join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let Ok(expected) = fs::read_to_string(&file) else { return Ok(()) };
    let missing = expected.lines().filter(|line| !text.lines().any(|other| other == *line));
    let new = text.lines().filter(|line| !expected.lines().any(|other| other == *line));
    let mut changes: Vec<String> = missing.map(|line| format!("  - {line}")).collect();
    changes.extend(new.map(|line| format!("  + {line}")));
    if changes.is_empty() && text != expected {
        changes.push("  the same lines in another order".to_owned());
    }
    if changes.is_empty() { Ok(()) } else { Err(format!("{name}.txt differs:\n{}", changes.join("\n"))) }
}
