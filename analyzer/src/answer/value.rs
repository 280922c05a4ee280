//! A row of a capture as plain data: the values that it has, by column.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};

/// Columns whose numbers are addresses of the kernel, hashes or keys, which people know by their hexadecimal digits.
const HEX: [&str; 6] = ["skb", "head", "sk", "payload_hash", "entry", "child"];

/// Whether numbers of a column are shown by their 16 hexadecimal digits.
pub fn is_hex(column: &str) -> bool {
    HEX.contains(&column)
}

/// A value that is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// A number that is shown by its 16 hexadecimal digits.
    Hex(u64),
    /// Text.
    Text(Cow<'a, str>),
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Hex(value) => write!(f, "{value:016x}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Hex(_) => serializer.collect_str(self),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The values of a row, in the order of the columns in FORMAT.md.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row<'a> {
    /// Columns and their values; columns without a value are left out.
    values: Vec<(&'static str, Value<'a>)>,
}

impl<'a> Row<'a> {
    /// Adds a number.
    pub fn put_number(&mut self, column: &'static str, value: impl Into<u64>) {
        let value = value.into();
        let value = if is_hex(column) { Value::Hex(value) } else { Value::Number(value) };
        self.values.push((column, value));
    }

    /// Adds a number that may be negative.
    pub fn put_signed(&mut self, column: &'static str, value: i64) {
        self.values.push((column, Value::Signed(value)));
    }

    /// Adds a text.
    pub fn put_text(&mut self, column: &'static str, text: impl Into<Cow<'a, str>>) {
        self.values.push((column, Value::Text(text.into())));
    }

    /// All values with their columns.
    pub fn values(&self) -> impl Iterator<Item = &(&'static str, Value<'a>)> {
        self.values.iter()
    }

    /// The value of a column.
    pub fn get(&self, column: &str) -> Option<&Value<'a>> {
        self.values.iter().find(|(name, _)| *name == column).map(|(_, value)| value)
    }

    /// The number in a column.
    pub fn number(&self, column: &str) -> Option<u64> {
        match self.get(column)? {
            Value::Number(value) | Value::Hex(value) => Some(*value),
            _ => None,
        }
    }

    /// The number that may be negative in a column.
    pub fn signed(&self, column: &str) -> Option<i64> {
        match self.get(column)? {
            Value::Signed(value) => Some(*value),
            _ => None,
        }
    }

    /// The text in a column.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values.iter().map(|(column, value)| (column, value)))
    }
}
