//! Times and sizes: a number and a unit.

use std::time::Duration;

use crate::{Error, decimal};

/// Units of time with their nanoseconds; none is seconds.
const TIMES: [(&str, u64); 9] = [
    ("", 1_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Units of size by their first letter, as a power of two. `64M`, `64MB` and `64MiB` are the same.
const SIZES: [(&str, u32); 5] = [("", 0), ("k", 10), ("m", 20), ("g", 30), ("t", 40)];

/// Splits `30s` into the number and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// A time such as `30s`, `1.5m` or `250ms`; a bare number is seconds.
///
/// # Errors
///
/// When it is no number with a unit of time, or beyond 584 years, which is what 64 bits of nanoseconds hold.
pub fn duration(text: &str) -> Result<Duration, Error> {
    let (number, unit) = split_unit(text);
    let unit = TIMES.iter().find(|(name, _)| *name == unit).map(|(_, ns)| *ns);
    let time = unit.and_then(|unit| scaled(number, unit));
    time.map(Duration::from_nanos).ok_or_else(|| {
        Error::new(
            text,
            "time",
            "write a number and ns, us, ms, s, m, h or d, such as 1.5s; without a unit it is seconds",
        )
    })
}

/// A decimal number times a unit; digits below one are cut off.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = decimal(whole)?;
    let plain = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let mut place = unit;
    let part = |digit: u8| {
        place /= 10;
        u64::from(digit - b'0') * place
    };
    let part: u64 = plain.then(|| fraction.bytes().map(part).sum())?;
    whole.checked_mul(unit)?.checked_add(part)
}

/// A size in bytes such as `64M`, in powers of 1024.
///
/// # Errors
///
/// When it is no whole number with a unit of size, or 64 bits do not hold it.
pub fn size(text: &str) -> Result<u64, Error> {
    let (number, unit) = split_unit(text);
    let unit = unit.to_ascii_lowercase();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let shift = SIZES.iter().find(|(name, _)| *name == letter).map(|(_, shift)| *shift);
    let size = shift.and_then(|shift| decimal::<u64>(number)?.checked_mul(1 << shift));
    size.ok_or_else(|| {
        Error::new(text, "size", "write a whole number of bytes, or one with K, M, G or T, such as 64M")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_have_units() {
        let ns = |text| duration(text).unwrap().as_nanos();
        assert_eq!((ns("1.5m"), ns("10"), ns("0s")), (90_000_000_000, 10_000_000_000, 0));
        assert_eq!((ns("250ms"), ns("7us"), ns("7ns")), (250_000_000, 7_000, 7));
        assert_eq!((ns("0.123456789s"), ns("1.9ns")), (123_456_789, 1));
        assert_eq!(
            (ns("1h"), ns("2d"), ns("3min")),
            (3_600_000_000_000, 172_800_000_000_000, 180_000_000_000)
        );
        for text in ["", "s", ".5", "1.", "1.2.3", "10 parsecs", "-1s", "+1", "1S", "18446744074", "213504d"]
        {
            let refusal = duration(text).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("'{text}' is no time: write a number and ns")), "{refusal}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!((size("64M"), size("64MiB"), size("64mb")), (Ok(64 << 20), Ok(64 << 20), Ok(64 << 20)));
        assert_eq!(
            (size("2G"), size("10"), size("10B"), size("1k")),
            (Ok(2 << 30), Ok(10), Ok(10), Ok(1024))
        );
        for text in ["", "M", "many", "1.5G", "64X", "16777216T", "99999999999999G", "-1", "1iiB"] {
            assert!(size(text).unwrap_err().to_string().contains("K, M, G or T"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_nanosecond_is_kept(ns: u64) {
            let text = format!("{}.{:09}s", ns / 1_000_000_000, ns % 1_000_000_000);
            prop_assert_eq!(duration(&text), Ok(Duration::from_nanos(ns)));
            prop_assert_eq!(duration(&format!("{ns}ns")), Ok(Duration::from_nanos(ns)));
        }

        #[test]
        fn any_text_is_survived(text in "[0-9.]{0,30}\\PC{0,8}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
