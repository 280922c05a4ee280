//! The recorder as a child process beside a scenario.

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{ChildStderr, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::Process;

/// How long a recorder may take to attach. In an emulated machine that is tens of seconds.
const ATTACH: Duration = Duration::from_secs(120);

/// How long a recorder may take to write out the rest after SIGINT.
const CLOSE: Duration = Duration::from_secs(15);

/// The word in the line by which the recorder says that it is attached.
const READY: &str = "recording";

/// A recorder that is attached.
pub struct Recording {
    /// The recorder.
    process: Process,
    /// Passes the recorder's standard error through.
    echo: JoinHandle<()>,
}

impl Recording {
    /// Starts `recorder capture -o file extra...` and waits until it says that it records.
    pub fn start(recorder: &Path, file: &Path, extra: &[String], stop: &AtomicBool) -> Result<Self> {
        let mut command = harness::own(recorder);
        command.arg("capture").arg("-o").arg(file).args(extra);
        let begun = Instant::now();
        let mut process = Process::start(command.stdin(Stdio::null()).stderr(Stdio::piped()))?;
        let stderr = process.child.stderr.take().context("the recorder has no standard error")?;
        let (sender, receiver) = channel();
        let echo = thread::spawn(move || pass_on(stderr, &sender));
        await_ready(&mut process, &receiver, stop)?;
        tell("to start", begun)?;
        Ok(Self { process, echo })
    }

    /// Ends the recorder and waits for its last words.
    pub fn stop(self) -> Result<()> {
        let begun = Instant::now();
        let status = self.process.stop(CLOSE)?;
        // The recorder is gone, so its end of the pipe is closed.
        let _ = self.echo.join();
        if !status.success() {
            bail!("the recorder ended with {status}; what it said is above");
        }
        tell("to end", begun)
    }
}

/// Tells how long the recorder took for something.
fn tell(what: &str, begun: Instant) -> Result<()> {
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(stdout(), "recorder: {seconds:.1} s {what}").context("write how long the recorder took")
}

/// Copies each line to our standard error and announces the one that says it is attached.
fn pass_on(stderr: ChildStderr, ready: &Sender<()>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if line.contains(READY) {
            // Nobody listens after the first time.
            let _ = ready.send(());
        }
    }
}

/// Waits for the line, the recorder's end, a signal to us, or too long a time.
fn await_ready(process: &mut Process, ready: &Receiver<()>, stop: &AtomicBool) -> Result<()> {
    let deadline = Instant::now() + ATTACH;
    loop {
        match ready.recv_timeout(Duration::from_millis(100)) {
            Ok(()) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = process.wait_for(CLOSE)?;
                let how = status
                    .map_or("closed its standard error".into(), |status| format!("ended with {status}"));
                bail!("the recorder {how} before it recorded; what it said is above");
            }
            Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                bail!("the recorder was still attaching");
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                bail!("the recorder did not say \"{READY}\" within {ATTACH:?}");
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
