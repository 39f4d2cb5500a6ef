//! `image/packages.lock`: the exact package files that an image is made of.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::list::{List, Wanted};
use crate::layout::Layout;
use crate::step;

/// The lock file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// Version of this form: 1.
    pub version: u32,
    /// The Debian release that the packages are from.
    pub suite: String,
    /// Sorted by the name they are wanted under.
    #[serde(rename = "package")]
    pub packages: Vec<Pinned>,
}

/// One package file. No host name stands here: any mirror of the archive has the file, while it is
/// current, below its base address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pinned {
    /// The package's name.
    pub name: String,
    /// The metapackage it is wanted as, where that is another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_as: Option<String>,
    /// Version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// Which archive it is in.
    pub archive: Archive,
    /// Path of the file below the archive's base address.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

/// Debian's two archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Archive {
    /// The release and its updates.
    Main,
    /// Security updates.
    Security,
}

impl Lock {
    /// Where the lock file is in the workspace.
    pub(crate) const FILE: &str = "image/packages.lock";

    /// The form this code reads and writes.
    const VERSION: u32 = 1;

    /// A lock of these packages.
    pub(crate) fn new(suite: &str, mut packages: Vec<Pinned>) -> Self {
        packages.sort_by(|a, b| a.wanted_name().cmp(b.wanted_name()));
        Self { version: Self::VERSION, suite: suite.to_owned(), packages }
    }

    /// Reads the lock file.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is of another form.
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let path = layout.root.join(Self::FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lock: Self = toml::from_str(&text)
            .with_context(|| format!("in {}: run `cargo xtask lock`", Self::FILE))?;
        ensure!(
            lock.version == Self::VERSION,
            "{} is of version {}, this program reads {}: run `cargo xtask lock`",
            Self::FILE,
            lock.version,
            Self::VERSION
        );
        Ok(lock)
    }

    /// Writes the lock file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let body = toml::to_string(self).context("cannot write the lock as TOML")?;
        let text = format!(
            "# Written by `cargo xtask lock` from packages.toml; do not edit by hand.\n\n{body}"
        );
        step::replace_file(&layout.root.join(Self::FILE), text.as_bytes())
    }

    /// The pinned package for every wanted one, in the order of the list.
    ///
    /// # Errors
    ///
    /// When the lock does not fit the list.
    pub(crate) fn pins<'a, 'l>(&'a self, list: &'l List) -> Result<Vec<(&'l Wanted, &'a Pinned)>> {
        if self.suite != list.suite || self.packages.len() != list.packages.len() {
            bail!("{} does not fit {}: run `cargo xtask lock`", Self::FILE, List::FILE);
        }
        list.packages
            .iter()
            .map(|wanted| {
                let pinned = self.packages.iter().find(|p| p.wanted_name() == wanted.name);
                let pinned = pinned.with_context(|| {
                    format!("{} is not in {}: run `cargo xtask lock`", wanted.name, Self::FILE)
                })?;
                Ok((wanted, pinned))
            })
            .collect()
    }

    /// What is different from an older lock, in words.
    pub(crate) fn changes_since(&self, old: Option<&Self>) -> Vec<String> {
        let none = Vec::new();
        let before = old.map_or(&none, |lock| &lock.packages);
        let find =
            |list: &[Pinned], name: &str| list.iter().find(|p| p.wanted_name() == name).cloned();
        let mut changes = Vec::new();
        for new in &self.packages {
            match find(before, new.wanted_name()) {
                None => changes.push(format!("{} {} (new)", new.name, new.version)),
                Some(old) if old != *new => changes
                    .push(format!("{} {} → {} {}", old.name, old.version, new.name, new.version)),
                Some(_) => {}
            }
        }
        for old in before {
            if find(&self.packages, old.wanted_name()).is_none() {
                changes.push(format!("{} {} (gone)", old.name, old.version));
            }
        }
        changes
    }
}

impl Pinned {
    /// The name in the list.
    pub(crate) fn wanted_name(&self) -> &str {
        self.wanted_as.as_ref().unwrap_or(&self.name)
    }

    /// The file's name in the cache: the hash makes it unique.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}.deb", self.name, self.short_hash())
    }

    /// The first 16 digits of the hash: enough to tell versions of one package apart.
    pub(crate) fn short_hash(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(name: &str, version: &str) -> Pinned {
        Pinned {
            name: name.to_owned(),
            wanted_as: None,
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            archive: Archive::Main,
            path: format!("pool/main/x/{name}_{version}_amd64.deb"),
            size: 1,
            sha256: "00".repeat(32),
        }
    }

    #[test]
    fn a_lock_reads_back_as_written() {
        let lock = Lock::new("trixie", vec![pinned("b", "1"), pinned("a", "2")]);
        let text = toml::to_string(&lock).unwrap();
        let back: Lock = toml::from_str(&text).unwrap();
        assert_eq!(back.packages, lock.packages);
        assert_eq!(back.packages[0].name, "a");
    }

    #[test]
    fn changes_name_what_came_went_and_moved() {
        let old = Lock::new("trixie", vec![pinned("a", "1"), pinned("b", "1"), pinned("c", "1")]);
        let new = Lock::new("trixie", vec![pinned("a", "1"), pinned("b", "2"), pinned("d", "1")]);
        assert_eq!(new.changes_since(Some(&old)), ["b 1 → b 2", "d 1 (new)", "c 1 (gone)"]);
    }
}
