//! Makes Rust of two tables: of the list of columns their ids and the row builder, and of `catalog.toml`, which is
//! checked, the tables of `src/catalog.rs`. A wrong entry does not build.

#[path = "src/schema/columns.rs"]
#[expect(dead_code, reason = "what a column is laid out as is of no interest here")]
mod columns;
#[path = "build/entries.rs"]
mod entries;
#[path = "build/columns.rs"]
mod generated;
#[path = "build/tables.rs"]
mod tables;

use std::path::PathBuf;

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=catalog.toml");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/schema/columns.rs");
    let text = std::fs::read_to_string("catalog.toml").map_err(|e| format!("catalog.toml: {e}"))?;
    let catalog = entries::Catalog::parse(&text).map_err(|e| format!("catalog.toml: {e}"))?;
    // For whoever records them: its build script finds it as DEP_NTC_TRACEPOINTS.
    println!("cargo::metadata=tracepoints={}", catalog.tracepoints().join(" "));
    write("catalog.rs", &tables::of(&catalog))?;
    write("columns.rs", &generated::ids())?;
    write("rows.rs", &generated::rows())
}

/// Writes a file that the crate includes.
fn write(name: &str, text: &str) -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let path = PathBuf::from(out).join(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}
