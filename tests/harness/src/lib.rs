//! What all tests share: how they start programs, when they may be skipped, and how they compare with what is expected.

mod diff;
mod expected;
mod programs;

pub use diff::lines as difference;
pub use expected::{blessing, compare};
pub use programs::{own, program};

/// Whether this is CI: `CI=true`, as `.ci/run` sets it.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says why a test cannot run here. In CI each must: there it is a failure.
#[track_caller]
pub fn skip(why: &str) {
    assert!(!in_ci(), "CI must run this test, but {why}");
    // Past the test runner, which keeps what a test that passed printed.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {why}\n").as_bytes());
}
