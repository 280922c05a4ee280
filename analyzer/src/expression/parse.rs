//! The grammar of pcap-filter(7): how primitives are joined.

mod arithmetic;
mod cursor;
mod identifier;

use super::lexer::{Token, tokens};
use super::lower::{Layers, length};
use super::names::{self, Protocol};
use super::{Relation, Test, Value, Wrong};
use arithmetic::Arithmetic;
use identifier::{Qualifier, is_qualifier};

/// Parses an expression.
pub fn parse(text: &str) -> Result<Test, Wrong> {
    let end = text.chars().count() + 1;
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end, layers: Layers::default(), depth: 0 };
    let (test, _) = parser.chain(None)?;
    match parser.peek() {
        None => Ok(test),
        Some(_) => Err(parser.unexpected("and, or, or the end")),
    }
}

/// A part of an expression.
enum Operand {
    /// Something that fits or not, and the qualifier that the next identifier inherits.
    Test(Test, Option<Qualifier>),
    /// A number, with what must hold so that there is one.
    Number(Arithmetic),
}

/// Where the parser is.
struct Parser {
    /// The tokens with their places.
    tokens: Vec<(Token, usize)>,
    /// The next of them.
    next: usize,
    /// The place behind the text.
    end: usize,
    /// Headers before the one that is meant.
    layers: Layers,
    /// How many parentheses are open.
    depth: usize,
}

impl Parser {
    /// Tests that are joined, from left to right.
    fn chain(&mut self, inherited: Option<Qualifier>) -> Result<(Test, Option<Qualifier>), Wrong> {
        let first = self.operand(inherited)?;
        self.chain_from(first, inherited)
    }

    /// The rest of a chain whose first operand was read.
    fn chain_from(
        &mut self,
        first: Operand,
        inherited: Option<Qualifier>,
    ) -> Result<(Test, Option<Qualifier>), Wrong> {
        let (first, mut qualifier) = self.test_of(first, inherited)?;
        let mut rest = Vec::new();
        while let Some(joint) = self.joint() {
            let operand = self.operand(qualifier)?;
            let (test, next) = self.test_of(operand, qualifier)?;
            qualifier = next;
            rest.push((joint, test));
        }
        let test = if rest.is_empty() { first } else { Test::Chain(Box::new(first), rest) };
        Ok((test, qualifier))
    }

    /// An operand as a test: a number alone is an identifier, if there is a qualifier to inherit.
    fn test_of(
        &mut self,
        operand: Operand,
        inherited: Option<Qualifier>,
    ) -> Result<(Test, Option<Qualifier>), Wrong> {
        match (operand, inherited) {
            (Operand::Test(test, qualifier), _) => Ok((test, qualifier)),
            (Operand::Number(Arithmetic { value: Value::Number(number), .. }), Some(qualifier)) => {
                Ok((self.numbered(number, None, qualifier)?, inherited))
            }
            _ => Err(self.unexpected("a comparison, such as = 5,")),
        }
    }

    /// One operand.
    fn operand(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        let mut negated = false;
        let mut any = false;
        while self.word("not") {
            negated = !negated;
            any = true;
        }
        let operand = if self.symbol("(") { self.group(inherited)? } else { self.primary(inherited)? };
        if !any {
            return Ok(operand);
        }
        let (test, qualifier) = self.test_of(operand, inherited)?;
        Ok(Operand::Test(if negated { Test::Not(Box::new(test)) } else { test }, qualifier))
    }

    /// What stands in parentheses, of which the first is read, and arithmetic that goes on behind it.
    fn group(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        self.open()?;
        let first = self.operand(inherited)?;
        let alone = matches!(self.peek(), Some(Token::Symbol(")")));
        let found = match first {
            Operand::Number(number) if alone => Operand::Number(number),
            first => Operand::Test(self.chain_from(first, inherited)?.0, inherited),
        };
        self.expect(")")?;
        self.depth -= 1;
        match found {
            Operand::Number(number) => self.compared(number),
            test => Ok(test),
        }
    }

    /// An operand that begins with none of `not` and a parenthesis.
    fn primary(&mut self, inherited: Option<Qualifier>) -> Result<Operand, Wrong> {
        if self.begins_number() {
            let left = self.unary()?;
            return self.compared(left);
        }
        let Some(word) = self.peek_word().map(str::to_owned) else {
            return self.inherit(inherited);
        };
        let plain = |test| Ok(Operand::Test(test, None));
        match word.as_str() {
            "less" | "greater" => {
                self.next += 1;
                let relation = if word == "less" { Relation::AtMost } else { Relation::AtLeast };
                plain(length(relation, self.number()?))
            }
            "vlan" => {
                self.next += 1;
                let number = self.vlan_number()?;
                plain(self.layers.vlan(number))
            }
            "broadcast" | "multicast" => plain(self.group_address(Protocol::Link)?),
            _ if names::protocol(&word).is_some() || is_qualifier(&word) => self.qualified(),
            _ => self.inherit(inherited),
        }
    }

    /// The number of a VLAN, if there is one.
    fn vlan_number(&mut self) -> Result<Option<u32>, Wrong> {
        match self.peek() {
            Some(Token::Number(number)) if *number > 4095 => {
                Err(self.wrong("a VLAN's number is at most 4095"))
            }
            Some(Token::Number(_)) => self.number().map(Some),
            _ => Ok(None),
        }
    }
}
