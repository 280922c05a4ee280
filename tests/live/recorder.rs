//! `ntrec` as a child process, and what it left.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::{Host, Process};
use ntc::{Capture, Metadata};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::rows::{self, Row};

/// The recorder that is tested: NTREC, which names one that was built to be shipped, or the one built for tests.
pub fn binary() -> &'static str {
    static BINARY: LazyLock<String> =
        LazyLock::new(|| std::env::var("NTREC").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ntrec").to_owned()));
    &BINARY
}

/// The analyzer beside it.
pub fn analyzer() -> Command {
    let ntana = Path::new(binary()).with_file_name("ntana");
    assert!(ntana.exists(), "{} is missing; cargo build -p ntana", ntana.display());
    harness::own(&ntana)
}

/// Whether it is optimised, and so has to keep the README's promises to the letter.
pub fn is_optimised() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("NTREC").is_some()
}

/// How long it may take to attach on a busy machine.
const ATTACH: Duration = Duration::from_secs(60);

/// How long it may take to end, where a test does not ask for less.
const END: Duration = Duration::from_secs(20);

/// A recorder that runs.
pub struct Recorder {
    /// The process.
    pub process: Process,
    /// The capture it writes.
    pub file: PathBuf,
    /// Where the file is.
    dir: TempDir,
    /// Collects its standard error.
    stderr: JoinHandle<String>,
    /// Becomes readable when it records.
    ready: Receiver<()>,
}

/// What a recorder left.
pub struct Recording {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said.
    pub stderr: String,
    /// The capture.
    pub file: PathBuf,
    /// Keeps the file.
    _dir: TempDir,
}

impl Recorder {
    /// Starts `ntrec capture -o FILE ARGS` in a directory of its own, and waits until it records.
    pub fn start<S: AsRef<str>>(args: &[S]) -> Self {
        Self::launch(args).ready()
    }

    /// Like [`Recorder::start`], with the file in `dir`.
    pub fn start_in<S: AsRef<str>>(dir: &Path, args: &[S]) -> Self {
        Self::launch_as(dir.join("live.ntc"), tempfile::tempdir().unwrap(), args).ready()
    }

    /// Starts it without waiting.
    pub fn launch<S: AsRef<str>>(args: &[S]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::launch_as(dir.path().join("live.ntc"), dir, args)
    }

    /// Starts it with a file and the directory that is kept meanwhile.
    fn launch_as<S: AsRef<str>>(file: PathBuf, dir: TempDir, args: &[S]) -> Self {
        let mut command = harness::own(binary());
        command.arg("capture").arg("-o").arg(&file).args(args.iter().map(AsRef::as_ref));
        let mut process = Process::start(command.stdin(Stdio::null()).stderr(Stdio::piped())).unwrap();
        let pipe = process.child.stderr.take().unwrap();
        let (announce, ready) = channel();
        let stderr = thread::spawn(move || collect(pipe, &announce));
        Self { process, file, dir, stderr, ready }
    }

    /// Waits until it records.
    pub fn ready(self) -> Self {
        match self.ready.recv_timeout(ATTACH) {
            Ok(()) => self,
            Err(error) => panic!("the recorder did not begin ({error}): {}", self.end(END).stderr),
        }
    }

    /// Sends SIGINT and waits for the end.
    pub fn stop(self) -> Recording {
        self.process.signal(Signal::INT).unwrap();
        self.end(END)
    }

    /// Waits until it has ended by itself.
    pub fn end(mut self, patience: Duration) -> Recording {
        let status = self.process.wait_for(patience).unwrap();
        let status = status.unwrap_or_else(|| panic!("the recorder has not ended after {patience:?}"));
        Recording { status, stderr: self.stderr.join().unwrap(), file: self.file, _dir: self.dir }
    }

    /// Sends a signal, waits for the end, and says how long that took.
    pub fn end_by(self, signal: Signal) -> (Recording, Duration) {
        self.process.signal(signal).unwrap();
        let sent = Instant::now();
        let recording = self.end(END);
        (recording, sent.elapsed())
    }
}

/// Reads standard error to its end, and announces the line that says it records.
fn collect(pipe: ChildStderr, ready: &Sender<()>) -> String {
    let mut said = String::new();
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        if line.contains("recording") {
            // Nobody listens after the first time.
            let _ = ready.send(());
        }
        said += &line;
        said.push('\n');
    }
    said
}

impl Recording {
    /// Opens the capture of a recorder that ended well.
    pub fn open(&self) -> Capture {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        let capture = Capture::open(&self.file).unwrap();
        assert_eq!(*capture.state(), ntc::State::Closed);
        capture
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Row> {
        rows::read(&self.open())
    }

    /// What it says about itself.
    pub fn metadata(&self) -> Metadata {
        self.open().metadata().clone()
    }
}

/// Records while `traffic` goes on.
pub fn record<S: AsRef<str>>(args: &[S], traffic: impl FnOnce()) -> Recording {
    let recorder = Recorder::start(args);
    traffic();
    recorder.stop()
}

/// `--netns` with these hosts, so that nobody else's packets are recorded.
pub fn only(hosts: &[&Host]) -> [String; 2] {
    let inodes: Vec<String> = hosts.iter().map(|host| host.inode().to_string()).collect();
    ["--netns".to_owned(), inodes.join(",")]
}

/// [`only`] with more arguments.
pub fn only_with(hosts: &[&Host], args: &[&str]) -> Vec<String> {
    only(hosts).into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
}
