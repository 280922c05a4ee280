//! Names of network devices.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The name of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device(String);

impl Device {
    /// Bytes of a name at most: `IFNAMSIZ` with the zero at the end (include/uapi/linux/if.h).
    pub const MOST: usize = 15;

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl FromStr for Device {
    type Err = Error;

    /// What the kernel takes (`dev_valid_name`, net/core/dev.c).
    fn from_str(text: &str) -> Result<Self, Error> {
        let usual = |c: char| c != '/' && c != ':' && !c.is_ascii_whitespace();
        let valid = (1..=Self::MOST).contains(&text.len()) && text != "." && text != "..";
        if !valid || !text.chars().all(usual) {
            let remedy = "it has 1 to 15 bytes without blanks, '/' and ':'";
            return Err(Error::new(text, "name of a device", remedy));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        for text in ["lo", "eth0", "br-lan.100", "a-15-byte-name-", "wg0@x"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        for text in ["", ".", "..", "a/b", "eth0:1", "a b", "a-very-long-name"] {
            assert!(text.parse::<Device>().unwrap_err().to_string().contains("1 to 15 bytes"), "{text}");
        }
    }
}
