//! A packet's way through the stages of a model: its sightings become passes, each from its first stage to its last.
//!
//! | the pass is at | the sighting shows | then |
//! |---|---|---|
//! | a stage | a later one | the packet is there: a leg ends and the next begins |
//! | a stage | the same or an earlier one, by a function | nothing: what counts is the first time there |
//! | a stage | the same again by another probe on the same device | nothing: two probes show one arrival |
//! | a stage | the same or an earlier one between device and host, or the first one | the packet begins the way anew |
//! | any | that it left what the model is within | the pass ends |
//! | the last recorded stage | | the pass is complete |
//!
//! A packet on its way in stays in its host until it is queued to be sent, so that there, where a bridge or a VLAN receives
//! it again, it does not begin anew.

use super::model::{Model, Part};
use crate::knowledge::Within;
use crate::lifecycle::{Sighting, moves};

/// A packet at a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The stage's number in its model.
    pub stage: u8,
    /// Where it was seen first.
    pub seen: Sighting<'a>,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// At the last recorded stage.
    Complete,
    /// The packet went another way, or began anew.
    Elsewhere,
    /// The life ended, or has more that no probe of the model shows.
    WithLife,
}

/// Calls `each` for the passes of a packet through a part of a model.
pub fn passes<'s, 'a: 's>(
    model: &Model,
    within: Within,
    part: Part,
    sightings: impl Iterator<Item = &'s Sighting<'a>>,
    mut each: impl FnMut(&[Step<'a>], Stopped),
) {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut before: Option<Step<'a>> = None;
    for seen in sightings {
        if !steps.is_empty() && within.is_left_by(seen.effect) {
            each(&steps, Stopped::Elsewhere);
            steps.clear();
        }
        let at = steps.last().map(|step| step.stage);
        let Some(stage) = model.stage_of(seen, part, at) else { continue };
        let step = Step { stage, seen: *seen };
        let anew = begins_anew(model, part, &step, before.as_ref());
        match at {
            Some(at) if stage > at => {}
            Some(_) if anew && within != Within::Receiving => {
                each(&steps, Stopped::Elsewhere);
                steps.clear();
            }
            None if anew => {}
            _ => continue,
        }
        steps.push(step);
        before = Some(step);
        if stage == part.last {
            each(&steps, Stopped::Complete);
            steps.clear();
        }
    }
    if !steps.is_empty() {
        each(&steps, Stopped::WithLife);
    }
}

/// Whether a step begins a pass, behind another.
fn begins_anew(model: &Model, part: Part, step: &Step<'_>, before: Option<&Step<'_>>) -> bool {
    let Some(before) = before else { return true };
    let same_arrival = before.stage == step.stage
        && before.seen.at == step.seen.at
        && before.seen.asked != step.seen.asked
        && model.stages[usize::from(step.stage)].probes.len() > 1;
    !same_arrival && (step.stage == part.first || moves(step.seen.effect))
}
