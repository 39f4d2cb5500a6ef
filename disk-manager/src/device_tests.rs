use std::os::unix::fs::symlink;

use disk_manager_plan::observe::Bus;

use super::*;

/// A sysfs of our own.
struct Sysfs {
    root: tempfile::TempDir,
}

impl Sysfs {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("class/block")).unwrap();
        Self { root }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    /// A block device at `place` below devices/, with attributes.
    fn block(&self, place: &str, name: &str, attributes: &[(&str, &str)]) -> &Self {
        let node = self.path().join("devices").join(place).join("block").join(name);
        for (attribute, text) in attributes {
            let file = node.join(attribute);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        symlink(&node, self.path().join("class/block").join(name)).unwrap();
        self
    }

    fn facts(&self, name: &str) -> ObservedDisk {
        facts(self.path(), name, &InUse::default())
    }
}

#[test]
fn a_scsi_disk_is_described_by_its_attributes() {
    let sysfs = Sysfs::new();
    sysfs.block(
        "pci0000:00/host0",
        "sda",
        &[
            ("size", "7814037168\n"),
            ("diskseq", "9\n"),
            ("ro", "0\n"),
            ("removable", "0\n"),
            ("queue/rotational", "1\n"),
            ("queue/logical_block_size", "512\n"),
            ("device/wwid", "naa.5000c500a1b2c3d4\n"),
            ("device/model", "ST4000NM0035    \n"),
            ("device/vpd_pg80", "\0\u{1}\0\u{8}ZC1X  YZ"),
            ("sda1/partition", "1\n"),
            ("sda1/start", "2048\n"),
            ("sda1/holders/dm-0/x", ""),
        ],
    );
    let disk = sysfs.facts("sda");
    assert_eq!(disk.id, Some(DiskId("naa.5000c500a1b2c3d4".to_owned())));
    assert_eq!((disk.model.as_str(), disk.serial.as_str()), ("ST4000NM0035", "ZC1X YZ"));
    assert_eq!((disk.size, disk.class), (Bytes(4_000_787_030_016), DiskClass::Hdd));
    assert_eq!((disk.kind, disk.bus), (DeviceKind::Disk, Bus::Scsi));
    assert_eq!((disk.partitions, disk.holders), (vec!["sda1".into()], vec!["dm-0".into()]));
    assert_eq!(partition_at(sysfs.path(), "sda", 1 << 20), Some("/dev/sda1".into()));
    assert_eq!(partition_at(sysfs.path(), "sda", 33 << 20), None);
    let presence = presence(sysfs.path(), "sda").unwrap();
    assert_eq!((presence.name.as_str(), presence.sequence), ("sda", 9));
}

#[test]
fn a_disk_is_known_by_its_worldwide_name_else_by_its_serial_number_else_not_at_all() {
    let sysfs = Sysfs::new();
    let long = format!("nvme.1b36-{}-00000001", "64".repeat(60));
    sysfs
        .block("nvme", "nvme0n1", &[("wwid", &long), ("device/serial", "N 1"), ("nsid", "1")])
        .block("nvme", "nvme0n2", &[("wwid", &long), ("device/serial", "N 1"), ("nsid", "2")])
        .block("nvme", "nvme1n1", &[("wwid", "eui.0025385b71b00001"), ("device/serial", "N2")])
        .block("virtio1", "vda", &[("serial", "V1"), ("device/x", "")])
        .block("virtio2", "vdb", &[("serial", ""), ("device/x", "")])
        .block("ata1/host1", "sdb", &[("device/wwid", "t10.ATA     QEMU  HD   Q1 ")]);
    let id = |name: &str| sysfs.facts(name).id.map(|id| id.0);
    assert_eq!(id("nvme0n1").unwrap(), "nvme-N 1".replace(' ', "_"));
    assert_eq!(id("nvme0n2").unwrap(), "nvme-N_1-n2");
    assert_eq!(id("nvme1n1").unwrap(), "eui.0025385b71b00001");
    assert_eq!(id("vda").unwrap(), "virtio-V1");
    assert_eq!(id("vdb"), None);
    assert_eq!(id("sdb").unwrap(), "t10.ATA_QEMU_HD_Q1");
}

#[test]
fn usb_is_told_by_the_path_and_made_up_devices_by_having_no_hardware() {
    let sysfs = Sysfs::new();
    sysfs
        .block("pci0000:00/usb2/2-1/host4", "sdc", &[("device/x", "")])
        .block("pci0000:00/ata3/host2", "sdd", &[("device/x", "")])
        .block("virtual", "dm-0", &[("slaves/sdd/x", "")])
        .block("virtual", "md127", &[("size", "8")]);
    let stick = sysfs.path().join("devices/pci0000:00/usb2/2-1");
    fs::write(stick.join("idVendor"), "0951\n").unwrap();
    fs::write(stick.join("serial"), "60A44C42\n").unwrap();
    let disk = sysfs.facts("sdc");
    assert_eq!((disk.bus, disk.serial.as_str()), (Bus::Usb, "60A44C42"));
    assert_eq!(disk.id, Some(DiskId("usb-60A44C42".to_owned())));
    assert_eq!(sysfs.facts("sdd").bus, Bus::Ata);
    assert_eq!(sysfs.facts("dm-0").kind, DeviceKind::Virtual("dm".to_owned()));
    assert_eq!(sysfs.facts("dm-0").slaves, ["sdd"]);
    assert_eq!(sysfs.facts("md127").kind, DeviceKind::Virtual("md".to_owned()));
}

#[test]
fn drives_without_a_medium_hidden_paths_and_loops_are_no_disks() {
    let sysfs = Sysfs::new();
    let there = [("size", "8"), ("diskseq", "1")];
    sysfs
        .block("a", "sda", &[("size", "0"), ("diskseq", "1")])
        .block("b", "nvme0c0n1", &[("size", "8"), ("diskseq", "1"), ("hidden", "1")])
        .block("c", "loop0", &there)
        .block("d", "sr0", &there)
        .block("e", "srx", &there);
    for name in ["sda", "nvme0c0n1", "loop0", "sr0", "nothing"] {
        assert_eq!(presence(sysfs.path(), name), None, "{name}");
    }
    assert!(presence(sysfs.path(), "srx").is_some());
}

#[test]
fn a_scsi_disk_without_a_block_device_is_still_attaching() {
    let sysfs = Sysfs::new();
    assert!(!is_attaching(sysfs.path()));
    let device = sysfs.path().join("bus/scsi/devices/0:0:0:0");
    fs::create_dir_all(&device).unwrap();
    fs::write(device.join("type"), "0\n").unwrap();
    fs::write(device.join("state"), "running\n").unwrap();
    assert!(is_attaching(sysfs.path()));
    fs::create_dir(device.join("block")).unwrap();
    assert!(!is_attaching(sysfs.path()));
    let controller = sysfs.path().join("class/nvme/nvme0");
    fs::create_dir_all(&controller).unwrap();
    fs::write(controller.join("state"), "connecting\n").unwrap();
    assert!(is_attaching(sysfs.path()));
    fs::write(controller.join("state"), "live\n").unwrap();
    assert!(!is_attaching(sysfs.path()));
}
