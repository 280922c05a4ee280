//! `ntana latency` on captures whose times are known.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use std::fmt::Write;

use common::{Lab, START, metadata, write};
use ntc::{Metadata, Options, Probe, Rows, Totals, Writer};
use serde_json::Value;

/// The probes of most captures here.
const PROBES: [&str; 7] = [
    "net_dev_queue",
    "net_dev_start_xmit",
    "net_dev_xmit",
    "netif_receive_skb",
    "sk_data_ready",
    "kfree_skb",
    "consume_skb",
];

/// Metadata of a capture with these probes attached.
fn with_probes(probes: &[&str]) -> Metadata {
    let attached = |name: &&str| Probe { name: (*name).into(), backend: "tp_btf".into(), ..Probe::default() };
    Metadata { probes: probes.iter().map(attached).collect(), ..metadata("host1") }
}

/// A lab with a capture.
fn lab(script: &str) -> Lab {
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&PROBES), script);
    lab
}

/// What a packet's line has beside time and probe: its number is in its address, its flow and its IP identification.
fn packet(number: u64) -> String {
    format!(
        "skb={:016x} netns=4026532001 ifindex=2 dev=veth0 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id={}",
        0xffff_8881_0000_0000 + (number << 8),
        number % 65_000 + 1
    )
}

/// Packets that wait in a queue: the n-th 1 ms after the one before, and so long.
fn queued(waits_us: impl IntoIterator<Item = u64>) -> String {
    let mut script = String::new();
    for (number, wait) in (0..).zip(waits_us) {
        let (begin, packet) = (number * 1000, packet(number));
        writeln!(script, "{begin} probe=net_dev_queue {packet}").unwrap();
        writeln!(script, "{} probe=net_dev_start_xmit {packet}", begin + wait).unwrap();
        writeln!(script, "{} probe=consume_skb {packet}", begin + wait).unwrap();
    }
    script
}

/// The answer of `ntana latency a.ntc` to a question, as JSON.
fn ask(lab: &Lab, args: &[&str]) -> Value {
    let ran = lab.ntana(&[&["latency", "a.ntc", "--format", "json"], args].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    serde_json::from_str::<Value>(&ran.out).unwrap()["captures"][0].take()
}

/// The line of a leg of a model.
fn leg<'v>(answer: &'v Value, model: &str, from: &str, to: &str) -> &'v Value {
    let models = answer["models"].as_array().unwrap();
    let model = models.iter().find(|known| known["model"] == model).unwrap();
    let legs = model["legs"].as_array().unwrap();
    legs.iter().find(|leg| leg["from"] == from && leg["to"] == to).unwrap_or_else(|| panic!("{model:#}"))
}

/// The only sentence with which a question is refused.
fn refused(lab: &Lab, args: &[&str]) -> String {
    let ran = lab.ntana(&[&["latency", "a.ntc"], args].concat());
    assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    ran.err
}

#[test]
fn a_known_distribution_has_its_exact_percentiles() {
    // 1 to 1000 us, each once, in an order that is not theirs.
    let lab = lab(&queued((0..1000).map(|i| i * 619 % 1000 + 1)));
    let answer = ask(&lab, &["--from", "net_dev_queue", "--to", "net_dev_start_xmit"]);
    let line = &answer["models"][0]["legs"][0];
    let of = |name: &str| line[name].as_u64().unwrap();
    assert_eq!(of("count"), 1000);
    assert_eq!([of("p50"), of("p90"), of("p99"), of("p99_9")], [500_000, 900_000, 990_000, 999_000]);
    assert_eq!([of("min"), of("max"), of("mean"), of("sum")], [1000, 1_000_000, 500_500, 500_500_000]);
    assert_eq!(line["exact"], true);
}

