//! The analysis behind `ntana`: a capture becomes events, events become lives, lives become answers.
//!
//! Reading order: [`scan`] delivers [`event`]s in time order, [`lifecycle`] rebuilds what happened to each packet,
//! [`journey`] joins those of one packet on several hosts, [`diag`] groups what went wrong by root cause, [`latency`] says how
//! long what took, [`commands`] show the answers.

#![forbid(unsafe_code)]

mod address;
pub mod answer;
pub mod args;
pub mod captures;
pub mod clock;
pub mod commands;
mod diag;
mod event;
pub mod expression;
mod filter;
mod journey;
pub mod knowledge;
mod latency;
mod lifecycle;
mod loss;
mod names;
pub mod numbers;
mod probes;
mod rule;
mod scan;
#[cfg(test)]
pub(crate) mod script;
pub mod source;
pub mod tables;
mod times;

/// Whether an error means that nobody reads the output any more, which is no error.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(std::io::ErrorKind::BrokenPipe)
    })
}
