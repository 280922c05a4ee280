//! The texts of one capture, each stored once: an event holds a reference, and comparing two is comparing addresses.
//!
//! The table is bounded: a hostile capture with endless different names ends in [`Names::TOO_MANY`], not in exhausted
//! memory. It lives as long as the capture is open.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use elsa::FrozenVec;
use serde::{Serialize, Serializer};

/// Bytes of text that a capture's table holds at most.
const MAX_BYTES: usize = 24 << 20;
/// Texts that it holds at most.
const MAX_TEXTS: usize = 1 << 19;

/// A text of the table, or none. Two of one capture are equal exactly if their texts are; names of two captures never
/// are, and are compared by their texts. The order is that of the texts, so that it depends on nothing else.
#[derive(Clone, Copy, Default)]
pub struct Name<'a>(Option<&'a Entry>);

/// A text and its position.
struct Entry {
    /// The text.
    text: Box<str>,
    /// Its position, by which it is hashed: rows come in the order of the file, and so do positions.
    position: u32,
}

impl<'a> Name<'a> {
    /// No text: the column was null.
    pub const NONE: Self = Self(None);

    /// Its text; empty where there is none.
    pub fn text(self) -> &'a str {
        self.0.map_or("", |entry| &entry.text)
    }

    /// Whether there is no text.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }

    /// Whether there is a text.
    pub fn is_some(self) -> bool {
        self.0.is_some()
    }

    /// This one, or another where there is none.
    pub fn or(self, other: Self) -> Self {
        if self.is_some() { self } else { other }
    }

    /// The text, or a dash where there is none.
    pub fn or_dash(self) -> &'a str {
        if self.is_none() { "-" } else { self.text() }
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.0, other.0) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Name<'_> {}

impl PartialEq<&str> for Name<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.text() == *other
    }
}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.map_or(u32::MAX, |entry| entry.position).hash(state);
    }
}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text().cmp(other.text())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl Serialize for Name<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_none() { serializer.serialize_none() } else { serializer.serialize_str(self.text()) }
    }
}

/// The texts of a capture.
#[derive(Default)]
pub struct Names {
    /// Entries by position.
    entries: FrozenVec<Box<Entry>>,
    /// Positions by text, with random keys: the texts come from a network.
    positions: RefCell<HashMap<Box<str>, usize>>,
    /// Bytes of all texts.
    bytes: Cell<usize>,
}

impl Names {
    /// Stands for every text that came after the table was full.
    pub const TOO_MANY: &str = "(too many names)";

    /// The name of a text, which is added to the table if it is new and there is room.
    pub fn name(&self, text: &str) -> Name<'_> {
        if text.is_empty() {
            return Name::NONE;
        }
        if let Some(position) = self.positions.borrow().get(text).copied() {
            return Name(self.entries.get(position));
        }
        let full = self.entries.len() >= MAX_TEXTS || self.bytes.get() + text.len() > MAX_BYTES;
        if full && text != Self::TOO_MANY { self.name(Self::TOO_MANY) } else { self.add(text) }
    }

    /// Adds a text.
    fn add(&self, text: &str) -> Name<'_> {
        let position = self.entries.len();
        self.bytes.set(self.bytes.get() + text.len());
        self.positions.borrow_mut().insert(text.into(), position);
        Name(Some(self.entries.push_get(Box::new(Entry { text: text.into(), position: position as u32 }))))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("texts", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_the_same_name() {
        let names = Names::default();
        assert_eq!(names.name("nft_do_chain+0x3a1"), names.name("nft_do_chain+0x3a1"));
        assert_ne!(names.name("a-name"), names.name("another-name"));
        assert_eq!(names.name("tcp"), "tcp");
        assert_eq!(names.name(""), Name::NONE);
    }

    #[test]
    fn names_are_ordered_by_text_whenever_they_came() {
        let names = Names::default();
        let (z, a) = (names.name("z"), names.name("a"));
        assert!(a < z && Name::NONE < a);
    }

    #[test]
    fn a_full_table_says_so() {
        let names = Names::default();
        let known = names.name("known");
        names.bytes.set(MAX_BYTES);
        assert_eq!(names.name("one name more"), Names::TOO_MANY);
        assert_eq!(names.name("one name more"), names.name("another"));
        assert_eq!(names.name("known"), known);
    }
}
