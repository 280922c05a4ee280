//! Records -> rows of the capture's table: names instead of numbers, headers decoded.

use std::net::IpAddr;

use arrow_array::RecordBatch;
use ntc::{ClockSample, Interface, Rows, schema::kind};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::bpf::types::{
    call_part, context, form, free_part, hooks_part, netfilter_part, probe as Id, record, sock_part,
};
use crate::clock;
use crate::decode::{self, Header};
use crate::functions::Function;
use crate::kernel::{CA_STATES, Enums, NUD_STATES};
use crate::names::{self, Names};
use crate::plan::{Probe, Target};
use crate::symbols::Symbols;
use crate::wire::{self, HEADER_LONG as LONGEST, Wire};

/// Headers remembered, to store one only when it changes. A power of two.
const REMEMBERED: usize = 1 << 13;
/// Addresses whose text is remembered.
const MOST_ADDRESSES: usize = 1 << 16;

/// Fills the table.
pub struct Table {
    /// The rows so far.
    rows: Rows,
    /// Keys of texts in the columns' dictionaries.
    names: Names,
    /// Names of kernel addresses.
    symbols: Symbols,
    /// Names of reasons and states.
    enums: Enums,
    /// The header last seen at an skb address.
    headers: Vec<Remembered>,
    /// Keys of addresses in `saddr` and `daddr`.
    addresses: FxHashMap<IpAddr, (i32, i32)>,
    /// Interfaces that are in the metadata already.
    known: FxHashSet<(u32, u32, [i8; 16])>,
    /// The interface of the last event, which is the next one's too as a rule.
    last_known: (u32, u32, [i8; 16]),
    /// Those that are not yet.
    discovered: Vec<Interface>,
    /// Rows recorded, by CPU and probe.
    recorded: Vec<Vec<u64>>,
    /// The probes by their numbers.
    probes: Vec<Option<Probe>>,
}

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

/// A header and its decoded fields.
#[derive(Clone)]
struct Remembered {
    /// The skb's address.
    skb: u64,
    /// The row batch in which it was stored.
    batch: u64,
    /// The bytes, as many as `len` says; beside the rest, so that comparing costs no detour.
    bytes: [u8; LONGEST],
    /// How many bytes.
    len: u8,
    /// The ethertype it was decoded as.
    ethertype: u16,
    /// The CPU on which a driver was given the packet last, while nothing else was seen at the address.
    started_on: Option<u16>,
    /// The fields, as keys and numbers.
    fields: Fields,
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            skb: 0,
            batch: 0,
            bytes: [0; LONGEST],
            len: 0,
            ethertype: 0,
            started_on: None,
            fields: Fields::default(),
        }
    }
}

/// A decoded header whose texts are keys already.
#[derive(Clone, Default)]
struct Fields {
    /// The header.
    header: Header,
    /// Keys in `saddr` and `daddr`.
    addresses: Option<(i32, i32)>,
    /// Key in `l4`.
    l4: Option<i32>,
    /// Key in `tcp_flags`.
    flags: Option<i32>,
}

impl Table {
    /// An empty table for this kernel.
    pub fn new(enums: Enums, known: &[Interface], probes: &[Probe]) -> Self {
        let known = known.iter().map(|i| (i.netns, i.ifindex, chars(&i.name))).collect();
        Self {
            rows: Rows::new(),
            names: Names::default(),
            symbols: Symbols::new(),
            enums,
            headers: vec![Remembered::default(); REMEMBERED],
            addresses: FxHashMap::default(),
            known,
            last_known: Default::default(),
            discovered: Vec::new(),
            recorded: Vec::new(),
            probes: by_number(probes),
        }
    }

    /// Rows in the current batch.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Events of a probe on a CPU recorded so far.
    pub fn recorded(&self, cpu: u16, number: u16) -> u64 {
        self.recorded
            .get(usize::from(cpu))
            .and_then(|counts| counts.get(usize::from(number)))
            .copied()
            .unwrap_or(0)
    }

    /// Counts an event.
    fn count(&mut self, r: &record) {
        let cpu = usize::from(r.cpu);
        if cpu >= self.recorded.len() {
            self.recorded.resize(cpu + 1, vec![0; self.probes.len()]);
        }
        if let Some(count) = self.recorded[cpu].get_mut(usize::from(r.probe)) {
            *count += 1;
        }
    }

