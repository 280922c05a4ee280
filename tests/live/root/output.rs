//! What a recording says and leaves.

use std::fs;
use std::os::unix::fs::MetadataExt;

use lab::{Net, traffic};

use crate::recorder::{binary, only, record};
use crate::support::beside_others;

#[test]
fn the_file_is_its_owners_alone() {
    let Some(_turn) = beside_others() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.ntc");
    let record = |more: &str| {
        let script =
            format!("umask 0; exec {} capture --duration 1ms -o {} {more}", binary(), file.display());
        assert!(harness::program("sh").args(["-c", &script]).output().unwrap().status.success());
        fs::metadata(&file).unwrap().mode() & 0o7777
    };
    assert_eq!(record(""), 0o600);
    assert_eq!(record("--force"), 0o600);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine.ntc"]);
}

#[test]
fn the_summary_names_events_file_and_next_command() {
    let Some(_turn) = beside_others() else { return };
    let host = Net::alone().unwrap();
    let recording = record(&only(&[&host]), || {
        traffic::udp_echo(&host, &host, host.at(7001), 10, 100).unwrap();
    });
    let said: Vec<&str> = recording.stderr.lines().filter(|line| !is_about_functions(line)).collect();
    let (file, events) = (recording.file.display(), recording.metadata().totals.recorded());
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with(&format!("ntrec: recording to {file} with ")), "{said:?}");
    assert!(said[1].starts_with(&format!("ntrec: {events} events in ")), "{said:?}");
    assert!(said[1].contains(&file.to_string()) && said[1].contains("SIGINT"), "{said:?}");
    assert!(said[2].ends_with(&format!("ntana diag {file}")), "{said:?}");
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let Some(_turn) = beside_others() else { return };
    let (host, dir) = (Net::alone().unwrap(), tempfile::tempdir().unwrap());
    let args = format!("capture --duration 2200ms --netns {} -o {}", host.inode(), dir.path().display());
    let on_terminal = harness::program("script")
        .args(["-q", "-e", "-c", &format!("{} {args}/terminal.ntc", binary()), "/dev/null"])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&on_terminal.stdout).into_owned();
    assert!(on_terminal.status.success(), "{shown}");
    assert!(
        shown.matches("0 events").count() > 1 && shown.contains("\r") && shown.contains("lost"),
        "{shown:?}"
    );
    let into_a_pipe = harness::own(binary()).args(format!("{args}/pipe.ntc").split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&into_a_pipe.stderr).into_owned();
    assert!(into_a_pipe.status.success() && into_a_pipe.stdout.is_empty());
    assert!(!said.contains(['\r', '\u{1b}']), "{said:?}");
    assert_eq!(said.lines().filter(|line| !is_about_functions(line)).count(), 3, "{said:?}");
}

/// Whether a line says that this kernel's functions cannot be probed.
fn is_about_functions(line: &str) -> bool {
    line.starts_with("ntrec: tracepoints only, since ")
}
