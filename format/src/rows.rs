//! The row builder: values are put column by column, and a row pays only for the values it has.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use arrow_array::types::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch,
    RecordBatchOptions, StringArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use crate::error::Error;
use crate::nulls;
use crate::schema::{self, Type};

/// A dictionary with more entries than this is emptied by [`Rows::finish`].
const DICTIONARY_ENTRIES: usize = 65_536;
/// A dictionary with more bytes of text than this is emptied by [`Rows::finish`].
const DICTIONARY_BYTES: usize = 16 << 20;

/// Which rows of a column have no value.
///
/// Nulls are noted as ranges, and only when the next value comes.
#[derive(Debug, Default)]
struct Gaps(Vec<(usize, usize)>);

impl Gaps {
    /// Notes that the rows from `start` to before `end` have no value.
    #[inline]
    fn add(&mut self, start: usize, end: usize) {
        if start < end {
            self.0.push((start, end));
        }
    }

    /// Takes the ranges as Arrow's bitmap of `rows` rows.
    fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut bits = vec![0xff_u8; rows.div_ceil(8)];
        for (start, end) in self.0.drain(..) {
            clear(&mut bits, start, end.min(rows));
        }
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)))
    }
}

/// Clears the bits from `start` to before `end`, whole bytes at once where it can.
fn clear(bits: &mut [u8], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        if at.is_multiple_of(8) && end - at >= 8 {
            bits[at / 8] = 0;
            at += 8;
        } else {
            bits[at / 8] &= !(1 << (at % 8));
            at += 1;
        }
    }
}

/// A column of numbers or truth values that is being filled.
#[derive(Debug, Default)]
pub struct Column<T> {
    /// Values up to the last row that has one; skipped rows repeat the one before, so that they part no runs.
    values: Vec<T>,
    /// The skipped rows.
    gaps: Gaps,
}

impl<T: Copy + Default> Column<T> {
    /// Sets the value of `row`, which is the newest row; a second value replaces the first.
    #[inline]
    pub fn put(&mut self, row: usize, value: T) {
        if row != self.values.len() {
            self.seek(row);
        }
        self.values.push(value);
    }

    /// Makes `row` the next to be pushed.
    #[inline]
    fn seek(&mut self, row: usize) {
        self.gaps.add(self.values.len(), row);
        let before = self.values.last().copied().unwrap_or_default();
        if row == self.values.len() + 1 {
            self.values.push(before);
        } else {
            self.values.resize(row, before);
        }
    }

    /// Takes the values and the bitmap of `rows` rows, or nothing where no row has a value.
    fn take(&mut self, rows: usize) -> Option<(Vec<T>, Option<NullBuffer>)> {
        if self.values.is_empty() {
            return None;
        }
        self.seek(rows);
        // A fresh vector of the same room: the old one becomes Arrow's buffer without a copy.
        let values = mem::replace(&mut self.values, Vec::with_capacity(rows));
        Some((values, self.gaps.take(rows)))
    }
}

impl<T: Copy + Default + ArrowNativeType> Column<T> {
    /// Takes the column as an Arrow array of `rows` rows.
    fn array<A: ArrowPrimitiveType<Native = T>>(&mut self, kind: Type, rows: usize) -> ArrayRef {
        let Some((values, nulls)) = self.take(rows) else { return nulls::array(kind, rows) };
        Arc::new(PrimitiveArray::<A>::new(ScalarBuffer::from(values), nulls))
    }
}

impl Column<bool> {
    /// Takes the column as an Arrow array of `rows` rows.
    fn bools(&mut self, rows: usize) -> ArrayRef {
        let Some((values, nulls)) = self.take(rows) else { return nulls::array(Type::Bool, rows) };
        Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
    }
}

/// A column of text that is being filled: keys into a dictionary that stays from batch to batch.
#[derive(Debug, Default)]
pub struct Text {
    /// The key of each row.
    keys: Column<i32>,
    /// The keys by text. The default hasher is keyed by random bits, as names and addresses come from outside.
    index: HashMap<Box<str>, i32, ahash::RandomState>,
    /// The texts by key, one behind the other.
    bytes: Vec<u8>,
    /// Where each text begins, and the end of the last.
    offsets: Vec<i32>,
    /// The dictionary as an array, as long as nothing was added.
    values: Option<ArrayRef>,
}

