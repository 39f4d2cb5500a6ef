//! The words of the kernel's command line that init heeds.

use std::fs;

/// What the command line asks of init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `icn.seed=none`: do not look for ICN-SEED, start at once with the defaults.
    pub look_for_seed: bool,
}

impl CommandLine {
    /// The one this kernel was started with.
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        Self { look_for_seed: !text.split_whitespace().any(|word| word == "icn.seed=none") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_turns_the_search_for_a_seed_off() {
        for (text, look) in [
            ("quiet icn.seed=none panic=30", false),
            ("icn.seed=none\n", false),
            ("", true),
            ("icn.seed=nonesuch", true),
            ("xicn.seed=none", true),
        ] {
            assert_eq!(CommandLine::parse(text).look_for_seed, look, "{text}");
        }
    }
}
