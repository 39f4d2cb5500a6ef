//! Modules that no device asks for.
//!
//! They are loaded in a process of its own (`init modules`) once the services have started: none of
//! them is on the way to the first answer. File systems are loaded by the kernel when they are
//! mounted, should that be earlier.

use std::fs;

use crate::prepare::{MODPROBE, run_program, step};

/// The word on the command line that selects this module.
pub(crate) const COMMAND: &str = "modules";

/// The list, which the image's builder writes.
const LIST: &str = "/usr/lib/modules-load.d/icn.conf";

/// The watchdog of last resort, for machines without another.
const SOFT_WATCHDOG: &str = "softdog";

/// Loads what is listed, and the software watchdog where there is no other.
pub(crate) fn run() {
    // The services come first.
    let _ = rustix::process::nice(10);
    let list = fs::read_to_string(LIST).unwrap_or_default();
    let listed = parse(&list);
    if !listed.is_empty() {
        step("loading listed modules", || {
            run_program(MODPROBE, &[&["-a", "-q"], listed.as_slice()].concat());
        });
    }
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut names = devices.map(|entry| entry.file_name());
    if !names.any(|name| name.to_string_lossy().starts_with("watchdog")) {
        run_program(MODPROBE, &["-q", SOFT_WATCHDOG]);
    }
}

/// The modules of a list in the form of modules-load.d(5).
fn parse(list: &str) -> Vec<&str> {
    let lines = list.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines.flat_map(str::split_whitespace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_comments() {
        let list = "# storage\nxfs vfat\n\n  ipmi_devintf\n; no\n";
        assert_eq!(parse(list), ["xfs", "vfat", "ipmi_devintf"]);
    }
}
