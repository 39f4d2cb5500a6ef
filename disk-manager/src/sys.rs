//! The one system call without a safe wrapper.

use std::io;
use std::os::fd::AsFd;

/// `BLKRRPART` of linux/fs.h: the kernel reads the partition table again.
const BLKRRPART: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(0x12, 95);

/// Makes the kernel read a disk's partition table again.
///
/// # Errors
/// A partition is in use, another has the disk open for itself, or it is not a block device.
#[expect(unsafe_code, reason = "no safe wrapper of BLKRRPART exists")]
pub fn reread_partition_table(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument and touches no memory of this process.
    unsafe {
        let request = rustix::ioctl::NoArg::<BLKRRPART>::new();
        rustix::ioctl::ioctl(disk, request)?;
    }
    Ok(())
}
