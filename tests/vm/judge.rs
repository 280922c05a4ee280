//! What a guest's recordings must be like.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use ntc::{Capture, Probe, State};
use serde_json::Value;

use crate::guest::{Guest, PROJECT, Part, Recording, analyzer, scenarios};
use crate::latency;
use crate::numbered;
use crate::returns;
use crate::way::{self, Way, passes, typical};

/// What the recorder says where none of its programs can be loaded.
const REFUSED: &str = "none of the probes can be recorded on this kernel";

/// Words by which a kernel reports that it is broken.
const BROKEN: [&str; 5] = ["BUG:", "Oops", "WARNING:", "kernel BUG", "unregister_netdevice"];

/// Every complaint about a guest, one a line.
pub fn all(guest: &Guest) -> Vec<String> {
    let mut complaints: Vec<String> =
        guest.recordings.iter().flat_map(|recording| one(guest, recording)).collect();
    complaints.extend(unplayed(guest));
    let broken = guest.console.lines().filter(|line| BROKEN.iter().any(|word| line.contains(word)));
    complaints.extend(broken.map(|line| format!("console: {line}")));
    complaints.extend(expect(guest, "tables", &guest.tables).err());
    complaints.extend(following(guest).err());
    complaints.extend(numbered::complaints(guest));
    complaints.extend(names_late_modules(guest).err());
    complaints
}

/// A module that was loaded while recording is named.
fn names_late_modules(guest: &Guest) -> Result<(), String> {
    let capture = Capture::open(&guest.late).map_err(|error| format!("late: {error}"))?;
    match capture.metadata().late_modules.as_slice() {
        [module] if module == "dummy" => Ok(()),
        other => Err(format!("late: the module dummy was loaded, the capture says {other:?}")),
    }
}

/// Opens a recording that ended well.
pub fn open(recording: &Recording) -> Result<Capture, String> {
    let Recording { name, status, stderr, file, .. } = recording;
    if *status != Some(0) {
        return Err(format!("{name}: exit status {status:?}: {}", stderr.trim()));
    }
    let capture = Capture::open(file).map_err(|error| format!("{name}: {error}"))?;
    balance(&capture).map_err(|error| format!("{name}: {error}"))?;
    Ok(capture)
}

/// Events of a probe.
fn events(capture: &Capture, probe: &str) -> u64 {
    capture
        .metadata()
        .totals
        .counts
        .iter()
        .filter(|count| count.probe == probe)
        .map(|count| count.recorded)
        .sum()
}

/// Packets are followed to where `--free` says, and into their clones unless `--no-clone` says not to.
fn following(guest: &Guest) -> Result<(), String> {
    let Some([to_the_end, to_free, with_clones, without]) = &guest.followed else { return Ok(()) };
    let counts = |recording, probes: [&str; 2]| {
        open(recording).map(|capture| probes.map(|probe| events(&capture, probe)))
    };
    let probes = ["ip_rcv", "ip_forward"];
    let (all, freed) = (counts(to_the_end, probes)?, counts(to_free, probes)?);
    // The function that ends them is seen, and none behind it; they begin anew where they are sent on.
    if all[1] == 0 || freed[0] != all[0] || freed[1] != 0 {
        return Err(format!("--free ip_rcv: {probes:?} have {freed:?} events, without it {all:?}"));
    }
    let probes = ["tpacket_rcv", "net_dev_queue"];
    let (all, originals) = (counts(with_clones, probes)?, counts(without, probes)?);
    // What tcpdump is given of a received packet is the packet itself, of a sent one a clone.
    if originals[0] == 0 || originals[0] >= all[0] || originals[1] != all[1] {
        return Err(format!("--no-clone: {probes:?} have {originals:?} events, without it {all:?}"));
    }
    Ok(())
}

/// Scenarios that no recording has. One that has a recording of its own is judged there, even if it was not played.
fn unplayed(guest: &Guest) -> impl Iterator<Item = String> {
    let has = |recording: &Recording, scenario: &str| {
        recording.name == scenario || recording.parts().any(|part| part.name == scenario)
    };
    scenarios()
        .filter(move |scenario| !guest.recordings.iter().any(|recording| has(recording, scenario)))
        .map(|scenario| format!("{scenario}: no recording has it"))
}

/// Complaints about a recording of scenarios.
fn one(guest: &Guest, recording: &Recording) -> Vec<String> {
    let begun = Instant::now();
    let judged = opened(guest, recording)
        .and_then(|capture| capture.map_or(Ok(Vec::new()), |capture| parts(guest, recording, &capture)));
    let complaints = judged.unwrap_or_else(|complaint| vec![complaint]);
    eprintln!(
        "kernel {}, {}: judged in {:.1} s",
        guest.kernel,
        recording.name,
        begun.elapsed().as_secs_f64()
    );
    complaints.into_iter().map(|complaint| format!("{}: {complaint}", recording.name)).collect()
}