    /// Interfaces met since the last call.
    pub fn discovered(&mut self) -> Vec<Interface> {
        std::mem::take(&mut self.discovered)
    }

    /// The rows as a batch; each batch stands alone, with every header stored again.
    pub fn finish(&mut self) -> Result<RecordBatch, ntc::Error> {
        let before = self.rows.generation();
        let batch = self.rows.finish()?;
        if self.rows.generation() != before || self.addresses.len() > MOST_ADDRESSES {
            self.addresses.clear();
        }
        self.names.next_batch(self.rows.generation());
        Ok(batch)
    }

    /// Adds an event.
    pub fn push(&mut self, wire: &Wire<'_>) {
        let r = wire.record;
        let number = usize::from(r.probe);
        let Some(Some(probe)) = self.probes.get(number) else { return };
        let row_kind = kind_of(r, wire, probe);
        let row = self.rows.next();
        self.names.put_probe(&mut self.rows, row, number, probe.name());
        self.names.put_kind(&mut self.rows, row, row_kind);
        self.count(r);
        self.put_common(row, r);
        self.put_packet(row, r);
        let addressed = if wire.header.is_empty() {
            self.put_started(row, r)
        } else {
            self.put_header(row, r, wire.header)
        };
        if let Some(free) = wire.free {
            self.put_free(row, r.probe, free);
        }
        if let Some(sock) = wire.sock {
            self.put_sock(row, row_kind, sock);
            if !addressed && row_kind != kind::NEIGH {
                self.put_sides(row, sock);
            }
        }
        if let Some(call) = wire.call {
            self.put_call(row, r, call);
        }
        if let Some(netfilter) = wire.netfilter {
            self.put_netfilter(row, r, netfilter);
        }
        if let Some(hooks) = wire.hooks {
            self.put_hooks(row, hooks);
        }
        if !wire.stack.is_empty() {
            let folded = self.symbols.fold(wire.stack);
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
        self.names.put_ctx(rows, row, in_task);
        self.names.put_comm(rows, row, &r.comm);
        if r.has_ret != 0 && u32::from(r.form) == form::FORM_ENTRY.0 {
            self.put_ret(row, r);
        }
    }

    /// The number that comes with an event: an argument of a tracepoint.
    fn put_ret(&mut self, row: usize, r: &record) {
        if !self.function(r).is_some_and(Function::measures_rtt) {
            self.rows.ret.put(row, r.ret);
        }
    }

    /// The function that a row is of.
    fn function(&self, r: &record) -> Option<&Function> {
        self.probes.get(usize::from(r.probe))?.as_ref()?.function()
    }

    /// A return's value and its call, or the packets that a function relates.
    fn put_call(&mut self, row: usize, r: &record, call: &call_part) {
        if u32::from(r.form) == form::FORM_LINK.0 {
            self.rows.child.put(row, call.child);
            let relation = self.function(r).and_then(|f| Some(f.entry?.link.as_ref()?.relation.name()));
            self.rows.relation.put_str(row, relation.unwrap_or_default());
            return;
        }
        let value = self.function(r).map_or(r.ret, |function| function.read_return(r.ret));
        self.rows.ret.put(row, value);
        if call.entry != 0 {
            self.rows.entry.put(row, call.entry);
        }
    }

    /// A verdict of netfilter.
    fn put_netfilter(&mut self, row: usize, r: &record, n: &netfilter_part) {
        let returns = self.function(r).and_then(|f| Some((f.read_return(r.ret), f.meanings()?)));
        let verdict = returns.and_then(|(value, returns)| Some(returns.meaning(value)?.name));
        match verdict.filter(|name| !name.is_empty()) {
            Some(name) => self.rows.verdict.put_str(row, name),
            None => self.rows.verdict.put_str(row, &(r.ret as i32).to_string()),
        }
        self.rows.family.put_str(row, names::netfilter_family(n.family));
        self.rows.hook.put_str(row, names::hook(n.pf, n.hook));
        put_name(&mut self.rows.table, row, &n.table);
        put_name(&mut self.rows.chain, row, &n.chain);
        put_nonzero(&mut self.rows.handle, row, n.handle);
        if let Some(step) = names::step(n.step) {
            self.rows.step.put_str(row, step);
        }
    }

    /// The functions that netfilter called, in their order.
    fn put_hooks(&mut self, row: usize, hooks: &hooks_part) {
        let known = hooks.functions.iter().take(hooks.count as usize);
        let mut names: Vec<String> =
            known.map(|address| self.symbols.function(*address).to_owned()).collect();
        if hooks.count as usize > names.len() {
            names.push("...".to_owned());
        }
        if !names.is_empty() {
            self.rows.hooks.put_str(row, &names.join(";"));
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
            self.names.put_dev(rows, row, &r.dev);
            self.note_interface(r);
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
        self.names.put_protocol(rows, row, u16::from_be(r.protocol));
    }

    /// Notes an interface that the metadata does not have yet.
    fn note_interface(&mut self, r: &record) {
        let interface = (r.netns, r.ifindex, r.dev);
        if self.last_known == interface {
            return;
        }
        self.last_known = interface;
        if !self.known.insert(interface) {
            return;
        }
        let (netns, ifindex, since) = (r.netns, r.ifindex, r.ts);
        self.discovered.push(Interface { netns, ifindex, name: wire::name(&r.dev), since });
    }

    /// The header's fields, and its bytes if they changed since the last row of this skb. Says whether it has addresses.
    fn put_header(&mut self, row: usize, r: &record, bytes: &[u8]) -> bool {
        let slot = slot(r.skb);
        let batch = self.names.batch();
        let ethertype = ethertype(u16::from_be(r.protocol), bytes);
        let seen = &self.headers[slot];
        let same = seen.skb == r.skb
            && seen.batch == batch
            && seen.ethertype == ethertype.0
            && seen.bytes.get(..usize::from(seen.len)) == Some(bytes);
        if !same {
            self.rows.header.put(row, bytes);
            let fields = self.decode(ethertype.0, bytes.get(ethertype.1..).unwrap_or_default());
            let entry = &mut self.headers[slot];
            (entry.skb, entry.batch, entry.ethertype, entry.fields) = (r.skb, batch, ethertype.0, fields);
            let len = bytes.len().min(LONGEST);
            entry.bytes[..len].copy_from_slice(&bytes[..len]);
            entry.len = len as u8;
        }
        let entry = &mut self.headers[slot];
        if u32::from(r.probe) == Id::NET_DEV_START_XMIT.0 {
            entry.started_on = Some(r.cpu);
        } else if !same {
            entry.started_on = None;
        }
        put_fields(&mut self.rows, row, &entry.fields);
        entry.fields.addresses.is_some()
    }

    /// `net_dev_xmit` must not touch the packet, which the driver may have freed: it gets the fields that
    /// `net_dev_start_xmit` showed on this CPU, if no other header came to the address since.
    fn put_started(&mut self, row: usize, r: &record) -> bool {
        let entry = &self.headers[slot(r.skb)];
        let known = u32::from(r.probe) == Id::NET_DEV_XMIT.0
            && entry.skb == r.skb
            && entry.batch == self.names.batch()
            && entry.started_on == Some(r.cpu);
        if known {
            self.names.put_protocol(&mut self.rows, row, entry.ethertype);
            put_fields(&mut self.rows, row, &entry.fields);
        }
        known
    }

    /// Decodes a header and finds the keys of its texts.
    fn decode(&mut self, ethertype: u16, bytes: &[u8]) -> Fields {
        let header = decode::decode(ethertype, bytes);
        let addresses = header
            .addresses
            .map(|(source, destination)| (self.address_keys(source).0, self.address_keys(destination).1));
        let l4 = header.l4.map(|number| self.names.l4(&mut self.rows, number));
        let flags = header.tcp.map(|tcp| self.names.flags(&mut self.rows, tcp.flags));
        Fields { addresses, l4, flags, header }
    }

    /// Keys of an address in `saddr` and in `daddr`.
    fn address_keys(&mut self, address: IpAddr) -> (i32, i32) {
        let rows = &mut self.rows;
        *self.addresses.entry(address).or_insert_with(|| {
            let text = address.to_string();
            (rows.saddr.intern(&text), rows.daddr.intern(&text))
        })
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

    /// The socket's state and buffers, or the neighbour.
    fn put_sock(&mut self, row: usize, row_kind: &str, s: &sock_part) {
        if s.family == 0 {
            return;
        }
        self.rows.family.put_str(row, family(s.family));
        if row_kind == kind::NEIGH {
            let key = self.address_keys(address(s.family, &s.daddr)).1;
            self.rows.daddr.put(row, key);
            self.rows.old_state.put_str(row, state(&NUD_STATES, s.old_state));
            self.rows.new_state.put_str(row, state(&NUD_STATES, s.new_state));
            return;
        }
        self.put_buffers(row, s);
        if s.has_tcp != 0 || s.has_states != 0 {
            self.put_states(row, s);
        }
        if s.has_tcp != 0 {
            put_tcp(&mut self.rows, row, s);
        }
    }

    /// Local side as source, remote side as destination.
    fn put_sides(&mut self, row: usize, s: &sock_part) {
        if s.family != 2 && s.family != 10 {
            return;
        }
        let (local, remote) = (address(s.family, &s.saddr), address(s.family, &s.daddr));
        let (source, destination) = (self.address_keys(local).0, self.address_keys(remote).1);
        self.rows.saddr.put(row, source);
        self.rows.daddr.put(row, destination);
        // A raw socket keeps its protocol where others keep their port.
        if matches!(s.protocol as u8, 6 | 17 | 132 | 136) {
            self.rows.sport.put(row, s.sport);
            self.rows.dport.put(row, s.dport);
        }
        let l4 = self.names.l4(&mut self.rows, s.protocol as u8);
        self.rows.l4.put(row, l4);
    }

    /// Queues and buffers of a socket.
    fn put_buffers(&mut self, row: usize, s: &sock_part) {
        self.rows.rmem.put(row, s.rmem);
        self.rows.rcvbuf.put(row, s.rcvbuf);
        self.rows.wmem.put(row, s.wmem);
        self.rows.sndbuf.put(row, s.sndbuf);
        if s.max_backlog != 0 {
            self.rows.backlog.put(row, s.backlog);
            self.rows.max_backlog.put(row, s.max_backlog);
        }
    }

    /// The TCP state, and the one before where the event is a change.
    fn put_states(&mut self, row: usize, s: &sock_part) {
        let name = |value: u8| self.enums.tcp.get(&value.into()).map_or("", String::as_str);
        if s.has_states != 0 {
            self.rows.old_state.put_str(row, name(s.old_state));
        }
        self.rows.new_state.put_str(row, name(s.new_state));
        let congestion = CA_STATES.get(usize::from(s.ca_state)).filter(|_| s.has_tcp != 0);
        if let Some(congestion) = congestion {
            self.rows.ca_state.put_str(row, congestion);
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

/// The kind of a record's row.
fn kind_of(r: &record, wire: &Wire<'_>, probe: &Probe) -> &'static str {
    match form(r.form.into()) {
        _ if wire.netfilter.is_some() => kind::NF,
        form::FORM_RETURN => kind::RET,
        form::FORM_LINK => kind::LINK,
        _ => probe.kind(),
    }
}

/// Sets a name of the kernel's, unless it is empty.
fn put_name(column: &mut ntc::rows::Text, row: usize, name: &[i8]) {
    if name.first().is_some_and(|first| *first != 0) {
        column.put_str(row, &wire::name(name));
    }
}

/// The place of an skb's header among the remembered ones.
fn slot(skb: u64) -> usize {
    ((skb >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - REMEMBERED.trailing_zeros())) as usize
}

/// The ethertype, and where its header begins: behind an 802.1Q tag that is still in the data.
fn ethertype(protocol: u16, bytes: &[u8]) -> (u16, usize) {
    match (protocol, bytes) {
        (0x8100 | 0x88a8, [_, _, high, low, ..]) => (u16::from_be_bytes([*high, *low]), 4),
        (0, [first, ..]) if first >> 4 == 4 => (0x0800, 0),
        (0, [first, ..]) if first >> 4 == 6 => (0x86dd, 0),
        _ => (protocol, 0),
    }
}

/// Writes the decoded header.
fn put_fields(rows: &mut Rows, row: usize, fields: &Fields) {
    let h = &fields.header;
    if let Some((source, destination)) = fields.addresses {
        rows.saddr.put(row, source);
        rows.daddr.put(row, destination);
    }
    if let Some(key) = fields.l4 {
        rows.l4.put(row, key);
    }
    if let Some((source, destination)) = h.ports {
        rows.sport.put(row, source);
        rows.dport.put(row, destination);
    }
    put(&mut rows.ip_id, row, h.ip_id);
    put(&mut rows.ttl, row, h.ttl);
    put(&mut rows.tos, row, h.tos);
    put(&mut rows.payload_hash, row, h.payload);
    if let Some((offset, more)) = h.fragment {
        rows.frag_off.put(row, offset);
        rows.more_frags.put(row, more);
    }
    if let Some((kind, code)) = h.icmp {
        rows.icmp_type.put(row, kind);
        rows.icmp_code.put(row, code);
    }
    if let Some((id, seq)) = h.echo {
        rows.icmp_id.put(row, id);
        rows.icmp_seq.put(row, seq);
    }
    if let Some((name, id)) = h.tunnel {
        rows.tunnel.put_str(row, name);
        put(&mut rows.tunnel_id, row, id);
    }
    if let (Some(tcp), Some(flags)) = (&h.tcp, fields.flags) {
        rows.tcp_seq.put(row, tcp.seq);
        rows.tcp_ack.put(row, tcp.ack);
        rows.tcp_flags.put(row, flags);
        rows.tcp_win.put(row, tcp.window);
        if let Some((value, echo)) = tcp.timestamps {
            rows.tcp_tsval.put(row, value);
            rows.tcp_tsecr.put(row, echo);
        }
    }
}

/// Sets a value if there is one.
fn put<T: Copy + Default>(column: &mut ntc::rows::Column<T>, row: usize, value: Option<T>) {
    if let Some(value) = value {
        column.put(row, value);
    }
}

/// Sets a value unless it is zero: most packets have no mark, hash or fragments, and null costs nothing.
fn put_nonzero<T: Copy + Default + PartialEq>(column: &mut ntc::rows::Column<T>, row: usize, value: T) {
    if value != T::default() {
        column.put(row, value);
    }
}

/// Writes the TCP fields of a socket.
fn put_tcp(rows: &mut Rows, row: usize, s: &sock_part) {
    rows.snd_nxt.put(row, s.snd_nxt);
    rows.snd_una.put(row, s.snd_una);
    rows.rcv_nxt.put(row, s.rcv_nxt);
    rows.snd_cwnd.put(row, s.snd_cwnd);
    rows.ssthresh.put(row, s.ssthresh);
    rows.snd_wnd.put(row, s.snd_wnd);
    rows.rcv_wnd.put(row, s.rcv_wnd);
    rows.srtt.put(row, s.srtt);
    put_nonzero(&mut rows.min_rtt, row, s.min_rtt);
    rows.packets_out.put(row, s.packets_out);
    rows.retrans_out.put(row, s.retrans_out);
    rows.lost_out.put(row, s.lost_out);
    rows.sacked_out.put(row, s.sacked_out);
    rows.total_retrans.put(row, s.total_retrans);
    if s.has_seq != 0 {
        rows.tcp_seq.put(row, s.seq);
        rows.tcp_flags.put_str(row, &words::flag_letters(s.tcp_flags));
    }
}

/// The address of a socket.
fn address(family: u16, bytes: &[u8; 16]) -> IpAddr {
    match bytes.first_chunk::<4>() {
        Some(four) if family == 2 => IpAddr::from(*four),
        _ => IpAddr::from(*bytes),
    }
}

/// The name of an address family (include/linux/socket.h).
fn family(number: u16) -> &'static str {
    match number {
        1 => "unix",
        2 => "inet",
        10 => "inet6",
        16 => "netlink",
        17 => "packet",
        40 => "vsock",
        _ => "other",
    }
}

/// The name of a state.
fn state(names: &[(u32, &'static str)], value: u8) -> &'static str {
    names.iter().find(|(number, _)| *number == u32::from(value)).map_or("MIXED", |(_, name)| name)
}

/// A name as the kernel keeps it.
fn chars(name: &str) -> [i8; 16] {
    let mut bytes = [0_i8; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from.cast_signed());
    bytes
}
