//! The tokens, one after the other, and what is wrong with one.

use super::Parser;
use super::identifier::is_qualifier;
use crate::expression::lexer::Token;
use crate::expression::{Joint, Wrong, names};

/// How deep parentheses and arithmetic may be nested.
const DEEPEST: usize = 64;

impl Parser {
    /// The next token.
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    /// Where the next token is.
    fn place(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(_, at)| *at)
    }

    /// The next token if it is this symbol.
    pub(super) fn symbol(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(symbol)) if *symbol == wanted);
        self.next += usize::from(found);
        found
    }

    /// The next token if it is this word.
    pub(super) fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == wanted);
        self.next += usize::from(found);
        found
    }

    /// The word that comes next.
    pub(super) fn peek_word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// An error at the next token.
    pub(super) fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong { why: why.into(), at: self.place() }
    }

    /// An error about the token before the next.
    pub(super) fn wrong_before(&self, why: impl Into<String>) -> Wrong {
        let at =
            self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(self.end, |(_, at)| *at);
        Wrong { why: why.into(), at }
    }

    /// The next token is not what it should be.
    pub(super) fn unexpected(&self, wanted: &str) -> Wrong {
        match self.peek() {
            None => self.wrong(format!("it ends where {wanted} should follow")),
            Some(Token::Word(word)) if names::is_elsewhere(word) => {
                self.wrong(format!("\"{word}\" cannot be asked of recorded headers"))
            }
            Some(Token::Word(word)) if !is_known(word) => self.wrong(format!("unknown word \"{word}\"")),
            Some(token) => self.wrong(format!("\"{token}\" where {wanted} should follow")),
        }
    }

    /// Takes a symbol that must come.
    pub(super) fn expect(&mut self, wanted: &str) -> Result<(), Wrong> {
        if self.symbol(wanted) { Ok(()) } else { Err(self.unexpected(&format!("\"{wanted}\""))) }
    }

    /// Takes a number that must come.
    pub(super) fn number(&mut self) -> Result<u32, Wrong> {
        let Some(Token::Number(number)) = self.peek() else { return Err(self.unexpected("a number")) };
        let number = *number;
        self.next += 1;
        Ok(number)
    }

    /// Goes into parentheses.
    pub(super) fn open(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            Err(self.wrong(format!("more than {DEEPEST} parentheses are open")))
        } else {
            Ok(())
        }
    }

    /// `and` or `or`.
    pub(super) fn joint(&mut self) -> Option<Joint> {
        if self.word("and") || self.symbol("&&") {
            Some(Joint::And)
        } else if self.word("or") || self.symbol("||") {
            Some(Joint::Or)
        } else {
            None
        }
    }
}

/// Words of the language.
pub(super) fn is_known(word: &str) -> bool {
    const OTHERS: [&str; 10] =
        ["and", "or", "not", "len", "less", "greater", "vlan", "mask", "broadcast", "multicast"];
    is_qualifier(word)
        || OTHERS.contains(&word)
        || names::protocol(word).is_some()
        || names::number(word).is_some()
        || names::is_elsewhere(word)
}
