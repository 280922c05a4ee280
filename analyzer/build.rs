//! Checks the knowledge tables: what is wrong in them does not build.

#[path = "src/knowledge/table.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod table;

use serde::Deserialize;
use table::Tables;

/// The probes of the recorder, as far as stages name them.
#[derive(Deserialize)]
struct Catalog {
    /// Probes.
    probe: Vec<Named>,
}

/// What has a name.
#[derive(Deserialize)]
struct Named {
    /// The name.
    name: String,
}

/// Where the probes stand.
const CATALOG: &str = "../format/catalog.toml";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=src/knowledge/table.rs");
    println!("cargo::rerun-if-changed=src/knowledge/stages.rs");
    let mut all = Tables::default();
    for file in ["knowledge/causes.toml", "knowledge/drops.toml", "knowledge/stages.toml"] {
        println!("cargo::rerun-if-changed={file}");
        let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
        all.extend(Tables::parse(&text).map_err(|e| format!("{file}: {e}"))?);
    }
    all.check_causes()?;
    all.check_stages(|_| false)?;
    check_probes(&all)?;
    all.thresholds().map(|_| ())
}

/// Whether the probes of stages are in the catalog, and no stage has a probe's name.
fn check_probes(tables: &Tables) -> Result<(), String> {
    println!("cargo::rerun-if-changed={CATALOG}");
    let text = std::fs::read_to_string(CATALOG).map_err(|e| format!("{CATALOG}: {e}"))?;
    let catalog: Catalog = toml::from_str(&text).map_err(|e| format!("{CATALOG}: {e}"))?;
    let is_probe = |name: &String| catalog.probe.iter().any(|probe| probe.name == *name);
    for stage in &tables.stage {
        if let Some(unknown) = stage.probes.iter().find(|probe| !is_probe(probe)) {
            return Err(format!(
                "the stage {} has the probe `{unknown}`, which is not in the catalog",
                stage.name
            ));
        }
        if is_probe(&stage.name) {
            return Err(format!("the stage {} has a probe's name", stage.name));
        }
    }
    Ok(())
}
