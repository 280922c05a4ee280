//! Columns -> events.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, PrimitiveArray, RecordBatch};
use arrow_schema::DataType;
use ntc::ColumnId;

use super::Event;
use crate::address::Addr;
use crate::symbol::Sym;

/// How a column's values get into events.
#[derive(Clone, Copy)]
enum Setter {
    /// Unsigned numbers.
    Number(fn(&mut Event, u64)),
    /// Signed numbers.
    Signed(fn(&mut Event, i64)),
    /// Text.
    Text(fn(&mut Event, Sym)),
    /// Addresses.
    Address(fn(&mut Event, Addr)),
}

use Setter::{Address, Number, Signed, Text};

/// The columns that events have, and where each goes.
const FIELDS: &[(&str, Setter)] = &[
    ("ts", Number(|e, v| e.ts = v)),
    ("cpu", Number(|e, v| e.cpu = v as u16)),
    ("kind", Text(|e, v| e.kind = v)),
    ("probe", Text(|e, v| e.probe = v)),
    ("skb", Number(|e, v| e.skb = v)),
    ("sk", Number(|e, v| e.sk = v)),
    ("pid", Number(|e, v| e.pid = v as u32)),
    ("comm", Text(|e, v| e.comm = v)),
    ("ctx", Text(|e, v| e.ctx = v)),
    ("netns", Number(|e, v| e.netns = v as u32)),
    ("ifindex", Number(|e, v| e.ifindex = v as u32)),
    ("dev", Text(|e, v| e.dev = v)),
    ("iif", Number(|e, v| e.iif = v as u32)),
    ("len", Number(|e, v| e.len = v as u32)),
    ("gso_segs", Number(|e, v| e.gso_segs = v as u16)),
    ("protocol", Text(|e, v| e.protocol = v)),
    ("saddr", Address(|e, v| e.saddr = v)),
    ("daddr", Address(|e, v| e.daddr = v)),
    ("l4", Text(|e, v| e.l4 = v)),
    ("sport", Number(|e, v| e.sport = v as u16)),
    ("dport", Number(|e, v| e.dport = v as u16)),
    ("ip_id", Number(|e, v| e.ip_id = v as u32)),
    ("ttl", Number(|e, v| e.ttl = v as u8)),
    ("tcp_seq", Number(|e, v| e.tcp_seq = v as u32)),
    ("tcp_ack", Number(|e, v| e.tcp_ack = v as u32)),
    ("tcp_flags", Text(|e, v| e.tcp_flags = v)),
    ("tcp_win", Number(|e, v| e.tcp_win = v as u16)),
    ("icmp_type", Number(|e, v| e.icmp_type = v as u8)),
    ("icmp_code", Number(|e, v| e.icmp_code = v as u8)),
    ("icmp_id", Number(|e, v| e.icmp_id = v as u16)),
    ("icmp_seq", Number(|e, v| e.icmp_seq = v as u16)),
    ("tunnel", Text(|e, v| e.tunnel = v)),
    ("reason", Text(|e, v| e.reason = v)),
    ("location", Text(|e, v| e.location = v)),
    ("stack", Text(|e, v| e.stack = v)),
    ("ret", Signed(|e, v| e.ret = v)),
    ("value", Signed(|e, v| e.value = v)),
    ("family", Text(|e, v| e.family = v)),
    ("old_state", Text(|e, v| e.old_state = v)),
    ("new_state", Text(|e, v| e.new_state = v)),
    ("rmem", Number(|e, v| e.rmem = v as u32)),
    ("rcvbuf", Number(|e, v| e.rcvbuf = v as u32)),
    ("backlog", Number(|e, v| e.backlog = v as u32)),
    ("max_backlog", Number(|e, v| e.max_backlog = v as u32)),
    ("name", Text(|e, v| e.name = v)),
    ("seq", Number(|e, v| e.seq = v)),
    ("entry", Number(|e, v| e.other = v)),
    ("child", Number(|e, v| e.other = v)),
    ("relation", Text(|e, v| e.says = v)),
    ("verdict", Text(|e, v| e.says = v)),
    ("hook", Text(|e, v| e.nf_hook = v)),
    ("table", Text(|e, v| e.nf_table = v)),
    ("chain", Text(|e, v| e.nf_chain = v)),
    ("hooks", Text(|e, v| e.nf_hooks = v)),
    ("handle", Number(|e, v| e.nf_handle = v)),
    ("step", Text(|e, v| e.nf_step = v)),
];

