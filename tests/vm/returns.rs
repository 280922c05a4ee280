//! Each return belongs to its own call.

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt16Type, UInt64Type};
use arrow_array::{Array, RecordBatch, StringArray, TypedDictionaryArray};
use ntc::Capture;

/// What is compared of a call and its return.
const COLUMNS: [&str; 7] = ["ts", "cpu", "seq", "kind", "probe", "skb", "entry"];

/// A row by which a return is judged.
#[derive(Debug)]
struct Row {
    /// When it was.
    ts: u64,
    /// Its kind.
    kind: String,
    /// The function.
    probe: String,
    /// The packet; 0 if there is none.
    skb: u64,
}

/// Checks that every return names the row of a call that came before it, of the same function and with the same packet, and
/// that no two name the same; tells how many returns there are. A call may be missing where events were lost.
pub fn check(capture: &Capture) -> Result<usize, String> {
    let lost = capture.metadata().totals.counts.iter().any(|count| count.lost > 0);
    let (mut calls, mut returns) = (HashMap::new(), Vec::new());
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &COLUMNS).map_err(|error| error.to_string())?;
        take(&batch, &mut calls, &mut returns);
    }
    let mut returned = HashSet::new();
    for (entry, row) in &returns {
        let Some(call) = calls.get(entry) else {
            if lost {
                continue;
            }
            return Err(format!("there is no call of {row:?}"));
        };
        if (&call.probe, call.skb) != (&row.probe, row.skb) || call.ts > row.ts || call.kind == "ret" {
            return Err(format!("{row:?} is not the return of {call:?}"));
        }
        if !returned.insert(entry) {
            return Err(format!("{row:?} is the second return of {call:?}"));
        }
    }
    Ok(returns.len())
}

/// Takes the rows of a batch apart: calls by their names, and returns with the names of their calls.
fn take(batch: &RecordBatch, calls: &mut HashMap<u64, Row>, returns: &mut Vec<(u64, Row)>) {
    let numbers = |name| batch.column_by_name(name).unwrap().as_primitive::<UInt64Type>();
    let texts = |name| {
        let column = batch.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        column.downcast_dict::<StringArray>().unwrap()
    };
    let (ts, seq, skb, entry) = (numbers("ts"), numbers("seq"), numbers("skb"), numbers("entry"));
    let cpu = batch.column_by_name("cpu").unwrap().as_primitive::<UInt16Type>();
    let (kind, probe) = (texts("kind"), texts("probe"));
    for i in (0..batch.num_rows()).filter(|i| seq.is_valid(*i)) {
        let text = |column: &TypedDictionaryArray<'_, Int32Type, StringArray>| {
            let key = column.keys().is_valid(i).then(|| column.keys().value(i) as usize);
            key.map_or_else(String::new, |key| column.values().value(key).to_owned())
        };
        let row = Row { ts: ts.value(i), kind: text(&kind), probe: text(&probe), skb: skb.value(i) };
        let name = u64::from(cpu.value(i)) << 48 | seq.value(i);
        if entry.is_valid(i) || row.kind == "ret" {
            returns.push((entry.value(i), row));
        } else {
            calls.insert(name, row);
        }
    }
}
