//! A test, asked of a frame.

use super::packet::Frame;
use super::{Joint, Operator, Relation, Test, Value};

/// Whether a frame fits.
pub fn fits(test: &Test, frame: &Frame<'_>) -> bool {
    ask(test, frame) == Some(true)
}

/// Whether a test is true; none where it looks at what is not there: then the whole expression does not fit.
fn ask(test: &Test, frame: &Frame<'_>) -> Option<bool> {
    match test {
        Test::Not(test) => Some(!ask(test, frame)?),
        Test::Chain(first, rest) => {
            let first = ask(first, frame)?;
            rest.iter().try_fold(first, |so_far, (joint, test)| match (joint, so_far) {
                (Joint::And, true) | (Joint::Or, false) => ask(test, frame),
                _ => Some(so_far),
            })
        }
        Test::Compare(left, relation, right) => {
            Some(compare(value(left, frame)?, *relation, value(right, frame)?))
        }
    }
}

/// Compares without a sign.
fn compare(left: u32, relation: Relation, right: u32) -> bool {
    match relation {
        Relation::Equal => left == right,
        Relation::NotEqual => left != right,
        Relation::Less => left < right,
        Relation::AtMost => left <= right,
        Relation::Greater => left > right,
        Relation::AtLeast => left >= right,
    }
}

/// A value; none where it looks at what is not there, or divides by zero.
fn value(value_of: &Value, frame: &Frame<'_>) -> Option<u32> {
    match value_of {
        Value::Number(number) => Some(*number),
        Value::Length => frame.len(),
        Value::Load { base, index, size } => {
            frame.load(u64::from(value(index, frame)?) + u64::from(*base), *size)
        }
        Value::Calculate(left, operator, right) => {
            calculate(value(left, frame)?, *operator, value(right, frame)?)
        }
    }
}

/// Calculates as classic BPF does.
fn calculate(left: u32, operator: Operator, right: u32) -> Option<u32> {
    Some(match operator {
        Operator::Add => left.wrapping_add(right),
        Operator::Subtract => left.wrapping_sub(right),
        Operator::Multiply => left.wrapping_mul(right),
        Operator::Divide => left.checked_div(right)?,
        Operator::Modulo => left.checked_rem(right)?,
        Operator::And => left & right,
        Operator::Or => left | right,
        Operator::Xor => left ^ right,
        Operator::ShiftLeft => left.checked_shl(right).unwrap_or(0),
        Operator::ShiftRight => left.checked_shr(right).unwrap_or(0),
    })
}
