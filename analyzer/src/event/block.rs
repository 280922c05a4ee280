//! The columns of a row group, or of a part of one, by their ids, with every text translated once.

use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BinaryArray, PrimitiveArray};
use ntc::catalog::Effect;
use ntc::schema::{Type, kind};
use ntc::{Batch, ColumnId};

use super::{Context, Event, RowId};
use crate::address::Addr;
use crate::names::{Name, Names};
use crate::probes::{Probe, Probes};

/// One column, or nothing where it was not asked for or has no value at all.
enum Slot<'a> {
    /// No value in any row.
    Absent,
    /// Unsigned numbers.
    U8(PrimitiveArray<UInt8Type>),
    /// Unsigned numbers.
    U16(PrimitiveArray<UInt16Type>),
    /// Unsigned numbers.
    U32(PrimitiveArray<UInt32Type>),
    /// Unsigned numbers.
    U64(PrimitiveArray<UInt64Type>),
    /// Signed numbers.
    I64(PrimitiveArray<Int64Type>),
    /// Keys and the names they stand for.
    Text(PrimitiveArray<Int32Type>, Vec<Name<'a>>),
    /// Keys and the addresses they stand for.
    Address(PrimitiveArray<Int32Type>, Vec<Addr>),
    /// Raw bytes.
    Bytes(BinaryArray),
}

/// Rows of a row group that are seen as events.
pub struct Block<'a> {
    /// The first of them.
    first: RowId,
    /// Rows.
    rows: usize,
    /// Columns by their ids.
    slots: Vec<Slot<'a>>,
    /// What the values of `probe` are.
    probes: Vec<Probe>,
    /// What the values of `kind` say of the effect of a row.
    kinds: Vec<RowKind>,
    /// What the values of `ctx` are.
    contexts: Vec<Context>,
    /// The columns as they were read.
    batch: Batch,
    /// Which rows fit the filter expression, if there is one.
    fits: Option<Vec<bool>>,
}

/// What the kind of a row says about its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowKind {
    /// The probe tells.
    OfProbe,
    /// A call with a packet, where the probe is not known.
    Packet,
    /// A packet's end, where the probe is not known.
    Free,
    /// Whatever the probe is.
    Fixed(Effect),
    /// A verdict of netfilter, unless the probe traces rules.
    Netfilter,
}

impl RowKind {
    /// The kind of a text.
    fn of(text: &str) -> Self {
        match text {
            kind::PKT => Self::Packet,
            kind::FREE => Self::Free,
            kind::RET => Self::Fixed(Effect::Return),
            kind::LINK => Self::Fixed(Effect::Link),
            kind::CLOCK => Self::Fixed(Effect::Clock),
            kind::LOSS => Self::Fixed(Effect::Loss),
            kind::NF => Self::Netfilter,
            _ => Self::OfProbe,
        }
    }

    /// The effect of a row of this kind at a probe.
    fn effect(self, probe: Probe) -> Effect {
        match self {
            Self::Fixed(effect) => effect,
            Self::Netfilter if probe.effect == Effect::Rule => Effect::Rule,
            Self::Netfilter => Effect::Verdict,
            Self::Packet if !probe.is_known => Effect::Call,
            Self::Free if !probe.is_known => Effect::Free,
            _ => probe.effect,
        }
    }
}

impl<'a> Block<'a> {
    /// Translates the texts of a batch that begins with a row.
    pub fn new(first: RowId, batch: Batch, names: &'a Names, probes: &Probes) -> Self {
        let slots: Vec<Slot<'a>> = ColumnId::ALL.iter().map(|id| slot(&batch, *id, names)).collect();
        let of_texts = |id: ColumnId| match &slots[id as usize] {
            Slot::Text(_, names) => names.as_slice(),
            _ => &[],
        };
        Self {
            first,
            rows: batch.rows(),
            probes: of_texts(ColumnId::Probe).iter().map(|name| probes.get(name.text())).collect(),
            kinds: of_texts(ColumnId::Kind).iter().map(|name| RowKind::of(name.text())).collect(),
            contexts: of_texts(ColumnId::Ctx).iter().map(|name| Context::of(name.text())).collect(),
            slots,
            batch,
            fits: None,
        }
    }

    /// Says which rows fit the filter expression.
    pub fn with_fits(self, fits: Option<Vec<bool>>) -> Self {
        Self { fits, ..self }
    }

