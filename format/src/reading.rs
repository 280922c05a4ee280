//! File -> batches of columns: our own row groups, and those that another program wrote.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod both;
pub(crate) mod foreign;
pub(crate) mod group;
pub(crate) mod nulls;
pub(crate) mod reader;
pub(crate) mod source;
pub(crate) mod stranger;
pub(crate) mod widen;
