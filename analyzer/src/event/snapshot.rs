//! What is kept of an event when its row group is gone.

use ntc::ColumnId;
use serde::Serialize;

use super::{Effect, Event, Flow};
use crate::names::Name;

/// A device in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Place<'a> {
    /// Device.
    pub dev: Name<'a>,
    /// Namespace, inode; 0: unknown.
    pub netns: u32,
    /// Index of the device; 0: unknown.
    pub ifindex: u32,
}

/// An event that a finding may be made of.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// What happened.
    pub effect: Effect,
    /// The probe.
    pub probe: Name<'a>,
    /// Device and namespace.
    pub at: Place<'a>,
    /// The event's own header or socket.
    pub flow: Flow<'a>,
    /// Drop or reset reason as the kernel gives it.
    pub reason: Name<'a>,
    /// Function that freed the packet.
    pub location: Name<'a>,
    /// Kernel stack, folded.
    pub stack: Name<'a>,
    /// TCP flags as letters.
    pub tcp_flags: Name<'a>,
    /// Bytes of the packet.
    pub len: Option<u32>,
    /// Bytes queued for receiving, and the size of the buffer.
    pub receive_buffer: Option<(u32, u32)>,
}

impl<'a> Snapshot<'a> {
    /// Of an event.
    pub fn of(event: &Event<'_, 'a>) -> Self {
        Self {
            ts: event.ts,
            effect: event.effect,
            probe: event.probe(),
            at: event.place(),
            flow: if event.has_addresses() { event.flow() } else { Flow::default() },
            reason: event.name(ColumnId::Reason),
            location: event.name(ColumnId::Location),
            stack: event.name(ColumnId::Stack),
            tcp_flags: event.name(ColumnId::TcpFlags),
            len: event.u32(ColumnId::Len),
            receive_buffer: event.u32(ColumnId::Rmem).zip(event.u32(ColumnId::Rcvbuf)),
        }
    }
}
