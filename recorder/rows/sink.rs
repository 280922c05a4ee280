//! The thread that writes the file, so that encoding and disk do not hold up the reading of the buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use arrow_array::RecordBatch;
use ntc::{Finished, Metadata, Writer};

/// Batches on their way to the writer. When it falls behind, the reader waits, and loss is counted in the kernel.
const QUEUE: usize = 4;
/// How often the writer journals when nothing comes.
const TICK: Duration = Duration::from_millis(100);

/// What goes to the writing thread.
enum Message {
    /// Rows to write.
    Rows(RecordBatch),
    /// The metadata as it is now; it goes into the next checkpoint.
    Metadata(Box<Metadata>),
}

/// What the writing thread says while it runs.
#[derive(Default)]
pub struct Progress {
    /// Bytes in the file.
    pub bytes: AtomicU64,
    /// The disk is full, or writing failed: time to stop.
    pub must_stop: AtomicBool,
}

/// The writing end of a capture.
pub struct Sink {
    /// To the thread.
    queue: SyncSender<Message>,
    /// From the thread.
    progress: Arc<Progress>,
    /// The thread, which returns how the file ended.
    thread: JoinHandle<Result<Ended>>,
}

/// How the file ended.
pub struct Ended {
    /// Rows and bytes.
    pub finished: Finished,
    /// Why it had to end early: the disk was full. Everything up to then is in the file.
    pub cut_short: Option<String>,
}

impl Sink {
    /// Starts the thread.
    pub fn start(writer: Writer) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        let progress = Arc::new(Progress::default());
        let shared = progress.clone();
        let thread = thread::spawn(move || {
            let ended = run(writer, &messages, &shared);
            if ended.is_err() {
                shared.must_stop.store(true, Ordering::Relaxed);
            }
            ended
        });
        Self { queue, progress, thread }
    }

    /// What the thread says.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Hands rows over; waits while the writer is behind. If the thread has failed, [`Sink::finish`] says why.
    pub fn rows(&self, batch: RecordBatch) {
        let _ = self.queue.send(Message::Rows(batch));
    }

    /// Hands the newest metadata over.
    pub fn metadata(&self, metadata: Metadata) {
        let _ = self.queue.send(Message::Metadata(Box::new(metadata)));
    }

    /// Ends the file and returns how it went.
    pub fn finish(self) -> Result<Ended> {
        drop(self.queue);
        self.thread.join().map_err(|_| anyhow!("the writing thread failed"))?
    }
}

/// Writes what comes until the queue is closed.
fn run(mut writer: Writer, messages: &Receiver<Message>, progress: &Progress) -> Result<Ended> {
    let mut cut_short = None;
    loop {
        let result = match messages.recv_timeout(TICK) {
            Ok(Message::Rows(batch)) => writer.write(&batch).and_then(|()| writer.tick()),
            Ok(Message::Metadata(metadata)) => {
                let rows = writer.rows();
                *writer.metadata_mut() = *metadata;
                writer.metadata_mut().totals.rows = rows;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => writer.tick(),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        progress.bytes.store(writer.bytes(), Ordering::Relaxed);
        match result {
            Err(error) if error.is_full() => {
                cut_short = Some(error.to_string());
                progress.must_stop.store(true, Ordering::Relaxed);
            }
            other => other.context("cannot write the capture")?,
        }
    }
    let finished = writer.finish().context("cannot end the capture")?;
    Ok(Ended { finished, cut_short })
}
