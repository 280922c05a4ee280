//! What the command line can ask for.

pub mod capture;
pub mod check;
mod explore;
pub mod list;
mod output;
mod status;
