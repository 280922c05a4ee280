//! Numbers for people.

use std::fmt::{self, Display, Formatter};
use std::ops::AddAssign;

use serde::ser::{SerializeMap, Serializer};

/// A count of something of which not everything may have been counted, as the memory for it is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many were counted.
    pub value: u64,
    /// Whether there may be more.
    pub at_least: bool,
}

impl Count {
    /// A count that may have been cut off.
    pub fn new(value: u64, at_least: bool) -> Self {
        Self { value, at_least }
    }

    /// A count of everything.
    pub fn exact(value: u64) -> Self {
        Self::new(value, false)
    }

    /// With its noun: `1 flow`, `at least 4,096 flows`.
    pub fn of(self, noun: &str) -> String {
        format!("{}{}", self.bound(), counted(self.value, noun))
    }

    /// What stands before a number that may be greater.
    fn bound(self) -> &'static str {
        if self.at_least { "at least " } else { "" }
    }

    /// As two members of an object: the number, and whether there may be more (serde).
    pub fn members<S: Serializer>(
        self,
        name: &'static str,
        flag: &'static str,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(name, &self.value)?;
        map.serialize_entry(flag, &self.at_least)?;
        map.end()
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
        self.at_least |= other.at_least;
    }
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.bound(), grouped(self.value))
    }
}

/// A number with commas: 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 packet`, `2 packets`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A share in percent.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(counted(1, "flow"), "1 flow");
        assert_eq!(counted(1_000, "flow"), "1,000 flows");
    }

    #[test]
    fn a_count_that_was_cut_off_says_so() {
        let mut count = Count::exact(4_000);
        assert_eq!(count.of("flow"), "4,000 flows");
        count += Count::new(96, true);
        assert_eq!(count.of("flow"), "at least 4,096 flows");
        assert_eq!(count.to_string(), "at least 4,096");
    }
}
