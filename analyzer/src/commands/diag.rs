//! `ntana diag`: what went wrong, where, why, what to do.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::answer::render;
use crate::answer::{Answer, Head, Labels, Output, Table};
use crate::args::{self, FailOn};
use crate::diag::{self, Device, Example, Finding, Share, listed, shares};
use crate::knowledge::{Knowledge, Severity};
use crate::lifecycle::{Counts, OutcomeKind, Tally};
use crate::numbers::{Count, counted, grouped};
use crate::source::{Source, for_each_source};

/// Frames of a stack that the short form shows.
const FRAMES: usize = 5;

/// The answer for one capture.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Host, time range, what is missing.
    head: Head,
    /// Lives by outcome.
    lives: Counts,
    /// Events of packets, and those that belong to no life.
    tally: Tally,
    /// What went wrong, worst first.
    findings: Vec<Finding>,
    /// Whether all evidence is shown to people.
    #[serde(skip)]
    detail: bool,
}

/// All captures together.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// Errors found.
    errors: u64,
    /// Warnings found.
    warnings: u64,
    /// Lives by outcome.
    lives: Counts,
}

impl Totals {
    /// Adds an answer.
    fn add(&mut self, answer: &Diagnosis) {
        let count = |severity| answer.findings.iter().filter(|f| f.severity == severity).count() as u64;
        self.captures += 1;
        self.errors += count(Severity::Error);
        self.warnings += count(Severity::Warning);
        self.lives.add_all(&answer.lives);
    }

    /// A line about all captures.
    fn line(&self) -> String {
        let (errors, warnings) = (counted(self.errors, "error"), counted(self.warnings, "warning"));
        let (captures, lives) = (counted(self.captures, "capture"), counted(self.lives.lives, "packet"));
        format!("{errors} and {warnings} in {captures}, {lives}")
    }

    /// Whether there is something to fail for.
    fn fails(&self, fail_on: Option<FailOn>) -> bool {
        match fail_on {
            Some(FailOn::Warning) => self.errors + self.warnings > 0,
            Some(FailOn::Error) => self.errors > 0,
            None => false,
        }
    }
}

/// Runs the command.
pub fn run(args: &args::Diag, out: &mut dyn Write) -> Result<ExitCode> {
    let knowledge = Knowledge::load(&args.input.rules)?;
    let mut output = Output::begin(args.input.format, &COLUMNS, out)?;
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, &knowledge, args.detail)?;
        totals.add(&answer);
        output.capture(&answer, &source.labels())
    })?;
    output.finish(&totals, &totals.line())?;
    match (all, totals.fails(args.fail_on)) {
        (false, _) => Ok(ExitCode::from(2)),
        (true, true) => Ok(ExitCode::from(1)),
        (true, false) => Ok(ExitCode::SUCCESS),
    }
}

/// Diagnoses a capture.
fn answer(source: &Source, knowledge: &Knowledge, detail: bool) -> Result<Diagnosis> {
    let (tally, mut findings) = diag::diagnose(source, knowledge)?;
    let limit = source.filter.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX));
    findings.truncate(limit);
    // What was lost is known for certain when all was read.
    Ok(Diagnosis { head: source.head(), lives: tally.outcomes, tally, findings, detail })
}

impl Answer for Diagnosis {
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()> {
        self.head.show(out)?;
        writeln!(out, "  {}", outcomes(&self.lives))?;
        writeln!(out, "{}", verdict(self))?;
        for (number, finding) in self.findings.iter().enumerate() {
            writeln!(out)?;
            write_finding(number + 1, finding, self.detail, &mut Page { labels, out })?;
        }
        Ok(())
    }

    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()> {
        self.findings.iter().try_for_each(|finding| table.record(record(finding, labels)))
    }
}

/// The names of the columns of CSV.
const COLUMNS: [&str; 23] = [
    "host",
    "severity",
    "cause",
    "title",
    "about",
    "packets",
    "packets_at_least",
    "are_drops",
    "flows",
    "flows_at_least",
    "destinations",
    "destinations_at_least",
    "first",
    "last",
    "locations",
    "reasons",
    "rules",
    "devices",
    "top_flows",
    "evidence",
    "means",
    "advice",
    "touched_by_loss",
];

/// A finding as a record of CSV.
fn record(finding: &Finding, labels: &Labels) -> [String; COLUMNS.len()] {
    let Finding { packets, flows, destinations, .. } = finding;
    [
        labels.host.clone(),
        finding.severity.name().to_owned(),
        finding.cause.clone(),
        finding.title.clone(),
        finding.about.clone(),
        packets.value.to_string(),
        packets.at_least.to_string(),
        finding.are_drops.to_string(),
        flows.value.to_string(),
        flows.at_least.to_string(),
        destinations.value.to_string(),
        destinations.at_least.to_string(),
        finding.first.to_string(),
        finding.last.to_string(),
        listed(&finding.locations),
        listed(&finding.reasons),
        listed(&finding.rules),
        shares(&finding.devices, |at| device(at, labels)),
        listed(&finding.top_flows),
        listed(&finding.evidence),
        finding.means.clone(),
        finding.advice.clone(),
        finding.touched_by_loss.to_string(),
    ]
}

