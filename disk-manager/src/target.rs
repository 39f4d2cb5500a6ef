//! A real disk as the target of a claim.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use disk_manager_plan::layout::DATA_START;
use uuid::Uuid;

use crate::blocks::Blocks;
use crate::claim::{ClaimError, Target};
use crate::device::partition_at;
use crate::held::Held;
use crate::program::{Output, between_starts, run};

/// How long the data partition may take to appear. The kernel makes its node at once; this is for a
/// machine under load.
const PARTITION_LIMIT: Duration = Duration::from_secs(10);
const PARTITION_STEP: Duration = Duration::from_millis(20);

/// mkfs.xfs writes some hundred MiB at most (its log), on a slow disk in about 10 s.
const FORMAT_LIMIT: Duration = Duration::from_secs(120);

/// How much of a half-made file system is blanked so that mkfs.xfs sees none, in bytes: the primary
/// superblock and the headers behind it.
const XFS_HEAD: usize = 64 * 1024;

/// A real disk that is held for a claim.
#[derive(Debug)]
pub struct DiskTarget<'a> {
    held: Held,
    sysfs: &'a Path,
    name: &'a str,
}

impl<'a> DiskTarget<'a> {
    /// The disk with that kernel name.
    #[must_use]
    pub fn new(held: Held, sysfs: &'a Path, name: &'a str) -> Self {
        Self { held, sysfs, name }
    }

    /// The disk as it is held.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    fn data_partition(&self) -> Option<PathBuf> {
        partition_at(self.sysfs, self.name, DATA_START).filter(|node| node.exists())
    }
}

impl Blocks for DiskTarget<'_> {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.held.read(offset, bytes)
    }
}

impl Target for DiskTarget<'_> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.held.write(offset, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.held.flush()
    }

    fn settle(&mut self) -> Result<(), ClaimError> {
        let failed = |source| ClaimError::Partitions { source };
        self.held.reread_partition_table().map_err(failed)?;
        let start = Instant::now();
        while self.data_partition().is_none() {
            if start.elapsed() > PARTITION_LIMIT {
                return Err(failed(io::ErrorKind::TimedOut.into()));
            }
            thread::sleep(PARTITION_STEP);
        }
        Ok(())
    }

    fn format(&mut self, volume: Uuid) -> Result<(), ClaimError> {
        let failed = |source| ClaimError::Write { what: "the data partition", source };
        let node = self
            .data_partition()
            .ok_or_else(|| ClaimError::Partitions { source: io::ErrorKind::NotFound.into() })?;
        self.held.let_partitions_be_held();
        while_held(&node, |partition| blank_half_made(partition, volume)).map_err(failed)?;
        // Without -f: mkfs.xfs refuses to overwrite anything that it recognises. -K: a blank disk
        // needs no discard, which takes minutes on some.
        let uuid = format!("uuid={volume}");
        let label: String = format!("icn-{}", volume.simple()).chars().take(12).collect();
        let node_text = node.to_string_lossy();
        let arguments = ["-q", "-K", "-m", &uuid, "-L", &label, &node_text];
        let Output { status, complaint, .. } = run("mkfs.xfs", &arguments, FORMAT_LIMIT)?;
        if status != 0 {
            return Err(ClaimError::Format { status, complaint });
        }
        while_held(&node, File::sync_all).map_err(failed)?;
        self.held.flush().map_err(failed)
    }
}

/// Works on a partition that is held for us alone meanwhile, and free for mkfs.xfs behind it.
fn while_held(partition: &Path, work: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(partition)?;
    let result = work(&file);
    between_starts(|| drop(file));
    result
}

/// Blanks the head of a file system with the UUID `volume`: one of ours that was half-made when the
/// power went, as the caller knows from the label.
fn blank_half_made(partition: &File, volume: Uuid) -> io::Result<()> {
    let mut head = [0; 512];
    partition.read_exact_at(&mut head, 0)?;
    if !crate::volume::is_xfs_of(&head, volume) {
        return Ok(());
    }
    partition.write_all_at(&[0; XFS_HEAD], 0)?;
    partition.sync_all()
}
