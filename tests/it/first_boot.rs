//! From the stick to objects, and again after a reboot.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::disks::Bus;
use e2e::machine::{Boot, Setup};
use e2e::rack::Rack;
use e2e::screen::DISKS;
use e2e::stick::node_toml;

/// How long the console may lag behind the node: it refreshes every second.
const CONSOLE: Duration = Duration::from_secs(30);

#[test]
fn a_fresh_node_boots_from_usb_to_s3_and_keeps_objects_over_a_reboot() -> Result<()> {
    let rack = Rack::new("first-boot-")?;
    let disks = [
        rack.blank("VBLK0001", Bus::Virtio, 2)?,
        rack.blank("NVME0001", Bus::Nvme, 2)?,
        rack.blank("SCSI0001", Bus::Scsi, 2)?,
        rack.blank("SATA0001", Bus::Ata, 2)?,
    ];
    let setup = Setup {
        boot: Boot::Firmware,
        ..Setup::new(&rack.stick("stick.img", &node_toml())?, &disks)
    };

    let mut node = rack.boot(&setup)?;
    let (s3, ready_after) = node.wait_for_s3("photos")?;
    println!("first 200 from S3 after {ready_after:.1?}");
    let body: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    s3.put("photos", "2026/a cat.bin", &body)?.expect(200)?;
    assert_eq!(s3.get("photos", "2026/a cat.bin")?.expect(200)?.body, body);

    let fingerprint = fingerprint(node.s3_port())?;
    let screen = node.screen.wait("the certificate's fingerprint", CONSOLE, |text| {
        squeezed(text).contains(&squeezed(&fingerprint))
    })?;
    assert!(screen.contains("https://"), "no endpoint on the console:\n{screen}");
    let first_id = node_id(&screen)?;
    println!("{screen}");
    let screen = node.screen.wait_on(DISKS, "every disk", CONSOLE, |text| {
        disks.iter().all(|disk| text.contains(&disk.serial))
    })?;
    println!("{screen}");
    node.power_off()?;
    let before: Vec<String> = disks.iter().map(labels).collect::<Result<_>>()?;

    let mut node = rack.boot(&setup)?;
    let (s3, again_after) = node.wait_for_s3("photos")?;
    println!("second boot: S3 after {again_after:.1?}");
    assert_eq!(s3.get("photos", "2026/a cat.bin")?.expect(200)?.body, body);
    let again = self::fingerprint(node.s3_port())?;
    assert_eq!(again, fingerprint, "the certificate changed over a reboot");
    let screen = node.screen.wait("the node id", CONSOLE, |text| node_id(text).is_ok())?;
    assert_eq!(node_id(&screen)?, first_id, "the identity changed over a reboot");
    node.power_off()?;
    let after: Vec<String> = disks.iter().map(labels).collect::<Result<_>>()?;
    assert_eq!(before, after, "a second boot changed partition tables or labels");
    Ok(())
}

/// SHA-256 of everything before the data partition: partition table and the node's labels.
fn labels(disk: &e2e::disks::Disk) -> Result<String> {
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(&disk.file)?.take(33 << 20).read_to_end(&mut head)?;
    Ok(hex::encode(Sha256::digest(&head)))
}

/// The text without white space and box drawing, for things that a small screen wraps.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).collect::<String>().to_uppercase()
}

/// The 32 hexadecimal digits behind "Node" on the console.
fn node_id(screen: &str) -> Result<String> {
    screen
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 32)
        .map(str::to_owned)
        .context("no node id on the console")
}

/// SHA-256 fingerprint of the certificate that a port serves, as openssl prints it.
fn fingerprint(port: u16) -> Result<String> {
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null \
         | openssl x509 -noout -fingerprint -sha256"
    );
    let output = Command::new("sh").args(["-c", &script]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (_, digits) = text.trim().split_once('=').context("openssl printed no fingerprint")?;
    Ok(digits.to_owned())
}
