//! Takes down what a query has made where a signal ends it.

use std::io;
use std::path::Path;

/// Removes a folder or file when SIGINT, SIGTERM or SIGHUP ends the program.
///
/// # Errors
///
/// When the signals cannot be waited for.
#[cfg(unix)]
pub(crate) fn remove_when_ended(path: &Path) -> io::Result<()> {
    use std::path::PathBuf;
    use std::sync::{Mutex, PoisonError};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    /// How often it is tried: the query may add a file while a folder is being emptied.
    const TRIES: u32 = 8;
    /// What is removed.
    static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.push(path.to_owned());
    if left.len() > 1 {
        return Ok(());
    }
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for path in LEFT.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let remove = || std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
                (0..TRIES).any(|_| remove().is_ok());
            }
            // It ends the program as the signal would have.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Elsewhere temporary files are the system's to clean.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub(crate) fn remove_when_ended(_: &Path) -> io::Result<()> {
    Ok(())
}
