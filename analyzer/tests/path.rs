//! `ntana path` on captures of hosts whose packets and clocks are known.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use std::fmt::Write;

use common::{Lab, metadata, write};
use ntc::{Metadata, Probe};
use serde_json::Value;

/// The probes of the captures here.
const PROBES: [&str; 5] = ["net_dev_queue", "netif_receive_skb", "sk_data_ready", "kfree_skb", "consume_skb"];
/// What the clock of the second host shows more than that of the first, us.
const OFFSET: u64 = 3_000_000;
/// How long a packet is on the network, us.
const TRANSIT: u64 = 400;

/// Metadata of a host's capture with these probes attached.
fn host(name: &str) -> Metadata {
    let attached = |name: &&str| Probe { name: (*name).into(), backend: "tp_btf".into(), ..Probe::default() };
    let mut metadata = metadata(name);
    metadata.clocks.iter_mut().for_each(|sample| sample.raw = sample.monotonic);
    Metadata { probes: PROBES.iter().map(attached).collect(), ..metadata }
}

/// A datagram from the first host to the second, or from the second to the first.
#[derive(Clone, Copy)]
struct Datagram {
    /// Its number.
    number: u64,
    /// Whether it goes back.
    back: bool,
}

impl Datagram {
    /// What its lines have beside time and probe.
    fn columns(self) -> String {
        let (source, destination) = if self.back { (2, 1) } else { (1, 2) };
        format!(
            "skb={:016x} netns=4026531840 ifindex=2 dev=eth0 ttl=64 saddr=10.88.0.{source} daddr=10.88.0.{destination} l4=udp sport=7000 dport=7000 ip_id={}",
            0xffff_8881_0000_0000 + (self.number << 9) + (u64::from(self.back) << 8),
            self.number + 1,
        )
    }

    /// It is sent.
    fn sent(self, at: u64, script: &mut String) {
        writeln!(script, "{at} probe=net_dev_queue {}", self.columns()).unwrap();
        writeln!(script, "{} probe=consume_skb location=__free_old_xmit+0x7e {}", at + 10, self.columns())
            .unwrap();
    }

    /// It is received, and its socket gets it.
    fn received(self, at: u64, script: &mut String) {
        let ports =
            if self.back { "saddr=10.88.0.1 daddr=10.88.0.2" } else { "saddr=10.88.0.2 daddr=10.88.0.1" };
        writeln!(script, "{at} probe=netif_receive_skb {}", self.columns()).unwrap();
        writeln!(script, "{} probe=sk_data_ready sk=1 l4=udp sport=7000 {ports}", at + 20).unwrap();
    }

    /// It is received, and dropped.
    fn dropped(self, at: u64, script: &mut String) {
        writeln!(script, "{at} probe=netif_receive_skb {}", self.columns()).unwrap();
        writeln!(
            script,
            "{} probe=kfree_skb reason=NETFILTER_DROP location=nft_do_chain+0x40e {}",
            at + 5,
            self.columns()
        )
        .unwrap();
    }
}

/// A thousand datagrams each way, a millisecond apart; those there that `lost` or `dropped` says are lost on the network, or
/// dropped by the second host.
fn both(lost: impl Fn(u64) -> bool, dropped: impl Fn(u64) -> bool) -> Lab {
    let (lab, mut first, mut second) = (Lab::new(), Vec::new(), Vec::new());
    let mut add = |host: usize, at: u64, line: &dyn Fn(u64, &mut String)| {
        let mut script = String::new();
        line(at, &mut script);
        if host == 0 { first.push((at, script)) } else { second.push((at, script)) }
    };
    for number in 0..1000 {
        let (there, back) = (Datagram { number, back: false }, Datagram { number, back: true });
        let at = number * 1000;
        add(0, at, &|at, script| there.sent(at, script));
        let arrives = at + TRANSIT + OFFSET;
        match () {
            () if lost(number) => {}
            () if dropped(number) => add(1, arrives, &|at, script| there.dropped(at, script)),
            () => add(1, arrives, &|at, script| there.received(at, script)),
        }
        add(1, at + 500 + OFFSET, &|at, script| back.sent(at, script));
        add(0, at + 500 + TRANSIT, &|at, script| back.received(at, script));
    }
    for (name, mut parts) in [("a", first), ("b", second)] {
        parts.sort_by_key(|(at, _)| *at);
        let script: String = parts.into_iter().map(|(_, script)| script).collect();
        write(&lab.path(&format!("{name}.ntc")), host(name), &script);
    }
    lab
}