/// Lives by outcome, in one line.
fn outcomes(lives: &Counts) -> String {
    let mut counts = *lives;
    let parts: Vec<String> = OutcomeKind::ALL
        .iter()
        .filter_map(|(kind, name)| match *counts.of(*kind) {
            0 => None,
            count => Some(format!("{} {name}", grouped(count))),
        })
        .collect();
    format!(
        "{}: {}",
        counted(lives.lives, "packet"),
        if parts.is_empty() { "-".into() } else { parts.join(", ") }
    )
}

/// The line that answers the question.
fn verdict(answer: &Diagnosis) -> String {
    let packets = counted(answer.lives.lives, "packet");
    match answer.findings.len() as u64 {
        0 if answer.head.warnings().is_empty() => format!("no problem found in {packets}"),
        0 => format!("no problem found in {packets}, but see above what is missing"),
        found => format!("{} found", counted(found, "problem")),
    }
}

/// Where findings are written as text, and what shows their numbers.
struct Page<'a> {
    /// What shows numbers.
    labels: &'a Labels,
    /// Where they go.
    out: &'a mut dyn Write,
}

impl Page<'_> {
    /// Writes a line of a finding, unless it says nothing.
    fn line(&mut self, name: &str, text: &str) -> Result<()> {
        if !text.is_empty() {
            writeln!(self.out, "   {name:<5}  {text}")?;
        }
        Ok(())
    }
}

/// Writes one finding.
fn write_finding(number: usize, finding: &Finding, detail: bool, page: &mut Page<'_>) -> Result<()> {
    let severity = finding.severity.name().to_ascii_uppercase();
    let amount = amount(finding, page.labels);
    writeln!(page.out, "{number}. {severity} {}  {}: {amount}", finding.cause, finding.title)?;
    page.line("where", &place(finding, page.labels))?;
    let rules = finding.rules.iter().map(|rule| format!("{}{}", rule.what, rule.what.blame()));
    page.line("rule", &rules.collect::<Vec<_>>().join("; "))?;
    page.line("who", &who(finding))?;
    page.line("why", &finding.means)?;
    page.line("do", &finding.advice)?;
    page.line("seen", &seen(finding))?;
    if detail {
        page.line("count", &finding.counters)?;
    }
    let frames: Vec<&str> = render::stack(finding.stack.as_deref().unwrap_or_default()).collect();
    let shown = if detail { frames.len() } else { frames.len().min(FRAMES) };
    page.line("stack", &frames[..shown].join(" < "))?;
    let examples = if detail { finding.examples.len() } else { 1 };
    for example in finding.examples.iter().take(examples) {
        page.line("see", &see(example, page.labels))?;
    }
    if finding.touched_by_loss {
        page.line(
            "note",
            "events were lost meanwhile: the counts are lower bounds, and the cause may be another",
        )?;
    }
    Ok(())
}

/// How many packets and flows, since when.
fn amount(finding: &Finding, labels: &Labels) -> String {
    let noun = if finding.are_drops { "packet" } else { "event" };
    let flows = match finding.flows {
        Count { value: 0, .. } => String::new(),
        flows => format!(", {}", flows.of("flow")),
    };
    let first = labels.times.show(finding.first);
    let since = if finding.first == finding.last { "at" } else { "since" };
    format!("{}{flows}, {since} {first}", finding.packets.of(noun))
}

/// Victim, places in the kernel and devices.
fn place(finding: &Finding, labels: &Labels) -> String {
    let locations: Vec<&str> = finding.locations.iter().take(3).map(|s| s.what.as_str()).collect();
    let devices: Vec<String> = finding.devices.iter().take(3).map(|s| device(&s.what, labels)).collect();
    let mut parts = vec![finding.about.clone()];
    if !locations.is_empty() {
        parts.push(format!("in {}", locations.join(", ")));
    }
    if !devices.is_empty() {
        parts.push(format!("on {}", devices.join(", ")));
    }
    parts.join(", ")
}

/// A device with its namespace.
fn device(at: &Device, labels: &Labels) -> String {
    labels.device(Some(&at.dev), at.netns)
}

/// The flows that were hit most.
fn who(finding: &Finding) -> String {
    let named = finding.top_flows.len() as u64;
    let rest = Count { value: finding.flows.value.saturating_sub(named), ..finding.flows };
    let more = if rest.value > 0 { format!(" and {rest} more") } else { String::new() };
    listed(&finding.top_flows) + &more
}

/// What was seen, and figures.
fn seen(finding: &Finding) -> String {
    let shares = |s: &Share<String>| format!("{} ({})", s.what, grouped(s.count));
    let all = finding.evidence.iter().map(shares).chain(finding.figures.iter().cloned());
    all.collect::<Vec<_>>().join(", ")
}

/// The command that shows an example.
fn see(example: &Example, labels: &Labels) -> String {
    let at = |ts: u64| labels.times.since_start(ts);
    // A microsecond of room on each side, as the times are rounded.
    let (since, until) = ((at(example.start) - 1e-6).max(0.0), at(example.end) + 2e-6);
    format!(
        "ntana trace {} --skb {:x} --since {since:.6}s --until {until:.6}s --detail",
        labels.file, example.skb
    )
}
