//! The one system call that no crate in use wraps.

use std::io;

/// What the kernel knows about the discipline of its clock (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KernelClock {
    /// Whether the kernel holds the clock for unsynchronised (`STA_UNSYNC` or `TIME_ERROR`).
    pub(crate) unsynchronised: bool,
    /// Largest possible error in microseconds, as far as the kernel knows.
    pub(crate) max_error_us: u64,
    /// Estimated error in microseconds.
    pub(crate) estimated_error_us: u64,
    /// What is still to be corrected, in microseconds.
    pub(crate) offset_us: i64,
    /// By how much the clock is made to run faster, in 10^-9.
    pub(crate) frequency_ppb: i64,
}

/// Reads the state of the kernel's clock; changes nothing and needs no privilege.
#[expect(unsafe_code, reason = "adjtimex is in neither nix nor rustix")]
pub(crate) fn kernel_clock() -> io::Result<KernelClock> {
    // SAFETY: timex is a C struct of integers only, for which all zeroes is a value; it is also
    // the documented read-only query (modes = 0).
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, exclusively borrowed timex.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(KernelClock {
        unsynchronised: state == libc::TIME_ERROR || timex.status & libc::STA_UNSYNC != 0,
        max_error_us: u64::try_from(timex.maxerror).unwrap_or(0),
        estimated_error_us: u64::try_from(timex.esterror).unwrap_or(0),
        offset_us: match timex.status & libc::STA_NANO {
            0 => timex.offset,
            _ => timex.offset / 1000,
        },
        // In 2^-16 of a millionth (adjtimex(2)); what the kernel allows times 1000 fits by far.
        frequency_ppb: timex.freq.saturating_mul(1000) / (1 << 16),
    })
}