#[test]
fn of_many_times_percentiles_are_within_a_thousandth_and_say_so() {
    let lab = Lab::new();
    let (count, probes) = (20_000_u64, ["net_dev_queue", "net_dev_start_xmit", "consume_skb"]);
    let mut rows = Rows::new();
    for number in 0..count {
        for (step, probe) in probes.iter().enumerate() {
            let row = rows.next();
            let wait = (number * 7919 % count + 1) * 10;
            rows.ts.put(row, START + number * 1_000_000 + wait * step.min(1) as u64);
            rows.cpu.put(row, 0);
            rows.kind.put_str(row, if *probe == "consume_skb" { "free" } else { "pkt" });
            rows.probe.put_str(row, probe);
            rows.skb.put(row, 0xffff_8881_0000_0000 + (number << 8));
        }
    }
    let mut writer =
        Writer::create(&lab.path("a.ntc"), with_probes(&probes), Options::default(), false).unwrap();
    writer.write(&rows.finish().unwrap()).unwrap();
    writer.finish().unwrap();
    let answer = ask(&lab, &["--from", "net_dev_queue", "--to", "net_dev_start_xmit"]);
    let line = &answer["models"][0]["legs"][0];
    assert_eq!(line["count"], count);
    assert_eq!(line["exact"], false);
    for (name, exact) in [("p50", 100_000), ("p90", 180_000), ("p99", 198_000), ("p99_9", 199_800)] {
        let found = line[name].as_u64().unwrap();
        assert!(found.abs_diff(exact) <= exact / 1000, "{name}: {found}, not {exact}");
    }
    assert_eq!([&line["min"], &line["max"]], [10, 200_000]);
}

#[test]
fn packets_without_an_end_are_counted_by_why() {
    let mut script = queued([5, 7]);
    let at = |number: u64, time: u64, probe: &str, more: &str| {
        format!("{time} probe={probe} {} {more}\n", packet(number))
    };
    // One is dropped in the queue, one still waits when the capture ends, one came before it, one is freed otherwise.
    script += &at(10, 10_000, "net_dev_queue", "");
    script += &at(10, 10_010, "kfree_skb", "reason=QDISC_DROP location=pfifo_enqueue+0x1");
    script += &at(12, 12_000, "net_dev_start_xmit", "");
    script += &at(12, 12_001, "consume_skb", "");
    script += &at(13, 13_000, "net_dev_queue", "");
    script += &at(13, 13_010, "consume_skb", "");
    script += &at(14, 14_000, "net_dev_queue", "");
    let answer = ask(&lab(&script), &["--from", "net_dev_queue", "--to", "net_dev_start_xmit"]);
    let model = &answer["models"][0];
    assert_eq!(model["legs"][0]["count"], 2);
    let ends = &model["ends"][0];
    assert_eq!([&ends["dropped"], &ends["open"], &ends["elsewhere"]], [1, 1, 1]);
    assert_eq!([&model["unbegun"], &model["touched_by_loss"]], [1, 0]);
}

#[test]
fn packets_during_whose_lives_events_were_lost_are_left_out() {
    let lab = Lab::new();
    let script = queued([5, 7, 9]) + "2005 probe=net_dev_xmit kind=loss value=3 span=4000\n";
    let mut lines: Vec<&str> = script.lines().collect();
    lines.sort_by_key(|line| line.split_once(' ').unwrap().0.parse::<u64>().unwrap());
    let counts = vec![ntc::Count {
        probe: "net_dev_xmit".into(),
        cpu: Some(0),
        counted: 3,
        lost: 3,
        ..ntc::Count::default()
    }];
    let metadata = Metadata { totals: Totals { counts, ..Totals::default() }, ..with_probes(&PROBES) };
    write(&lab.path("a.ntc"), metadata, &lines.join("\n"));
    let answer = ask(&lab, &["--from", "net_dev_queue", "--to", "net_dev_start_xmit"]);
    let model = &answer["models"][0];
    assert_eq!([&model["legs"][0]["count"], &model["touched_by_loss"]], [2, 1]);
}

/// A datagram from a device to a socket, through IP.
const RECEIVED: &str = "\
100 probe=netif_rx skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
110 probe=netif_receive_skb skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
113 probe=ip_rcv skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
115 probe=ip_rcv_core skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
119 probe=ip_local_deliver skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
124 probe=udp_rcv skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
140 probe=__udp_enqueue_schedule_skb skb=ffff888100000700 netns=4026532002 ifindex=3 dev=veth1 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
190 probe=skb_consume_udp skb=ffff888100000700 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=7
191 probe=consume_skb skb=ffff888100000700 location=skb_consume_udp+0x1
";

/// The probes of [`RECEIVED`].
const RECEIVING: [&str; 9] = [
    "netif_rx",
    "netif_receive_skb",
    "ip_rcv",
    "ip_rcv_core",
    "ip_local_deliver",
    "udp_rcv",
    "__udp_enqueue_schedule_skb",
    "skb_consume_udp",
    "consume_skb",
];

