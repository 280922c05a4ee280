//! What shows an answer's numbers: the capture's file, host, namespaces and clock.

use std::collections::BTreeMap;

use ntc::Metadata;

use crate::args::TimeStyle;
use crate::times::Times;

/// How the numbers of one capture's answers are shown.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The file, as the user wrote it.
    pub file: String,
    /// The host; the file where the capture does not name one.
    pub host: String,
    /// Names of network namespaces by inode.
    pub netns: BTreeMap<u32, String>,
    /// Its clock.
    pub times: Times,
}

impl Labels {
    /// Labels of an answer that is about a file, not what is in it.
    pub fn of_file(file: &str) -> Self {
        let times = Times::new(&Metadata::default(), 0, TimeStyle::Mono);
        Self { file: file.to_owned(), host: file.to_owned(), netns: BTreeMap::new(), times }
    }

    /// The name of a namespace, or its inode.
    pub fn netns(&self, inode: u32) -> String {
        self.netns.get(&inode).cloned().unwrap_or_else(|| inode.to_string())
    }

    /// A device with its namespace: `eth0 (netns web)`.
    pub fn device(&self, dev: Option<&str>, netns: Option<u32>) -> String {
        let dev = dev.unwrap_or("-");
        match netns {
            None => dev.to_owned(),
            Some(inode) => format!("{dev} (netns {})", self.netns(inode)),
        }
    }
}
