//! The recorder as a whole program on the live kernel: real traffic between namespaces, real captures.
//!
//! Most tests need root and BPF, so their paths contain `root`; elsewhere they say why they were skipped. With
//! `CI=true` a skip is a failure.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod anywhere;
mod frames;
#[path = "../grammar/mod.rs"]
mod grammar;
mod recorder;
mod rows;
mod support;
#[path = "../truth/mod.rs"]
mod truth;

/// What needs root and a kernel with BPF.
mod root {
    mod context;
    mod crash;
    mod diag;
    mod disk;
    mod errors;
    mod expressions;
    mod filters;
    mod follow;
    mod hooks;
    mod inner;
    mod latency;
    mod loss;
    mod offers;
    mod output;
    mod raw;
    mod stops;
    mod truth;
    mod words;
}