#[test]
fn the_stages_of_a_way_add_up_to_the_whole() {
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&RECEIVING), RECEIVED);
    let answer = ask(&lab, &["--model", "in"]);
    let legs = answer["models"][0]["legs"].as_array().unwrap();
    let shown: Vec<(Option<&str>, Option<&str>, u64)> = legs
        .iter()
        .map(|leg| (leg["from"].as_str(), leg["to"].as_str(), leg["sum"].as_u64().unwrap()))
        .collect();
    let stages = ["backlog", "receive", "ip-in", "local-in", "transport-in", "socket", "read"].map(Some);
    let times = [10_000, 3_000, 6_000, 5_000, 16_000, 50_000];
    let expected: Vec<_> = stages.windows(2).zip(times).map(|(pair, ns)| (pair[0], pair[1], ns)).collect();
    assert_eq!(shown[..6], expected);
    assert_eq!(shown[6..], [(None, None, 90_000)]);
    let shares: f64 = legs.iter().filter_map(|leg| leg["share"].as_f64()).sum();
    assert!((shares - 100.0).abs() < 1e-9, "{shares}");
}

#[test]
fn the_end_is_a_stage_where_it_is_asked_for() {
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&RECEIVING), RECEIVED);
    let answer = ask(&lab, &["--model", "rx-read", "--free"]);
    assert_eq!(leg(&answer, "rx-read", "read", "free")["sum"], 1_000);
    assert_eq!(ask(&lab, &["--model", "rx-read"])["models"][0]["legs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_stage_that_was_not_recorded_is_named_and_never_zero() {
    let lab = Lab::new();
    let script: String =
        RECEIVED.lines().filter(|line| !line.contains("ip_local")).fold(String::new(), |t, l| t + l + "\n");
    let probes: Vec<&str> = RECEIVING.into_iter().filter(|probe| !probe.starts_with("ip_local")).collect();
    write(&lab.path("a.ntc"), with_probes(&probes), &script);
    let answer = ask(&lab, &["--model", "in"]);
    let model = &answer["models"][0];
    assert_eq!(leg(&answer, "in", "ip-in", "transport-in")["sum"], 11_000);
    assert!(
        model["legs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|leg| leg["from"] != "local-in" && leg["to"] != "local-in")
    );
    let missing = &model["not_recorded"];
    assert_eq!(missing["stages"], serde_json::json!(["driver", "local-in"]));
    let text = lab.ntana(&["latency", "a.ntc", "--model", "in"]).out;
    assert!(text.contains("not recorded: driver, local-in (ntrec capture --profile life)\n"), "{text}");
}

#[test]
fn of_a_stage_that_is_passed_again_the_last_time_counts() {
    let packet = packet(1);
    let script = format!(
        "10 probe=ip_rcv {packet}\n20 probe=ip_rcv {packet}\n25 probe=udp_rcv {packet}\n26 probe=consume_skb {packet}\n"
    );
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&RECEIVING), &script);
    let answer = ask(&lab, &["--from", "ip_rcv", "--to", "udp_rcv"]);
    assert_eq!(answer["models"][0]["legs"][0]["sum"], 5_000);
    assert_eq!(answer["models"][0]["ends"][0]["elsewhere"], 1);
}

#[test]
fn the_return_of_a_function_is_a_stage() {
    let mut script = String::new();
    for (call, took) in [(1_u64, 30), (2, 70)] {
        let (begin, packet) = (call * 1000, packet(call));
        writeln!(script, "{begin} probe=nf_hook_slow seq={call} {packet}").unwrap();
        writeln!(script, "{} probe=net_dev_queue {packet}", begin + 10).unwrap();
        writeln!(script, "{} probe=nf_hook_slow kind=ret entry={call} ret=0 {packet}", begin + took).unwrap();
        writeln!(script, "{} probe=consume_skb {packet}", begin + 100).unwrap();
    }
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&["nf_hook_slow", "net_dev_queue", "consume_skb"]), &script);
    let answer = ask(&lab, &["--from", "nf_hook_slow", "--to", "nf_hook_slow:return"]);
    let line = &answer["models"][0]["legs"][0];
    assert_eq!([&line["count"], &line["min"], &line["max"]], [2, 30_000, 70_000]);
    assert_eq!(line["to"], "nf_hook_slow:return");
    let missing = refused(&lab, &["--from", "ip_output", "--to", "nf_hook_slow:return"]);
    assert!(missing.contains("which `ntrec capture --probe ip_output` does"), "{missing}");
    let unknown = refused(&lab, &["--from", "nf_hook_slow", "--to", "nf_hook_slo:return"]);
    assert!(unknown.contains("there is no probe or stage `nf_hook_slo:return`"), "{unknown}");
    let tracepoint = refused(&lab, &["--from", "net_dev_queue", "--to", "net_dev_queue:return"]);
    assert!(tracepoint.contains("ntrec records no return of net_dev_queue"), "{tracepoint}");
}

