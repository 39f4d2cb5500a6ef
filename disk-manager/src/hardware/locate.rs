//! The locate LED of a disk's slot, as the kernel's `ses` and `enclosure` drivers show it
//! (Documentation/ABI/testing/sysfs-class-enclosure): a folder for each slot below that of its
//! enclosure, in it `locate` and a link `device` to the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk_manager_plan::hardware::Answer;

use super::desk::failed;

/// The most slots that are looked at: a shelf has at most some hundred, a node a few shelves.
const MAX_SLOTS: usize = 4096;

/// Lights the LED of the slot of `device`, or puts it out. A shelf with two expanders shows the slot
/// twice; both are switched.
pub(super) fn switch(sysfs: &Path, device: &Path, on: bool) -> Answer {
    let leds = leds(sysfs, device);
    if leds.is_empty() {
        return Answer::Absent {
            what: "an enclosure that lights the slot of this disk".to_owned(),
        };
    }
    let word: &[u8] = if on { b"1" } else { b"0" };
    for led in leds {
        if let Err(error) = write(&led, word) {
            return failed(format!("cannot write {}: {error}", led.display()));
        }
    }
    Answer::Done
}

/// The file is there or the slot has no LED: it is never made.
fn write(led: &Path, word: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(led)?.write_all(word)
}

fn leds(sysfs: &Path, device: &Path) -> Vec<PathBuf> {
    let Some(name) = device.file_name() else { return Vec::new() };
    let disk = sysfs.join("class/block").join(name).join("device");
    let Ok(disk) = fs::canonicalize(disk) else { return Vec::new() };
    let enclosures = entries(&sysfs.join("class/enclosure"));
    let slots = enclosures.into_iter().flat_map(|enclosure| entries(&enclosure)).take(MAX_SLOTS);
    slots
        .filter(|slot| fs::canonicalize(slot.join("device")).is_ok_and(|found| found == disk))
        .map(|slot| slot.join("locate"))
        .filter(|led| led.exists())
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
