//! A network namespace as the command line names it.

use std::fmt::{self, Display};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::host::Namespace;

/// A network namespace that the user names.
#[derive(Clone, Debug)]
pub struct NetNs {
    /// As the user wrote it.
    text: String,
    /// Its inode.
    inode: u32,
    /// What leads to it, where the user said so.
    path: Option<PathBuf>,
}

impl NetNs {
    /// Its inode.
    pub fn inode(&self) -> u32 {
        self.inode
    }

    /// The namespace itself, if it can be reached.
    pub fn find(&self) -> Option<Namespace> {
        self.path.clone().map_or_else(|| Namespace::find(self.inode), Namespace::at)
    }
}

impl FromStr for NetNs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(inode) = text.parse() {
            return Ok(Self { text: text.to_owned(), inode, path: None });
        }
        let path = if text.contains('/') { PathBuf::from(text) } else { Path::new("/run/netns").join(text) };
        let found = std::fs::metadata(&path);
        let found = found.map_err(|e| format!("no network namespace at {}: {e}", path.display()))?;
        Ok(Self { text: text.to_owned(), inode: found.ino() as u32, path: Some(path) })
    }
}

impl Display for NetNs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
