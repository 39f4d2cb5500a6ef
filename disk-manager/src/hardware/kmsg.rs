//! The kernel's log. Only root may read it (`dmesg_restrict`), so that it is here.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use disk_manager_plan::hardware::{Answer, KernelMessage};

use super::desk::failed;
use super::record::parse;

/// The most messages of one answer; who gets as many asks again behind the last.
pub(super) const MOST_MESSAGES: usize = 500;

/// Warnings and worse (syslog(2)).
const HIGHEST_LEVEL: u8 = 4;

/// The facility of the kernel itself; programs write with others.
const KERNEL: u64 = 0;

/// The longest record (`CONSOLE_EXT_LOG_MAX` and `PRINTKRB_RECORD_MAX` are 8192 and 1024 bytes).
const LONGEST_RECORD: usize = 8192;

/// The most records that are looked at for one answer. The kernel's buffer of up to some MiB has tens of
/// thousands; one that is written to as fast as it is read would not end otherwise.
const MOST_RECORDS: usize = 1 << 17;

/// Reads what `device` has behind the message `after`.
pub(super) fn read(device: &Path, after: Option<u64>) -> Answer {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(device);
    let mut log = match open {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Answer::Absent { what: format!("a kernel log ({})", device.display()) };
        }
        Err(error) => return failed(format!("cannot open {}: {error}", device.display())),
    };
    match collect(&mut log, after) {
        Ok((messages, lost)) => Answer::KernelLog { messages, lost },
        Err(error) => failed(format!("cannot read {}: {error}", device.display())),
    }
}

/// Every read gives one record, or says that there is none yet (EAGAIN), or that the next one has been
/// overwritten meanwhile (EPIPE).
pub(super) fn collect(
    log: &mut impl Read,
    after: Option<u64>,
) -> io::Result<(Vec<KernelMessage>, u64)> {
    let mut messages = Vec::new();
    let mut lost = 0u64;
    let mut last = after;
    let mut bytes = [0; LONGEST_RECORD];
    for _ in 0..MOST_RECORDS {
        let length = match log.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::EINTR)) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(record) = bytes.get(..length).and_then(parse) else { continue };
        let message = record.message;
        if after.is_some_and(|after| message.sequence <= after) {
            continue;
        }
        if let Some(last) = last {
            let gap = message.sequence.saturating_sub(last).saturating_sub(1);
            lost = lost.saturating_add(gap);
        }
        last = Some(message.sequence);
        if record.facility == KERNEL && message.level <= HIGHEST_LEVEL {
            messages.push(message);
            if messages.len() == MOST_MESSAGES {
                break;
            }
        }
    }
    Ok((messages, lost))
}
