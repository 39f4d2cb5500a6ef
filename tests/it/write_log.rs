//! The power goes, and what a disk had in its cache is gone: every disk's writes are logged, and the
//! disks are made again as a cut at some instant could have left them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::dice::Dice;
use e2e::disks::{Bus, Disk};
use e2e::machine::Setup;
use e2e::rack::Rack;
use e2e::s3::S3;
use e2e::stick::node_toml;
use e2e::write_log;

/// Disks of the node.
const DISKS: u64 = 5;

/// Clients at once; each has keys of its own, so that it knows what they are.
const CLIENTS: u64 = 3;

/// Keys of a client: few, so that they are written over and deleted.
const KEYS: u64 = 12;

/// The instants are so far apart, in milliseconds, at least and at most.
const APART: (u64, u64) = (1_500, 4_000);

/// How many instants; `ICN_CUTS` is another number.
const CUTS: u64 = 1;

/// The seed of what is written, when the power goes and what is lost; `ICN_SEED` is another.
const SEED: u64 = 1;

/// What is known of a key.
#[derive(Debug, Clone, Default)]
struct Known {
    /// What was acknowledged last: the version written, none for deleted or never there.
    version: Option<u64>,
    /// What was asked and not answered; more than one where answers were errors.
    open: Vec<Option<u64>>,
}

type Keys = Arc<Mutex<BTreeMap<String, Known>>>;

/// The disks' logs at an instant, and what the clients knew right before it.
struct Cut {
    lengths: Vec<u64>,
    keys: BTreeMap<String, Known>,
}

fn number(name: &str, otherwise: u64) -> Result<u64> {
    let text = std::env::var(name).ok();
    text.map_or(Ok(otherwise), |text| text.parse().with_context(|| format!("{name} is no number")))
}

#[test]
fn what_was_acknowledged_outlives_a_cut_that_takes_the_disks_caches() -> Result<()> {
    let (cuts, seed) = (number("ICN_CUTS", CUTS)?, number("ICN_SEED", SEED)?);
    println!("seed {seed}, {cuts} cuts");
    let mut dice = Dice(seed);
    let rack = Rack::new("write-log-")?;
    // Not SCSI or NVMe: the log does not know which of their writes are durable by themselves.
    let disks: Vec<Disk> = (0..DISKS)
        .map(|disk| rack.blank(&format!("LOG{disk:05}"), Bus::Virtio, 1))
        .collect::<Result<_>>()?;
    let stick = rack.stick("stick.img", &node_toml())?;
    let mut node = rack.boot(&Setup { logs_writes: true, ..Setup::new(&stick, &disks) })?;
    let (s3, _) = node.wait_for_s3("cut")?;
    let in_use = |log: &str| log.matches("volume in use").count() == disks.len();
    node.wait_for_log("all volumes", Duration::from_secs(60), in_use)?;
    let load = Load::start(&s3, dice.roll(u64::MAX));
    let mut taken = Vec::new();
    for _ in 0..cuts {
        let pause = APART.0 + dice.roll(APART.1 - APART.0);
        std::thread::sleep(Duration::from_millis(pause));
        load.wait_for_more()?;
        // What is acknowledged after this is not asked for; what is asked after it may be there.
        let keys = load.known();
        node.hold(true)?;
        let lengths = disks.iter().map(write_log::length).collect::<Result<_>>()?;
        let later = load.known();
        node.hold(false)?;
        taken.push(Cut { lengths, keys: with_open(keys, &later) });
    }
    // Writes that were under way at the last instant are in the log a moment later.
    std::thread::sleep(Duration::from_secs(1));
    load.end(|| node.cut_power())?;
    for (number, cut) in taken.iter().enumerate() {
        check(&rack, &stick, &disks, cut, number, &mut dice)
            .with_context(|| format!("cut {number} of seed {seed}"))?;
    }
    Ok(())
}

/// What was asked while the machine was being held counts as open.
fn with_open(
    mut keys: BTreeMap<String, Known>,
    later: &BTreeMap<String, Known>,
) -> BTreeMap<String, Known> {
    for (key, now) in later {
        let known = keys.entry(key.clone()).or_default();
        known.open.extend(now.open.iter().copied());
        known.open.push(now.version);
    }
    keys
}

