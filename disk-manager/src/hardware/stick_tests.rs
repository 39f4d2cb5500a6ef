use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use disk_manager_plan::hardware::Request;
use disk_manager_plan::observe::Bus;
use disk_manager_plan::report::Ownership;

use super::super::{Directory, start};
use super::*;

/// A folder in place of what is mounted.
#[derive(Debug, Default)]
struct Folder {
    at: PathBuf,
    /// What was done, in order.
    told: Mutex<Vec<String>>,
    /// Changes a byte of what was written before it is read back.
    corrupts: bool,
}

impl Place for Folder {
    fn mount(&self, _device: &Path, writable: bool) -> io::Result<PathBuf> {
        self.told.lock().unwrap().push(if writable { "rw" } else { "ro" }.to_owned());
        if self.corrupts && !writable {
            for file in fs::read_dir(&self.at)?.flatten() {
                let mut bytes = fs::read(file.path())?;
                bytes[0] ^= 1;
                fs::write(file.path(), bytes)?;
            }
        }
        Ok(self.at.clone())
    }

    fn unmount(&self) -> io::Result<()> {
        self.told.lock().unwrap().push("unmounted".to_owned());
        Ok(())
    }
}

struct Node {
    root: tempfile::TempDir,
    desk: Desk,
    place: Arc<Folder>,
}

impl Node {
    fn new(corrupts: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("stick");
        fs::create_dir(&at).unwrap();
        let place = Arc::new(Folder { at, corrupts, ..Folder::default() });
        let mut desk = Desk::new(Arc::new(Directory::default()), root.path().join("sys"));
        desk.place = Arc::clone(&place) as Arc<dyn Place>;
        Self { root, desk, place }
    }

    /// Plugs a stick in whose file system has this label.
    fn plug(&self, name: &str, label: &[u8; 11]) -> Pluggable {
        let device = self.root.path().join(name);
        let mut file =
            OpenOptions::new().read(true).write(true).create_new(true).open(&device).unwrap();
        file.set_len(4 << 20).unwrap();
        let options = fatfs::FormatVolumeOptions::new().volume_label(*label);
        fatfs::format_volume(&mut file, options).unwrap();
        let stick = Pluggable {
            candidate: Candidate {
                ownership: Ownership::Foreign,
                bus: Bus::Usb,
                removable: true,
                read_only: false,
                in_use: false,
                labelled: Vec::new(),
            },
            name: name.to_owned(),
            devices: vec![device],
        };
        self.desk.directory.replace_pluggable(vec![stick.clone()]);
        stick
    }

    fn plugged() -> Self {
        let node = Self::new(false);
        node.plug("sdx", b"ICN-SUPPORT");
        node
    }

    fn deliver(&self, name: &str, bytes: &[u8]) -> Answer {
        let stick = self.desk.find_stick(name, bytes.len() as u64).unwrap();
        stick.take(&mut &bytes[..])
    }

