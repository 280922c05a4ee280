//! A guest that records, and what it left.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use assert_cmd::cargo::cargo_bin;
use lab::scenario::{Ring, SCENARIOS, Scenario};
use lab::{Begun, Delayed};

use crate::numbered::NUMBERED;

/// The project's folder, which guests see at the same place.
pub const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// How long a guest may take, seconds: attaching hundreds of functions one by one takes minutes where others build.
const PATIENCE: &str = "3600";

/// Recordings of scenarios, as `tests/vm/record` calls them. `raw` is one of a ping, by tracepoints without types; the last one
/// begins when modules of all scenarios are loaded.
pub const RECORDINGS: [&str; 6] = ["together", "nft-chain", "delay", "raw", "ovs-host", "ovs"];

/// Ways to follow packets: what `tests/vm/record` calls the recordings.
pub const FOLLOWED: [&str; 4] = ["free-none", "free", "clone-all", "clone-none"];

/// A kernel of `scripts/kernels`.
pub struct Kernel {
    /// Its folder below `target/kernels`.
    pub name: &'static str,
    /// Whether the tests can do without it.
    pub need: Need,
    /// What is recorded in it beside the scenarios.
    pub more: &'static [More],
}

/// What is recorded on some kernels only, by the names that `tests/vm/record` has for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// [`FOLLOWED`]. The recorder does it in the same way on all kernels, but for how functions are probed.
    Following,
    /// [`NUMBERED`]. Where functions are attached one by one that takes too long.
    Numbered,
}

impl More {
    /// Its name.
    fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Numbered => "numbered",
        }
    }
}

/// Whether the tests can do without a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it they fail.
    Required,
    /// Without it they say so.
    Wanted,
}

/// The analyzer that judges: the one beside the recorder that `NTREC` names, which is shipped, and faster than the tests' own.
pub fn analyzer() -> PathBuf {
    std::env::var_os("NTREC").map_or_else(
        || cargo_bin("ntana"),
        |recorder| Path::new(PROJECT).join(recorder).with_file_name("ntana"),
    )
}

/// What a guest left.
pub struct Guest {
    /// The name of its kernel.
    pub kernel: &'static str,
    /// Why its kernel is not the one that is expected: Debian's newest moves on.
    pub moved: Option<String>,
    /// What its kernel said at the console.
    pub console: String,
    /// Tables of nftables while a recorder has rules traced and after it ended, by signal.
    pub tables: String,
    /// A capture beside which the module `dummy` was loaded.
    pub late: PathBuf,
    /// What it recorded of scenarios.
    pub recordings: [Recording; RECORDINGS.len()],
    /// What it recorded of [`FOLLOWED`], where it was asked to.
    pub followed: Option<[Recording; 4]>,
    /// What it recorded of [`NUMBERED`], where it was asked to.
    pub numbered: Vec<Recording>,
}

/// A recording of scenarios that were played one after the other.
pub struct Recording {
    /// How `tests/vm/record` calls it.
    pub name: &'static str,
    /// Exit status of `lab run`; absent if the guest did not get that far.
    pub status: Option<i32>,
    /// What the recorder said, and why `lab run` failed.
    pub stderr: String,
    /// The capture, if there is one.
    pub file: PathBuf,
    /// What was played, in this order.
    pub played: Vec<Begun>,
    /// What became of datagrams that a netem held back.
    pub delayed: Vec<Delayed>,
}

/// The part of a recording that is one scenario's.
#[derive(Debug)]
pub struct Part<'a> {
    /// What the expected file of its packets' ways is called: the scenario, or `raw`.
    pub name: &'a str,
    /// The capture.
    pub file: &'a Path,
    /// What became of the recording's datagrams that a netem held back.
    pub delayed: &'a [Delayed],
    /// Its namespaces' inode numbers, with commas.
    pub namespaces: String,
    /// Its time, ns of CLOCK_MONOTONIC: until the next scenario's begins. Before the first and after the last scenario all is
    /// theirs, so that nothing in the capture is nobody's.
    pub time: Range<u64>,
}

