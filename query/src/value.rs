//! Values of a result as plain data.

use std::fmt::{self, Display, Formatter, Write};

use ntana::answer::is_hex;
use polars::prelude::AnyValue;
use serde::{Serialize, Serializer};

/// A value of a result, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// None.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Signed(i64),
    /// A number that is not negative.
    Unsigned(u64),
    /// A number with a fraction.
    Float(f64),
    /// A text, or anything else as text.
    Text(String),
}

impl Value {
    /// A value of a column.
    pub(crate) fn of(column: &str, value: &AnyValue<'_>) -> Self {
        match value {
            AnyValue::Null => Self::Null,
            AnyValue::Boolean(truth) => Self::Bool(*truth),
            AnyValue::UInt64(number) if is_hex(column) => Self::Text(format!("{number:016x}")),
            AnyValue::String(text) => Self::Text((*text).to_owned()),
            AnyValue::StringOwned(text) => Self::Text(text.to_string()),
            AnyValue::Binary(bytes) => Self::Text(hex(bytes)),
            AnyValue::BinaryOwned(bytes) => Self::Text(hex(bytes)),
            AnyValue::Float32(number) => Self::Float(f64::from(*number)),
            AnyValue::Float64(number) => Self::Float(*number),
            other => Self::number(other).unwrap_or_else(|| Self::Text(other.to_string())),
        }
    }

    /// A whole number.
    fn number(value: &AnyValue<'_>) -> Option<Self> {
        if !value.is_integer() {
            return None;
        }
        let signed = value.extract::<i64>().map(Self::Signed);
        signed.or_else(|| value.extract::<u64>().map(Self::Unsigned))
    }

    /// Whether it is a number, which people compare from the right.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Signed(_) | Self::Unsigned(_) | Self::Float(_))
    }
}

/// Bytes by their hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Nothing where there is no value.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(truth) => truth.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}
