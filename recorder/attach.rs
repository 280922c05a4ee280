//! From the command line to BPF programs that run: choose the probes, load the programs, attach them, count.

pub mod choose;
mod counters;
mod deferred_detach;
mod filter;
mod pcap;
pub mod plan;
mod probe;
mod program;
mod session;
mod setup;

pub use counters::KernelCount;
pub use plan::Plan;
pub use probe::{Probe, Target};
pub use session::Session;
