//! Legs of passes, counted by what was asked for, in bounded memory.

use ahash::AHashMap;
use ntc::ColumnId;

use super::distribution::Distribution;
use super::walk::Step;
use crate::args::LatencyBy;
use crate::event::{Flow, Place};
use crate::names::Name;

/// Distributions at most: each takes up to 100 KiB.
const MAX_GROUPS: usize = 1024;

/// Which stages a time lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// From one stage to the next that the packet was seen at.
    Between(u8, u8),
    /// From the first stage that it was seen at to the last of the model.
    Whole,
}

/// What times are counted by, beside the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// Nothing.
    All,
    /// The device where the leg begins.
    Dev(Place<'a>),
    /// The namespace where it begins.
    Netns(u32),
    /// The CPU where it begins.
    Cpu(u16),
    /// The queue of the device where it ends.
    Queue(Place<'a>, Option<u16>),
    /// The task that sends, or that reads.
    Task(Name<'a>),
    /// Who talks to whom.
    Flow(Flow<'a>),
    /// The two probes, by their numbers.
    Probes(u16, u16),
    /// All of which there was no room for more.
    Others,
}

impl<'a> Key<'a> {
    /// The key of a leg of a packet.
    pub fn of(by: Option<LatencyBy>, flow: &Flow<'a>, from: &Step<'a>, to: &Step<'a>) -> Self {
        let (begin, end) = (&from.seen, &to.seen);
        match by {
            None => Self::All,
            Some(LatencyBy::Dev) => Self::Dev(begin.at),
            Some(LatencyBy::Netns) => Self::Netns(begin.at.netns),
            Some(LatencyBy::Cpu) => Self::Cpu(begin.cpu),
            Some(LatencyBy::Queue) => Self::Queue(end.at, end.queue),
            Some(LatencyBy::Comm) => Self::Task(begin.task.or(end.task)),
            Some(LatencyBy::Flow) => Self::Flow(*flow),
            Some(LatencyBy::Probe) => {
                Self::Probes(begin.asked.unwrap_or_default(), end.asked.unwrap_or_default())
            }
        }
    }

    /// The columns that a key is made of, beside those of lives.
    pub fn columns(by: Option<LatencyBy>) -> Option<ColumnId> {
        match by {
            Some(LatencyBy::Queue) => Some(ColumnId::Queue),
            Some(LatencyBy::Comm) => Some(ColumnId::Comm),
            _ => None,
        }
    }
}

/// What a distribution is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group<'a> {
    /// The model's number.
    pub model: u8,
    /// The leg.
    pub leg: Leg,
    /// The interval of time in which the leg began, from 0; 0 where there are none.
    pub interval: u64,
    /// The key.
    pub key: Key<'a>,
}

/// Times of one group.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Those that are counted.
    pub all: Distribution,
    /// How many of them are as long as the limit or longer.
    pub abnormal: u64,
    /// How many are left out since they are shorter than was asked for.
    pub shorter: u64,
}

/// All distributions.
#[derive(Debug, Default)]
pub struct Legs<'a> {
    /// Where the times of a group are.
    groups: AHashMap<Group<'a>, usize>,
    /// The times.
    times: Vec<Times>,
    /// Whether some groups found no room.
    pub full: bool,
}

impl<'a> Legs<'a> {
    /// Adds a time. Where there is no room for another group it is counted with all others of its leg.
    pub fn add(&mut self, group: Group<'a>, ns: u64, least: u64, limit: Option<u64>) {
        let place = self.groups.get(&group).copied().unwrap_or_else(|| self.begin(group));
        let times = &mut self.times[place];
        if ns < least {
            times.shorter += 1;
            return;
        }
        times.all.add(ns);
        times.abnormal += u64::from(limit.is_some_and(|limit| ns >= limit));
    }

    /// A place for the times of a group that has none.
    fn begin(&mut self, group: Group<'a>) -> usize {
        let is_full = self.times.len() >= MAX_GROUPS;
        self.full |= is_full;
        let group = if is_full { Group { key: Key::Others, interval: 0, ..group } } else { group };
        *self.groups.entry(group).or_insert_with(|| {
            self.times.push(Times::default());
            self.times.len() - 1
        })
    }

    /// All groups in order.
    pub fn into_sorted(self) -> Vec<(Group<'a>, Times)> {
        let Self { groups, mut times, .. } = self;
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        groups.into_iter().map(|(group, place)| (group, std::mem::take(&mut times[place]))).collect()
    }
}