/// What `ntana path` says, as JSON.
fn ask(lab: &Lab, args: &[&str]) -> Value {
    let ran = lab.ntana(&[&["path", "a.ntc", "b.ntc", "--format", "json"], args].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str(&ran.out).unwrap()
}

/// The packets from one host to another.
fn direction<'v>(answer: &'v Value, from: &str, to: &str) -> &'v Value {
    let directions = answer["directions"].as_array().unwrap();
    let found = directions.iter().find(|known| known["from"] == from && known["to"] == to);
    found.unwrap_or_else(|| panic!("{answer:#}"))
}

#[test]
fn healthy_traffic_loses_nothing() {
    let lab = both(|_| false, |_| false);
    let answer = ask(&lab, &[]);
    for (from, to) in [("a", "b"), ("b", "a")] {
        let packets = direction(&answer, from, to);
        assert_eq!((&packets["packets"], &packets["lost"]), (&1000.into(), &0.into()));
        assert_eq!(packets["losses"], Value::Array(Vec::new()));
    }
    assert_eq!(answer["totals"]["duplicates"], 0);
}

#[test]
fn each_loss_is_where_it_was() {
    let lab = both(|number| number % 100 == 7, |number| number % 100 == 9);
    let answer = ask(&lab, &[]);
    let there = direction(&answer, "a", "b");
    assert_eq!((&there["packets"], &there["lost"]), (&1000.into(), &20.into()));
    assert_eq!(there["verdicts"]["NETWORK_DROP"], 10);
    assert_eq!(there["verdicts"]["INTERNAL_DROP"], 10);
    assert_eq!(there["verdicts"]["DELIVERED"], 980);
    let losses = there["losses"].as_array().unwrap();
    let of = |verdict: &str| losses.iter().find(|loss| loss["verdict"] == verdict).unwrap();
    assert_eq!((&of("NETWORK_DROP")["host"], &of("NETWORK_DROP")["to"]), (&"a".into(), &"b".into()));
    assert_eq!(
        (&of("INTERNAL_DROP")["host"], &of("INTERNAL_DROP")["reason"]),
        (&"b".into(), &"NETFILTER_DROP".into())
    );
}

#[test]
fn the_clock_of_the_other_host_is_found_within_its_interval() {
    let lab = both(|_| false, |_| false);
    let answer = ask(&lab, &[]);
    let clock = &answer["captures"][1]["clock"];
    let of = |name: &str| clock[name].as_i64().unwrap();
    let truth = OFFSET as i64 * 1000;
    assert_eq!(clock["quality"], "accurate");
    assert!(of("low") <= truth && truth <= of("high"), "{clock:#}");
    // Both ways take as long, so that the middle is right; the interval is the round trip.
    assert!(of("offset").abs_diff(truth) < 1000, "{clock:#}");
    assert!(of("high") - of("low") <= 2 * TRANSIT as i64 * 1000 + 2000, "{clock:#}");
    let segment = &direction(&answer, "a", "b")["segments"][1];
    assert_eq!(segment["segment"], "a -> b");
    assert!(segment["times"]["p50"].as_u64().unwrap().abs_diff(TRANSIT * 1000) < 1000, "{segment:#}");
}

#[test]
fn the_order_of_captures_changes_nothing_but_the_reference() {
    let lab = both(|number| number % 100 == 7, |_| false);
    let ran = lab.ntana(&["path", "b.ntc", "a.ntc", "--format", "json"]);
    let other: Value = serde_json::from_str(&ran.out).unwrap();
    let one = ask(&lab, &[]);
    assert_eq!(direction(&one, "a", "b")["verdicts"], direction(&other, "a", "b")["verdicts"]);
    assert_eq!(other["captures"][0]["clock"], Value::Null);
}

