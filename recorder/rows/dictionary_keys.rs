//! Keys of the texts that return on every row, so that no row looks a text up.

use std::net::IpAddr;

use ahash::AHashMap;
use ntc::Rows;
use words::{ethertype_name, flag_letters, ip_protocol_name};

use super::record;

/// Names of tasks and devices remembered.
const MOST: usize = 16_384;
/// Addresses remembered.
const MOST_ADDRESSES: usize = 1 << 16;

/// The keys, which are valid as long as the dictionaries live.
#[derive(Default)]
pub struct DictionaryKeys {
    /// Keys in `probe`, by the probe's number.
    probes: Vec<Option<i32>>,
    /// Keys in `kind`.
    kinds: Vec<(&'static str, i32)>,
    /// Keys in `ctx`: task, softirq.
    contexts: Option<(i32, i32)>,
    /// Keys in `comm`.
    comms: Short,
    /// Keys in `dev`.
    devs: Short,
    /// The last ethertype and its key in `protocol`.
    last_protocol: Option<(u16, i32)>,
    /// Keys in `protocol`, by ethertype.
    protocols: AHashMap<u16, i32>,
    /// Keys in `l4`, by IP protocol.
    l4: AHashMap<u8, i32>,
    /// Keys in `tcp_flags`, by the flags byte.
    flags: AHashMap<u8, i32>,
    /// Keys of addresses in `saddr` and `daddr`.
    addresses: AHashMap<IpAddr, (i32, i32)>,
    /// The dictionaries' generation.
    generation: u64,
    /// Counts the batches, from 1.
    batch: u64,
}

/// Keys of the kernel's short names.
#[derive(Default)]
struct Short {
    /// The last name and its key: the next event's is the same as a rule.
    last: Option<([i8; 16], i32)>,
    /// All names.
    known: AHashMap<[i8; 16], i32>,
}

impl Short {
    /// The key of a name; a new one is interned.
    fn key(&mut self, name: &[i8; 16], intern: impl FnOnce(&str) -> i32) -> i32 {
        if let Some((last, key)) = self.last
            && last == *name
        {
            return key;
        }
        let key = *self.known.entry(*name).or_insert_with(|| intern(&record::name(name)));
        self.last = Some((*name, key));
        key
    }
}

impl DictionaryKeys {
    /// The number of the current batch, never 0.
    pub fn batch(&self) -> u64 {
        self.batch + 1
    }

    /// A batch has ended; forgets the keys if the dictionaries were emptied.
    pub fn next_batch(&mut self, generation: u64) {
        let batch = self.batch + 1;
        if generation != self.generation || self.comms.known.len() > MOST || self.devs.known.len() > MOST {
            *self = Self::default();
        }
        if self.addresses.len() > MOST_ADDRESSES {
            self.addresses.clear();
        }
        (self.generation, self.batch) = (generation, batch);
    }

    /// Sets `probe`.
    pub fn put_probe(&mut self, rows: &mut Rows, row: usize, number: usize, name: &str) {
        if number >= self.probes.len() {
            self.probes.resize(number + 1, None);
        }
        let key = *self.probes[number].get_or_insert_with(|| rows.probe.intern(name));
        rows.probe.put(row, key);
    }

    /// Sets `kind`.
    pub fn put_kind(&mut self, rows: &mut Rows, row: usize, kind: &'static str) {
        let known = self.kinds.iter().find(|(known, _)| std::ptr::eq(*known, kind));
        let key = known.map_or_else(|| rows.kind.intern(kind), |(_, key)| *key);
        if known.is_none() {
            self.kinds.push((kind, key));
        }
        rows.kind.put(row, key);
    }

    /// Sets `ctx`.
    pub fn put_ctx(&mut self, rows: &mut Rows, row: usize, in_task: bool) {
        let keys = self.contexts.get_or_insert_with(|| (rows.ctx.intern("task"), rows.ctx.intern("softirq")));
        rows.ctx.put(row, if in_task { keys.0 } else { keys.1 });
    }

    /// Sets `comm`.
    pub fn put_comm(&mut self, rows: &mut Rows, row: usize, comm: &[i8; 16]) {
        let key = self.comms.key(comm, |name| rows.comm.intern(name));
        rows.comm.put(row, key);
    }

    /// Sets `dev`.
    pub fn put_dev(&mut self, rows: &mut Rows, row: usize, dev: &[i8; 16]) {
        let key = self.devs.key(dev, |name| rows.dev.intern(name));
        rows.dev.put(row, key);
    }

    /// Sets `protocol` from an ethertype.
    pub fn put_protocol(&mut self, rows: &mut Rows, row: usize, ethertype: u16) {
        if ethertype == 0 {
            return;
        }
        let key = match self.last_protocol {
            Some((last, key)) if last == ethertype => key,
            _ => *self
                .protocols
                .entry(ethertype)
                .or_insert_with(|| rows.protocol.intern(&ethertype_name(ethertype))),
        };
        self.last_protocol = Some((ethertype, key));
        rows.protocol.put(row, key);
    }

    /// Keys of an address in `saddr` and in `daddr`.
    pub fn address(&mut self, rows: &mut Rows, address: IpAddr) -> (i32, i32) {
        *self.addresses.entry(address).or_insert_with(|| {
            let text = address.to_string();
            (rows.saddr.intern(&text), rows.daddr.intern(&text))
        })
    }

    /// The key of an IP protocol in `l4`.
    pub fn l4(&mut self, rows: &mut Rows, number: u8) -> i32 {
        *self.l4.entry(number).or_insert_with(|| rows.l4.intern(&ip_protocol_name(number)))
    }

    /// The key of TCP flags in `tcp_flags`.
    pub fn flags(&mut self, rows: &mut Rows, flags: u8) -> i32 {
        *self.flags.entry(flags).or_insert_with(|| rows.tcp_flags.intern(&flag_letters(flags)))
    }
}
