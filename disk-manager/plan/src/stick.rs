//! Which disk a support bundle is written to: a stick that somebody labelled for it, and no other. Pure.

use std::path::PathBuf;

use crate::observe::Bus;
use crate::report::Ownership;

/// The label of the file system of a stick for support bundles. FAT has 11 capitals.
pub const LABEL: &str = "ICN-SUPPORT";

/// The file system of such a stick, as blkid calls it.
pub const FILE_SYSTEM: &str = "vfat";

/// A disk that could be such a stick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Whose it is.
    pub ownership: Ownership,
    /// How it is attached.
    pub bus: Bus,
    /// Whether the kernel calls it removable.
    pub removable: bool,
    /// Whether the kernel calls it read-only.
    pub read_only: bool,
    /// Whether it or a part of it is mounted, swap space, or below another device.
    pub in_use: bool,
    /// The file systems with the label [`LABEL`] on it: on its partitions, or on all of it where it has none.
    pub labelled: Vec<FileSystem>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// The device that holds it, such as `/dev/sdc1`.
    pub device: PathBuf,
    /// As blkid calls it, such as `vfat`.
    pub kind: String,
}

/// Why no stick is written to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoStick {
    /// None has the label.
    #[error(
        "there is no stick with a FAT file system called {LABEL}: plug one in, or make one with \
         mkfs.vfat -n {LABEL}"
    )]
    Absent,
    /// Those with the label cannot be taken.
    #[error("no stick can be written to: {}", .0.join("; "))]
    Unfit(Vec<String>),
    /// It is not clear which is meant.
    #[error("{} are all called {LABEL}: leave one of them in", names(.0))]
    Several(Vec<PathBuf>),
}

/// Chooses the one file system that is written to.
///
/// # Errors
/// There is none, or it is not clear which.
pub fn choose(candidates: &[Candidate]) -> Result<PathBuf, NoStick> {
    let (mut fit, mut unfit) = (Vec::new(), Vec::new());
    for candidate in candidates {
        for found in &candidate.labelled {
            match objection(candidate, found) {
                None => fit.push(found.device.clone()),
                Some(why) => unfit.push(format!("{} {why}", found.device.display())),
            }
        }
    }
    match fit.as_slice() {
        [one] => Ok(one.clone()),
        [] if unfit.is_empty() => Err(NoStick::Absent),
        [] => Err(NoStick::Unfit(unfit)),
        _ => Err(NoStick::Several(fit)),
    }
}

/// Why this is not written to, in words behind its name.
fn objection(disk: &Candidate, found: &FileSystem) -> Option<String> {
    let pluggable = disk.removable || matches!(disk.bus, Bus::Usb | Bus::Mmc);
    match disk.ownership {
        Ownership::Ours => return Some("is on a disk of this node".to_owned()),
        Ownership::Boot => {
            return Some("is on the disk that the node was started from, or its twin".to_owned());
        }
        Ownership::Blank | Ownership::Foreign | Ownership::Failing => {}
    }
    if !pluggable {
        return Some("is on a disk that is built in: use a USB stick".to_owned());
    }
    if disk.in_use {
        return Some("is in use".to_owned());
    }
    if disk.read_only {
        return Some("is write-protected: look for a switch on it".to_owned());
    }
    (found.kind != FILE_SYSTEM)
        .then(|| format!("holds {}: make it FAT with mkfs.vfat -n {LABEL}", found.kind))
}

fn names(devices: &[PathBuf]) -> String {
    let names: Vec<String> = devices.iter().map(|device| device.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stick() -> Candidate {
        Candidate {
            ownership: Ownership::Foreign,
            bus: Bus::Usb,
            removable: true,
            read_only: false,
            in_use: false,
            labelled: vec![on("/dev/sdc1", "vfat")],
        }
    }

    fn on(device: &str, kind: &str) -> FileSystem {
        FileSystem { device: PathBuf::from(device), kind: kind.to_owned() }
    }

    #[test]
    fn exactly_one_labelled_stick_is_chosen() {
        let none = Candidate { labelled: Vec::new(), ..stick() };
        assert_eq!(choose(&[none.clone(), stick()]), Ok(PathBuf::from("/dev/sdc1")));
        let card = Candidate { bus: Bus::Mmc, removable: false, ..stick() };
        assert!(choose(&[card]).is_ok());
        let bay = Candidate { bus: Bus::Scsi, ..stick() };
        assert!(choose(&[bay]).is_ok(), "the kernel calls it removable");
        assert_eq!(choose(&[none]), Err(NoStick::Absent));
        assert_eq!(choose(&[]), Err(NoStick::Absent));
        let second = Candidate { labelled: vec![on("/dev/sdd", "vfat")], ..stick() };
        let error = choose(&[stick(), second]).unwrap_err().to_string();
        assert!(error.starts_with("/dev/sdc1, /dev/sdd are all called"), "{error}");
        let twice = vec![on("/dev/sdc1", "vfat"), on("/dev/sdc2", "vfat")];
        let error = choose(&[Candidate { labelled: twice, ..stick() }]).unwrap_err();
        assert!(matches!(error, NoStick::Several(_)), "{error}");
    }

    #[test]
    fn every_rule_keeps_a_labelled_disk_from_being_written_to() {
        let cases = [
            (Candidate { ownership: Ownership::Ours, ..stick() }, "disk of this node"),
            (Candidate { ownership: Ownership::Boot, ..stick() }, "started from"),
            (Candidate { bus: Bus::Ata, removable: false, ..stick() }, "built in"),
            (Candidate { bus: Bus::Nvme, removable: false, ..stick() }, "built in"),
            (Candidate { in_use: true, ..stick() }, "in use"),
            (Candidate { read_only: true, ..stick() }, "write-protected"),
            (Candidate { labelled: vec![on("/dev/sdc", "ext4")], ..stick() }, "holds ext4"),
        ];
        for (candidate, words) in cases {
            let error = choose(std::slice::from_ref(&candidate)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            // One that cannot be taken keeps nobody from one that can.
            assert_eq!(choose(&[candidate, stick()]), Ok(PathBuf::from("/dev/sdc1")));
        }
    }
}
