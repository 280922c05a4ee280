//! A guest that records, and what it left.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::cargo::cargo_bin;
use lab::scenario::{Ring, SCENARIOS};

use crate::numbered::NUMBERED;

/// The project's folder, which guests see at the same place.
pub const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// How long a guest may take, seconds: attaching hundreds of kprobes for each scenario is slow on old kernels.
const PATIENCE: &str = "3600";

/// Ways to follow packets: what `tests/vm/record` calls the recordings.
pub const FOLLOWED: [&str; 4] = ["free-none", "free", "clone-all", "clone-none"];

/// A kernel of `scripts/kernels`.
pub struct Kernel {
    /// Its folder below `target/kernels`.
    pub name: &'static str,
    /// Whether the tests can do without it.
    pub need: Need,
}

/// Whether the tests can do without a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Without it they fail.
    Required,
    /// Without it they say so.
    Wanted,
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
    /// What it recorded.
    pub recordings: Vec<Recording>,
    /// What it recorded of [`FOLLOWED`].
    pub followed: [Recording; 4],
    /// What it recorded of [`NUMBERED`], where it was asked to.
    pub numbered: Vec<Recording>,
}

/// One scenario that was recorded.
pub struct Recording {
    /// The scenario's name, or what it shows; `raw`: that of a ping, by tracepoints without types.
    pub scenario: &'static str,
    /// Exit status of `lab run`; absent if the guest did not get that far.
    pub status: Option<i32>,
    /// What the recorder said, and why `lab run` failed.
    pub stderr: String,
    /// The capture, if there is one.
    pub file: PathBuf,
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
        let played =
            SCENARIOS.iter().filter(|s| s.ring == Ring::Guest || ["demo", "healthy"].contains(&s.name));
        let names = std::iter::once("raw").chain(played.map(|scenario| scenario.name));
        let recording = |scenario| Recording {
            scenario,
            status: text(format!("{scenario}.status")).trim().parse().ok(),
            stderr: text(format!("{scenario}.stderr")),
            file: folder.join(format!("{scenario}.ntc")),
        };
        Guest {
            kernel: self.name,
            moved: self.moved(),
            console: text("console".to_owned()),
            tables: text("tables".to_owned()),
            late: folder.join("late.ntc"),
            recordings: names.map(recording).collect(),
            followed: FOLLOWED.map(recording),
            // Where functions are attached one by one that takes too long.
            numbered: if self.name == "6.12" { NUMBERED.map(recording).into() } else { Vec::new() },
        }
    }
}
