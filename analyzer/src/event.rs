//! A row of a capture as the analysis sees it: a few common values, and any column on demand.
//!
//! [`Block`] holds rows; [`Snapshot`] is what is kept of an event when its block is gone.

mod block;
mod flow;
mod payload;
mod snapshot;

pub use block::Block;
pub use flow::Flow;
pub use payload::Payloads;
pub use snapshot::{Place, Snapshot};

pub use ntc::catalog::Effect;
use ntc::{ColumnId, Value};

use crate::address::Addr;
use crate::names::Name;
use crate::probes::Probe;

/// Where a row stands in its capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    /// The row group.
    pub group: u32,
    /// The row in it.
    pub row: u32,
}

impl RowId {
    /// The first row of a row group.
    pub fn first_of(group: usize) -> Self {
        Self { group: group as u32, row: 0 }
    }
}

/// In which context an event happened (`ctx`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Context {
    /// A process: its own system call, or a kernel thread such as one that polls a device (threaded NAPI).
    Task,
    /// A softirq, or an interrupt.
    Softirq,
    /// Not recorded.
    #[default]
    Unknown,
}

impl Context {
    /// The context of a text.
    fn of(text: &str) -> Self {
        match text {
            "task" => Self::Task,
            "" => Self::Unknown,
            _ => Self::Softirq,
        }
    }
}

/// A row. `'b` is its block, `'a` the names of the capture.
#[derive(Clone, Copy)]
pub struct Event<'b, 'a> {
    /// Where it stands.
    pub id: RowId,
    /// Time, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// CPU.
    pub cpu: u16,
    /// Address of the packet; 0 where it is about none.
    pub skb: u64,
    /// What happened to the packet or socket.
    pub effect: Effect,
    /// What is known of the probe.
    pub about: Probe,
    /// Its block.
    block: &'b Block<'a>,
}

impl<'b, 'a> Event<'b, 'a> {
    /// The row in its block.
    fn row(&self) -> usize {
        self.block.row(self.id)
    }

    /// Whether it fits the filter expression, if there is one.
    pub fn fits(&self) -> bool {
        self.block.fits(self.row())
    }

    /// Its block.
    pub fn block(&self) -> &'b Block<'a> {
        self.block
    }

    /// The probe's name.
    pub fn probe(&self) -> Name<'a> {
        self.name(ColumnId::Probe)
    }

    /// The text of a column.
    pub fn name(&self, id: ColumnId) -> Name<'a> {
        self.block.name(id, self.row())
    }

    /// The number of a column of 8 bits.
    pub fn u8(&self, id: ColumnId) -> Option<u8> {
        self.block.u8(id, self.row())
    }

    /// The number of a column of 16 bits.
    pub fn u16(&self, id: ColumnId) -> Option<u16> {
        self.block.u16(id, self.row())
    }

    /// The number of a column of 32 bits.
    pub fn u32(&self, id: ColumnId) -> Option<u32> {
        self.block.u32(id, self.row())
    }

    /// The number of a column of 64 bits.
    pub fn u64(&self, id: ColumnId) -> Option<u64> {
        self.block.u64(id, self.row())
    }

    /// The signed number of a column.
    pub fn i64(&self, id: ColumnId) -> Option<i64> {
        self.block.i64(id, self.row())
    }

    /// The raw bytes of a column.
    pub fn bytes(&self, id: ColumnId) -> Option<&'b [u8]> {
        self.block.bytes(id, self.row())
    }

    /// The value of any column.
    pub fn value(&self, id: ColumnId) -> Option<Value<'b>> {
        self.block.batch().value(id, self.row())
    }

    /// Address of the socket; 0 where it is about none.
    pub fn sk(&self) -> u64 {
        self.u64(ColumnId::Sk).unwrap_or(0)
    }

    /// In which context it happened.
    pub fn context(&self) -> Context {
        self.block.context(self.row())
    }

    /// Device and namespace.
    pub fn place(&self) -> Place<'a> {
        Place {
            dev: self.name(ColumnId::Dev),
            netns: self.u32(ColumnId::Netns).unwrap_or(0),
            ifindex: self.u32(ColumnId::Ifindex).unwrap_or(0),
        }
    }

    /// Whether the packet was received by a device (`skb->skb_iif`), and so is not the host's own.
    pub fn was_received(&self) -> bool {
        self.u32(ColumnId::Iif).is_some_and(|iif| iif != 0)
    }

    /// Source address; of sockets the local one.
    pub fn saddr(&self) -> Addr {
        self.block.address(ColumnId::Saddr, self.row())
    }

    /// Destination address; of sockets the remote one, of neighbours theirs.
    pub fn daddr(&self) -> Addr {
        self.block.address(ColumnId::Daddr, self.row())
    }

    /// Whether it has the addresses of a packet or a socket.
    pub fn has_addresses(&self) -> bool {
        let known = |address: Addr| !address.is_none() && !address.is_unspecified();
        known(self.saddr()) || known(self.daddr())
    }

    /// Who talks to whom.
    pub fn flow(&self) -> Flow<'a> {
        // A socket has the port 0 as long as it is not bound (`inet_num`); in a header it is a port.
        let port = |id| self.u16(id).filter(|port| *port != 0 || !self.about.two_way);
        Flow {
            src: self.saddr(),
            dst: self.daddr(),
            sport: port(ColumnId::Sport),
            dport: port(ColumnId::Dport),
            l4: self.name(ColumnId::L4).or(self.name(ColumnId::Protocol)),
        }
    }

    /// How the return of a call names it: CPU and number on that CPU, as in the column `entry`.
    pub fn call(&self) -> Option<u64> {
        let seq = self.u64(ColumnId::Seq)?;
        Some(u64::from(self.cpu) << 48 | seq & 0xffff_ffff_ffff)
    }
}