    fn files(&self) -> Vec<String> {
        let files = fs::read_dir(&self.place.at).unwrap();
        let mut names: Vec<_> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn reason(answer: Answer) -> String {
    let Answer::Failed { reason } = answer else { panic!("{answer:?}") };
    reason
}

#[test]
fn a_bundle_is_written_read_back_and_unmounted_and_a_taken_name_gets_a_number() {
    let node = Node::plugged();
    let bytes = vec![7; PIECE + 5];
    for wanted in ["b.tar.zst.age", "b-2.tar.zst.age"] {
        let device = node.root.path().join("sdx").display().to_string();
        let file = wanted.to_owned();
        let expected = Answer::Written { device, file, size: bytes.len() as u64 };
        assert_eq!(node.deliver("b.tar.zst.age", &bytes), expected);
        assert_eq!(fs::read(node.place.at.join(wanted)).unwrap(), bytes);
    }
    assert_eq!(node.files(), ["b-2.tar.zst.age", "b.tar.zst.age"]);
    let told = node.place.told.lock().unwrap().clone();
    assert_eq!(told[..4], ["rw", "unmounted", "ro", "unmounted"]);
}

#[test]
fn what_comes_short_or_is_read_back_otherwise_is_told_so() {
    let node = Node::plugged();
    let stick = node.desk.find_stick("b.age", 10).unwrap();
    let short = reason(stick.take(&mut &b"12345"[..]));
    assert_eq!(short, "5 bytes came of 10: the stick has none of them");
    assert_eq!(node.files(), [""; 0]);
    assert_eq!(node.place.told.lock().unwrap().clone(), ["rw", "unmounted"]);
    let node = Node::new(true);
    node.plug("sdx", b"ICN-SUPPORT");
    let differs = reason(node.deliver("b.age", b"12345"));
    assert!(differs.contains("not what was written"), "{differs}");
}

#[test]
fn only_a_labelled_stick_is_found_and_one_writes_at_a_time() {
    let node = Node::new(false);
    let find = |length| node.desk.find_stick("b.age", length).map(|_| ()).unwrap_err();
    assert!(find(1).contains("there is no stick with a FAT file system called ICN-SUPPORT"));
    node.plug("sdx", b"SOMETHING  ");
    assert!(find(1).contains("there is no stick"));
    let ours = node.plug("sdy", b"ICN-SUPPORT");
    let candidate = Candidate { ownership: Ownership::Ours, ..ours.candidate.clone() };
    node.desk.directory.replace_pluggable(vec![Pluggable { candidate, ..ours.clone() }]);
    assert!(find(1).contains("is on a disk of this node"));
    node.desk.directory.replace_pluggable(vec![ours]);
    let first = node.desk.find_stick("b.age", 1).unwrap();
    assert!(find(1).contains("another bundle is being written"));
    drop(first);
    assert!(node.desk.find_stick("b.age", BUNDLE_MAX).is_ok());
    assert!(find(BUNDLE_MAX + 1).contains("bytes, not"));
    assert!(find(0).contains("bytes, not"));
    for name in ["", "../b", "a/b", ".b", "b.", "a b", &"a".repeat(101)] {
        assert!(node.desk.find_stick(name, 1).is_err(), "{name}");
    }
    assert_eq!(node.files(), [""; 0]);
}

#[test]
fn a_stick_that_was_swapped_is_not_mounted() {
    let node = Node::plugged();
    let sys = node.root.path().join("sys/class/block/sdx");
    fs::create_dir_all(&sys).unwrap();
    fs::write(sys.join("size"), "100\n").unwrap();
    fs::write(sys.join("diskseq"), "7\n").unwrap();
    let stick = node.desk.find_stick("b.age", 1).unwrap();
    fs::write(sys.join("diskseq"), "8\n").unwrap();
    assert!(reason(stick.take(&mut &b"1"[..])).contains("was pulled"));
    assert!(node.place.told.lock().unwrap().is_empty());
}

#[test]
fn a_stick_without_room_is_told_and_not_written_to() {
    let node = Node::plugged();
    let wanted = u64::MAX / 2;
    assert!(matches!(has_room(&node.place.at, wanted), Err(NoRoom::Full { .. })));
    assert!(has_room(&node.place.at, 1).is_ok());
}

#[test]
fn bytes_come_behind_the_request_once_the_stick_is_ready() {
    let node = Node::plugged();
    let socket = node.root.path().join("hardware.sock");
    start(&socket, rustix::process::getgid().as_raw(), node.desk.clone()).unwrap();
    let mut client = BufReader::new(UnixStream::connect(&socket).unwrap());
    let bytes = vec![9; 100_000];
    let request = |length| Request::WriteSupport { name: "b.age".to_owned(), length };
    let send = |client: &mut BufReader<UnixStream>, length| -> Answer {
        let mut line = serde_json::to_vec(&request(length)).unwrap();
        line.push(b'\n');
        client.get_mut().write_all(&line).unwrap();
        answer(client)
    };
    fn answer(client: &mut BufReader<UnixStream>) -> Answer {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
    assert!(matches!(send(&mut client, 0), Answer::Failed { .. }));
    assert_eq!(send(&mut client, 100_000), Answer::Ready);
    client.get_mut().write_all(&bytes).unwrap();
    assert!(matches!(answer(&mut client), Answer::Written { size: 100_000, .. }));
    // The same connection goes on.
    node.desk.directory.replace_pluggable(Vec::new());
    assert!(reason(send(&mut client, 1)).contains("there is no stick"));
    assert_eq!(fs::read(node.place.at.join("b.age")).unwrap(), bytes);
}

#[test]
fn the_label_is_read_from_what_blkid_says() {
    let text =
        "DEVNAME=/dev/sdb1\nLABEL_FATBOOT=ICN-SUPPORT\nLABEL=ICN-SUPPORT\nUUID=1\nTYPE=vfat\n";
    assert_eq!(kind_of(text), Some("vfat".to_owned()));
    assert_eq!(kind_of("LABEL=ICN-SUPPORT\nTYPE=ext4\n"), Some("ext4".to_owned()));
    for other in ["", "TYPE=vfat\n", "LABEL=ICN-SUPPORT2\n", "PARTLABEL=ICN-SUPPORT\nTYPE=vfat\n"] {
        assert_eq!(kind_of(other), None, "{other}");
    }
}
