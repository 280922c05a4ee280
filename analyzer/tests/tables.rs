//! The tables that SQL asks, made of captures from scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use common::{Lab, MIXED, START, metadata};
use ntana::args::{FilterArgs, TimeStyle};
use ntana::knowledge::Knowledge;
use ntana::source::Source;
use ntana::tables::{Column, TableId, build};

/// A row as text, by column; columns without a value are left out.
type Row = BTreeMap<String, String>;

/// A value as text.
fn value(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampNanosecondType>().value(row).to_string(),
        other => panic!("no table has {other}"),
    })
}

/// Rows of batches.
fn rows(batch: &RecordBatch) -> Vec<Row> {
    let row = |row| {
        let columns = batch.schema();
        let values = columns.fields().iter().zip(batch.columns());
        values.filter_map(|(field, array)| Some((field.name().clone(), value(array, row)?))).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The rows of tables of a capture.
fn tables(path: &Path, wanted: &[TableId]) -> BTreeMap<TableId, Vec<Row>> {
    let source = Source::open(path, TimeStyle::Utc, &FilterArgs::default()).unwrap();
    let knowledge = Knowledge::load(&[] as &[&str]).unwrap();
    let mut found: BTreeMap<TableId, Vec<Row>> = BTreeMap::new();
    build(&source, &knowledge, wanted, &mut |table, batch| {
        assert_eq!(*batch.schema(), table.schema());
        found.entry(table).or_default().extend(rows(batch));
        Ok(())
    })
    .unwrap();
    found
}

/// The rows of one table of a script.
fn table(script: &str, wanted: TableId) -> Vec<Row> {
    let lab = Lab::new();
    lab.capture("host1.ntc", script);
    tables(&lab.path("host1.ntc"), &[wanted]).remove(&wanted).unwrap()
}

/// These columns of a row; a dash where there is no value.
fn of<'a>(row: &'a Row, columns: &str) -> Vec<&'a str> {
    columns.split(' ').map(|column| row.get(column).map_or("-", String::as_str)).collect()
}

#[test]
fn each_column_has_a_name_of_its_own_and_a_meaning() {
    for table in TableId::ALL {
        let columns = table.columns();
        let names: BTreeSet<&str> = columns.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), columns.len(), "{table:?}");
        assert!(columns.iter().all(|column| !column.doc.is_empty()) && !table.doc().is_empty());
        assert_eq!(TableId::from_name(table.name()), Some(table));
    }
}

#[test]
fn a_life_has_its_flow_and_how_it_ended() {
    let lives = table(MIXED, TableId::Lives);
    assert_eq!(lives.len(), 3);
    let ends = |row| of(row, "life l4 saddr sport daddr dport outcome reason location devices events");
    assert_eq!(
        ends(&lives[0]),
        [
            "1",
            "udp",
            "10.77.1.2",
            "40001",
            "10.77.2.2",
            "5999",
            "dropped",
            "NO_SOCKET",
            "__udp4_lib_rcv+0x9a1",
            "veth0;veth1",
            "7"
        ]
    );
    assert_eq!(
        ends(&lives[1]),
        ["2", "icmp", "10.77.1.2", "-", "10.77.2.2", "-", "consumed", "-", "icmp_rcv+0x1b", "veth1", "2"]
    );
    assert_eq!(
        of(&lives[0], "start end duration"),
        [(START + 100_000).to_string(), (START + 106_000).to_string(), "6000".into()]
    );
    assert_eq!(
        of(&lives[0], "time netns touched_by_loss parent segments"),
        ["1763665382000100000", "4026532001", "false", "-", "-"]
    );
}

#[test]
fn sightings_are_the_events_of_a_life_with_the_time_between_them() {
    let sightings = table(MIXED, TableId::Sightings);
    let steps: Vec<Vec<&str>> =
        sightings.iter().take(4).map(|row| of(row, "life step since probe direction dev ret")).collect();
    assert_eq!(
        steps,
        [
            ["1", "1", "-", "net_dev_queue", "out", "veth0", "-"],
            ["1", "2", "1000", "net_dev_start_xmit", "-", "veth0", "-"],
            ["1", "3", "1000", "netif_rx", "in", "veth1", "-"],
            ["1", "4", "1000", "net_dev_xmit", "-", "veth0", "0"],
        ]
    );
    assert_eq!(sightings.len(), 10, "{sightings:?}");
}