#[test]
fn lines_are_by_what_was_asked_for() {
    let mut script = queued([5, 7]);
    script += &queued([100])
        .replace("veth0", "veth1")
        .replace("ffff8881", "ffff8882")
        .replace("sport=40001", "sport=40002");
    let mut lines: Vec<&str> = script.lines().collect();
    lines.sort_by_key(|line| line.split_once(' ').unwrap().0.parse::<u64>().unwrap());
    let lab = lab(&lines.join("\n"));
    let by = |key: &str| {
        ask(&lab, &["--from", "queue", "--to", "device", "--by", key])["models"][0]["legs"].take()
    };
    let devices = by("dev");
    assert_eq!([&devices[0]["dev"], &devices[1]["dev"]], ["veth1", "veth0"], "the longest together first");
    assert_eq!([&devices[0]["count"], &devices[1]["count"]], [1, 2]);
    assert_eq!(by("flow")[0]["flow"], "udp 10.77.1.2:40002 -> 10.77.2.2:53");
    assert_eq!(by("probe")[0]["to_probe"], "net_dev_start_xmit");
    assert_eq!(by("cpu")[0]["cpu"], 0);
    assert_eq!(by("netns")[0]["netns"], 4_026_532_001_u32);
    let intervals =
        ask(&lab, &["--from", "queue", "--to", "device", "--interval", "1ms"])["models"][0]["legs"].take();
    assert_eq!([&intervals[0]["interval"], &intervals[1]["interval"]], [START, START + 1_000_000]);
    assert_eq!([&intervals[0]["count"], &intervals[1]["count"]], [2, 1]);
}

#[test]
fn the_slowest_packets_are_shown_with_their_lives() {
    let lab = lab(&queued([5, 70, 7, 60]));
    let question = ["--from", "queue", "--to", "device", "--worst", "2", "--min", "6us"];
    let answer = ask(&lab, &question);
    assert_eq!([&answer["worst"][0]["ns"], &answer["worst"][1]["ns"]], [70_000, 60_000]);
    let life = &answer["worst"][0]["life"];
    assert_eq!(life["skb"], "ffff888100000100");
    assert_eq!(life["events"].as_array().unwrap().len(), 3);
    let line = &answer["models"][0]["legs"][0];
    assert_eq!([&line["count"], &line["shorter"]], [3, 1]);
    let csv = lab.ntana(&[&["latency", "a.ntc", "--format", "csv"], &question[..]].concat()).out;
    assert_eq!(csv.lines().count(), 3, "{csv}");
}

#[test]
fn histograms_are_those_of_the_tools_that_people_know() {
    let lab = lab(&queued([1, 2, 3, 9]));
    let hist = |style: &str| lab.ntana(&["latency", "a.ntc", "--from", "queue", "--to", "device", style]).out;
    let bcc = hist("--hist");
    assert!(bcc.contains("     usecs               : count     distribution\n"), "{bcc}");
    assert!(
        bcc.contains("         2 -> 3          : 2        |****************************************|\n"),
        "{bcc}"
    );
    let bpftrace = hist("--hist=bpftrace");
    assert!(
        bpftrace
            .contains("[2, 4)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n"),
        "{bpftrace}"
    );
    let nettrace = hist("--hist=nettrace");
    assert!(nettrace.contains("                     2 -       3us: 2        0.5000\n"), "{nettrace}");
}

#[test]
fn an_echo_request_is_joined_to_its_reply() {
    let echo = |time: u64, probe: &str, skb: u64, way: &str, kind: u8, seq: u16| {
        let ends =
            if way == "out" { "saddr=10.77.1.2 daddr=10.77.2.2" } else { "saddr=10.77.2.2 daddr=10.77.1.2" };
        format!(
            "{time} probe={probe} skb={skb:016x} netns=4026532001 ifindex=2 dev=eth0 {ends} l4=icmp icmp_type={kind} icmp_code=0 icmp_id=9 icmp_seq={seq}\n"
        )
    };
    let mut script = String::new();
    for (seq, rtt) in [(1, 1000), (2, 3000)] {
        let (begin, out, back) = (u64::from(seq) * 100_000, 0xffff_8881_0000_0100, 0xffff_8881_0000_0200);
        script += &echo(begin, "net_dev_queue", out, "out", 8, seq);
        script += &echo(begin + 10, "net_dev_start_xmit", out, "out", 8, seq);
        script += &format!("{} probe=consume_skb skb={out:016x}\n", begin + 11);
        script += &echo(begin + rtt, "netif_receive_skb", back, "in", 0, seq);
        script += &format!("{} probe=consume_skb skb={back:016x} location=icmp_rcv+0x1\n", begin + rtt + 5);
    }
    script += &echo(900_000, "net_dev_queue", 0xffff_8881_0000_0300, "out", 8, 3);
    let lab = lab(&script);
    let answer = ask(&lab, &["--model", "icmp-rtt"]);
    let wire = leg(&answer, "icmp-rtt", "device", "receive");
    assert_eq!([&wire["count"], &wire["min"], &wire["max"]], [2, 990_000, 2_990_000]);
    let whole = &answer["models"][0]["legs"].as_array().unwrap()[2];
    assert_eq!(
        [&whole["from"], &whole["p50"], &whole["max"]],
        [&Value::Null, &1_000_000.into(), &3_000_000.into()]
    );
    assert_eq!(answer["models"][0]["ends"][0]["open"], 1, "{:#}", answer["models"][0]["ends"]);
}

