//! The table of events: which columns it has, of which type, and what each means.
//!
//! [`COLUMNS`] is the only definition of the columns: the Arrow schema, the row builder, the access by
//! [`crate::columns::ColumnId`] and the table in `FORMAT.md` are made from it.

mod columns;

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef};

pub use columns::{COLUMNS, Column, Layout, Type};

use Type::{Bool, Bytes, I64, Text, U8, U16, U32, U64};

/// Major version of the file format that this build writes. It changes only where an older reader would misread a
/// file: when something is removed or changes its meaning. Readers refuse a newer one.
pub const FORMAT_MAJOR: u32 = 2;
/// Minor version. It changes when a column, a kind or a metadata key is added, which older readers ignore.
pub const FORMAT_MINOR: u32 = 1;

/// How many payload bytes `payload_hash` covers. A UDP datagram over IPv4 without options has 36 in the recorder's short
/// header.
pub const FINGERPRINT_BYTES: usize = 32;

/// All types. A file names a type by its position here.
pub(crate) const TYPES: [Type; 8] = [U8, U16, U32, U64, I64, Bool, Text, Bytes];

/// The position of a column by its name.
pub fn index_of(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|c| c.name == name)
}

/// The Arrow schema of the whole table.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> =
        LazyLock::new(|| Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>())));
    SCHEMA.clone()
}

/// The Arrow field of a column.
fn field(column: &Column) -> Field {
    Field::new(column.name, data_type(column.kind), !column.required)
}

/// The Arrow type of a column type.
pub(crate) fn data_type(kind: Type) -> DataType {
    match kind {
        U8 => DataType::UInt8,
        U16 => DataType::UInt16,
        U32 => DataType::UInt32,
        U64 => DataType::UInt64,
        I64 => DataType::Int64,
        Bool => DataType::Boolean,
        Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        Bytes => DataType::Binary,
    }
}

/// Values of the column `kind`.
pub mod kind {
    /// A packet at a probe.
    pub const PKT: &str = "pkt";
    /// A function's return; `entry` names its call, `ret` has the value.
    pub const RET: &str = "ret";
    /// Another packet (`child`) was derived from this one, or this one was merged into it.
    pub const LINK: &str = "link";
    /// A verdict of netfilter, at the return of what gave it.
    pub const NF: &str = "nf";
    /// A packet's end: `kfree_skb` (a drop) or `consume_skb`.
    pub const FREE: &str = "free";
    /// A socket: state change, data ready, receive queue full, buffer limit.
    pub const SOCK: &str = "sock";
    /// TCP: probe, retransmission, reset, congestion, end of the socket.
    pub const TCP: &str = "tcp";
    /// An ICMP error that this host sends.
    pub const ICMP: &str = "icmp";
    /// A neighbour (ARP, NDISC) entry.
    pub const NEIGH: &str = "neigh";
    /// A sample of another clock against CLOCK_MONOTONIC.
    pub const CLOCK: &str = "clock";
    /// Events that were lost on one CPU at one probe.
    pub const LOSS: &str = "loss";
}
