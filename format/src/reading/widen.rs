//! Columns as other programs type them -> the types of the schema, where nothing is lost.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;

use crate::schema::{self, Type};

/// Whether a column's values may be read from one of another type.
pub fn is_possible(from: &DataType, to: Type) -> bool {
    match to {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I64 => {
            from.is_integer() || matches!(from, DataType::Decimal128(_, 0))
        }
        Type::Text => *from == DataType::Utf8,
        Type::Bool | Type::Bytes => *from == schema::data_type(to),
    }
}

/// A column in a type of the schema; a value that does not fit is the error.
pub fn array(from: &ArrayRef, to: Type) -> Result<ArrayRef, String> {
    if *from.data_type() == schema::data_type(to) {
        return Ok(from.clone());
    }
    match to {
        Type::U8 => numbers::<UInt8Type>(from),
        Type::U16 => numbers::<UInt16Type>(from),
        Type::U32 => numbers::<UInt32Type>(from),
        Type::U64 => numbers::<UInt64Type>(from),
        Type::I64 => numbers::<Int64Type>(from),
        Type::Bool | Type::Text | Type::Bytes => Err(format!("of type {}", from.data_type())),
    }
}

/// Numbers of any type as numbers of one.
fn numbers<A: ArrowPrimitiveType>(from: &ArrayRef) -> Result<ArrayRef, String>
where
    A::Native: TryFrom<i128>,
{
    match from.data_type() {
        DataType::Int8 => each::<Int8Type, A>(from),
        DataType::Int16 => each::<Int16Type, A>(from),
        DataType::Int32 => each::<Int32Type, A>(from),
        DataType::Int64 => each::<Int64Type, A>(from),
        DataType::UInt8 => each::<UInt8Type, A>(from),
        DataType::UInt16 => each::<UInt16Type, A>(from),
        DataType::UInt32 => each::<UInt32Type, A>(from),
        DataType::UInt64 => each::<UInt64Type, A>(from),
        DataType::Decimal128(_, 0) => each::<Decimal128Type, A>(from),
        other => Err(format!("of type {other}")),
    }
}

/// Numbers of one type as numbers of another.
fn each<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(from: &ArrayRef) -> Result<ArrayRef, String>
where
    A::Native: Into<i128>,
    B::Native: TryFrom<i128>,
{
    let number = |number: A::Native| {
        let number: i128 = number.into();
        B::Native::try_from(number).map_err(|_| number.to_string())
    };
    let numbers = from.as_primitive::<A>().iter().map(|value| value.map(number).transpose());
    Ok(Arc::new(numbers.collect::<Result<PrimitiveArray<B>, String>>()?))
}
