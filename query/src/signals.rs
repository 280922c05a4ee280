//! Takes down what a query has made where a signal ends it.

use std::io;
use std::path::Path;

/// Removes a folder when SIGINT, SIGTERM or SIGHUP ends the program.
///
/// # Errors
///
/// When the signals cannot be waited for.
#[cfg(unix)]
pub(crate) fn remove_when_ended(folder: &Path) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    /// How often it is tried: the query may add a file while the folder is being emptied.
    const TRIES: u32 = 8;

    let (mut signals, folder) = (Signals::new([SIGINT, SIGTERM, SIGHUP])?, folder.to_owned());
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            (0..TRIES).any(|_| std::fs::remove_dir_all(&folder).is_ok());
            // It ends the program as the signal would have.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Elsewhere a folder for temporary files is the system's to clean.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub(crate) fn remove_when_ended(_: &Path) -> io::Result<()> {
    Ok(())
}
