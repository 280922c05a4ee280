//! Holds our decoder against the `parquet` crate's: what both read is the same, and neither panics or takes more memory than
//! libFuzzer allows.
//!
//! `cargo fuzz run decoders -- -rss_limit_mb=512` (needs a nightly compiler, or `RUSTC_BOOTSTRAP=1`)

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ntc::compare(bytes));
