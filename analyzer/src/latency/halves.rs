//! Packets that ask, and those that answer: two lives of which either may end first.

use std::collections::VecDeque;

use ahash::AHashMap;

use super::fold::{Counted, Ends};
use super::model::Model;
use super::walk::{Step, Stopped, Walk};
use crate::event::Flow;
use crate::knowledge::Within;
use crate::lifecycle::{Echo, Life};

/// Packets that await the other at most. The oldest make room.
const MAX_WAITING: usize = 64 << 10;

/// What both packets have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asked<'a> {
    /// Flow of the packet that asks.
    flow: Flow<'a>,
    /// Numbers that tell it from others of the flow.
    numbers: (u32, u32),
}

impl<'a> Asked<'a> {
    /// What a life's packet asks or answers. A host that translates addresses sends a request with others than it came with,
    /// which the reply then has when it comes.
    pub fn of(life: &Life<'a>, echo: Echo) -> Self {
        let flow = if echo.is_reply { life.flow.reversed() } else { life.last_flow() };
        Self { flow, numbers: (echo.id.into(), echo.seq.into()) }
    }

    /// A packet that leaves its `sk_buff`, or that is in a new one.
    pub fn again(life: &Life<'a>, is_new: bool) -> Self {
        let flow = if is_new { life.flow } else { life.last_flow() };
        Self { flow, numbers: life.numbers() }
    }
}

/// What is known of one of the two packets.
#[derive(Clone, Debug)]
pub struct Half<'a> {
    /// Its steps.
    pub steps: Vec<Step<'a>>,
    /// Its flow.
    pub flow: Flow<'a>,
    /// Whether events were lost during its life.
    pub touched_by_loss: bool,
    /// Its life, where that is wanted.
    pub life: Option<Box<Life<'a>>>,
    /// How it ended.
    ends: Ends,
}

impl<'a> Half<'a> {
    /// The pass of a life that belongs to the host that sends what is on its way out, and receives what is on its way in: a
    /// packet that passes several hosts of one kernel leaves the first and comes in at the last.
    pub fn of(model: &Model, life: &Life<'a>, is_reply: bool, keeps_life: bool) -> Option<Self> {
        let part = if is_reply { model.answering } else { model.sent };
        let within = match (model.within, is_reply) {
            (Within::Sending, true) => Within::Receiving,
            (Within::Receiving, true) => Within::Sending,
            (within, _) => within,
        };
        let mut steps = Vec::new();
        let walk = Walk { model, part, within };
        walk.passes(life.sightings.iter(), &mut Vec::new(), |pass, _| {
            if steps.is_empty() || within == Within::Receiving {
                steps = pass.to_vec();
            }
        });
        let mut ends = Ends::default();
        ends.add(life, Stopped::WithLife);
        (!steps.is_empty()).then(|| Self {
            steps,
            flow: life.flow,
            touched_by_loss: life.touched_by_loss,
            life: keeps_life.then(|| Box::new(life.clone())),
            ends,
        })
    }

    /// When it was seen first and last.
    fn times(&self) -> Option<(u64, u64)> {
        Some((self.steps.first()?.seen.ts, self.steps.last()?.seen.ts))
    }
}

/// Packets that await the other.
#[derive(Debug, Default)]
pub struct Halves<'a> {
    /// Those that ask, and those that answer.
    waiting: [AHashMap<Asked<'a>, Half<'a>>; 2],
    /// The order in which they came; those that have gone are among them.
    order: VecDeque<(Asked<'a>, bool)>,
    /// Packets without an answer that made room.
    unanswered: Ends,
    /// Answers without a packet that made room.
    unbegun: u64,
}

impl<'a> Halves<'a> {
    /// Adds a packet; gives both if the other was there.
    pub fn add(&mut self, asked: Asked<'a>, half: Half<'a>, is_reply: bool) -> Option<(Half<'a>, Half<'a>)> {
        if let Some(other) = self.waiting[usize::from(!is_reply)].remove(&asked) {
            let (request, reply) = if is_reply { (other, half) } else { (half, other) };
            let in_order =
                request.times().zip(reply.times()).is_some_and(|(asks, answers)| asks.1 <= answers.0);
            return in_order.then_some((request, reply));
        }
        if self.order.len() >= MAX_WAITING
            && let Some((oldest, was_reply)) = self.order.pop_front()
        {
            let gone = self.waiting[usize::from(was_reply)].remove(&oldest);
            gone.into_iter().for_each(|half| self.give_up(&half, was_reply));
        }
        self.order.push_back((asked, is_reply));
        let same = self.waiting[usize::from(is_reply)].insert(asked, half);
        same.into_iter().for_each(|half| self.give_up(&half, is_reply));
        None
    }

    /// A packet whose other will not come.
    fn give_up(&mut self, half: &Half<'a>, is_reply: bool) {
        match is_reply {
            true => self.unbegun += 1,
            false => self.unanswered += half.ends,
        }
    }

    /// Counts what is left when the capture ends.
    pub fn finish(&mut self, counted: &mut Counted) {
        let [requests, replies] = std::mem::take(&mut self.waiting);
        requests.values().for_each(|half| self.give_up(half, false));
        replies.values().for_each(|half| self.give_up(half, true));
        counted.unanswered += self.unanswered;
        counted.unbegun += self.unbegun;
    }
}
