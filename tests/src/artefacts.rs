//! Where the things under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The built artefacts, as `cargo xtask image` leaves them.
#[derive(Debug, Clone)]
pub struct Artefacts {
    dir: PathBuf,
}

impl Artefacts {
    /// Finds them: the folder in `ICN_IMAGE_DIR`, else `target/image` of this workspace.
    ///
    /// # Errors
    /// Names the file that is missing and the command that makes it.
    pub fn find() -> Result<Self> {
        let dir = std::env::var_os("ICN_IMAGE_DIR")
            .map_or_else(|| workspace().join("target/image"), PathBuf::from);
        let found = Self { dir };
        for path in [found.stick_image(), found.kernel(), found.initrd()] {
            ensure!(path.exists(), "{} is missing: run `cargo xtask image` first", path.display());
        }
        Ok(found)
    }

    /// The stick's image, ready for `dd`.
    #[must_use]
    pub fn stick_image(&self) -> PathBuf {
        self.dir.join("icn-node.img")
    }

    /// The kernel inside the UKI.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The initial file system inside the UKI, with the whole root in it.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.cpio")
    }

    /// The kernel command line inside the UKI.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn command_line(&self) -> Result<String> {
        let path = workspace().join("image/boot/cmdline");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }
}

/// A program of this workspace that runs on a node, built in the profile that `ICN_BIN_DIR` or `target/release` holds.
///
/// # Errors
/// Names the program that is missing.
pub fn program(name: &str) -> Result<PathBuf> {
    found("ICN_BIN_DIR", "target/release", name)
}

/// A program that runs beside a node, in `ICN_TOOLS_DIR` or `target/debug`.
///
/// # Errors
/// Names the program that is missing.
pub fn tool(name: &str) -> Result<PathBuf> {
    found("ICN_TOOLS_DIR", "target/debug", name)
}

fn found(variable: &str, otherwise: &str, name: &str) -> Result<PathBuf> {
    let dir = std::env::var_os(variable).map_or_else(|| workspace().join(otherwise), PathBuf::from);
    let path = dir.join(name);
    ensure!(
        path.exists(),
        "{} is missing: run `cargo xtask test`, which builds it",
        path.display()
    );
    Ok(path)
}

/// The workspace's root folder.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
