//! What the running kernel offers: types, functions, tracepoints, and backends to attach to them.

pub mod arguments;
pub mod backends;
pub mod btf;
pub mod enums;
pub mod functions;
mod kallsyms;
pub mod tracepoints;
