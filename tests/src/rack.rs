//! A place to build machines in: a folder for sticks and disks, gone when the test ends.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::artefacts::{Artefacts, workspace};
use crate::disks::{Bus, Disk};
use crate::machine::{Machine, Setup};
use crate::stick;

/// A place to build machines in.
#[derive(Debug)]
pub struct Rack {
    /// The artefacts under test.
    pub artefacts: Artefacts,
    dir: TempDir,
}

impl Rack {
    /// An empty rack, below the build folder: disks are too large for a `/tmp` in memory.
    ///
    /// # Errors
    /// When artefacts are missing or the folder cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let parent = workspace().join("target/e2e");
        std::fs::create_dir_all(&parent)
            .with_context(|| format!("cannot make {}", parent.display()))?;
        Ok(Self {
            artefacts: Artefacts::find()?,
            dir: tempfile::Builder::new().prefix(name).tempdir_in(parent)?,
        })
    }

    /// The rack's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A blank disk.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn blank(&self, serial: &str, bus: Bus, gib: u64) -> Result<Disk> {
        Disk::blank(self.path(), serial, bus, gib)
    }

    /// A stick whose ICN-SEED partition holds this `node.toml`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn stick(&self, name: &str, node_toml: &str) -> Result<PathBuf> {
        stick::make(&self.artefacts, &self.path().join(name), &[("node.toml", node_toml)])
    }

    /// Powers a machine on.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn boot(&self, setup: &Setup) -> Result<Machine> {
        Machine::start(&self.artefacts, setup)
    }
}
