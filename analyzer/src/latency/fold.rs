//! One pass over a capture: events become lives, lives become passes, passes become times.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::{AddAssign, ControlFlow};

use anyhow::Result;
use ntc::ColumnId;

use super::Question;
use super::halves::{Asked, Half, Halves};
use super::legs::{Group, Key, Leg, Legs};
use super::model::Model;
use super::unacked::Unacked;
use super::walk::{Step, Stopped, Walk};
use crate::event::{Event, Flow};
use crate::knowledge::{Join, Knowledge, Within};
use crate::lifecycle::{self, Keep, Life, Lives, OutcomeKind};
use crate::scan::Scan;
use crate::source::Source;

/// Passes that went no further than a stage, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The packet was dropped.
    pub dropped: u64,
    /// The capture ended, or nothing was seen of the packet for long.
    pub open: u64,
    /// The packet ended otherwise, or went another way.
    pub elsewhere: u64,
}

impl AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.dropped += other.dropped;
        self.open += other.open;
        self.elsewhere += other.elsewhere;
    }
}

impl Ends {
    /// Counts one.
    pub(super) fn add(&mut self, life: &Life<'_>, stopped: Stopped) {
        match (stopped, life.outcome.kind()) {
            (Stopped::WithLife, OutcomeKind::Dropped) => self.dropped += 1,
            (Stopped::WithLife, OutcomeKind::Open) => self.open += 1,
            _ => self.elsewhere += 1,
        }
    }

    /// All.
    pub fn all(&self) -> u64 {
        self.dropped + self.open + self.elsewhere
    }
}

/// What was counted of a model beside times.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By stage: passes that went no further.
    pub ends: Vec<Ends>,
    /// Passes of which only the last stage was seen: they began before the capture, or where no probe of the model was.
    pub unbegun: u64,
    /// Passes of lives during which events were lost; they are in no distribution.
    pub touched_by_loss: u64,
    /// Packets that no reply was found for.
    pub unanswered: Ends,
    /// Whether some of what awaits its reply found no room.
    pub cut: bool,
}

/// A slow pass, and its life.
#[derive(Clone, Debug)]
pub struct Slow<'a> {
    /// How long it took, ns.
    pub ns: u64,
    /// The model's number.
    pub model: usize,
    /// Where it began, and when.
    pub from: Step<'a>,
    /// Where it ended.
    pub to: Step<'a>,
    /// The life; that of the packet that is answered where there are two.
    pub life: Life<'a>,
}

/// What was found in a capture.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Distributions, in the order of their groups.
    pub legs: Vec<(Group<'a>, super::legs::Times)>,
    /// Whether there were more groups than there is room for.
    pub full: bool,
    /// By model, what else was counted.
    pub counted: Vec<Counted>,
    /// The slowest passes, the slowest first.
    pub worst: Vec<Slow<'a>>,
}

/// Measures what is asked in a capture.
pub fn measure<'a>(
    source: &'a Source,
    knowledge: &'a Knowledge,
    question: &'a Question,
) -> Result<Measured<'a>> {
    let Source { names, losses, filter, .. } = source;
    let mut fold = Fold::new(source, knowledge, question);
    let keep = if question.events { Keep::All } else { Keep::Sightings };
    let mut lives = Lives::new(names, knowledge, losses, keep);
    if !filter.takes_all() {
        lives = lives.with_filter(|event, flow| filter.event(event, flow));
    }
    Scan::new(fold.columns(), filter.range()).for_each(source, |event| {
        let orphans = lives.orphans();
        lives.push(event, &mut |life| fold.life(life));
        if lives.orphans() > orphans {
            fold.orphan(event);
        }
        fold.event(event);
        Ok(ControlFlow::Continue(()))
    })?;
    lives.finish(&mut |life| fold.life(life));
    Ok(fold.finish())
}

/// What grows while events come.
struct Fold<'a> {
    /// The capture.
    source: &'a Source,
    /// What is asked.
    question: &'a Question,
    /// When the capture began, ns of CLOCK_MONOTONIC.
    start: u64,
    /// By model, the legs that have a limit, ns.
    limits: Vec<Vec<(Leg, u64)>>,
    /// Distributions.
    legs: Legs<'a>,
    /// By model, what else is counted.
    counted: Vec<Counted>,
    /// By model, packets that await their reply.
    halves: Vec<Halves<'a>>,
    /// TCP segments that await their acknowledgment, of the models of these numbers.
    unacked: Vec<(usize, Unacked<'a>)>,
    /// Room for the steps of a pass.
    steps: Vec<Step<'a>>,
    /// The slowest passes, the slowest and of those the earliest first.
    worst: BTreeMap<(Reverse<u64>, u64), Slow<'a>>,
    /// How many passes there were.
    passes: u64,
}

