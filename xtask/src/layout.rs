//! Where things are: the workspace, what is built, and what is kept between clones.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process;

/// The directories of one build.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The workspace's root.
    pub root: PathBuf,
    /// Cargo's target directory: everything that is built goes below it.
    pub target: PathBuf,
    /// Downloads that all clones share.
    pub cache: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Layout {
    /// The layout of the workspace that this program belongs to.
    ///
    /// # Errors
    ///
    /// When cargo cannot describe the workspace or no home directory is known.
    pub(crate) fn find() -> Result<Self> {
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let text = process::output(
            Command::new(cargo())
                .args(["metadata", "--no-deps", "--format-version", "1"])
                .current_dir(&here),
        )?;
        let metadata: Metadata =
            serde_json::from_str(&text).context("cannot read the output of cargo metadata")?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            cache: cache_directory()?,
        })
    }

    /// The source files of the image: package lists, modules, boot loader configuration.
    pub(crate) fn image_sources(&self) -> PathBuf {
        self.root.join("image")
    }
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Cargo's home: sources of third-party crates live below it.
///
/// # Errors
///
/// When neither `CARGO_HOME` nor `HOME` is set.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    Ok(home()?.join(".cargo"))
}

fn cache_directory() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        _ => home()?.join(".cache"),
    };
    Ok(base.join("icn-node"))
}

fn home() -> Result<PathBuf> {
    match env::var_os("HOME") {
        Some(home) if !home.is_empty() => Ok(PathBuf::from(home)),
        _ => bail!("HOME is not set: set it to a directory that may be written to"),
    }
}
