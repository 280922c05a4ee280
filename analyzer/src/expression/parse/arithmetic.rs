//! Numbers: bytes of headers, arithmetic, comparisons.

use super::{Operand, Parser};
use crate::expression::lexer::Token;
use crate::expression::lower::all;
use crate::expression::names::{self, Protocol};
use crate::expression::{Operator, Relation, Test, Value, Wrong};

/// How many operators arithmetic may have: each nests the ones before it.
const MOST_OPERATORS: usize = 128;
/// How tightly a minus before a number binds: more than all but `%` and `^`.
const UNARY: u8 = 15;

/// A number with what must hold so that there is one.
pub(super) struct Arithmetic {
    /// The number.
    pub(super) value: Value,
    /// Protocols whose headers are looked at.
    checks: Vec<Test>,
    /// Operators in it.
    operators: usize,
}

impl Arithmetic {
    /// A number that hangs on nothing.
    fn plain(value: Value) -> Self {
        Self { value, checks: Vec::new(), operators: 0 }
    }
}

impl Parser {
    /// A comparison whose left side was begun, or the number alone.
    pub(super) fn compared(&mut self, left: Arithmetic) -> Result<Operand, Wrong> {
        let mut left = self.arithmetic_from(left, 0)?;
        let Some(relation) = self.relation() else { return Ok(Operand::Number(left)) };
        let right = self.arithmetic(0)?;
        let compare = Test::Compare(left.value, relation, right.value);
        left.checks.extend(right.checks);
        left.checks.push(compare);
        Ok(Operand::Test(all(left.checks), None))
    }

    /// A relation.
    fn relation(&mut self) -> Option<Relation> {
        let Some(Token::Symbol(symbol)) = self.peek() else { return None };
        let relation = match *symbol {
            "=" | "==" => Relation::Equal,
            "!=" => Relation::NotEqual,
            "<" => Relation::Less,
            "<=" => Relation::AtMost,
            ">" => Relation::Greater,
            ">=" => Relation::AtLeast,
            _ => return None,
        };
        self.next += 1;
        Some(relation)
    }

    /// Whether a number comes.
    pub(super) fn begins_number(&self) -> bool {
        let bracket = || matches!(self.tokens.get(self.next + 1), Some((Token::Symbol("["), _)));
        match self.peek() {
            Some(Token::Number(_) | Token::Symbol("-")) => true,
            Some(Token::Word(word)) => {
                word == "len" || names::number(word).is_some() || names::protocol(word).is_some() && bracket()
            }
            _ => false,
        }
    }

    /// Arithmetic whose operators bind at least so tightly.
    fn arithmetic(&mut self, least: u8) -> Result<Arithmetic, Wrong> {
        self.open()?;
        let left = self.unary()?;
        let whole = self.arithmetic_from(left, least)?;
        self.depth -= 1;
        Ok(whole)
    }

    /// The rest of arithmetic whose left side was read.
    fn arithmetic_from(&mut self, mut left: Arithmetic, least: u8) -> Result<Arithmetic, Wrong> {
        while let Some(Token::Symbol(symbol)) = self.peek() {
            let Some((operator, _, behind)) = names::operator(symbol).filter(|o| o.1 >= least) else {
                break;
            };
            self.next += 1;
            let right = self.arithmetic(behind)?;
            left = self.calculated(left, operator, right)?;
        }
        Ok(left)
    }

    /// Two numbers and what is made of them.
    fn calculated(
        &self,
        left: Arithmetic,
        operator: Operator,
        right: Arithmetic,
    ) -> Result<Arithmetic, Wrong> {
        match (operator, &right.value) {
            (Operator::Divide | Operator::Modulo, Value::Number(0)) => {
                return Err(self.wrong_before("division by zero"));
            }
            (Operator::ShiftLeft | Operator::ShiftRight, Value::Number(32..)) => {
                return Err(self.wrong_before("a shift by more than 31 bits"));
            }
            _ => {}
        }
        let operators = left.operators + right.operators + 1;
        if operators > MOST_OPERATORS {
            return Err(self.wrong_before(format!("arithmetic has more than {MOST_OPERATORS} operators")));
        }
        // libpcap forgets which protocol the right side needs (gen_arth), and so does the recorder.
        let value = Value::Calculate(Box::new(left.value), operator, Box::new(right.value));
        Ok(Arithmetic { value, checks: left.checks, operators })
    }

    /// A number, bytes of a header, or arithmetic in parentheses, with a minus or not.
    pub(super) fn unary(&mut self) -> Result<Arithmetic, Wrong> {
        if self.symbol("-") {
            let operand = self.arithmetic(UNARY)?;
            let checks = operand.checks.clone();
            let negated =
                self.calculated(Arithmetic::plain(Value::Number(0)), Operator::Subtract, operand)?;
            return Ok(Arithmetic { checks, ..negated });
        }
        if self.symbol("(") {
            let inner = self.arithmetic(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.word("len") {
            return Ok(Arithmetic::plain(Value::Length));
        }
        if let Some(number) = self.peek_word().and_then(names::number) {
            self.next += 1;
            return Ok(Arithmetic::plain(Value::Number(number)));
        }
        match self.peek_word().and_then(names::protocol) {
            Some(protocol) => self.header(protocol),
            None => self.number().map(|number| Arithmetic::plain(Value::Number(number))),
        }
    }

    /// `tcp[0:2]`: bytes of a protocol's header.
    fn header(&mut self, protocol: Protocol) -> Result<Arithmetic, Wrong> {
        self.next += 1;
        self.expect("[")?;
        let index = self.arithmetic(0)?;
        let size = if self.symbol(":") { self.number()? } else { 1 };
        if ![1, 2, 4].contains(&size) {
            return Err(self.wrong_before("1, 2 or 4 bytes can be compared"));
        }
        self.expect("]")?;
        let (checks, value) = self.layers.header(protocol, index.value, size);
        let operators = index.operators + 1;
        Ok(Arithmetic { value, checks: index.checks.into_iter().chain(checks).collect(), operators })
    }
}
