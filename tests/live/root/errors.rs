//! Recordings that cannot begin: one sentence, status 2, and nothing is left behind.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::recorder::binary;
use crate::support::{Tmpfs, beside_others};

/// A directory of its own, which anybody may read and write.
fn open_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    dir
}

/// `ntrec capture` to a file; should it begin after all, it ends at once.
fn capture<S: AsRef<OsStr>>(file: &Path, args: &[S]) -> Command {
    let mut command = harness::own(binary());
    command.args(["capture", "--duration", "1ms", "-o"]).arg(file).args(args);
    command
}

/// What is in a directory: files with their contents.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect()
}

/// Checks that a command fails with one sentence that has these words, and leaves `dir` as it was.
fn check_refusal(dir: &Path, command: &mut Command, words: &[&str]) {
    let before = contents(dir);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let told = format!("{command:?} ended with {}: {said}", output.status);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty(), "{told}");
    // Errors of the command line end with a hint.
    let hint = |line: &&str| line.starts_with("For more information") || line.starts_with("Usage:");
    let sentences: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty() && !hint(line)).collect();
    assert_eq!(sentences.len(), 1, "{told}");
    for word in words {
        assert!(sentences[0].contains(word), "no '{word}': {told}");
    }
    assert!(!said.contains("panicked") && !said.contains("Caused by"), "{told}");
    assert_eq!(contents(dir), before, "{told}");
}

#[test]
fn a_file_that_is_there_is_not_overwritten_without_force() {
    let Some(_turn) = beside_others() else { return };
    let dir = open_dir();
    let file = dir.path().join("old.ntc");
    fs::write(&file, "old").unwrap();
    check_refusal(dir.path(), &mut capture::<&str>(&file, &[]), &["old.ntc", "exists", "--force"]);
}

#[test]
fn outputs_that_cannot_be_are_refused() {
    let Some(_turn) = beside_others() else { return };
    let dir = open_dir();
    let none: [&str; 0] = [];
    check_refusal(dir.path(), &mut capture(Path::new("-"), &none), &["-o -", "name a file"]);
    check_refusal(dir.path(), &mut capture(dir.path(), &none), &["is a directory"]);
    let missing = dir.path().join("missing/new.ntc");
    check_refusal(dir.path(), &mut capture(&missing, &none), &["missing", "No such file or directory"]);
    assert!(!Path::new("-").exists());
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let Some(_turn) = beside_others() else { return };
    let dir = open_dir();
    let file = dir.path().join("new.ntc");
    for (args, words) in [
        (["--probe", "net_dev_que"], ["net_dev_que", "net_dev_queue"]),
        (["--no-probe", "kfree"], ["kfree", "kfree_skb"]),
        (["--probe", "nonsense"], ["nonsense", "`ntrec probes` lists them"]),
        (["--stack", "netif_rx"], ["netif_rx", "kfree_skb"]),
        (["--dev", "nosuch0"], ["nosuch0", "device"]),
        (["--dev", "a-name-that-is-too-long"], ["a-name-that-is-too-long", "15"]),
        (["--addr", "example.com"], ["example.com", "not looked up"]),
        (["--src", "10.1.2.3/33"], ["33", "0 to 32"]),
        (["--dst", "fd77::/129"], ["129", "0 to 128"]),
        (["--port", "9-1"], ["9-1", "smaller one first"]),
        (["--sport", "http"], ["http", "smaller one first"]),
        (["--port", "65536"], ["65536", "65535"]),
        (["--proto", "quic"], ["quic", "tcp"]),
        (["--netns", "nosuch"], ["nosuch", "namespace"]),
        (["--pid", "1,2,3,4,5,6,7,8,9"], ["ntrec: --pid takes at most 8 values", "not 9"]),
        (["--tcp-flags", "SX"], ["SX", "FSRPAUEC"]),
        (["--buffer-size", "M"], ["'M'", "64M"]),
        (["--buffer-size", "64X"], ["64X", "K, M, G or T"]),
        (["--buffer-size", "2G"], ["--buffer-size", "1G"]),
        (["--max-size", "0"], ["0", "more than nothing"]),
        (["--rate-limit", "0"], ["0", "--rate-limit"]),
        (["--match", "nosuch"], ["--match", "nosuch"]),
        (["--free", "kfree_skb"], ["--free", "tracepoint"]),
        (["--btf", "/etc/passwd"], ["/etc/passwd", "neither BTF nor"]),
        (["--btf", "/nosuch"], ["/nosuch", "No such file"]),
        (["--inner", "--durable"], ["--inner", "expression"]),
        (["tcp", "prt"], ["'prt' (word 2)", "syntax error"]),
        (["inbound", ""], ["inbound", "--match netif_receive_skb"]),
        (["ip and arp", ""], ["'and' (word 2)", "rejects all packets"]),
        (["--duration", "soon"], ["soon", "--duration"]),
    ] {
        // The trial's own duration would be the first one given.
        let mut command = harness::own(binary());
        command.args(["capture", "-o"]).arg(&file).args(args);
        if args[0] != "--duration" {
            command.args(["--duration", "1ms"]);
        }
        check_refusal(dir.path(), &mut command, &words);
    }
}

