//! Which known word a misspelt one was meant to be.

/// Most edits between a word and what it was meant to be, so that a stranger gets no suggestion.
const MAX_EDITS: usize = 3;

/// Longest word that is compared, in bytes: no key is longer, and the work is bounded.
const MAX_WORD: usize = 64;

/// The known word that fewest edits away, where it is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let (edits, nearest) = known.iter().map(|known| (edits(word, known), *known)).min()?;
    let near = edits <= MAX_EDITS && edits * 2 <= nearest.len().max(word.len());
    near.then_some(nearest)
}

/// Insertions, deletions and replacements from one word to the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for ((b, pair), left) in to.iter().zip(row.windows(2)).zip(0..) {
            let [diagonal, above] = pair else { continue };
            let replace = diagonal + usize::from(a != *b);
            let before: usize = next.get::<usize>(left).copied().unwrap_or(usize::MAX - 1);
            next.push(replace.min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_both_ways() {
        for (a, b, n) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("adress", "address", 1)]
        {
            assert_eq!((edits(a, b), edits(b, a)), (n, n), "{a} {b}");
        }
    }

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_none() {
        let known = ["addresses", "dhcp", "gateways", "mtu", "port"];
        for (word, found) in [
            ("adresses", Some("addresses")),
            ("gateway", Some("gateways")),
            ("dchp", Some("dhcp")),
            ("Port", Some("port")),
            ("bond", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), found, "{word}");
        }
    }
}
