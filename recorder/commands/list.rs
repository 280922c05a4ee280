//! `ntrec probes`: what can be recorded here, and how.

use std::fmt::Write;

use anyhow::Result;
use ntc::catalog;
use serde::Serialize;

use super::explore::Node;
use super::output;
use crate::args::Probes;
use crate::attach::{Probe, Target};

/// The answer.
#[derive(Serialize)]
struct List {
    /// Whether it could be tried which backends work.
    tried: bool,
    /// The probes, by group.
    probes: Vec<Row>,
}

/// One probe.
#[derive(Serialize)]
struct Row {
    /// Its name in the column `probe`.
    name: String,
    /// Its group in the catalog.
    group: Option<&'static str>,
    /// Where on a packet's way it is.
    stage: Option<&'static str>,
    /// The smallest profile that has it.
    profile: Option<&'static str>,
    /// How it would be attached.
    backend: Option<String>,
    /// Why it cannot be.
    reason: Option<String>,
    /// What happens there.
    what: Option<&'static str>,
}

/// Answers.
pub fn run(args: &Probes) -> Result<()> {
    let node = Node::explore();
    let mut probes: Vec<Row> = node.probes(&args.words)?.iter().map(|probe| row(&node, probe)).collect();
    probes.sort_by_key(|row| group_position(row.group));
    if let Err(why) = &node.privileges {
        eprintln!("ntrec: which way of probing works here could not be tried: {why}");
    }
    let list = List { tried: node.privileges.is_ok(), probes };
    output::print(&list, || text(&list.probes), args.format)
}

/// What there is to say of a probe.
fn row(node: &Node, probe: &Probe) -> Row {
    let entry = entry(probe);
    let outcome = node.outcome(probe);
    Row {
        name: probe.name().to_owned(),
        group: entry.map(|entry| entry.group.name),
        stage: entry.and_then(|entry| entry.stage).map(|stage| stage.name),
        profile: entry.map(|entry| entry.profile.name()),
        backend: outcome.clone().and_then(Result::ok),
        reason: outcome.and_then(Result::err),
        what: entry.map(|entry| entry.what),
    }
}

/// What the catalog says of a probe.
fn entry(probe: &Probe) -> Option<&'static catalog::Probe> {
    match &probe.target {
        Target::Tracepoint(entry) | Target::Absent(entry) => Some(entry),
        Target::Function(function) => function.entry,
    }
}

/// The position of a group in the catalog; what is in none comes last.
fn group_position(group: Option<&str>) -> Option<usize> {
    let found = group.and_then(|name| catalog::groups().iter().position(|g| g.name == name));
    Some(found.unwrap_or(usize::MAX))
}

/// For people: a heading for each group, a line for each probe.
fn text(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).len()).max().unwrap_or_default();
    let (names, stages, backends) = (width(name), width(stage), width(backend));
    let mut text = String::new();
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        text += &heading(group[0].group);
        for row in group {
            let (name, stage, profile, backend) = (name(row), stage(row), profile(row), backend(row));
            let cells = format!(
                "  {name:names$}  {stage:stages$}  {profile:4}  {backend:backends$}  {}",
                remark(row)
            );
            let _ = writeln!(text, "{}", cells.trim_end());
        }
    }
    text
}

/// The line above a group.
fn heading(group: Option<&str>) -> String {
    match group.and_then(catalog::group) {
        Some(group) => format!("{}: {}\n", group.name, group.what),
        None => "other functions of this kernel\n".to_owned(),
    }
}

/// The column of names.
fn name(row: &Row) -> &str {
    &row.name
}

/// The column of stages.
fn stage(row: &Row) -> &str {
    row.stage.unwrap_or("-")
}

/// The column of profiles: the smallest that has it.
fn profile(row: &Row) -> &str {
    row.profile.unwrap_or("-")
}

/// The column of backends: `-` where none works, `?` where none could be tried.
fn backend(row: &Row) -> &str {
    match (&row.backend, &row.reason) {
        (Some(backend), _) => backend,
        (None, Some(_)) => "-",
        (None, None) => "?",
    }
}

/// The last column: what happens there, or why it cannot be seen.
fn remark(row: &Row) -> String {
    let what = row.what.unwrap_or_default();
    match &row.reason {
        Some(reason) => format!("{what} (not recorded: {reason})").trim_start().to_owned(),
        None => what.to_owned(),
    }
}
