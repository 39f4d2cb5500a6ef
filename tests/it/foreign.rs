//! Disks that hold somebody's data stay byte-identical.

use std::time::Duration;

use anyhow::Result;
use e2e::disks::{Bus, Disk, Place};
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::stick::node_toml;

#[test]
fn a_foreign_disk_is_never_touched() -> Result<()> {
    let rack = Rack::new("foreign-")?;
    let blank = rack.blank("BLANK001", Bus::Virtio, 2)?;
    let foreign = foreign_disks(&rack)?;
    let before: Vec<String> = foreign.iter().map(Disk::digest).collect::<Result<_>>()?;
    let mut disks = foreign.clone();
    disks.push(blank);

    let mut node = rack.boot(&Setup::new(&rack.stick("stick.img", &node_toml())?, &disks))?;
    let (s3, _) = node.wait_for_s3("beside")?;
    s3.put("beside", "object", b"on the blank disk")?.expect(200)?;
    // Every disk has been judged once the plan leaves it alone.
    for disk in &foreign {
        node.wait_for_log(&disk.serial, Duration::from_secs(60), |log| {
            let Some(device) = node.device_of(&disk.serial) else { return false };
            let left = format!("/dev/{device} ");
            log.lines().any(|line| {
                line.contains("leave ") && line.contains(&left) && line.contains("foreign")
            })
        })?;
    }
    node.screen.wait("a foreign disk with its reason", Duration::from_secs(30), |text| {
        text.to_lowercase().contains("foreign")
    })?;
    std::thread::sleep(Duration::from_secs(15));
    node.power_off()?;

    for (disk, digest) in foreign.iter().zip(before) {
        assert_eq!(disk.digest()?, digest, "{} was written to", disk.serial);
    }
    Ok(())
}

fn foreign_disks(rack: &Rack) -> Result<Vec<Disk>> {
    let buses = [Bus::Virtio, Bus::Nvme, Bus::Scsi];
    let mut disks = Vec::new();
    let mut disk = |name: &str| -> Result<Disk> {
        let made = rack.blank(name, buses[disks.len() % buses.len()], 1)?;
        disks.push(made.clone());
        Ok(made)
    };
    disk("LVM2PV01")?.lay("lvm2-head", Place::At(0))?;
    disk("MDRAID01")?.lay("md-1.2-head", Place::At(0))?;
    disk("LUKS2001")?.lay("luks2-head", Place::At(0))?;
    disk("EXT4FS01")?.run("mkfs.ext4", &["-q", "-F"])?;
    let zfs = disk("ZFSVDEV1")?;
    zfs.lay("zfs-head", Place::At(0))?;
    zfs.lay("zfs-tail", Place::End)?;
    // What blkid calls ambiguous: a new file system over labels that are still there.
    let both = disk("ZFSEXT41")?;
    both.lay("zfs-tail", Place::End)?;
    both.run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard"])?;
    let table = disk("GPTDATA1")?;
    table.run("sgdisk", &["--new=1:2048:+100M", "--typecode=1:8300"])?;
    table.write(b"somebody's data", Place::At(2048 * 512))?;
    // Only the backup table at the end is left.
    let backup = disk("GPTTAIL1")?;
    backup.run("sgdisk", &["--new=1:2048:+100M"])?;
    backup.write(&[0; 34 * 512], Place::At(0))?;
    // Nothing that any tool knows: only data, at the end.
    disk("RAWTAIL1")?.write(&[0x5a; 4096], Place::End)?;
    disk("RAWHEAD1")?.write(b"key", Place::At(3 << 20))?;
    Ok(disks)
}
