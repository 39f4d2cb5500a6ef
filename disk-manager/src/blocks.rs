//! Reading and writing a disk by place: a real one, an image file, or one in memory for tests.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use disk_manager_plan::observe::Trouble;

/// A run of bytes that can be read by place.
pub trait Blocks {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The read failed, or the disk ends before.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl Blocks for File {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }
}

/// Reads `length` bytes from `offset` on; a failure names the place in bytes and in blocks.
///
/// # Errors
/// The read failed.
pub fn read(
    disk: &impl Blocks,
    offset: u64,
    length: usize,
    block: u32,
) -> Result<Vec<u8>, Trouble> {
    let mut bytes = vec![0; length];
    disk.read(offset, &mut bytes).map_err(|error| Trouble::Read {
        offset,
        lba: offset / u64::from(block.max(1)),
        error: error.to_string(),
    })?;
    Ok(bytes)
}
