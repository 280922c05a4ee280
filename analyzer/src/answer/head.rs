//! The head that the answer about each capture begins with.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::{Answer, Labels, Table};
use crate::numbers::grouped;
use crate::times::span;

/// Probes without attachment that the head names.
const MAX_NAMED: usize = 6;

/// A head alone: what stands before a list.
#[derive(Debug, Serialize)]
pub struct Headed {
    /// The head.
    pub head: Head,
}

impl Answer for Headed {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        Ok(self.head.show(out)?)
    }

    fn records(&self, _: &Labels, _: &mut Table<'_>) -> Result<()> {
        Ok(())
    }
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
    pub fn show(&self, out: &mut dyn Write) -> io::Result<()> {
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