#[test]
fn lives_have_the_same_numbers_whichever_tables_are_wanted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/demo.ntc");
    let both = tables(&path, &[TableId::Lives, TableId::Sightings]);
    assert_eq!(both[&TableId::Lives], tables(&path, &[TableId::Lives])[&TableId::Lives]);
    let events = |life: &Row| life["events"].parse::<usize>().unwrap();
    for life in &both[&TableId::Lives] {
        let seen = both[&TableId::Sightings].iter().filter(|row| row["life"] == life["life"]).count();
        // A socket's announcement and returns of calls carry no address of their own.
        assert!(seen >= events(life), "{life:?}");
    }
}

#[test]
fn findings_are_those_of_diag() {
    let findings = table(MIXED, TableId::Findings);
    assert_eq!(findings.len(), 1);
    assert_eq!(
        of(&findings[0], "finding severity cause packets packets_at_least are_drops flows devices"),
        ["1", "error", "udp-port-closed", "1", "false", "true", "1", "veth1 (netns server) (1)"]
    );
}

#[test]
fn losses_and_clocks_are_the_recorders_own_rows() {
    let script = "1500 probe=netif_rx kind=loss value=7 span=200000\n\
                  2000 kind=clock name=BOOTTIME value=1000002005000 span=30\n\
                  2001 kind=clock name=ADJ_FREQ value=-5\n";
    assert_eq!(
        of(&table(script, TableId::Losses)[0], "ts span cpu probe lost"),
        ["1000001500000", "200000", "0", "netif_rx", "7"]
    );
    let clocks = table(script, TableId::Clocks);
    assert_eq!(of(&clocks[0], "name value offset span"), ["BOOTTIME", "1000002005000", "5000", "30"]);
    assert_eq!(of(&clocks[1], "name value offset span"), ["ADJ_FREQ", "-5", "-", "-"]);
}

#[test]
fn the_node_is_what_the_metadata_says() {
    let lab = Lab::new();
    let interface = ntc::Interface { netns: 4_026_532_001, ifindex: 2, name: "eth0".into(), since: START };
    let lost = ntc::Count {
        probe: "kfree_skb".into(),
        counted: 9,
        recorded: 6,
        lost: 2,
        missed: 1,
        ..ntc::Count::default()
    };
    let mut about = metadata("host1");
    about.interfaces = vec![interface];
    about.totals.counts = vec![lost.clone(), ntc::Count { cpu: Some(1), ..lost }];
    common::write(&lab.path("host1.ntc"), about, MIXED);
    let wanted = [TableId::Interfaces, TableId::Probes, TableId::Captures];
    let found = tables(&lab.path("host1.ntc"), &wanted);
    assert_eq!(
        of(&found[&TableId::Interfaces][0], "netns netns_name ifindex name time"),
        ["4026532001", "client", "2", "eth0", "1763665382000000000"]
    );
    assert_eq!(
        of(&found[&TableId::Probes][0], "probe backend absent returns counted recorded lost missed"),
        ["kfree_skb", "tp_btf", "false", "-", "18", "12", "4", "2"]
    );
    assert_eq!(
        of(&found[&TableId::Captures][0], "kernel events lost stopped unfinished"),
        ["6.18.44", "10", "6", "SIGINT", "false"]
    );
}

#[test]
fn a_table_without_rows_has_its_columns() {
    for wanted in [TableId::Lives, TableId::Losses] {
        assert!(table("100 probe=netif_rx\n", wanted).is_empty());
    }
}

/// The section of FORMAT.md.
fn section() -> String {
    let column = |column: &Column| {
        format!("| `{}` | {} | {} |\n", column.name, column.kind.name(), column.doc.replace('|', "\\|"))
    };
    let table = |table: TableId| {
        let (name, doc) = (table.name(), table.doc());
        let columns: String = match table {
            TableId::Events => "Columns: those of section 7.\n".to_owned(),
            _ => table.own_columns().iter().map(column).collect(),
        };
        let head = if table == TableId::Events { "" } else { "| column | type | meaning |\n|---|---|---|\n" };
        format!("\n### `{name}`\n\nA row is {doc}.\n\n{head}{columns}")
    };
    TableId::ALL.into_iter().map(table).collect::<String>() + "\n"
}

#[test]
fn format_md_has_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("--test tables -->\n").unwrap();
    let (found, after) = rest.split_once("<!-- end of tables -->").unwrap();
    if harness::blessing() {
        let text = format!("{before}--test tables -->\n{}<!-- end of tables -->{after}", section());
        return std::fs::write(&path, text).unwrap();
    }
    let differs = harness::difference(found, &section());
    assert!(found == section(), "run NTREC_BLESS=1 cargo test -p ntana --test tables:\n{differs}");
}
