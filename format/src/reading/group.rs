//! What is known of a row group before it is read, whoever wrote it.

/// A row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its rows.
    pub rows: u64,
    /// Number of its first row in the capture.
    pub first_row: u64,
    /// Least time among its rows.
    pub first_ts: u64,
    /// Greatest time among its rows.
    pub last_ts: u64,
    /// Whether it stands in the journal.
    pub journal: bool,
}
