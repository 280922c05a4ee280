//! `ntana diag`: what went wrong, where, why, what to do.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::json::Document;
use crate::args::{self, FailOn, Format};
use crate::diag::{Example, Finding, Observer, Share, Where};
use crate::knowledge::{Knowledge, Severity};
use crate::lifecycle::{Counts, Keep, Lives, OutcomeKind, Tally};
use crate::loss::Losses;
use crate::numbers::{counted, grouped};
use crate::render;
use crate::source::{Head, Source, for_each_source, netns_name};

/// Frames of a stack that the short form shows.
const FRAMES: usize = 5;

/// The answer for one capture.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Host, time range, what is missing.
    pub head: Head,
    /// Lives by outcome.
    pub lives: Counts,
    /// Events of packets, and those that belong to no life.
    pub tally: Tally,
    /// What went wrong, worst first.
    pub findings: Vec<Finding>,
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
    fn add(&mut self, answer: &Answer) {
        let count = |severity| answer.findings.iter().filter(|f| f.severity == severity).count() as u64;
        self.captures += 1;
        self.errors += count(Severity::Error);
        self.warnings += count(Severity::Warning);
        self.lives.add_all(&answer.lives);
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
    let mut totals = Totals::default();
    let all = match args.input.format {
        Format::Text => text(args, &knowledge, &mut totals, out)?,
        Format::Json => json(args, &knowledge, &mut totals, out)?,
    };
    match (all, totals.fails(args.fail_on)) {
        (false, _) => Ok(ExitCode::from(2)),
        (true, true) => Ok(ExitCode::from(1)),
        (true, false) => Ok(ExitCode::SUCCESS),
    }
}

/// Answers in JSON.
fn json(args: &args::Diag, knowledge: &Knowledge, totals: &mut Totals, out: &mut dyn Write) -> Result<bool> {
    let mut document = Document::begin(out)?;
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, knowledge)?;
        totals.add(&answer);
        document.capture(&answer)
    })?;
    document.end("totals", totals)?;
    Ok(all)
}

/// Answers in text.
fn text(args: &args::Diag, knowledge: &Knowledge, totals: &mut Totals, out: &mut dyn Write) -> Result<bool> {
    let all = for_each_source(&args.input, &args.filter, |source| {
        let answer = answer(source, knowledge)?;
        if totals.captures > 0 {
            writeln!(out)?;
        }
        totals.add(&answer);
        show(&answer, source, args.detail, out)
    })?;
    if totals.captures > 1 {
        let (errors, warnings) = (counted(totals.errors, "error"), counted(totals.warnings, "warning"));
        let captures = counted(totals.captures, "capture");
        let lives = counted(totals.lives.lives, "packet");
        writeln!(out, "\nall: {errors} and {warnings} in {captures}, {lives}")?;
    }
    Ok(all)
}

/// Diagnoses a capture.
pub fn answer(source: &mut Source, knowledge: &Knowledge) -> Result<Answer> {
    let head = source.head();
    let losses = std::mem::take(&mut source.losses);
    let filter = std::mem::take(&mut source.filter);
    let answer = diagnose(source, knowledge, &losses, &filter);
    source.losses = losses;
    let limit = filter.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX));
    source.filter = filter;
    answer.map(|(tally, mut findings)| {
        findings.truncate(limit);
        Answer { head, lives: tally.outcomes, tally, findings }
    })
}

