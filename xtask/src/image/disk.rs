//! The stick: a GPT disk image with the boot loader, the unified kernel image, and ICN-SEED, which
//! a person edits on any computer.
//!
//! Made without root and without loop devices, and so that the same content gives the same bits.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::process;

/// The type of the seed partition: Microsoft basic data, the one that Windows gives a drive letter.
/// No attribute is set, as one of them (bit 63) would keep the letter away.
const SEED_TYPE: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";

/// The name of the seed partition and the label of its file system. init, icn-disks and icn-fleet
/// know the partition by type and name together.
const SEED_NAME: &str = "ICN-SEED";

/// EFI system partition (UEFI 2.10, table 5-7).
const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// 60 MB for the largest unified kernel image allowed and room for FAT32's smallest count of
/// clusters; the whole stick stays below 96 MB.
const ESP_SIZE: u64 = 80 * MIB;

/// A configuration and a few certificates take kilobytes; 8 MiB is a comfortable FAT16 that every
/// system can mount, and leaves the stick's image small.
const SEED_SIZE: u64 = 8 * MIB;

/// One MiB in front for the partition table, one behind for its copy.
const ESP_START: u64 = MIB;
const SEED_START: u64 = ESP_START + ESP_SIZE;
const DISK_SIZE: u64 = SEED_START + SEED_SIZE + MIB;

/// Fixed identities, so that two builds are the same: that of the disk and of its partitions, and
/// the serial numbers of the file systems.
const DISK_ID: &str = "1C4E5EED-1000-4000-8000-000000000001";
const ESP_ID: &str = "1C4E5EED-1000-4000-8000-000000000002";
const SEED_ID: &str = "1C4E5EED-1000-4000-8000-000000000003";
const ESP_SERIAL: &str = "1C4E0001";
const SEED_SERIAL: &str = "1C4E0002";

/// The time of all files on the stick: 2025-01-01, as FAT cannot say "none".
const FILE_TIME: &str = "1735689600";

/// What goes onto the stick.
#[derive(Debug)]
pub(crate) struct Content<'a> {
    /// `systemd-bootx64.efi`.
    pub boot_loader: &'a Path,
    /// `loader.conf`.
    pub loader_conf: &'a Path,
    /// The unified kernel image.
    pub uki: &'a Path,
    /// A directory whose files go onto ICN-SEED.
    pub seed: &'a Path,
}

/// Writes the disk image.
///
/// # Errors
///
/// When the content does not fit or a program fails.
pub(crate) fn write(content: &Content<'_>, into: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", into.display());
    let uki = content.uki.metadata().with_context(failed)?.len();
    ensure!(
        uki + 4 * MIB < ESP_SIZE,
        "{} has {uki} bytes, too many for the boot partition of {ESP_SIZE}",
        content.uki.display()
    );
    let _ = fs::remove_file(into);
    fs::File::create(into).and_then(|file| file.set_len(DISK_SIZE)).with_context(failed)?;
    partition(into)?;
    format(into, ESP_START, ESP_SIZE, &["-F", "32", "-s", "1"], ESP_SERIAL, "ICN-BOOT")?;
    format(into, SEED_START, SEED_SIZE, &["-F", "16", "-s", "1"], SEED_SERIAL, SEED_NAME)?;

    let esp = Fat { image: into.to_owned(), start: ESP_START };
    for dir in ["EFI", "EFI/BOOT", "EFI/Linux", "loader"] {
        esp.make_dir(dir)?;
    }
    esp.copy(content.boot_loader, "EFI/BOOT/BOOTX64.EFI")?;
    esp.copy(content.loader_conf, "loader/loader.conf")?;
    esp.copy(content.uki, "EFI/Linux/icn-node.efi")?;
    let seed = Fat::seed(into);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(content.seed).with_context(failed)? {
        files.push(entry.with_context(failed)?.path());
    }
    files.sort();
    for file in files {
        let name = file.file_name().context("a seed file without a name")?.to_string_lossy();
        seed.copy(&file, &name)?;
    }
    Ok(())
}

