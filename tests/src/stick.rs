//! The USB stick: a copy of the built image with a configuration on its ICN-SEED partition.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::artefacts::Artefacts;
use crate::disks::partition_offset;

/// The one user that every test configuration has.
pub const USER: (&str, &str) = ("ICNTESTACCESSKEY0001", "a-secret-for-tests-only-0123456789abcdef");

/// A configuration that works in a test machine: small disks are claimed, no name is looked up
/// outside, the log goes to the second serial line.
#[must_use]
pub fn node_toml() -> String {
    node_toml_with("")
}

/// [`node_toml`] with more lines at the end; those of `[network]` may only be tables of their own.
#[must_use]
pub fn node_toml_with(more: &str) -> String {
    let (access, secret) = USER;
    format!(
        "version = 1\n\
         [node]\nname = \"e2e\"\n\
         [network]\nntp = []\n\
         [disks]\nmin_size = \"1GiB\"\n\
         [log]\nserial = \"ttyS1\"\n\
         [[s3.user]]\nname = \"tester\"\naccess_key = \"{access}\"\nsecret_key = \"{secret}\"\n\
         {more}\n"
    )
}

/// Makes a stick with these files on its ICN-SEED partition, at `path`.
///
/// The files are written with mtools, not with the product's own tool, so that a mistake in one
/// does not hide a mistake in the other.
///
/// # Errors
/// When the image cannot be copied or mtools fails.
pub fn make(artefacts: &Artefacts, path: &Path, files: &[(&str, &str)]) -> Result<PathBuf> {
    let image = artefacts.stick_image();
    let status = Command::new("cp").arg("--sparse=always").arg(&image).arg(path).status()?;
    ensure!(status.success(), "cannot copy {}", image.display());
    let offset = partition_offset(path, "ICN-SEED")?;
    let target = format!("{}@@{offset}", path.display());
    for (name, content) in files {
        let staged = path.with_extension("staged");
        std::fs::write(&staged, content)?;
        if let Some((folder, _)) = name.rsplit_once('/') {
            // The folder may be there from an earlier file.
            let _ = Command::new("mmd")
                .args(["-D", "s", "-i", &target, &format!("::{folder}")])
                .status();
        }
        let output = Command::new("mcopy")
            .args(["-o", "-i", &target])
            .arg(&staged)
            .arg(format!("::{name}"))
            .output()
            .context("cannot run mcopy")?;
        ensure!(
            output.status.success(),
            "mcopy {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::remove_file(&staged)?;
    }
    Ok(path.to_path_buf())
}
