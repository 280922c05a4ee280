//! The code that is made from the list of columns: their ids, and the row builder with a field for each.

use std::fmt::Write;

use crate::columns::{COLUMNS, Column, Type};

/// `ColumnId`, included by `src/columns.rs`.
pub fn ids() -> String {
    let (mut variants, mut all) = (String::new(), String::new());
    for column in COLUMNS {
        let name = variant(column);
        let _ = writeln!(variants, "    /// {}.\n    {name},", sentence(column));
        let _ = writeln!(all, "        Self::{name},");
    }
    let count = COLUMNS.len();
    format!(
        "/// A column, numbered by its position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ColumnId {{
{variants}}}

impl ColumnId {{
    /// All columns in file order.
    pub const ALL: [Self; {count}] = [
{all}    ];
}}
"
    )
}

/// `Rows`, included by `src/rows.rs`.
pub fn rows() -> String {
    let (mut fields, mut texts, mut arrays, mut puts) =
        (String::new(), String::new(), String::new(), String::new());
    for column in COLUMNS {
        let (name, id) = (column.name, variant(column));
        let _ = writeln!(fields, "    /// {}.\n    pub {name}: {},", sentence(column), field(column.kind));
        let _ = writeln!(arrays, "            self.{name}.{},", array(column.kind));
        let _ = writeln!(puts, "            ColumnId::{id} => self.{name}.{}(row, value),", put(column.kind));
        if column.kind == Type::Text {
            let _ = writeln!(texts, "            &mut self.{name},");
        }
    }
    format!(
        "/// Rows that are being filled, with a public field for each column of the schema.
#[derive(Debug, Default)]
pub struct Rows {{
    /// Rows begun.
    begun: usize,
    /// How often dictionaries were emptied.
    emptied: u64,
{fields}}}

impl Rows {{
    /// The columns of text.
    fn texts(&mut self) -> Vec<&mut Text> {{
        vec![
{texts}        ]
    }}

    /// Takes every column as an array of `n` rows, in the order of the file.
    #[allow(clippy::too_many_lines, reason = \"one line for each column\")]
    fn arrays(&mut self, n: usize) -> Result<Vec<ArrayRef>, ArrowError> {{
        Ok(vec![
{arrays}        ])
    }}

    /// Sets a value by the column's id; says whether it fits the column's type.
    #[allow(clippy::too_many_lines, reason = \"one line for each column\")]
    fn put_by_id(&mut self, row: usize, column: ColumnId, value: Value<'_>) -> Option<()> {{
        match column {{
{puts}        }}
    }}
}}
"
    )
}

/// A column's name as a variant: `tcp_seq` -> `TcpSeq`.
fn variant(column: &Column) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    column.name.split('_').map(capital).collect()
}

/// What a column means, for its documentation.
fn sentence(column: &Column) -> String {
    format!("`{}`: {}", column.name, column.doc)
}

/// The type of a column's field.
fn field(kind: Type) -> &'static str {
    match kind {
        Type::U8 => "Column<u8>",
        Type::U16 => "Column<u16>",
        Type::U32 => "Column<u32>",
        Type::U64 => "Column<u64>",
        Type::I64 => "Column<i64>",
        Type::Bool => "Column<bool>",
        Type::Text => "Text",
        Type::Bytes => "Bytes",
    }
}

/// The call that takes a column's field as an array.
fn array(kind: Type) -> &'static str {
    match kind {
        Type::U8 => "array::<UInt8Type>(Type::U8, n)",
        Type::U16 => "array::<UInt16Type>(Type::U16, n)",
        Type::U32 => "array::<UInt32Type>(Type::U32, n)",
        Type::U64 => "array::<UInt64Type>(Type::U64, n)",
        Type::I64 => "array::<Int64Type>(Type::I64, n)",
        Type::Bool => "bools(n)",
        Type::Text | Type::Bytes => "array(n)?",
    }
}

/// The method that puts a value of any type into a column's field.
fn put(kind: Type) -> &'static str {
    match kind {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I64 => "put_number",
        Type::Bool => "put_bool",
        Type::Text => "put_text",
        Type::Bytes => "put_bytes",
    }
}
