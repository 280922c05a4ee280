//! The rows of a result as text, JSON, CSV or Parquet.

use std::io::Write;
use std::num::NonZeroUsize;

use anyhow::Result;
use ntana::answer::{Answer, Headed, Labels, Output, Table};
use ntana::args::{Format, QueryFormat};
use ntana::numbers::counted;
use ntana::source::Source;
use polars::prelude::{DataFrame, LazyFrame, ParquetWriter, SchemaRef};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::run;
use crate::statement::Statement;
use crate::value::Value;

/// Rows that are shown at once.
const SHOWN: NonZeroUsize = NonZeroUsize::new(4 << 10).unwrap();
/// Rows of a row group of Parquet.
const GROUP: NonZeroUsize = NonZeroUsize::new(128 << 10).unwrap();
/// The widest column of the text that makes room for all its values.
const WIDEST: usize = 48;

/// A query that is going to be answered.
pub(crate) struct Answering<'a> {
    /// What is asked.
    pub(crate) statement: &'a Statement<'a>,
    /// The captures that are asked.
    pub(crate) sources: &'a [Source],
    /// What computes the answer.
    pub(crate) frame: LazyFrame,
    /// Its columns.
    pub(crate) schema: SchemaRef,
}

/// What all rows have together.
#[derive(Debug, Serialize)]
struct Totals {
    /// Captures.
    captures: u64,
    /// Rows.
    rows: u64,
}

impl Answering<'_> {
    /// Computes the answer and writes it.
    pub(crate) fn write(self, format: QueryFormat, out: &mut dyn Write) -> Result<()> {
        match format {
            QueryFormat::Text => self.rows(Format::Text, out),
            QueryFormat::Json => self.rows(Format::Json, out),
            QueryFormat::Csv => self.rows(Format::Csv, out),
            QueryFormat::Parquet => self.parquet(out),
        }
    }

    /// Writes rows one by one.
    fn rows(self, format: Format, out: &mut dyn Write) -> Result<()> {
        let names: Vec<&str> = self.schema.iter_names().map(|name| name.as_str()).collect();
        let mut output = Output::begin(format, &names, out)?;
        for source in self.sources {
            output.capture(&Headed { head: source.head() }, &source.labels())?;
        }
        output.begin_common_list("rows")?;
        let labels = Labels::of_file("");
        let (mut rows, mut layout) = (0, None);
        run::for_each(self.frame, self.statement, SHOWN, |batch| {
            let values = values(&names, &batch)?;
            let is_first = layout.is_none();
            let layout = layout.get_or_insert_with(|| Layout::of(&names, &values));
            if is_first {
                output.remark(&layout.line(&names))?;
            }
            rows += values.len() as u64;
            values
                .iter()
                .try_for_each(|values| output.item(&RowAnswer { names: &names, values, layout }, &labels))
        })?;
        output.remark(&counted(rows, "row"))?;
        let captures = self.sources.len() as u64;
        let line = format!("{} of {}", counted(rows, "row"), counted(captures, "capture"));
        output.finish(&Totals { captures, rows }, &line)
    }

    /// Writes rows as Parquet.
    fn parquet(self, out: &mut dyn Write) -> Result<()> {
        let mut writer = ParquetWriter::new(out).batched(&self.schema)?;
        run::for_each(self.frame, self.statement, GROUP, |mut batch| {
            batch.rechunk_mut();
            Ok(writer.write_batch(&batch)?)
        })?;
        writer.finish()?;
        Ok(())
    }
}

/// The values of a batch, row by row.
fn values(names: &[&str], batch: &DataFrame) -> Result<Vec<Vec<Value>>> {
    let row = |row: usize| {
        let columns = names.iter().zip(batch.columns());
        columns.map(|(name, column)| Ok(Value::of(name, &column.get(row)?))).collect()
    };
    (0..batch.height()).map(row).collect()
}

/// Widths of the columns of the text, by the first rows, and which of them are numbers.
struct Layout(Vec<(usize, bool)>);

impl Layout {
    /// Makes room for some rows.
    fn of(names: &[&str], rows: &[Vec<Value>]) -> Self {
        let column = |(at, name): (usize, &&str)| {
            let values = || rows.iter().filter_map(|row| row.get(at));
            let width = |value: &Value| value.to_string().chars().count();
            let widest = values().map(width).chain([name.chars().count(), 1]).max().unwrap_or(1);
            (widest.min(WIDEST), values().any(Value::is_number))
        };
        Self(names.iter().enumerate().map(column).collect())
    }

    /// A line of cells.
    fn line(&self, cells: &[impl AsRef<str>]) -> String {
        let cell = |((width, is_number), text): (&(usize, bool), &_)| {
            let text = AsRef::<str>::as_ref(text);
            if *is_number { format!("{text:>width$}") } else { format!("{text:<width$}") }
        };
        let cells: Vec<String> = self.0.iter().zip(cells).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    }
}

/// A row of the result.
struct RowAnswer<'a> {
    /// Names of its columns.
    names: &'a [&'a str],
    /// Their values.
    values: &'a [Value],
    /// How they are laid out for people.
    layout: &'a Layout,
}

impl Serialize for RowAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        self.names.iter().zip(self.values).try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Answer for RowAnswer<'_> {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        let shown = |value: &Value| if *value == Value::Null { "-".to_owned() } else { value.to_string() };
        let cells: Vec<String> = self.values.iter().map(shown).collect();
        Ok(writeln!(out, "{}", self.layout.line(&cells))?)
    }

    fn records(&self, _: &Labels, table: &mut Table<'_>) -> Result<()> {
        table.record(self.values.iter().map(ToString::to_string))
    }
}
