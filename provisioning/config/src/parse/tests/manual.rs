//! The manual against the parser.

use std::path::Path;

use super::printed;
use crate::parse::KEYS;

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    std::fs::read_to_string(path).expect("docs/config.md is there")
}

#[test]
fn the_manual_names_every_key_of_every_section() {
    let manual = manual();
    for (section, keys) in KEYS {
        let heading = manual.split("\n## ").find(|part| {
            part.starts_with(&format!("`[{section}]`"))
                || part.starts_with(&format!("`[[{section}]]`"))
        });
        let part = heading.unwrap_or_else(|| panic!("no heading for [{section}]"));
        for key in keys.iter().filter(|key| {
            !["port", "bond", "vlan", "user", "oracle", "report_store"].contains(*key)
                || section.contains('.')
        }) {
            assert!(part.contains(&format!("\n| `{key}` |")), "[{section}] {key}");
        }
    }
}

#[test]
fn the_examples_of_the_manual_have_no_mistakes() {
    let manual = manual();
    let examples: Vec<_> = manual
        .split("\n```toml\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or_default())
        .collect();
    assert!(examples.len() >= 2);
    for example in examples {
        assert_eq!(printed(example), "", "{example}");
    }
}
