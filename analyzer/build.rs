//! Checks the knowledge tables: what is wrong in them does not build.

#[path = "src/knowledge/table.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod table;

use table::Tables;

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=src/knowledge/table.rs");
    let mut all = Tables::default();
    for file in ["knowledge/causes.toml", "knowledge/drops.toml"] {
        println!("cargo::rerun-if-changed={file}");
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        all.extend(Tables::parse(&text).map_err(|e| format!("{file}: {e}"))?);
    }
    all.check_causes()?;
    all.thresholds().map(|_| ())
}
