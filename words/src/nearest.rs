//! Names that may have been meant by a word that names nothing.

use std::collections::BTreeSet;

/// More of their pairs of letters than this are in both of two names if one may be meant for the other.
const ALIKE: f64 = 0.5;

/// Names that are shown at most.
const SHOWN: usize = 3;

/// The names that are most like a word, if any is at all, as the end of a sentence: `nearest to it: a, b`.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let alike = names.into_iter().map(|name| (strsim::sorensen_dice(name, word), name));
    let mut alike: Vec<(f64, &str)> = alike.filter(|(similarity, _)| *similarity > ALIKE).collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let shown: Vec<&str> = alike.into_iter().map(|(_, name)| name).take(SHOWN).collect();
    (!shown.is_empty()).then(|| format!("nearest to it: {}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_come_first_and_strangers_not_at_all() {
        let names = ["saddr", "daddr", "sport", "dport", "saddr"];
        assert_eq!(nearest("sadr", names).as_deref(), Some("nearest to it: saddr, daddr"));
        assert_eq!(nearest("sport", names).as_deref(), Some("nearest to it: sport, dport"));
        assert_eq!(nearest("ifindex", names), None);
        assert_eq!(nearest("", names), None);
    }
}