impl<'a> Fold<'a> {
    /// Has seen nothing yet.
    fn new(source: &'a Source, knowledge: &Knowledge, question: &'a Question) -> Self {
        let models = &question.models;
        let counted = models
            .iter()
            .map(|model| Counted { ends: vec![Ends::default(); model.stages.len()], ..Counted::default() });
        let of_acks = models.iter().enumerate().filter(|(_, model)| model.join == Some(Join::Ack));
        let unacked = of_acks.map(|(number, _)| (number, Unacked::default()));
        Self {
            source,
            question,
            start: source.head().start,
            limits: models.iter().map(|model| limits(model, knowledge)).collect(),
            legs: Legs::default(),
            counted: counted.collect(),
            halves: models.iter().map(|_| Halves::default()).collect(),
            unacked: unacked.collect(),
            steps: Vec::new(),
            worst: BTreeMap::new(),
            passes: 0,
        }
    }

    /// The columns to read.
    fn columns(&self) -> impl Iterator<Item = ColumnId> {
        let joins = |join: Join| self.question.models.iter().any(move |model| model.join == Some(join));
        let echo = joins(Join::Echo).then_some(ColumnId::IcmpType);
        let ack = joins(Join::Ack).then_some([ColumnId::TcpAck, ColumnId::Header]);
        let own = Key::columns(self.question.by).into_iter().chain(echo).chain(ack.into_iter().flatten());
        lifecycle::COLUMNS.into_iter().chain(self.source.filter.columns()).chain(own)
    }

    /// An event that belongs to no life.
    fn orphan(&mut self, event: &Event<'_, 'a>) {
        let Some(asked) = event.about.asked else { return };
        for (model, counted) in self.question.models.iter().zip(&mut self.counted) {
            counted.unbegun += u64::from(model.join.is_none() && model.has_probe(asked, model.sent.last));
        }
    }

    /// Any event: those of models that need no lives.
    fn event(&mut self, event: &Event<'_, 'a>) {
        let question = self.question;
        for index in 0..self.unacked.len() {
            let (number, unacked) = &mut self.unacked[index];
            let number = *number;
            if let Some(found) = unacked.event(&question.models[number], event) {
                self.acked(number, event, &found);
            }
        }
    }

    /// A life ended.
    fn life(&mut self, life: &Life<'a>) {
        if !self.source.filter.life(life) || life.sightings.is_empty() {
            return;
        }
        let question = self.question;
        let mut steps = std::mem::take(&mut self.steps);
        for (number, model) in question.models.iter().enumerate().filter(|(_, model)| model.can_be_measured())
        {
            let mut pass = |steps: &[Step<'a>], stopped| self.pass(number, life, steps, stopped);
            match (model.join, model.within) {
                (None, Within::Device) => life.hops.iter().for_each(|hop| {
                    let there = life.sightings.iter().filter(|seen| seen.at == hop.at);
                    Walk::of(model).passes(there, &mut steps, &mut pass);
                }),
                (None, _) => Walk::of(model).passes(life.sightings.iter(), &mut steps, pass),
                (Some(Join::Echo), _) => self.echo(number, model, life),
                (Some(Join::Again), _) => self.again(number, model, life),
                (Some(Join::Ack), _) => {}
            }
        }
        self.steps = steps;
    }

    /// A pass of a life.
    fn pass(&mut self, number: usize, life: &Life<'a>, steps: &[Step<'a>], stopped: Stopped) {
        let counted = &mut self.counted[number];
        let [first, .., last] = steps else {
            match stopped {
                Stopped::Complete => counted.unbegun += 1,
                _ => self.stopped(number, life, steps, stopped),
            }
            return;
        };
        if life.touched_by_loss {
            counted.touched_by_loss += 1;
            return;
        }
        if stopped != Stopped::Complete {
            self.stopped(number, life, steps, stopped);
        }
        self.legs(number, &life.flow, steps, stopped);
        self.slow(number, [first, last], life);
    }

