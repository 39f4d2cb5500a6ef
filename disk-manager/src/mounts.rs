//! What is mounted and what is swap, from /proc, traced to disks through sysfs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::mountinfo::Mount;
use crate::mountinfo::{parse_mountinfo, unescape};

/// Everything that is mounted.
///
/// # Errors
/// /proc cannot be read.
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// The devices that are swap space in use.
///
/// # Errors
/// /proc cannot be read. A kernel without swap has none.
pub fn swaps() -> io::Result<Vec<PathBuf>> {
    match fs::read_to_string("/proc/swaps") {
        Ok(text) => Ok(text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .map(|name| PathBuf::from(unescape(name)))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What is in use, by the kernel name of the disk below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Mount points by disk.
    pub mounts: BTreeMap<String, Vec<PathBuf>>,
    /// Disks with swap space.
    pub swaps: Vec<String>,
    /// Mount points whose device is gone.
    pub stale: Vec<PathBuf>,
}

impl InUse {
    /// Reads what is in use now; `sysfs` is usually `/sys`.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read(sysfs: &Path) -> io::Result<Self> {
        Ok(Self::of(&mounts()?, &swaps()?, sysfs))
    }

    fn of(mounts: &[Mount], swaps: &[PathBuf], sysfs: &Path) -> Self {
        let mut found = Self::default();
        for mount in mounts {
            let by_number = disk_of(&sysfs.join("dev/block").join(&mount.device));
            // btrfs and others show a made-up number; then the source names the device.
            let name = mount.source.strip_prefix("/dev/").map(|name| name.replace('/', "!"));
            let by_name = name.and_then(|name| disk_of(&sysfs.join("class/block").join(name)));
            let is_block = !mount.device.starts_with("0:");
            match by_number.or(by_name) {
                Some(disk) => found.mounts.entry(disk).or_default().push(mount.at.clone()),
                None if is_block => found.stale.push(mount.at.clone()),
                None => {}
            }
        }
        for swap in swaps {
            let name = swap.strip_prefix("/dev/").ok().and_then(|name| name.to_str());
            let node = name.map(|name| sysfs.join("class/block").join(name.replace('/', "!")));
            found.swaps.extend(node.and_then(|node| disk_of(&node)));
        }
        found
    }
}

/// The kernel name of the disk that a block device in sysfs is or is a partition of.
fn disk_of(node: &Path) -> Option<String> {
    let node = fs::canonicalize(node).ok()?;
    let disk = if node.join("partition").exists() { node.parent()? } else { &node };
    Some(disk.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
22 1 0:21 / / rw - tmpfs tmpfs rw
30 22 8:2 / /data/a\\040b rw,noatime shared:1 master:2 - xfs /dev/sda2 rw
31 22 9:9 / /data/gone rw - xfs /dev/sdz2 rw
";

    #[test]
    fn mounts_are_traced_to_their_disks_and_those_without_a_disk_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("devices/sda/sda2")).unwrap();
        fs::write(root.join("devices/sda/sda2/partition"), "2").unwrap();
        fs::create_dir_all(root.join("dev/block")).unwrap();
        std::os::unix::fs::symlink("../../devices/sda/sda2", root.join("dev/block/8:2")).unwrap();

        let mounts = parse_mountinfo(TEXT);
        assert_eq!(mounts[1].at, Path::new("/data/a b"));
        let found = InUse::of(&mounts, &[], root);
        assert_eq!(found.mounts["sda"], [PathBuf::from("/data/a b")]);
        assert_eq!(found.stale, [PathBuf::from("/data/gone")]);
    }
}
