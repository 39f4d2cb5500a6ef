//! The kernel's message buffer: where init writes before it has a log, and what survives it.

use std::fs::OpenOptions;
use std::io::Write;

/// The device, once /dev is mounted.
const DEVICE: &str = "/dev/kmsg";

/// How urgent a message is, as syslog has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    /// The node cannot start: shown on every console, whatever its log level.
    Emergency = 0,
    /// Something is wrong.
    Error = 3,
    /// For those who look.
    Info = 6,
}

/// Writes one message; without a device it is lost, as there is nowhere else to write.
pub(crate) fn write(level: Level, text: &str) {
    /// `LOG_DAEMON` of syslog, in the bits above the level.
    const FACILITY: u8 = 3 << 3;
    let line = format!("<{}>init: {}\n", FACILITY | level as u8, text.replace('\n', " "));
    if let Ok(mut device) = OpenOptions::new().write(true).open(DEVICE) {
        // The kernel takes a message whole or not at all; there is no second place to complain.
        let _ = device.write_all(line.as_bytes());
    }
}
