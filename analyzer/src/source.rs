//! A capture that is opened for an answer, and the head lines that every answer begins with.

use std::io::{self, Write};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ntc::{Capture, State};
use serde::Serialize;

use crate::args::{FilterArgs, Input, TimeStyle};
use crate::event::{self, Event};
use crate::filter::Filter;
use crate::loss::Losses;
use crate::numbers::grouped;
use crate::stream;
use crate::times::{Times, span};

/// Probes without attachment that the head names.
const MAX_NAMED: usize = 6;

/// A capture with everything that answers need.
pub struct Source {
    /// Its path, as the user wrote it.
    pub path: PathBuf,
    /// The file.
    pub capture: Capture,
    /// When events were lost.
    pub losses: Losses,
    /// Its clock.
    pub times: Times,
    /// The user's filters.
    pub filter: Filter,
}

impl Source {
    /// Opens a capture.
    pub fn open(path: &Path, style: TimeStyle, filters: &FilterArgs) -> Result<Self> {
        if path.is_dir() {
            bail!("{} is a directory, not a capture", path.display());
        }
        let capture = Capture::open(path)?;
        let times = Times::new(capture.metadata(), start_of(&capture), style);
        let filter = Filter::new(filters, &capture, &times)?;
        let losses = Losses::read(&capture)?;
        Ok(Self { path: path.to_owned(), capture, losses, times, filter })
    }

    /// Calls `each` for every event in a range of time, until it breaks. Clock rows go to the clock.
    pub fn for_each_in(
        &mut self,
        range: RangeInclusive<u64>,
        mut each: impl FnMut(&Event, &Times) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let Self { capture, times, .. } = self;
        stream::for_each_event(capture, &event::columns(), range, |event| {
            times.learn(event);
            each(event, times)
        })
    }

    /// The name of a namespace, or its inode.
    pub fn netns(&self, inode: u32) -> String {
        netns_name(&self.capture, inode)
    }

    /// What every answer says first.
    pub fn head(&self) -> Head {
        let metadata = self.capture.metadata();
        let (start, end) = (start_of(&self.capture), end_of(&self.capture));
        Head {
            file: self.path.display().to_string(),
            host: metadata.host.name.clone(),
            kernel: metadata.host.kernel.clone(),
            start,
            end,
            from: self.times.show_date(start),
            to: self.times.show(end),
            scale: self.times.scale(),
            events: self.capture.rows(),
            unfinished: *self.capture.state() == State::Unfinished,
            notes: self.capture.notes().to_vec(),
            lost: self.losses.lost,
            not_attached: not_attached(&self.capture),
            late_modules: metadata.late_modules.clone(),
        }
    }
}

/// The name of a namespace in a capture, or its inode.
pub fn netns_name(capture: &Capture, inode: u32) -> String {
    capture.metadata().host.netns_names.get(&inode).cloned().unwrap_or_else(|| inode.to_string())
}

/// When a capture began.
fn start_of(capture: &Capture) -> u64 {
    let first = capture.groups().first().map_or(0, |g| g.first_ts);
    match capture.metadata().started {
        0 => first,
        started if first != 0 => started.min(first),
        started => started,
    }
}

/// When it ended.
fn end_of(capture: &Capture) -> u64 {
    let last = capture.groups().iter().map(|g| g.last_ts).max().unwrap_or(0);
    let stopped = capture.metadata().stopped.as_ref().map_or(0, |s| s.at);
    last.max(stopped).max(start_of(capture))
}

/// Probes that are not attached.
fn not_attached(capture: &Capture) -> Vec<NotAttached> {
    let failed = |p: &ntc::Probe| Some(NotAttached { probe: p.name.clone(), error: p.error.clone()? });
    capture.metadata().probes.iter().filter(|p| !p.absent).filter_map(failed).collect()
}

/// A probe that is not attached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotAttached {
    /// Its name.
    pub probe: String,
    /// Why.
    pub error: String,
}

/// What every answer says first: which host, when, and what is missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Head {
    /// The file.
    pub file: String,
    /// The host.
    pub host: String,
    /// Its kernel.
    pub kernel: String,
    /// Start, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// End.
    pub end: u64,
    /// Start as text.
    pub from: String,
    /// End as text.
    pub to: String,
    /// What the texts are: offset of the zone, or the clock.
    pub scale: String,
    /// Rows of the file.
    pub events: u64,
    /// Whether the recorder did not finish.
    pub unfinished: bool,
    /// What is missing or damaged in the file.
    pub notes: Vec<String>,
    /// Events that were lost.
    pub lost: u64,
    /// Probes that are not attached.
    pub not_attached: Vec<NotAttached>,
    /// Modules that were loaded while recording.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub late_modules: Vec<String>,
}

impl Head {
    /// Writes it as text.
    pub fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let host = if self.host.is_empty() { "unknown host" } else { &self.host };
        writeln!(out, "{}: host {host}, kernel {}", self.file, or_dash(&self.kernel))?;
        writeln!(
            out,
            "  {} to {} ({}), {}, {} events",
            self.from,
            self.to,
            self.scale,
            span(self.end - self.start),
            grouped(self.events)
        )?;
        self.warnings().iter().try_for_each(|line| writeln!(out, "  ! {line}"))
    }

    /// Sentences on what is missing.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = self.notes.clone();
        if self.unfinished && lines.is_empty() {
            lines.push("the recorder did not finish: the end of the capture may be missing".into());
        }
        if self.lost > 0 {
            let lost = grouped(self.lost);
            lines.push(format!(
                "{lost} events were lost while recording: what is missing here may have happened"
            ));
        }
        if !self.not_attached.is_empty() {
            lines.push(self.missing_probes());
        }
        if !self.late_modules.is_empty() {
            let modules = named(self.late_modules.iter().map(String::as_str).collect());
            lines.push(format!("loaded while recording, so that their functions were not seen: {modules}"));
        }
        lines
    }

    /// A sentence on the probes that are not attached.
    fn missing_probes(&self) -> String {
        let names = named(self.not_attached.iter().map(|p| p.probe.as_str()).collect());
        format!("not attached on this kernel: {names} (`ntana info` says why)")
    }
}

/// The first few names, and how many more there are.
fn named(mut names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// A text, or a dash for none.
fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Answers for each file by itself; a file that cannot be read is reported and does not stop the others. Returns
/// whether all were read.
pub fn for_each_source(
    input: &Input,
    filters: &FilterArgs,
    mut answer: impl FnMut(&mut Source) -> Result<()>,
) -> Result<bool> {
    let mut all = true;
    for path in &input.files {
        let opened = Source::open(path, input.time, filters);
        let result =
            opened.and_then(|mut source| answer(&mut source).with_context(|| path.display().to_string()));
        match result {
            Ok(()) => {}
            Err(error) if crate::is_closed_pipe(&error) => return Err(error),
            Err(error) => {
                eprintln!("ntana: {error:#}");
                all = false;
            }
        }
    }
    Ok(all)
}
