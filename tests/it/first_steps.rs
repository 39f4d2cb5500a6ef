//! A technician with nothing but the machine: a fresh stick, no other machine on the network, one disk with
//! somebody's data, a static address on a VLAN. All over the serial line.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::disks::{Bus, Disk};
use e2e::lan::{Lan, Site};
use e2e::machine::{BOOT, Machine, Setup};
use e2e::rack::Rack;
use e2e::s3::S3;
use e2e::stick;

/// How long the console may lag behind the node, and a key behind the terminal's answer to how large it is.
const CONSOLE: Duration = Duration::from_secs(30);

/// How long settings that nobody confirms hold, in the node's documentation; and as much again for a busy machine.
const TRIAL: Duration = Duration::from_secs(240);

/// A minute in which a claim may be taken back, then erasing, a file system, and a first start of the pool.
const CLAIM: Duration = Duration::from_secs(240);

const ENTER: &str = "\r";
const NEXT_FIELD: &str = "\t";
const TO_THE_END: &str = "\x1b[6~";

/// The network that the node is to be reached on.
const SITE: Site = Site {
    vlan: Some(100),
    host: (Ipv4Addr::new(10, 9, 0, 1), 24),
    node: (Ipv4Addr::new(10, 9, 0, 2), 443),
};

const PIN: &str = "258025";

struct Bench {
    rack: Rack,
    lan: Lan,
    setup: Setup,
    disk: Disk,
}

/// A machine with a stick that nobody wrote a node.toml on, one port, and one disk with a file system.
fn bench(name: &str, serial: &str) -> Result<Bench> {
    let rack = Rack::new(name)?;
    let lan = Lan::new(SITE, 1)?;
    // 32 GB is the least that a node takes by itself; sparse.
    let disk = rack.blank(serial, Bus::Virtio, 40)?;
    disk.run("mkfs.ext4", &["-q", "-F", "-L", "backup"])?;
    let stick = stick::make(&rack.artefacts, &rack.path().join("stick.img"), &[])?;
    let setup = Setup {
        has_network: false,
        s3_port: Some(lan.port()),
        more: lan.arguments().to_vec(),
        ..Setup::new(&stick, std::slice::from_ref(&disk))
    };
    Ok(Bench { rack, lan, setup, disk })
}