impl Text {
    /// The key of a text. It stays valid until [`Rows::generation`] changes.
    pub fn intern(&mut self, text: &str) -> i32 {
        if let Some(key) = self.index.get(text) {
            return *key;
        }
        let key = self.index.len() as i32;
        self.index.insert(text.into(), key);
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i32);
        self.values = None;
        key
    }

    /// Sets the value of `row`, which is the newest row, by its key.
    #[inline]
    pub fn put(&mut self, row: usize, key: i32) {
        self.keys.put(row, key);
    }

    /// Sets the value of `row`, which is the newest row.
    pub fn put_str(&mut self, row: usize, text: &str) {
        let key = self.intern(text);
        self.put(row, key);
    }

    /// Takes the column as an Arrow array of `rows` rows.
    fn array(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let Some((keys, nulls)) = self.keys.take(rows) else {
            return Ok(nulls::array(Type::Text, rows));
        };
        let keys = PrimitiveArray::<Int32Type>::new(ScalarBuffer::from(keys), nulls);
        Ok(Arc::new(DictionaryArray::try_new(keys, self.values()?)?))
    }

    /// The dictionary as an Arrow array.
    fn values(&mut self) -> Result<ArrayRef, ArrowError> {
        if let Some(values) = &self.values {
            return Ok(values.clone());
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        let values = StringArray::try_new(offsets, Buffer::from_slice_ref(&self.bytes), None)?;
        Ok(self.values.insert(Arc::new(values)).clone())
    }

    /// Empties a dictionary that grew too large, and says whether it did.
    fn shrink(&mut self) -> bool {
        let large = self.index.len() > DICTIONARY_ENTRIES || self.bytes.len() > DICTIONARY_BYTES;
        if large {
            *self = Self { keys: mem::take(&mut self.keys), ..Self::default() };
        }
        large
    }
}

/// A column of raw bytes that is being filled.
#[derive(Debug, Default)]
pub struct Bytes {
    /// The values, one behind the other.
    bytes: Vec<u8>,
    /// Where each row's value ends.
    ends: Column<i32>,
}

impl Bytes {
    /// Sets the value of `row`, which is the newest row.
    pub fn put(&mut self, row: usize, value: &[u8]) {
        self.seek(row);
        self.bytes.extend_from_slice(value);
        self.ends.values.push(self.bytes.len() as i32);
    }

    /// Makes `row` the next to be pushed: skipped rows end where they begin.
    fn seek(&mut self, row: usize) {
        self.ends.gaps.add(self.ends.values.len(), row);
        self.ends.values.truncate(row);
        let end = self.ends.values.last().copied().unwrap_or(0);
        self.bytes.truncate(end as usize);
        self.ends.values.resize(row, end);
    }

    /// Takes the column as an Arrow array of `rows` rows.
    fn array(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.ends.values.is_empty() {
            return Ok(nulls::array(Type::Bytes, rows));
        }
        self.seek(rows);
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        offsets.append(&mut self.ends.values);
        let room = self.bytes.len();
        let bytes = mem::replace(&mut self.bytes, Vec::with_capacity(room));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), self.ends.gaps.take(rows))?))
    }
}

