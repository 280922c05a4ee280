//! Interned text: an event holds small numbers, the text stands once in a table of the whole process.
//!
//! The table is bounded: a hostile capture with endless different names ends in [`Sym::TOO_MANY`], not in
//! exhausted memory.

use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};

/// Bytes of text that the table holds at most.
const MAX_BYTES: usize = 48 << 20;
/// Texts that the table holds at most.
const MAX_TEXTS: usize = 1 << 20;

/// A text in the table. Two are equal exactly if their texts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sym(u32);

/// Texts with a fixed place, in the order of their constants; probes follow, see [`crate::event::Hook`].
const FIXED: [&str; 25] = [
    "",
    "(too many names)",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "arp",
    "softirq",
    "task",
    "inet",
    "inet6",
    "lo",
    "FAILED",
    "SYN_SENT",
    "CLOSE",
    "REALTIME",
    "LISTEN",
    "pkt",
    "ret",
    "link",
    "nf",
    "free",
    "merge",
    "NF_DROP",
    "NF_ACCEPT",
];

impl Sym {
    /// No text: the column was null.
    pub const NONE: Self = Self(0);
    /// Stands for every text that came after the table was full.
    pub const TOO_MANY: Self = Self(1);
    /// `tcp`.
    pub const TCP: Self = Self(2);
    /// `udp`.
    pub const UDP: Self = Self(3);
    /// `icmp`.
    pub const ICMP: Self = Self(4);
    /// `icmp6`.
    pub const ICMP6: Self = Self(5);
    /// `arp`.
    pub const ARP: Self = Self(6);
    /// `softirq`.
    pub const SOFTIRQ: Self = Self(7);
    /// `task`.
    pub const TASK: Self = Self(8);
    /// `inet`.
    pub const INET: Self = Self(9);
    /// `inet6`.
    pub const INET6: Self = Self(10);
    /// `lo`.
    pub const LO: Self = Self(11);
    /// `FAILED`.
    pub const FAILED: Self = Self(12);
    /// `SYN_SENT`.
    pub const SYN_SENT: Self = Self(13);
    /// `CLOSE`.
    pub const CLOSE: Self = Self(14);
    /// `REALTIME`.
    pub const REALTIME: Self = Self(15);
    /// `LISTEN`.
    pub const LISTEN: Self = Self(16);
    /// `pkt`.
    pub const PKT: Self = Self(17);
    /// `ret`.
    pub const RET: Self = Self(18);
    /// `link`.
    pub const LINK: Self = Self(19);
    /// `nf`.
    pub const NF: Self = Self(20);
    /// `free`.
    pub const FREE: Self = Self(21);
    /// `merge`.
    pub const MERGE: Self = Self(22);
    /// `NF_DROP`.
    pub const NF_DROP: Self = Self(23);
    /// `NF_ACCEPT`.
    pub const NF_ACCEPT: Self = Self(24);
    /// The place of the first probe's name.
    pub(crate) const FIRST_PROBE: u32 = FIXED.len() as u32;

    /// The symbol of a text, which is added to the table if it is new.
    pub fn new(text: &str) -> Self {
        if let Some(found) = read().find(text) {
            return found;
        }
        TABLE.write().unwrap_or_else(PoisonError::into_inner).add(text)
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        read().texts.get(self.0 as usize).copied().unwrap_or_default()
    }

    /// Whether there is no text.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Whether there is a text.
    pub fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// The symbol at a place of the table.
    pub(crate) fn at(place: u64) -> Self {
        Self(u32::try_from(place).unwrap_or(0))
    }

    /// Its place in the table.
    pub(crate) fn place(self) -> u32 {
        self.0
    }

    /// The text, or a dash where there is none.
    pub fn or_dash(self) -> &'static str {
        if self.is_none() { "-" } else { self.text() }
    }
}

impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl Serialize for Sym {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_none() { serializer.serialize_none() } else { serializer.serialize_str(self.text()) }
    }
}

/// The table of texts.
#[derive(Default)]
struct Table {
    /// Places by text.
    places: FxHashMap<&'static str, Sym>,
    /// Texts by place.
    texts: Vec<&'static str>,
    /// Bytes of all texts.
    bytes: usize,
}

/// The table of this process.
static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(|| RwLock::new(Table::with_fixed()));

/// The table, to be read.
fn read() -> std::sync::RwLockReadGuard<'static, Table> {
    TABLE.read().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// A table with the texts that have a fixed place.
    fn with_fixed() -> Self {
        let mut table = Self::default();
        for text in FIXED.into_iter().chain(crate::event::Hook::names()) {
            table.add(text);
        }
        table
    }

    /// The symbol of a text that is there.
    fn find(&self, text: &str) -> Option<Sym> {
        self.places.get(text).copied()
    }

    /// Adds a text, unless it is there or the table is full. The text lives as long as the process, which the
    /// bound makes affordable.
    fn add(&mut self, text: &str) -> Sym {
        if let Some(found) = self.find(text) {
            return found;
        }
        if self.texts.len() >= MAX_TEXTS || self.bytes + text.len() > MAX_BYTES {
            return Sym::TOO_MANY;
        }
        let kept: &'static str = Box::leak(text.into());
        let symbol = Sym(self.texts.len() as u32);
        self.texts.push(kept);
        self.places.insert(kept, symbol);
        self.bytes += kept.len();
        symbol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_symbols_have_their_texts() {
        let expected = [
            (Sym::NONE, ""),
            (Sym::TCP, "tcp"),
            (Sym::ICMP6, "icmp6"),
            (Sym::SOFTIRQ, "softirq"),
            (Sym::TASK, "task"),
            (Sym::INET6, "inet6"),
            (Sym::LO, "lo"),
            (Sym::FAILED, "FAILED"),
            (Sym::SYN_SENT, "SYN_SENT"),
            (Sym::CLOSE, "CLOSE"),
            (Sym::REALTIME, "REALTIME"),
            (Sym::LISTEN, "LISTEN"),
        ];
        for (symbol, text) in expected {
            assert_eq!(symbol.text(), text);
            assert_eq!(Sym::new(text), symbol);
        }
    }

    #[test]
    fn the_same_text_is_the_same_symbol() {
        assert_eq!(Sym::new("nft_do_chain+0x3a1"), Sym::new("nft_do_chain+0x3a1"));
        assert_ne!(Sym::new("a-name"), Sym::new("another-name"));
    }

    #[test]
    fn a_full_table_says_so() {
        let mut table = Table::with_fixed();
        table.bytes = MAX_BYTES;
        assert_eq!(table.add("one name more"), Sym::TOO_MANY);
    }
}
