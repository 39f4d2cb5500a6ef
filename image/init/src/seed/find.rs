//! Looking for the partition ICN-SEED, and for what may still bring one.

use std::fs;
use std::path::{Path, PathBuf};

use provisioning_config::seed::is_seed;

/// Class of mass storage on USB (USB class codes, base class 08h).
const USB_STORAGE_CLASS: &str = "08";

/// The firmware variable in which the boot loader puts the partition it was started from, as
/// systemd's boot loader interface has it.
const BOOT_PARTITION: &str =
    "firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Most partitions that are looked at: a person forgets one stick, not five.
const MAX_PARTITIONS: usize = 4;

/// A partition that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The kernel's name, such as `sda2`.
    pub name: String,
    /// Its device.
    pub device: PathBuf,
}

/// What can be seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// ICN-SEED partitions that udev knows.
    pub partitions: Vec<Partition>,
    /// The node was started from a partition that is not there yet.
    pub boot_disk_missing: bool,
    /// A USB storage device is there and its disk is not yet, or udev has not yet seen to it.
    pub storage_starting: bool,
    /// The machine has USB, where a device may show itself a little later.
    pub has_usb: bool,
}

/// Looks once.
pub(crate) fn look(sysfs: &Path, udev: &Path) -> Sight {
    let mut partitions = Vec::new();
    let boot = boot_partition(sysfs);
    let mut boot_disk_missing = boot.is_some();
    let mut storage_starting = storage_starting(sysfs);
    for name in names(&sysfs.join("class/block")) {
        let Ok(number) = fs::read_to_string(sysfs.join("class/block").join(&name).join("dev"))
        else {
            continue;
        };
        let facts = udev.join("data").join(format!("b{}", number.trim()));
        let Ok(facts) = fs::read_to_string(facts) else {
            storage_starting |= is_on_usb(&sysfs.join("class/block").join(&name));
            continue;
        };
        let fact = |key| fact(&facts, key).unwrap_or_default();
        let identity = fact("ID_PART_ENTRY_UUID");
        if boot.as_deref().is_some_and(|boot| boot.eq_ignore_ascii_case(identity)) {
            boot_disk_missing = false;
        }
        // udev writes some characters of a name as \xNN, but none of ICN-SEED's.
        let found = is_seed(fact("ID_PART_ENTRY_TYPE"), fact("ID_PART_ENTRY_NAME"));
        if found && partitions.len() < MAX_PARTITIONS {
            let device = Path::new("/dev").join(&name);
            partitions.push(Partition { name, device });
        }
    }
    let has_usb = names(&sysfs.join("bus/usb/devices")).iter().any(|name| name.starts_with("usb"));
    Sight { partitions, boot_disk_missing, storage_starting, has_usb }
}

/// A property in udev's record of a device.
fn fact<'a>(facts: &'a str, key: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| {
        let (name, value) = line.strip_prefix("E:")?.split_once('=')?;
        (name == key).then_some(value)
    })
}

/// The identity of the partition that the node was started from, where the boot loader said so.
fn boot_partition(sysfs: &Path) -> Option<String> {
    let bytes = fs::read(sysfs.join(BOOT_PARTITION)).ok()?;
    // Four bytes of attributes, then UTF-16 with an ending zero.
    let units: Vec<u16> = bytes
        .get(4..)?
        .chunks_exact(2)
        .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
        .map(u16::from_le_bytes)
        .take_while(|unit| *unit != 0)
        .collect();
    let text = String::from_utf16(&units).ok()?;
    (!text.is_empty()).then_some(text)
}

/// Whether a USB storage interface has no disk below it yet.
fn storage_starting(sysfs: &Path) -> bool {
    let devices = sysfs.join("bus/usb/devices");
    names(&devices).iter().any(|name| {
        let interface = devices.join(name);
        let class = fs::read_to_string(interface.join("bInterfaceClass")).unwrap_or_default();
        class.trim() == USB_STORAGE_CLASS && !has_disk(&interface, 0)
    })
}

/// Whether a block device hangs on USB: one link leads to the whole chain of devices.
fn is_on_usb(device: &Path) -> bool {
    fs::canonicalize(device).is_ok_and(|path| path.to_string_lossy().contains("/usb"))
}