/// A FAT file system inside a disk image.
#[derive(Debug)]
pub(crate) struct Fat {
    image: PathBuf,
    /// Bytes from the image's beginning.
    start: u64,
}

impl Fat {
    /// ICN-SEED of a stick's image.
    pub(crate) fn seed(image: &Path) -> Self {
        Self { image: image.to_owned(), start: SEED_START }
    }

    /// Copies a file to a path inside, replacing what is there.
    ///
    /// # Errors
    ///
    /// When mcopy fails.
    pub(crate) fn copy(&self, file: &Path, path: &str) -> Result<()> {
        self.run("mcopy", &[Path::new("-o"), file, Path::new(&format!("::{path}"))])
    }

    fn make_dir(&self, path: &str) -> Result<()> {
        self.run("mmd", &[Path::new(&format!("::{path}"))])
    }

    fn run(&self, program: &str, args: &[&Path]) -> Result<()> {
        let mut command = process::command(program);
        command
            .arg("-i")
            .arg(format!("{}@@{}", self.image.display(), self.start))
            .args(args)
            .env("SOURCE_DATE_EPOCH", FILE_TIME)
            .env("MTOOLS_SKIP_CHECK", "1")
            .env("MTOOLSRC", "/dev/null");
        process::output(&mut command).map(drop)
    }
}

fn partition(image: &Path) -> Result<()> {
    let line = |start: u64, size: u64, kind: &str, id: &str, name: &str| {
        let (start, size) = (start / SECTOR, size / SECTOR);
        format!("start={start}, size={size}, type={kind}, uuid={id}, name=\"{name}\"\n")
    };
    let script = format!(
        "label: gpt\nlabel-id: {DISK_ID}\nunit: sectors\nsector-size: {SECTOR}\n\n{}{}",
        line(ESP_START, ESP_SIZE, ESP_TYPE, ESP_ID, "ICN-BOOT"),
        line(SEED_START, SEED_SIZE, SEED_TYPE, SEED_ID, SEED_NAME),
    );
    let mut sfdisk = process::command("sfdisk");
    sfdisk.args(["--quiet", "--no-reread", "--no-tell-kernel"]).arg(image);
    let mut child = sfdisk.stdin(Stdio::piped()).spawn().context("cannot start sfdisk")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).context("cannot tell sfdisk what to do")?;
    }
    let status = child.wait().context("cannot wait for sfdisk")?;
    ensure!(status.success(), "sfdisk could not partition {}: {status}", image.display());
    Ok(())
}

fn format(
    image: &Path,
    start: u64,
    size: u64,
    options: &[&str],
    serial: &str,
    label: &str,
) -> Result<()> {
    let sectors = (start / SECTOR).to_string();
    process::output(
        process::command("mkfs.vfat")
            .arg("--invariant")
            .args(["-i", serial, "-n", label, "--offset", &sectors, "-h", &sectors])
            .args(options)
            .arg(image)
            .arg((size / 1024).to_string()),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_seed_partition_has_the_type_and_name_that_it_is_known_by() {
        let image = std::env::temp_dir().join(format!("xtask-stick-{}.img", std::process::id()));
        fs::File::create(&image).unwrap().set_len(DISK_SIZE).unwrap();
        partition(&image).unwrap();
        let json = process::output(process::command("sfdisk").arg("--json").arg(&image)).unwrap();
        fs::remove_file(&image).unwrap();
        let table: Value = serde_json::from_str(&json).unwrap();
        let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
        let [esp, seed] = partitions.as_slice() else { panic!("{json}") };
        assert_eq!(esp["type"], ESP_TYPE);
        assert_eq!(seed["type"], "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7");
        assert_eq!(seed["name"], "ICN-SEED");
        assert_eq!(seed["start"], SEED_START / SECTOR);
        assert_eq!(seed.get("attrs"), None, "an attribute may keep the drive letter away");
    }
}
