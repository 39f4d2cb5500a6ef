//! What the design says of tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What the table of tests stands between.
const MARKS: (&str, &str) = ("<!-- proofs: begin -->", "<!-- proofs: end -->");

/// The names of functions in all Rust and Solidity files below a folder.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // What tools make, and packages.
        if path.is_symlink() || ["target", "out", "node_modules"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            names(&path, found);
        } else if name.ends_with(".rs") || name.ends_with(".sol") {
            let text = fs::read_to_string(&path).expect("text");
            let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let named = words.windows(2).filter(|pair| ["fn", "function"].contains(&pair[0]));
            found.extend(named.map(|pair| pair[1].to_owned()));
        }
    }
}

#[test]
fn tests_that_are_named_in_the_design_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/design/settlement.md")).expect("text");
    let (_, behind) = text.split_once(MARKS.0).expect("the table begins");
    let (table, _) = behind.split_once(MARKS.1).expect("and ends");
    let mut found = BTreeSet::new();
    names(&root.join("agent"), &mut found);
    names(&root.join("tests"), &mut found);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 30, "{} rows", rows.len());
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test is named: {row}");
        for name in named {
            assert!(found.contains(name), "there is no test {name}: {row}");
        }
    }
}
