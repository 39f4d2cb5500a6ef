use std::os::unix::fs::{PermissionsExt as _, symlink};

use disk_manager_plan::report::{Bytes, DiskClass, DiskId, Ownership};

use super::*;

/// From a server with two sockets, cut to two threads of each.
const CPUINFO: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz
physical id\t: 0\nsiblings\t: 2\ncpu cores\t: 1\n
processor\t: 1\nmodel name\t: Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz\nphysical id\t: 0\ncpu cores\t: 1\n
processor\t: 2\nmodel name\t: Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz\nphysical id\t: 1\ncpu cores\t: 1\n
processor\t: 3\nmodel name\t: Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz\nphysical id\t: 1\ncpu cores\t: 1\n\n";

const MEMINFO: &str = "MemTotal:       131650616 kB\nMemFree:         1234 kB\n";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn sources(root: &Path) -> Sources {
    let (ports, disks) = (Vec::new(), Some(DiskReport::default()));
    Sources { sys: root.join("sys"), proc: root.join("proc"), ports, disks, machine: None }
}

fn lines(facts: &[Fact]) -> Vec<String> {
    facts.iter().map(|fact| format!("{}: {}", fact.name, fact.text)).collect()
}

#[test]
fn a_server_is_told_with_its_parts() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (path, text) in [
        ("proc/cpuinfo", CPUINFO),
        ("proc/meminfo", MEMINFO),
        ("sys/class/dmi/id/sys_vendor", "Example Computer\n"),
        ("sys/class/dmi/id/product_name", "RX-12  \n"),
        ("sys/class/dmi/id/product_version", "To Be Filled By O.E.M.\n"),
        ("sys/class/dmi/id/product_serial", "SN\u{7}4711\n"),
        ("sys/class/dmi/id/bios_version", "2.1\n"),
        ("sys/class/dmi/id/chassis_serial", "\n"),
        ("sys/devices/system/edac/mc/mc0/dimm0/size", "16384\n"),
        ("sys/devices/system/edac/mc/mc0/dimm0/dimm_label", "DIMM_A1\n"),
        ("sys/devices/system/edac/mc/mc0/dimm0/dimm_mem_type", "Registered-DDR4\n"),
        ("sys/devices/system/edac/mc/mc0/dimm1/size", "0\n"),
        ("sys/class/block/sda/device/rev", "SC61\n"),
        ("sys/bus/pci/devices/0000:17:00.0/class", "0x010700\n"),
        ("sys/bus/pci/devices/0000:17:00.0/vendor", "0x1000\n"),
        ("sys/bus/pci/devices/0000:17:00.0/device", "0x0097\n"),
        ("sys/bus/pci/devices/0000:18:00.0/class", "0x010802\n"),
        ("sys/bus/pci/devices/0000:19:00.0/class", "0x020000\n"),
        ("sys/bus/pci/devices/0000:19:00.0/net/eno1/mtu", "1500\n"),
        ("sys/bus/pci/devices/0000:19:00.0/vendor", "0x8086\n"),
        ("sys/bus/pci/devices/0000:19:00.0/device", "0x1563\n"),
    ] {
        write(root, path, text);
    }
    let pci = root.join("sys/bus/pci/devices");
    symlink("../../../../bus/pci/drivers/mpt3sas", pci.join("0000:17:00.0/driver")).unwrap();
    symlink("../../../../bus/pci/drivers/ixgbe", pci.join("0000:19:00.0/driver")).unwrap();
    fs::create_dir_all(root.join("sys/class/net/eno1")).unwrap();
    symlink(pci.join("0000:19:00.0"), root.join("sys/class/net/eno1/device")).unwrap();
    let mut sources = sources(root);
    sources.ports = vec![
        PortStatus {
            name: "eno1".to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            link: true,
            speed_mbps: Some(10_000),
            ..PortStatus::default()
        },
        PortStatus { name: "bond0".to_owned(), ..PortStatus::default() },
    ];
    let disk = |device: &str, model: &str, serial: &str| DiskStatus {
        id: (!serial.is_empty()).then(|| DiskId(format!("ata-{serial}"))),
        device: PathBuf::from(device),
        model: model.to_owned(),
        serial: serial.to_owned(),
        size: Bytes(4_000_787_030_016),
        class: DiskClass::Hdd,
        ownership: Ownership::Ours,
        reasons: Vec::new(),
        volume: None,
    };
    let disks = vec![disk("/dev/sda", "ST4000NM", "ZC1"), disk("/dev/sdb", "", "")];
    sources.disks = Some(DiskReport { disks, ..DiskReport::default() });

    let found = inventory(&sources);
    assert_eq!(
        lines(&found.machine),
        ["maker: Example Computer", "product: RX-12", "serial: SN 4711", "firmware: 2.1"]
    );
    let cpu = "Intel(R) Xeon(R) Silver 4314 CPU @ 2.40GHz; cores: 1, threads: 2";
    assert_eq!(lines(&found.processors), [format!("cpu0: {cpu}"), format!("cpu1: {cpu}")]);
    assert_eq!(
        lines(&found.memory),
        ["total: 128565 MiB usable", "DIMM_A1: 16384 MiB, Registered-DDR4"]
    );
    assert_eq!(
        lines(&found.ports),
        [
            "eno1: 52:54:00:12:34:56, link up, 10000 Mbit/s, driver ixgbe, PCI 8086:1563",
            "bond0: no link"
        ]
    );
    assert_eq!(
        lines(&found.disks),
        [
            "/dev/sda: ST4000NM, serial ZC1, firmware SC61, id ata-ZC1, 4000787030016 bytes, hdd, ours",
            "/dev/sdb: 4000787030016 bytes, hdd, ours"
        ]
    );
    assert_eq!(
        lines(&found.devices),
        ["0000:17:00.0: storage controller (class 010700), PCI 1000:0097, driver mpt3sas"]
    );
    assert_eq!(found.problems, [""; 0]);
}

