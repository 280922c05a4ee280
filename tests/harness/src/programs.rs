//! The one way in which tests start programs, so that a fresh machine has them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The project.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A command that runs a program of the distribution: one of `tests/programs.txt`. What that one starts in turn is found
/// among them only.
#[track_caller]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let (name, folder) = (name.as_ref(), folder());
    let there = Path::new(name).components().count() == 1 && folder.join(name).exists();
    assert!(
        there,
        "a test starts `{}`, which is not installed, or not among the programs of tests/programs.txt for tests: list \
         it there, then run scripts/setup test",
        name.display()
    );
    within(Command::new(name))
}

/// A command that runs a program that was built or made here, by its path. What that one starts is found as [`program`]
/// says.
#[track_caller]
pub fn own(path: impl AsRef<OsStr>) -> Command {
    let path = Path::new(path.as_ref());
    assert!(path.components().count() > 1, "`{}` is no path: use harness::program", path.display());
    within(Command::new(path))
}

/// The command with the listed programs in its PATH, and no others.
fn within(mut command: Command) -> Command {
    command.env("PATH", folder());
    command
}

/// The folder of the listed programs: NTREC_PROGRAMS, which whoever has made it sets; otherwise that of `test`.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::var_os("NTREC_PROGRAMS").map_or_else(made, PathBuf::from))
}

/// What `scripts/programs test` makes.
fn made() -> PathBuf {
    let output = Command::new(Path::new(ROOT).join("scripts/programs")).arg("test").output();
    let output =
        output.unwrap_or_else(|error| unreachable!("scripts/programs is part of the project: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/programs: {said}");
    PathBuf::from(OsString::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Rust files below a folder, but those of this crate and of builds.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            if entry.is_dir() && !["target", "harness"].contains(&name) && !name.starts_with('.') {
                sources(&entry, found);
            } else if name.ends_with(".rs") {
                found.push(entry);
            }
        }
    }

    #[test]
    fn tests_start_programs_in_no_other_way() {
        let mut found = Vec::new();
        sources(Path::new(ROOT), &mut found);
        assert!(found.len() > 100, "{found:?}");
        // The recorder starts none, and the analyzer one: `ntana query` runs its companion.
        found.retain(|file| !file.ends_with("analyzer/src/commands/query.rs"));
        found.retain(|file| fs::read_to_string(file).unwrap().contains("Command::new("));
        assert!(found.is_empty(), "use harness::program or harness::own in {found:?}");
    }

    #[test]
    fn a_listed_program_runs_and_finds_listed_ones_only() {
        let found = program("sh").args(["-c", "command -v ip && ! command -v dpkg"]).output().unwrap();
        assert!(found.status.success(), "{found:?}");
    }

    #[test]
    #[should_panic(expected = "tests/programs.txt")]
    fn a_program_that_is_not_listed_is_refused() {
        program("dpkg");
    }

    #[test]
    #[should_panic(expected = "tests/programs.txt")]
    fn a_program_of_the_guests_is_refused() {
        program("ovs-dpctl");
    }

    #[test]
    #[should_panic(expected = "harness::program")]
    fn a_name_is_no_program_of_our_own() {
        own("ip");
    }
}
