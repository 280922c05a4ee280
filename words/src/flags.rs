//! TCP flags.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The flags by their bits, lowest first: FIN, SYN, RST, PSH, ACK, URG, ECE, CWR (RFC 9293, section 3.1).
const LETTERS: &str = "FSRPAUEC";

/// TCP flags, any of which is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Their bits, as in byte 13 of the header.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether any is among the letters of set flags, as captures have them in `tcp_flags`.
    pub fn any_of(self, letters: &str) -> bool {
        letters.chars().filter_map(bit).any(|bit| self.0 & bit != 0)
    }
}

/// The bit of a letter.
fn bit(letter: char) -> Option<u8> {
    LETTERS.find(letter.to_ascii_uppercase()).map(|position| 1 << position)
}

/// The letters of flags that are set, lowest bit first.
pub fn flag_letters(flags: u8) -> String {
    LETTERS.chars().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, letter)| letter).collect()
}

impl FromStr for Flags {
    type Err = Error;

    /// Letters in any order and case; a repeated one says nothing new.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bits = text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?));
        bits.filter(|bits| *bits != 0).map(Self).ok_or_else(|| {
            Error::new(
                text,
                "set of TCP flags",
                format!("write letters of {LETTERS}, such as SR for SYN or RST"),
            )
        })
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&flag_letters(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_are_bits_of_the_header() {
        let bits = |text: &str| text.parse::<Flags>().map(Flags::bits);
        assert_eq!(bits("S"), Ok(2));
        assert_eq!(bits("SS"), Ok(2));
        assert_eq!((bits("SA"), bits("as"), bits("ASA")), (Ok(0x12), Ok(0x12), Ok(0x12)));
        assert_eq!(flag_letters(0xff), LETTERS);
        assert_eq!(flag_letters(0), "");
        for text in ["", "SX", "S A", "SYN,ACK"] {
            assert!(bits(text).unwrap_err().to_string().contains("letters of FSRPAUEC"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_and_repetition_mean_nothing(letters in "[FSRPAUECfsrpauec]{1,20}") {
            let flags: Flags = letters.parse().unwrap();
            let reversed: String = letters.chars().rev().collect();
            prop_assert_eq!(reversed.parse::<Flags>().unwrap(), flags);
            prop_assert_eq!(format!("{letters}{letters}").parse::<Flags>().unwrap(), flags);
            prop_assert_eq!(flags.to_string().parse::<Flags>().unwrap(), flags);
        }

        #[test]
        fn any_set_flag_is_enough(wanted in 1_u8.., set: u8) {
            let flags: Flags = flag_letters(wanted).parse().unwrap();
            prop_assert_eq!(flags.any_of(&flag_letters(set)), wanted & set != 0);
        }
    }
}
