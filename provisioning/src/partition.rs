//! Finding the partition ICN-SEED in an image or on a stick, and reading and writing only there.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use gpt::disk::LogicalBlockSize;
use gpt::{GptConfig, GptError};
use provisioning_config::seed::{LABEL, is_seed};

/// Block sizes a stick can have: nearly all have the first.
const BLOCK_SIZES: [LogicalBlockSize; 2] = [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096];

/// Why a target has no usable ICN-SEED partition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    #[error(
        "cannot open {}: check the path, and unmount a stick before it is written to",
        path.display()
    )]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "{} has no readable partition table: name the image made by `cargo xtask image`, or a \
         stick it was written to",
        path.display()
    )]
    Table { path: PathBuf, source: GptError },
    #[error(
        "{} has no {LABEL} partition: name the image made by `cargo xtask image`, or a stick it \
         was written to",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error("{} has {count} {LABEL} partitions: a node wants exactly one", path.display())]
    Several { path: PathBuf, count: usize },
    #[error("the {LABEL} partition of {} does not end within it: write the image anew", path.display())]
    Extent { path: PathBuf },
}

/// The one ICN-SEED partition of a target, open for writing.
#[derive(Debug)]
pub(crate) struct Partition {
    file: File,
    number: u32,
    start: u64,
    length: u64,
}

impl Partition {
    /// A fresh view of the partition's bytes; at most one is in use at a time.
    pub(crate) fn window(&self) -> io::Result<Window> {
        let file = self.file.try_clone()?;
        Ok(Window { file, start: self.start, length: self.length, position: 0 })
    }

    /// Returns when everything written is on stable storage.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} ({LABEL})", self.number)
    }
}

/// Opens the one ICN-SEED partition of an image or stick. A stick that is mounted is refused by
/// the kernel (`O_EXCL` on a block device).
pub(crate) fn open(path: &Path) -> Result<Partition, PartitionError> {
    let opened = || -> io::Result<(File, u64)> {
        let exclusive = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or(0);
        let mut file =
            OpenOptions::new().read(true).write(true).custom_flags(exclusive).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok((file, size))
    };
    let (mut file, size) =
        opened().map_err(|source| PartitionError::Open { path: path.to_owned(), source })?;
    let mut found = find(&mut file)
        .map_err(|source| PartitionError::Table { path: path.to_owned(), source })?;
    let (number, start, length) = match (found.pop(), found.len()) {
        (None, _) => return Err(PartitionError::Missing { path: path.to_owned() }),
        (Some(only), 0) => only,
        (Some(_), more) => {
            return Err(PartitionError::Several { path: path.to_owned(), count: more + 1 });
        }
    };
    if start.checked_add(length).is_none_or(|end| end > size) {
        return Err(PartitionError::Extent { path: path.to_owned() });
    }
    Ok(Partition { file, number, start, length })
}

/// Number, first byte and length in bytes of every ICN-SEED partition.
fn find(file: &mut File) -> Result<Vec<(u32, u64, u64)>, GptError> {
    let mut last = GptError::Io(io::ErrorKind::NotFound.into());
    for block_size in BLOCK_SIZES {
        let config = GptConfig::new().writable(false).logical_block_size(block_size);
        let disk = match config.open_from_device(&mut *file) {
            Ok(disk) => disk,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let seeds = disk.partitions().iter().filter(|(_, partition)| {
            is_seed(&partition.part_type_guid.guid.to_string(), &partition.name)
        });
        return seeds
            .map(|(number, partition)| {
                let start = partition.bytes_start(block_size)?;
                Ok((*number, start, partition.bytes_len(block_size)?))
            })
            .collect();
    }
    Err(last)
}

/// The bytes of one partition: nothing outside can be reached.
#[derive(Debug)]
pub(crate) struct Window {
    file: File,
    start: u64,
    length: u64,
    position: u64,
}

impl Window {
    /// How much of a buffer of `wanted` bytes fits, after going to the position.
    fn reach(&mut self, wanted: usize) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.start + self.position))?;
        let left = self.length.saturating_sub(self.position);
        Ok(usize::try_from(left).unwrap_or(usize::MAX).min(wanted))
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let reach = self.reach(buffer.len())?;
        let read = self.file.read(buffer.get_mut(..reach).unwrap_or_default())?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Write for Window {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let reach = self.reach(buffer.len())?;
        let written = self.file.write(buffer.get(..reach).unwrap_or_default())?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