/// Types one key after the other, as a person does, until the picture is the one wanted.
fn keys(
    node: &Machine,
    keys: &[&str],
    what: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<String> {
    for key in keys {
        node.screen.type_keys(key)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    node.screen.wait(what, CONSOLE, wanted)
}

/// Fills the form of the network's step in: `address` on `vlan`, and sends it.
fn try_address(node: &Machine, address: &str, vlan: &str) -> Result<()> {
    node.screen
        .wait_on("s", "the form of a port", CONSOLE, |text| text.contains("Set a port up"))?;
    let fields = [NEXT_FIELD, NEXT_FIELD, address, NEXT_FIELD, NEXT_FIELD, vlan];
    keys(node, &fields, "what was typed", |text| text.contains(address))?;
    let tried = |text: &str| text.contains("Network on trial");
    println!("{}", keys(node, &[TO_THE_END, ENTER], "the trial", tried)?);
    Ok(())
}

/// Whether the node answers over the VLAN.
fn answers(lan: &Lan) -> bool {
    let quick = S3::new(&format!("https://127.0.0.1:{}", lan.port()), Duration::from_secs(5));
    quick.get("none", "none").is_ok()
}

fn wait_until(what: &str, within: Duration, is_so: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + within;
    while !is_so() {
        ensure!(Instant::now() < until, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// The word behind these on the screen.
fn word_behind(text: &str, words: &str) -> Result<String> {
    let (_, rest) = text.split_once(words).with_context(|| format!("no {words:?} in\n{text}"))?;
    rest.split_whitespace().next().map(str::to_owned).context("nothing behind it")
}

#[test]
fn a_machine_with_a_foreign_disk_is_set_up_at_its_serial_line_and_serves_on_a_vlan() -> Result<()> {
    let Bench { rack, lan, setup, disk } = bench("steps-", "FOREIGN1")?;
    let before = disk.digest()?;
    let node = rack.boot(&setup)?;
    println!("{}", node.screen.wait("the first steps", BOOT, |text| text.contains("1 / 5"))?);

    try_address(&node, "10.9.0.2/24", "100")?;
    wait_until("an answer over the VLAN", CONSOLE, || answers(&lan))?;
    keys(&node, &["y"], "the trial's end", |text| !text.contains("Network on trial"))?;
    assert!(answers(&lan), "what was confirmed holds");

    // The clock: nobody sets it here, and the step goes on all the same.
    keys(&node, &[ENTER], "the clock", |text| text.contains("2 / 5"))?;
    // The stick, which is the other one, stands below it.
    let chosen = |text: &str| {
        let is_disk = |line: &str| line.starts_with("> ") && line.contains("FOREIGN1");
        text.contains("ext4") && text.lines().any(is_disk)
    };
    println!("{}", keys(&node, &[ENTER], "what is on the disk", chosen)?);
    let asked = |text: &str| text.contains("Type the last 6 characters");
    println!("{}", node.screen.wait_on("c", "the question", CONSOLE, asked)?);
    // Another disk's end first: nothing is done.
    keys(&node, &["OTHER1", ENTER], "the question again", asked)?;
    assert_eq!(disk.digest()?, before, "written to before it was claimed");
    keys(&node, &["\x1b"], "no question", |text| !asked(text))?;
    node.screen.wait_on("c", "the question", CONSOLE, asked)?;
    keys(&node, &["REIGN1", ENTER], "the minute", |text| !asked(text) && text.contains("60 s"))?;
    assert_eq!(disk.digest()?, before, "written to before the minute was over");
    let in_use = |text: &str| text.contains("FOREIGN1") && text.contains("in use");
    println!("{}", node.screen.wait("the disk in use", CLAIM, in_use)?);

    keys(&node, &[ENTER], "the PIN", |text| text.contains("4 / 5"))?;
    node.screen.wait_on("p", "the form of a PIN", CONSOLE, |text| text.contains("Once more"))?;
    let fields = [PIN, NEXT_FIELD, PIN, TO_THE_END, ENTER];
    keys(&node, &fields, "the PIN's end", |text| !text.contains("Once more"))?;
    let summary = |text: &str| text.contains("5 / 5") && text.contains("10.9.0.2");
    let text = node.screen.wait_on(ENTER, "the summary", CONSOLE, summary)?;
    println!("{text}");
    keys(&node, &[ENTER], "the node's state", |text| text.contains("[1 Status]"))?;

    // The secret is behind the PIN by now.
    node.screen.wait_on("s", "the question for the PIN", CONSOLE, |text| text.contains("PIN"))?;
    let shown = |text: &str| text.contains("hidden again in");
    let text = keys(&node, &[PIN, ENTER], "the secret key", shown)?;
    // It stands on a line of its own.
    let secret = word_behind(&text, "\n         secret key ")?;
    let access = word_behind(&text, "access key ")?;
    let s3 = |node: &Machine| {
        S3::with_credentials(&node.endpoint(), Duration::from_secs(60), &access, &secret)
    };
    s3(&node).create_bucket("first")?.expect(200)?;
    s3(&node).put("first", "object", b"without any other machine")?.expect(200)?;
    node.has_no_panic()?;
    node.power_off()?;

    // All of it is kept on the disk, as the stick is never written.
    let node = rack.boot(&setup)?;
    let shown = |text: &str| text.contains("READY") || text.contains("ready:");
    println!("{}", node.screen.wait("a node that is set up", BOOT, shown)?);
    assert!(!node.screen.text().contains("First steps"), "{}", node.screen.text());
    wait_until("an answer over the VLAN", CONSOLE, || answers(&lan))?;
    let again = s3(&node).get("first", "object")?.expect(200)?;
    assert_eq!(again.body, b"without any other machine");
    node.power_off()?;
    Ok(())
}

#[test]
fn a_wrong_address_reverts_by_itself_and_the_console_says_so() -> Result<()> {
    let Bench { rack, lan, setup, disk } = bench("wrong-", "FOREIGN2")?;
    let before = disk.digest()?;
    let node = rack.boot(&setup)?;
    node.screen.wait("the first steps", BOOT, |text| text.contains("1 / 5"))?;
    let began = Instant::now();
    try_address(&node, "10.77.0.2/24", "100")?;
    assert!(!answers(&lan), "another network");
    let reverted = |text: &str| !text.contains("Network on trial") && !text.contains("10.77.0.2");
    println!("{}", node.screen.wait("the settings of before", TRIAL, reverted)?);
    println!("taken back after {:.0?}", began.elapsed());
    assert!(began.elapsed() > Duration::from_secs(100), "nobody was given time");
    node.has_no_panic()?;
    node.power_off()?;
    assert_eq!(disk.digest()?, before, "the disk was written to");
    Ok(())
}
