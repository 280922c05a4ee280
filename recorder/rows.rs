//! The way of an event: ring buffer -> record -> row -> file.

mod dictionary_keys;
pub mod drain;
mod header;
mod header_cache;
mod interfaces;
mod netfilter;
pub mod record;
mod recorded;
pub mod row_builder;
pub mod sink;
mod socket;
mod symbols;