#[test]
fn a_packet_that_was_sent_behind_the_others_capture_is_not_lost() {
    let lab = both(|_| false, |_| false);
    let until = format!("{}us", OFFSET + 600_000);
    let cut = lab.ntana(&["path", "a.ntc", "b.ntc", "--format", "json", "--until", &until]);
    let answer: Value = serde_json::from_str(&cut.out).unwrap();
    let verdicts = &direction(&answer, "a", "b")["verdicts"];
    assert_eq!((cut.err.as_str(), &verdicts["DELIVERED"]), ("", &600.into()), "{verdicts:#}");
    assert_eq!(verdicts["NETWORK_DROP"], Value::Null, "{verdicts:#}");
}

#[test]
fn each_packet_is_shown_with_its_stages() {
    let lab = both(|number| number == 7, |number| number == 9);
    let answer = ask(&lab, &["--verbose"]);
    let packets = answer["packets"].as_array().unwrap();
    assert_eq!(packets.len(), 2000);
    let of = |verdict: &str| packets.iter().filter(|packet| packet["verdict"] == verdict).collect::<Vec<_>>();
    let stages = |packet: &Value| {
        let stage = |stage: &Value| {
            format!("{} {}", stage["host"].as_str().unwrap(), stage["stage"].as_str().unwrap())
        };
        packet["stages"].as_array().unwrap().iter().map(stage).collect::<Vec<_>>()
    };
    assert_eq!(of("NETWORK_DROP").iter().map(|packet| stages(packet)).collect::<Vec<_>>(), [["a out"]]);
    let dropped = "b DROPPED NETFILTER_DROP at nft_do_chain+0x40e";
    assert_eq!(
        of("INTERNAL_DROP").iter().map(|packet| stages(packet)).collect::<Vec<_>>(),
        [["a out", "b in", dropped]]
    );
}

#[test]
fn the_devices_of_all_ways_are_listed() {
    let lab = both(|number| number == 7, |_| false);
    let ran = lab.ntana(&["path", "a.ntc", "b.ntc", "--list", "--format", "csv"]);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", ran.out);
    assert!(lines[1].starts_with("1000,0,") && lines[1].ends_with("b: out eth0 | a: in eth0"), "{}", ran.out);
    assert!(lines[2].starts_with("999,0,") && lines[2].ends_with("a: out eth0 | b: in eth0"), "{}", ran.out);
    assert!(lines[3].starts_with("1,1,") && lines[3].ends_with(",a: out eth0"), "{}", ran.out);
}

/// A hundred datagrams without an identification from one host to another; each host has its own fingerprint of a payload, and
/// says so many bytes of it count.
fn fingerprinted(bytes: u32) -> Lab {
    let lab = Lab::new();
    for (name, probe, at, skew) in [("a", "net_dev_queue", 0, 1), ("b", "netif_receive_skb", TRANSIT, 2)] {
        let line = |number: u64| {
            let columns = Datagram { number, back: false }.columns();
            let columns = columns.split(" ip_id=").next().unwrap().to_owned();
            format!("{} probe={probe} {columns} payload_hash={}\n", number * 1000 + at, number * 2 + skew)
        };
        let metadata = Metadata { fingerprint_bytes: bytes, ..host(name) };
        write(&lab.path(&format!("{name}.ntc")), metadata, &(0..100).map(line).collect::<String>());
    }
    lab
}

#[test]
fn fingerprints_of_older_recorders_are_not_compared() {
    let packets = |bytes: u32| ask(&fingerprinted(bytes), &[])["totals"]["packets"].as_u64().unwrap();
    assert_eq!(packets(0), 100);
    // Were they of the same bytes, what came in would be other packets.
    assert_eq!(packets(32), 200);
}

#[test]
fn a_limit_is_kept_or_refused() {
    let lab = both(|_| false, |_| false);
    assert_eq!(ask(&lab, &["--verbose", "--limit", "3"])["packets"].as_array().unwrap().len(), 3);
    assert_eq!(ask(&lab, &["--list", "--limit", "1"])["ways"].as_array().unwrap().len(), 1);
    let ran = lab.ntana(&["path", "a.ntc", "b.ntc", "--limit", "3"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("--verbose") && ran.err.lines().count() == 1, "{}", ran.err);
}
