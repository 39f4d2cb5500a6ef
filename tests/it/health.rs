//! The health of the hardware, as whoever watches a node sees it: on the console, at `/metrics`, in reports.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::disks::Bus;
use e2e::machine::{Machine, Setup};
use e2e::oracles;
use e2e::rack::Rack;
use e2e::stick::node_toml_with;
use serde_json::json;
use ureq::Agent;

/// Where the node tells its readings.
const METRICS: u16 = 9100;

/// How soon a failing disk must be known everywhere.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);

/// How long the first readings of everything may take: the machine is emulated, and probes do not all begin
/// at once.
const FIRST: Duration = Duration::from_secs(400);

/// The node's readings; none while it does not answer.
fn readings(node: &Machine) -> Result<Option<String>> {
    let agent: Agent =
        Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).build().into();
    let url = format!("http://127.0.0.1:{}/metrics", node.forwarded(METRICS)?);
    let answer = agent.get(url).call().ok();
    Ok(answer.and_then(|mut answer| answer.body_mut().read_to_string().ok()))
}

/// Waits for readings that satisfy `wanted`.
fn wait(
    node: &Machine,
    what: &str,
    within: Duration,
    wanted: impl Fn(&str) -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let text = readings(node)?.unwrap_or_default();
        if wanted(&text) {
            return Ok(began.elapsed());
        }
        if began.elapsed() > within {
            let health: Vec<_> =
                text.lines().filter(|line| line.starts_with("icn_component_health{")).collect();
            let health = health.join("\n");
            anyhow::bail!("no {what} within {within:?}\n{health}\n{}", node.diagnosis());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Whether a component, by a part of its name, is said to be so.
fn is(text: &str, name: &str, health: &str) -> bool {
    let health = format!("health=\"{health}\"");
    let mut lines = text.lines().filter(|line| line.starts_with("icn_component_health{"));
    lines.any(|line| line.contains(name) && line.contains(&health) && line.ends_with(" 1"))
}

/// The number of the first reading whose line begins so and has these parts.
fn number(text: &str, name: &str, parts: &[&str]) -> Option<f64> {
    let mut lines = text.lines().filter(|line| line.starts_with(name));
    let line = lines.find(|line| parts.iter().all(|part| line.contains(part)))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A link error on a port, as the kernel counts it. Not a corrected one: QEMU 7.2 tells a port of errors only
/// that are uncorrected.
fn a_link_error_is_counted_and_warned_of(node: &mut Machine) -> Result<()> {
    let counted = |text: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("icn_pcie_errors_total{"));
        let line =
            lines.find(|line| line.contains("kind=\"nonfatal\"") && !line.ends_with(" 0"))?;
        Some(line.split_once("device=\"")?.1.split_once('"')?.0.to_owned())
    };
    wait(node, "counters of PCI Express", FIRST, |text| text.contains("icn_pcie_errors_total"))?;
    let command = "pcie_aer_inject_error rp0 POISON_TLP";
    node.qmp.execute("human-monitor-command", &json!({ "command-line": command }))?;
    let warned = |text: &str| counted(text).is_some_and(|port| is(text, &port, "warning"));
    let took = wait(node, "warning of a link error", FIRST, warned)?;
    println!("a link error is counted and warned of after {took:.0?}");
    Ok(())
}

#[test]
fn a_failing_disk_is_known_everywhere_within_a_minute_and_emptied() -> Result<()> {
    let rack = Rack::new("health-")?;
    let mut network = oracles::start(rack.path(), 1, 3600)?;
    let more = format!("[metrics]\nlisten = \":{METRICS}\"\n{}", network.node_toml(1));
    let disks = [1, 2, 3].map(|number| rack.blank(&format!("NVMEHEALTH{number}"), Bus::Nvme, 2));
    let disks = disks.into_iter().collect::<Result<Vec<_>>>()?;
    let mut setup = Setup::new(&rack.stick("stick.img", &node_toml_with(&more))?, &disks);
    setup.forwards = vec![METRICS];
    setup.more = [
        "-device",
        "pcie-root-port,id=rp0,chassis=1,slot=1,hotplug=off",
        "-device",
        "ipmi-bmc-sim,id=bmc0",
        "-device",
        "isa-ipmi-kcs,bmc=bmc0,ioport=0xca2",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("health")?;
    s3.put("health", "object", &[7; 4096])?.expect(200)?;
    let log = node.wait_for_log("its daemon address", FIRST, |log| log.contains("daemon=0x"))?;
    let (_, daemon) = log.split_once("daemon=").context("no daemon address")?;
    let daemon = daemon.get(..42).context("the daemon address is short")?.to_owned();
    network.admit(&daemon)?;

    let took = wait(&node, "healthy disk", FIRST, |text| {
        is(text, "NVMEHEALTH1", "healthy") && is(text, "NVMEHEALTH2", "healthy")
    })?;
    println!("first verdicts on disks {took:.0?} after S3");
    let took = wait(&node, "management controller", FIRST, |text| {
        number(text, "icn_management_events", &[]).is_some()
    })?;
    println!("the management controller's log after {took:.0?} more");

    a_link_error_is_counted_and_warned_of(&mut node)?;

    // A refused node asks again every few minutes.
    let asked = Instant::now();
    while network.oracles[0].page(&format!("/node/{daemon}")).is_err() {
        ensure!(asked.elapsed() < FIRST, "no session\n{}", node.diagnosis());
        std::thread::sleep(Duration::from_millis(500));
    }

    let failed = Instant::now();
    node.qmp.execute(
        "qom-set",
        // Reliability is degraded (NVMe Base 2.0, SMART log, critical warning, bit 2).
        &json!({
            "path": "/machine/peripheral/NVMEHEALTH1", "property": "smart_critical_warning",
            "value": 4,
        }),
    )?;
    wait(&node, "failing disk", KNOWN_WITHIN, |text| is(text, "NVMEHEALTH1", "failing"))?;
    println!("at /metrics after {:.0?}", failed.elapsed());
    node.screen.wait("the failing disk", KNOWN_WITHIN, |screen| {
        screen.contains("NVMEHEALTH1") && screen.contains("failing")
    })?;
    println!("on the console after {:.0?}", failed.elapsed());
    let reported = loop {
        let page = network.oracles[0].page(&format!("/node/{daemon}"))?;
        if page.contains("NVMEHEALTH1") && page.contains("Failing") {
            break failed.elapsed();
        }
        ensure!(failed.elapsed() < 2 * KNOWN_WITHIN, "no report\n{page}\n{}", node.diagnosis());
        std::thread::sleep(Duration::from_millis(500));
    };
    println!("in a report after {reported:.0?}");
    assert!(reported <= KNOWN_WITHIN, "reported only after {reported:?}");

    // Its content goes to the others, and it leaves the pool.
    node.wait_for_log("the emptying", FIRST, |log| log.contains("it is emptied"))?;
    wait(&node, "emptied disk", FIRST, |text| {
        number(text, "icn_volume_state{", &["state=\"retired\"} 1"]).is_some()
    })?;
    println!("emptied after {:.0?}", failed.elapsed());
    assert_eq!(s3.get("health", "object")?.expect(200)?.body, [7; 4096]);
    node.has_no_panic()?;
    node.power_off()?;
    Ok(())
}

#[test]
fn a_disk_that_hangs_delays_no_other_and_one_that_is_pulled_is_told_no_more() -> Result<()> {
    let rack = Rack::new("health-hang-")?;
    let more = format!("[metrics]\nlisten = \":{METRICS}\"\n");
    let disks = [1, 2, 3, 4].map(|number| rack.blank(&format!("SCSIHEALTH{number}"), Bus::Scsi, 2));
    let disks = disks.into_iter().collect::<Result<Vec<_>>>()?;
    let mut setup = Setup::new(&rack.stick("stick.img", &node_toml_with(&more))?, &disks);
    setup.forwards = vec![METRICS];
    let mut node = rack.boot(&setup)?;
    node.wait_for_s3("health")?;
    let told = |text: &str, serial: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("icn_component_health{"));
        lines.any(|line| line.contains("kind=\"disk\"") && line.contains(serial))
    };
    // A SCSI disk is named by its WWN; the console has both names.
    let names: Vec<String> =
        disks.iter().map(|disk| format!("{:x}", e2e::machine::wwn(&disk.serial))).collect();
    wait(&node, "verdicts on all disks", FIRST, |text| names.iter().all(|name| told(text, name)))?;
    node.hang_disk(&disks[0])?;
    node.pull(&disks[1])?;
    let took = wait(&node, "end of the pulled disk", FIRST, |text| {
        !told(text, &names[1]) && told(text, &names[2]) && told(text, &names[3])
    })?;
    println!("a pulled disk is told no more after {took:.0?}");
    node.has_no_panic()?;
    node.cut_power();
    Ok(())
}
