//! Times of a guest's packets, held against what else is known of them.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::guest::Part;
use crate::judge::{ask, print};
use crate::way;

/// A model of which a scenario's packets have times.
struct Measured {
    /// The scenario.
    scenario: &'static str,
    /// The model.
    model: &'static str,
    /// The packets that are meant, as a filter expression.
    packets: &'static str,
    /// Legs that some of them have, as `ntana latency` writes them.
    legs: &'static [&'static str],
}

/// What is common to most of them.
const ANY: Measured = Measured { scenario: "", model: "", packets: "ip", legs: &[] };
/// Packets of the client through the router, by TCP.
const FORWARDED: Measured = Measured { scenario: "forward", packets: "tcp", ..ANY };
/// From the virtual machine to the one on the wire, or back.
const GUESTS: Measured =
    Measured { scenario: "ovs-host", packets: "host 10.77.1.2 and host 10.77.1.3", ..ANY };
/// From the host of Open vSwitch to the one on the wire, or back.
const OWN: Measured = Measured { scenario: "ovs-host", packets: "host 10.77.1.1 and host 10.77.1.3", ..ANY };
/// From the virtual machine to the host of Open vSwitch, or back.
const TO_HOST: Measured =
    Measured { scenario: "ovs-host", packets: "host 10.77.1.2 and host 10.77.1.1", ..ANY };

/// All of them.
const MEASURED: [Measured; 22] = [
    Measured { scenario: "ping", model: "in", ..ANY },
    Measured { scenario: "ping", model: "out", ..ANY },
    Measured { scenario: "ping", model: "forward", ..ANY },
    Measured { scenario: "bridge", model: "in", ..ANY },
    Measured { scenario: "bridge", model: "out", ..ANY },
    Measured { model: "in", ..FORWARDED },
    Measured { model: "out", ..FORWARDED },
    Measured { model: "forward", ..FORWARDED },
    Measured { model: "backlog", legs: &["backlog -> receive", "receive -> ip-in"], ..FORWARDED },
    Measured { model: "send-queue", legs: &["send-queue -> transmit"], ..FORWARDED },
    Measured { model: "tx-send", legs: &["send-queue -> transmit"], ..FORWARDED },
    Measured { model: "tx-acked", legs: &["send-queue -> acked"], ..FORWARDED },
    Measured { model: "send-ack", legs: &["queue -> receive"], ..FORWARDED },
    Measured {
        model: "vm-tx",
        legs: &[
            "vm-receive -> ovs-in",
            "ovs-in -> ovs-receive",
            "ovs-receive -> ovs-process",
            "ovs-process -> conntrack",
            "conntrack -> phy-queue",
            "phy-queue -> phy-device",
            "phy-device -> phy-sent",
        ],
        ..GUESTS
    },
    Measured {
        model: "vm-rx",
        legs: &[
            "phy-receive -> ovs-in",
            "ovs-in -> ovs-receive",
            "ovs-receive -> ovs-process",
            "ovs-process -> conntrack",
            "conntrack -> vm-queue",
            "vm-queue -> vm-device",
        ],
        ..GUESTS
    },
    Measured { model: "vhost", legs: &["vm-device -> vm-read"], ..GUESTS },
    Measured { model: "ovs-upcall", legs: &["ovs-upcall -> ovs-again"], ..GUESTS },
    Measured {
        model: "system-tx",
        legs: &[
            "ip-send -> ovs-internal-out",
            "ovs-internal-out -> ovs-process",
            "ovs-process -> ovs-send",
            "ovs-send -> phy-sent",
        ],
        ..OWN
    },
    Measured {
        model: "system-rx",
        legs: &[
            "phy-receive -> ovs-in",
            "ovs-in -> ovs-process",
            "ovs-process -> ovs-send",
            "ovs-send -> ovs-internal-in",
            "ovs-internal-in -> backlog",
            "backlog -> ip-in",
            "ip-in -> transport-in",
        ],
        ..OWN
    },
    Measured {
        model: "internal-port",
        legs: &["ovs-send -> ovs-internal-in", "ovs-internal-in -> backlog", "backlog -> receive"],
        ..OWN
    },
    Measured {
        model: "ovs-icmp-rtt",
        legs: &["ip-out -> ovs-internal-out", "phy-receive -> ovs-in", "ovs-process -> ovs-send"],
        ..OWN
    },
    Measured {
        model: "ovs-icmp-answer",
        legs: &["transport-in -> ip-out", "ip-out -> ovs-internal-out", "ovs-process -> ovs-send"],
        ..TO_HOST
    },
];

/// Whether a kernel has no probe of what is measured: 5.10 has no types of modules, and 7.x none of TCP's deliveries.
fn is_absent(kernel: &str, measured: &Measured) -> bool {
    kernel == "5.10" && measured.scenario == "ovs-host" || kernel == "7.x" && measured.model == "tx-acked"
}

/// How far a median may be from the true one: 2 %.
const APART: f64 = 0.02;
/// From which share on of its delay a netem is late by itself: 1.5 %.
const LATE: f64 = 0.015;

