//! `ntana info`: what a capture holds and what is missing.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};
use ntc::{Capture, Count, Interface};
use serde::Serialize;

use super::exit_code;
use super::json::Document;
use crate::args::{self, FilterArgs, Format};
use crate::numbers::grouped;
use crate::source::{Head, Source, for_each_source, netns_name};

/// Interfaces that the text form lists.
const MAX_INTERFACES: usize = 32;

/// What a capture says about itself.
#[derive(Debug, Serialize)]
struct Answer {
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
    /// Events by kind.
    kinds: BTreeMap<String, u64>,
    /// Events by probe.
    probes: BTreeMap<String, u64>,
    /// Losses, where there were any.
    losses: Vec<Count>,
    /// Interfaces.
    interfaces: Vec<Interface>,
}

/// Runs the command.
pub fn run(args: &args::Info, out: &mut dyn Write) -> Result<ExitCode> {
    match args.input.format {
        Format::Text => for_each_source(&args.input, &FilterArgs::default(), |source| {
            let answer = answer(source)?;
            show(&answer, source, out)
        }),
        Format::Json => json(args, out),
    }
    .map(exit_code)
}

/// Answers in JSON.
fn json(args: &args::Info, out: &mut dyn Write) -> Result<bool> {
    let mut document = Document::begin(out)?;
    let mut rows = 0;
    let all = for_each_source(&args.input, &FilterArgs::default(), |source| {
        let answer = answer(source)?;
        rows += answer.head.events;
        document.capture(&answer)
    })?;
    document.end("events", &rows)?;
    Ok(all)
}

/// Collects what a capture says about itself.
fn answer(source: &Source) -> Result<Answer> {
    let metadata = source.capture.metadata();
    let bytes = std::fs::metadata(&source.path)?.len();
    let (kinds, probes) = counts(&source.capture)?;
    let lost = |c: &&Count| c.lost + c.missed > 0;
    Ok(Answer {
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
        kinds,
        probes,
        losses: metadata.totals.counts.iter().filter(lost).cloned().collect(),
        interfaces: metadata.interfaces.clone(),
    })
}

/// Numbers of things by name.
type ByName = BTreeMap<String, u64>;

/// Events by kind and by probe.
fn counts(capture: &Capture) -> Result<(ByName, ByName)> {
    let (mut kinds, mut probes) = (BTreeMap::new(), BTreeMap::new());
    for group in 0..capture.groups().len() {
        let batch = capture.read(group, &["kind", "probe"])?;
        count(&batch, 0, &mut kinds);
        count(&batch, 1, &mut probes);
    }
    Ok((kinds, probes))
}

/// Counts the texts of a column.
fn count(batch: &RecordBatch, column: usize, counts: &mut ByName) {
    let Some(array) = batch.column(column).as_dictionary_opt::<Int32Type>() else { return };
    let Some(texts) = array.values().as_string_opt::<i32>() else { return };
    let mut by_key = vec![0_u64; texts.len()];
    for key in array.keys().iter().flatten() {
        if let Some(n) = by_key.get_mut(key as usize) {
            *n += 1;
        }
    }
    for (text, n) in texts.iter().zip(by_key).filter(|(_, n)| *n > 0) {
        *counts.entry(text.unwrap_or_default().to_owned()).or_default() += n;
    }
}

/// Writes an answer as text.
fn show(answer: &Answer, source: &Source, out: &mut dyn Write) -> Result<()> {
    answer.head.text(out)?;
    let mut line = |name: &str, text: String| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{name:<12} {text}"),
    };
    line("recorder", answer.recorder.clone())?;
    line("command", answer.command.clone())?;
    line("filters", answer.filters.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "))?;
    line("machine", format!("{}, {} CPUs, boot {}", answer.machine, answer.cpus, answer.boot_id))?;
    line("ended", answer.stopped.clone().unwrap_or_else(|| "the recorder did not finish".into()))?;
    let (bytes, per_event) = (grouped(answer.bytes), answer.bytes_per_event);
    line("file", format!("{bytes} bytes, {per_event:.1} per event, {} row groups", answer.groups))?;
    table("kind", &answer.kinds, out)?;
    table("probe", &answer.probes, out)?;
    lists(answer, source, out)
}

/// Writes losses, probes that are not attached, and interfaces.
fn lists(answer: &Answer, source: &Source, out: &mut dyn Write) -> Result<()> {
    for loss in &answer.losses {
        let cpu = loss.cpu.map_or_else(|| "all CPUs".to_owned(), |cpu| format!("CPU {cpu}"));
        let (lost, missed) = (grouped(loss.lost), grouped(loss.missed));
        writeln!(out, "lost         {} on {cpu}: {lost} for want of room, {missed} refused", loss.probe)?;
    }
    for probe in &answer.head.not_attached {
        writeln!(out, "not attached {}: {}", probe.probe, probe.error)?;
    }
    for interface in answer.interfaces.iter().take(MAX_INTERFACES) {
        let netns = netns_name(&source.capture, interface.netns);
        writeln!(out, "interface    {} (index {}, netns {netns})", interface.name, interface.ifindex)?;
    }
    match answer.interfaces.len().saturating_sub(MAX_INTERFACES) {
        0 => Ok(()),
        more => Ok(writeln!(out, "interface    and {more} more (--format json lists all)")?),
    }
}

/// Writes numbers by name, greatest first.
fn table(name: &str, counts: &ByName, out: &mut dyn Write) -> Result<()> {
    let mut all: Vec<(&String, &u64)> = counts.iter().collect();
    all.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (what, count) in all {
        writeln!(out, "{name:<12} {:>12}  {what}", grouped(*count))?;
    }
    Ok(())
}
