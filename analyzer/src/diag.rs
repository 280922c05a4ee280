//! What went wrong: observations of trouble, grouped by root cause, ranked.
//!
//! `observe` turns events and lives into observations, `group` gathers them by cause and victim, [`finding`] is
//! what comes out.

pub mod finding;
mod group;
mod observe;
mod stale;

pub use finding::{Device, Example, Finding, Share};
pub use observe::{COLUMNS, Observer};

#[cfg(test)]
mod tests;
