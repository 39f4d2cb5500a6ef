//! The check that every program of the root file system finds its libraries there.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::packages::List;
use crate::process;
use crate::step;

/// Where the dynamic loader looks, and where udev's private library is.
const LIBRARY_DIRECTORIES: [&str; 3] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib/x86_64-linux-gnu/systemd"];

/// How many files one readelf reads: keeps its command line short.
const FILES_PER_READELF: usize = 64;

/// Fails where a program or library below `root` needs one that is not there.
///
/// # Errors
///
/// Names every such program with the library, or says what could not be read.
pub(crate) fn check_libraries(root: &Path) -> Result<()> {
    let present = libraries(root)?;
    let mut programs = Vec::new();
    for path in step::files_below(root)? {
        if !path.is_symlink() && path.extension().is_none_or(|e| e != "ko") && is_elf(&path)? {
            programs.push(path);
        }
    }
    let mut missing = Vec::new();
    for some in programs.chunks(FILES_PER_READELF) {
        // With a single file readelf does not print its name, so a second one is always given.
        let first = some.first().map(PathBuf::as_path).unwrap_or(root);
        let text = process::output(process::command("readelf").arg("-d").args(some).arg(first))?;
        for (program, library) in needed(&text) {
            if !present.contains(library) {
                let program = Path::new(program).strip_prefix(root).unwrap_or(Path::new(program));
                missing.push(format!("/{} needs {library}", program.display()));
            }
        }
    }
    missing.sort();
    missing.dedup();
    if !missing.is_empty() {
        bail!(
            "the image lacks libraries; add the package that has them to {}:\n  {}",
            List::FILE,
            missing.join("\n  ")
        );
    }
    Ok(())
}

/// (program, library) pairs in the output of `readelf -d`.
fn needed(text: &str) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    let mut program = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("File: ") {
            program = name;
        } else if let Some((_, library)) = line.split_once("(NEEDED)") {
            let name = library.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
            pairs.extend(name.map(|(library, _)| (program, library)));
        }
    }
    pairs
}

fn libraries(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for dir in LIBRARY_DIRECTORIES {
        let dir = root.join(dir);
        if !dir.is_dir() {
            continue;
        }
        let entries = dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
            // A link that leads nowhere is no library.
            if entry.path().exists() {
                names.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    Ok(names)
}

fn is_elf(path: &Path) -> Result<bool> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut start = Vec::new();
        File::open(path)?.take(4).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = read().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(start == b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries_are_read_with_their_program() {
        let text = "\nFile: /r/usr/bin/a\n\nDynamic section at offset 0x1 contains 2 entries:\n \
            0x0000000000000001 (NEEDED)             Shared library: [libudev.so.1]\n \
            0x000000000000000e (SONAME)             Library soname: [a.so]\n\nFile: /r/usr/bin/b\n \
            0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n";
        assert_eq!(needed(text), [("/r/usr/bin/a", "libudev.so.1"), ("/r/usr/bin/b", "libc.so.6")]);
    }
}