/// The legs of a way that functions show add up to the whole: of all packets together, and of the packet's two ends as its
/// events tell them.
pub fn judge(kernel: &str, part: &Part<'_>, filters: &[String], lives: &[Value]) -> Result<(), String> {
    let all = MEASURED.iter().filter(|measured| measured.scenario == part.name);
    all.filter(|measured| !is_absent(kernel, measured)).try_for_each(|measured| {
        let Measured { model, packets, .. } = measured;
        let asked = [filters, &["--model", model, "--filter", packets].map(str::to_owned)].concat();
        legs(measured, &asked, part.file, lives).map_err(|complaint| format!("latency: {model}: {complaint}"))
    })
}

/// Adds the legs of a model up.
fn legs(measured: &Measured, filters: &[String], file: &Path, lives: &[Value]) -> Result<(), String> {
    let answer = ask("latency", filters, file)?;
    let legs = answer["captures"][0]["models"][0]["legs"].as_array().cloned().unwrap_or_default();
    let legs: Vec<(String, u64)> = legs
        .iter()
        .filter_map(|leg| {
            Some((format!("{} -> {}", leg["from"].as_str()?, leg["to"].as_str()?), leg["sum"].as_u64()?))
        })
        .collect();
    // A packet and its answer may pass stages of the same names.
    if let Some(missing) = measured.legs.iter().find(|leg| !legs.iter().any(|(known, _)| known == *leg)) {
        return Err(format!("no packet has the leg {missing}; there are {legs:?}"));
    }
    // Acknowledgments are joined by their numbers, and have no lives.
    if measured.model == "send-ack" {
        return Ok(());
    }
    let passes = passes(filters, file)?;
    let (legs, whole): (u64, u64) =
        (legs.iter().map(|(_, sum)| sum).sum(), passes.iter().map(|(begin, end)| end - begin).sum());
    if passes.is_empty() {
        return Err("no packet has such a way".to_owned());
    }
    if legs != whole {
        return Err(format!("the legs are {legs} ns together, the ways {whole} ns"));
    }
    let events: HashSet<u64> =
        lives.iter().flat_map(way::events).filter_map(|event| event["ts"].as_u64()).collect();
    match passes.iter().find(|(begin, end)| !events.contains(begin) || !events.contains(end)) {
        Some(pass) => Err(format!("a way ends where no packet has an event: {pass:?}")),
        None => Ok(()),
    }
}

/// When all ways that packets took through a model began and ended, ns of CLOCK_MONOTONIC. As CSV they are without their lives,
/// of which there is many times as much to say.
fn passes(filters: &[String], file: &Path) -> Result<Vec<(u64, u64)>, String> {
    let asked = [filters, &["--worst", "1000000"].map(str::to_owned)].concat();
    let printed = print("latency", &asked, "csv", file)?;
    let mut reader = csv::Reader::from_reader(printed.as_slice());
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let place = |name| names.iter().position(|known| known == name).ok_or(format!("no column {name}"));
    let (begin, end) = (place("begin")?, place("end")?);
    let pass = |record: csv::StringRecord| {
        let number = |place| record.get(place)?.parse().ok();
        Some((number(begin)?, number(end)?))
    };
    reader.records().map(|record| record.ok().and_then(pass).ok_or("no record of a way".to_owned())).collect()
}

/// What a netem held back took as long as the kernel's own tracing of the same packets says, never less than it was to be held
/// back, and no more where the machine kept to that: timers of an emulated one are late by 0.2 ms, and by more on a busy one.
/// Such a one may also stop between the tracing of an event and the recorder's program there: where the packets' times are so
/// far apart that their quartiles are, the median is one of those between these.
pub fn delays(part: &Part<'_>) -> Result<(), String> {
    if part.delayed.len() != 3 {
        return Err(format!("three delays were to be played: {:?}", part.delayed));
    }
    part.delayed.iter().try_for_each(|delayed| {
        let asked = ["--from", "net_dev_queue", "--to", "net_dev_start_xmit", "--by", "dev", "--dport"];
        let asked: Vec<String> =
            asked.map(str::to_owned).into_iter().chain([delayed.port.to_string()]).collect();
        let answer = ask("latency", &asked, part.file)?;
        let legs = answer["captures"][0]["models"][0]["legs"].as_array().cloned().unwrap_or_default();
        let leg = legs.iter().find(|leg| leg["dev"] == "eth0").ok_or("no packet was held back")?;
        let number = |name: &str| leg[name].as_u64().unwrap_or(0);
        let (count, least, median, netem) =
            (number("count"), number("min"), number("p50"), delayed.ms * 1_000_000);
        let apart = |truth: u64| median.abs_diff(truth) as f64 / truth as f64;
        let (traced, told) = (apart(delayed.median), apart(netem));
        eprintln!(
            "{delayed}; ntana {median} ns, {:.2} % apart, {:.2} % from netem, the shortest {least} ns",
            traced * 100.0,
            told * 100.0
        );
        let is_late = delayed.median as f64 > netem as f64 * (1.0 + LATE);
        let [first, third] = delayed.quartiles;
        let is_spread = (third - first) as f64 > median as f64 * APART;
        let is_true = traced <= APART || is_spread && (first..=third).contains(&median);
        let fits = is_true && (told <= APART || is_late);
        let fits = fits && count == delayed.sent as u64 && least >= netem;
        fits.then_some(()).ok_or_else(|| format!("{delayed}, but ntana says {median} ns of {count} packets"))
    })
}