/// Opens a recording that ended well; `None` if this kernel is expected to refuse it.
fn opened(guest: &Guest, recording: &Recording) -> Result<Option<Capture>, String> {
    let Recording { name, status, stderr, file, .. } = recording;
    match status {
        Some(0) => {}
        // Kernels without BTF of modules.
        Some(2) if *name == "nft-chain" && stderr.contains("--nft-trace needs") => {
            return expect(guest, "rule", "refused\n").map(|()| None);
        }
        // It told why; that it should not have is a matter of the expected probes.
        Some(_) if stderr.contains(REFUSED) => return expect(guest, "probes", "none\n").map(|()| None),
        Some(status) => return Err(format!("exit status {status}: {}", stderr.trim())),
        None => return Err("the guest ended before it was recorded".to_owned()),
    }
    let capture = Capture::open(file).map_err(|error| error.to_string())?;
    if *capture.state() != State::Closed {
        return Err("the capture is not closed".to_owned());
    }
    balance(&capture)?;
    Ok(Some(capture))
}

/// Complaints about the scenarios of a recording.
fn parts(guest: &Guest, recording: &Recording, capture: &Capture) -> Result<Vec<String>, String> {
    let returns = returns::check(capture)?;
    let answer = ask("info", &[], &recording.file)?;
    let start = answer["captures"][0]["head"]["start"].as_u64().ok_or("ntana info gives no start")?;
    let judged = recording.parts().filter_map(|part| {
        let returned = ["raw", "delay", "ovs-host"].contains(&recording.name)
            || returns.iter().any(|ts| part.time.contains(ts));
        let complaint = if returned {
            scenario(guest, &part, start).err()?
        } else {
            "no return of a function was recorded".to_owned()
        };
        Some(format!("{}: {complaint}", part.name))
    });
    // Modules bring functions; the last recording finds those of all scenarios loaded.
    let last = recording.name == guest.recordings[guest.recordings.len() - 1].name;
    let probes = last.then(|| expect(guest, "probes", &attached(capture)).err()).flatten();
    Ok(judged.chain(probes).collect())
}

/// Judges one scenario.
fn scenario(guest: &Guest, part: &Part<'_>, start: u64) -> Result<(), String> {
    let time = within(part, start);
    let answer = ask("diag", &time, part.file)?;
    diagnosis(part.name, &answer)?;
    if part.name == "nft-chain" {
        expect(guest, "rule", &rules(&answer))?;
    }
    // Of many flows: which packet is the longest there depends on the moment.
    if ["demo", "healthy"].contains(&part.name) {
        return Ok(());
    }
    if part.name == "delay" {
        return latency::delays(part);
    }
    let own = [time, vec!["--netns".to_owned(), part.namespaces.clone()]].concat();
    let answer = ask("trace", &own, part.file)?;
    let lives = answer["captures"][0]["lives"].as_array().map_or(&[][..], Vec::as_slice);
    latency::judge(guest.kernel, part, &own, lives)?;
    // What its packets pass depends on what the daemon is asked about.
    if part.name == "ovs-host" {
        return Ok(());
    }
    let way = match part.name {
        "gso-loss" => segments(lives),
        "gro" => merges(lives),
        "copy" => copies(lives),
        "forward" => connections(lives),
        "fragments" => fragments(lives),
        "iptables" | "nft-chain" => verdicts(lives),
        "ping" => resolution(lives)? + &life(lives).to_string(),
        "bridge" | "ovs" => each_way(lives, ["icmp_rcv", "udpv6_rcv"]),
        "ipvs" => each_way(lives, ["ip_vs_nat_xmit", "ip_route_me_harder"]),
        _ => life(lives).to_string(),
    };
    expect(guest, part.name, &way)
}

/// The time of a part, as `ntana` understands it.
fn within(part: &Part<'_>, start: u64) -> Vec<String> {
    let after = |ts: u64| format!("{}ns", ts.saturating_sub(start));
    let until = (part.time.end != u64::MAX).then(|| after(part.time.end - 1));
    let until = until.map(|until| ["--until".to_owned(), until]);
    ["--since".to_owned(), after(part.time.start)].into_iter().chain(until.into_iter().flatten()).collect()
}

/// What netfilter said of one packet; how it came there is the matter of other scenarios.
fn verdicts(lives: &[Value]) -> String {
    let steps = life(lives).steps;
    steps.iter().filter(|step| step.contains(": ")).fold(String::new(), |text, step| text + step + "\n")
}

