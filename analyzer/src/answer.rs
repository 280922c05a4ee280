//! Answers: plain data, and the one place that shows them as text, JSON or CSV.
//!
//! A command computes values that hold nothing of the capture any more; each is an [`Answer`], and [`Output`] writes
//! them in the form that was asked for, as they come.
//!
//! | form | what it is |
//! |---|---|
//! | text | for people: a head for each capture, and what the answer's own `text` says |
//! | JSON | one document: `{"captures":[{..}, ..], "totals":{..}}`; keys are the names of FORMAT.md's columns where they are columns, absent or null where there is no value |
//! | CSV | a line of names, and a record for each row of the answer; empty where there is no value |

mod event;
mod head;
mod json;
mod labels;
mod life;
pub(crate) mod render;
mod rule;
mod table;
mod value;

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

pub use event::{EventAnswer, Style};
pub use head::{Head, Headed, NotAttached};
pub use labels::Labels;
pub use life::{Device, Ending, LifeAnswer, Origin};
pub use rule::Rule;
pub use table::{Table, optional};
pub use value::{Row, Value, is_hex};

use crate::args::Format;
use json::Document;

/// A part of an answer, as plain data.
pub trait Answer: Serialize {
    /// Writes it for people.
    fn text(&self, labels: &Labels, out: &mut dyn Write) -> Result<()>;

    /// Adds its records to a table.
    fn records(&self, labels: &Labels, table: &mut Table<'_>) -> Result<()>;
}

/// Where an answer goes, in the form that was asked for.
pub struct Output<'a> {
    /// The form, and what it needs.
    form: Form<'a>,
    /// Captures so far.
    captures: u64,
}

/// A form of answers.
enum Form<'a> {
    /// For people.
    Text(&'a mut dyn Write),
    /// For programs.
    Json(Document<'a>),
    /// For spreadsheets.
    Csv(Box<Table<'a>>),
}

impl<'a> Output<'a> {
    /// Begins an answer. `columns` are the names of the columns of CSV.
    pub fn begin(format: Format, columns: &[&str], out: &'a mut dyn Write) -> Result<Self> {
        let form = match format {
            Format::Text => Form::Text(out),
            Format::Json => Form::Json(Document::begin(out)?),
            Format::Csv => Form::Csv(Box::new(Table::begin(columns, out)?)),
        };
        Ok(Self { form, captures: 0 })
    }

    /// Adds the answer about a capture.
    pub fn capture(&mut self, answer: &impl Answer, labels: &Labels) -> Result<()> {
        self.captures += 1;
        match &mut self.form {
            Form::Text(out) => {
                separate(self.captures, *out)?;
                answer.text(labels, *out)
            }
            Form::Json(document) => document.capture(answer),
            Form::Csv(table) => answer.records(labels, table),
        }
    }

    /// Begins the answer about a capture that is a long list: `head`, then [items](Self::item) under `name`, then
    /// [`Self::end_list`], even after an error.
    pub fn begin_list(&mut self, head: &impl Answer, labels: &Labels, name: &str) -> Result<()> {
        match &mut self.form {
            Form::Json(document) => document.begin_list(head, name),
            _ => self.capture(head, labels),
        }
    }

    /// Ends the captures, and begins a list about all of them, with [items](Self::item) under `name`.
    pub fn begin_common_list(&mut self, name: &str) -> Result<()> {
        match &mut self.form {
            Form::Json(document) => document.begin_common_list(name),
            _ => Ok(()),
        }
    }

    /// Adds an item to the list.
    pub fn item(&mut self, item: &impl Answer, labels: &Labels) -> Result<()> {
        match &mut self.form {
            Form::Text(out) => item.text(labels, *out),
            Form::Json(document) => document.item(item),
            Form::Csv(table) => item.records(labels, table),
        }
    }

    /// Adds a line for people.
    pub fn remark(&mut self, line: &str) -> Result<()> {
        match &mut self.form {
            Form::Text(out) => Ok(writeln!(out, "{line}")?),
            Form::Json(_) | Form::Csv(_) => Ok(()),
        }
    }

    /// Ends the list of a capture; `line` says how long it was, for people.
    pub fn end_list(&mut self, line: &str) -> Result<()> {
        match &mut self.form {
            Form::Text(out) if !line.is_empty() => Ok(writeln!(out, "{line}")?),
            Form::Json(document) => document.end_list(),
            Form::Text(_) | Form::Csv(_) => Ok(()),
        }
    }

    /// Ends the answer with what all captures have together; `line` says it for people, where there are several.
    pub fn finish(self, totals: &impl Serialize, line: &str) -> Result<()> {
        match self.form {
            Form::Text(out) if self.captures > 1 => Ok(writeln!(out, "\nall: {line}")?),
            Form::Text(_) => Ok(()),
            Form::Json(document) => document.end(totals),
            Form::Csv(table) => table.end(),
        }
    }
}

/// Writes an empty line between captures.
fn separate(captures: u64, out: &mut dyn Write) -> Result<()> {
    if captures > 1 {
        writeln!(out)?;
    }
    Ok(())
}
