//! Opens any bytes as a capture and reads what it can: no panic, and no more memory than libFuzzer allows.
//!
//! `cargo fuzz run reader -- -rss_limit_mb=512` (needs a nightly compiler, or `RUSTC_BOOTSTRAP=1`)

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ntc::exercise(bytes));
