//! The capture file of `ntrec` and `ntana`: its schema, its writer and its reader.
//!
//! A closed capture is a plain Parquet file. What makes it survive a crash, checkpoints between the row groups
//! and a journal beside the file, is described in `FORMAT.md`, which is normative.

#![forbid(unsafe_code)]

mod bits;
pub mod catalog;
mod checkpoint;
mod chunk;
pub mod columns;
mod decode;
mod delta;
mod disk;
mod error;
mod foreign;
#[cfg(test)]
mod forged;
mod group;
mod journal;
mod json;
mod kinds;
mod layout;
mod levels;
mod log;
pub mod metadata;
mod nulls;
pub mod reader;
mod recover;
mod repair;
pub mod rows;
mod runs;
mod scan;
pub mod schema;
mod source;
mod stranger;
mod thrift;
mod widen;
pub mod writer;

pub use columns::{Batch, ColumnId, Value};
pub use error::Error;
pub use metadata::*;
pub use reader::{Capture, Group, State, exercise};
pub use recover::Recovery;
pub use repair::{Repaired, repair};
pub use rows::Rows;
pub use writer::{Finished, Options, Writer};
