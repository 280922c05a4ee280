//! A text as tokens.

use std::net::Ipv6Addr;

use super::Wrong;

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A word.
    Word(String),
    /// A word that is a name even where it is a word of the language: `\tcp`.
    Name(String),
    /// A number.
    Number(u32),
    /// Two to four numbers with dots, and the bits that they are: `10.1` is `0x0a01` of 16 bits.
    Dotted(u32, u32),
    /// An address of IPv6.
    Ipv6(Ipv6Addr),
    /// An address of Ethernet.
    Mac([u8; 6]),
    /// Anything else.
    Symbol(&'static str),
}

/// Symbols, longer ones first.
const SYMBOLS: [&str; 24] = [
    "&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", ":", "+", "-", "*", "/", "%", "&",
    "|", "^", "<", ">", "=",
];

/// The tokens of a text, with the character at which each begins, counted from 1.
pub fn tokens(text: &str) -> Result<Vec<(Token, usize)>, Wrong> {
    let mut found = Vec::new();
    let (mut rest, mut at) = (text, 1);
    loop {
        let begin = rest.trim_start();
        at += rest[..rest.len() - begin.len()].chars().count();
        if begin.is_empty() {
            return Ok(found);
        }
        let (token, length) = token(begin, at)?;
        found.push((token, at));
        at += begin[..length].chars().count();
        rest = &begin[length..];
    }
}

/// The first token and its length.
fn token(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    if let Some(found) = address(rest) {
        return Ok(found);
    }
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    if rest.starts_with('!') {
        return Ok((Token::Word("not".to_owned()), 1));
    }
    if let Some(name) = rest.strip_prefix('\\').map(word).filter(|name| !name.is_empty()) {
        return Ok((Token::Name(name.to_owned()), name.len() + 1));
    }
    let word = word(rest);
    match word.as_bytes().first() {
        None => Err(Wrong { why: format!("unknown character {:?}", rest.chars().next().unwrap_or(' ')), at }),
        Some(b'0'..=b'9') => number(word, at).map(|token| (token, word.len())),
        Some(_) => Ok((Token::Word(word.to_owned()), word.len())),
    }
}

/// The word that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(text.len());
    text[..end].trim_end_matches(['-', '_'])
}

/// The longest address: eight groups, the last two as of IPv4.
const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

/// An address that has colons, or dashes as Windows writes it; `[0:2]` has them too, and is none.
fn address(text: &str) -> Option<(Token, usize)> {
    let part_of_one = |b: &u8| b.is_ascii_hexdigit() || b":.-".contains(b);
    let end = text.bytes().take(LONGEST + 1).take_while(part_of_one).count();
    let run = &text[..end];
    let mac =
        run.split([':', '-']).map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<Vec<u8>>>();
    if let Some(mac) = mac.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) {
        return Some((Token::Mac(mac), end));
    }
    run.parse().ok().map(|address| (Token::Ipv6(address), end))
}

/// A number, or several with dots. One that begins with 0 is octal.
fn number(text: &str, at: usize) -> Result<Token, Wrong> {
    let wrong = |what: &str| Wrong { why: format!("\"{text}\" is no {what}"), at };
    if text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let numbers: Option<Vec<u8>> = text.split('.').map(|octet| octet.parse().ok()).collect();
        let numbers = numbers.filter(|n| n.len() <= 4).ok_or_else(|| wrong("address of IPv4"))?;
        let value = numbers.iter().fold(0, |value, octet| value << 8 | u32::from(*octet));
        return Ok(Token::Dotted(value, 8 * numbers.len() as u32));
    }
    if text.bytes().any(|b| b == b'-') {
        return Ok(Token::Word(text.to_owned()));
    }
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let parsed = match digits {
        Some(digits) => u32::from_str_radix(digits, 16),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8),
        None => text.parse(),
    };
    parsed.map(Token::Number).map_err(|_| wrong("number"))
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Name(word) => write!(f, "\\{word}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Dotted(value, bits) => {
                let octets: Vec<String> =
                    (0..bits / 8).rev().map(|place| (value >> (8 * place) & 0xff).to_string()).collect();
                f.write_str(&octets.join("."))
            }
            Self::Ipv6(address) => address.fmt(f),
            Self::Mac(bytes) => f.write_str(&bytes.map(|byte| format!("{byte:x}")).join(":")),
            Self::Symbol(symbol) => f.write_str(symbol),
        }
    }
}
