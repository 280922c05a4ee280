//! The same words mean the same in both programs: what `ntrec` records with an option is what `ntana` shows with it of a
//! recording of everything, made at the same time.

use lab::{Net, Pair, traffic};
use serde_json::Value;

use crate::recorder::{Recorder, Recording, analyzer, only_with};
use crate::support::undisturbed;

/// Recorders that run at the same time, beside the one of everything.
const AT_ONCE: usize = 6;
/// Where each packet that is sent comes by once.
const PROBE: &str = "net_dev_queue";

/// Words of both programs, each with what passes or not.
const WORDS: [&str; 30] = [
    "--addr 10.77.1.2",
    "--addr 10.77.1.9/30,fd77:1::/64",
    "--addr 0.0.0.0/0",
    "--addr ::/0",
    "--addr ::ffff:10.77.1.2",
    "--src 10.77.0.0/255.255.0.0 --dst 0.0.0.0/0",
    "--dst fd77::/16",
    "--port 7001",
    "--port 0-65535",
    "--sport 53,7002",
    "--dport 7000-7002",
    "--proto udp",
    "--proto 17,icmp6",
    "--proto ICMP,arp",
    "--proto ip",
    "--proto 0x86dd",
    "--dev eth0",
    "--dev lo",
    "--len 100-200",
    "--len 42,142",
    "--tcp-flags S",
    "--tcp-flags SS",
    "--tcp-flags FR",
    "--pid 1",
    "udp port 7001",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 or icmp",
    "len = 142 or ip6 and less 100",
    "not port domain and host 10.77.1.2",
    "arp or icmp6[0] = 128",
    "--proto udp ip[8] = 64",
];

/// Some of everything.
fn send(Pair { client, server, .. }: &Pair) {
    for (at, family) in [(server.at(7001), "-4"), (server.at6(7002), "-6")] {
        client.sh("ip", &[family, "neigh", "flush", "dev", "eth0"]).unwrap();
        traffic::ping(client, at.ip(), 2).unwrap();
        traffic::tcp_short(client, server, at, 2).unwrap();
        traffic::udp_echo(client, server, at, 2, 100).unwrap();
        traffic::dns_like(client, server, at.ip(), 2).unwrap();
    }
}

/// An option's words: what begins with dashes and its value, and the expression behind.
fn split(words: &str) -> Vec<String> {
    let mut parts: Vec<&str> = words.split_whitespace().collect();
    let options = parts.iter().rposition(|part| part.starts_with("--")).map_or(0, |last| last + 2);
    let expression = parts.split_off(options).join(" ");
    parts.into_iter().map(str::to_owned).chain(Some(expression).filter(|text| !text.is_empty())).collect()
}

/// The packets that a program shows of a recording, with these words.
fn shown(recording: &Recording, words: &[String]) -> Vec<String> {
    recording.open();
    let mut command = analyzer();
    command.args(["replay", "--format", "json", "--probe", PROBE]).arg(&recording.file).args(words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let events = answer["events"].as_array().unwrap();
    let text = |event: &Value| {
        ["netns", "skb", "len", "saddr", "daddr", "l4", "sport", "dport", "tcp_seq", "icmp_seq"]
            .map(|name| event[name].to_string())
            .join(" ")
    };
    let mut found: Vec<String> = events.iter().map(text).collect();
    found.sort_unstable();
    found
}

#[test]
fn the_same_words_choose_the_same_packets_in_both_programs() {
    let Some(_turn) = undisturbed() else { return };
    let own = std::process::id().to_string();
    let mut wrong = Vec::new();
    let mut sizes = Vec::new();
    for chunk in WORDS.chunks(AT_ONCE) {
        let pair = Net::pair().unwrap();
        let hosts = [&pair.client, &pair.server];
        let words: Vec<Vec<String>> =
            chunk.iter().map(|w| split(&w.replace("--pid 1", &format!("--pid {own}")))).collect();
        let start = |words: &[String]| {
            let common = ["--profile", "net", "--buffer-size", "8M"].map(str::to_owned);
            let args: Vec<String> = common.into_iter().chain(words.iter().cloned()).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Recorder::launch(&only_with(&hosts, &args))
        };
        let recorders: Vec<Recorder> = [&[][..]]
            .into_iter()
            .chain(words.iter().map(Vec::as_slice))
            .map(start)
            .map(Recorder::ready)
            .collect();
        send(&pair);
        let recordings: Vec<Recording> = recorders.into_iter().map(Recorder::stop).collect();
        let (all, chosen) = recordings.split_first().unwrap();
        for (words, recording) in words.iter().zip(chosen) {
            let (by_recorder, by_analyzer) = (shown(recording, &[]), shown(all, words));
            sizes.push((words.join(" "), by_recorder.len()));
            if by_recorder != by_analyzer {
                let only = |a: &[String], b: &[String]| {
                    a.iter().filter(|x| !b.contains(x)).cloned().collect::<Vec<_>>()
                };
                wrong.push(format!(
                    "{words:?}: {} recorded, {} shown; only recorded {:#?}; only shown {:#?}",
                    by_recorder.len(),
                    by_analyzer.len(),
                    only(&by_recorder, &by_analyzer),
                    only(&by_analyzer, &by_recorder)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let nothing = sizes.iter().filter(|(_, size)| *size == 0).count();
    assert!(nothing <= 1, "only lo has no packets: {sizes:?}");
}