    /// A pass went no further.
    fn stopped(&mut self, number: usize, life: &Life<'a>, steps: &[Step<'a>], stopped: Stopped) {
        let counted = &mut self.counted[number];
        match steps.last() {
            Some(_) if life.touched_by_loss => counted.touched_by_loss += 1,
            Some(last) => counted.ends[usize::from(last.stage)].add(life, stopped),
            None => {}
        }
    }

    /// Counts the times of a pass.
    fn legs(&mut self, number: usize, flow: &Flow<'a>, steps: &[Step<'a>], stopped: Stopped) {
        for pair in steps.windows(2) {
            self.leg(number, Leg::Between(pair[0].stage, pair[1].stage), flow, [&pair[0], &pair[1]]);
        }
        let model = &self.question.models[number];
        if let [first, .., last] = steps
            && stopped == Stopped::Complete
            && first.stage == model.sent.first
            && model.has_whole()
        {
            self.leg(number, Leg::Whole, flow, [first, last]);
        }
    }

    /// Counts the time of a leg.
    fn leg(&mut self, number: usize, leg: Leg, flow: &Flow<'a>, [from, to]: [&Step<'a>; 2]) {
        let (begin, end) = (from.seen.ts, to.seen.ts);
        let interval =
            self.question.interval.map_or(0, |length| begin.saturating_sub(self.start) / length.max(1));
        let key = Key::of(self.question.by, flow, from, to);
        let limit = self.limits[number].iter().find(|(known, _)| *known == leg).map(|(_, ns)| *ns);
        let group = Group { model: number as u8, leg, interval, key };
        self.legs.add(group, end.saturating_sub(begin), self.question.least, limit);
    }

    /// Keeps a pass if it is one of the slowest.
    fn slow(&mut self, number: usize, [from, to]: [&Step<'a>; 2], life: &Life<'a>) {
        let (most, ns) = (self.question.worst, to.seen.ts.saturating_sub(from.seen.ts));
        self.passes += 1;
        let rank = (Reverse(ns), self.passes);
        let is_full = self.worst.len() >= most;
        let is_slower = !is_full || self.worst.last_key_value().is_some_and(|(last, _)| rank < *last);
        if !is_slower || ns < self.question.least {
            return;
        }
        if is_full {
            self.worst.pop_last();
        }
        self.worst.insert(rank, Slow { ns, model: number, from: *from, to: *to, life: life.clone() });
    }

    /// A packet that asks, or that answers.
    fn echo(&mut self, number: usize, model: &Model, life: &Life<'a>) {
        let Some(echo) = life.echo else { return };
        let Some(half) = Half::of(model, life, echo.is_reply, self.question.worst > 0) else { return };
        self.half(number, (Asked::of(life, echo), echo.is_reply), half);
    }

    /// A packet that is in a new `sk_buff`, or leaves its own, or both.
    fn again(&mut self, number: usize, model: &Model, life: &Life<'a>) {
        for is_new in [true, false] {
            let Some(half) = Half::of(model, life, is_new, self.question.worst > 0) else { continue };
            if !is_new || life.sightings.first() == half.steps.first().map(|step| &step.seen) {
                self.half(number, (Asked::again(life, is_new), is_new), half);
            }
        }
    }

    /// One of two packets: where the other was there, their times are counted.
    fn half(&mut self, number: usize, (asked, is_reply): (Asked<'a>, bool), half: Half<'a>) {
        let Some((request, reply)) = self.halves[number].add(asked, half, is_reply) else { return };
        if request.touched_by_loss || reply.touched_by_loss {
            self.counted[number].touched_by_loss += 1;
            return;
        }
        let steps: Vec<Step<'a>> = request.steps.iter().chain(&reply.steps).copied().collect();
        self.legs(number, &request.flow, &steps, Stopped::Complete);
        if let ([first, .., last], Some(life)) = (steps.as_slice(), request.life) {
            self.slow(number, [first, last], &life);
        }
    }

    /// What segments were acknowledged.
    fn acked(&mut self, number: usize, event: &Event<'_, 'a>, segments: &[(Flow<'a>, [Step<'a>; 2])]) {
        if !self.source.filter.event(event, &event.flow()) {
            return;
        }
        for (flow, [sent, acked]) in segments {
            if self.source.losses.overlap(sent.seen.ts, acked.seen.ts) {
                self.counted[number].touched_by_loss += 1;
            } else {
                self.legs(number, flow, &[*sent, *acked], Stopped::Complete);
            }
        }
    }

    /// What was found.
    fn finish(mut self) -> Measured<'a> {
        for (number, counted) in self.counted.iter_mut().enumerate() {
            self.halves[number].finish(counted);
        }
        for (number, unacked) in &mut self.unacked {
            unacked.finish(&mut self.counted[*number]);
        }
        let full = self.legs.full;
        let worst = self.worst.into_values().collect();
        Measured { legs: self.legs.into_sorted(), full, counted: self.counted, worst }
    }
}

/// The legs of a model that have a limit, ns.
fn limits(model: &Model, knowledge: &Knowledge) -> Vec<(Leg, u64)> {
    let count = model.stages.len() as u8;
    let pairs = (0..count).flat_map(|from| (from + 1..count).map(move |to| Leg::Between(from, to)));
    let of = |leg| Some((leg, model.limit(leg, knowledge)?.us.saturating_mul(1000)));
    pairs.chain([Leg::Whole]).filter_map(of).collect()
}

#[cfg(test)]
mod tests;