/// A line of an echo message: which probe it is at, in which `sk_buff`, which way it goes, and what it is.
fn echo_line(time: u64, probe: &str, skb: u64, (from, to): (&str, &str), kind: u8) -> String {
    format!(
        "{time} probe={probe} skb={skb:016x} netns=4026532001 ifindex=2 dev=eth0 saddr={from} daddr={to} l4=icmp icmp_type={kind} icmp_code=0 icmp_id=9 icmp_seq=1\n"
    )
}

/// Addresses of packets in captures of echoes.
const ECHO: [u64; 2] = [0xffff_8881_0000_0100, 0xffff_8881_0000_0200];

#[test]
fn an_echo_that_the_host_answers_has_its_times() {
    let (there, back) = (("10.77.1.2", "10.77.2.2"), ("10.77.2.2", "10.77.1.2"));
    let script = [
        echo_line(100, "netif_rx", ECHO[0], there, 8),
        echo_line(130, "netif_receive_skb", ECHO[0], there, 8),
        echo_line(170, "icmp_rcv", ECHO[0], there, 8),
        echo_line(220, "ip_send_skb", ECHO[1], back, 0),
        echo_line(280, "net_dev_queue", ECHO[1], back, 0),
        echo_line(350, "net_dev_start_xmit", ECHO[1], back, 0),
        format!("351 probe=consume_skb skb={:016x}\n", ECHO[0]),
        format!("360 probe=consume_skb skb={:016x}\n", ECHO[1]),
    ];
    let lab = Lab::new();
    let probes = ["netif_rx", "netif_receive_skb", "icmp_rcv", "ip_send_skb", "net_dev_queue"];
    let probes = [&probes[..], &["net_dev_start_xmit", "consume_skb"]].concat();
    write(&lab.path("a.ntc"), with_probes(&probes), &script.concat());
    let answer = ask(&lab, &["--model", "icmp-answer"]);
    let legs = answer["models"][0]["legs"].as_array().unwrap();
    let shown: Vec<_> = legs.iter().map(|leg| (leg["to"].as_str(), leg["p50"].as_u64().unwrap())).collect();
    let stages = ["receive", "transport-in", "ip-send", "queue", "device"].map(Some);
    let times = [30_000, 40_000, 50_000, 60_000, 70_000];
    let expected: Vec<_> = stages.into_iter().zip(times).chain([(None, 250_000)]).collect();
    assert_eq!(shown, expected);
    assert_eq!(
        leg(&answer, "icmp-answer", "transport-in", "ip-send")["count"],
        1,
        "what the host does itself"
    );
}

#[test]
fn an_echo_is_joined_to_its_reply_where_the_host_translates_addresses() {
    let (client, own, server) = ("10.77.1.2", "10.77.2.1", "10.77.2.2");
    let script = [
        echo_line(100, "netif_receive_skb", ECHO[0], (client, server), 8),
        echo_line(150, "net_dev_queue", ECHO[0], (own, server), 8),
        echo_line(160, "net_dev_start_xmit", ECHO[0], (own, server), 8),
        format!("161 probe=consume_skb skb={:016x}\n", ECHO[0]),
        echo_line(960, "netif_receive_skb", ECHO[1], (server, own), 0),
        echo_line(990, "net_dev_queue", ECHO[1], (server, client), 0),
        echo_line(995, "net_dev_start_xmit", ECHO[1], (server, client), 0),
        format!("996 probe=consume_skb skb={:016x}\n", ECHO[1]),
    ];
    let answer = ask(&lab(&script.concat()), &["--model", "icmp-rtt"]);
    assert_eq!(leg(&answer, "icmp-rtt", "device", "receive")["sum"], 800_000);
    assert_eq!(answer["models"][0]["ends"], serde_json::json!([]), "none is without its reply");
}