fn check(
    rack: &Rack,
    stick: &std::path::Path,
    disks: &[Disk],
    cut: &Cut,
    number: usize,
    dice: &mut Dice,
) -> Result<()> {
    let dir = rack.path().join(format!("cut-{number}"));
    std::fs::create_dir(&dir)?;
    // Everything behind the last flush is lost, most of it, half of it, or none.
    let lost_in_eight = [8, 7, 4, 0].get(usize::try_from(dice.roll(4))?).copied().unwrap_or(4);
    let mut left = Vec::new();
    for (disk, until) in disks.iter().zip(&cut.lengths) {
        let (made, done) = write_log::replay(disk, &dir, *until, lost_in_eight, dice)?;
        println!("cut {number}, {}: {done:?}", disk.serial);
        left.push(made);
    }
    let started = Instant::now();
    let mut node = rack.boot(&Setup::new(stick, &left))?;
    let (s3, served) = node.wait_for_s3("cut")?;
    let (mut there, mut gone) = (0, 0);
    for (key, known) in &cut.keys {
        let answer = s3.get("cut", key)?;
        let found = match answer.status {
            200 => Some(answer.body),
            404 => None,
            other => anyhow::bail!("{key}: status {other}\n{}", node.diagnosis()),
        };
        let could_be = |version: &Option<u64>| match (version, &found) {
            (None, None) => true,
            (Some(version), Some(found)) => body(key, *version).concat() == *found,
            _ => false,
        };
        ensure!(
            could_be(&known.version) || known.open.iter().any(could_be),
            "{key} should be {known:?} and is {:?} bytes\n{}",
            found.as_ref().map(Vec::len),
            node.diagnosis()
        );
        there += u64::from(found.is_some());
        gone += u64::from(found.is_none());
    }
    let listed = s3.keys("cut")?;
    ensure!(listed.len() as u64 == there, "{} keys are listed, {there} are there", listed.len());
    // And it goes on.
    s3.put("cut", "afterwards", b"still here")?.expect(200)?;
    ensure!(s3.get("cut", "afterwards")?.expect(200)?.body == b"still here", "it reads otherwise");
    node.has_no_panic()?;
    println!(
        "cut {number}: {there} objects there, {gone} not, served after {served:.1?}, all after {:.1?}",
        started.elapsed()
    );
    node.cut_power();
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// The parts of a version of a key; an object that is not written in parts has one.
fn body(key: &str, version: u64) -> Vec<Vec<u8>> {
    let mut dice =
        Dice(key.bytes().fold(version, |sum, byte| sum.rotate_left(7) ^ u64::from(byte)));
    let bytes = |dice: &mut Dice, length: u64| -> Vec<u8> {
        if dice.roll(2) == 0 {
            return dice.noise(usize::try_from(length).unwrap_or_default());
        }
        let text = format!("{key} {version} {} ", dice.roll(1 << 20));
        text.bytes().cycle().take(usize::try_from(length).unwrap_or_default()).collect()
    };
    let length = match dice.roll(10) {
        0 => 0,
        1..=6 => dice.roll(60_000),
        7 | 8 => 300_000 + dice.roll(700_000),
        // The smallest part that is not the last.
        _ => return vec![bytes(&mut dice, 5 << 20), bytes(&mut dice, 100_000)],
    };
    vec![bytes(&mut dice, length)]
}

/// Clients that write, write over, delete and read.
struct Load {
    stop: Arc<AtomicBool>,
    keys: Keys,
    clients: Vec<std::thread::JoinHandle<Result<()>>>,
}

impl Load {
    fn start(s3: &S3, seed: u64) -> Self {
        let (stop, keys) = (Arc::new(AtomicBool::new(false)), Keys::default());
        let clients = (0..CLIENTS).map(|client| {
            let (s3, stop, keys) = (s3.clone(), stop.clone(), keys.clone());
            let mut dice = Dice(seed.wrapping_add(client));
            std::thread::spawn(move || {
                let mut version = 0;
                while !stop.load(Ordering::Relaxed) {
                    version += 1;
                    let key = format!("client-{client}/key-{}", dice.roll(KEYS));
                    if let Err(error) = step(&s3, &keys, &key, version, &mut dice) {
                        // The power is gone, or something is wrong.
                        return if stop.load(Ordering::Relaxed) { Ok(()) } else { Err(error) };
                    }
                }
                Ok(())
            })
        });
        let clients = clients.collect();
        Self { stop, keys, clients }
    }

    fn known(&self) -> BTreeMap<String, Known> {
        self.keys.lock().expect("no client panics").clone()
    }

    /// Waits until each client has something, however slow the machine is.
    fn wait_for_more(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        let acknowledged = || self.known().values().filter(|known| known.version.is_some()).count();
        while acknowledged() < 6 {
            ensure!(Instant::now() < until, "nothing is acknowledged");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Cuts the power; what a client met before is told, and that its last request failed is not.
    fn end(self, cut_power: impl FnOnce()) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        cut_power();
        self.clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    }
}

fn step(s3: &S3, keys: &Keys, key: &str, version: u64, dice: &mut Dice) -> Result<()> {
    let known = |change: &dyn Fn(&mut Known)| {
        change(keys.lock().expect("no client panics").entry(key.to_owned()).or_default());
    };
    let kind = dice.roll(10);
    if kind < 2 {
        known(&|known| known.open.push(None));
        s3.delete("cut", key)?.expect(204)?;
        known(&|known| *known = Known::default());
    } else if kind < 4 {
        let now = keys.lock().expect("no client panics").get(key).cloned().unwrap_or_default();
        let answer = s3.get("cut", key)?;
        let wanted = now.version.map(|version| body(key, version).concat());
        ensure!((answer.status == 200).then_some(answer.body) == wanted, "{key} reads otherwise");
    } else {
        let parts = body(key, version);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        known(&|known| known.open.push(Some(version)));
        match parts.as_slice() {
            [one] => s3.put("cut", key, one)?.expect(200)?,
            several => s3.put_parts("cut", key, several)?.expect(200)?,
        };
        known(&|known| *known = Known { version: Some(version), open: Vec::new() });
    }
    Ok(())
}
