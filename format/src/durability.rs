//! What makes a capture survive a crash: checkpoints behind each row group, a journal beside the file, and finding both
//! again.

pub(crate) mod checkpoint;
pub(crate) mod disk;
#[cfg(test)]
mod forged;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod scan;
