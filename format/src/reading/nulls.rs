//! Columns without values: half of a capture's columns, which should cost nothing.

use std::cell::RefCell;

use arrow_array::{Array, ArrayRef, new_null_array};

use crate::schema::{self, TYPES, Type};

/// Rows of an array that is kept, at least.
const KEPT_ROWS: usize = 1 << 17;

thread_local! {
    /// An array of nulls of each type, from which others are cut.
    static KEPT: RefCell<[Option<ArrayRef>; TYPES.len()]> = const { RefCell::new([const { None }; TYPES.len()]) };
}

/// An array of `rows` nulls.
pub fn array(kind: Type, rows: usize) -> ArrayRef {
    KEPT.with_borrow_mut(|kept| {
        let array = &mut kept[kind as usize];
        match array {
            Some(array) if array.len() >= rows => array.slice(0, rows),
            _ => array.insert(new_null_array(&schema::data_type(kind), rows.max(KEPT_ROWS))).slice(0, rows),
        }
    })
}
