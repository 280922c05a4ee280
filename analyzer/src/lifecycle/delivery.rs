//! What is told of a packet without its header, and which packet it is then: the one that the CPU had last.

use ntc::ColumnId;

use super::calls::LifeRef;
use crate::event::{Context, Event, Flow};

/// Packets that the drivers of a CPU have at once, at most: devices are stacked so deep (`XMIT_RECURSION_LIMIT` is 8).
const MAX_STARTS: usize = 16;

/// The packet that a CPU received last, and that no socket has announced yet.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// Address of the packet.
    skb: u64,
    /// Its life.
    life: LifeRef,
    /// Who received it.
    receiver: Receiver,
}

/// Who runs the protocols: the softirq of the CPU, or a task that polls a device (threaded NAPI, busy polling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receiver {
    /// The context.
    context: Context,
    /// The thread, where it is a task.
    thread: Option<u32>,
}

impl Receiver {
    /// Who an event happened to.
    fn of(event: &Event<'_, '_>) -> Self {
        let context = event.context();
        let is_task = context == Context::Task;
        let thread = event.u32(ColumnId::Tid).or(event.u32(ColumnId::Pid)).filter(|_| is_task);
        Self { context, thread }
    }

    /// Whether what it received may be what an event of a socket announces. A task announces what it received itself;
    /// when it announces anything else, it works off what softirqs left to it (`release_sock`).
    fn may_be(&self, other: &Self) -> bool {
        match (self.context, other.context) {
            (Context::Task, Context::Task) => self.thread.is_some() && self.thread == other.thread,
            (_, Context::Task) => false,
            (Context::Task, _) => false,
            _ => true,
        }
    }
}

/// By CPU, what was received last.
#[derive(Debug, Default)]
pub(super) struct Received(Vec<Option<Last>>);

impl Received {
    /// A CPU received a packet.
    pub(super) fn set(&mut self, event: &Event<'_, '_>, life: LifeRef) {
        let cpu = usize::from(event.cpu);
        if self.0.len() <= cpu {
            self.0.resize(cpu + 1, None);
        }
        self.0[cpu] = Some(Last { skb: event.skb, life, receiver: Receiver::of(event) });
    }

    /// The packet that a socket announces: the last one of the CPU, if that received it for an internet socket.
    pub(super) fn announced_by(&self, event: &Event<'_, '_>) -> Option<(u64, LifeRef)> {
        let family = event.name(ColumnId::Family);
        let is_foreign = family.is_some() && family != "inet" && family != "inet6";
        let last = self.0.get(usize::from(event.cpu)).copied().flatten()?;
        (!is_foreign && last.receiver.may_be(&Receiver::of(event))).then_some((last.skb, last.life))
    }

    /// What a CPU received last was announced.
    pub(super) fn clear(&mut self, cpu: u16) {
        if let Some(last) = self.0.get_mut(usize::from(cpu)) {
            *last = None;
        }
    }
}

/// Whether a socket's ports do not contradict a packet's.
pub(super) fn ports_fit(socket: &Event<'_, '_>, packet: &Flow<'_>) -> bool {
    let fits = |of_socket: Option<u16>, of_packet: Option<u16>| match (of_socket, of_packet) {
        (Some(a), Some(b)) => a == 0 || a == b,
        _ => true,
    };
    fits(socket.u16(ColumnId::Sport), packet.dport) && fits(socket.u16(ColumnId::Dport), packet.sport)
}

/// By CPU, packets that drivers have and have not answered for: the answer comes on the same CPU, when the packet may
/// have been freed and its address may have another one.
#[derive(Debug, Default)]
pub(super) struct Starts(Vec<Vec<(u64, LifeRef)>>);

impl Starts {
    /// A driver gets a packet.
    pub(super) fn add(&mut self, event: &Event<'_, '_>, life: LifeRef) {
        let cpu = usize::from(event.cpu);
        if self.0.len() <= cpu {
            self.0.resize_with(cpu + 1, Vec::new);
        }
        let starts = &mut self.0[cpu];
        if starts.len() >= MAX_STARTS {
            starts.remove(0);
        }
        starts.push((event.skb, life));
    }

    /// The life that a driver answers for.
    pub(super) fn take(&mut self, event: &Event<'_, '_>) -> Option<LifeRef> {
        let starts = self.0.get_mut(usize::from(event.cpu))?;
        let position = starts.iter().rposition(|(skb, _)| *skb == event.skb)?;
        let life = starts[position].1;
        // What was given to drivers after it and is not answered for never will be.
        starts.truncate(position);
        Some(life)
    }
}
