//! Having udev go over the devices that were there before it, as few of them as will do.
//!
//! A device that is there before udevd runs has sent its event to nobody. Of the thousand that a
//! kernel shows, those matter here that ask for a module, and those that udev names or probes;
//! everything that appears once its module is loaded sends its own event. One event for each
//! distinct request is enough, as a module that is loaded takes all its devices: a server has
//! hundreds of processors that ask for the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Classes whose devices udev names, probes, or gives a symbolic link.
const CLASSES: [&str; 7] = ["block", "net", "nvme", "input", "watchdog", "tpm", "rtc"];

/// How names of devices begin that need no event: those of loop devices are ours.
const PASSED_OVER: [&str; 3] = ["loop", "ram", "lo"];

/// Whether a process hears the kernel's events, by the table of netlink sockets: one of protocol 15
/// (`NETLINK_KOBJECT_UEVENT`) in group 1. udevd's other sockets are there before, when events still
/// go to nobody.
pub(crate) fn is_heard(table: &str) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (protocol, _port, groups) = (fields.next(), fields.next(), fields.next());
        let groups = groups.and_then(|groups| u32::from_str_radix(groups, 16).ok());
        protocol == Some("15") && groups.is_some_and(|groups| groups & 1 == 1)
    })
}

/// Sends the events and gives their number.
pub(crate) fn trigger(sysfs: &Path) -> usize {
    let mut asked = BTreeSet::new();
    let mut devices = Vec::new();
    for bus in names(&sysfs.join("bus")) {
        let folder = sysfs.join("bus").join(bus).join("devices");
        for device in names(&folder) {
            let device = folder.join(device);
            let Ok(request) = fs::read_to_string(device.join("modalias")) else { continue };
            if !request.trim().is_empty() && asked.insert(request) {
                devices.push((Urgency::of(&device), device));
            }
        }
    }
    devices.sort();
    let mut count = devices.iter().filter(|(_, device)| send(device)).count();
    for class in CLASSES {
        let devices = sysfs.join("class").join(class);
        let wanted = |name: &String| !PASSED_OVER.iter().any(|start| name.starts_with(start));
        for device in names(&devices).into_iter().filter(wanted) {
            count += usize::from(send(&devices.join(device)));
        }
    }
    count
}

/// Whether a USB controller is there.
pub(crate) fn has_usb(sysfs: &Path) -> bool {
    let devices = sysfs.join("bus/pci/devices");
    names(&devices).iter().any(|name| Urgency::of(&devices.join(name)) == Urgency::Usb)
}

/// What comes first: hardware that takes its time behind a driver, so that it does so while the
/// other drivers are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Usb,
    Storage,
    Network,
    Other,
}

impl Urgency {
    /// By the class code of PCI (PCI Code and ID Assignment Specification, 1).
    fn of(device: &Path) -> Self {
        let class = fs::read_to_string(device.join("class")).unwrap_or_default();
        match class.trim().strip_prefix("0x").unwrap_or_default() {
            class if class.starts_with("0c03") => Self::Usb,
            class if class.starts_with("01") => Self::Storage,
            class if class.starts_with("02") => Self::Network,
            _ => Self::Other,
        }
    }
}

/// Has the kernel send the event of a device once more. One that has just gone sends none.
fn send(device: &Path) -> bool {
    let event = device.join("uevent");
    event.exists() && fs::write(event, "add").is_ok()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distinct_request_for_a_module_is_sent_once_and_so_is_each_named_device() {
        let sysfs = tempfile::TempDir::new().expect("temporary folder");
        let device = |path: &str, request: Option<&str>| {
            let folder = sysfs.path().join(path);
            fs::create_dir_all(&folder).expect("folder");
            fs::write(folder.join("uevent"), "").expect("file");
            if let Some(request) = request {
                fs::write(folder.join("modalias"), request).expect("file");
            }
        };
        device("bus/cpu/devices/cpu0", Some("cpu:type:x86\n"));
        device("bus/cpu/devices/cpu1", Some("cpu:type:x86\n"));
        device("bus/pci/devices/0000:00:1f.2", Some("pci:v00008086\n"));
        device("bus/workqueue/devices/writeback", None);
        device("bus/acpi/devices/PNP0", Some("\n"));
        device("class/block/sda", None);
        device("class/block/loop0", None);
        device("class/net/lo", None);
        device("class/net/eth0", None);
        device("class/tty/tty1", None);
        assert_eq!(trigger(sysfs.path()), 4);
        let sent = |path: &str| {
            fs::read_to_string(sysfs.path().join(path).join("uevent")).expect("file") == "add"
        };
        assert!(sent("bus/cpu/devices/cpu0") && !sent("bus/cpu/devices/cpu1"));
        assert!(sent("bus/pci/devices/0000:00:1f.2") && sent("class/block/sda"));
        assert!(sent("class/net/eth0") && !sent("class/net/lo") && !sent("class/block/loop0"));
        assert!(!sent("class/tty/tty1"));
    }

    #[test]
    fn usb_comes_before_disks_and_disks_before_the_rest() {
        let sysfs = tempfile::TempDir::new().expect("temporary folder");
        let urgency = |class: &str| {
            fs::write(sysfs.path().join("class"), class).expect("file");
            Urgency::of(sysfs.path())
        };
        let mut all = ["0x060100\n", "0x020000\n", "0x010802\n", "0x0c0330\n"].map(urgency);
        all.sort();
        assert_eq!(all, [Urgency::Usb, Urgency::Storage, Urgency::Network, Urgency::Other]);
        assert_eq!(Urgency::of(Path::new("/nonexistent")), Urgency::Other);
        assert!(!has_usb(sysfs.path()));
        let controller = sysfs.path().join("bus/pci/devices/0000:00:14.0");
        fs::create_dir_all(&controller).expect("folder");
        fs::write(controller.join("class"), "0x0c0330\n").expect("file");
        assert!(has_usb(sysfs.path()));
    }

    #[test]
    fn events_are_heard_once_a_socket_is_in_the_kernel_s_group() {
        let head = "sk               Eth Pid        Groups   Rmem     Wmem\n";
        let line = |protocol, groups| {
            format!("{head}0000000000000000 {protocol}  1          {groups} 0        0\n")
        };
        assert!(is_heard(&line("15", "00000001")) && is_heard(&line("15", "00000003")));
        for table in [head.to_owned(), line("15", "00000002"), line("0", "00000001"), "".into()] {
            assert!(!is_heard(&table), "{table}");
        }
    }

    #[test]
    fn a_device_that_has_just_gone_does_no_harm() {
        let sysfs = tempfile::TempDir::new().expect("temporary folder");
        let folder = sysfs.path().join("class/block/sda");
        fs::create_dir_all(&folder).expect("folder");
        assert_eq!(trigger(sysfs.path()), 0);
        assert!(!folder.join("uevent").exists());
    }
}
