//! Disks that come and go while the node serves.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::disks::Bus;
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::stick::node_toml;

#[test]
fn a_plugged_disk_is_claimed_and_a_pulled_one_does_not_stop_the_service() -> Result<()> {
    let rack = Rack::new("hot-plug-")?;
    let first = rack.blank("SCSIHOT1", Bus::Scsi, 2)?;
    let second = rack.blank("SCSIHOT2", Bus::Scsi, 2)?;
    let setup = Setup::new(&rack.stick("stick.img", &node_toml())?, &[first]);
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("steady")?;

    let plugged = Instant::now();
    node.plug(&second)?;
    node.wait_for_log("the claim", Duration::from_secs(60), |log| {
        log.matches("volume attached").count() == 2
    })?;
    let claimed_after = plugged.elapsed();
    println!("claimed {claimed_after:.1?} after plugging");
    assert!(claimed_after < Duration::from_secs(30), "claimed only after {claimed_after:?}");
    for number in 0..40 {
        s3.put("steady", &format!("object-{number}"), &[number; 4096])?.expect(200)?;
    }

    let pulled = Instant::now();
    node.pull(&second)?;
    node.wait_for_log("the pull", Duration::from_secs(30), |log| {
        log.lines().any(|line| line.contains("SCSIHOT2") && line.contains("disk is gone"))
    })?;
    let noticed_after = pulled.elapsed();
    println!("noticed {noticed_after:.1?} after pulling");
    // Two seconds, and what a loaded test machine adds.
    assert!(noticed_after < Duration::from_secs(5), "noticed only after {noticed_after:?}");
    s3.put("steady", "after the pull", b"still here")?.expect(200)?;
    assert_eq!(s3.get("steady", "after the pull")?.expect(200)?.body, b"still here");
    let mut answered = 0;
    for number in 0..40 {
        let answer = s3.get("steady", &format!("object-{number}"))?;
        match answer.status {
            200 => {
                assert_eq!(answer.body, [number; 4096]);
                answered += 1;
            }
            503 => {}
            other => panic!("object-{number}: status {other} while its disk is out"),
        }
    }
    assert!((1..40).contains(&answered), "{answered} of 40 objects lay on the disk that stayed");

    node.plug(&second)?;
    let until = Instant::now() + Duration::from_secs(60);
    for number in 0..40 {
        loop {
            let answer = s3.get("steady", &format!("object-{number}"))?;
            if answer.status == 200 {
                assert_eq!(answer.body, [number; 4096]);
                break;
            }
            assert!(Instant::now() < until, "object-{number} did not come back with its disk");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert!(!node.log().contains("panicked"), "{}", node.diagnosis());
    node.power_off()?;
    Ok(())
}