#[test]
fn an_upcall_is_joined_to_the_packet_that_comes_back() {
    let line = |time: u64, probe: &str, skb: u64| {
        format!(
            "{time} probe={probe} skb={skb:016x} netns=4026532001 ifindex=2 dev=vnet0 saddr=10.77.1.2 daddr=10.77.2.2 l4=udp sport=40001 dport=53 ip_id=77\n"
        )
    };
    let first = ["netif_receive_skb", "ovs_dp_process_packet", "ovs_dp_upcall"];
    let mut script = String::new();
    // It is asked about twice: before and behind connection tracking.
    (100..)
        .step_by(10)
        .zip(first)
        .for_each(|(time, probe)| script += &line(time, probe, 0xffff_8881_0000_0100));
    script += &format!("121 probe=consume_skb skb={:016x}\n", 0xffff_8881_0000_0100_u64);
    script += &line(420, "ovs_execute_actions", 0xffff_8881_0000_0200);
    script += &line(430, "ovs_dp_process_packet", 0xffff_8881_0000_0200);
    script += &line(440, "ovs_dp_upcall", 0xffff_8881_0000_0200);
    script += &format!("441 probe=consume_skb skb={:016x}\n", 0xffff_8881_0000_0200_u64);
    script += &line(940, "ovs_execute_actions", 0xffff_8881_0000_0300);
    script += &line(950, "net_dev_queue", 0xffff_8881_0000_0300);
    // The flow is known now: nobody is asked.
    for (time, probe) in
        (1000..).step_by(10).zip(["netif_receive_skb", "ovs_dp_process_packet", "ovs_execute_actions"])
    {
        script += &line(time, probe, 0xffff_8881_0000_0400).replace("ip_id=77", "ip_id=78");
    }
    let lab = Lab::new();
    let probes = [&first[..], &["ovs_execute_actions", "net_dev_queue", "consume_skb"]].concat();
    write(&lab.path("a.ntc"), with_probes(&probes), &script);
    let answer = ask(&lab, &["--model", "ovs-upcall"]);
    let line = leg(&answer, "ovs-upcall", "ovs-upcall", "ovs-again");
    assert_eq!([&line["count"], &line["min"], &line["max"]], [2, 300_000, 500_000]);
    assert_eq!([&line["limit"]["ns"], &line["limit"]["abnormal"]], [500_000, 1], "{line:#}");
    assert_eq!(
        [&answer["models"][0]["ends"], &answer["models"][0]["unbegun"]],
        [&serde_json::json!([]), &0.into()]
    );
}

/// The header of a TCP segment over IPv4 with so many bytes of payload, as digits.
fn header(payload: u16) -> String {
    let ip = format!("4500{:04x}0001400040060000{}{}", 40 + payload, "0a4d0102", "0a4d0202");
    ip + "9c4100500000000100000001" + "5018ffff00000000"
}

#[test]
fn tcp_data_is_joined_to_what_acknowledges_its_last_byte() {
    let sent = |time: u64, skb: u64, seq: u32, len: u16| {
        format!(
            "{time} probe=net_dev_queue skb={skb:016x} netns=4026532001 ifindex=2 dev=eth0 saddr=10.77.1.2 daddr=10.77.2.2 l4=tcp sport=40001 dport=80 tcp_seq={seq} tcp_ack=1 tcp_flags=PA header={}\n",
            header(len)
        )
    };
    let acked = |time: u64, skb: u64, ack: u32| {
        format!(
            "{time} probe=netif_receive_skb skb={skb:016x} netns=4026532001 ifindex=2 dev=eth0 saddr=10.77.2.2 daddr=10.77.1.2 l4=tcp sport=80 dport=40001 tcp_seq=1 tcp_ack={ack} tcp_flags=A\n"
        )
    };
    let base = u32::MAX - 150;
    let script = [
        // A row that would repeat a header does not have it.
        sent(999, 0xffff_8881_0000_0100, base, 100).replace("net_dev_queue", "ip_output"),
        sent(1000, 0xffff_8881_0000_0100, base, 100).replace(&format!(" header={}", header(100)), ""),
        sent(1100, 0xffff_8881_0000_0200, base.wrapping_add(100), 100),
        // Half of the second: only the first is acknowledged.
        acked(2000, 0xffff_8881_0000_0300, base.wrapping_add(150)),
        acked(2600, 0xffff_8881_0000_0400, base.wrapping_add(200)),
        // Sent again: the acknowledgment may be of either.
        sent(3000, 0xffff_8881_0000_0500, base.wrapping_add(200), 50),
        sent(3500, 0xffff_8881_0000_0600, base.wrapping_add(200), 50),
        acked(3600, 0xffff_8881_0000_0700, base.wrapping_add(250)),
        sent(4000, 0xffff_8881_0000_0800, base.wrapping_add(250), 50),
    ]
    .concat();
    let answer = ask(&lab(&script), &["--model", "send-ack"]);
    let line = leg(&answer, "send-ack", "queue", "receive");
    assert_eq!([&line["count"], &line["min"], &line["max"]], [2, 1_000_000, 1_500_000]);
    let ends = &answer["models"][0]["ends"][0];
    assert_eq!([&ends["elsewhere"], &ends["open"]], [1, 1], "sent again, not acknowledged");
}

