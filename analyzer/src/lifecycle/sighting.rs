//! Where a packet was seen, and when: what the times between the stages of its way are made of.

use ntc::ColumnId;

use crate::event::{Context, Effect, Event, Place};
use crate::names::Name;

/// A packet at a probe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting<'a> {
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// Which of the probes that are asked for it is; none: it only moves the packet between a device and the host.
    pub asked: Option<u16>,
    /// What happened there.
    pub effect: Effect,
    /// CPU.
    pub cpu: u16,
    /// Queue of the device (`skb->queue_mapping`), where the column was read; none where it is 0 or was not recorded.
    pub queue: Option<u16>,
    /// Device and namespace.
    pub at: Place<'a>,
    /// Name of the task that sends or reads, where the column was read and a task is at work.
    pub task: Name<'a>,
}

impl<'a> Sighting<'a> {
    /// What an event shows, if that is asked for.
    pub fn of(event: &Event<'_, 'a>) -> Option<Self> {
        let about = &event.about;
        let asked = if is_at_probe(event.effect) { about.asked } else { about.asked_return };
        (asked.is_some() || moves(event.effect)).then(|| Self {
            ts: event.ts,
            asked,
            effect: event.effect,
            cpu: event.cpu,
            queue: event.u16(ColumnId::Queue),
            at: event.place(),
            task: Some(event.name(ColumnId::Comm))
                .filter(|comm| comm.is_some() && event.context() == Context::Task)
                .unwrap_or_default(),
        })
    }
}

/// Whether an event happened where its probe is, and not when a function returned there.
fn is_at_probe(effect: Effect) -> bool {
    !matches!(effect, Effect::Return | Effect::Verdict)
}

/// Whether an event moves a packet between a device and the host.
pub fn moves(effect: Effect) -> bool {
    matches!(effect, Effect::RxEntry | Effect::RxBacklog | Effect::Receive | Effect::Queue | Effect::Start)
}
