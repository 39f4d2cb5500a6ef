//! The only unsafe code of PID 1: ioctls that no safe crate offers.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `LO_FLAGS_READ_ONLY` of linux/loop.h.
const LOOP_READ_ONLY: u32 = 1;

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

mod raw {
    use super::LoopConfig;

    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4c82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4c0a, LoopConfig);
    nix::ioctl_readwrite!(watchdog_set_timeout, b'W', 6, i32);
}

/// The number of a loop device that nothing uses (`LOOP_CTL_GET_FREE` on /dev/loop-control).
///
/// # Errors
///
/// As the kernel gives them.
pub(crate) fn loop_free(control: impl AsFd) -> io::Result<u32> {
    let fd = control.as_fd().as_raw_fd();
    #[expect(unsafe_code, reason = "no safe crate offers LOOP_CTL_GET_FREE")]
    // SAFETY: the descriptor is open for the call, and the ioctl takes no argument.
    let number = unsafe { raw::loop_ctl_get_free(fd) }?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Puts a file behind a loop device, read-only (`LOOP_CONFIGURE`).
///
/// # Errors
///
/// As the kernel gives them.
pub(crate) fn loop_attach(device: impl AsFd, file: impl AsFd) -> io::Result<()> {
    let config = LoopConfig {
        fd: u32::try_from(file.as_fd().as_raw_fd()).map_err(io::Error::other)?,
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LOOP_READ_ONLY,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    let fd = device.as_fd().as_raw_fd();
    #[expect(unsafe_code, reason = "no safe crate offers LOOP_CONFIGURE")]
    // SAFETY: both descriptors are open for the call; `config` is the structure that the ioctl
    // reads, complete and alive until it returns.
    unsafe { raw::loop_configure(fd, &raw const config) }?;
    Ok(())
}

/// Asks a watchdog for a time-out in seconds; gives the one that it took (`WDIOC_SETTIMEOUT`).
///
/// # Errors
///
/// As the driver gives them; some have one fixed time-out.
pub(crate) fn watchdog_timeout(device: impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut taken = seconds;
    let fd = device.as_fd().as_raw_fd();
    #[expect(unsafe_code, reason = "no safe crate offers WDIOC_SETTIMEOUT")]
    // SAFETY: the descriptor is open for the call; the ioctl reads and writes one `int`, which
    // `taken` is, alive until it returns.
    unsafe { raw::watchdog_set_timeout(fd, &raw mut taken) }?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernel_s_size() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
