//! Differences between two texts, by line.

/// How many equal lines stand around those that differ.
const CONTEXT: usize = 3;

/// One line of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    /// In both texts.
    Both(&'a str),
    /// Expected, and not found.
    Missing(&'a str),
    /// Found, and not expected.
    New(&'a str),
}

/// What has to be done to `expected` to get `found`, as `diff -u` shows it.
pub fn lines(expected: &str, found: &str) -> String {
    let all = changes(&expected.lines().collect::<Vec<_>>(), &found.lines().collect::<Vec<_>>());
    let differs = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let mut text = String::new();
    let mut shown = 0;
    for (at, line) in all.iter().enumerate() {
        let near = &all[at.saturating_sub(CONTEXT)..all.len().min(at + CONTEXT + 1)];
        if !near.iter().any(differs) {
            continue;
        }
        if shown < at {
            text += "...\n";
        }
        shown = at + 1;
        let (sign, line) = match line {
            Line::Both(line) => (' ', line),
            Line::Missing(line) => ('-', line),
            Line::New(line) => ('+', line),
        };
        text.push(sign);
        text.extend([line, "\n"]);
    }
    if text.is_empty() { "the ends of lines\n".to_owned() } else { text }
}

/// All lines of both texts in one order, as few of them as possible changed.
fn changes<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    // Where texts are nearly the same, this is all but a few of their lines.
    let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (head, old, new) = (&old[..same], &old[same..], &new[same..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, tail) = old.split_at(old.len() - same);
    let new = &new[..new.len() - same];
    let both = |lines: &[&'a str]| lines.iter().map(|line| Line::Both(line)).collect::<Vec<_>>();
    [both(head), between(old, new), both(tail)].concat()
}

/// The same by the longest common subsequence.
fn between<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    // How many lines old[i..] and new[j..] have in common.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let one_less = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { one_less };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            all.push(Line::Both(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            all.push(Line::Missing(old[i]));
            i += 1;
        } else {
            all.push(Line::New(new[j]));
            j += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_the_lines_around_them() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
        let new = "1\n2\n3\n4\n5\n6\nseven\n8\n9\n10\n11\n12\n13\n";
        assert_eq!(lines(old, new), "...\n 4\n 5\n 6\n-7\n+seven\n 8\n 9\n 10\n 11\n 12\n+13\n");
    }

    #[test]
    fn lines_that_moved_are_taken_away_and_added() {
        assert_eq!(lines("a\nb\nc\n", "b\nc\na\n"), "-a\n b\n c\n+a\n");
        assert_eq!(lines("", "a\n"), "+a\n");
        assert_eq!(lines("a\n", "a"), "the ends of lines\n");
    }
}
