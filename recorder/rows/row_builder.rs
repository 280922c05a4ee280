//! Records -> rows of the capture's table: names instead of numbers, headers decoded.

use arrow_array::RecordBatch;
use ntc::{ClockSample, Interface, Rows, schema::kind};

use super::dictionary_keys::DictionaryKeys;
use super::header_cache::HeaderCache;
use super::interfaces::Interfaces;
use super::record::Record;
use super::recorded::Recorded;
use super::symbols::Symbols;
use super::{netfilter, socket};
use crate::attach::{Probe, Target};
use crate::bpf::types::{call_part, context, form, free_part, probe as Id, record};
use crate::kernel::enums::Enums;
use crate::kernel::functions::Function;
use crate::node::clock;

/// Events that one probe lost on one CPU.
pub struct Loss {
    /// When it was noticed, ns of CLOCK_MONOTONIC.
    pub ts: u64,
    /// The ns before `ts` in which they were lost.
    pub span: u64,
    /// The CPU.
    pub cpu: u16,
    /// The probe.
    pub probe: String,
    /// How many.
    pub count: u64,
}

/// Makes rows of records.
pub struct RowBuilder {
    /// The rows so far.
    rows: Rows,
    /// Keys of texts in the columns' dictionaries.
    keys: DictionaryKeys,
    /// Names of kernel addresses.
    symbols: Symbols,
    /// Names of reasons and states.
    enums: Enums,
    /// The header last seen at each skb address.
    headers: HeaderCache,
    /// Interfaces that events met.
    interfaces: Interfaces,
    /// How many events became rows.
    recorded: Recorded,
    /// The probes by their numbers.
    probes: Vec<Option<Probe>>,
}

impl RowBuilder {
    /// An empty table for this kernel.
    pub fn new(enums: Enums, known: &[Interface], probes: &[Probe]) -> Self {
        let probes = by_number(probes);
        Self {
            rows: Rows::new(),
            keys: DictionaryKeys::default(),
            symbols: Symbols::new(),
            enums,
            headers: HeaderCache::default(),
            interfaces: Interfaces::new(known),
            recorded: Recorded::new(probes.len()),
            probes,
        }
    }

    /// Events of a probe on a CPU recorded so far.
    pub fn recorded(&self, cpu: u16, probe: u16) -> u64 {
        self.recorded.of(cpu, probe)
    }

    /// Interfaces met since the last call.
    pub fn discovered(&mut self) -> Vec<Interface> {
        self.interfaces.discovered()
    }

    /// Rows in the current batch.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows as a batch; each batch stands alone, with every header stored again.
    pub fn finish(&mut self) -> Result<RecordBatch, ntc::Error> {
        let batch = self.rows.finish()?;
        self.keys.next_batch(self.rows.generation());
        Ok(batch)
    }

    /// Adds an event.
    pub fn push(&mut self, record: &Record<'_>) {
        let r = record.fixed;
        let number = usize::from(r.probe);
        let Some(Some(probe)) = self.probes.get(number) else { return };
        let row_kind = kind_of(record, probe);
        let row = self.rows.next();
        self.keys.put_probe(&mut self.rows, row, number, probe.name());
        self.keys.put_kind(&mut self.rows, row, row_kind);
        self.recorded.count(r);
        self.put_common(row, r);
        self.put_packet(row, r);
        let to = (&mut self.rows, &mut self.keys);
        let addressed = if record.header.is_empty() {
            self.headers.put_started(to, row, r)
        } else {
            self.headers.put(to, row, r, record.header)
        };
        if let Some(sock) = record.sock {
            socket::put((&mut self.rows, &mut self.keys), row, row_kind, &self.enums, sock);
            if !addressed && row_kind != kind::NEIGH {
                socket::put_sides(&mut self.rows, &mut self.keys, row, sock);
            }
        }
        self.put_rare(row, record);
    }

    /// Parts that most records do not have.
    fn put_rare(&mut self, row: usize, record: &Record<'_>) {
        let r = record.fixed;
        if let Some(free) = record.free {
            self.put_free(row, r.probe, free);
        }
        if let Some(call) = record.call {
            self.put_call(row, r, call);
        }
        if let Some(verdict) = record.netfilter {
            let function = function(&self.probes, r);
            netfilter::put_verdict(&mut self.rows, row, function, (r, verdict));
        }
        if let Some(hooks) = record.hooks {
            netfilter::put_hooks(&mut self.rows, row, &mut self.symbols, hooks);
        }
        if !record.stack.is_empty() {
            let folded = self.symbols.fold(record.stack);
            self.rows.stack.put_str(row, &folded);
        }
    }

    /// Columns of every kernel event.
    fn put_common(&mut self, row: usize, r: &record) {
        let rows = &mut self.rows;
        rows.ts.put(row, r.ts);
        rows.cpu.put(row, r.cpu);
        rows.seq.put(row, r.seq);
        rows.pid.put(row, r.pid);
        rows.tid.put(row, r.tid);
        let in_task = u32::from(r.ctx) == context::CTX_TASK.0;
        self.keys.put_ctx(rows, row, in_task);
        self.keys.put_comm(rows, row, &r.comm);
        if r.has_ret != 0 && u32::from(r.form) == form::FORM_ENTRY.0 {
            self.put_ret(row, r);
        }
    }

