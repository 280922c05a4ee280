//! Which way a function leads a packet, by the stage that the catalog has for it.

use ntc::catalog;
use rustc_hash::FxHashMap;

use crate::symbol::Sym;

/// Stages of packets that this host sends.
const OUT: [&str; 6] = ["socket-out", "transport-out", "ip-out", "fragment", "segment", "qdisc"];
/// Stages at which a driver hands a packet over.
const ENTRY: [&str; 3] = ["driver", "xdp", "gro"];

/// Where a function is on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The packet is being sent.
    Out,
    /// The packet comes from a driver.
    Entry,
    /// Neither, or it cannot be told.
    Any,
}

/// The ways of functions, as far as they were asked for.
#[derive(Debug, Default)]
pub struct Ways(FxHashMap<Sym, Way>);

impl Ways {
    /// The way of a probe.
    pub fn of(&mut self, probe: Sym) -> Way {
        *self.0.entry(probe).or_insert_with(|| look_up(probe.text()))
    }
}

/// What the catalog says.
fn look_up(name: &str) -> Way {
    let stage = catalog::by_name(name).and_then(|entry| entry.stage).map_or("", |stage| stage.name);
    match stage {
        _ if OUT.contains(&stage) => Way::Out,
        _ if ENTRY.contains(&stage) => Way::Entry,
        _ => Way::Any,
    }
}
