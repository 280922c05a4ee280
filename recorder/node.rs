//! The node: who it is, its namespaces and clocks, and what the recorder may do on it.

pub mod clock;
pub mod host;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod privileges;
