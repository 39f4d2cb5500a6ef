//! One record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg), such as
//! `4,1037,5212345,-;ata1.00: exception Emask 0x0` and lines of ` KEY=value` behind it. Pure; the fuzzer
//! takes this file as it is.

use disk_manager_plan::hardware::KernelMessage;

/// The longest text that is passed on, in characters. The kernel's own lines end at 1 KiB.
const LONGEST_TEXT: usize = 512;

/// A record: who wrote it, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Facility of syslog: 0 is the kernel, others are programs.
    pub(crate) facility: u64,
    /// What it says.
    pub(crate) message: KernelMessage,
}

/// Takes a record apart; `None` where it is none.
pub(crate) fn parse(bytes: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(bytes);
    let (head, rest) = text.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u64 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let at_us = fields.next()?.parse().ok()?;
    let line = rest.lines().next().unwrap_or_default();
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let text = line.chars().map(printable).take(LONGEST_TEXT).collect();
    // syslog(2): the lowest three bits are the level.
    let level = u8::try_from(priority & 7).ok()?;
    Some(Record {
        facility: priority >> 3,
        message: KernelMessage { sequence, level, at_us, text },
    })
}
