//! Which disks there are, and what sysfs says of each. The root of sysfs is a parameter so that
//! tests can make their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use disk_manager_plan::ObservedDisk;
use disk_manager_plan::observe::{Bus, DeviceKind};
use disk_manager_plan::report::{Bytes, DiskClass, DiskId};

use crate::mounts::InUse;
use crate::probe::unasked;

/// Where sysfs is mounted.
pub const SYSFS: &str = "/sys";

/// Kernel names that are never disks: memory, images, drives for other media.
const NOT_DISKS: [&str; 6] = ["loop", "ram", "zram", "sr", "fd", "mtdblock"];

/// sysfs counts sizes in these, whatever the disk's blocks are (Documentation/ABI/stable/sysfs-block).
const SIZE_UNIT: u64 = 512;

/// One disk at one plug-in: the same name may later be another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Presence {
    /// The kernel's name, such as `sda`.
    pub name: String,
    /// Counts up with every disk that appears (`diskseq`); never used twice since boot.
    pub sequence: u64,
}

/// Every disk that is there now, in the order of their names.
///
/// # Errors
/// udev's library cannot read sysfs.
pub fn present(sysfs: &Path) -> io::Result<Vec<Presence>> {
    let mut enumerator = udev::Enumerator::new()?;
    enumerator.match_subsystem("block")?;
    enumerator.match_property("DEVTYPE", "disk")?;
    let mut found: Vec<Presence> = enumerator
        .scan_devices()?
        .filter_map(|device| presence(sysfs, device.sysname().to_str()?))
        .collect();
    found.sort();
    Ok(found)
}

/// The disk of that name, unless it is no disk at all or has no medium.
#[must_use]
pub fn presence(sysfs: &Path, name: &str) -> Option<Presence> {
    let digits = |c: char| c.is_ascii_digit();
    let node = sysfs.join("class/block").join(name);
    let skip =
        NOT_DISKS.iter().any(|kind| name.strip_prefix(kind).is_some_and(|n| n.starts_with(digits)))
            || number(&node, "hidden") == Some(1)
            || number(&node, "size").unwrap_or(0) == 0;
    let sequence = number(&node, "diskseq")?;
    (!skip).then(|| Presence { name: name.to_owned(), sequence })
}

/// What sysfs says of a disk; every question to the disk itself is still unasked.
#[must_use]
pub fn facts(sysfs: &Path, name: &str, in_use: &InUse) -> ObservedDisk {
    let node = sysfs.join("class/block").join(name);
    let device = PathBuf::from("/dev").join(name.replace('!', "/"));
    let real = node.join("device").exists();
    let kind = if real {
        DeviceKind::Disk
    } else {
        let word: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
        DeviceKind::Virtual(word)
    };
    let bus = bus(&node, name);
    let partitions = partitions(&node);
    let mut holders = names(&node.join("holders"));
    holders.extend(partitions.iter().flat_map(|part| names(&node.join(part).join("holders"))));
    let serial = serial(&node, bus);
    ObservedDisk {
        id: identity(&node, bus, &serial),
        model: text(&node, "device/model").unwrap_or_default(),
        serial,
        size: Bytes(number(&node, "size").unwrap_or(0).saturating_mul(SIZE_UNIT)),
        block: number(&node, "queue/logical_block_size")
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(512),
        class: class(&node, bus, name),
        bus,
        removable: number(&node, "removable") == Some(1),
        read_only: number(&node, "ro") == Some(1),
        holders,
        slaves: names(&node.join("slaves")),
        partitions,
        mounts: in_use.mounts.get(name).cloned().unwrap_or_default(),
        swap: in_use.swaps.iter().any(|disk| disk == name),
        ..unasked(device, kind)
    }
}

/// The node of the partition of a disk that starts at `start` bytes, once the kernel knows it.
#[must_use]
pub fn partition_at(sysfs: &Path, name: &str, start: u64) -> Option<PathBuf> {
    let node = sysfs.join("class/block").join(name);
    let starts_there = |part: &String| number(&node.join(part), "start") == Some(start / SIZE_UNIT);
    let part = partitions(&node).into_iter().find(starts_there)?;
    Some(PathBuf::from("/dev").join(part.replace('!', "/")))
}

/// Every partition of a disk as the kernel knows it, those inside an extended one too: start and length in bytes.
#[must_use]
pub fn spans(sysfs: &Path, name: &str) -> Vec<(u64, u64)> {
    let node = sysfs.join("class/block").join(name);
    let bytes = |part: &str, attribute| number(&node.join(part), attribute)?.checked_mul(SIZE_UNIT);
    let span = |part: &String| Some((bytes(part, "start")?, bytes(part, "size")?));
    partitions(&node).iter().filter_map(span).collect()
}

