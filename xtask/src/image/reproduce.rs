//! The proof that a build depends on nothing but its sources: a second one, of a copy of the
//! workspace in another directory, must give the same bits.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::build::{Built, Compression, build};
use super::version::Version;
use crate::layout::Layout;
use crate::process;
use crate::step;

/// Builds a copy of the workspace and compares.
///
/// # Errors
///
/// When the copy cannot be built or gives other bits.
pub(crate) fn verify(
    layout: &Layout,
    version: &Version,
    compression: Compression,
    first: &Built,
) -> Result<()> {
    let place = layout.target.join("reproducible");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    // Another depth and length of path than any clone is likely to have.
    let root = place.join("a/copy-of/the-workspace");
    step::timed("copy of the workspace", || copy(layout, &root))?;
    let other = Layout { target: root.join("target"), cache: layout.cache.clone(), root };
    let second = build(&other, version, compression, None)?;
    let mut different = Vec::new();
    for (a, b) in [(&first.uki, &second.uki), (&first.stick, &second.stick)] {
        let (sum_a, sum_b) = (step::sha256_of(a)?, step::sha256_of(b)?);
        println!("{sum_a}  {}\n{sum_b}  {}", a.display(), b.display());
        if sum_a != sum_b {
            different.push(a.display().to_string());
        }
    }
    if !different.is_empty() {
        bail!(
            "the second build gave other bits for {}: it is left in {} for comparison",
            different.join(" and "),
            place.display()
        );
    }
    println!("both builds are the same, bit for bit");
    fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))
}

/// Copies every file that git knows or would take up.
fn copy(layout: &Layout, to: &Path) -> Result<()> {
    let list = process::output(process::command("git").arg("-C").arg(&layout.root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let (from, to): (PathBuf, PathBuf) = (layout.root.join(name), to.join(name));
        // A file that is deleted but not yet committed so.
        if !from.exists() {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}
