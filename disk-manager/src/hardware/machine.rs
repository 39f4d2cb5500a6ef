//! Serial numbers and UUID of the machine, which the kernel shows to root alone (/sys/class/dmi/id).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use disk_manager_plan::hardware::{Answer, MACHINE_FILES, MACHINE_TEXT_MAX};
use tracing::warn;

use super::desk::failed;

/// Most bytes that are read of a file: each character takes at most four.
const BYTES_MAX: u64 = 4 * MACHINE_TEXT_MAX as u64;

/// Reads them below `sysfs`.
pub(super) fn read(sysfs: &Path) -> Answer {
    let folder = sysfs.join("class/dmi/id");
    let (mut texts, mut trouble) = (BTreeMap::new(), None);
    for name in MACHINE_FILES {
        let path = folder.join(name);
        match line(&path) {
            Ok(text) => _ = texts.insert(name.to_owned(), text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let why = format!("cannot read {}: {error}", path.display());
                warn!(why, "a serial number of the machine is not known");
                trouble = trouble.or(Some(why));
            }
        }
    }
    if texts.is_empty() {
        if let Some(why) = trouble {
            return failed(why);
        }
        let what = format!("serial numbers in the tables of its firmware ({})", folder.display());
        return Answer::Absent { what };
    }
    Answer::Machine { texts }
}

/// The first line of a file, in printable characters.
fn line(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.lines().next().unwrap_or_default().chars().map(printable).collect();
    Ok(line.trim().chars().take(MACHINE_TEXT_MAX).collect())
}