    /// The number that comes with an event: an argument of a tracepoint, or the round-trip time of a function.
    fn put_ret(&mut self, row: usize, r: &record) {
        if function(&self.probes, r).is_some_and(Function::measures_rtt) {
            self.rows.rtt.put(row, u32::try_from(r.ret).unwrap_or(u32::MAX));
        } else {
            self.rows.ret.put(row, r.ret);
        }
    }

    /// A return's value and its call, or the packets that a function relates.
    fn put_call(&mut self, row: usize, r: &record, call: &call_part) {
        if u32::from(r.form) == form::FORM_LINK.0 {
            self.rows.child.put(row, call.child);
            let relation =
                function(&self.probes, r).and_then(|f| Some(f.entry?.link.as_ref()?.relation.name()));
            self.rows.relation.put_str(row, relation.unwrap_or_default());
            return;
        }
        let value = function(&self.probes, r).map_or(r.ret, |function| function.read_return(r.ret));
        self.rows.ret.put(row, value);
        if call.entry != 0 {
            self.rows.entry.put(row, call.entry);
        }
    }

    /// Columns of the skb and its device.
    fn put_packet(&mut self, row: usize, r: &record) {
        let rows = &mut self.rows;
        if r.netns != 0 {
            rows.netns.put(row, r.netns);
        }
        if r.ifindex != 0 {
            rows.ifindex.put(row, r.ifindex);
            self.keys.put_dev(rows, row, &r.dev);
            self.interfaces.note(r);
        }
        let rows = &mut self.rows;
        if r.sk != 0 {
            rows.sk.put(row, r.sk);
        }
        if r.skb != 0 {
            rows.skb.put(row, r.skb);
        }
        if r.len != 0 {
            rows.len.put(row, r.len);
        }
        if r.head != 0 {
            self.put_skb(row, r);
        }
    }

    /// Columns that only an skb whose fields were read has.
    fn put_skb(&mut self, row: usize, r: &record) {
        let rows = &mut self.rows;
        rows.head.put(row, r.head);
        put_nonzero(&mut rows.data_len, row, r.data_len);
        put_nonzero(&mut rows.mark, row, r.mark);
        put_nonzero(&mut rows.hash, row, r.hash);
        put_nonzero(&mut rows.queue, row, r.queue);
        put_nonzero(&mut rows.iif, row, r.iif);
        if r.gso_size != 0 {
            rows.gso_size.put(row, r.gso_size);
            rows.gso_segs.put(row, r.gso_segs);
        }
        self.keys.put_protocol(rows, row, u16::from_be(r.protocol));
    }

    /// Reason, location and the ICMP error.
    fn put_free(&mut self, row: usize, number: u16, free: &free_part) {
        let id = u32::from(number);
        if free.has_reason != 0 {
            let names = if id == Id::TCP_SEND_RESET.0 { &self.enums.reset } else { &self.enums.drop };
            match names.get(&free.reason) {
                Some(name) => self.rows.reason.put_str(row, name),
                None => self.rows.reason.put_str(row, &format!("{:#x}", free.reason)),
            }
        }
        if free.location != 0 {
            self.rows.location.put_str(row, self.symbols.name(free.location));
        }
        if id == Id::ICMP_SEND.0 {
            self.rows.icmp_type.put(row, free.icmp_type);
            self.rows.icmp_code.put(row, free.icmp_code);
        }
    }

    /// Adds the rows of a clock sample.
    pub fn push_clock(&mut self, sample: &ClockSample) {
        for (name, value) in clock::rows(sample) {
            let row = self.rows.next();
            self.rows.ts.put(row, sample.monotonic);
            self.rows.cpu.put(row, 0);
            self.rows.kind.put_str(row, kind::CLOCK);
            self.rows.name.put_str(row, name);
            self.rows.value.put(row, value);
            self.rows.span.put(row, sample.bracket);
        }
    }

    /// Adds a row of loss.
    pub fn push_loss(&mut self, loss: &Loss) {
        let row = self.rows.next();
        self.rows.ts.put(row, loss.ts);
        self.rows.cpu.put(row, loss.cpu);
        self.rows.kind.put_str(row, kind::LOSS);
        self.rows.probe.put_str(row, &loss.probe);
        self.rows.value.put(row, loss.count.cast_signed());
        self.rows.span.put(row, loss.span);
    }
}

/// The probes by their numbers.
fn by_number(probes: &[Probe]) -> Vec<Option<Probe>> {
    let found = probes.iter().filter(|probe| !matches!(probe.target, Target::Absent(_)));
    let mut table = Vec::new();
    for probe in found {
        let number = usize::from(probe.number);
        table.resize(table.len().max(number + 1), None);
        table[number] = Some(probe.clone());
    }
    table
}

/// The function that a row is of.
fn function<'a>(probes: &'a [Option<Probe>], r: &record) -> Option<&'a Function> {
    probes.get(usize::from(r.probe))?.as_ref()?.function()
}

/// The kind of a record's row.
fn kind_of(record: &Record<'_>, probe: &Probe) -> &'static str {
    match form(record.fixed.form.into()) {
        _ if record.netfilter.is_some() => kind::NF,
        form::FORM_RETURN => kind::RET,
        form::FORM_LINK => kind::LINK,
        _ => probe.kind(),
    }
}

/// Sets a value unless it is zero: most packets have no mark, hash or fragments, and null costs nothing.
fn put_nonzero<T: Copy + Default + PartialEq>(column: &mut ntc::rows::Column<T>, row: usize, value: T) {
    if value != T::default() {
        column.put(row, value);
    }
}
