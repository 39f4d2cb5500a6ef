//! Disks for test machines: sparse files, blank or holding somebody's data.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::artefacts::workspace;

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// NVMe.
    Nvme,
    /// A SCSI disk behind virtio-scsi, with a WWN.
    Scsi,
    /// SATA.
    Ata,
}

/// A disk of a test machine.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Its serial number, and its name in the machine's QMP tree.
    pub serial: String,
    /// How it is attached.
    pub bus: Bus,
    /// The raw file behind it.
    pub file: PathBuf,
}

impl Disk {
    /// A blank sparse disk of `gib` GiB, in `dir`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn blank(dir: &Path, serial: &str, bus: Bus, gib: u64) -> Result<Self> {
        let file = dir.join(format!("{serial}.raw"));
        File::create(&file)
            .and_then(|made| made.set_len(gib << 30))
            .with_context(|| format!("cannot make {}", file.display()))?;
        Ok(Self { serial: serial.to_owned(), bus, file })
    }

    /// SHA-256 of every byte of the disk.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn digest(&self) -> Result<String> {
        let mut file = File::open(&self.file)?;
        let mut hash = Sha256::new();
        let mut chunk = vec![0; 1 << 20];
        loop {
            let length = file.read(&mut chunk)?;
            let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
        }
        Ok(hex::encode(hash.finalize()))
    }
}

impl Disk {
    /// Lays the bytes of a fixture (see `tests/fixtures/README.md`) on the disk.
    ///
    /// # Errors
    /// When the fixture cannot be read or the disk not written.
    pub fn lay(&self, fixture: &str, place: Place) -> Result<()> {
        let path = workspace().join("tests/fixtures").join(format!("{fixture}.zst"));
        let output = Command::new("zstd").args(["-dcq"]).arg(&path).output()?;
        ensure!(output.status.success(), "zstd cannot read {}", path.display());
        self.write(&output.stdout, place)
    }

    /// Writes bytes to the disk's file while no machine uses it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, bytes: &[u8], place: Place) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.file)?;
        let length = file.metadata()?.len();
        let offset = match place {
            Place::At(offset) => offset,
            Place::End => length.saturating_sub(u64::try_from(bytes.len())?),
        };
        file.write_all_at(bytes, offset)?;
        Ok(())
    }

    /// Runs a program on the disk's file, such as a mkfs.
    ///
    /// # Errors
    /// With what the program said when it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let output = Command::new(program).args(arguments).arg(&self.file).output()?;
        ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Disk {
    /// Whether the data volume on the disk was unmounted: nothing in its journal is to be
    /// recovered.
    ///
    /// # Errors
    /// When there is no such volume, or its journal cannot be read.
    pub fn is_unmounted(&self) -> Result<bool> {
        let offset = partition_offset(&self.file, "ICN-DATA")?;
        // xfs_logprint takes no offset.
        let volume = self.file.with_extension("volume");
        let status = Command::new("dd")
            .args(["bs=1M", "conv=sparse", "iflag=skip_bytes", "status=none"])
            .arg(format!("skip={offset}"))
            .arg(format!("if={}", self.file.display()))
            .arg(format!("of={}", volume.display()))
            .status()?;
        ensure!(status.success(), "cannot copy the volume of {}", self.file.display());
        let output = Command::new("xfs_logprint").arg("-t").arg(&volume).output()?;
        std::fs::remove_file(&volume)?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.split_once("state: <").map(|(_, state)| state) {
            Some(state) if state.starts_with("CLEAN>") => Ok(true),
            Some(state) if state.starts_with("DIRTY>") => Ok(false),
            _ => bail!("xfs_logprint: {text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// Where the partition of this name begins, in bytes.
///
/// # Errors
/// When the partition table cannot be read or has none of that name.
pub fn partition_offset(image: &Path, name: &str) -> Result<u64> {
    let output = Command::new("sfdisk").arg("--json").arg(image).output()?;
    ensure!(output.status.success(), "sfdisk cannot read {}", image.display());
    let table: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let sectors = table
        .pointer("/partitiontable/partitions")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .find(|partition| partition.get("name").is_some_and(|found| found == name))
        .and_then(|partition| partition.get("start")?.as_u64())
        .with_context(|| format!("{} has no partition named {name}", image.display()))?;
    Ok(sectors * 512)
}

/// Where bytes go on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this offset in bytes.
    At(u64),
    /// So that the last byte is the disk's last.
    End,
}
