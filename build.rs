//! Compiles `bpf/ntrec.bpf.c` and generates its skeleton for `recorder/`.

use std::{env, path::PathBuf};

use libbpf_cargo::SkeletonBuilder;

/// The BPF sources; a change in any of them makes a new skeleton.
const SOURCES: [&str; 7] = [
    "bpf/ntrec.bpf.c",
    "bpf/event.h",
    "bpf/kernel.h",
    "bpf/compat.bpf.h",
    "bpf/packet.bpf.h",
    "bpf/filter.bpf.h",
    "bpf/record.bpf.h",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("ntrec.skel.rs");
    SkeletonBuilder::new()
        .source(SOURCES[0])
        .clang_args(["-Wall", "-Wno-unused-function", "-mcpu=v3"])
        .build_and_generate(&out)
        .expect("bpf/ntrec.bpf.c compiles; it needs clang: apt-get install clang");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
}
