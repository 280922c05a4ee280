//! A closed capture is plain Parquet: `DuckDB`, Polars and pyarrow read it and agree with `ntana`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command and returns what it printed; its errors are the test's.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The virtual environment with the libraries in it, as `scripts/setup test` makes it; `None` if it is not there, and said.
fn python() -> Option<PathBuf> {
    let folder = root().join("target/readers");
    let text = |path: PathBuf| std::fs::read_to_string(path).ok();
    let complete = text(folder.join("complete"));
    if complete.is_none() || complete != text(root().join("tests/readers.txt")) {
        harness::skip("target/readers is not what tests/readers.txt lists: run scripts/setup test");
        return None;
    }
    Some(folder.join("bin/python"))
}

/// What `ntana info` says of a capture.
fn info(capture: &Path) -> Value {
    let ntana = Path::new(env!("CARGO_BIN_EXE_ntrec")).with_file_name("ntana");
    let text = output(harness::own(ntana).args(["info", "--format", "json"]).arg(capture));
    serde_json::from_str(&text).unwrap()
}

/// Rows by probe, as one of the libraries counts them; clock and loss rows are of the recorder itself.
fn rows_by_probe(table: &Value) -> BTreeMap<String, u64> {
    let events = table.as_array().unwrap().iter().filter(|row| row[0] != "clock" && row[0] != "loss");
    events.map(|row| (row[1].as_str().unwrap().to_owned(), row[2].as_u64().unwrap())).collect()
}

#[test]
fn other_readers_agree_with_ntana() {
    let Some(python) = python() else { return };
    for capture in ["demo", "tcp-closed-port"] {
        let path = root().join(format!("fixtures/{capture}.ntc"));
        let text = output(harness::own(&python).arg(root().join("tests/readers.py")).arg(&path));
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["duckdb"], found["polars"]);
        assert_eq!(found["duckdb"], found["pyarrow"]);
        let info = info(&path);
        let info = &info["captures"][0];
        assert_eq!(info["head"]["kernel"], found["kernel"], "{info}");
        let counted = rows_by_probe(&found["duckdb"]);
        let of_ntana = serde_json::from_value::<BTreeMap<String, u64>>(info["probes"].clone()).unwrap();
        assert_eq!(counted, of_ntana);
    }
}

/// Rows and bytes by kind and probe, as `ntana stats` counts them.
fn stats(capture: &Path) -> BTreeMap<(String, String), (u64, u64)> {
    let ntana = Path::new(env!("CARGO_BIN_EXE_ntrec")).with_file_name("ntana");
    let args = ["stats", "--by", "kind,probe", "--format", "json"];
    let text = output(harness::own(ntana).args(args).arg(capture));
    let answer: Value = serde_json::from_str(&text).unwrap();
    let of_group = |group: &Value| {
        let text = |name: &str| group[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| group[name].as_u64().unwrap_or(0);
        ((text("kind"), text("probe")), (number("events"), number("bytes")))
    };
    answer["captures"][0]["groups"].as_array().unwrap().iter().map(of_group).collect()
}

#[test]
fn stats_counts_rows_and_bytes_as_other_readers_do() {
    let Some(python) = python() else { return };
    for capture in ["demo", "ping-6.12", "syn-backlog-full"] {
        let path = root().join(format!("fixtures/{capture}.ntc"));
        let text = output(harness::own(&python).arg(root().join("tests/readers.py")).arg(&path));
        let found: Value = serde_json::from_str(&text).unwrap();
        let rows = found["duckdb"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let counted: BTreeMap<(String, String), (u64, u64)> = rows
            .filter(|row| row[0] != "clock" && row[0] != "loss")
            .map(|row| ((text(&row[0]), text(&row[1])), (row[2].as_u64().unwrap(), row[3].as_u64().unwrap())))
            .collect();
        assert!(counted.len() > 10, "{capture}: {counted:?}");
        assert_eq!(stats(&path), counted, "{capture}");
    }
}

#[test]
fn what_other_programs_write_anew_is_a_capture() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let original = root().join("fixtures/demo.ntc");
    output(
        harness::own(&python).arg(root().join("tests/rewrite.py")).args([original.as_path(), folder.path()]),
    );
    let counts = |info: &Value| (info["captures"][0]["kinds"].clone(), info["captures"][0]["probes"].clone());
    let expected = counts(&info(&original));
    for name in ["duckdb.ntc", "pyarrow.ntc"] {
        assert_eq!(counts(&info(&folder.path().join(name))), expected, "{name}");
    }
    let ntana = Path::new(env!("CARGO_BIN_EXE_ntrec")).with_file_name("ntana");
    let said = harness::own(ntana).arg("info").arg(folder.path().join("without_key.ntc")).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("without the key ntc in its metadata"),
        "{said:?}"
    );
}
