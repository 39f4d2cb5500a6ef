//! Image files with a past, and the probe's view of them. A tool that this machine does not have is
//! replaced by the bytes that it writes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use disk_manager::probe::{Health, Look, Pulse, Source, observe, unasked};
use disk_manager_plan::observe::{Bus, DeviceKind};
use disk_manager_plan::report::{Bytes, DiskId};
use disk_manager_plan::{Inventory, ObservedDisk, Plan, Policy, plan};
use rustix::fs::{SeekFrom, seek};

pub(crate) const MIB: u64 = 1 << 20;
/// Larger than the least disk that is claimed, and than the least XFS (300 MiB).
pub(crate) const SIZE: u64 = 600 * MIB;

/// A disk image in a folder of its own.
pub(crate) struct Image {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        Self { _folder: folder, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes bytes.
    pub(crate) fn put(&self, offset: u64, bytes: &[u8]) -> &Self {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        self
    }

    /// Runs a tool on it, fed with `input`. `false` where the machine does not have the tool.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], input: &str) -> bool {
        let child = Command::new(program)
            .args(arguments)
            .arg(&self.path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return false };
        use std::io::Write;
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {complaint}");
        true
    }

    /// What the probe sees.
    pub(crate) fn observe(&self) -> ObservedDisk {
        let facts = ObservedDisk {
            id: Some(DiskId("virtio-image".to_owned())),
            serial: "image".to_owned(),
            size: Bytes(SIZE),
            bus: Bus::Virtio,
            ..unasked(self.path.clone(), DeviceKind::Disk)
        };
        let policy = policy();
        let look =
            Look { policy: &policy, loader: None, health: Health::Ask, pulse: Pulse::default() };
        observe(facts, &look, &Source::Name)
    }

    /// A hash of every block that is not all zeros, with its place. Holes are skipped.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let file = File::open(&self.path).unwrap();
        let mut hash = blake3::Hasher::new();
        let mut block = [0; 4096];
        let mut at = 0;
        while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
            let end = seek(&file, SeekFrom::Hole(start)).unwrap();
            at = start / 4096 * 4096;
            while at < end {
                file.read_exact_at(&mut block, at).unwrap();
                if block != [0; 4096] {
                    hash.update(&at.to_le_bytes()).update(&block);
                }
                at += 4096;
            }
        }
        hash.finalize()
    }

    /// What is planned for it.
    pub(crate) fn plan(&self) -> Plan {
        let inventory =
            Inventory { disks: vec![self.observe()], settled: true, ..Inventory::default() };
        plan(&inventory, &policy())
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        claim: true,
        min_size: Bytes(0),
        allow_removable: Vec::new(),
        data_dir: "/data".into(),
    }
}
