//! Filter expressions of pcap-filter(7), over recorded headers, without libpcap.
//!
//! An expression means what it means to libpcap on an Ethernet device, and so to `ntrec`: the parser makes of it what
//! libpcap's code generator does, comparisons of numbers at offsets of a frame. As in libpcap, an expression that looks at
//! a byte that is not there does not fit, whatever stands around it.

mod evaluate;
mod lexer;
mod lower;
mod names;
mod packet;
mod parse;
mod rows;

pub use packet::{Flow, Packet};
pub use rows::Asked;

use packet::Frame;

/// Why a text is no filter expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub why: String,
    /// The character where it is, counted from 1.
    pub at: usize,
}

impl std::error::Error for Wrong {}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.why, self.at)
    }
}

/// An expression that was parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// What a frame is asked.
    test: Test,
    /// Whether it asks for VLAN tags: they are part of its frames' headers then; else the first is taken off.
    asks_vlan: bool,
}

impl Expression {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// When it is no expression, with the word and its place.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let asks_vlan = text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "vlan");
        Ok(Self { test: parse::parse(text)?, asks_vlan })
    }

    /// Whether a packet fits; with `inner` the packet in its tunnel.
    pub fn fits(&self, packet: &Packet<'_>, inner: bool) -> bool {
        let frame =
            if inner { Frame::inner(packet, self.asks_vlan) } else { Frame::outer(packet, self.asks_vlan) };
        frame.is_some_and(|frame| evaluate::fits(&self.test, &frame))
    }
}

/// What a frame is asked.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// The opposite.
    Not(Box<Test>),
    /// Tests from left to right: `and` and `or` have the same precedence.
    Chain(Box<Test>, Vec<(Joint, Test)>),
    /// A comparison of two numbers.
    Compare(Value, Relation, Value),
}

/// How tests are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    /// Both must fit.
    And,
    /// Either.
    Or,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A number of 32 bits.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    /// One that stands in the expression.
    Number(u32),
    /// The frame's length.
    Length,
    /// 1, 2 or 4 bytes of the frame, `index` behind `base`.
    Load {
        /// Where the header begins.
        base: u32,
        /// What is added to it.
        index: Box<Value>,
        /// Number of bytes.
        size: u32,
    },
    /// Calculated.
    Calculate(Box<Value>, Operator, Box<Value>),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
}

#[cfg(test)]
mod tests;
