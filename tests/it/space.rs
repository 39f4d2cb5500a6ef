//! A full node, and a disk that cannot be read.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::dice::noise;
use e2e::disks::Bus;
use e2e::machine::{BOOT, Setup};
use e2e::rack::Rack;
use e2e::stick::node_toml;

/// Objects of the size that fills a small disk in a few dozen.
const OBJECT: usize = 16 << 20;

/// How long the room of deleted objects may take to come back: some rounds of cleaning, which begin 5 s
/// apart.
const FREED: Duration = Duration::from_secs(60);

#[test]
fn a_full_node_refuses_writes_keeps_objects_and_can_delete() -> Result<()> {
    let rack = Rack::new("full-")?;
    let disks = [rack.blank("FULL0001", Bus::Virtio, 1)?];
    let mut node = rack.boot(&Setup::new(&rack.stick("stick.img", &node_toml())?, &disks))?;
    let (s3, _) = node.wait_for_s3("full")?;
    let mut stored = Vec::new();
    let refusal = loop {
        let number = stored.len();
        assert!(number < 100, "a 1 GiB disk took {number} objects of 16 MiB");
        let body = noise(&format!("object-{number}"), OBJECT);
        let answer = s3.put("full", &format!("object-{number}"), &body)?;
        if answer.status != 200 {
            break answer;
        }
        stored.push(body);
    };
    let text = String::from_utf8_lossy(&refusal.body).into_owned();
    println!("full after {} objects: {} {text}", stored.len(), refusal.status);
    assert!(matches!(refusal.status, 507 | 503), "{}: {text}", refusal.status);
    assert!(stored.len() > 20, "full after only {} objects", stored.len());
    for (number, body) in stored.iter().enumerate() {
        let read = s3.get("full", &format!("object-{number}"))?.expect(200)?;
        assert!(read.body == *body, "object-{number} changed when the node filled up");
    }
    for number in 0..3 {
        s3.delete("full", &format!("object-{number}"))?.expect(204)?;
    }
    // Room comes back when the groups that held them are removed.
    let until = Instant::now() + FREED;
    loop {
        let answer = s3.put("full", "after deletes", &noise("after deletes", OBJECT))?;
        if answer.status == 200 {
            break;
        }
        assert!(Instant::now() < until, "no room {FREED:?} after deletes: {}", answer.status);
        std::thread::sleep(Duration::from_millis(500));
    }
    node.power_off()?;
    Ok(())
}

#[test]
fn a_disk_that_errors_on_read_is_failing_and_the_others_serve() -> Result<()> {
    let rack = Rack::new("read-error-")?;
    let good = rack.blank("GOOD0001", Bus::Virtio, 2)?;
    let bad = rack.blank("BADREAD1", Bus::Scsi, 2)?;
    let digest = bad.digest()?;
    let mut setup = Setup::new(&rack.stick("stick.img", &node_toml())?, &[good]);
    // Every read of the sector at 12 MiB fails as a medium error (errno 61, ENODATA). It lies beside
    // the places of labels: a disk whose label cannot be read would, rightly, keep a new node from
    // giving itself an identity.
    setup.more = vec![
        "-drive".to_owned(),
        format!(
            "if=none,id=bad,file.driver=blkdebug,file.image.filename={},\
             file.inject-error.0.event=read_aio,file.inject-error.0.errno=61,\
             file.inject-error.0.sector=24576,format=raw,rerror=report,werror=report",
            bad.file.display()
        ),
        "-device".to_owned(),
        "scsi-hd,bus=scsi0.0,drive=bad,serial=BADREAD1,wwn=0x3000000000000bad".to_owned(),
    ];
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("healthy")?;
    s3.put("healthy", "object", b"on the good disk")?.expect(200)?;
    let screen = node.screen.wait("the failing disk", BOOT, |text| {
        text.contains("BADREAD1") && text.to_lowercase().contains("failing")
    })?;
    println!("{screen}");
    node.wait_for_log("the reason", Duration::from_secs(30), |log| {
        log.contains("reading block 24576 (byte 12582912) failed")
    })?;
    node.power_off()?;
    assert_eq!(bad.digest()?, digest, "a failing disk was written to");
    Ok(())
}
