//! What init does when something dies: a service, everything, the kernel.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::disks::Bus;
use e2e::machine::{BOOT, Machine, Setup};
use e2e::rack::Rack;
use e2e::s3::S3;
use e2e::screen::DISKS;
use e2e::stick::node_toml;

/// Lets the keyboard reach into the kernel, as a node itself does not.
const SYSRQ: &str = "sysrq_always_enabled";

/// Everything that init keeps running.
const SERVICES: [&str; 7] = [
    "udevd",
    "dhcpcd",
    "chronyd",
    "icn-disks",
    "icn-agent",
    "icn-console@tty1",
    "icn-console@ttyS0",
];

/// How long everything may take to run again: 8 s where nothing else runs.
const BACK: Duration = Duration::from_secs(60);

/// How long a restart in good order may take: as long as a power-off.
const RESTART: Duration = Duration::from_secs(90);

/// Time-out of a watchdog, and how often init feeds it.
const WATCHDOG: Duration = Duration::from_secs(60);
const FED_EVERY: Duration = Duration::from_secs(10);

/// After this long a kernel that panicked restarts, as far as its processor is not shared: it counts
/// turns of a loop.
const PANIC: Duration = Duration::from_secs(30);

/// What a busy test machine adds to a time.
const SLACK: Duration = Duration::from_secs(15);

#[test]
fn killed_services_come_back_and_the_node_stops_in_good_order() -> Result<()> {
    let rack = Rack::new("killed-")?;
    let disks = [rack.blank("KILL0001", Bus::Virtio, 2)?, rack.blank("KILL0002", Bus::Scsi, 2)?];
    let setup = Setup::new(&rack.stick("stick.img", &node_toml())?, &disks);
    let with_sysrq = Setup { kernel_more: SYSRQ, ..setup.clone() };

    let mut node = rack.boot(&with_sysrq)?;
    let (s3, ready_after) = node.wait_for_s3("kept")?;
    println!("first 200 from S3 after {ready_after:.1?}");
    node.wait_for_log("both volumes", BOOT, |log| attached(log) == disks.len())?;
    let body = |number: u8| vec![number; 300_000];
    for number in 0..20 {
        s3.put("kept", &format!("object-{number}"), &body(number))?.expect(200)?;
    }

    let before = node.log().len();
    let killed = Instant::now();
    // SIGKILL for every process but init.
    node.press(&["alt", "sysrq", "i"])?;
    let since = move |log: &str| log.get(before..).unwrap_or_default().to_owned();
    node.wait_for_log("the end of every service", BACK, |log| {
        let log = since(log);
        SERVICES
            .iter()
            .all(|name| log.contains(&format!("init {name} has ended: killed by signal 9")))
    })?;
    node.screen.wipe();
    node.wait_for_log("every service's start", BACK, |log| {
        let log = since(log);
        SERVICES.iter().all(|name| log.contains(&format!("init {name} starts")))
    })?;
    node.wait_for_log("both volumes again", BACK, |log| attached(&since(log)) == disks.len())?;
    for number in 0..20 {
        let read = s3.get("kept", &format!("object-{number}"))?.expect(200)?;
        assert!(read.body == body(number), "object-{number} reads otherwise");
    }
    println!("objects were read again {:.1?} after every process was killed", killed.elapsed());
    s3.put("kept", "after", b"after the kill")?.expect(200)?;
    let screen = node
        .screen
        .wait("the endpoint, drawn by a new console", BACK, |text| text.contains("https://"))?;
    println!("{screen}");
    node.screen.wait_on(DISKS, "every disk", BACK, |text| {
        disks.iter().all(|disk| text.contains(&disk.serial))
    })?;
    let log = node.power_off()?;
    assert!(log.contains("stopping: PowerOff"), "it went off without a word");
    assert!(!since(&log).contains("panicked"), "{log}");
    for disk in &disks {
        assert!(disk.is_unmounted()?, "{} was not unmounted at power-off", disk.serial);
    }

    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("kept")?;
    node.wait_for_log("both volumes", BOOT, |log| attached(log) == disks.len())?;
    assert_eq!(s3.get("kept", "after")?.expect(200)?.body, b"after the kill");
    // Without the word on the command line the same keys do nothing.
    node.press(&["alt", "sysrq", "i"])?;
    s3.put("kept", "last", b"before the restart")?.expect(200)?;
    node.press(&["ctrl", "alt", "delete"])?;
    let reset = node.qmp.wait_for_event("SHUTDOWN", RESTART)?;
    assert_eq!(reset.get("reason").and_then(|reason| reason.as_str()), Some("guest-reset"));
    let log = node.wait_for_end(SLACK)?;
    assert!(log.contains("stopping: Reboot"), "it restarted without a word");
    assert!(!log.contains("SIGKILL"), "{log}");
    for disk in &disks {
        assert!(disk.is_unmounted()?, "{} was not unmounted at the restart", disk.serial);
    }
    Ok(())
}

