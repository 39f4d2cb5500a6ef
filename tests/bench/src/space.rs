//! Room that files take, and their pages in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Bytes per block in `st_blocks`, stat(3type).
const BLOCK: u64 = 512;

/// Bytes on disk below a folder.
///
/// # Errors
/// It cannot be read.
pub(crate) fn on_disk(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in files(dir)? {
        match path.symlink_metadata() {
            Ok(metadata) => bytes += metadata.blocks() * BLOCK,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| cannot_read(&path)),
        }
    }
    Ok(bytes)
}

/// Drops what the kernel keeps of the files below a folder, as far as it is on disk.
///
/// # Errors
/// They cannot be read.
pub(crate) fn forget(dir: &Path) -> Result<()> {
    for path in files(dir)? {
        if !path.is_file() {
            continue;
        }
        let file = File::open(&path).with_context(|| cannot_read(&path))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .with_context(|| cannot_read(&path))?;
    }
    Ok(())
}

/// Everything below a folder.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| cannot_read(&dir))? {
            let entry = entry.with_context(|| cannot_read(&dir))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_below_all_folders() {
        let dir = tempfile::tempdir().unwrap();
        let before = on_disk(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        let file = File::create(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 65_536], 0).unwrap();
        file.sync_all().unwrap();
        let taken = on_disk(dir.path()).unwrap() - before;
        assert!((65_536..200_000).contains(&taken), "{taken}");
        forget(dir.path()).unwrap();
    }
}