#[test]
fn a_change_is_told_from_chance() {
    let lab = lab(&queued((0..2000).map(|i| 100 + i % 50)));
    write(&lab.path("same.ntc"), with_probes(&PROBES), &queued((0..2000).map(|i| 100 + i * 7 % 50)));
    write(&lab.path("faster.ntc"), with_probes(&PROBES), &queued((0..2000).map(|i| 40 + i % 50)));
    let change = |baseline: &str| {
        let answer = ask(&lab, &["--from", "queue", "--to", "device", "--baseline", baseline]);
        answer["models"][0]["legs"][0]["baseline"].clone()
    };
    assert_eq!(
        [&change("same.ntc")["p50_verdict"], &change("same.ntc")["p99_verdict"]],
        ["chance", "chance"]
    );
    let faster = change("faster.ntc");
    assert_eq!([&faster["p50_verdict"], &faster["p99_verdict"]], ["longer", "longer"]);
    assert_eq!([&faster["count"], &faster["p50"]], [2000, 64_000]);
    let text =
        lab.ntana(&["latency", "a.ntc", "--from", "queue", "--to", "device", "--baseline", "faster.ntc"]).out;
    assert!(text.contains("p50 was 64.0 us (+94%: longer, more than chance)"), "{text}");
}

#[test]
fn abnormal_shows_its_limit() {
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&RECEIVING), RECEIVED);
    std::fs::write(
        lab.path("mine.toml"),
        "[[limit]]\nmodel = \"in\"\nfrom = \"socket\"\nto = \"read\"\nus = 50\nsource = \"our own\"\n",
    )
    .unwrap();
    let text = lab.ntana(&["latency", "a.ntc", "--model", "in", "--rules", "mine.toml"]).out;
    assert!(text.contains("ABNORMAL: 1 took 50.0 us or longer, the limit (our own)"), "{text}");
    assert_eq!(text.matches("ABNORMAL").count(), 1);
}

/// A packet of a virtual machine through its host to another one, which takes it so long after its device has it.
fn between_machines(read: u64) -> String {
    let line = |time: u64, probe: &str, dev: &str| {
        let (index, packet) = (dev.replace("vnet", ""), packet(1));
        let at = format!("ifindex={} dev={dev}", 4 + index.parse::<u64>().unwrap());
        format!("{time} probe={probe} {}\n", packet.replace("ifindex=2 dev=veth0", &at))
    };
    [
        line(100, "netif_receive_skb", "vnet0"),
        line(150, "net_dev_queue", "vnet1"),
        line(400, "net_dev_start_xmit", "vnet1"),
        // These rows have no device.
        format!("{} probe=skb_copy_datagram_iovec skb={:016x}\n", 400 + read, 0xffff_8881_0000_0100_u64),
        format!("{} probe=consume_skb skb={:016x}\n", 401 + read, 0xffff_8881_0000_0100_u64),
    ]
    .concat()
}

#[test]
fn virtual_machines_have_limits() {
    let probes = [&PROBES[..], &["skb_copy_datagram_iovec"]].concat();
    let asked = |read| {
        let lab = Lab::new();
        write(&lab.path("a.ntc"), with_probes(&probes), &between_machines(read));
        ask(&lab, &["--model", "vm-vm,vhost"])
    };
    let answer = asked(199);
    let way = &answer["models"][0]["legs"][2];
    assert_eq!([&way["from"], &way["sum"]], [&Value::Null, &300_000.into()], "the whole way");
    assert_eq!([&way["limit"]["ns"], &way["limit"]["abnormal"]], [300_000, 1]);
    let vhost = |answer: &Value| {
        let line = leg(answer, "vhost", "vm-device", "vm-read");
        [line["sum"].clone(), line["limit"]["abnormal"].clone()]
    };
    assert_eq!(vhost(&answer), [199_000, 0]);
    assert_eq!(vhost(&asked(200)), [200_000, 1]);
}

