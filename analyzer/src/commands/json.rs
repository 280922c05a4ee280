//! JSON documents that are written piece by piece: `{"captures":[{"head":{},"lives":[..]}, ..]}`.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::source::Head;

/// A document with one object for each capture.
pub struct Document<'a> {
    /// Where it goes.
    out: &'a mut dyn Write,
    /// Objects so far.
    captures: usize,
    /// Items of the open list so far.
    items: usize,
}

impl<'a> Document<'a> {
    /// Begins the document.
    pub fn begin(out: &'a mut dyn Write) -> Result<Self> {
        write!(out, "{{\"captures\":[")?;
        Ok(Self { out, captures: 0, items: 0 })
    }

    /// Adds a whole object.
    pub fn capture(&mut self, value: &impl Serialize) -> Result<()> {
        self.separate()?;
        Ok(serde_json::to_writer(&mut *self.out, value)?)
    }

    /// Begins an object with a head and a list.
    pub fn begin_list(&mut self, head: &Head, name: &str) -> Result<()> {
        self.separate()?;
        self.items = 0;
        write!(self.out, "{{\"head\":")?;
        serde_json::to_writer(&mut *self.out, head)?;
        Ok(write!(self.out, ",\"{name}\":[")?)
    }

    /// Adds an item to the open list.
    pub fn item(&mut self, value: &impl Serialize) -> Result<()> {
        let separator = if self.items == 0 { "\n" } else { ",\n" };
        self.items += 1;
        self.out.write_all(separator.as_bytes())?;
        Ok(serde_json::to_writer(&mut *self.out, value)?)
    }

    /// Ends the open list and its object.
    pub fn end_list(&mut self) -> Result<()> {
        Ok(write!(self.out, "\n]}}")?)
    }

    /// Ends the document, with one more member.
    pub fn end(self, name: &str, value: &impl Serialize) -> Result<()> {
        write!(self.out, "],\"{name}\":")?;
        serde_json::to_writer(&mut *self.out, value)?;
        Ok(writeln!(self.out, "}}")?)
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