/// The rules that `ntana diag` names, one a line.
fn rules(answer: &Value) -> String {
    let findings = answer["captures"][0]["findings"].as_array().cloned().unwrap_or_default();
    let rules = findings.iter().flat_map(|finding| finding["rules"].as_array().into_iter().flatten());
    rules.fold(String::new(), |text, rule| format!("{text}{}\n", rule["what"]))
}

/// The causes that `ntana diag` must find, and no others; healthy traffic has none.
fn causes(scenario: &str) -> BTreeSet<&'static str> {
    let found: &[&str] = match scenario {
        "demo" => &["socket-receive-buffer-full", "netfilter-drop", "tcp-port-closed", "udp-port-closed"],
        // A netem that loses packets is a qdisc that drops them; what TCP does about it is a consequence.
        "gso-loss" => &["qdisc-full"],
        "nft-chain" | "iptables" => &["netfilter-drop"],
        _ => &[],
    };
    found.iter().copied().collect()
}

/// Scenarios in which [`AT_TIMES`] may be found as well.
const OVERTAKEN: [&str; 2] = ["ipsec", "vxlan"];

/// A cause that is there at times: where the sender moves from one of the guest's two slow processors to the other, segments
/// overtake each other and TCP sends some again. Seen with IPsec (on 5.10, 146 of 3,037 segments arrived behind a later one;
/// on 6.1, 85 of 86 that were sent again arrived twice) and VXLAN (6.1, 27 of 36). On the running kernel healthy traffic has
/// no findings.
const AT_TIMES: &str = "tcp-retransmissions";

/// Runs a command of `ntana` and returns the JSON that it prints.
pub fn ask(command: &str, filters: &[String], file: &Path) -> Result<Value, String> {
    let printed = print(command, filters, "json", file)?;
    serde_json::from_slice(&printed).map_err(|error| format!("ntana {command}: {error}"))
}

/// What a command of `ntana` prints in a format.
pub fn print(command: &str, filters: &[String], format: &str, file: &Path) -> Result<Vec<u8>, String> {
    let mut ntana = harness::own(analyzer());
    let output = ntana.arg(command).args(filters).args(["--format", format]).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !output.stderr.is_empty() {
        return Err(format!("ntana {command}: {}: {said}", output.status));
    }
    Ok(output.stdout)
}

/// The verdict is right: every cause is found, and nothing else.
fn diagnosis(scenario: &str, answer: &Value) -> Result<(), String> {
    let findings = answer["captures"][0]["findings"].as_array().cloned().unwrap_or_default();
    let found = findings.iter().filter_map(|finding| Some(finding["cause"].as_str()?.to_owned()));
    let found: BTreeSet<String> =
        found.filter(|cause| cause != AT_TIMES || !OVERTAKEN.contains(&scenario)).collect();
    let expected: BTreeSet<String> = causes(scenario).into_iter().map(str::to_owned).collect();
    if found == expected { Ok(()) } else { Err(format!("diag found {found:?} instead of {expected:?}")) }
}

/// How a packet waits for the address of its neighbour to be resolved.
fn resolution(lives: &[Value]) -> Result<String, String> {
    let waiting = lives.iter().find(|life| passes(life, "__neigh_event_send"));
    let waiting = waiting.ok_or("no packet waited for an address to be resolved")?;
    let steps = way::events(waiting).filter_map(|event| event["probe"].as_str());
    let steps = steps.filter(|probe| way::RESOLVING.contains(probe)).collect::<BTreeSet<_>>();
    Ok(steps.into_iter().fold(String::new(), |text, step| text + step + "\n") + "\n")
}

/// The way of a packet that is cut into two segments, and of a segment that is lost on its way. Of the others, it depends on
/// the losses what TCP does with them.
fn segments(lives: &[Value]) -> String {
    let cuts = |life: &Value| way::events(life).filter(|event| event["relation"] == "segment").count();
    let cut = lives.iter().filter(|life| passes(life, "__skb_gso_segment") && cuts(life) == 2);
    let dropped = lives.iter().filter(|life| life["outcome"]["kind"] == "dropped");
    let lost = dropped.filter(|life| way::begins_as(life, "segment") && !passes(life, "tcp_v4_rcv"));
    format!("{}\n{}", typical(cut.map(Way::of)), typical(lost.map(Way::of)))
}

