//! Holds the analyzer's lives against what numbered packets ([`lab::numbered`]) say of themselves.
//!
//! What belongs together is found here by content alone: each row with a header names its packet, and at one address rows
//! with the same packet, with no free between them, are one `sk_buff`. A row without a header counts where the rows with a
//! header before and after it, at the same address, name the same one. What a socket does with a packet is done to the last
//! one that was seen there, since all are seen when they are received; a function's return belongs to what it was called
//! with. All other rows are left out, and counted.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt8Type, UInt16Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use lab::numbered::identity;
use ntc::{Capture, ColumnId};
use serde::{Deserialize, Deserializer};

/// How many faults are shown in full.
const SHOWN: usize = 5;
/// Probes without a header that fire after a packet was received, with the packet.
const AT_SOCKETS: [&str; 2] = ["tcp_probe", "skb_copy_datagram_iovec"];
/// Probes that a packet passes before a socket has it.
const PASSING: [&str; 2] = ["netif_receive_skb", "net_dev_queue"];
/// Rows at the same address that are shown before and after a fault.
const AROUND: usize = 12;

/// What a comparison came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Rows with a packet's address.
    pub rows: u64,
    /// Those of them of which it is known which packet they are of.
    pub known: u64,
    /// Packets, each clone and each segment one of its own.
    pub packets: u64,
    /// Different packets, by what they say of themselves.
    pub different: u64,
    /// Lives that the analyzer found.
    pub lives: u64,
    /// Rows that are in a life of another packet.
    pub wrong: u64,
    /// Lives that a packet has too many.
    pub split: u64,
    /// Announcements of sockets (`sk_data_ready`) in lives whose packet was received or sent on afterwards.
    pub announced: u64,
    /// Known rows that are in no life, returns apart.
    pub orphans: u64,
    /// Returns and verdicts that are in no life, of known calls.
    pub returns: u64,
    /// The first faults, with the rows around them.
    pub faults: Vec<String>,
}

impl Figures {
    /// What the columns of [`Figures::fmt`] are.
    pub const TITLE: &'static str =
        "     rows   known    skbs different   lives  wrong announced  split orphans returns";
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rows, known, packets, different, lives, wrong, announced, split, orphans, returns, ..
        } = self;
        write!(
            f,
            "{rows:9}{known:8}{packets:8}{different:10}{lives:8}{wrong:7}{announced:10}{split:7}{orphans:8}{returns:8}"
        )
    }
}

/// A row of the capture.
struct Row {
    /// Time, ns.
    ts: u64,
    /// Address of the packet.
    skb: u64,
    /// Hash of the probe's name.
    probe: u64,
    /// What the row is.
    kind: Kind,
    /// What the header says.
    identity: Option<u128>,
    /// The `sk_buff`, where that is known.
    packet: Option<u32>,
}

/// What a row is, as far as that matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The packet ends.
    Free,
    /// A socket does something with it.
    Socket,
    /// It is received, or handed to a device: no socket has it yet.
    Passing,
    /// A function returns.
    Return,
    /// Anything else.
    Other,
}

/// The rows of a capture, with what they say of themselves.
pub struct Truth {
    /// Rows with a packet's address, in the order of the file.
    rows: Vec<Row>,
    /// Names of probes by their hash.
    probes: HashMap<u64, String>,
    /// How many packets there are.
    packets: u32,
}

/// What is found out row by row.
#[derive(Default)]
struct Reading {
    /// By address, what the last header said.
    headers: HashMap<u64, Option<u128>>,
    /// By address, who is there.
    there: HashMap<u64, There>,
    /// Rows by the number of their call: CPU and counter.
    calls: HashMap<u64, usize>,
    /// Packets so far.
    packets: u32,
}

/// Who is at an address.
#[derive(Default)]
struct There {
    /// What its header said, unless it ended.
    identity: Option<u128>,
    /// Which packet it is.
    packet: u32,
    /// Rows since its last header.
    since: Vec<usize>,
}

impl Truth {
    /// Reads a capture.
    pub fn read(capture: &Capture) -> Self {
        let (mut rows, mut probes, mut reading) = (Vec::new(), HashMap::new(), Reading::default());
        let columns = [
            ColumnId::Ts,
            ColumnId::Cpu,
            ColumnId::Seq,
            ColumnId::Kind,
            ColumnId::Probe,
            ColumnId::Skb,
            ColumnId::Header,
            ColumnId::Ttl,
            ColumnId::Entry,
        ];
        for group in 0..capture.groups().len() {
            add(capture.read(group, &columns).unwrap().record(), &mut rows, &mut probes, &mut reading);
        }
        Self { rows, probes, packets: reading.packets }
    }