#[test]
fn users_bring_models_of_their_own() {
    let lab = Lab::new();
    write(&lab.path("a.ntc"), with_probes(&RECEIVING), RECEIVED);
    let model = "[[model]]\nname = \"mine\"\nwhat = \"ours\"\nstages = [\"ip_rcv\", \"read\"]\n";
    std::fs::write(lab.path("mine.toml"), model).unwrap();
    let answer = ask(&lab, &["--rules", "mine.toml", "--model", "mine"]);
    assert_eq!(leg(&answer, "mine", "ip_rcv", "read")["sum"], 77_000);
    std::fs::write(lab.path("mine.toml"), model.replace("\"read\"", "\"no such\"")).unwrap();
    let wrong = refused(&lab, &["--rules", "mine.toml"]);
    assert!(
        wrong.contains("mine.toml: the model mine names the stage `no such`, which no [[stage]] has"),
        "{wrong}"
    );
}

#[test]
fn what_cannot_be_answered_is_refused_in_one_sentence() {
    let lab = lab(&queued([5]));
    let between = |from, to| refused(&lab, &["--from", from, "--to", to]);
    let unknown = between("net_dev_queu", "device");
    assert!(
        unknown.contains("there is no probe or stage `net_dev_queu`; nearest to it: net_dev_queue"),
        "{unknown}"
    );
    let model = refused(&lab, &["--model", "rx-reed"]);
    assert!(model.contains("there is no model `rx-reed`; nearest to it: rx-read"), "{model}");
    let unrecorded = between("ip_rcv", "tcp_v4_rcv");
    assert!(unrecorded.contains("which `ntrec capture --probe ip_rcv,tcp_v4_rcv` does"), "{unrecorded}");
    assert!(
        refused(&lab, &["--model", "rx-read"]).contains("`ntrec capture --probe skb_copy_datagram_iovec,")
    );
    let swapped = between("device", "queue");
    assert!(swapped.contains("but the other way round: --from queue --to device"), "{swapped}");
    assert!(
        between("queue", "netif_receive_skb")
            .contains("no packet passed netif_receive_skb; 1 packet passed queue")
    );
    assert!(between("queue", "queue").contains("both queue"));
    assert!(
        refused(&lab, &["--from", "queue", "--to", "device", "--interval", "0s"]).contains("--interval 0")
    );
}

#[test]
fn a_baseline_that_does_not_fit_is_refused_in_one_sentence() {
    let lab = lab(&queued([5]));
    let mut other = with_probes(&PROBES);
    other.host.kernel = "5.10.0".into();
    write(&lab.path("old.ntc"), other, &queued([5]));
    let refusal = refused(&lab, &["--baseline", "old.ntc"]);
    assert!(
        refusal.contains("the baseline old.ntc is of kernel 5.10.0, this capture of 6.18.44"),
        "{refusal}"
    );
    let compared = lab.ntana(&["latency", "a.ntc", "--baseline", "old.ntc", "--any-kernel"]);
    assert_eq!(compared.code, 0, "{}", compared.err);
    write(&lab.path("less.ntc"), with_probes(&["net_dev_queue"]), &queued([5]));
    let refusal = refused(&lab, &["--from", "queue", "--to", "device", "--baseline", "less.ntc"]);
    assert!(refusal.contains("the baseline less.ntc: queue -> device cannot be measured"), "{refusal}");
    assert!(refused(&lab, &["--baseline", "gone.ntc"]).contains("the baseline"));
}

#[test]
fn csv_has_a_record_for_each_line_and_each_count_without_times() {
    let lab = lab(&(queued([5, 7]) + &format!("9000 probe=net_dev_queue {}\n", packet(9))));
    write(&lab.path("a2.ntc"), with_probes(&PROBES), &queued([5]));
    let questions = [
        &["--by", "dev"][..],
        &[],
        &["--by", "queue"],
        &["--baseline", "a2.ntc"],
        &["--worst", "1", "--min", "1ms"],
    ];
    for (more, records) in questions.into_iter().zip([2, 2, 2, 2, 0]) {
        let args = ["latency", "a.ntc", "--from", "queue", "--to", "device", "--format", "csv"];
        let ran = lab.ntana(&[&args, more].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert_eq!(ran.out.lines().count(), 1 + records, "{more:?}: {}", ran.out);
    }
}
