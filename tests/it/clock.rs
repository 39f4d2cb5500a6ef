//! A clock that is far off.

use std::time::Duration;

use anyhow::Result;
use e2e::disks::Bus;
use e2e::machine::{BOOT, Setup};
use e2e::rack::Rack;
use e2e::stick::node_toml;

/// A time that no image was made at.
const FUTURE: &str = "2037-01-01T00:00:00";

#[test]
fn a_clock_far_off_is_told_and_set_by_ntp() -> Result<()> {
    let rack = Rack::new("clock-")?;
    let disks = [rack.blank("CLOCK001", Bus::Virtio, 2)?];

    // No time server: the console says what is wrong; a client with the right time is refused
    // with an error that names both times. The clock stands in the future, as init sets one
    // that stands before the image was made to that day, which may be today.
    let mut setup = Setup::new(&rack.stick("alone.img", &node_toml())?, &disks);
    setup.clock = FUTURE;
    let mut node = rack.boot(&setup)?;
    node.wait_for_https()?;
    let answer = node.s3().create_bucket("skewed")?;
    let text = String::from_utf8(answer.body)?;
    assert_eq!(answer.status, 403, "{text}");
    assert!(
        text.contains("Request has expired") && text.contains("time is 2037-01-01"),
        "the refusal does not say what the node takes the time for: {text}"
    );
    println!(
        "{}",
        node.screen.wait("that the clock is not synchronised", BOOT, |text| {
            text.to_lowercase().contains("clock")
        })?
    );
    node.power_off()?;

    // With a time server (here on the host, which a guest of QEMU sees as 10.0.2.2) it is set.
    let port = e2e::ntp::start()?;
    let toml = node_toml().replace("servers = []", &format!("servers = [\"10.0.2.2:{port}\"]"));
    let mut setup = Setup::new(&rack.stick("timed.img", &toml)?, &disks);
    setup.clock = FUTURE;
    let mut node = rack.boot(&setup)?;
    let (s3, after) = node.wait_for_s3("timed")?;
    println!("clock set and S3 served {after:.1?} after power-on");
    s3.put("timed", "object", b"now")?.expect(200)?;
    node.wait_for_log("the old and the new time", Duration::from_secs(30), |log| {
        let is_old = |line: &str| line.starts_with("2037-");
        let old = log.lines().position(is_old);
        let new = log.lines().position(|line| line.starts_with("20") && !is_old(line));
        old.is_some() && new > old
    })?;
    node.power_off()?;
    Ok(())
}