impl Recording {
    /// Its parts.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.played.iter().enumerate().map(|(place, begun)| {
            let next = self.played.get(place + 1).map_or(u64::MAX, |next| next.at);
            let namespaces: Vec<String> = begun.namespaces.iter().map(u64::to_string).collect();
            Part {
                name: if self.name == "raw" { self.name } else { &begun.scenario },
                file: &self.file,
                delayed: &self.delayed,
                namespaces: namespaces.join(","),
                time: if place == 0 { 0 } else { begun.at }..next,
            }
        })
    }
}

/// Scenarios that guests play.
pub fn scenarios() -> impl Iterator<Item = &'static str> {
    let played =
        |scenario: &&Scenario| scenario.ring == Ring::Guest || ["demo", "healthy"].contains(&scenario.name);
    SCENARIOS.iter().filter(played).map(|scenario| scenario.name)
}

impl Kernel {
    /// Boots a guest that records every scenario; `None`, with the reason printed, if that is not asked for.
    pub fn record(&self) -> Option<Guest> {
        let Some(asked) = std::env::var_os("NTREC_VM") else {
            // In CI, too: there `make test-vm` comes later.
            eprintln!("skipped: a guest takes minutes; `make test-vm` boots one for each kernel");
            return None;
        };
        let target = Path::new(PROJECT).join("target");
        if !target.join("kernels").join(self.name).join("version").exists() {
            assert!(self.need == Need::Wanted, "kernel {} is missing; run scripts/kernels", self.name);
            harness::skip(&format!("kernel {} is missing; scripts/kernels says why", self.name));
            return None;
        }
        let folder = target.join("vm").join(self.name);
        if asked != "again" {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            self.boot();
        }
        Some(self.read(&folder))
    }

    /// Runs the guest to its end. That it fails shows in what it left. All paths are relative to the project, since the
    /// captures keep their command lines, and some become fixtures.
    fn boot(&self) {
        let folder = Path::new("target/vm").join(self.name);
        let recorder =
            std::env::var_os("NTREC").expect("NTREC names the recorder, as scripts/test-vm sets it");
        let mut command = harness::own(Path::new(PROJECT).join("scripts/guest"));
        command.arg("--out").arg(&folder).arg("--console").arg(folder.join("console"));
        command.args(["--time", PATIENCE, self.name, "tests/vm/record"]);
        command.arg(&folder).arg(cargo_bin("lab")).arg(recorder);
        command.args(self.more.iter().map(|more| more.name()));
        let status = command.current_dir(PROJECT).status().unwrap();
        eprintln!("guest with kernel {}: {status}", self.name);
    }

    /// Whether the kernel is another than that of `expected/KERNEL/version.txt`, where one stands.
    fn moved(&self) -> Option<String> {
        let version = |path: String| fs::read_to_string(Path::new(PROJECT).join(path)).ok();
        let expected = version(format!("tests/vm/expected/{}/version.txt", self.name))?;
        let found = version(format!("target/kernels/{}/version", self.name))?;
        let same = found.trim().strip_prefix(expected.trim()).is_some_and(|rest| rest.starts_with('.'));
        (!same).then(|| format!("it is {}, and {} is expected", found.trim(), expected.trim()))
    }

    /// Reads what the guest left.
    fn read(&self, folder: &Path) -> Guest {
        let text = |name: String| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let recording = |name| Recording {
            name,
            status: text(format!("{name}.status")).trim().parse().ok(),
            stderr: text(format!("{name}.stderr")),
            file: folder.join(format!("{name}.ntc")),
            played: text(format!("{name}.told")).lines().filter_map(|line| line.parse().ok()).collect(),
            delayed: text(format!("{name}.told")).lines().filter_map(|line| line.parse().ok()).collect(),
        };
        let has = |more| self.more.contains(&more);
        Guest {
            kernel: self.name,
            moved: self.moved(),
            console: text("console".to_owned()),
            tables: text("tables".to_owned()),
            late: folder.join("late.ntc"),
            recordings: RECORDINGS.map(recording),
            followed: has(More::Following).then(|| FOLLOWED.map(recording)),
            numbered: if has(More::Numbered) { NUMBERED.map(recording).into() } else { Vec::new() },
        }
    }
}
