//! Rows -> file: the row builder, row groups and their end.

pub(crate) mod kinds;
pub mod rows;
pub(crate) mod writer;
