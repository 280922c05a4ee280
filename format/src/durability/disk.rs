//! Files: created so that only their owner reads them, with room reserved beyond their end.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::Error;

/// Creates a file; an existing one is an error.
pub fn create(path: &Path) -> Result<File, Error> {
    let file = options().open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::io(path, "creating it", e),
    })?;
    regular(&file).map_err(|e| Error::io(path, "creating it", e))?;
    Ok(file)
}

/// How files are created.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Refuses devices and pipes: what was written could not be read again for the footer.
fn regular(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// Whether an error says that no room is left, on the disk or in the user's quota.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Reserves `len` bytes beyond `from` without changing the file's size, and says whether there is room.
///
/// Where the file system cannot do that, free space is all that can be asked for.
#[cfg(target_os = "linux")]
pub fn reserve(file: &File, from: u64, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if len == 0 {
        return Ok(true);
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, from, len) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(free(file)? >= len),
        Err(error) if is_full(&error.into()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Bytes that are free on the file's disk.
#[cfg(target_os = "linux")]
pub fn free(file: &File) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(file)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Elsewhere nothing is recorded, only repaired and redacted: no room is reserved.
#[cfg(not(target_os = "linux"))]
pub fn reserve(_file: &File, _from: u64, _len: u64) -> io::Result<bool> {
    Ok(true)
}

/// Bytes that are free on the file's disk: not asked for where nothing is reserved.
#[cfg(not(target_os = "linux"))]
pub fn free(_file: &File) -> io::Result<u64> {
    Ok(0)
}

/// Gives back what was reserved beyond `len`, the file's size.
///
/// Setting the size that it has already frees nothing on some file systems, hence the detour.
pub fn release(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len + 1)?;
    file.set_len(len)
}

/// Makes the name of a new file last through a power cut.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Only Unix lets a folder be opened as a file.
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}
