//! Columns as other programs type them -> the types of the schema, where nothing is lost.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;

use crate::schema::{self, Type};

/// From here on two whole numbers may be the same float: 2^53.
const ROUNDED: f64 = 9_007_199_254_740_992.0;

/// Whether a column's values may be read from one of another type.
pub fn is_possible(from: &DataType, to: Type) -> bool {
    match to {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I64 => {
            from.is_integer() || matches!(from, DataType::Decimal128(_, 0) | DataType::Float64)
        }
        Type::Text => *from == DataType::Utf8,
        Type::Bool | Type::Bytes => *from == schema::data_type(to),
    }
}

/// A column in a type of the schema; the error says which value it has that does not fit.
pub fn array(from: &ArrayRef, to: Type) -> Result<ArrayRef, String> {
    if *from.data_type() == schema::data_type(to) {
        return Ok(from.clone());
    }
    match to {
        Type::U8 => numbers::<UInt8Type>(from, to),
        Type::U16 => numbers::<UInt16Type>(from, to),
        Type::U32 => numbers::<UInt32Type>(from, to),
        Type::U64 => numbers::<UInt64Type>(from, to),
        Type::I64 => numbers::<Int64Type>(from, to),
        Type::Bool | Type::Text | Type::Bytes => Err(format!("values of the type {}", from.data_type())),
    }
}

/// Numbers of any type as numbers of one.
fn numbers<A: ArrowPrimitiveType>(from: &ArrayRef, to: Type) -> Result<ArrayRef, String>
where
    A::Native: TryFrom<i128>,
{
    match from.data_type() {
        DataType::Int8 => each::<Int8Type, A>(from, to),
        DataType::Int16 => each::<Int16Type, A>(from, to),
        DataType::Int32 => each::<Int32Type, A>(from, to),
        DataType::Int64 => each::<Int64Type, A>(from, to),
        DataType::UInt8 => each::<UInt8Type, A>(from, to),
        DataType::UInt16 => each::<UInt16Type, A>(from, to),
        DataType::UInt32 => each::<UInt32Type, A>(from, to),
        DataType::UInt64 => each::<UInt64Type, A>(from, to),
        DataType::Decimal128(_, 0) => each::<Decimal128Type, A>(from, to),
        DataType::Float64 => floats::<A>(from, to),
        other => Err(format!("values of the type {other}")),
    }
}

/// Numbers of one type as numbers of another.
fn each<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(from: &ArrayRef, to: Type) -> Result<ArrayRef, String>
where
    A::Native: Into<i128>,
    B::Native: TryFrom<i128>,
{
    let numbers =
        from.as_primitive::<A>().iter().map(|value| value.map(|n| fitting(n.into(), to)).transpose());
    Ok(Arc::new(numbers.collect::<Result<PrimitiveArray<B>, String>>()?))
}

/// Whole numbers that were written as floats, as pandas does with those that may be null; NaN stands for null there.
fn floats<B: ArrowPrimitiveType>(from: &ArrayRef, to: Type) -> Result<ArrayRef, String>
where
    B::Native: TryFrom<i128>,
{
    let number = |float: f64| match float {
        rounded if rounded.abs() >= ROUNDED => Err(format!(
            "the value {rounded} as Float64, which may have been rounded: write it anew as a whole number (pandas: \
             dtype_backend='pyarrow')"
        )),
        whole if whole.fract() == 0.0 => fitting(whole as i128, to),
        other => Err(unfit(other, to)),
    };
    let values = from.as_primitive::<Float64Type>().iter().map(|value| value.filter(|float| !float.is_nan()));
    let numbers = values.map(|value| value.map(number).transpose());
    Ok(Arc::new(numbers.collect::<Result<PrimitiveArray<B>, String>>()?))
}

/// A number in the type of the schema.
fn fitting<N: TryFrom<i128>>(number: i128, to: Type) -> Result<N, String> {
    N::try_from(number).map_err(|_| unfit(number, to))
}

/// Which value does not fit.
fn unfit(value: impl Display, to: Type) -> String {
    format!("the value {value}, which no {} can be", to.name())
}
