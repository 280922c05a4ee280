//! Lives of one packet on several hosts become its journey: on which host or network it was lost, and how long each took.
//!
//! Reading order: a [`leg`] is a packet's way through one host; a first pass over each capture ([`mod@survey`]) tells whose
//! addresses are whose and gives the messages that clocks are told from ([`hosts`]); [`mod@join`] finds which leg goes on in
//! which; [`verdict`] says what became of a packet, with what [`routes`] were learned; [`exchange`] puts requests and
//! replies together; [`summary`] and [`ways`] count.

pub mod exchange;
pub mod hosts;
pub mod join;
pub mod leg;
pub mod routes;
pub mod summary;
pub mod survey;
pub mod verdict;
pub mod ways;

use std::ops::ControlFlow;
use std::thread;

use anyhow::{Context, Result};

use crate::knowledge::Knowledge;
use crate::source::Source;
use leg::{Devices, Leg, Legs, has_fingerprints};
use survey::Survey;

/// The first pass over all captures, a thread for each of them.
pub fn survey(sources: &mut [Source], knowledge: &Knowledge) -> Result<Vec<Survey>> {
    let fingerprints = sources.iter().all(has_fingerprints);
    thread::scope(|scope| {
        let passes: Vec<_> = sources
            .iter_mut()
            .map(|source| scope.spawn(move || Survey::of(source, knowledge, fingerprints)))
            .collect();
        let ended = |pass: thread::ScopedJoinHandle<'_, Result<Survey>>| {
            pass.join().ok().context("a thread that reads a capture ended early")?
        };
        passes.into_iter().map(ended).collect()
    })
}

/// All legs of all captures, and by host the devices that they crossed.
pub fn legs<'a>(sources: &'a [Source], knowledge: &'a Knowledge) -> Result<(Vec<Leg<'a>>, Vec<Devices<'a>>)> {
    let fingerprints = sources.iter().all(has_fingerprints);
    let (mut all, mut devices) = (Vec::new(), Vec::new());
    for (host, source) in sources.iter().enumerate() {
        let mut legs = Legs::new(host, source, knowledge, fingerprints);
        legs.scan().for_each(source, |event| {
            legs.push(event, &mut |leg| all.push(leg));
            Ok(ControlFlow::Continue(()))
        })?;
        devices.push(legs.finish(&mut |leg| all.push(leg)));
    }
    Ok((all, devices))
}
