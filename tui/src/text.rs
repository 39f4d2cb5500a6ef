//! Text that fits a terminal: wrapping, cutting, sizes, and glyphs that every console has.

use std::time::Duration;

/// Glyphs beyond ASCII that a Linux console, a framebuffer console and serial terminals were all
/// seen to draw. Anything else turns into a box on one of them.
const GLYPHS: &str = "─│┌┐└┘═║╔╗╚╝█▀▄▌▐░▒▓○▲▼←→↑↓•°";

/// Replaces what a terminal may not have or would obey: escape sequences in a log line or in the
/// name of a disk must not reach it.
pub(crate) fn safe(text: &str) -> String {
    text.chars().map(|c| if is_safe(c) { c } else { '?' }).collect()
}

/// Replaces what a terminal would obey and nothing else: text for a pipe keeps its letters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Whether a terminal draws this character as one cell.
pub(crate) fn is_safe(c: char) -> bool {
    matches!(c, ' '..='~') || GLYPHS.contains(c)
}

/// Breaks safe text into lines of at most `width` cells, between words where there is a choice.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_hanging(text, width, width)
}

/// Like [`wrap`], with room for `first` cells on the first line and `rest` on the others.
pub(crate) fn wrap_hanging(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut cells = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let mut width = if lines.is_empty() { first } else { rest }.max(1);
        if cells > 0 && cells + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            (cells, width) = (0, rest.max(1));
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
            width = rest.max(1);
        }
        if cells > 0 {
            line.push(' ');
            cells += 1;
        }
        cells += word.len();
        line.extend(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The text with a capital at its beginning.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// Cuts safe text to `width` cells; what is missing shows as `..`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(2)).collect();
    short.extend("..".chars().take(width));
    short
}

/// Cuts lines to `rows`; what is missing shows as `..` at the end of the last.
pub(crate) fn cut_lines(mut lines: Vec<String>, rows: usize, width: usize) -> Vec<String> {
    if lines.len() > rows {
        lines.truncate(rows);
        if let Some(last) = lines.last_mut() {
            last.push_str(" ..");
            if last.chars().count() > width {
                *last = cut(last, width);
            }
        }
    }
    lines
}

/// A size as disks are sold: powers of 1000, three digits.
pub(crate) fn decimal_size(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size as memory is sold: powers of 1024, three digits.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn scaled(bytes: u64, base: u64, units: &[&str]) -> String {
    let mut divisor = 1_u64;
    let mut chosen = units.first().copied().unwrap_or_default();
    for unit in units {
        chosen = unit;
        match divisor.checked_mul(base) {
            // One step earlier than at `base`, so that 999.9 does not show as 1000.
            Some(next) if bytes / divisor >= base => divisor = next,
            _ => break,
        }
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    if divisor == 1 || tenths >= 1000 {
        format!("{} {chosen}", tenths / 10)
    } else {
        format!("{}.{} {chosen}", tenths / 10, tenths % 10)
    }
}

/// A duration in its two largest units, such as `3 d 4 h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_escape_sequence_in_a_log_line_is_not_obeyed() {
        assert_eq!(safe("a\x1b[2Jb → ✗"), "a?[2Jb → ?");
        assert_eq!(printable("a\x1b[2Jb\n → ✗"), "a?[2Jb? → ✗");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap_hanging("a bb ccc dddd", 6, 3), ["a bb", "ccc", "ddd", "d"]);
    }

    #[test]
    fn what_is_cut_is_marked() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcd..");
        assert_eq!(cut("abc", 1), ".");
        assert_eq!(cut_lines(vec!["abcdef".into(), "g".into()], 1, 6), ["abcd.."]);
        assert_eq!(cut_lines(vec!["abc".into(), "g".into()], 1, 6), ["abc .."]);
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        assert_eq!(decimal_size(0), "0 B");
        assert_eq!(decimal_size(999), "999 B");
        assert_eq!(decimal_size(1000), "1.0 kB");
        assert_eq!(decimal_size(1_920_383_410_176), "1.9 TB");
        assert_eq!(decimal_size(999_999_999_999), "999 GB");
        assert_eq!(decimal_size(u64::MAX), "18.4 EB");
        assert_eq!(binary_size(2 << 30), "2.0 GiB");
    }

    #[test]
    fn durations_show_two_units() {
        assert_eq!(duration(Duration::from_secs(59)), "59 s");
        assert_eq!(duration(Duration::from_secs(3 * 3600 + 120)), "3 h 2 min");
        assert_eq!(duration(Duration::from_secs(90_000)), "1 d 1 h");
    }

    proptest! {
        #[test]
        fn wrapping_keeps_every_letter_and_the_width(text in "[a-z ]{0,200}", first in 1_usize..40, rest in 1_usize..40) {
            let lines = wrap_hanging(&text, first, rest);
            prop_assert!(lines.iter().take(1).all(|line| line.chars().count() <= first));
            prop_assert!(lines.iter().skip(1).all(|line| line.chars().count() <= rest));
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }

        #[test]
        fn safe_text_has_one_safe_cell_per_character(text in ".{0,80}") {
            let safe = safe(&text);
            prop_assert_eq!(safe.chars().count(), text.chars().count());
            prop_assert!(safe.chars().all(is_safe));
        }
    }
}