    /// Compares it with the lives that the analyzer finds in the same capture.
    pub fn compare(&self, lives: &[Life]) -> Figures {
        let mut places = HashMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            let before = places.insert((row.ts, row.skb, row.probe), at);
            assert!(
                before.is_none(),
                "two rows of the same probe and packet at the same time: {}",
                self.show(at)
            );
        }
        let (mut figures, passed) = (self.count(lives), self.passed());
        let mut seen = vec![false; self.rows.len()];
        let mut lives_of: HashMap<u32, HashSet<usize>> = HashMap::new();
        for (which, life) in lives.iter().enumerate() {
            let own = life.events.iter().filter(|event| event.skb == life.skb);
            let at: Vec<usize> = own.map(|event| places[&(event.ts, event.skb, event.probe)]).collect();
            at.iter().for_each(|at| seen[*at] = true);
            self.check_announcements(life, &at, &passed, &mut figures);
            for (packet, _) in self.tell_apart(&at, &mut figures) {
                lives_of.entry(packet).or_default().insert(which);
            }
        }
        for (packet, lives) in lives_of.iter().filter(|(_, lives)| lives.len() > 1) {
            figures.split += lives.len() as u64 - 1;
            let mine = |row: &Row| row.packet == Some(*packet);
            self.note(&mut figures, "split", self.rows.iter().position(mine));
        }
        for (at, row) in self.rows.iter().enumerate().filter(|(at, row)| row.packet.is_some() && !seen[*at]) {
            let returns = row.kind == Kind::Return;
            *if returns { &mut figures.returns } else { &mut figures.orphans } += 1;
            if !returns {
                self.note(&mut figures, "in no life", Some(at));
            }
        }
        figures
    }

    /// What is counted without a comparison.
    fn count(&self, lives: &[Life]) -> Figures {
        let identities: HashSet<u128> = self.rows.iter().filter_map(|row| row.identity).collect();
        Figures {
            rows: self.rows.len() as u64,
            known: self.rows.iter().filter(|row| row.packet.is_some()).count() as u64,
            packets: self.packets.into(),
            different: identities.len() as u64,
            lives: lives.len() as u64,
            ..Figures::default()
        }
    }

    /// The packets whose rows are in one life; those of all but the one with the most rows are wrong there.
    fn tell_apart(&self, at: &[usize], figures: &mut Figures) -> BTreeMap<u32, usize> {
        let mut packets: BTreeMap<u32, usize> = BTreeMap::new();
        at.iter()
            .filter_map(|at| self.rows[*at].packet)
            .for_each(|packet| *packets.entry(packet).or_default() += 1);
        let most = packets.values().max().copied().unwrap_or(0);
        let wrong = packets.values().sum::<usize>() - most;
        if wrong > 0 {
            let main = packets.iter().find(|(_, rows)| **rows == most).map(|(packet, _)| *packet);
            let foreign = |at: &&usize| self.rows[**at].packet.is_some_and(|packet| Some(packet) != main);
            self.note(figures, "in a life of another packet", at.iter().find(foreign).copied());
        }
        figures.wrong += wrong as u64;
        packets
    }

    /// A socket that has a packet announces it: from then on the packet is not received or sent on, in no life.
    fn check_announcements(&self, life: &Life, at: &[usize], passed: &[usize], figures: &mut Figures) {
        let first = life.events.iter().filter(|event| event.skb == 0).map(|event| event.ts).min();
        let Some(first) = first else { return };
        let last = at.iter().filter_map(|at| self.rows[*at].packet).map(|packet| passed[packet as usize]);
        if let Some(late) = last.max().filter(|last| self.rows[*last].ts > first) {
            figures.announced += 1;
            self.note(figures, "received or sent on after a socket announced it", Some(late));
        }
    }

    /// By packet, the last row at which it was received or handed to a device.
    fn passed(&self) -> Vec<usize> {
        let mut passed = vec![0; self.packets as usize];
        for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| row.kind == Kind::Passing) {
            if let Some(packet) = row.packet {
                passed[packet as usize] = at;
            }
        }
        passed
    }

    /// Notes a fault with the rows at the same address before and after it.
    fn note(&self, figures: &mut Figures, what: &str, at: Option<usize>) {
        let Some(at) = at.filter(|_| figures.faults.len() < SHOWN) else { return };
        let here = |row: &usize| self.rows[*row].skb == self.rows[at].skb;
        let mut around: Vec<usize> = (0..at).rev().filter(here).take(AROUND).collect();
        around.reverse();
        around.extend((at..self.rows.len()).filter(here).take(AROUND));
        let lines = around.iter().map(|row| {
            let mark = if *row == at { "> " } else { "  " };
            format!("{mark}{}\n", self.show(*row))
        });
        figures.faults.push(format!("{what}:\n{}", lines.collect::<String>()));
    }

    /// A row as text.
    fn show(&self, at: usize) -> String {
        let Row { ts, skb, probe, identity, packet, .. } = &self.rows[at];
        let identity = identity.map_or("-".to_owned(), |identity| format!("{identity:x}"));
        let packet = packet.map_or("?".to_owned(), |packet| packet.to_string());
        format!("{ts} {skb:x} {:<28} {identity} packet {packet}", self.probes[probe])
    }
}

