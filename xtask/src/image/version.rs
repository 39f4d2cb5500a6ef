//! The version of the image: that of the workspace and the commit it is built from.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::layout::Layout;
use crate::process;

/// The image's name wherever one is asked for.
pub(crate) const NAME: &str = "icn-node";

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The workspace's version, such as `0.1.0`.
    pub number: String,
    /// The commit's first 12 digits, with `-dirty` where the tree differs from it; `unknown`
    /// outside git.
    pub commit: String,
    /// When that commit was made, in seconds since 1970: no node's clock can rightly be earlier.
    pub built: u64,
}

impl Version {
    /// The version of a workspace.
    ///
    /// # Errors
    ///
    /// When its Cargo.toml cannot be read.
    pub(crate) fn of(layout: &Layout) -> Result<Self> {
        #[derive(Deserialize)]
        struct Manifest {
            workspace: Workspace,
        }
        #[derive(Deserialize)]
        struct Workspace {
            package: Package,
        }
        #[derive(Deserialize)]
        struct Package {
            version: String,
        }
        let path = layout.root.join("Cargo.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let number = manifest.workspace.package.version;
        Ok(Self {
            number,
            commit: commit(layout).unwrap_or_else(|| "unknown".to_owned()),
            built: commit_time(layout).unwrap_or_default(),
        })
    }

    /// The text of `/etc/os-release`, which the boot loader's menu reads as well.
    pub(crate) fn os_release(&self) -> String {
        let Self { number, commit, built } = self;
        format!(
            "ID={NAME}\nNAME=\"ICN Node\"\nPRETTY_NAME=\"ICN Node {number} ({commit})\"\n\
             VERSION_ID={number}\nBUILD_ID={commit}\nIMAGE_ID={NAME}\nIMAGE_VERSION={number}\n\
             BUILD_EPOCH={built}\n"
        )
    }
}

fn commit_time(layout: &Layout) -> Option<u64> {
    let mut git = Command::new("git");
    git.arg("-C").arg(&layout.root).args(["log", "-1", "--format=%ct"]);
    process::output(&mut git).ok()?.trim().parse().ok()
}

fn commit(layout: &Layout) -> Option<String> {
    let git = |args: &[&str]| {
        process::output(Command::new("git").arg("-C").arg(&layout.root).args(args)).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?.trim().to_owned();
    let changed = !git(&["status", "--porcelain"])?.trim().is_empty();
    Some(if changed { format!("{commit}-dirty") } else { commit })
}
