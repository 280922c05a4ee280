//! The capture file of `ntrec` and `ntana`: its schema, its writer and its reader.
//!
//! A closed capture is a plain Parquet file. What makes it survive a crash, checkpoints between the row groups
//! and a journal beside the file, is described in `FORMAT.md`, which is normative.

#![forbid(unsafe_code)]

pub mod catalog;
pub mod columns;
mod durability;
mod encoding;
mod error;
mod json;
pub mod metadata;
mod reading;
pub mod schema;
mod writing;

pub use columns::{Batch, ColumnId, Value};
pub use durability::recover::{Recovery, State};
pub use durability::repair::{Repaired, repair};
pub use error::Error;
pub use metadata::{ClockSample, Count, Host, Interface, METADATA_KEY, Metadata, Probe, Stopped, Totals};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use reading::both::compare;
pub use reading::group::Group;
pub use reading::reader::{Capture, exercise};
pub use writing::rows::{self, Rows};
pub use writing::writer::{Finished, Options, Writer};
