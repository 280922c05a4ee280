//! FORMAT.md describes the columns that the code has. `NTREC_BLESS=1` rewrites its table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use ntc::schema::{COLUMNS, Column, FORMAT_MAJOR, FORMAT_MINOR};

/// The table of columns.
fn table() -> String {
    let rows: String = COLUMNS.iter().map(row).collect();
    format!("\n| column | type | required | laid out as | meaning |\n|---|---|---|---|---|\n{rows}\n")
}

/// A column's row in it.
fn row(column: &Column) -> String {
    let Column { name, kind, layout, required, doc } = column;
    let kind = kind.name();
    let layout = format!("{layout:?}").to_lowercase();
    let required = if *required { "yes" } else { "" };
    format!("| `{name}` | {kind} | {required} | {layout} | {} |\n", doc.replace('|', "\\|"))
}

#[test]
fn format_md_has_the_columns_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("--test document -->\n").unwrap();
    let (found, after) = rest.split_once("<!-- end of columns -->").unwrap();
    if harness::blessing() {
        let text = format!("{before}--test document -->\n{}<!-- end of columns -->{after}", table());
        return fs::write(&path, text).unwrap();
    }
    let differs = harness::difference(found, &table());
    assert!(found == table(), "run NTREC_BLESS=1 cargo test -p ntc --test document:\n{differs}");
    assert!(before.contains(&format!("**format {FORMAT_MAJOR}.{FORMAT_MINOR}**")));
}
