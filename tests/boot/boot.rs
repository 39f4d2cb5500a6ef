//! Seconds from power-on to the first object, and the memory of an idle node.

use anyhow::{Context, Result};
use e2e::disks::{Bus, Disk};
use e2e::machine::{BOOT, Boot, Setup};
use e2e::rack::Rack;
use e2e::stick::node_toml;
use serde_json::{Value, json};

/// Boots of a fresh node, and of the same node again.
const ROUNDS: usize = 3;

/// What init writes on the log's serial line when services are started, behind the milliseconds
/// since the kernel started.
const SERVICES_STARTED: &str = "ms since the kernel started";

/// The same, behind the milliseconds that the kernel and stage 1 took.
const BEFORE_INIT: &str = "of them before init";

/// What stands before the memory of all processes.
const RESIDENT: &str = "resident memory in KiB: ";

/// One boot.
struct Measured {
    total: f64,
    kernel_started: f64,
    init_started: f64,
}

/// Measures through UEFI firmware, boot loader and UKI from a USB stick.
pub(crate) fn measure() -> Result<Value> {
    let rack = Rack::new("bench-boot-")?;
    let stick = rack.stick("stick.img", &node_toml())?;
    let (mut fresh, mut again, mut memory) = (Vec::new(), Vec::new(), Value::Null);
    for round in 0..ROUNDS {
        let disks: Vec<Disk> = (0..4)
            .map(|disk| rack.blank(&format!("BENCH{round}{disk}"), Bus::Virtio, 40))
            .collect::<Result<_>>()?;
        let setup = Setup { boot: Boot::Firmware, ..Setup::new(&stick, &disks) };
        fresh.push(boot(&rack, &setup, false)?.0);
        let (measured, idle) = boot(&rack, &setup, round == 0)?;
        again.push(measured);
        if let Some(idle) = idle {
            memory = idle;
        }
    }
    Ok(json!({ "fresh": summary(&fresh)?, "again": summary(&again)?, "memory": memory }))
}

fn boot(rack: &Rack, setup: &Setup, idle: bool) -> Result<(Measured, Option<Value>)> {
    let mut node = rack.boot(setup)?;
    // One line says how long the kernel had been running when it was written.
    let log = node.wait_for_log("the services' start", BOOT, |log| log.contains(BEFORE_INIT))?;
    let seen = node.started.elapsed().as_secs_f64();
    let kernel_started = seen - seconds(&log, SERVICES_STARTED)?;
    let init_started = seconds(&log, BEFORE_INIT)?;
    let (_, total) = node.wait_for_s3("bench")?;
    let measured = Measured { total: total.as_secs_f64(), kernel_started, init_started };
    eprintln!("boot: {:.1} s, kernel after {kernel_started:.1} s", measured.total);
    let memory = match idle {
        false => None,
        true => {
            let log =
                node.wait_for_log("the memory of services", BOOT, |log| log.contains(RESIDENT))?;
            Some(memory(&log)?)
        }
    };
    node.power_off()?;
    Ok((measured, memory))
}

/// The milliseconds before some words of the log, in seconds.
fn seconds(log: &str, words: &str) -> Result<f64> {
    let (before, _) = log.split_once(words).with_context(|| format!("no `{words}` in the log"))?;
    let milliseconds: f64 = before
        .split_whitespace()
        .next_back()
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("no number before `{words}`"))?;
    Ok(milliseconds / 1e3)
}

/// MiB by process.
fn memory(log: &str) -> Result<Value> {
    let line = log
        .lines()
        .find_map(|line| line.split_once(RESIDENT))
        .map(|(_, rest)| rest)
        .context("no memory in the log")?;
    line.split(", ")
        .map(|entry| {
            let (name, kib) = entry.rsplit_once(' ').context("no figure")?;
            Ok((name.to_owned(), json!(kib.trim().parse::<f64>()? / 1024.0)))
        })
        .collect::<Result<serde_json::Map<_, _>>>()
        .map(Value::Object)
}

fn summary(boots: &[Measured]) -> Result<Value> {
    let median = |part: fn(&Measured) -> f64| -> Result<f64> {
        let mut values: Vec<f64> = boots.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().context("no boot")
    };
    Ok(json!({
        "total_s": median(|boot| boot.total)?,
        "firmware_s": median(|boot| boot.kernel_started)?,
        "kernel_s": median(|boot| boot.init_started)?,
        "ours_s": median(|boot| boot.total - boot.kernel_started - boot.init_started)?,
    }))
}
