//! `ntana info`: what a capture holds and what is missing.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use arrow_array::Array;
use ntc::schema::kind;
use ntc::{Batch, Capture, ColumnId, Count, Interface, State};
use serde::Serialize;

use super::exit_code;
use crate::answer::{Answer, Head, Labels, Output, Table};
use crate::args::{self, FilterArgs};
use crate::numbers::{counted, grouped};
use crate::source::{Source, for_each_source};

/// Interfaces that the text form lists.
const MAX_INTERFACES: usize = 32;

/// What a capture says about itself.
#[derive(Debug, Serialize)]
struct Info {
    /// Host, time range, what is missing.
    head: Head,
    /// Recorder.
    recorder: String,
    /// Command line.
    command: String,
    /// Filters.
    filters: BTreeMap<String, String>,
    /// Machine.
    machine: String,
    /// CPUs.
    cpus: u32,
    /// Boot id.
    boot_id: String,
    /// Why the recording ended.
    stopped: Option<String>,
    /// Bytes of the file.
    bytes: u64,
    /// Bytes of the file per event.
    bytes_per_event: f64,
    /// Row groups.
    groups: usize,
    /// What `kinds` and `probes` are from: `totals`, which the recorder wrote, or `rows`, which were read.
    counts_from: &'static str,
    /// Events by kind.
    kinds: BTreeMap<String, u64>,
    /// Events by probe.
    probes: BTreeMap<String, u64>,
    /// Losses, where there were any.
    losses: Vec<Count>,
    /// Interfaces.
    interfaces: Vec<Interface>,
}

/// What all captures have together.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// Events.
    events: u64,
}

/// The names of the columns of CSV.
const COLUMNS: [&str; 4] = ["host", "what", "name", "value"];

/// Runs the command.
pub fn run(args: &args::Info, out: &mut dyn Write) -> Result<ExitCode> {
    let mut output = Output::begin(args.input.format, &COLUMNS, out)?;
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &FilterArgs::default(), |source| {
        let answer = answer(source)?;
        totals.captures += 1;
        totals.events += answer.head.events;
        output.capture(&answer, &source.labels())
    })?;
    let Totals { captures, events } = totals;
    output.finish(&totals, &format!("{} in {}", counted(events, "event"), counted(captures, "capture")))?;
    Ok(exit_code(all))
}

/// Collects what a capture says about itself.
fn answer(source: &Source) -> Result<Info> {
    let metadata = source.capture.metadata();
    let bytes = std::fs::metadata(&source.path)?.len();
    let Counts { from, kinds, probes } = counts(&source.capture)?;
    let lost = |c: &&Count| c.lost + c.missed > 0;
    Ok(Info {
        head: source.head(),
        recorder: metadata.recorder.clone(),
        command: metadata.command.join(" "),
        filters: metadata.filters.clone(),
        machine: metadata.host.machine.clone(),
        cpus: metadata.host.cpus,
        boot_id: metadata.host.boot_id.clone(),
        stopped: metadata.stopped.as_ref().map(|s| s.why.clone()),
        bytes,
        bytes_per_event: bytes as f64 / source.capture.rows().max(1) as f64,
        groups: source.capture.groups().len(),
        counts_from: from,
        kinds,
        probes,
        losses: metadata.totals.counts.iter().filter(lost).cloned().collect(),
        interfaces: metadata.interfaces.clone(),
    })
}

/// Numbers of things by name.
type ByName = BTreeMap<String, u64>;

/// Events by kind and by probe.
struct Counts {
    /// What they are from.
    from: &'static str,
    /// By kind.
    kinds: ByName,
    /// By probe.
    probes: ByName,
}

/// Events by kind and by probe: what the recorder counted, where that is whole, else what the rows say.
fn counts(capture: &Capture) -> Result<Counts> {
    let totals = &capture.metadata().totals;
    let mut probes: ByName = BTreeMap::new();
    for count in totals.counts.iter().filter(|count| count.recorded > 0) {
        let sum = probes.entry(count.probe.clone()).or_default();
        *sum = sum.saturating_add(count.recorded);
    }
    let of_no_probe = [kind::CLOCK, kind::LOSS].iter().filter_map(|kind| totals.kinds.get(*kind));
    let (by_kind, by_probe) = (sum(totals.kinds.values()), sum(probes.values().chain(of_no_probe)));
    if *capture.state() == State::Closed && [by_kind, by_probe] == [capture.rows(); 2] {
        return Ok(Counts { from: "totals", kinds: totals.kinds.clone(), probes });
    }
    read_counts(capture)
}

/// The sum of counts, which a forged file may have any of.
fn sum<'a>(counts: impl Iterator<Item = &'a u64>) -> u64 {
    counts.fold(0, |sum, count| sum.saturating_add(*count))
}

/// Events by kind and by probe, of the rows.
fn read_counts(capture: &Capture) -> Result<Counts> {
    let (mut kinds, mut probes) = (BTreeMap::new(), BTreeMap::new());
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &[ColumnId::Kind, ColumnId::Probe])?;
        count(&batch, ColumnId::Kind, &mut kinds);
        count(&batch, ColumnId::Probe, &mut probes);
    }
    Ok(Counts { from: "rows", kinds, probes })
}

