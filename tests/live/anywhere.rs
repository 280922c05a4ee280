//! What can be asked without root: `ntrec check` and `ntrec probes`.

use std::process::{Output, Stdio};

use serde_json::Value;

use crate::recorder::binary;

/// Runs `ntrec`.
pub fn ntrec(args: &[&str]) -> Output {
    harness::own(binary()).args(args).output().unwrap()
}

/// What it printed, as JSON.
pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn check_says_what_can_be_recorded_and_what_each_missing_thing_costs() {
    let output = ntrec(&["check", "--format", "json"]);
    let report = json(&output);
    let nothing = report["records"] == "nothing";
    assert_eq!(output.status.code(), Some(if nothing { 2 } else { 0 }), "{report}");
    assert_eq!(nothing, !output.stderr.is_empty(), "{report}");
    for check in report["checks"].as_array().unwrap() {
        assert_eq!(check["works"] == false, check["cost"].is_string(), "{check}");
        assert!(!check["found"].as_str().unwrap().is_empty(), "{check}");
    }
    let text = String::from_utf8(ntrec(&["check"]).stdout).unwrap();
    let lines = report["checks"].as_array().unwrap().len();
    let costs = text.lines().filter(|line| line.trim_start().starts_with("costs: ")).count();
    assert_eq!(text.lines().count(), 1 + lines + costs, "{text}");
}

#[test]
fn probes_lists_the_catalog_by_group_and_what_words_choose() {
    let everything = json(&ntrec(&["probes", "--format", "json"]));
    let all = everything["probes"].as_array().unwrap();
    assert!(all.len() >= ntc::catalog::probes().len() - 5, "{}", all.len());
    let groups: Vec<&Value> = all.iter().map(|probe| &probe["group"]).collect();
    let mut changes = groups.clone();
    changes.dedup();
    assert!(changes.len() <= ntc::catalog::groups().len(), "{changes:?}");
    for probe in all {
        let told = probe["backend"].is_string() || probe["reason"].is_string();
        assert!(told || everything["tried"] == false, "{probe}");
        assert!(!(probe["backend"].is_string() && probe["reason"].is_string()), "{probe}");
    }
    let few = json(&ntrec(&["probes", "--format", "json", "kfree_skb", "arp"]));
    let few = few["probes"].as_array().unwrap();
    assert!(few.iter().all(|probe| probe["name"] == "kfree_skb" || probe["group"] == "arp"), "{few:?}");
    assert!(few.len() > 1 && few.len() < all.len());
}

#[test]
fn a_word_that_names_no_probe_is_refused() {
    let output = ntrec(&["probes", "kfree_sbk"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && said.lines().count() == 1 && said.contains("kfree_skb"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for command in ["check", "probes"] {
        let mut child = harness::own(binary());
        child.arg(command).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let whole = ntrec(&[command]);
        assert_eq!(output.status, whole.status, "{command}");
        assert_eq!(output.stderr, whole.stderr, "{command}");
    }
}
