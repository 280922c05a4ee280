//! Captures of real kernels against their expected reports.
//!
//! `NTREC_BLESS=1` rewrites the reports; their diffs are reviewed like code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The folder of the captures.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// Names of the captures in the folder, without `.ntc`.
fn captures() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path());
    let captures = entries.filter(|p| p.extension().is_some_and(|e| e == "ntc"));
    captures.map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// What `ntana diag` says of a capture, in UTC so that it is the same everywhere.
fn report(capture: &str, format: &str) -> String {
    let mut ntana = Command::cargo_bin("ntana").unwrap();
    ntana
        .current_dir(folder())
        .args(["diag", "--time", "utc", "--format", format])
        .arg(format!("{capture}.ntc"));
    String::from_utf8(ntana.assert().success().get_output().stdout.clone()).unwrap()
}

/// Compares a report with the expected one.
fn check(capture: &str, format: &str, extension: &str) -> Option<String> {
    harness::compare(&folder().join(format!("{capture}.{extension}")), &report(capture, format)).err()
}

#[test]
fn every_capture_gives_its_expected_report() {
    let all = captures();
    assert!(all.len() >= 10, "fixtures are missing: {all:?}");
    let wrong = all.iter().flat_map(|c| [check(c, "text", "txt"), check(c, "json", "json")]).flatten();
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_in_the_readme_is_the_folder() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(".ntc`"));
    let listed: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(listed, captures());
    let reports = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let orphans: Vec<String> = reports
        .filter(|name| {
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            !["README.md", "old", "hosts"].contains(&name.as_str()) && !listed.contains(stem)
        })
        .collect();
    assert!(orphans.is_empty(), "without a capture: {orphans:?}");
}

#[test]
fn every_capture_is_small() {
    for capture in captures() {
        let size = fs::metadata(folder().join(format!("{capture}.ntc"))).unwrap().len();
        assert!(size < 100 << 10, "{capture}.ntc has {size} bytes");
    }
}

/// What `ntana latency` says of a capture.
fn latency(capture: &str, args: &[&str]) -> serde_json::Value {
    let mut ntana = Command::cargo_bin("ntana").unwrap();
    ntana
        .current_dir(folder())
        .args(["latency", "--format", "json"])
        .args(args)
        .arg(format!("{capture}.ntc"));
    let answer = ntana.assert().success().get_output().stdout.clone();
    serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["captures"][0].take()
}

#[test]
fn the_legs_of_each_way_that_was_recorded_add_up_to_it() {
    for capture in captures() {
        for model in ["in", "out", "forward"] {
            let answer = latency(&capture, &["--model", model, "--worst", "100000"]);
            let sum = |list: &serde_json::Value, what: &str| -> u64 {
                list.as_array().into_iter().flatten().filter_map(|item| item[what].as_u64()).sum()
            };
            let legs = &answer["models"][0]["legs"];
            let between =
                legs.as_array().unwrap().iter().filter(|leg| leg["from"].is_string()).cloned().collect();
            assert_eq!(sum(&between, "sum"), sum(&answer["worst"], "ns"), "{capture} {model}: ns");
            let passes = answer["worst"].as_array().map_or(0, Vec::len);
            assert!(passes > 0 || model != "out", "{capture} {model}: no packet");
            for slow in answer["worst"].as_array().into_iter().flatten() {
                let at = |end: &str| {
                    let events = slow["life"]["events"].as_array().unwrap();
                    events.iter().any(|event| event["ts"] == slow[end])
                };
                assert!(at("begin") && at("end"), "{capture} {model}: {slow:#}");
            }
        }
    }
}

#[test]
fn a_path_of_probed_functions_is_as_long_as_its_stages() {
    let ends = ["__ip_local_out", "dev_hard_start_xmit"];
    for kernel in ["6.1", "6.12", "7.x"] {
        let capture = format!("ping-{kernel}");
        let model = latency(&capture, &["--model", "tx-driver"]);
        let direct = latency(&capture, &["--from", ends[0], "--to", ends[1]]);
        let (of_model, of_ends) = (&model["models"][0]["legs"][0], &direct["models"][0]["legs"][0]);
        assert_eq!(of_model["count"], of_ends["count"], "{kernel}");
        assert_eq!(of_model["sum"], of_ends["sum"], "{kernel}");
        let way = latency(&capture, &["--model", "out"]);
        let legs = way["models"][0]["legs"].as_array().unwrap();
        let whole = legs.iter().find(|leg| leg["from"].is_null()).unwrap();
        assert_eq!([&whole["count"], &whole["sum"]], [&of_ends["count"], &of_ends["sum"]], "{kernel}");
    }
}

#[test]
fn every_drop_and_reset_reason_of_the_recorded_kernel_is_known() {
    let knowledge =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("knowledge/drops.toml")).unwrap();
    let knowledge: toml::Table = knowledge.parse().unwrap();
    let names = |table: &str| -> BTreeSet<String> {
        let rows = knowledge[table].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    let capture = ntc::Capture::open(&folder().join("demo.ntc")).unwrap();
    for (kernel_enum, table) in [("skb_drop_reason", "reason"), ("sk_rst_reason", "reset")] {
        let known = names(table);
        let of_kernel = &capture.metadata().enums[kernel_enum];
        assert!(of_kernel.len() > 20, "{of_kernel:?}");
        let unknown: Vec<&String> = of_kernel
            .values()
            .filter(|name| *name != "SKB_NOT_DROPPED_YET" && !known.contains(*name))
            .collect();
        assert!(unknown.is_empty(), "{table}: {unknown:?}");
    }
}
