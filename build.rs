//! Compiles `bpf/ntrec.bpf.c` and generates its skeleton for `recorder/`.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use libbpf_cargo::SkeletonBuilder;

/// The BPF sources; a change in any of them makes a new skeleton.
const SOURCES: [&str; 12] = [
    "bpf/ntrec.bpf.c",
    "bpf/event.h",
    "bpf/kernel.h",
    "bpf/compat.bpf.h",
    "bpf/packet.bpf.h",
    "bpf/pcap.bpf.h",
    "bpf/filter.bpf.h",
    "bpf/record.bpf.h",
    "bpf/follow.bpf.h",
    "bpf/emit.bpf.h",
    "bpf/function.bpf.h",
    "bpf/netfilter.bpf.h",
];

#[allow(clippy::panic, reason = "a build that cannot go on has failed")]
fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let (object, skeleton) = (out.join("ntrec.bpf.o"), out.join("ntrec.skel.rs"));
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it").as_str() {
        "aarch64" => "-D__TARGET_ARCH_arm64",
        // For others bpf/compat.bpf.h says what is missing.
        _ => "-D__TARGET_ARCH_x86",
    };
    probes(&out).expect("the format's crate tells the tracepoints");
    let generated = format!("-I{}", out.display());
    // The object names its sources: not where they were on the machine that built it.
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let names = format!("-ffile-prefix-map={folder}=.");
    SkeletonBuilder::new()
        .source(SOURCES[0])
        .obj(&object)
        .reference_obj(true)
        .clang_args(["-Wall", "-Wno-unused-function", "-mcpu=v3", &names, &generated, arch])
        .build_and_generate(&skeleton)
        .expect("bpf/ntrec.bpf.c compiles; it needs clang: apt-get install clang");
    compress(&object, &skeleton).expect("the skeleton ends with its object");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
}

/// Numbers the catalog's tracepoints in its order, as `tracepoints::all` in `recorder/` does: `probes.h`, which
/// `bpf/event.h` includes.
fn probes(out: &Path) -> Result<(), Box<dyn Error>> {
    let names = env::var("DEP_NTC_TRACEPOINTS")?.to_uppercase().replace(' ', ",\n\t");
    Ok(fs::write(out.join("probes.h"), format!("enum probe {{\n\t{names},\n\tPROBE_MAX,\n}};\n"))?)
}

/// Puts the object compressed beside its skeleton, which then takes it from `recorder/bpf.rs`: it is most of the
/// program's size otherwise.
fn compress(object: &Path, skeleton: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(object.with_extension("zst"), zstd::encode_all(fs::File::open(object)?, 19)?)?;
    let text = fs::read_to_string(skeleton)?;
    let (code, data) = text.split_once("#[unsafe(link_section").ok_or("no section for the object")?;
    let (_, rest) = data.split_once(';').ok_or("no end of the object")?;
    let (_, rest) = rest.split_once(';').ok_or("no end of the object")?;
    Ok(fs::write(skeleton, format!("{code}use super::super::OBJECT as DATA;{rest}"))?)
}
