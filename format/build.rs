//! Checks `catalog.toml` and makes the tables of `src/catalog.rs` from it: a wrong entry does not build.

#[path = "build/entries.rs"]
mod entries;
#[path = "build/tables.rs"]
mod tables;

use std::path::PathBuf;

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=catalog.toml");
    println!("cargo::rerun-if-changed=build");
    let text = std::fs::read_to_string("catalog.toml").map_err(|e| format!("catalog.toml: {e}"))?;
    let catalog = entries::Catalog::parse(&text).map_err(|e| format!("catalog.toml: {e}"))?;
    // For whoever records them: its build script finds it as DEP_NTC_TRACEPOINTS.
    println!("cargo::metadata=tracepoints={}", catalog.tracepoints().join(" "));
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let path = PathBuf::from(out).join("catalog.rs");
    std::fs::write(&path, tables::of(&catalog)).map_err(|e| format!("{}: {e}", path.display()))
}