#[test]
fn a_machine_that_tells_nothing_has_no_facts_and_no_empty_ones() {
    let root = tempfile::tempdir().unwrap();
    let mut sources = sources(root.path());
    assert_eq!(inventory(&sources), Inventory::default());
    sources.disks = None;
    assert_eq!(inventory(&sources).problems.len(), 1);
}

#[test]
fn what_may_not_be_read_is_a_problem_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    // A folder in place of a file cannot be read by anybody, root included.
    fs::create_dir_all(root.path().join("sys/class/dmi/id/product_serial")).unwrap();
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.path(), mode).unwrap();
    let found = inventory(&sources(root.path()));
    assert_eq!(found.machine, []);
    let [problem] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
    assert!(problem.contains("product_serial"), "{problem}");
}

#[test]
fn what_only_root_may_read_is_taken_from_icn_disks_where_it_told() {
    let root = tempfile::tempdir().unwrap();
    // As above: nobody can read these.
    for file in ["product_serial", "board_serial", "chassis_serial"] {
        fs::create_dir_all(root.path().join("sys/class/dmi/id").join(file)).unwrap();
    }
    write(root.path(), "sys/class/dmi/id/sys_vendor", "Example Computer\n");
    let mut sources = sources(root.path());
    let without = inventory(&sources);
    assert_eq!((lines(&without.machine).len(), without.problems.len()), (1, 3));
    let texts = [
        ("product_serial", "SN4711"),
        ("product_uuid", "4c4c4544-0000-2010-8020-80c04f202020"),
        ("board_serial", "To Be Filled By O.E.M."),
        ("chassis_serial", "CH\u{1b}[2J1"),
    ];
    let texts = texts.map(|(file, text)| (file.to_owned(), text.to_owned()));
    sources.machine = Some(texts.into());
    let found = inventory(&sources);
    assert_eq!(
        lines(&found.machine),
        [
            "maker: Example Computer",
            "serial: SN4711",
            "uuid: 4c4c4544-0000-2010-8020-80c04f202020",
            "chassis serial: CH [2J1"
        ]
    );
    assert_eq!(found.problems, [""; 0]);
}

#[test]
fn texts_of_another_kind_give_no_facts() {
    for text in ["", "\n\n\n", "nonsense", "processor", ": : :\n\n:"] {
        assert_eq!(processors(text), [], "{text:?}");
        assert_eq!(total(text), None);
    }
    assert_eq!(total("MemTotal: many kB"), None);
    let arm = processors("processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1\n\n");
    assert_eq!(lines(&arm), ["cpu0: model not told; threads: 2"]);
}
