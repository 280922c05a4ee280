//! Compiles `bpf/ntrec.bpf.c` and generates its skeleton for `recorder/`.

use std::{env, path::PathBuf};

use libbpf_cargo::SkeletonBuilder;

/// The BPF sources; a change in any of them makes a new skeleton.
const SOURCES: [&str; 10] = [
    "bpf/ntrec.bpf.c",
    "bpf/event.h",
    "bpf/kernel.h",
    "bpf/compat.bpf.h",
    "bpf/packet.bpf.h",
    "bpf/pcap.bpf.h",
    "bpf/filter.bpf.h",
    "bpf/record.bpf.h",
    "bpf/function.bpf.h",
    "bpf/netfilter.bpf.h",
];

#[allow(clippy::panic, reason = "a build that cannot go on has failed")]
fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("ntrec.skel.rs");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it").as_str() {
        "aarch64" => "-D__TARGET_ARCH_arm64",
        // For others bpf/compat.bpf.h says what is missing.
        _ => "-D__TARGET_ARCH_x86",
    };
    // The object names its sources: not where they were on the machine that built it.
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let names = format!("-ffile-prefix-map={folder}=.");
    SkeletonBuilder::new()
        .source(SOURCES[0])
        .clang_args(["-Wall", "-Wno-unused-function", "-mcpu=v3", &names, arch])
        .build_and_generate(&out)
        .expect("bpf/ntrec.bpf.c compiles; it needs clang: apt-get install clang");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
}
