//! Ports and lengths, one or a range.

use std::fmt;

use crate::{Error, decimal};

/// A number, or all from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

impl Range {
    /// Ports: `443` or `8000-8099`.
    ///
    /// # Errors
    ///
    /// When it is no port, or the range ends before it begins.
    pub fn ports(text: &str) -> Result<Self, Error> {
        let range = read(text).filter(|range| range.last <= u16::MAX.into());
        range.ok_or_else(|| {
            Error::new(
                text,
                "port or range of ports",
                "write 443, or 8000-8099 with the smaller one first, up to 65535",
            )
        })
    }

    /// Lengths in bytes: `1500` or `64-128`.
    ///
    /// # Errors
    ///
    /// When it is no length, or the range ends before it begins.
    pub fn lengths(text: &str) -> Result<Self, Error> {
        read(text).ok_or_else(|| {
            Error::new(
                text,
                "length or range of lengths",
                "write bytes: 1500, or 64-128 with the smaller one first",
            )
        })
    }

    /// Whether a number is in it.
    pub fn contains(self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// One number, or two that are in order.
fn read(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = Range { first: decimal(first)?, last: decimal(last)? };
    (range.first <= range.last).then_some(range)
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_end_at_65535() {
        assert_eq!(Range::ports("443"), Ok(Range { first: 443, last: 443 }));
        assert_eq!(Range::ports("0-65535"), Ok(Range { first: 0, last: 65535 }));
        assert_eq!(
            Range::ports("9-1").unwrap_err().to_string(),
            "'9-1' is no port or range of ports: write 443, or 8000-8099 with the smaller one first, up to 65535"
        );
        for text in ["", "-", "1-", "-1", "65536", "80:90", "http", "+80", "1-2-3"] {
            assert!(Range::ports(text).is_err(), "{text}");
        }
        assert_eq!(Range::lengths("65536").unwrap().to_string(), "65536");
        assert!(Range::lengths("4294967296").unwrap_err().to_string().contains("write bytes"));
    }

    proptest! {
        #[test]
        fn text_is_read_back(a: u16, b: u16, n: u16) {
            let text = format!("{}-{}", a.min(b), a.max(b));
            let range = Range::ports(&text).unwrap();
            prop_assert_eq!(Range::ports(&range.to_string()), Ok(range));
            prop_assert_eq!(range.contains(n.into()), a.min(b) <= n && n <= a.max(b));
            prop_assert_eq!(Range::lengths(&text), Ok(range));
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,30}") {
            let _ = (Range::ports(&text), Range::lengths(&text));
        }
    }
}
