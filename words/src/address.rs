//! Addresses of packets.

use crate::Error;

/// The address of a `struct sk_buff`: hexadecimal, with or without `0x`, as answers and drgn print it.
///
/// # Errors
///
/// When it is not 1 to 16 hexadecimal digits.
pub fn packet_address(text: &str) -> Result<u64, Error> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let address = plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    address.ok_or_else(|| {
        Error::new(text, "address of a packet", "write up to 16 hexadecimal digits, such as ffff888104db0e00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal() {
        for text in ["ffff8881092cd500", "0xffff8881092cd500", "0XFFFF8881092CD500"] {
            assert_eq!(packet_address(text), Ok(0xffff_8881_092c_d500));
        }
        for text in ["", "0x", "xyz", "+1", "0x0x1", "ffff8881092cd5000"] {
            let error = packet_address(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{text}' is no address of a packet: write")), "{error}");
        }
    }
}
