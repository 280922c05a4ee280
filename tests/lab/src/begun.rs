//! What `lab run` tells of each scenario as it begins, for those who find its packets in a recording of several.

use std::fmt::{self, Display};
use std::str::FromStr;

use rustix::time::{ClockId, clock_gettime};

use crate::net::Net;

/// A scenario that began. As text: `ping begins at 81234567890 ns in 4026532201,4026532263,4026532325`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its name.
    pub scenario: String,
    /// When, ns of CLOCK_MONOTONIC.
    pub at: u64,
    /// Inode numbers of its namespaces.
    pub namespaces: Vec<u64>,
}

impl Begun {
    /// A scenario that begins now.
    pub fn now(scenario: &str, net: &Net) -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let at = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let namespaces = net.hosts().map(|host| host.inode()).into();
        Self { scenario: scenario.to_owned(), at, namespaces }
    }
}

impl Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces: Vec<String> = self.namespaces.iter().map(u64::to_string).collect();
        write!(f, "{} begins at {} ns in {}", self.scenario, self.at, namespaces.join(","))
    }
}

/// A line that tells of something else.
#[derive(Debug, PartialEq, Eq)]
pub struct TellsOther;

impl FromStr for Begun {
    type Err = TellsOther;

    fn from_str(line: &str) -> Result<Self, TellsOther> {
        let parse = || {
            let (scenario, rest) = line.split_once(" begins at ")?;
            let (at, namespaces) = rest.split_once(" ns in ")?;
            let namespaces = namespaces.split(',').map(|inode| inode.parse().ok()).collect::<Option<_>>()?;
            Some(Self { scenario: scenario.to_owned(), at: at.parse().ok()?, namespaces })
        };
        parse().ok_or(TellsOther)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_again() {
        let begun = Begun { scenario: "ping".to_owned(), at: 81_234_567_890, namespaces: vec![7, 8, 9] };
        assert_eq!(begun.to_string(), "ping begins at 81234567890 ns in 7,8,9");
        assert_eq!(begun.to_string().parse(), Ok(begun));
    }

    #[test]
    fn other_lines_tell_of_no_beginning() {
        for line in ["", "ping 10.77.2.2: 5 sent, 5 answered", "ping begins at 5 ns in here"] {
            assert_eq!(line.parse::<Begun>(), Err(TellsOther), "{line}");
        }
    }
}
