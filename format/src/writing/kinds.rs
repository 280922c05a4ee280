//! Counts rows by kind while they are written, so that nobody has to read them for that.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};

use crate::columns::ColumnId;

/// Kinds that are counted at most: a damaged file that is repaired may have any.
const MOST: usize = 64;
/// Bytes of a kind's name at most.
const LONGEST: usize = 64;

/// Rows by kind.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    /// Counts.
    counts: BTreeMap<String, u64>,
    /// Whether there were rows that were not counted.
    unknown: bool,
}

impl Kinds {
    /// Counts the rows of a batch.
    pub fn add(&mut self, batch: &RecordBatch) {
        self.unknown |= self.try_add(batch).is_none();
    }

    /// Counts them, if that is possible.
    fn try_add(&mut self, batch: &RecordBatch) -> Option<()> {
        let column = batch.columns().get(ColumnId::Kind as usize)?.as_dictionary_opt::<Int32Type>()?;
        let texts = column.values().as_string_opt::<i32>()?;
        let mut by_key = vec![0_u64; texts.len()];
        for key in column.keys().values() {
            *by_key.get_mut(usize::try_from(*key).ok()?)? += 1;
        }
        for (text, count) in texts.iter().zip(by_key).filter(|(_, count)| *count > 0) {
            let text = text.unwrap_or_default();
            if text.len() > LONGEST || self.counts.len() >= MOST && !self.counts.contains_key(text) {
                return None;
            }
            *self.counts.entry(text.to_owned()).or_default() += count;
        }
        Some(())
    }

    /// What was counted; nothing if it was not everything.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        if self.unknown { BTreeMap::new() } else { self.counts.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writing::rows::Rows;

    /// Rows of these kinds.
    fn rows(kinds: impl Iterator<Item = String>) -> RecordBatch {
        let mut rows = Rows::new();
        for kind in kinds {
            let row = rows.next();
            rows.ts.put(row, 0);
            rows.cpu.put(row, 0);
            rows.kind.put_str(row, &kind);
        }
        rows.finish().unwrap()
    }

    #[test]
    fn rows_are_counted_by_kind() {
        let mut kinds = Kinds::default();
        kinds.add(&rows(["pkt", "free", "pkt"].into_iter().map(str::to_owned)));
        kinds.add(&rows(["pkt"].into_iter().map(str::to_owned)).slice(0, 1));
        assert_eq!(kinds.totals(), BTreeMap::from([("free".to_owned(), 1), ("pkt".to_owned(), 3)]));
    }

    #[test]
    fn what_cannot_be_counted_whole_is_not_told() {
        let mut kinds = Kinds::default();
        kinds.add(&rows((0..=MOST).map(|number| number.to_string())));
        assert!(kinds.totals().is_empty());
        let mut kinds = Kinds::default();
        kinds.add(&rows(["k".repeat(LONGEST + 1)].into_iter()));
        assert!(kinds.totals().is_empty());
    }
}