/// By which functions segments are cut and merged.
fn merges(lives: &[Value]) -> String {
    let related = lives.iter().flat_map(way::events).filter_map(|event| {
        let name = event["probe"].as_str().filter(|name| name.starts_with("skb_"))?;
        let relation =
            event["relation"].as_str().filter(|relation| ["segment", "merge"].contains(relation))?;
        Some(format!("{name} {relation}\n"))
    });
    related.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The way of packets that are copied, and that of their copies.
fn copies(lives: &[Value]) -> String {
    let usual = || lives.iter().filter(|life| is_usual(life));
    let copied = usual().filter(|life| way::events(life).skip(1).any(|event| event["relation"] == "copy"));
    let copies = usual().filter(|life| way::begins_as(life, "copy"));
    format!("{}\n{}", typical(copied.map(Way::of)), typical(copies.map(Way::of)))
}

/// How the client's datagrams are cut and sent, how the server joins their fragments, and which functions cut. What is
/// between depends on who else in the guest joins them.
fn fragments(lives: &[Value]) -> String {
    let to_server = || lives.iter().filter(|life| is_to_server(life));
    let sent = to_server().filter(|life| life["events"][0]["probe"] == "udp_send_skb" && is_usual(life));
    let joined = to_server().filter(|life| passes(life, "inet_frag_reasm_finish") && passes(life, "udp_rcv"));
    let (sent, joined) = (typical(sent.map(Way::of)).steps, typical(joined.map(Way::of)).steps);
    let taken = sent.iter().position(|step| step.starts_with("net_dev_start_xmit")).map_or(0, |at| at + 1);
    let received = joined.iter().rposition(|step| step.starts_with("netif_receive_skb")).unwrap_or(0);
    let cuts = lives.iter().flat_map(way::events).filter(|event| event["relation"] == "fragment");
    let cutters: BTreeSet<&str> = cuts.filter_map(|event| event["probe"].as_str()).collect();
    let cutters: Vec<&str> = cutters.into_iter().collect();
    format!("{}\n\n{}\n\n{}\n", sent[..taken].join("\n"), joined[received..].join("\n"), cutters.join("\n"))
}

/// The ways of two kinds of packets, told apart by a function that they pass: of all packets, the kernel and the moment decide
/// which kind passes the most. What begins a connection is left out.
fn each_way(lives: &[Value], kinds: [&str; 2]) -> String {
    let begun = lives.iter().filter(|life| is_usual(life) && !passes(life, "ip_vs_schedule"));
    let of = |kind| {
        let kind = begun.clone().filter(|life| passes(life, kind));
        typical(kind.map(|life| Way::of(life).until_tcp()))
    };
    kinds.map(|kind| of(kind).to_string()).join("\n")
}

/// Whether a life's packet is one for the lab's server.
fn is_to_server(life: &Value) -> bool {
    life["flow"].as_str().is_some_and(|flow| flow.contains("-> 10.77.2.2"))
}

/// The way of those packets that passed the most, of those of which nothing was done that depends on the moment.
fn life(lives: &[Value]) -> Way {
    typical(lives.iter().filter(|life| is_usual(life)).map(|life| Way::of(life).until_tcp()))
}

/// The same, and the whole way of those that ask for a connection.
fn connections(lives: &[Value]) -> String {
    let asking = lives.iter().filter(|life| is_usual(life) && passes(life, "tcp_conn_request"));
    format!("{}\n{}", life(lives), typical(asking.map(Way::of)))
}

/// Whether a packet did not have to wait for an address to be resolved, and was not sent again.
fn is_usual(life: &Value) -> bool {
    !["__neigh_event_send", "tcp_retransmit_skb"].iter().any(|probe| passes(life, probe))
}

/// Each event that was counted was recorded or lost, and the table has those that were recorded.
fn balance(capture: &Capture) -> Result<(), String> {
    let totals = &capture.metadata().totals;
    if let Some(count) = totals.counts.iter().find(|count| count.counted != count.recorded + count.lost) {
        return Err(format!("recorded and lost are not what was counted: {count:?}"));
    }
    if totals.counts.iter().all(|count| count.recorded == 0) {
        return Err("nothing was recorded".to_owned());
    }
    if totals.rows != capture.rows() {
        return Err(format!("{} rows were written, the table has {}", totals.rows, capture.rows()));
    }
    Ok(())
}

/// The probes with their backends, one a line.
fn attached(capture: &Capture) -> String {
    capture.metadata().probes.iter().fold(String::new(), |mut text, Probe { name, backend, .. }| {
        let backend = if backend.is_empty() { "not attached" } else { backend };
        let _ = writeln!(text, "{name} {backend}");
        text
    })
}

/// Compares with the file of that name that stands for this kernel. Where the kernel is not the one of which the files tell,
/// a difference is told, and no complaint.
fn expect(guest: &Guest, name: &str, text: &str) -> Result<(), String> {
    let file = Path::new(PROJECT).join("tests/vm/expected").join(guest.kernel).join(format!("{name}.txt"));
    match (harness::compare(&file, text), &guest.moved) {
        (Err(differs), Some(moved)) if file.exists() => {
            eprintln!("kernel {}: {moved}: {differs}", guest.kernel);
            Ok(())
        }
        (compared, _) => compared,
    }
}
