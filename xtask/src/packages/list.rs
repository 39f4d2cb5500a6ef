//! `image/packages.toml`: the packages wanted and the files of each that go into the image.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::glob::Pattern;
use crate::layout::Layout;

/// The hand-written list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// The Debian release, such as `trixie`.
    pub suite: String,
    /// The archive areas, such as `main`.
    pub components: Vec<String>,
    /// The packages.
    #[serde(rename = "package")]
    pub packages: Vec<Wanted>,
}

/// One package wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Its name.
    pub name: String,
    /// What the node needs it for.
    pub why: String,
    /// Where its files go.
    #[serde(default)]
    pub part: Part,
    /// For a metapackage: the package wanted is the dependency whose name starts so.
    pub dependency: Option<String>,
    /// The files to take; every pattern must match something.
    #[serde(default)]
    pub keep: Vec<Pattern>,
}

/// The part of the image that a package goes into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Programs and libraries of the root file system.
    #[default]
    Root,
    /// Device firmware in the root file system.
    Firmware,
    /// The kernel and its modules, chosen by `image/modules.txt`.
    Kernel,
    /// Boot loader and stub: outside the root file system.
    Boot,
}

impl List {
    /// Where the list is in the workspace.
    pub(crate) const FILE: &str = "image/packages.toml";

    /// Reads the list.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is not of this form, or names a package twice.
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let path = layout.root.join(Self::FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let list: Self = toml::from_str(&text).with_context(|| format!("in {}", Self::FILE))?;
        let mut names = BTreeSet::new();
        for package in &list.packages {
            ensure!(
                names.insert(&package.name),
                "{}: {} is listed twice",
                Self::FILE,
                package.name
            );
            ensure!(!package.why.is_empty(), "{}: {} has no why", Self::FILE, package.name);
        }
        Ok(list)
    }
}