#[test]
fn a_watchdog_is_fed_and_resets_a_node_that_hangs() -> Result<()> {
    let rack = Rack::new("watchdog-")?;
    let memory = rack.path().join("memory");
    let setup = Setup {
        // The kernel's code lies where it was linked to.
        kernel_more: "nokaslr",
        more: vec!["-qtest".to_owned(), format!("unix:{},server=on,wait=off", memory.display())],
        ..Setup::new(&rack.stick("stick.img", &node_toml())?, &[])
    };
    let mut node = rack.boot(&setup)?;
    running(&node)?;
    // One that was opened and not fed since would go off in the first part of what is waited now.
    let fed_for = FED_EVERY * 2;
    std::thread::sleep(fed_for);
    let hung = Instant::now();
    hang(&memory)?;
    let event = node.qmp.wait_for_event("WATCHDOG", WATCHDOG + SLACK)?;
    let after = hung.elapsed();
    println!("reset {after:.1?} after the node hung");
    assert_eq!(event.get("action").and_then(|action| action.as_str()), Some("reset"));
    assert!(after > WATCHDOG - FED_EVERY * 3 / 2, "it was not fed: reset after {after:?}");
    node.wait_for_end(SLACK)?;
    Ok(())
}

#[test]
fn a_kernel_that_panics_restarts_the_node() -> Result<()> {
    let rack = Rack::new("panic-")?;
    let stick = rack.stick("stick.img", &node_toml())?;
    // Without the watchdog, which would reset the machine as well, if later.
    let kernel_more = "sysrq_always_enabled module_blacklist=i6300esb";
    let mut node = rack.boot(&Setup { kernel_more, ..Setup::new(&stick, &[]) })?;
    running(&node)?;
    let panicked = Instant::now();
    node.press(&["alt", "sysrq", "c"])?;
    // A person at the serial line has time to read it.
    let screen = node.screen.wait("the panic", SLACK, |text| text.contains("Rebooting in 30"))?;
    println!("{screen}");
    let reset = node.qmp.wait_for_event("SHUTDOWN", PANIC * 6)?;
    let after = panicked.elapsed();
    println!("reset {after:.1?} after the panic");
    assert_eq!(reset.get("reason").and_then(|reason| reason.as_str()), Some("guest-reset"));
    assert!(after > PANIC / 2, "nobody can read the screen in {after:?}");
    node.wait_for_end(SLACK)?;
    Ok(())
}

#[test]
fn a_disk_that_hangs_does_not_keep_the_node_on() -> Result<()> {
    let rack = Rack::new("hung-disk-")?;
    let disks = [rack.blank("HANG0001", Bus::Virtio, 2)?, rack.blank("HANG0002", Bus::Virtio, 2)?];
    let mut node = rack.boot(&Setup::new(&rack.stick("stick.img", &node_toml())?, &disks))?;
    let (s3, _) = node.wait_for_s3("hung")?;
    node.wait_for_log("both volumes", BOOT, |log| attached(log) == disks.len())?;
    s3.put("hung", "before", b"before the disk hung")?.expect(200)?;

    node.hang_disk(&disks[1])?;
    // Something is written to it; whether and what is answered is of no matter here.
    let impatient = S3::new(&node.endpoint(), Duration::from_secs(2));
    for number in 0..8 {
        let _ = impatient.put("hung", &format!("object-{number}"), &[number; 4096]);
    }
    let log = node.power_off()?;
    assert!(log.contains("stopping: PowerOff"), "it went off without a word");

    // The disk answers again: what was acknowledged is there.
    let mut node = rack.boot(&Setup::new(&rack.stick("again.img", &node_toml())?, &disks))?;
    let (s3, _) = node.wait_for_s3("hung")?;
    node.wait_for_log("both volumes", BOOT, |log| attached(log) == disks.len())?;
    assert_eq!(s3.get("hung", "before")?.expect(200)?.body, b"before the disk hung");
    node.power_off()?;
    Ok(())
}

/// How many volumes the agent has told that it uses.
fn attached(log: &str) -> usize {
    log.matches("volume in use").count()
}

/// Waits until init has started everything; its watchdogs are open by then.
fn running(node: &Machine) -> Result<()> {
    node.wait_for_log("the services", BOOT, |log| log.contains("init starting services took"))?;
    Ok(())
}

/// Makes the processor hang: the kernel's code is overwritten with `hlt`, and there is no way out
/// of one that is executed by an interrupt's handler.
fn hang(memory: &Path) -> Result<()> {
    // 12 MiB from CONFIG_PHYSICAL_START on: less than the code, so that nothing but code is lost.
    const OVERWRITE: &str = "memset 0x1000000 0xc00000 0xf4";
    let mut line = UnixStream::connect(memory)?;
    writeln!(line, "{OVERWRITE}")?;
    let mut answer = String::new();
    BufReader::new(line).read_line(&mut answer)?;
    ensure!(answer.starts_with("OK"), "QEMU says of {OVERWRITE}: {answer}");
    Ok(())
}
