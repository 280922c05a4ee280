//! Measures what a row costs: bytes in the file, CPU time to build, encode and read back.
//!
//! `cargo run --release -p ntc --example encode -- [MILLIONS [FILE]]`
//!
//! The table resembles a UDP flood: five events a packet, one packet after the other, 35 columns with values.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ntc::{Capture, ColumnId, Error, Metadata, Options, Rows, Writer};

/// Rows that are built before they go to the writer, about what a recorder drains at once.
const BATCH: usize = 16_384;
/// The tracepoints that a packet of the flood passes.
const PROBES: [&str; 5] =
    ["net_dev_queue", "net_dev_start_xmit", "netif_receive_skb", "skb_copy_datagram_iovec", "consume_skb"];

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let millions: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(4);
    let path = args.next().map_or_else(|| std::env::temp_dir().join("encode.ntc"), PathBuf::from);
    let rows = millions * 1_000_000;
    let filling = fill_only(rows)?;
    let (total, bytes) = record(&path, rows)?;
    let reading = read(&path)?;
    let per = |seconds: f64| seconds / millions as f64;
    println!("rows filled and batched: {:.3} CPU-s per million", per(filling));
    println!("with encoding, writing:  {:.3} CPU-s per million", per(total));
    println!("read back, all columns:  {:.3} CPU-s per million", per(reading));
    println!("file: {:.2} bytes per row", bytes as f64 / rows as f64);
    Ok(())
}

/// CPU seconds to build the rows without writing them.
fn fill_only(rows: u64) -> Result<f64, Error> {
    let begin = cpu_seconds();
    let mut flood = Flood::new();
    for _ in 0..rows / BATCH as u64 {
        flood.batch();
        flood.rows.finish()?;
    }
    Ok(cpu_seconds() - begin)
}

/// CPU seconds to build and write the rows, and the bytes of the file.
fn record(path: &Path, rows: u64) -> Result<(f64, u64), Error> {
    let (begin, clock) = (cpu_seconds(), Instant::now());
    let mut flood = Flood::new();
    let mut writer = Writer::create(path, Metadata::default(), Options::default(), true)?;
    for _ in 0..rows / BATCH as u64 {
        flood.batch();
        writer.write(&flood.rows.finish()?)?;
        writer.tick()?;
    }
    let finished = writer.finish()?;
    println!("{} rows in {:.2} s", finished.rows, clock.elapsed().as_secs_f64());
    Ok((cpu_seconds() - begin, finished.bytes))
}

/// CPU seconds to read all columns back.
fn read(path: &Path) -> Result<f64, Error> {
    let begin = cpu_seconds();
    let capture = Capture::open(path)?;
    for group in 0..capture.groups().len() {
        capture.read(group, &ColumnId::ALL)?;
    }
    Ok(cpu_seconds() - begin)
}

/// CPU time of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A made-up UDP flood.
struct Flood {
    /// The rows being filled.
    rows: Rows,
    /// Dictionary keys of the probes.
    probes: Vec<i32>,
    /// Keys of kind, comm, ctx, dev, protocol, saddr, daddr, l4, in this order.
    keys: [i32; 8],
    /// Events so far.
    events: u64,
    /// Time of the last event.
    ts: u64,
    /// State of the random numbers.
    random: u64,
    /// Hash of the current packet's payload.
    payload: u64,
    /// Which sk_buff the current packet lies in.
    slot: u64,
}

impl Flood {
    /// Before the first packet.
    fn new() -> Self {
        let mut rows = Rows::new();
        let probes = PROBES.iter().map(|p| rows.probe.intern(p)).collect();
        let keys = [
            rows.kind.intern("pkt"),
            rows.comm.intern("flood"),
            rows.ctx.intern("softirq"),
            rows.dev.intern("lo"),
            rows.protocol.intern("ip"),
            rows.saddr.intern("127.0.0.1"),
            rows.daddr.intern("127.0.0.2"),
            rows.l4.intern("udp"),
        ];
        Self { rows, probes, keys, events: 0, ts: 1 << 42, random: 1, payload: 0, slot: 0 }
    }

    /// Fills one batch.
    fn batch(&mut self) {
        for _ in 0..BATCH {
            if self.events.is_multiple_of(5) {
                self.payload = self.next_random();
                self.slot = self.next_random() % 512;
            }
            self.event();
        }
    }

    /// A random number (xorshift).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Fills one row.
    fn event(&mut self) {
        let (packet, step) = (self.events / 5, (self.events % 5) as usize);
        self.events += 1;
        self.ts += 600 + self.next_random() % 512;
        let rows = &mut self.rows;
        let row = rows.next();
        let [kind, comm, ctx, dev, protocol, saddr, daddr, l4] = self.keys;
        rows.ts.put(row, self.ts);
        rows.cpu.put(row, 0);
        rows.seq.put(row, self.events);
        rows.kind.put(row, kind);
        rows.probe.put(row, self.probes[step]);
        rows.pid.put(row, 4711);
        rows.tid.put(row, 4712);
        rows.comm.put(row, comm);
        rows.ctx.put(row, ctx);
        rows.skb.put(row, 0xffff_8881_0000_0000 + self.slot * 232);
        rows.head.put(row, 0xffff_8881_1000_0000 + self.slot * 1024);
        if step < 2 {
            rows.sk.put(row, 0xffff_8881_2000_0040);
        }
        rows.netns.put(row, 4_026_531_840);
        rows.ifindex.put(row, 1);
        rows.dev.put(row, dev);
        rows.iif.put(row, 1);
        rows.len.put(row, if step == 0 { 114 } else { 100 });
        rows.data_len.put(row, 0);
        rows.gso_size.put(row, 0);
        rows.gso_segs.put(row, 0);
        rows.mark.put(row, 0);
        rows.hash.put(row, 0);
        rows.queue.put(row, 0);
        rows.protocol.put(row, protocol);
        rows.saddr.put(row, saddr);
        rows.daddr.put(row, daddr);
        rows.l4.put(row, l4);
        rows.sport.put(row, 40_000);
        rows.dport.put(row, 9_000);
        rows.ip_id.put(row, (packet & 0xffff) as u32);
        rows.ttl.put(row, 64);
        rows.tos.put(row, 0);
        rows.payload_hash.put(row, self.payload);
        if step == 0 {
            rows.header.put(row, &header(packet, self.payload));
        }
    }
}

/// The first 60 bytes of a packet: 28 of IPv4 and UDP, 32 of payload of which 4 count.
fn header(packet: u64, payload: u64) -> [u8; 60] {
    let mut header = [0x5a; 60];
    header[..4].copy_from_slice(&[0x45, 0, 0, 100]);
    header[4..6].copy_from_slice(&(packet as u16).to_be_bytes());
    header[10..12].copy_from_slice(&(0x7c00_u16.wrapping_sub(packet as u16)).to_be_bytes());
    header[26..28].copy_from_slice(&(payload as u16).to_be_bytes());
    header[28..32].copy_from_slice(&(packet as u32).to_le_bytes());
    header
}
