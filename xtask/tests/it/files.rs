//! Names and sizes of source files, and crates' folders.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// Lines above which a source file is split, so that it fits the head.
const LONGEST_FILE: usize = 600;

/// Names that tell a reader nothing.
const EMPTY_NAMES: &[&str] = &["common", "util", "utils", "helper", "helpers", "manager", "misc"];

/// Every source file that git tracks or would track.
fn sources() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.rs"])
        .current_dir(workspace())
        .output()
        .expect("git runs");
    let listing = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> =
        listing.lines().map(PathBuf::from).filter(|path| workspace().join(path).exists()).collect();
    assert!(files.len() > 30, "git lists the workspace's sources");
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(workspace().join(path))
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

#[test]
fn no_source_file_is_too_long_to_hold_in_the_head() {
    for path in sources() {
        let lines = read(&path).lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines: split it", path.display());
    }
}

#[test]
fn no_file_or_folder_has_a_name_that_says_nothing() {
    for path in sources() {
        for part in path.with_extension("").components() {
            let part = part.as_os_str().to_string_lossy().to_lowercase();
            assert!(!EMPTY_NAMES.contains(&part.as_str()), "{}: name the thing", path.display());
        }
    }
}

#[test]
fn unsafe_code_stands_only_in_sys_modules() {
    for path in sources() {
        let is_sys = path.file_stem().is_some_and(|stem| stem == "sys")
            || path.components().any(|part| part.as_os_str() == "sys");
        let uses = read(&path).lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains(concat!("unsafe", " {")) || code.contains(concat!("unsafe", " impl"))
        });
        assert!(is_sys || !uses, "{} uses unsafe outside a sys module", path.display());
    }
}
