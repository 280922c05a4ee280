//! A capture that is opened for an answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ntc::{Batch, Capture, State};

use crate::answer::{Head, Labels, NotAttached};
use crate::args::{FilterArgs, Input, TimeStyle};
use crate::event::{Block, RowId};
use crate::filter::Filter;
use crate::loss::Losses;
use crate::names::Names;
use crate::probes::Probes;
use crate::times::Times;

/// A capture with everything that answers need.
pub struct Source {
    /// Its path, as the user wrote it.
    pub path: PathBuf,
    /// The file.
    pub capture: Capture,
    /// Its texts.
    pub names: Names,
    /// What its probes are.
    pub probes: Probes,
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
        let (losses, probes) = (Losses::new(&capture), Probes::new(capture.metadata()));
        Ok(Self { path: path.to_owned(), capture, names: Names::default(), probes, losses, times, filter })
    }

    /// Rows as events: the first of them, and which fit the filter expression, if there is one.
    pub fn block(&self, first: RowId, batch: Batch, fits: Option<Vec<bool>>) -> Block<'_> {
        Block::new(first, batch, &self.names, &self.probes).with_fits(fits)
    }

    /// Learns of losses and clocks from a row group.
    pub fn learn(&self, group: usize, batch: &Batch) {
        self.losses.learn(group, batch);
        self.times.learn(batch);
    }

    /// What shows the numbers of its answers.
    pub fn labels(&self) -> Labels {
        let host = &self.capture.metadata().host;
        let file = self.path.display().to_string();
        Labels {
            host: if host.name.is_empty() { file.clone() } else { host.name.clone() },
            file,
            netns: host.netns_names.clone(),
            times: self.times.clone(),
        }
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
            lost: self.losses.lost(),
            not_attached: not_attached(&self.capture),
            late_modules: metadata.late_modules.clone(),
        }
    }
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
