//! The recorder on other kernels: every scenario of the lab, recorded in a guest of each kernel, judged here. What does not
//! depend on the kernel but for how its functions are probed is recorded on 6.1, by fentry, and on 6.12, by kprobe.multi.
//!
//! A guest is emulated and slow, so these tests run only when `NTREC_VM` is set, as `make test-vm` does; then a
//! required kernel that is missing is a failure. One guest a kernel records everything into `target/vm/KERNEL`.
//! With `NTREC_VM=again` what the last run left there is judged once more.
//!
//! What a kernel is expected to do stands in `expected/KERNEL/*.txt`; `NTREC_BLESS=1` rewrites these files, to be
//! reviewed like code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod guest;
mod judge;
mod latency;
mod numbered;
mod pairs;
mod returns;
#[path = "../truth/mod.rs"]
mod truth;
mod way;

use guest::{Kernel, More, Need};

/// Records everything in one guest and judges it; all complaints are told at once.
fn check(kernel: &Kernel) {
    let Some(guest) = kernel.record() else { return };
    let complaints = judge::all(&guest);
    assert!(complaints.is_empty(), "kernel {}:\n{}", kernel.name, complaints.join("\n"));
}

#[test]
fn kernel_5_10() {
    check(&Kernel { name: "5.10", need: Need::Wanted, more: &[] });
}

#[test]
fn kernel_6_1() {
    check(&Kernel { name: "6.1", need: Need::Required, more: &[More::Following] });
}

#[test]
fn kernel_6_12() {
    check(&Kernel { name: "6.12", need: Need::Required, more: &[More::Following, More::Numbered] });
}

#[test]
fn kernel_7_x() {
    check(&Kernel { name: "7.x", need: Need::Wanted, more: &[] });
}
