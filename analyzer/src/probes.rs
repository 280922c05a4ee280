//! What the probes of a capture are, by their names: the catalog's knowledge, and what the recorder attached.

use std::collections::HashMap;

use ntc::Metadata;
use ntc::catalog::{self, Direction, Effect, Gate};

/// What is known of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What its rows say about a packet or a socket.
    pub effect: Effect,
    /// Which way it leads a packet.
    pub direction: Direction,
    /// Its gate, if a packet passes it once each time that a device receives it.
    pub gate: Option<Gate>,
    /// Whether the returns of its calls are recorded.
    pub returns: bool,
    /// Whether a row is about both directions of a connection.
    pub two_way: bool,
    /// Whether this build knows it.
    pub is_known: bool,
    /// Its number among the probes that the question asks for ([`Probes::ask`]).
    pub asked: Option<u16>,
    /// The number of its return there ([`RETURN`]).
    pub asked_return: Option<u16>,
}

/// What follows a function's name where its return is meant.
pub const RETURN: &str = ":return";

impl Default for Probe {
    fn default() -> Self {
        Self {
            effect: Effect::Note,
            direction: Direction::Any,
            gate: None,
            returns: false,
            two_way: false,
            is_known: false,
            asked: None,
            asked_return: None,
        }
    }
}

/// The probes of a capture.
#[derive(Debug, Default)]
pub struct Probes {
    /// Whether the returns of a probe are recorded, where the recorder said so.
    returns: HashMap<String, bool>,
    /// Numbers of the probes that the question asks for.
    asked: HashMap<String, u16>,
}

impl Probes {
    /// Those of a capture.
    pub fn new(metadata: &Metadata) -> Self {
        let said = |probe: &ntc::Probe| Some((probe.name.clone(), probe.returns?));
        Self { returns: metadata.probes.iter().filter_map(said).collect(), asked: HashMap::new() }
    }

    /// Asks for a probe; returns its number.
    pub fn ask(&mut self, name: &str) -> u16 {
        let next = u16::try_from(self.asked.len()).unwrap_or(u16::MAX);
        *self.asked.entry(name.to_owned()).or_insert(next)
    }

    /// The names of the probes that are asked for, by their numbers.
    pub fn asked(&self) -> Vec<String> {
        let mut names: Vec<_> = self.asked.iter().collect();
        names.sort_unstable_by_key(|(_, number)| **number);
        names.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// The probe of a name.
    pub fn get(&self, name: &str) -> Probe {
        let (returns, asked) = (self.returns.get(name).copied(), self.asked.get(name).copied());
        let asked_return = self.asked.get(&format!("{name}{RETURN}")).copied();
        match catalog::by_name(name) {
            // An older recorder did not say it, and recorded the returns of what a user named.
            None => Probe { returns: returns.unwrap_or(true), asked, asked_return, ..Probe::default() },
            Some(entry) => Probe {
                effect: entry.effect,
                direction: entry.stage.map_or(Direction::Any, |stage| stage.direction),
                gate: entry.gate,
                returns: returns.unwrap_or_else(|| entry.has_return()),
                two_way: entry.two_way,
                is_known: true,
                asked,
                asked_return,
            },
        }
    }
}
