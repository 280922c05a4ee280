//! JSON documents that are written piece by piece:
//! `{"captures":[{"head":{},"lives":[..]}, ..],"totals":{}}`, or `{"captures":[..],"events":[..],"totals":{}}`.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

/// A document with one object for each capture.
pub(super) struct Document<'a> {
    /// Where it goes.
    out: &'a mut dyn Write,
    /// Objects so far.
    captures: usize,
    /// Items of the open list so far.
    items: usize,
    /// Whether the captures have ended.
    common: bool,
}

impl<'a> Document<'a> {
    /// Begins the document.
    pub fn begin(out: &'a mut dyn Write) -> Result<Self> {
        write!(out, "{{\"captures\":[")?;
        Ok(Self { out, captures: 0, items: 0, common: false })
    }

    /// Adds a whole object.
    pub fn capture(&mut self, value: &impl Serialize) -> Result<()> {
        self.separate()?;
        self.write(value)
    }

    /// Begins an object that goes on with a list: a head, and the list.
    pub fn begin_list(&mut self, head: &impl Serialize, name: &str) -> Result<()> {
        self.separate()?;
        let mut object = serde_json::to_vec(head)?;
        object.pop();
        self.out.write_all(&object)?;
        self.open(name)
    }

    /// Ends the captures and begins a list about all of them.
    pub fn begin_common_list(&mut self, name: &str) -> Result<()> {
        self.common = true;
        write!(self.out, "]")?;
        self.open(name)
    }

    /// Begins a list as a further member.
    fn open(&mut self, name: &str) -> Result<()> {
        self.items = 0;
        Ok(write!(self.out, ",\"{name}\":[")?)
    }

    /// Adds an item to the open list.
    pub fn item(&mut self, value: &impl Serialize) -> Result<()> {
        let separator = if self.items == 0 { "\n" } else { ",\n" };
        self.items += 1;
        self.out.write_all(separator.as_bytes())?;
        self.write(value)
    }

    /// Ends the open list of a capture, and its object.
    pub fn end_list(&mut self) -> Result<()> {
        Ok(write!(self.out, "\n]}}")?)
    }

    /// Ends the document with what all captures have together.
    pub fn end(mut self, totals: &impl Serialize) -> Result<()> {
        write!(self.out, "{}],\"totals\":", if self.common { "\n" } else { "" })?;
        self.write(totals)?;
        Ok(writeln!(self.out, "}}")?)
    }

    /// Writes a value.
    fn write(&mut self, value: &impl Serialize) -> Result<()> {
        Ok(serde_json::to_writer(&mut *self.out, value)?)
    }

    /// Writes what stands between two objects.
    fn separate(&mut self) -> Result<()> {
        if self.captures > 0 {
            writeln!(self.out, ",")?;
        }
        self.captures += 1;
        Ok(())
    }
}
