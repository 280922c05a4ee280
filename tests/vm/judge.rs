//! What a guest's recordings must be like.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use ntc::{Capture, Probe, State};

use crate::guest::{Guest, PROJECT, Recording};
use crate::rows;

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
    complaints
}

/// Judges one recording.
fn one(guest: &Guest, recording: &Recording) -> Result<(), String> {
    let Recording { scenario, status, stderr, file } = recording;
    let complain = |what: &dyn std::fmt::Display| format!("{scenario}: {what}");
    match status {
        Some(0) => {}
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
    info(file).map_err(|error| complain(&error))?;
    expect(guest, "probes", &attached(&capture)).map_err(|error| complain(&error))?;
    expect(guest, scenario, &passed(&capture)).map_err(|error| complain(&error))
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

/// `ntana info` opens the file without complaint.
fn info(file: &Path) -> Result<(), String> {
    let mut command = Command::cargo_bin("ntana").unwrap();
    let output = command.args(["info", "--format", "json"]).arg(file).output().unwrap();
    let well = output.status.success() && output.stderr.is_empty();
    let answered = serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok();
    let said = String::from_utf8_lossy(&output.stderr);
    if well && answered { Ok(()) } else { Err(format!("ntana info: {}: {said}", output.status)) }
}

/// The probes with their backends, one a line.
fn attached(capture: &Capture) -> String {
    capture.metadata().probes.iter().fold(String::new(), |mut text, Probe { name, backend, .. }| {
        let backend = if backend.is_empty() { "not attached" } else { backend };
        let _ = writeln!(text, "{name} {backend}");
        text
    })
}

/// The probes that packets passed, in the order in which they were first passed, one a line. The first packet
/// sets most of it, and passes them one after the other whatever the number of CPUs.
fn passed(capture: &Capture) -> String {
    let mut seen = BTreeSet::new();
    let packets = rows::read(capture).into_iter().filter(|row| &*row.kind == "pkt");
    let first = packets.filter(|row| seen.insert(row.probe.clone()));
    first.fold(String::new(), |text, row| text + &row.probe + "\n")
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
