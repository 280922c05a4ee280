//! Tracepoints whose arguments have no types: the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;

use lab::Net;

use super::hooks::SCENES;
use crate::recorder::{Recorder, Recording, binary, only_with};
use crate::rows::Row;
use crate::support::{beside_others, monotonic};

/// How often each event was recorded in a time, whenever exactly that was.
fn rows_within(recording: &Recording, time: &Range<u64>) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for mut row in recording.rows() {
        if row.seq.is_some() && time.contains(&row.ts) {
            (row.ts, row.seq) = (0, None);
            if &*row.probe == "net_dev_xmit" {
                row = without_header(row);
            }
            *found.entry(format!("{row:?}")).or_default() += 1;
        }
    }
    found
}

/// How the tracepoints of the profile `life` are attached.
fn backends(probes: &[ntc::Probe]) -> BTreeSet<String> {
    let is_tracepoint = |name| ntc::catalog::by_name(name).is_some_and(|entry| entry.tracepoint.is_some());
    // A kernel without devlink does not have its tracepoint.
    let is_there = |probe: &ntc::Probe| probe.error.is_none() || probe.name != "devlink_trap_report";
    let tracepoints = probes.iter().filter(|probe| is_tracepoint(&probe.name) && is_there(probe));
    let tracepoints: Vec<_> = tracepoints.collect();
    assert!(tracepoints.len() > 30, "{tracepoints:?}");
    tracepoints.iter().map(|probe| probe.backend.clone()).collect()
}

/// A row without what the decoder knows of the packet from earlier rows: whether it still does depends on whether another
/// CPU has freed the packet meanwhile.
fn without_header(row: Row) -> Row {
    let Row { ts, cpu, seq, kind, probe, pid, comm, ctx, skb, netns, dev, len, .. } = row;
    Row { ts, cpu, seq, kind, probe, pid, comm, ctx, skb, netns, dev, len, ..Row::default() }
}

#[test]
fn raw_tp_records_what_tp_btf_records() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let start = |backend| {
        let hosts = [&net.client, &net.router, &net.server];
        Recorder::start(&only_with(&hosts, &["--profile", "life", "--backend", backend]))
    };
    let recorders = ["tp_btf", "raw_tp"].map(start);
    let begun = monotonic();
    for scene in &SCENES {
        (scene.play)(&net).unwrap_or_else(|error| panic!("{:?}: {error:#}", scene.probes));
    }
    let time = begun..monotonic();
    let [typed, raw] = recorders.map(Recorder::stop);
    for (recording, backend) in [(&typed, "tp_btf"), (&raw, "raw_tp")] {
        assert_eq!(backends(&recording.metadata().probes), BTreeSet::from([backend.to_owned()]));
    }
    let (typed, raw) = (rows_within(&typed, &time), rows_within(&raw, &time));
    assert!(typed.len() > 100, "{typed:?}");
    let differs = |(row, _): &(&String, &u32)| typed.get(*row) != raw.get(*row);
    let different: Vec<_> = typed.iter().chain(&raw).filter(differs).collect();
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn a_kernel_without_types_is_recorded_with_those_of_a_file() {
    let Some(_turn) = beside_others() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (types, file) = (dir.path().join("vmlinux.btf"), dir.path().join("new.ntc"));
    fs::copy("/sys/kernel/btf/vmlinux", &types).unwrap();
    let script = format!(
        "mount -t tmpfs none /sys/kernel/btf; mount -t tmpfs none /boot;
         exec {} capture --profile life --duration 1ms --btf {} -o {}",
        binary(),
        types.display(),
        file.display()
    );
    let output = harness::program("unshare").args(["--mount", "sh", "-e", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let probes = ntc::Capture::open(&file).unwrap().metadata().probes.clone();
    assert_eq!(backends(&probes), BTreeSet::from(["raw_tp".to_owned()]));
}
