//! Several captures: which files can be asked together, and how their answers tell them apart.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use ntc::Capture;
use same_file::Handle;

use crate::answer::Labels;
use crate::args::{FilterArgs, Input};
use crate::source::Source;

/// Captures that are asked at once at most.
const MOST: usize = 50;

/// Refuses too many captures, and captures that would be counted twice: the same file by any path, or a copy of it. What
/// cannot be read is reported where it is read.
pub fn check(files: &[PathBuf]) -> Result<()> {
    if files.len() > MOST {
        bail!("at most {MOST} captures are read at once, and these are {}", files.len());
    }
    let known: Vec<Known<'_>> =
        if files.len() > 1 { files.iter().map(|path| Known::of(path)).collect() } else { Vec::new() };
    for (at, file) in known.iter().enumerate() {
        let (path, others) = (file.path.display(), &known[..at]);
        if let Some(same) = others.iter().find(|other| file.is_same(other)) {
            bail!("{path} is the same file as {}: give each capture once", same.path.display());
        }
        if let Some(original) = others.iter().find(|other| file.is_copy(other)) {
            bail!("{path} is a copy of {}: give each capture once", original.path.display());
        }
    }
    Ok(())
}

/// Opens all captures at once; one that cannot be read is reported and does not stop the others. Also returns whether
/// all could be.
pub fn open(input: &Input, filters: &FilterArgs) -> (Vec<Source>, bool) {
    let mut sources = Vec::new();
    for path in &input.files {
        match Source::open(path, input.time, filters) {
            Ok(source) => sources.push(source),
            Err(error) => eprintln!("ntana: {error:#}"),
        }
    }
    let all = sources.len() == input.files.len();
    (sources, all)
}

/// What shows the numbers of each capture; where two are of one host, the file tells them apart: its name, or where two have
/// the same its path.
pub fn labels(sources: &[Source]) -> Vec<Labels> {
    let labels: Vec<Labels> = sources.iter().map(Source::labels).collect();
    let of_host = |host: &str| labels.iter().filter(|other| other.host == host).count();
    let of_name = |name: &str| labels.iter().filter(|other| file_name(&other.file) == name).count();
    let named = |label: &Labels| {
        let name = file_name(&label.file);
        match (of_host(&label.host), of_name(name)) {
            (1, _) => label.clone(),
            (_, 1) => Labels { host: name.to_owned(), ..label.clone() },
            _ => Labels { host: label.file.clone(), ..label.clone() },
        }
    };
    labels.iter().map(named).collect()
}

/// The name of a capture's file, without its folder.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

/// What tells one capture from another.
struct Known<'a> {
    /// Its path, as the user wrote it.
    path: &'a Path,
    /// The file, whatever its path.
    file: Option<Handle>,
    /// The random number of the recording.
    id: Option<u64>,
}

impl<'a> Known<'a> {
    /// What is known of a file.
    fn of(path: &'a Path) -> Self {
        let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
        let file = Handle::from_path(path).ok().filter(|_| is_file);
        let id = Capture::id_of(path).ok().flatten().filter(|_| is_file);
        Self { path, file, id }
    }

    /// Whether two paths lead to the same file.
    fn is_same(&self, other: &Self) -> bool {
        self.path == other.path || self.file.is_some() && self.file == other.file
    }

    /// Whether two files are of the same recording.
    fn is_copy(&self, other: &Self) -> bool {
        self.id.is_some() && self.id == other.id
    }
}
