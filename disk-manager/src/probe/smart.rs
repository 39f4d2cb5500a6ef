//! Rule A9: the disk's own health assessment, through `smartctl` of smartmontools.

use std::path::Path;
use std::time::Duration;

use disk_manager_plan::observe::{Bus, Smart};

use super::smartctl::read;
use crate::program::run;

/// smartctl sends a handful of commands, each of which the kernel lets take up to 30 s.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks the disk. One that is asleep is left so.
#[must_use]
pub fn smart(path: &Path, bus: Bus) -> Smart {
    match bus {
        Bus::Virtio => return Smart::NotSupported("a virtio disk cannot have it".to_owned()),
        Bus::Mmc => return Smart::NotSupported("a memory card cannot have it".to_owned()),
        Bus::Ata | Bus::Scsi | Bus::Nvme | Bus::Usb | Bus::Other => {}
    }
    let path = path.to_string_lossy();
    match run("smartctl", &["--json=c", "-H", "-i", "-n", "standby", &path], LIMIT) {
        Ok(output) => read(output.status, &output.stdout),
        Err(error) => Smart::Unreadable(chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
