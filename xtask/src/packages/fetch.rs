//! Downloads the pinned packages into the cache, and unpacks them without installing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::lock::{Lock, Pinned};
use super::mirror::Mirror;
use crate::layout::Layout;
use crate::process;
use crate::step;

/// A package unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The directory that stands for `/`.
    pub dir: PathBuf,
}

/// Downloads what the cache does not hold yet. A file in the cache was verified before it got its
/// name there.
///
/// # Errors
///
/// When a file cannot be fetched or has another hash than the lock says.
pub(crate) fn fetch(layout: &Layout, lock: &Lock) -> Result<()> {
    let dir = cache(layout);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let missing: Vec<_> =
        lock.packages.iter().filter(|p| !dir.join(p.file_name()).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let bytes: u64 = missing.iter().map(|p| p.size).sum();
    let mirror = Mirror::find()?;
    let name = format!("download of {} packages, {} MB", missing.len(), bytes / 1_000_000);
    step::timed(&name, || missing.iter().try_for_each(|pinned| fetch_one(&dir, &mirror, pinned)))
}

fn fetch_one(dir: &Path, mirror: &Mirror, pinned: &Pinned) -> Result<()> {
    let base = mirror.base(pinned.archive).with_context(|| {
        format!("{} is in the security archive, which the apt sources do not name", pinned.name)
    })?;
    let partial = dir.join(format!("{}.{}.part", pinned.file_name(), std::process::id()));
    let downloaded = process::output(
        process::command("/usr/lib/apt/apt-helper")
            .args(["-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root", "download-file"])
            .arg(format!("{base}/{}", escaped(&pinned.path)))
            .arg(&partial)
            .arg(format!("SHA256:{}", pinned.sha256)),
    );
    if let Err(error) = downloaded {
        let _ = fs::remove_file(&partial);
        let text = format!("{error:#}");
        if text.contains("404") {
            bail!(
                "the mirror no longer has {} {}, as mirrors drop superseded versions: \
                 run `cargo xtask lock` to pin the current ones",
                pinned.name,
                pinned.version
            );
        }
        return Err(error).with_context(|| format!("cannot download {}", pinned.name));
    }
    let sum = step::sha256_of(&partial)?;
    ensure!(
        sum == pinned.sha256,
        "the download of {} has SHA-256 {sum}, but {} says {}",
        pinned.name,
        Lock::FILE,
        pinned.sha256
    );
    let path = dir.join(pinned.file_name());
    fs::rename(&partial, &path).with_context(|| format!("cannot make {}", path.display()))
}

/// Unpacks a package below `into`, unless it is there already.
///
/// # Errors
///
/// When it cannot be unpacked.
pub(crate) fn unpack(layout: &Layout, pinned: &Pinned, into: &Path) -> Result<Unpacked> {
    let dir = into.join(format!("{}-{}", pinned.name, pinned.short_hash()));
    if dir.exists() {
        return Ok(Unpacked { dir });
    }
    let partial = into.join(format!("{}.part", pinned.name));
    if partial.exists() {
        fs::remove_dir_all(&partial)
            .with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    let archive = cache(layout).join(pinned.file_name());
    process::output(process::command("dpkg-deb").arg("-x").arg(&archive).arg(&partial))?;
    fs::rename(&partial, &dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(Unpacked { dir })
}

fn cache(layout: &Layout) -> PathBuf {
    layout.cache.join("packages")
}

/// A pool path as it stands in an address: `+` and `~` occur in versions, and some mirrors take a
/// bare `+` for a space.
fn escaped(path: &str) -> String {
    path.replace('+', "%2b").replace('~', "%7e")
}
