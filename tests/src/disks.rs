//! Disks for test machines: sparse files, blank or holding somebody's data.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

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
