//! What the kernel has counted.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use libbpf_rs::skel::Skel;
use libbpf_rs::{MapCore, MapFlags, libbpf_sys};

use crate::bpf::{NtrecSkel, PROBES, types};

/// Counters that the kernel keeps for one probe on one CPU.
pub struct KernelCount {
    /// The CPU.
    pub cpu: u16,
    /// The probe's number on the wire.
    pub probe: u16,
    /// Events after filtering.
    pub counted: u64,
    /// Events for which the buffer had no room.
    pub lost: u64,
}

/// The bytes of each CPU's `struct cpu_state`.
fn per_cpu(skel: &NtrecSkel<'_>) -> Result<Vec<Vec<u8>>> {
    let found = skel.maps.cpu_states.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY);
    Ok(found.context("cannot read the kernel's counters")?.unwrap_or_default())
}

/// Reads the counters of all CPUs and probes.
pub fn read(skel: &NtrecSkel<'_>) -> Result<Vec<KernelCount>> {
    let per_cpu = per_cpu(skel)?;
    let states = per_cpu.iter().map(|bytes| counts(bytes));
    let rows = states.enumerate().flat_map(|(cpu, (counted, lost))| {
        let counts = counted.into_iter().zip(lost).enumerate();
        counts.map(move |(probe, (counted, lost))| KernelCount {
            cpu: cpu as u16,
            probe: probe as u16,
            counted,
            lost,
        })
    });
    Ok(rows.filter(|c| c.counted > 0).collect())
}

/// Events left out by `--rate-limit`.
pub fn left_out(skel: &NtrecSkel<'_>) -> Result<u64> {
    let per_cpu = per_cpu(skel)?;
    let at = std::mem::offset_of!(types::cpu_state, left_out);
    let count = |bytes: &Vec<u8>| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
    Ok(per_cpu.iter().filter_map(count).map(u64::from_ne_bytes).sum())
}

/// Runs that the kernel refused because the program was already running on that CPU, by probe; what the copies of the
/// programs for functions share is told under the program's name.
pub fn missed<'a>(skel: &NtrecSkel<'_>, copies: impl Iterator<Item = &'a OwnedFd>) -> Vec<(String, u64)> {
    let programs = skel.object().progs_mut().filter(|p| p.autoload());
    let shared = programs.filter_map(|program| {
        let name = program.name().to_str()?.trim_start_matches("on_").to_owned();
        Some((name, recursion_misses(program.as_fd().as_raw_fd())?))
    });
    let copies = copies.filter_map(|program| recursion_misses(program.as_raw_fd()));
    let copies = [("function_fentry".to_owned(), copies.sum())];
    shared.chain(copies).filter(|(_, count)| *count > 0).collect()
}

/// `counted` and `lost` of a CPU's `struct cpu_state`.
fn counts(bytes: &[u8]) -> (Vec<u64>, Vec<u64>) {
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|chunk| u64::from_ne_bytes(*chunk)).collect();
    let from = std::mem::offset_of!(types::cpu_state, counted) / 8;
    let list = |start: usize| words.get(start..start + PROBES).unwrap_or_default().to_vec();
    (list(from), list(from + PROBES))
}

/// `recursion_misses` of a program (`struct bpf_prog_info`).
fn recursion_misses(fd: i32) -> Option<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed struct of `length` bytes and asks for no arrays.
    let result = unsafe { libbpf_sys::bpf_obj_get_info_by_fd(fd, (&raw mut info).cast(), &raw mut length) };
    (result == 0).then_some(info.recursion_misses)
}
