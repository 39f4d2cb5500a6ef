//! Disks that come and go while the node serves.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::disks::Bus;
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::stick::node_toml;

/// Objects that are written while all disks are there.
const OBJECTS: u8 = 40;

#[test]
fn a_plugged_disk_is_claimed_and_a_pulled_one_stops_neither_reads_nor_writes() -> Result<()> {
    let rack = Rack::new("hot-plug-")?;
    let first = rack.blank("SCSIHOT1", Bus::Scsi, 2)?;
    let second = rack.blank("SCSIHOT2", Bus::Scsi, 2)?;
    let third = rack.blank("SCSIHOT3", Bus::Scsi, 2)?;
    let setup = Setup::new(&rack.stick("stick.img", &node_toml())?, &[first, second]);
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("steady")?;
    let in_use = |log: &str| log.matches("volume in use").count();
    node.wait_for_log("both volumes", Duration::from_secs(60), |log| in_use(log) == 2)?;

    let plugged = Instant::now();
    node.plug(&third)?;
    node.wait_for_log("the claim", Duration::from_secs(60), |log| in_use(log) == 3)?;
    let claimed_after = plugged.elapsed();
    println!("claimed {claimed_after:.1?} after plugging");
    assert!(claimed_after < Duration::from_secs(30), "claimed only after {claimed_after:?}");
    for number in 0..OBJECTS {
        s3.put("steady", &format!("object-{number}"), &[number; 4096])?.expect(200)?;
    }

    let pulled = Instant::now();
    node.pull(&third)?;
    node.wait_for_log("the pull", Duration::from_secs(30), |log| {
        log.lines().any(|line| line.contains("SCSIHOT3") && line.contains("disk is gone"))
    })?;
    let noticed_after = pulled.elapsed();
    println!("noticed {noticed_after:.1?} after pulling");
    // Two seconds, and what a loaded test machine adds.
    assert!(noticed_after < Duration::from_secs(5), "noticed only after {noticed_after:?}");
    s3.put("steady", "after the pull", b"still here")?.expect(200)?;
    assert_eq!(s3.get("steady", "after the pull")?.expect(200)?.body, b"still here");
    for number in 0..OBJECTS {
        let read = s3.get("steady", &format!("object-{number}"))?.expect(200)?;
        assert_eq!(read.body, [number; 4096], "object-{number} reads otherwise");
    }

    node.plug(&third)?;
    node.wait_for_log("its return", Duration::from_secs(60), |log| in_use(log) == 4)?;
    for number in 0..OBJECTS {
        let read = s3.get("steady", &format!("object-{number}"))?.expect(200)?;
        assert_eq!(read.body, [number; 4096], "object-{number} reads otherwise");
    }
    assert_eq!(s3.get("steady", "after the pull")?.expect(200)?.body, b"still here");
    node.has_no_panic()?;
    node.power_off()?;
    Ok(())
}
