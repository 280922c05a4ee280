//! Each return belongs to its own call.

use std::collections::{HashMap, HashSet};

use ntc::{Batch, Capture, ColumnId};

/// What is compared of a call and its return.
const COLUMNS: [ColumnId; 7] = [
    ColumnId::Ts,
    ColumnId::Cpu,
    ColumnId::Seq,
    ColumnId::Kind,
    ColumnId::Probe,
    ColumnId::Skb,
    ColumnId::Entry,
];

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
/// that no two name the same; gives the times of all returns. A call may be missing where events were lost.
pub fn check(capture: &Capture) -> Result<Vec<u64>, String> {
    let lost = capture.metadata().totals.counts.iter().any(|count| count.lost > 0);
    let (mut calls, mut returns) = (HashMap::new(), Vec::new());
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &COLUMNS).map_err(|error| error.to_string())?;
        take(&batch, &mut calls, &mut returns);
    }
    let mut returned = HashSet::new();
    for (entry, row) in &returns {
        // No name is that of the first row of CPU 0, or, where its row was lost, that of any call.
        if entry.is_none() && lost {
            continue;
        }
        let entry = entry.unwrap_or(0);
        let Some(call) = calls.get(&entry) else {
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
    Ok(returns.iter().map(|(_, row)| row.ts).collect())
}

/// Takes the rows of a batch apart: calls by their names, and returns with the names of their calls.
fn take(batch: &Batch, calls: &mut HashMap<u64, Row>, returns: &mut Vec<(Option<u64>, Row)>) {
    let number = |column| batch.unsigned(column);
    let (ts, seq, cpu) = (number(ColumnId::Ts), number(ColumnId::Seq), number(ColumnId::Cpu));
    let (skb, entry) = (number(ColumnId::Skb), number(ColumnId::Entry));
    let text =
        |column, row| batch.text(column).and_then(|column| column.get(row)).unwrap_or_default().to_owned();
    for i in 0..batch.rows() {
        let Some(seq) = seq.get(i) else { continue };
        let row = Row {
            ts: ts.get(i).unwrap_or(0),
            kind: text(ColumnId::Kind, i),
            probe: text(ColumnId::Probe, i),
            skb: skb.get(i).unwrap_or(0),
        };
        if entry.get(i).is_some() || row.kind == "ret" {
            returns.push((entry.get(i), row));
        } else {
            calls.insert(cpu.get(i).unwrap_or(0) << 48 | seq, row);
        }
    }
}