/// Counts the texts of a column.
fn count(batch: &Batch, column: ColumnId, counts: &mut ByName) {
    let Some(column) = batch.text(column) else { return };
    let texts = column.values();
    let mut by_key = vec![0_u64; texts.len()];
    for key in (0..batch.rows()).filter_map(|row| column.key(row)) {
        by_key[key] += 1;
    }
    for (text, n) in texts.iter().zip(by_key).filter(|(_, n)| *n > 0) {
        *counts.entry(text.unwrap_or_default().to_owned()).or_default() += n;
    }
}

impl Info {
    /// Name and text of its lines, in order; without a text there is no line.
    fn lines(&self) -> [(&'static str, String); 7] {
        let filters: Vec<String> =
            self.filters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ended = self.stopped.clone().unwrap_or_else(|| "the recorder did not finish".into());
        let (bytes, per_event) = (grouped(self.bytes), self.bytes_per_event);
        [
            ("recorder", self.recorder.clone()),
            ("command", self.command.clone()),
            ("filters", filters.join(" ")),
            ("machine", format!("{}, {} CPUs, boot {}", self.machine, self.cpus, self.boot_id)),
            ("ended", ended),
            ("file", format!("{bytes} bytes, {per_event:.1} per event, {} row groups", self.groups)),
            ("counts", format!("of the {}", if self.counts_from == "rows" { "rows" } else { "recorder" })),
        ]
    }

    /// The facts that are one value each, by name.
    fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("file", self.head.file.clone()),
            ("kernel", self.head.kernel.clone()),
            ("from", self.head.from.clone()),
            ("to", self.head.to.clone()),
            ("start", self.head.start.to_string()),
            ("end", self.head.end.to_string()),
            ("events", self.head.events.to_string()),
            ("lost", self.head.lost.to_string()),
            ("unfinished", self.head.unfinished.to_string()),
            ("recorder", self.recorder.clone()),
            ("command", self.command.clone()),
            ("machine", self.machine.clone()),
            ("cpus", self.cpus.to_string()),
            ("boot_id", self.boot_id.clone()),
            ("stopped", self.stopped.clone().unwrap_or_default()),
            ("bytes", self.bytes.to_string()),
            ("groups", self.groups.to_string()),
            ("counts_from", self.counts_from.to_owned()),
        ]
    }
}

impl Answer for Info {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        for (name, text) in self.lines().iter().filter(|(_, text)| !text.is_empty()) {
            writeln!(out, "{name:<12} {text}")?;
        }
        by_name("kind", &self.kinds, out)?;
        by_name("probe", &self.probes, out)?;
        lists(self, labels, out)
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        let host = labels.host.as_str();
        let mut record = |what: &str, name: &str, value: &str| table.record([host, what, name, value]);
        for (name, value) in self.facts() {
            record("capture", name, &value)?;
        }
        let counts = |counts: &ByName| counts.clone().into_iter().map(|(name, n)| (name, n.to_string()));
        let filters = self.filters.clone().into_iter().map(|(name, value)| ("filter", name, value));
        let kinds = counts(&self.kinds).map(|(name, value)| ("kind", name, value));
        let probes = counts(&self.probes).map(|(name, value)| ("probe", name, value));
        let errors = self.head.not_attached.iter();
        let errors = errors.map(|probe| ("not attached", probe.probe.clone(), probe.error.clone()));
        let notes = self.head.warnings().into_iter().map(|note| ("missing", String::new(), note));
        for (what, name, value) in filters.chain(kinds).chain(probes).chain(errors).chain(notes) {
            record(what, &name, &value)?;
        }
        for loss in &self.losses {
            record("lost", &format!("{} {}", loss.probe, cpu(loss)), &(loss.lost + loss.missed).to_string())?;
        }
        for interface in &self.interfaces {
            let name = format!("{} {}", labels.netns(interface.netns), interface.ifindex);
            record("interface", &name, &interface.name)?;
        }
        Ok(())
    }
}

/// Where events were lost.
fn cpu(loss: &Count) -> String {
    loss.cpu.map_or_else(|| "all CPUs".to_owned(), |cpu| format!("CPU {cpu}"))
}

/// Writes losses, probes that are not attached, and interfaces.
fn lists(info: &Info, labels: &Labels, out: &mut dyn Write) -> Result<()> {
    for loss in &info.losses {
        let (lost, missed, cpu) = (grouped(loss.lost), grouped(loss.missed), cpu(loss));
        writeln!(out, "lost         {} on {cpu}: {lost} for want of room, {missed} refused", loss.probe)?;
    }
    for probe in &info.head.not_attached {
        writeln!(out, "not attached {}: {}", probe.probe, probe.error)?;
    }
    for interface in info.interfaces.iter().take(MAX_INTERFACES) {
        let netns = labels.netns(interface.netns);
        writeln!(out, "interface    {} (index {}, netns {netns})", interface.name, interface.ifindex)?;
    }
    match info.interfaces.len().saturating_sub(MAX_INTERFACES) {
        0 => Ok(()),
        more => Ok(writeln!(out, "interface    and {more} more (--format json lists all)")?),
    }
}

/// Writes numbers by name, greatest first.
fn by_name(name: &str, counts: &ByName, out: &mut dyn Write) -> Result<()> {
    let mut all: Vec<(&String, &u64)> = counts.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (what, count) in all {
        writeln!(out, "{name:<12} {:>12}  {what}", grouped(*count))?;
    }
    Ok(())
}