/// Rows that are being filled, one public field for each column of [`schema::COLUMNS`].
#[derive(Debug, Default)]
pub struct Rows {
    /// Rows begun.
    count: usize,
    /// How often dictionaries were emptied.
    generation: u64,
    /// Time of the event, ns of CLOCK_MONOTONIC on the recorded host.
    pub ts: Column<u64>,
    /// CPU on which it happened.
    pub cpu: Column<u16>,
    /// Per-CPU counter of kernel events; a gap is an exact position of loss.
    pub seq: Column<u64>,
    /// Pkt, free, sock, tcp, icmp, neigh, clock or loss.
    pub kind: Text,
    /// Kernel tracepoint or function that fired.
    pub probe: Text,
    /// Process of the current task (in ctx `task` only the packet's own).
    pub pid: Column<u32>,
    /// Thread of the current task.
    pub tid: Column<u32>,
    /// Name of the current task.
    pub comm: Text,
    /// Task, softirq, hardirq or nmi.
    pub ctx: Text,
    /// Address of the struct sk_buff.
    pub skb: Column<u64>,
    /// Skb->head, the packet's data buffer.
    pub head: Column<u64>,
    /// Address of the struct sock.
    pub sk: Column<u64>,
    /// Inode of the network namespace.
    pub netns: Column<u32>,
    /// Index of skb->dev in its namespace.
    pub ifindex: Column<u32>,
    /// Name of skb->dev at that moment.
    pub dev: Text,
    /// Skb->skb_iif: index of the device it was received on; null where not received.
    pub iif: Column<u32>,
    /// Skb->len, bytes.
    pub len: Column<u32>,
    /// Skb->data_len, bytes in fragments.
    pub data_len: Column<u32>,
    /// Payload bytes per segment of a GSO packet.
    pub gso_size: Column<u16>,
    /// Segments of a GSO packet.
    pub gso_segs: Column<u16>,
    /// Skb->mark.
    pub mark: Column<u32>,
    /// Skb->hash.
    pub hash: Column<u32>,
    /// Skb->queue_mapping.
    pub queue: Column<u16>,
    /// Ethertype as pcap-filter names it (ip, ip6, arp), else 0x88cc.
    pub protocol: Text,
    /// Raw bytes from the network header; null where unchanged since the last row of the same skb.
    pub header: Bytes,
    /// Source address.
    pub saddr: Text,
    /// Destination address.
    pub daddr: Text,
    /// Tcp, udp, icmp, icmp6, sctp, ..., else the IP protocol number.
    pub l4: Text,
    /// Source port.
    pub sport: Column<u16>,
    /// Destination port.
    pub dport: Column<u16>,
    /// IPv4 identification, or that of the IPv6 fragment header.
    pub ip_id: Column<u32>,
    /// TTL or hop limit.
    pub ttl: Column<u8>,
    /// Type of service or traffic class.
    pub tos: Column<u8>,
    /// Fragment offset in bytes; null where not a fragment.
    pub frag_off: Column<u16>,
    /// More fragments follow; null where not a fragment.
    pub more_frags: Column<bool>,
    /// TCP sequence number.
    pub tcp_seq: Column<u32>,
    /// TCP acknowledgment number.
    pub tcp_ack: Column<u32>,
    /// Letters of FSRPAUEC that are set, in this order.
    pub tcp_flags: Text,
    /// TCP window field, unscaled.
    pub tcp_win: Column<u16>,
    /// TCP timestamp value.
    pub tcp_tsval: Column<u32>,
    /// TCP timestamp echo reply.
    pub tcp_tsecr: Column<u32>,
    /// ICMP or ICMPv6 type.
    pub icmp_type: Column<u8>,
    /// ICMP or ICMPv6 code.
    pub icmp_code: Column<u8>,
    /// Identifier of echo messages.
    pub icmp_id: Column<u16>,
    /// Sequence number of echo messages.
    pub icmp_seq: Column<u16>,
    /// Vxlan, geneve, gre, ipip, sit or ip6tnl where the packet carries one.
    pub tunnel: Text,
    /// VNI or GRE key.
    pub tunnel_id: Column<u32>,
    /// Hash of the first 32 payload bytes (or as many as were seen).
    pub payload_hash: Column<u64>,
    /// Drop reason or reset reason, by the recording kernel's own enum.
    pub reason: Text,
    /// Function+offset that freed the packet.
    pub location: Text,
    /// Folded kernel stack, innermost first: a+0x1;b+0x2.
    pub stack: Text,
    /// Return value (net_dev_xmit: rc), or the tracepoint's error.
    pub ret: Column<i64>,
    /// Address family of the socket: inet, inet6, unix, ....
    pub family: Text,
    /// TCP or neighbour state before.
    pub old_state: Text,
    /// TCP or neighbour state after, or at the event.
    pub new_state: Text,
    /// TCP congestion state: Open, Disorder, CWR, Recovery, Loss.
    pub ca_state: Text,
    /// Next sequence to be sent.
    pub snd_nxt: Column<u32>,
    /// First unacknowledged sequence.
    pub snd_una: Column<u32>,
    /// Next sequence expected.
    pub rcv_nxt: Column<u32>,
    /// Congestion window, segments.
    pub snd_cwnd: Column<u32>,
    /// Slow start threshold, segments.
    pub ssthresh: Column<u32>,
    /// Peer's receive window, bytes.
    pub snd_wnd: Column<u32>,
    /// Own receive window, bytes.
    pub rcv_wnd: Column<u32>,
    /// Smoothed round-trip time, us.
    pub srtt: Column<u32>,
    /// Segments in flight.
    pub packets_out: Column<u32>,
    /// Retransmitted segments in flight.
    pub retrans_out: Column<u32>,
    /// Segments considered lost.
    pub lost_out: Column<u32>,
    /// Segments acknowledged selectively.
    pub sacked_out: Column<u32>,
    /// Retransmissions of the connection so far.
    pub total_retrans: Column<u32>,
    /// Sk_rmem_alloc, bytes queued for receiving.
    pub rmem: Column<u32>,
    /// Sk_rcvbuf, bytes.
    pub rcvbuf: Column<u32>,
    /// Sk_wmem_queued, bytes queued for sending.
    pub wmem: Column<u32>,
    /// Sk_sndbuf, bytes.
    pub sndbuf: Column<u32>,
    /// Sk_ack_backlog of a listener, connections.
    pub backlog: Column<u32>,
    /// Sk_max_ack_backlog of a listener, connections.
    pub max_backlog: Column<u32>,
    /// Clock rows: REALTIME, BOOTTIME, TAI, RAW, ADJ_FREQ; neigh rows: table.
    pub name: Text,
    /// Clock rows: ns (ADJ_FREQ: 2^-16 ppm); loss rows: events lost.
    pub value: Column<i64>,
    /// Clock rows: width of the bracket, ns; loss rows: the ns before ts they fell in.
    pub span: Column<u64>,
    /// Ret and nf rows: cpu << 48 | seq of the row of the call that returns.
    pub entry: Column<u64>,
    /// Link rows: address of the other struct sk_buff.
    pub child: Column<u64>,
    /// Link rows: clone, copy, segment, fragment or merge.
    pub relation: Text,
    /// Nf rows: the verdict.
    pub verdict: Text,
    /// Nf rows: the hook.
    pub hook: Text,
    /// Nf rows: the table.
    pub table: Text,
    /// Nf rows: the chain.
    pub chain: Text,
    /// Nf rows of nf_hook_slow: the functions called there.
    pub hooks: Text,
    /// Nf rows of nft_trace_notify: the rule's handle.
    pub handle: Column<u64>,
    /// Nf rows of nft_trace_notify: rule, return or policy.
    pub step: Text,
}