/// Adds the rows of a batch.
fn add(batch: &RecordBatch, rows: &mut Vec<Row>, probes: &mut HashMap<u64, String>, reading: &mut Reading) {
    let number = |name: &str| batch[name].as_primitive::<UInt64Type>().clone();
    let (ts, seq, skb, entry) = (number("ts"), number("seq"), number("skb"), number("entry"));
    let (cpu, header) = (batch["cpu"].as_primitive::<UInt16Type>(), batch["header"].as_binary::<i32>());
    let ttl = batch["ttl"].as_primitive::<UInt8Type>();
    let (kinds, names) = (texts(batch, "kind"), texts(batch, "probe"));
    for at in 0..batch.num_rows() {
        let (probe, address) = (hash(&names[at]), skb.value(at));
        if !skb.is_valid(at) || address == 0 {
            continue;
        }
        probes.entry(probe).or_insert_with(|| names[at].clone());
        let kind = match kinds[at].as_str() {
            "free" => Kind::Free,
            _ if entry.is_valid(at) => Kind::Return,
            _ if AT_SOCKETS.contains(&names[at].as_str()) => Kind::Socket,
            _ if PASSING.contains(&names[at].as_str()) => Kind::Passing,
            _ => Kind::Other,
        };
        if header.is_valid(at) {
            reading.headers.insert(address, identity(header.value(at)));
        }
        // A driver's answer has no header of its own: the recorder fills in what it remembers.
        let has_header = header.is_valid(at) || ttl.is_valid(at) && names[at] != "net_dev_xmit";
        let said = reading.headers.get(&address).copied().flatten().filter(|_| has_header);
        rows.push(Row { ts: ts.value(at), skb: address, probe, kind, identity: said, packet: None });
        let this = rows.len() - 1;
        let call = |of: u64| of & 0xffff_ffff_ffff | u64::from(cpu.value(at)) << 48;
        reading.calls.insert(call(seq.value(at)), this);
        match entry.is_valid(at) {
            true => {
                rows[this].packet = reading.calls.get(&entry.value(at)).and_then(|call| rows[*call].packet)
            }
            false => reading.place(rows, this),
        }
    }
}

impl Reading {
    /// Finds out which packet a row is of.
    fn place(&mut self, rows: &mut [Row], at: usize) {
        let Row { skb, kind, identity, .. } = rows[at];
        let there = self.there.entry(skb).or_default();
        if let Some(identity) = identity {
            if there.identity == Some(identity) {
                there.since.iter().for_each(|row| rows[*row].packet = Some(there.packet));
            } else {
                *there = There { identity: Some(identity), packet: self.packets, since: Vec::new() };
                self.packets += 1;
            }
            there.since.clear();
            rows[at].packet = Some(there.packet);
        } else if kind == Kind::Socket {
            rows[at].packet = there.identity.map(|_| there.packet);
        } else {
            there.since.push(at);
        }
        if kind == Kind::Free {
            *there = There::default();
        }
    }
}

/// A column of texts.
fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch[name].as_dictionary::<Int32Type>();
    let values = column.values().as_string::<i32>();
    let text = |key: Option<i32>| key.map_or(String::new(), |key| values.value(key as usize).to_owned());
    column.keys().iter().map(text).collect()
}

/// The hash of a probe's name.
fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A life as `ntana trace --format json` tells it.
#[derive(Deserialize)]
pub struct Life {
    /// Address of the packet.
    #[serde(deserialize_with = "address")]
    skb: u64,
    /// Its events.
    events: Vec<Event>,
}

/// An event of a life.
#[derive(Deserialize)]
struct Event {
    /// Time, ns.
    ts: u64,
    /// Hash of the probe's name.
    #[serde(deserialize_with = "probe")]
    probe: u64,
    /// Address of the packet; 0 where it has none.
    #[serde(default, deserialize_with = "address")]
    skb: u64,
}

/// The whole answer.
#[derive(Deserialize)]
struct Answer {
    /// One capture.
    captures: [Lives; 1],
}

/// The lives of a capture.
#[derive(Deserialize)]
struct Lives {
    /// All of them.
    lives: Vec<Life>,
}

/// An address as hexadecimal digits.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(serde::de::Error::custom)
}

/// A probe's name, as its hash.
fn probe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(hash(&String::deserialize(deserializer)?))
}

/// The lives that an analyzer finds in a capture.
pub fn lives(ntana: &Path, capture: &Path) -> Vec<Life> {
    let mut command = harness::own(ntana);
    let child = command.args(["trace", "--format", "json"]).arg(capture).stdout(Stdio::piped()).spawn();
    let mut child =
        child.unwrap_or_else(|error| panic!("{}: {error}; cargo build -p ntana", ntana.display()));
    let answer: Result<Answer, _> = serde_json::from_reader(BufReader::new(child.stdout.take().unwrap()));
    assert!(child.wait().unwrap().success());
    let Answer { captures: [Lives { lives }] } = answer.unwrap();
    lives
}