/// Rebuilds lives and watches them.
fn diagnose(
    source: &mut Source,
    knowledge: &Knowledge,
    losses: &Losses,
    filter: &crate::filter::Filter,
) -> Result<(Tally, Vec<Finding>)> {
    let mut lives = Lives::new(knowledge, losses, Keep::Summary).with_filter(|e, flow| filter.event(e, flow));
    let mut observer = Observer::new(knowledge);
    let mut matching = Counts::default();
    source.for_each_in(filter.range(), |event, _| {
        let mut done = |life: &crate::lifecycle::Life| {
            if filter.life(life) {
                matching.add(&life.outcome);
                observer.life(life);
            }
        };
        lives.push(event, &mut done);
        let flow = lives.flow_at(event.skb).unwrap_or_default();
        if filter.event(event, &flow) {
            observer.event(event, &lives);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    lives.finish(&mut |life| {
        if filter.life(life) {
            matching.add(&life.outcome);
            observer.life(life);
        }
    });
    let tally = Tally { outcomes: matching, ..lives.tally() };
    Ok((tally, observer.findings(losses)))
}

/// Writes an answer as text.
pub fn show(answer: &Answer, source: &Source, detail: bool, out: &mut dyn Write) -> Result<()> {
    answer.head.text(out)?;
    writeln!(out, "  {}", outcomes(&answer.lives))?;
    writeln!(out, "{}", verdict(answer))?;
    for (number, finding) in answer.findings.iter().enumerate() {
        writeln!(out)?;
        write_finding(number + 1, finding, source, detail, out)?;
    }
    Ok(())
}

/// Lives by outcome, in one line.
pub fn outcomes(lives: &Counts) -> String {
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
fn verdict(answer: &Answer) -> String {
    let packets = counted(answer.lives.lives, "packet");
    match answer.findings.len() as u64 {
        0 if answer.head.warnings().is_empty() => format!("no problem found in {packets}"),
        0 => format!("no problem found in {packets}, but see above what is missing"),
        found => format!("{} found", counted(found, "problem")),
    }
}

/// Writes one finding.
fn write_finding(
    number: usize,
    finding: &Finding,
    source: &Source,
    detail: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let severity = if finding.severity == Severity::Error { "ERROR" } else { "WARNING" };
    writeln!(out, "{number}. {severity} {}  {}: {}", finding.cause, finding.title, amount(finding, source))?;
    line(out, "where", &place(finding, source))?;
    let rules: Vec<String> =
        finding.rules.iter().map(|rule| format!("{}{}", rule.what, rule.what.blame())).collect();
    line(out, "rule", &rules.join("; "))?;
    line(out, "who", &who(finding))?;
    line(out, "why", &finding.means)?;
    line(out, "do", &finding.advice)?;
    line(out, "seen", &seen(finding))?;
    if detail {
        line(out, "count", &finding.counters)?;
    }
    let frames: Vec<&str> = render::stack(finding.stack).collect();
    let shown = if detail { frames.len() } else { frames.len().min(FRAMES) };
    line(out, "stack", &frames[..shown].join(" < "))?;
    let examples = if detail { finding.examples.len() } else { 1 };
    for example in finding.examples.iter().take(examples) {
        line(out, "see", &see(example, source))?;
    }
    if finding.touched_by_loss {
        line(
            out,
            "note",
            "events were lost meanwhile: the counts are lower bounds, and the cause may be another",
        )?;
    }
    Ok(())
}

/// Writes a line of a finding, unless it says nothing.
fn line(out: &mut dyn Write, name: &str, text: &str) -> Result<()> {
    if !text.is_empty() {
        writeln!(out, "   {name:<5}  {text}")?;
    }
    Ok(())
}

/// How many packets and flows, since when.
fn amount(finding: &Finding, source: &Source) -> String {
    let noun = if finding.are_drops { "packet" } else { "event" };
    let more = if finding.more_flows { " at least" } else { "" };
    let flows = match finding.flows {
        0 => String::new(),
        flows => format!(",{more} {}", counted(flows, "flow")),
    };
    let first = source.times.show(finding.first);
    let since = if finding.first == finding.last { "at" } else { "since" };
    format!("{}{flows}, {since} {first}", counted(finding.packets, noun))
}

/// Victim, places in the kernel and devices.
fn place(finding: &Finding, source: &Source) -> String {
    let locations: Vec<&str> = finding.locations.iter().take(3).map(|s| s.what.text()).collect();
    let devices: Vec<String> = finding.devices.iter().take(3).map(|s| device(s.what, source)).collect();
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
fn device(at: Where, source: &Source) -> String {
    match at.netns {
        0 => at.dev.text().to_owned(),
        inode => format!("{} (netns {})", at.dev, netns_name(&source.capture, inode)),
    }
}

/// The flows that were hit most.
fn who(finding: &Finding) -> String {
    let shares = |s: &Share<crate::event::Flow>| format!("{} ({})", s.what, grouped(s.count));
    let named: Vec<String> = finding.top_flows.iter().map(shares).collect();
    let rest = finding.flows.saturating_sub(named.len() as u64);
    let more = if rest > 0 { format!(" and {} more", grouped(rest)) } else { String::new() };
    named.join("; ") + &more
}

/// What was seen, and figures.
fn seen(finding: &Finding) -> String {
    let shares = |s: &Share<String>| format!("{} ({})", s.what, grouped(s.count));
    let all = finding.evidence.iter().map(shares).chain(finding.figures.iter().cloned());
    all.collect::<Vec<_>>().join(", ")
}

/// The command that shows an example.
fn see(example: &Example, source: &Source) -> String {
    let at = |ts: u64| source.times.since_start(ts);
    // A microsecond of room on each side, as the times are rounded.
    let (since, until) = ((at(example.start) - 1e-6).max(0.0), at(example.end) + 2e-6);
    format!(
        "ntana trace {} --skb {:x} --since {since:.6}s --until {until:.6}s --detail",
        source.path.display(),
        example.skb
    )
}