impl Rows {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a row and returns its index, by which values are put.
    #[expect(clippy::should_implement_trait, reason = "a builder, nothing to iterate over")]
    pub fn next(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    /// Rows begun since the last [`Rows::finish`].
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no row was begun since the last [`Rows::finish`].
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Changes whenever dictionaries were emptied: keys from [`Text::intern`] must then be asked for again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes the rows as a batch. Room and dictionaries are kept for the next ones.
    pub fn finish(&mut self) -> Result<RecordBatch, Error> {
        let batch = self.batch().map_err(|e| Error::Schema { what: e.to_string() });
        let texts = self.texts();
        // Every dictionary is looked at: `any` alone would stop at the first that was emptied.
        if texts.into_iter().map(Text::shrink).filter(|emptied| *emptied).count() > 0 {
            self.generation += 1;
        }
        batch
    }

    /// Takes the rows as a batch.
    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = mem::take(&mut self.count);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema::schema(), self.arrays(rows)?, &options)
    }

    /// The columns of text.
    fn texts(&mut self) -> Vec<&mut Text> {
        vec![
            &mut self.kind,
            &mut self.probe,
            &mut self.comm,
            &mut self.ctx,
            &mut self.dev,
            &mut self.protocol,
            &mut self.saddr,
            &mut self.daddr,
            &mut self.l4,
            &mut self.tcp_flags,
            &mut self.tunnel,
            &mut self.reason,
            &mut self.location,
            &mut self.stack,
            &mut self.family,
            &mut self.old_state,
            &mut self.new_state,
            &mut self.ca_state,
            &mut self.name,
            &mut self.relation,
            &mut self.verdict,
            &mut self.hook,
            &mut self.table,
            &mut self.chain,
            &mut self.hooks,
            &mut self.step,
        ]
    }

    /// Takes every column as an array of `n` rows, in the schema's order.
    #[expect(clippy::too_many_lines, reason = "one line for each column")]
    fn arrays(&mut self, n: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            self.ts.array::<UInt64Type>(Type::U64, n),
            self.cpu.array::<UInt16Type>(Type::U16, n),
            self.seq.array::<UInt64Type>(Type::U64, n),
            self.kind.array(n)?,
            self.probe.array(n)?,
            self.pid.array::<UInt32Type>(Type::U32, n),
            self.tid.array::<UInt32Type>(Type::U32, n),
            self.comm.array(n)?,
            self.ctx.array(n)?,
            self.skb.array::<UInt64Type>(Type::U64, n),
            self.head.array::<UInt64Type>(Type::U64, n),
            self.sk.array::<UInt64Type>(Type::U64, n),
            self.netns.array::<UInt32Type>(Type::U32, n),
            self.ifindex.array::<UInt32Type>(Type::U32, n),
            self.dev.array(n)?,
            self.iif.array::<UInt32Type>(Type::U32, n),
            self.len.array::<UInt32Type>(Type::U32, n),
            self.data_len.array::<UInt32Type>(Type::U32, n),
            self.gso_size.array::<UInt16Type>(Type::U16, n),
            self.gso_segs.array::<UInt16Type>(Type::U16, n),
            self.mark.array::<UInt32Type>(Type::U32, n),
            self.hash.array::<UInt32Type>(Type::U32, n),
            self.queue.array::<UInt16Type>(Type::U16, n),
            self.protocol.array(n)?,
            self.header.array(n)?,
            self.saddr.array(n)?,
            self.daddr.array(n)?,
            self.l4.array(n)?,
            self.sport.array::<UInt16Type>(Type::U16, n),
            self.dport.array::<UInt16Type>(Type::U16, n),
            self.ip_id.array::<UInt32Type>(Type::U32, n),
            self.ttl.array::<UInt8Type>(Type::U8, n),
            self.tos.array::<UInt8Type>(Type::U8, n),
            self.frag_off.array::<UInt16Type>(Type::U16, n),
            self.more_frags.bools(n),
            self.tcp_seq.array::<UInt32Type>(Type::U32, n),
            self.tcp_ack.array::<UInt32Type>(Type::U32, n),
            self.tcp_flags.array(n)?,
            self.tcp_win.array::<UInt16Type>(Type::U16, n),
            self.tcp_tsval.array::<UInt32Type>(Type::U32, n),
            self.tcp_tsecr.array::<UInt32Type>(Type::U32, n),
            self.icmp_type.array::<UInt8Type>(Type::U8, n),
            self.icmp_code.array::<UInt8Type>(Type::U8, n),
            self.icmp_id.array::<UInt16Type>(Type::U16, n),
            self.icmp_seq.array::<UInt16Type>(Type::U16, n),
            self.tunnel.array(n)?,
            self.tunnel_id.array::<UInt32Type>(Type::U32, n),
            self.payload_hash.array::<UInt64Type>(Type::U64, n),
            self.reason.array(n)?,
            self.location.array(n)?,
            self.stack.array(n)?,
            self.ret.array::<Int64Type>(Type::I64, n),
            self.family.array(n)?,
            self.old_state.array(n)?,
            self.new_state.array(n)?,
            self.ca_state.array(n)?,
            self.snd_nxt.array::<UInt32Type>(Type::U32, n),
            self.snd_una.array::<UInt32Type>(Type::U32, n),
            self.rcv_nxt.array::<UInt32Type>(Type::U32, n),
            self.snd_cwnd.array::<UInt32Type>(Type::U32, n),
            self.ssthresh.array::<UInt32Type>(Type::U32, n),
            self.snd_wnd.array::<UInt32Type>(Type::U32, n),
            self.rcv_wnd.array::<UInt32Type>(Type::U32, n),
            self.srtt.array::<UInt32Type>(Type::U32, n),
            self.packets_out.array::<UInt32Type>(Type::U32, n),
            self.retrans_out.array::<UInt32Type>(Type::U32, n),
            self.lost_out.array::<UInt32Type>(Type::U32, n),
            self.sacked_out.array::<UInt32Type>(Type::U32, n),
            self.total_retrans.array::<UInt32Type>(Type::U32, n),
            self.rmem.array::<UInt32Type>(Type::U32, n),
            self.rcvbuf.array::<UInt32Type>(Type::U32, n),
            self.wmem.array::<UInt32Type>(Type::U32, n),
            self.sndbuf.array::<UInt32Type>(Type::U32, n),
            self.backlog.array::<UInt32Type>(Type::U32, n),
            self.max_backlog.array::<UInt32Type>(Type::U32, n),
            self.name.array(n)?,
            self.value.array::<Int64Type>(Type::I64, n),
            self.span.array::<UInt64Type>(Type::U64, n),
            self.entry.array::<UInt64Type>(Type::U64, n),
            self.child.array::<UInt64Type>(Type::U64, n),
            self.relation.array(n)?,
            self.verdict.array(n)?,
            self.hook.array(n)?,
            self.table.array(n)?,
            self.chain.array(n)?,
            self.hooks.array(n)?,
            self.handle.array::<UInt64Type>(Type::U64, n),
            self.step.array(n)?,
        ])
    }
}
