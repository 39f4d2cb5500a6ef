//! A clock that is far off.

use std::time::Duration;

use anyhow::Result;
use e2e::disks::Bus;
use e2e::machine::{BOOT, Machine, Setup};
use e2e::rack::Rack;
use e2e::stick::node_toml;

/// A time that no image was made at.
const FUTURE: &str = "2037-01-01T00:00:00";

/// How long the console may lag behind the node, and a key behind the terminal's answer to how large it is.
const CONSOLE: Duration = Duration::from_secs(30);

const ENTER: &str = "\r";
const UP: &str = "\x1b[A";
const TO_THE_END: &str = "\x1b[6~";

/// Fills the field of time servers in, which says that there are none, and keeps what is tried.
fn name_server(node: &Machine, server: &str) -> Result<()> {
    let has = |line: &'static str| move |text: &str| text.lines().any(|l| l.starts_with(line));
    let screen = &node.screen;
    screen.wait_on("2", "the network", CONSOLE, |text| text.contains("[2 Network]"))?;
    screen.wait_on("e", "the form of a port", CONSOLE, |text| text.contains("Set a port up"))?;
    screen.wait_on(TO_THE_END, "the form's end", CONSOLE, has("> [ Try it"))?;
    screen.type_keys(UP)?;
    screen.wait("the time servers", CONSOLE, has("> NTP         none"))?;
    screen.type_keys(&"\x7f".repeat("none".len()))?;
    screen.type_keys(server)?;
    let typed = format!("> NTP         {server}");
    screen.wait("what was typed", CONSOLE, |text| text.contains(&typed))?;
    screen.type_keys(ENTER)?;
    screen.wait("the form's end", CONSOLE, has("> [ Try it"))?;
    screen.type_keys(ENTER)?;
    let asked = format!("NTP      {server}");
    let tried = |text: &str| text.contains("Network on trial") && text.contains(&asked);
    println!("{}", screen.wait("the server on trial", CONSOLE, tried)?);
    screen.type_keys("y")?;
    let kept = |text: &str| !text.contains("Network on trial") && text.contains(&asked);
    println!("{}", screen.wait("the server after the trial", CONSOLE, kept)?);
    Ok(())
}

/// Waits until the log's times have gone back from that future.
fn wait_for_step(node: &Machine) -> Result<()> {
    node.wait_for_log("the old and the new time", CONSOLE, |log| {
        let is_old = |line: &str| line.starts_with("2037-");
        let mut since = log.lines().skip_while(|line| !is_old(line));
        since.any(|line| line.starts_with("20") && !is_old(line))
    })?;
    Ok(())
}

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

    // A time server is named at the console (here on the host, which a guest of QEMU sees as 10.0.2.2).
    let server = format!("10.0.2.2:{}", e2e::ntp::start()?);
    name_server(&node, &server)?;
    let (s3, _) = node.wait_for_s3("timed")?;
    s3.put("timed", "object", b"before")?.expect(200)?;
    wait_for_step(&node)?;
    node.has_no_panic()?;
    node.power_off()?;

    // In node.toml it is asked from the start.
    let toml = node_toml().replace("ntp = []", &format!("ntp = [\"{server}\"]"));
    let mut setup = Setup::new(&rack.stick("timed.img", &toml)?, &disks);
    setup.clock = FUTURE;
    let mut node = rack.boot(&setup)?;
    let (s3, after) = node.wait_for_s3("timed")?;
    println!("clock set and S3 served {after:.1?} after power-on");
    s3.put("timed", "object", b"now")?.expect(200)?;
    wait_for_step(&node)?;
    node.power_off()?;
    Ok(())
}
