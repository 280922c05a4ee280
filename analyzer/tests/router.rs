//! A capture of a busy router: most of its events are calls whose return is not recorded, and no verdict gets lost
//! among them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Lab, START, metadata};
use ntc::{Options, Rows, Writer};

/// Events of the capture.
const EVENTS: u64 = 10_000_000;
/// CPUs; each is in the middle of a packet at any time.
const CPUS: u16 = 16;
/// Of so many packets one is dropped.
const DROPPED: u64 = 10;
/// Rows that are written at once.
const BATCH: usize = 1 << 17;

/// One event of a packet's way.
#[derive(Clone, Copy)]
enum Step {
    /// A tracepoint, or a call, with the packet.
    Packet(&'static str),
    /// A function returns: how many events before it was called, and its value.
    Return(&'static str, u64, i64),
    /// A function of netfilter returns: how many events before it was called, hook and verdict, and its table.
    Verdict(&'static str, u64, [&'static str; 2], &'static str),
    /// The packet ends, for a reason or for none.
    Free(&'static str, &'static str),
}

use Step::{Free, Packet, Return, Verdict};

/// A packet that goes through, as a guest with Linux 6.12 recorded it (tests/vm/expected/6.12/forward.txt).
const FORWARDED: &[Step] = &[
    Packet("netif_receive_skb"),
    Packet("ip_rcv"),
    Packet("ip_rcv_core"),
    Packet("ip_route_input_slow"),
    Packet("fib_validate_source"),
    Return("fib_validate_source", 1, 0),
    Packet("ip_forward"),
    Packet("ip_forward_finish"),
    Packet("ip_output"),
    Packet("nf_hook_slow"),
    Verdict("nf_hook_slow", 1, ["POST_ROUTING", "NF_ACCEPT"], ""),
    Packet("ip_finish_output"),
    Packet("ip_finish_output2"),
    Packet("__dev_queue_xmit"),
    Packet("net_dev_queue"),
    Packet("validate_xmit_skb"),
    Return("validate_xmit_skb", 1, 0),
    Packet("dev_hard_start_xmit"),
    Packet("net_dev_start_xmit"),
    Packet("veth_xmit"),
    Packet("net_dev_xmit"),
    Free("consume_skb", ""),
];

/// A packet that a rule drops: the chain frees it, and returns then.
const REFUSED: &[Step] = &[
    Packet("netif_receive_skb"),
    Packet("ip_rcv"),
    Packet("ip_rcv_core"),
    Packet("ip_route_input_slow"),
    Packet("ip_forward"),
    Packet("nf_hook_slow"),
    Packet("nft_do_chain"),
    Free("kfree_skb", "NETFILTER_DROP"),
    Verdict("nft_do_chain", 2, ["FORWARD", "NF_DROP"], "filter"),
    Verdict("nf_hook_slow", 4, ["FORWARD", "NF_DROP"], ""),
];

/// A CPU of the router.
#[derive(Clone, Copy)]
struct Cpu {
    /// Its number.
    number: u16,
    /// Events so far.
    seq: u64,
    /// Packets so far.
    packets: u64,
    /// The way of its packet.
    way: &'static [Step],
    /// Events of that packet so far.
    step: usize,
}

impl Cpu {
    /// Whether its next packet is dropped; each CPU drops others, so that drops lie anywhere between those of the rest.
    fn refuses(&self) -> bool {
        (self.packets + u64::from(self.number) * 7).is_multiple_of(DROPPED)
    }

    /// Adds its next event; says whether that was the verdict that names a table.
    fn next(&mut self, rows: &mut Rows, ts: u64) -> bool {
        if self.step == self.way.len() {
            self.packets += 1;
            self.step = 0;
            self.way = if self.refuses() { REFUSED } else { FORWARDED };
        }
        let row = rows.next();
        rows.ts.put(row, ts);
        rows.cpu.put(row, self.number);
        rows.seq.put(row, self.seq);
        rows.ctx.put_str(row, "softirq");
        // A few addresses, each used again soon.
        let skb: u64 = 0xffff_8881_0000_0000 | u64::from(self.number) << 20 | (self.packets % 64) << 8;
        rows.skb.put(row, skb);
        let step = self.way[self.step];
        self.put(rows, row, step);
        self.seq += 1;
        self.step += 1;
        matches!(step, Verdict(.., table) if !table.is_empty())
    }

    /// Fills in what a step has.
    fn put(&self, rows: &mut Rows, row: usize, step: Step) {
        let entry = |before: u64| u64::from(self.number) << 48 | (self.seq - before);
        match step {
            Packet(probe) => {
                rows.kind.put_str(row, "pkt");
                rows.probe.put_str(row, probe);
                self.put_header(rows, row);
            }
            Return(probe, before, ret) => {
                rows.kind.put_str(row, "ret");
                rows.probe.put_str(row, probe);
                rows.entry.put(row, entry(before));
                rows.ret.put(row, ret);
            }
            Verdict(probe, before, [hook, verdict], table) => {
                rows.kind.put_str(row, "nf");
                rows.probe.put_str(row, probe);
                rows.entry.put(row, entry(before));
                rows.hook.put_str(row, hook);
                rows.verdict.put_str(row, verdict);
                if !table.is_empty() {
                    rows.table.put_str(row, table);
                    rows.chain.put_str(row, "forward");
                }
            }
            Free(probe, reason) => {
                rows.kind.put_str(row, "free");
                rows.probe.put_str(row, probe);
                rows.location.put_str(row, "nft_do_chain+0x3e8");
                if !reason.is_empty() {
                    rows.reason.put_str(row, reason);
                    self.put_header(rows, row);
                }
            }
        }
    }

    /// Fills in the packet's header, and where it is.
    fn put_header(&self, rows: &mut Rows, row: usize) {
        let sent = self.step > 7;
        rows.netns.put(row, 4_026_532_001);
        rows.ifindex.put(row, if sent { 3 } else { 2 });
        rows.dev.put_str(row, if sent { "right" } else { "left" });
        rows.iif.put(row, 2);
        rows.len.put(row, 1500);
        rows.saddr.put_str(row, "10.77.1.2");
        rows.daddr.put_str(row, "10.77.2.2");
        rows.l4.put_str(row, "udp");
        rows.sport.put(row, 40_000 + self.number);
        rows.dport.put(row, 53);
        rows.ip_id.put(row, (self.packets % 65_535) as u32 + 1);
    }
}

/// Writes the capture; returns how many packets were dropped by a verdict that it has.
fn write(lab: &Lab) -> u64 {
    let mut writer =
        Writer::create(&lab.path("router.ntc"), metadata("router"), Options::default(), false).unwrap();
    let new = |number| Cpu { number, seq: 0, packets: number.into(), way: FORWARDED, step: 0 };
    let mut cpus: Vec<Cpu> = (0..CPUS).map(new).collect();
    let (mut rows, mut dropped) = (Rows::new(), 0);
    for event in 0..EVENTS {
        let cpu = &mut cpus[(event % u64::from(CPUS)) as usize];
        dropped += u64::from(cpu.next(&mut rows, START + event * 50));
        if (event + 1).is_multiple_of(BATCH as u64) {
            writer.write(&rows.finish().unwrap()).unwrap();
        }
    }
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    dropped
}

#[test]
fn no_verdict_is_lost_on_a_busy_router() {
    let lab = Lab::new();
    let dropped = write(&lab);
    let trace = lab.ntana(&["trace", "router.ntc", "--outcome", "dropped", "--table", "filter"]);
    let found = trace.out.lines().filter(|line| line.starts_with("*** ")).count() as u64;
    assert!(dropped > EVENTS / 1000, "{dropped} packets dropped");
    assert_eq!(found, dropped, "verdicts found, of packets dropped by a verdict");
}
