use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use disk_manager_plan::hardware::{Answer, Request, SelfTest};
use disk_manager_plan::observe::{Bus, DeviceKind, Smart};
use disk_manager_plan::report::DiskId;
use disk_manager_plan::{Inventory, ObservedDisk, plan};

use super::kmsg::{MOST_MESSAGES, collect};
use super::server::MAX_CLIENTS;
use super::{Desk, Directory, Hand, HandRequest, KnownDisk, Programs, start};
use crate::probe::unasked;
use crate::program::between_starts;
use crate::settings::claim_nothing;

/// A node with stand-ins for programs, devices and sysfs.
struct Node {
    root: tempfile::TempDir,
    desk: Desk,
}

/// What it answers follows from the name of the disk, the last argument.
const SMARTCTL: &str = r#"#!/bin/sh
for disk; do :; done
case "$disk" in
*/said) echo "$*" ;;
*/hangs) : > "$disk.started"; exec sleep 600 ;;
*/waits) : > "$disk.started"; read -r line < "$disk.fifo"; echo "$line" ;;
*/floods) exec head -c 3000000 /dev/zero ;;
*/endless) exec cat /dev/zero ;;
*/refuses)
    echo '{"smartctl":{"messages":[{"string":"a test is running"},{"string":"use force"}]}}'
    exit 4 ;;
esac
"#;

const IPMITOOL: &str = r#"#!/bin/sh
echo "IANA PEN registry open failed: No such file or directory" >&2
echo "Could not open device" >&2
echo "$*"
exit 1
"#;

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        fs::create_dir_all(&dev).unwrap();
        let names = ["said", "hangs", "waits", "floods", "endless", "refuses"];
        let mut disks: BTreeMap<_, _> = names
            .iter()
            .map(|name| {
                let device = dev.join(name);
                let disk = KnownDisk { device, bus: Bus::Ata, is_ours: true };
                (DiskId((*name).to_owned()), disk)
            })
            .collect();
        let mut add = |name: &str, bus, is_ours| {
            let disk = KnownDisk { device: dev.join("said"), bus, is_ours };
            disks.insert(DiskId(name.to_owned()), disk);
        };
        add("foreign", Bus::Ata, false);
        add("virtio", Bus::Virtio, true);
        let directory = Arc::new(Directory::default());
        directory.replace(disks);
        let mut desk = Desk::new(directory, root.path().join("sys"));
        desk.dev = dev;
        desk.programs = Programs {
            smartctl: program(root.path(), "smartctl", SMARTCTL),
            ipmitool: program(root.path(), "ipmitool", IPMITOOL),
            ..Programs::default()
        };
        Self { root, desk }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn smart(&self, disk: &str) -> Answer {
        self.desk.answer(&Request::Smart { disk: DiskId(disk.to_owned()) })
    }

    fn test(&self, disk: &str, test: SelfTest) -> Answer {
        self.desk.answer(&Request::SelfTest { disk: DiskId(disk.to_owned()), test })
    }
}