/// Whether the kernel is still bringing up disks that it has found: SCSI disks without a block
/// device yet, NVMe controllers that are not live yet.
#[must_use]
pub fn is_attaching(sysfs: &Path) -> bool {
    const SCSI_DISK: u64 = 0;
    let scsi = sysfs.join("bus/scsi/devices");
    let scsi_waits = names(&scsi).iter().any(|name| {
        let node = scsi.join(name);
        number(&node, "type") == Some(SCSI_DISK)
            && text(&node, "state").as_deref() == Some("running")
            && !node.join("block").exists()
    });
    let nvme = sysfs.join("class/nvme");
    let nvme_waits = names(&nvme).iter().any(|name| {
        let state = text(&nvme.join(name), "state");
        matches!(state.as_deref(), Some("new" | "connecting" | "resetting"))
    });
    scsi_waits || nvme_waits
}

fn bus(node: &Path, name: &str) -> Bus {
    let path = fs::canonicalize(node).unwrap_or_else(|_| node.to_owned());
    let has = |start: &str| {
        path.components().filter_map(|part| part.as_os_str().to_str()).any(|part| {
            part.strip_prefix(start)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    match name {
        _ if has("usb") => Bus::Usb,
        _ if name.starts_with("mmcblk") => Bus::Mmc,
        _ if name.starts_with("nvme") => Bus::Nvme,
        _ if name.starts_with("vd") => Bus::Virtio,
        _ if has("ata") => Bus::Ata,
        _ if name.starts_with("sd") => Bus::Scsi,
        _ => Bus::Other,
    }
}

fn class(node: &Path, bus: Bus, name: &str) -> DiskClass {
    match bus {
        Bus::Nvme => DiskClass::Nvme,
        Bus::Virtio => DiskClass::Virtual,
        _ if name.starts_with("xvd") => DiskClass::Virtual,
        _ if number(node, "queue/rotational") == Some(0) => DiskClass::Ssd,
        _ => DiskClass::Hdd,
    }
}

/// SCSI and ATA disks give theirs in vital product data page 0x80 (SPC-4 7.8.13): four bytes of
/// header, then text.
fn serial(node: &Path, bus: Bus) -> String {
    let vital = || {
        let page = fs::read(node.join("device/vpd_pg80")).ok()?;
        let text = String::from_utf8_lossy(page.get(4..)?).into_owned();
        Some(words(&text))
    };
    let own = || text(node, "serial");
    let of_device = || text(node, "device/serial");
    let found = match bus {
        Bus::Virtio => own(),
        Bus::Nvme | Bus::Mmc => of_device(),
        Bus::Usb => usb_serial(node).or_else(vital),
        Bus::Ata | Bus::Scsi | Bus::Other => vital().or_else(of_device),
    };
    found.unwrap_or_default()
}

/// The serial number of the USB device that a disk is behind: the one that is printed on a stick, if
/// any. It stands in the nearest folder above that has a vendor's number.
fn usb_serial(node: &Path) -> Option<String> {
    let path = fs::canonicalize(node).ok()?;
    let device = path.ancestors().find(|folder| folder.join("idVendor").exists())?;
    text(device, "serial")
}

/// The most lasting name that the disk has: a worldwide one where it gives one, else by its serial
/// number.
fn identity(node: &Path, bus: Bus, serial: &str) -> Option<DiskId> {
    let worldwide = text(node, "wwid").or_else(|| text(node, "device/wwid"));
    // The kernel makes up `nvme.` names of vendor, serial number, model and namespace, as long as
    // 140 characters; t10 names hold no more than vendor, model and serial number.
    let worldwide = worldwide.filter(|name| {
        ["naa.", "eui.", "uuid.", "t10."].iter().any(|start| name.starts_with(start))
    });
    let by_serial = || {
        let kind = match bus {
            Bus::Nvme => "nvme",
            Bus::Virtio => "virtio",
            Bus::Usb => "usb",
            Bus::Mmc => "mmc",
            Bus::Ata => "ata",
            Bus::Scsi => "scsi",
            Bus::Other => "serial",
        };
        let namespace = number(node, "nsid").filter(|nsid| *nsid != 1);
        let namespace = namespace.map(|nsid| format!("-n{nsid}")).unwrap_or_default();
        (!serial.is_empty()).then(|| format!("{kind}-{serial}{namespace}"))
    };
    worldwide.or_else(by_serial).map(|name| DiskId(name.replace(' ', "_")))
}

fn partitions(node: &Path) -> Vec<String> {
    let mut found = names(node);
    found.retain(|name| node.join(name).join("partition").exists());
    found
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The first line of an attribute, runs of spaces as one; `None` where it is absent or empty.
fn text(node: &Path, attribute: &str) -> Option<String> {
    let bytes = fs::read(node.join(attribute)).ok()?;
    let text = words(&String::from_utf8_lossy(&bytes));
    (!text.is_empty()).then_some(text)
}

/// Only printable characters, runs of others as one space.
fn words(text: &str) -> String {
    let printable = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let text: String = text.chars().map(printable).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn number(node: &Path, attribute: &str) -> Option<u64> {
    text(node, attribute)?.parse().ok()
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
