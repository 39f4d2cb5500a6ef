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
    read_into(disk, offset, &mut bytes, block)?;
    Ok(bytes)
}

/// Fills `bytes` from `offset` on; a failure names the place in bytes and in blocks.
///
/// # Errors
/// The read failed.
pub fn read_into(
    disk: &impl Blocks,
    offset: u64,
    bytes: &mut [u8],
    block: u32,
) -> Result<(), Trouble> {
    disk.read(offset, bytes).map_err(|error| Trouble::Read {
        offset,
        lba: offset / u64::from(block.max(1)),
        error: error.to_string(),
    })
}

/// Memory for reads that bypass the page cache, which want it aligned.
#[derive(Debug)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

/// Alignment that every disk accepts for direct reads, in bytes: the largest block size in use.
const ALIGN: usize = 4096;

impl Buffer {
    /// A buffer for reads of up to `length` bytes.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory, start, length }
    }

    /// Its first `count` bytes, or all where there are fewer.
    pub fn first(&mut self, count: usize) -> &mut [u8] {
        let end = self.start + count.min(self.length);
        self.memory.get_mut(self.start..end).unwrap_or_default()
    }
}