#[test]
fn who_may_not_record_is_told_what_is_missing() {
    let Some(_turn) = beside_others() else { return };
    let (dir, tools) = (open_dir(), open_dir());
    // The build's directory need not be readable by everybody.
    let copy = tools.path().join("ntrec");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let mut command = harness::program("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    command.args(["capture", "--duration", "1ms", "-o"]).arg(dir.path().join("new.ntc"));
    check_refusal(dir.path(), &mut command, &["CAP_BPF", "root"]);
}

/// Runs a shell script with mounts of its own before `exec`.
fn with_mounts(script: &str, command: &Command) -> Command {
    let mut outer = harness::program("unshare");
    outer.args(["--mount", "sh", "-e", "-c", &format!("{script}; exec \"$@\""), "sh"]);
    outer.arg(command.get_program()).args(command.get_args());
    outer
}

#[test]
fn a_kernel_without_types_is_named_as_the_reason() {
    let Some(_turn) = beside_others() else { return };
    let dir = open_dir();
    let recorder = capture::<&str>(&dir.path().join("new.ntc"), &[]);
    let mut command = with_mounts("mount -t tmpfs none /sys/kernel/btf", &recorder);
    check_refusal(dir.path(), &mut command, &["BTF", "CONFIG_DEBUG_INFO_BTF"]);
}

#[test]
fn a_file_system_that_is_read_only_is_named_as_the_reason() {
    let Some(_turn) = beside_others() else { return };
    let (dir, disk) = (open_dir(), Tmpfs::new("8m"));
    let recorder = capture::<&str>(&disk.path().join("new.ntc"), &[]);
    let script = format!("mount -o remount,bind,ro {0} {0}", disk.path().display());
    check_refusal(dir.path(), &mut with_mounts(&script, &recorder), &["Read-only file system"]);
    assert!(contents(disk.path()).is_empty());
}

#[test]
fn a_file_system_without_room_is_named_as_the_reason() {
    let Some(_turn) = beside_others() else { return };
    let disk = Tmpfs::new("1m");
    check_refusal(disk.path(), &mut capture::<&str>(&disk.path().join("new.ntc"), &[]), &["free"]);
}

#[test]
fn a_start_that_fails_leaves_the_old_file_as_it_was() {
    let Some(_turn) = beside_others() else { return };
    let disk = Tmpfs::new("1m");
    let file = disk.path().join("old.ntc");
    fs::write(&file, "old").unwrap();
    let failing: [&[&str]; 4] = [
        &["--force", "--probe", "nonsense"],
        &["--force", "--dev", "nosuch0"],
        &["--force", "--buffer-size", "2G"],
        &["--force"],
    ];
    for args in failing {
        check_refusal(disk.path(), &mut capture(&file, args), &[]);
    }
    let forced = capture(&file, &["--force"]);
    check_refusal(disk.path(), &mut with_mounts("mount -t tmpfs none /sys/kernel/btf", &forced), &["BTF"]);
}
