//! Child processes that cannot outlive the value that stands for them.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A running child; dropping it kills it, by its own id, and waits for it.
#[derive(Debug)]
pub struct Process {
    /// The child, for its pipes and its exit status.
    pub child: Child,
    /// Becomes readable when the child ends, and names it even if its number were given out again.
    pidfd: OwnedFd,
    /// The program's name, for messages.
    program: String,
}

impl Process {
    /// Starts `command` in a process group of its own, so that a Ctrl-C at the terminal reaches only us.
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}; is it installed and executable?"))?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd, program }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(anyhow!(error).context("cannot watch a child process (pidfd_open, Linux 5.3 or newer)"))
            }
        }
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.pidfd, signal)
            .with_context(|| format!("cannot signal {} (pid {})", self.program, self.id()))
    }

    /// Waits until the child has ended, at most for `patience`; `None` if it still runs.
    pub fn wait_for(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => continue,
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(self.child.wait()?)),
                Err(error) => bail!("cannot wait for {} (pid {}): {error}", self.program, self.id()),
            }
        }
    }

    /// Asks the child to end by SIGINT; after `patience` kills it, which is an error.
    pub fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.wait_for(Duration::ZERO)? {
            return Ok(status);
        }
        self.signal(Signal::INT)?;
        self.wait_for(patience)?.with_context(|| {
            format!("{} did not end within {patience:?} of SIGINT; it was killed", self.program)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing to a child that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool of the distribution to its end and returns its standard output.
///
/// It has a process group of its own, so that a Ctrl-C at the terminal does not break it off.
pub(crate) fn tool(program: &str, args: &[&str], input: &str) -> Result<String> {
    let shown = || format!("{program} {}", args.join(" "));
    let mut child = harness::program(program)
        .args(args)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`; install the tool `{program}`", shown()))?;
    let sent = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}{}", shown(), output.status, said.trim(), quoted(input));
    }
    sent.with_context(|| format!("`{}` did not read its input", shown()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A tool's input, as the end of an error message about it.
fn quoted(input: &str) -> String {
    if input.is_empty() { String::new() } else { format!("; its input was:\n{input}") }
}
