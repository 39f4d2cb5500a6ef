//! Words that others sent, before they are shown or kept.

/// The most bytes of words of a peer that are shown: a few lines of a console.
const WORDS_MAX: usize = 400;

/// The most reasons of a receipt that are kept.
const REASONS_MAX: usize = 16;

/// Cuts words to at most `limit` bytes.
pub(crate) fn shorten(words: &mut String, limit: usize) {
    if words.len() > limit {
        let end = (0..=limit).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
        words.truncate(end);
    }
}

/// A peer's words, short and without what moves a terminal's cursor.
pub(crate) fn shown(words: &str) -> String {
    let mut plain: String = words.chars().filter(|letter| !letter.is_control()).collect();
    shorten(&mut plain, WORDS_MAX);
    plain
}

/// The first of a peer's reasons, as they are shown.
pub(crate) fn reasons(all: &[String]) -> Vec<String> {
    all.iter().take(REASONS_MAX).map(|reason| shown(reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_short_and_plain() {
        assert_eq!(shown("a\u{1b}[2Jb\nc"), "a[2Jbc");
        assert_eq!(shown(&"ä".repeat(1_000)).len(), WORDS_MAX);
        assert_eq!(reasons(&vec![String::new(); 100]).len(), REASONS_MAX);
    }
}
