//! Lets the kernel detach after we have ended.
//!
//! For each trampoline and each kprobe the kernel waits until no CPU can be in it any more: tens of milliseconds, one
//! after the other, hundreds of them. Nobody should wait for that with a finished capture before him. So a child of
//! ours keeps the descriptors for that long; the programs behind them are silent by then.

use std::io::Read;
use std::io::pipe;

/// Attachments that are worth a child.
const MANY: usize = 64;

/// Makes closing the descriptors quick for us, where there are many of them.
///
/// The child waits for our end, then ends too, and the kernel closes what it holds.
pub fn hand_over(attachments: usize) {
    let Some((mut reader, writer)) = (attachments >= MANY).then(|| pipe().ok()).flatten() else { return };
    // SAFETY: the other threads have ended; the child calls nothing but system calls.
    match unsafe { libc::fork() } {
        0 => {
            drop(writer);
            // Whoever reads our output is not kept waiting.
            // SAFETY: closes descriptors that nothing uses any more.
            (0..3).for_each(|fd| _ = unsafe { libc::close(fd) });
            let _ = reader.read(&mut [0]);
            // SAFETY: ends the child without running anything that belongs to its parent.
            unsafe { libc::_exit(0) }
        }
        // The writing end stays open until we end: that is what the child waits for.
        _ => std::mem::forget(writer),
    }
}
