//! What `ntrec check` and `ntrec probes` promise, a recording keeps.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use lab::{Net, traffic};

use crate::anywhere::{json, ntrec};
use crate::recorder::{Recorder, Recording, binary, only_with, record};
use crate::support::beside_others;

#[test]
fn probes_are_recorded_as_they_are_listed() {
    let Some(_turn) = beside_others() else { return };
    let listed = json(&ntrec(&["probes", "--format", "json"]));
    let listed: BTreeMap<&str, bool> = listed["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| (probe["name"].as_str().unwrap(), probe["backend"].is_string()))
        .collect();
    let arguments: [&str; 0] = [];
    for probe in record(&arguments, || ()).metadata().probes {
        assert_eq!(listed.get(probe.name.as_str()), Some(&probe.error.is_none()), "{probe:?}");
    }
}

#[test]
fn check_agrees_with_a_recording() {
    let Some(_turn) = beside_others() else { return };
    let report = json(&ntrec(&["check", "--format", "json"]));
    assert_ne!(report["records"], "nothing", "{report}");
    let arguments: [&str; 0] = [];
    let probes = record(&arguments, || ()).metadata().probes;
    let functions =
        probes.iter().any(|p| p.error.is_none() && !["tp_btf", "raw_tp"].contains(&p.backend.as_str()));
    assert_eq!(report["records"] == "functions", functions, "{report}");
}

#[test]
fn a_file_with_the_kernels_types_gives_the_same_recording() {
    let Some(_turn) = beside_others() else { return };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("types");
    fs::copy("/sys/kernel/btf/vmlinux", &copy).unwrap();
    let host = Net::alone().unwrap();
    let arguments = [&[][..], &["--btf", copy.to_str().unwrap()]];
    let recorders = arguments.map(|own| Recorder::start(&only_with(&[&host], own)));
    assert_eq!(traffic::ping(&host, host.v4(), 3).unwrap().answered, 3);
    assert_eq!(traffic::udp_echo(&host, &host, host.at(7001), 3, 100).unwrap().answered, 3);
    let [own, given] = recorders.map(Recorder::stop);
    let probes = |recording: &Recording| {
        let probes = recording.metadata().probes.into_iter();
        probes.map(|probe| (probe.name, probe.error.is_none())).collect::<Vec<_>>()
    };
    assert_eq!(probes(&given), probes(&own));
    let packets = |recording: &Recording| {
        let rows = recording.rows().into_iter().filter(|row| &*row.kind == "pkt");
        let told = rows.map(|row| (row.probe, row.skb, row.len, row.protocol, row.dev, row.saddr, row.sport));
        told.collect::<Vec<_>>()
    };
    assert!(packets(&own).len() >= 24, "{:?}", packets(&own));
    assert_eq!(packets(&given), packets(&own));
}

#[test]
fn who_asks_for_tracepoints_is_told_nothing_of_functions() {
    let Some(_turn) = beside_others() else { return };
    let said = record(&["--probe", "kfree_skb,sk_data_ready"], || ()).stderr;
    assert!(said.contains("with 2 probes") && !said.contains("functions"), "{said}");
}

#[test]
fn flags_about_functions_are_taken_where_these_can_be_probed_only() {
    let Some(_turn) = beside_others() else { return };
    let functions = json(&ntrec(&["check", "--format", "json"]))["records"] == "functions";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.ntc");
    for flag in ["--hooks", "--nft-trace"] {
        let output = ntrec(&["capture", "--duration", "1ms", flag, "-o", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(if functions { 0 } else { 2 }), "{said}");
        assert_eq!(file.exists(), functions);
        if functions {
            fs::remove_file(&file).unwrap();
            continue;
        }
        assert!(said.contains(flag) && said.contains("ntrec check") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn without_privileges_the_list_is_there_and_check_says_what_is_missing() {
    let Some(_turn) = beside_others() else { return };
    let dir = tempfile::tempdir().unwrap();
    // The build's directory need not be readable by everybody.
    let copy = dir.path().join("ntrec");
    fs::copy(binary(), &copy).unwrap();
    for path in [dir.path(), &copy] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = |args: &[&str]| {
        let mut command = harness::program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(args);
        command.output().unwrap()
    };
    let list = as_nobody(&["probes", "--format", "json"]);
    let said = String::from_utf8_lossy(&list.stderr).into_owned();
    assert!(list.status.success() && said.contains("CAP_BPF") && said.lines().count() == 1, "{said}");
    let listed = json(&list);
    assert_eq!(listed["tried"], false);
    assert!(
        listed["probes"].as_array().unwrap().iter().any(|p| p["backend"].is_null() && p["reason"].is_null())
    );
    let check = as_nobody(&["check"]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(2), "{said}");
    assert!(said.contains("CAP_BPF") && said.contains("root") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_kernel_without_types_records_nothing() {
    let Some(_turn) = beside_others() else { return };
    let script = format!("mount -t tmpfs none /sys/kernel/btf; exec {} check --format json", binary());
    let output = harness::program("unshare").args(["--mount", "sh", "-e", "-c", &script]).output().unwrap();
    let report = json(&output);
    assert_eq!(report["records"], "nothing", "{report}");
    assert_eq!(output.status.code(), Some(2), "{report}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("CONFIG_DEBUG_INFO_BTF"));
}