/// Written while no program is started: a process that is just being made would have it open, and a
/// program that is open for writing cannot be run.
fn program(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    between_starts(|| fs::write(&path, text)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_string_lossy().into_owned()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}

fn text(answer: Answer) -> String {
    let Answer::Output { text, .. } = answer else { panic!("{answer:?}") };
    text
}

fn reason(answer: Answer) -> String {
    let Answer::Failed { reason } = answer else { panic!("{answer:?}") };
    reason
}

#[test]
fn smartctl_gets_fixed_arguments_and_the_device_of_the_disk() {
    let node = Node::new();
    let device = node.path().join("dev/said");
    let expected = format!("--json=c -x -n standby {}\n", device.display());
    assert_eq!(text(node.smart("said")), expected);
}

#[test]
fn a_name_that_no_disk_has_runs_nothing() {
    let node = Node::new();
    for name in ["", "/dev/sda", "../said", "-h", "said\n"] {
        assert!(reason(node.smart(name)).starts_with("no disk is known as"), "{name}");
    }
}

#[test]
fn serial_numbers_of_the_machine_are_told_in_one_printable_line_each() {
    let node = Node::new();
    let ask = || node.desk.answer(&Request::Machine);
    assert!(matches!(ask(), Answer::Absent { .. }));
    let folder = node.path().join("sys/class/dmi/id");
    fs::create_dir_all(&folder).unwrap();
    let long = "9".repeat(1000);
    for (name, text) in [
        ("product_serial", "  SN\u{7}4711 \nsecond line\n"),
        ("board_serial", "Default string\n"),
        ("chassis_serial", long.as_str()),
        ("product_name", "readable by anybody\n"),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let Answer::Machine { texts } = ask() else { panic!("{:?}", ask()) };
    let expected = [
        ("board_serial", "Default string"),
        ("chassis_serial", &long[..200]),
        ("product_serial", "SN 4711"),
    ];
    assert_eq!(texts, expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
    // A folder in place of a file cannot be read by anybody, root included.
    fs::create_dir(folder.join("product_uuid")).unwrap();
    assert!(
        matches!(ask(), Answer::Machine { texts: found } if found == texts),
        "the others are kept"
    );
    for name in ["product_serial", "board_serial", "chassis_serial"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    assert!(reason(ask()).contains("product_uuid"));
}

#[test]
fn a_claim_by_hand_is_decided_elsewhere_by_what_the_disk_says_of_its_health() {
    let mut node = Node::new();
    let claim = |disk: &str| Request::ClaimDisk {
        disk: DiskId(disk.to_owned()),
        serial_end: "0K7D1P".to_owned(),
    };
    assert!(reason(node.desk.answer(&claim("virtio"))).contains("cannot be claimed by hand"));
    let asked: Arc<Mutex<Vec<HandRequest>>> = Arc::default();
    let told = Arc::clone(&asked);
    node.desk = node.desk.clone().with_hand(Hand::new(move |request| {
        let is_undo = matches!(request, HandRequest::Undo { .. });
        told.lock().unwrap().push(request);
        if is_undo { Err("too late".to_owned()) } else { Ok(()) }
    }));
    assert!(reason(node.desk.answer(&claim("nobody's"))).starts_with("no disk is known as"));
    assert_eq!(asked.lock().unwrap().len(), 0);
    assert_eq!(node.desk.answer(&claim("virtio")), Answer::Done);
    let undo = Request::UndoClaim { disk: DiskId("gone".to_owned()) };
    assert_eq!(reason(node.desk.answer(&undo)), "too late");
    let asked = asked.lock().unwrap();
    let [HandRequest::Claim { disk, serial_end, smart }, HandRequest::Undo { disk: undone }] =
        asked.as_slice()
    else {
        panic!("{asked:?}")
    };
    assert_eq!(
        (disk.0.as_str(), serial_end.as_str(), undone.0.as_str()),
        ("virtio", "0K7D1P", "gone")
    );
    assert!(matches!(smart, Smart::NotSupported(_)), "{smart:?}");
}

#[test]
fn only_a_disk_of_this_node_is_tested() {
    let node = Node::new();
    assert_eq!(node.test("said", SelfTest::Short), Answer::Done);
    assert_eq!(node.test("said", SelfTest::Long), Answer::Done);
    assert_eq!(reason(node.test("foreign", SelfTest::Short)), "only a disk of this node is tested");
    assert!(matches!(node.smart("foreign"), Answer::Output { .. }), "it may be looked at");
    let refused = reason(node.test("refuses", SelfTest::Long));
    let expected = "smartctl -t long ended with exit status 4: a test is running; use force";
    assert_eq!(refused, expected);
}

#[test]
fn a_virtual_disk_has_no_smart_and_that_is_no_failure() {
    let node = Node::new();
    assert!(matches!(node.smart("virtio"), Answer::Absent { .. }));
    assert!(matches!(node.test("virtio", SelfTest::Short), Answer::Absent { .. }));
}

#[test]
fn a_disk_that_is_being_asked_keeps_nobody_from_another() {
    let node = Node::new();
    let fifo = node.path().join("dev/waits.fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| node.smart("waits"));
        until("the program", || node.path().join("dev/waits.started").exists());
        assert_eq!(reason(node.smart("waits")), "the last one still runs");
        assert_eq!(reason(node.test("waits", SelfTest::Short)), "the last one still runs");
        let locate = Request::Locate { disk: DiskId("waits".to_owned()), on: true };
        assert!(matches!(node.desk.answer(&locate), Answer::Absent { .. }), "its LED is asked");
        assert!(matches!(node.smart("said"), Answer::Output { .. }));
        fs::write(&fifo, "here\n").unwrap();
        assert_eq!(text(first.join().unwrap()), "here\n");
    });
}

#[test]
fn a_disk_that_hangs_is_given_up_and_may_be_asked_again_once_its_program_has_ended() {
    let mut node = Node::new();
    node.desk.programs.smart_limit = Duration::from_millis(300);
    for disk in ["hangs", "endless"] {
        assert!(reason(node.smart(disk)).contains("gave no answer within"), "{disk}");
        until("the place", || !reason(node.smart(disk)).contains("still runs"));
    }
}

#[test]
fn a_program_that_prints_much_is_cut_off() {
    let node = Node::new();
    let Answer::Output { status, text, .. } = node.smart("floods") else { panic!() };
    assert_eq!((status, text.len()), (0, 1 << 20));
}

#[test]
fn a_missing_program_is_named() {
    let mut node = Node::new();
    node.desk.programs.smartctl = "/nonexistent/smartctl".to_owned();
    assert!(reason(node.smart("said")).starts_with("cannot start /nonexistent/smartctl: "));
}

#[test]
fn without_a_management_controller_there_are_no_sensors_and_with_one_the_cause_is_told() {
    let node = Node::new();
    assert!(matches!(node.desk.answer(&Request::Sensors), Answer::Absent { .. }));
    assert!(matches!(node.desk.answer(&Request::SensorEvents), Answer::Absent { .. }));
    fs::write(node.path().join("dev/ipmi0"), "").unwrap();
    let sensors = node.desk.answer(&Request::Sensors);
    let expected = Answer::Output {
        status: 1,
        text: "-c sdr elist all\n".to_owned(),
        complaint: "Could not open device".to_owned(),
    };
    assert_eq!(sensors, expected);
    assert_eq!(text(node.desk.answer(&Request::SensorEvents)), "-c sel elist\n");
}

#[test]
fn the_led_of_the_slot_that_holds_the_disk_is_switched_and_no_other() {
    let node = Node::new();
    let sys = node.path().join("sys");
    let locate = |on| {
        let disk = DiskId("said".to_owned());
        node.desk.answer(&Request::Locate { disk, on })
    };
    assert!(matches!(locate(true), Answer::Absent { .. }), "no enclosure at all");
    let (disk, other) = (sys.join("devices/0:0:1:0"), sys.join("devices/0:0:2:0"));
    for (device, name) in [(&disk, "said"), (&other, "other")] {
        fs::create_dir_all(device.join("block").join(name)).unwrap();
        symlink(device, device.join("block").join(name).join("device")).unwrap();
        fs::create_dir_all(sys.join("class/block")).unwrap();
        let class = sys.join("class/block").join(name);
        symlink(device.join("block").join(name), class).unwrap();
    }
    let slot = |name: &str, device: Option<&PathBuf>| {
        let slot = sys.join("class/enclosure/0:0:9:0").join(name);
        fs::create_dir_all(&slot).unwrap();
        fs::write(slot.join("locate"), "").unwrap();
        if let Some(device) = device {
            symlink(device, slot.join("device")).unwrap();
        }
        slot.join("locate")
    };
    let empty = slot("Slot 01", None);
    assert!(matches!(locate(true), Answer::Absent { .. }), "no slot holds it");
    let (led, others) = (slot("Slot 02", Some(&disk)), slot("Slot 03", Some(&other)));
    assert_eq!(locate(true), Answer::Done);
    assert_eq!(fs::read(&led).unwrap(), b"1");
    assert_eq!(locate(false), Answer::Done);
    assert_eq!(fs::read(&led).unwrap().first(), Some(&b'0'));
    assert!(fs::read(&empty).unwrap().is_empty() && fs::read(&others).unwrap().is_empty());
}

/// A log as the kernel gives it: a record a read, or an error.
struct Log(Vec<Result<String, i32>>);

impl Read for Log {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let record = self.0.remove(0).map_err(io::Error::from_raw_os_error)?;
        bytes[..record.len()].copy_from_slice(record.as_bytes());
        Ok(record.len())
    }
}

fn record(priority: u64, sequence: u64, text: &str) -> Result<String, i32> {
    Ok(format!("{priority},{sequence},{},-;{text}\n SUBSYSTEM=block\n", sequence * 1000))
}

#[test]
fn the_kernels_warnings_are_told_and_those_that_it_dropped_are_counted() {
    let records = vec![
        record(4, 7, "ata1: hard resetting link"),
        record(6, 8, "an information"),
        record(8 | 3, 9, "a program's error"),
        Err(libc::EPIPE),
        record(3, 15, "I/O error\u{7}, dev sda"),
        Ok("nonsense".to_owned()),
    ];
    let (messages, lost) = collect(&mut Log(records.clone()), None).unwrap();
    let told: Vec<_> = messages.iter().map(|m| (m.sequence, m.level, m.text.as_str())).collect();
    assert_eq!(told, [(7, 4, "ata1: hard resetting link"), (15, 3, "I/O error , dev sda")]);
    assert_eq!(messages[1].at_us, 15_000);
    assert_eq!(lost, 5);
    let (messages, lost) = collect(&mut Log(records), Some(2)).unwrap();
    assert_eq!((messages.len(), lost), (2, 9), "4 more between 2 and 7");
}

#[test]
fn no_answer_has_more_messages_than_it_may_and_the_next_goes_on_behind_it() {
    let most = u64::try_from(MOST_MESSAGES).unwrap();
    let records: Vec<_> = (0..most + 10).map(|sequence| record(2, sequence, "x")).collect();
    let (messages, _) = collect(&mut Log(records.clone()), None).unwrap();
    assert_eq!(messages.len(), MOST_MESSAGES);
    let last = messages.last().unwrap().sequence;
    let (messages, lost) = collect(&mut Log(records), Some(last)).unwrap();
    assert_eq!((messages.len(), lost), (10, 0));
}

#[test]
fn a_log_that_cannot_be_read_fails_and_one_that_is_not_there_is_absent() {
    let node = Node::new();
    let ask = || node.desk.answer(&Request::KernelLog { after: None });
    assert!(matches!(ask(), Answer::Absent { .. }));
    fs::create_dir(node.path().join("dev/kmsg")).unwrap();
    assert!(reason(ask()).contains("cannot read"));
}

#[test]
fn requests_come_a_line_each_and_what_is_none_is_answered_so() {
    let node = Node::new();
    let socket = node.path().join("hardware.sock");
    let group = rustix::process::getgid().as_raw();
    start(&socket, group, node.desk.clone()).unwrap();
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut client = BufReader::new(UnixStream::connect(&socket).unwrap());
    let mut ask = |request: &str| -> Answer {
        client.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    assert!(reason(ask("nonsense")).starts_with("not a request"));
    assert!(reason(ask(r#"{"request":"smart","disk":"none"}"#)).starts_with("no disk is known"));
    assert!(matches!(ask(r#"{"request":"smart","disk":"virtio"}"#), Answer::Absent { .. }));
}

#[test]
fn more_clients_than_may_be_are_turned_away() {
    let node = Node::new();
    let socket = node.path().join("hardware.sock");
    let group = rustix::process::getgid().as_raw();
    start(&socket, group, node.desk.clone()).unwrap();
    let clients: Vec<_> = (0..MAX_CLIENTS).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut turned_away = UnixStream::connect(&socket).unwrap();
    // They are accepted in turn, so that all of the others have a place.
    assert_eq!(turned_away.read(&mut [0]).unwrap(), 0);
    drop(clients);
    until("a free place", || {
        let mut client = UnixStream::connect(&socket).unwrap();
        let asked = client.write_all(b"nonsense\n").is_ok();
        asked && client.read(&mut [0]).is_ok_and(|length| length == 1)
    });
}

#[test]
fn a_request_without_end_is_cut_off() {
    let node = Node::new();
    let socket = node.path().join("hardware.sock");
    let group = rustix::process::getgid().as_raw();
    start(&socket, group, node.desk.clone()).unwrap();
    let mut client = UnixStream::connect(&socket).unwrap();
    // The service may hang up before all of it is written.
    let _ = client.write_all(&[b'x'; 5000]);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn a_disk_is_known_by_its_name_unless_two_have_it() {
    let facts = |device: &str, id: Option<&str>| {
        let disk = unasked(PathBuf::from(device), DeviceKind::Disk);
        ObservedDisk { id: id.map(|id| DiskId(id.to_owned())), ..disk }
    };
    let disks = vec![
        facts("/dev/sda", Some("naa.1")),
        facts("/dev/sdb", Some("naa.2")),
        facts("/dev/sdc", Some("naa.2")),
        facts("/dev/sdd", None),
    ];
    let inventory = Inventory { disks, ..Inventory::default() };
    let plan = plan(&inventory, &claim_nothing(Path::new("/data")));
    let directory = Directory::default();
    directory.learn(&inventory, &plan);
    let find = |id: &str| directory.find(&DiskId(id.to_owned()));
    let known = find("naa.1").unwrap();
    assert_eq!((known.device.to_str(), known.is_ours), (Some("/dev/sda"), false));
    assert_eq!(find("naa.2"), None);
    directory.learn(&Inventory::default(), &plan);
    assert_eq!(find("naa.1"), None);
}