    /// Whether a row fits the filter expression, if there is one.
    pub(super) fn fits(&self, row: usize) -> bool {
        self.fits.as_ref().is_none_or(|fits| fits.get(row).copied().unwrap_or_default())
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns as they were read.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Which of its rows a row is.
    pub(super) fn row(&self, id: RowId) -> usize {
        (id.row - self.first.row) as usize
    }

    /// A row as an event.
    pub fn event(&self, row: usize) -> Event<'_, 'a> {
        let probe = self.key(ColumnId::Probe, row).and_then(|key| self.probes.get(key)).copied();
        let kind = self.key(ColumnId::Kind, row).and_then(|key| self.kinds.get(key)).copied();
        let probe = probe.unwrap_or_default();
        Event {
            id: RowId { row: self.first.row + row as u32, ..self.first },
            ts: self.u64(ColumnId::Ts, row).unwrap_or(0),
            cpu: self.u16(ColumnId::Cpu, row).unwrap_or(0),
            skb: self.u64(ColumnId::Skb, row).unwrap_or(0),
            effect: kind.unwrap_or(RowKind::OfProbe).effect(probe),
            about: probe,
            block: self,
        }
    }

    /// The events of all rows.
    pub fn events(&self) -> impl Iterator<Item = Event<'_, 'a>> {
        (0..self.rows).map(|row| self.event(row))
    }

    /// In which context a row happened.
    pub(super) fn context(&self, row: usize) -> Context {
        let key = self.key(ColumnId::Ctx, row);
        key.and_then(|key| self.contexts.get(key)).copied().unwrap_or(Context::Unknown)
    }

    /// A number of 8 bits.
    pub(super) fn u8(&self, id: ColumnId, row: usize) -> Option<u8> {
        match &self.slots[id as usize] {
            Slot::U8(array) => get(array, row),
            _ => None,
        }
    }

    /// A number of 16 bits.
    pub(super) fn u16(&self, id: ColumnId, row: usize) -> Option<u16> {
        match &self.slots[id as usize] {
            Slot::U16(array) => get(array, row),
            _ => None,
        }
    }

    /// A number of 32 bits.
    pub(super) fn u32(&self, id: ColumnId, row: usize) -> Option<u32> {
        match &self.slots[id as usize] {
            Slot::U32(array) => get(array, row),
            _ => None,
        }
    }

    /// A number of 64 bits.
    pub(super) fn u64(&self, id: ColumnId, row: usize) -> Option<u64> {
        match &self.slots[id as usize] {
            Slot::U64(array) => get(array, row),
            _ => None,
        }
    }

    /// A signed number.
    pub(super) fn i64(&self, id: ColumnId, row: usize) -> Option<i64> {
        match &self.slots[id as usize] {
            Slot::I64(array) => get(array, row),
            _ => None,
        }
    }

    /// A text.
    pub(super) fn name(&self, id: ColumnId, row: usize) -> Name<'a> {
        match &self.slots[id as usize] {
            Slot::Text(keys, names) => get(keys, row).and_then(|key| names.get(key as usize)).copied(),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// An address.
    pub(super) fn address(&self, id: ColumnId, row: usize) -> Addr {
        match &self.slots[id as usize] {
            Slot::Address(keys, addresses) => {
                get(keys, row).and_then(|key| addresses.get(key as usize)).copied()
            }
            _ => None,
        }
        .unwrap_or_default()
    }

    /// Raw bytes.
    pub(super) fn bytes(&self, id: ColumnId, row: usize) -> Option<&[u8]> {
        match &self.slots[id as usize] {
            Slot::Bytes(array) => array.is_valid(row).then(|| array.value(row)),
            _ => None,
        }
    }

    /// The key of a text in the dictionary of its column.
    fn key(&self, id: ColumnId, row: usize) -> Option<usize> {
        match &self.slots[id as usize] {
            Slot::Text(keys, _) => get(keys, row).map(|key| key as usize),
            _ => None,
        }
    }
}

/// The value of a row, unless it is null.
#[inline]
fn get<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    let valid = array.nulls().is_none_or(|nulls| nulls.is_valid(row));
    if valid { array.values().get(row).copied() } else { None }
}

/// A column of a batch.
fn slot<'a>(batch: &Batch, id: ColumnId, names: &'a Names) -> Slot<'a> {
    let found = match id.column().kind {
        Type::U8 => batch.u8(id).cloned().map(Slot::U8),
        Type::U16 => batch.u16(id).cloned().map(Slot::U16),
        Type::U32 => batch.u32(id).cloned().map(Slot::U32),
        Type::U64 => batch.u64(id).cloned().map(Slot::U64),
        Type::I64 => batch.i64(id).cloned().map(Slot::I64),
        Type::Bytes => batch.bytes(id).map(|column| Slot::Bytes(column.array().clone())),
        Type::Text if matches!(id, ColumnId::Saddr | ColumnId::Daddr) => addresses(batch, id),
        Type::Text => texts(batch, id, names),
        Type::Bool => None,
    };
    found.unwrap_or(Slot::Absent)
}

/// A text column.
fn texts<'a>(batch: &Batch, id: ColumnId, names: &'a Names) -> Option<Slot<'a>> {
    let column = batch.text(id)?;
    let translated = column.values().iter().map(|text| names.name(text.unwrap_or_default())).collect();
    Some(Slot::Text(column.keys().clone(), translated))
}

/// A column of addresses.
fn addresses<'a>(batch: &Batch, id: ColumnId) -> Option<Slot<'a>> {
    let column = batch.text(id)?;
    let translated = column.values().iter().map(|text| Addr::from_text(text.unwrap_or_default())).collect();
    Some(Slot::Address(column.keys().clone(), translated))
}