/// All columns that events have.
pub fn columns() -> Vec<ColumnId> {
    FIELDS.iter().filter_map(|(name, _)| ColumnId::from_name(name)).collect()
}

/// One column with its dictionary translated.
enum Source<'a> {
    /// Unsigned numbers.
    Number(&'a dyn Array, fn(&mut Event, u64)),
    /// Signed numbers.
    Signed(&'a PrimitiveArray<Int64Type>, fn(&mut Event, i64)),
    /// Keys and the symbols they stand for.
    Text(&'a PrimitiveArray<Int32Type>, Vec<Sym>, fn(&mut Event, Sym)),
    /// Keys and the addresses they stand for.
    Address(&'a PrimitiveArray<Int32Type>, Vec<Addr>, fn(&mut Event, Addr)),
}

/// A batch whose dictionaries are translated, so that its rows become events without looking at text.
pub struct Decoder<'a> {
    /// The columns that have a value at all.
    sources: Vec<Source<'a>>,
    /// Rows of the batch.
    rows: usize,
}

impl<'a> Decoder<'a> {
    /// Translates the dictionaries of a batch.
    pub fn new(batch: &'a RecordBatch) -> Self {
        let sources = FIELDS
            .iter()
            .filter_map(|(name, setter)| source(batch.column_by_name(name)?.as_ref(), *setter))
            .collect();
        Self { sources, rows: batch.num_rows() }
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The events of some rows.
    pub fn events(&self, rows: Range<usize>) -> Vec<Event> {
        let mut events = vec![Event::EMPTY; rows.len()];
        for source in &self.sources {
            source.fill(&rows, &mut events);
        }
        events
    }
}

/// The source for a column, unless all its values are null or it has another type than its name says.
fn source(array: &dyn Array, setter: Setter) -> Option<Source<'_>> {
    if array.null_count() == array.len() {
        return None;
    }
    match setter {
        Number(set) => Some(Source::Number(array, set)),
        Signed(set) => Some(Source::Signed(array.as_primitive_opt()?, set)),
        Text(set) => dictionary(array, Sym::new).map(|(keys, values)| Source::Text(keys, values, set)),
        Address(set) => {
            dictionary(array, Addr::from_text).map(|(keys, values)| Source::Address(keys, values, set))
        }
    }
}

/// The keys of a text column and what its values stand for.
fn dictionary<T>(
    array: &dyn Array,
    translate: fn(&str) -> T,
) -> Option<(&PrimitiveArray<Int32Type>, Vec<T>)> {
    let dictionary = array.as_dictionary_opt::<Int32Type>()?;
    let texts = dictionary.values().as_string_opt::<i32>()?;
    Some((dictionary.keys(), texts.iter().map(|text| translate(text.unwrap_or_default())).collect()))
}

impl Source<'_> {
    /// Puts the column's values of some rows into events.
    fn fill(&self, rows: &Range<usize>, events: &mut [Event]) {
        match self {
            Self::Number(array, set) => fill_number(*array, rows, events, *set),
            Self::Signed(array, set) => fill(array, rows, events, set),
            Self::Text(keys, texts, set) => fill(keys, rows, events, |e, key| {
                set(e, texts.get(key as usize).copied().unwrap_or_default());
            }),
            Self::Address(keys, addresses, set) => fill(keys, rows, events, |e, key| {
                set(e, addresses.get(key as usize).copied().unwrap_or_default());
            }),
        }
    }
}

/// Puts a column of unsigned numbers of any width into events.
fn fill_number(array: &dyn Array, rows: &Range<usize>, events: &mut [Event], set: fn(&mut Event, u64)) {
    match array.data_type() {
        DataType::UInt8 => fill(array.as_primitive::<UInt8Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt16 => fill(array.as_primitive::<UInt16Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt32 => fill(array.as_primitive::<UInt32Type>(), rows, events, |e, v| set(e, v.into())),
        DataType::UInt64 => fill(array.as_primitive::<UInt64Type>(), rows, events, set),
        _ => {}
    }
}

/// Puts the values of a column that are not null into events.
fn fill<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    rows: &Range<usize>,
    events: &mut [Event],
    set: impl Fn(&mut Event, T::Native),
) {
    let values = array.values().get(rows.clone()).unwrap_or_default();
    let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) else {
        events.iter_mut().zip(values).for_each(|(event, value)| set(event, *value));
        return;
    };
    for row in nulls.slice(rows.start, rows.len()).valid_indices() {
        set(&mut events[row], values[row]);
    }
}