/// Whether a folder named `block` is below an interface: host, target, device, then block.
fn has_disk(folder: &Path, depth: usize) -> bool {
    const DEEPEST: usize = 4;
    names(folder).iter().any(|name| {
        let below = ["host", "target"].iter().any(|start| name.starts_with(start))
            || name.starts_with(|c: char| c.is_ascii_digit());
        name == "block" || (below && depth < DEEPEST && has_disk(&folder.join(name), depth + 1))
    })
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use provisioning_config::seed::{LABEL, PARTITION_TYPE};

    use super::*;

    const OTHER_TYPE: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
    const BOOT: &str = "5AE9E7D2-1C1E-4B5A-8E59-0B1F2D3C4E5F";

    struct Machine {
        root: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            Self { root: tempfile::TempDir::new().expect("temporary folder") }
        }

        fn write(&self, path: &str, content: impl AsRef<[u8]>) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, content).expect("file");
        }

        fn partition(&self, name: &str, number: &str, kind: &str, identity: &str) {
            self.named(name, number, kind, identity, LABEL);
        }

        fn named(&self, name: &str, number: &str, kind: &str, identity: &str, label: &str) {
            self.write(&format!("sys/class/block/{name}/dev"), format!("{number}\n"));
            let facts = format!(
                "S:disk/by-partuuid/x\nE:ID_PART_ENTRY_NAME={label}\n\
                 E:ID_PART_ENTRY_TYPE={kind}\nE:ID_PART_ENTRY_UUID={identity}\n"
            );
            self.write(&format!("udev/data/b{number}"), facts);
        }

        fn booted_from(&self, identity: &str) {
            let mut bytes = vec![6, 0, 0, 0];
            bytes.extend(identity.encode_utf16().flat_map(u16::to_le_bytes));
            bytes.extend([0, 0]);
            self.write(&format!("sys/{BOOT_PARTITION}"), bytes);
        }

        fn look(&self) -> Sight {
            look(&self.root.path().join("sys"), &self.root.path().join("udev"))
        }
    }

    #[test]
    fn partitions_are_found_by_their_type_and_name_alone() {
        let machine = Machine::new();
        machine.partition("sda1", "8:1", OTHER_TYPE, "a");
        machine.partition("sdb2", "8:18", PARTITION_TYPE, "b");
        machine.partition("sda2", "8:2", &PARTITION_TYPE.to_uppercase(), "c");
        machine.write("sys/class/block/loop0/dev", "7:0\n");
        let sight = machine.look();
        let names: Vec<&str> = sight.partitions.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["sda2", "sdb2"]);
        assert_eq!(sight.partitions[0].device, Path::new("/dev/sda2"));
        assert!(!sight.boot_disk_missing && !sight.storage_starting);
    }

    #[test]
    fn a_basic_data_partition_of_another_name_is_not_a_seed() {
        let machine = Machine::new();
        machine.named("sda1", "8:1", PARTITION_TYPE, "a", "Basic\\x20data\\x20partition");
        machine.named("sda2", "8:2", PARTITION_TYPE, "b", "icn-seed");
        machine.named("sda3", "8:3", PARTITION_TYPE, "c", "");
        machine.write("sys/class/block/sda4/dev", "8:4\n");
        machine.write("udev/data/b8:4", format!("E:ID_PART_ENTRY_TYPE={PARTITION_TYPE}\n"));
        assert_eq!(machine.look().partitions, []);
    }

    #[test]
    fn the_disk_that_the_node_was_started_from_is_waited_for() {
        let machine = Machine::new();
        machine.booted_from(BOOT);
        assert!(machine.look().boot_disk_missing);
        machine.partition("sda1", "8:1", OTHER_TYPE, &BOOT.to_lowercase());
        assert!(!machine.look().boot_disk_missing);
    }

    #[test]
    fn a_stick_without_its_disk_is_still_starting() {
        let machine = Machine::new();
        let interface = "sys/bus/usb/devices/1-1:1.0";
        machine.write(&format!("{interface}/bInterfaceClass"), "03\n");
        assert!(!machine.look().storage_starting);
        machine.write(&format!("{interface}/bInterfaceClass"), "08\n");
        assert!(machine.look().storage_starting);
        machine.write(&format!("{interface}/host6/target6:0:0/6:0:0:0/vendor"), "x");
        assert!(machine.look().storage_starting);
        machine.write(&format!("{interface}/host6/target6:0:0/6:0:0:0/block/sda/dev"), "8:0");
        assert!(!machine.look().storage_starting);
    }

    #[test]
    fn a_stick_that_udev_has_not_seen_to_is_still_starting() {
        let machine = Machine::new();
        machine.write("sys/devices/pci0/usb1/1-1/block/sda/sda2/dev", "8:2\n");
        let block = machine.root.path().join("sys/class/block");
        fs::create_dir_all(&block).expect("folder");
        let device = "../../devices/pci0/usb1/1-1/block/sda/sda2";
        std::os::unix::fs::symlink(device, block.join("sda2")).expect("link");
        machine.write("sys/class/block/sdb2/dev", "8:18\n");
        assert!(machine.look().storage_starting);
        machine.partition("sda2", "8:2", PARTITION_TYPE, "a");
        assert!(!machine.look().storage_starting);
    }

    #[test]
    fn an_empty_machine_has_nothing_to_wait_for() {
        let sight = Machine::new().look();
        assert_eq!(sight.partitions, []);
        assert!(!sight.boot_disk_missing && !sight.storage_starting && !sight.has_usb);
    }

    #[test]
    fn a_usb_controller_is_seen_without_any_device() {
        let machine = Machine::new();
        machine.write("sys/bus/usb/devices/usb1/speed", "480\n");
        assert!(machine.look().has_usb);
    }
}
