//! Columns <-> pages of Parquet: dictionaries, levels, the encodings of values, and the structures that describe them.

pub(crate) mod bits;
pub(crate) mod chunk;
pub(crate) mod decode;
pub(crate) mod delta;
pub(crate) mod group;
pub(crate) mod layout;
pub(crate) mod levels;
pub(crate) mod runs;
pub(crate) mod thrift;
