//! Tables of comma-separated values (RFC 4180): a line of names, then records.

use std::io::{self, Write};

use anyhow::Result;

/// A table that is being written.
pub struct Table<'a> {
    /// What quotes and separates.
    writer: csv::Writer<&'a mut dyn Write>,
}

impl<'a> Table<'a> {
    /// Begins a table.
    pub fn begin(columns: &[&str], out: &'a mut dyn Write) -> Result<Self> {
        let mut table = Self { writer: csv::Writer::from_writer(out) };
        table.record(columns)?;
        Ok(table)
    }

    /// Adds a record. It must have as many fields as the table has columns.
    pub fn record(&mut self, fields: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        fields.into_iter().try_for_each(|field| self.field(field.as_ref()))?;
        self.end_record()
    }

    /// Adds a field to a record that [`Self::end_record`] ends.
    pub fn field(&mut self, text: &str) -> Result<()> {
        Ok(self.writer.write_field(text).map_err(unwrapped)?)
    }

    /// Ends a record.
    pub fn end_record(&mut self) -> Result<()> {
        Ok(self.writer.write_record(None::<&[u8]>).map_err(unwrapped)?)
    }

    /// Ends the table.
    pub fn end(mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

/// The error of the operating system, so that a closed pipe is told from others.
fn unwrapped(error: csv::Error) -> io::Error {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other(text),
    }
}

/// A number, or nothing.
pub fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}
