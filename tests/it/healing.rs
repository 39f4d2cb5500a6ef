//! Disks are pulled at every stage of healing, and blank ones take their place.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::dice::noise;
use e2e::disks::{Bus, Disk};
use e2e::machine::{Machine, Setup};
use e2e::rack::Rack;
use e2e::s3::{Answer, S3};
use e2e::stick::node_toml;

/// Disks of the node: groups of three with data and two with parity.
const DISKS: usize = 5;

/// How long a missing disk is waited for here.
const REPLACE_AFTER: &str = "10s";

/// How long any step may take: ten times that of an idle machine.
const STEP: Duration = Duration::from_secs(120);

/// Objects: small ones, which are packed, and large ones, which are written to groups.
const SMALL: u64 = 60;
const LARGE: u64 = 6;

/// A line of the log for each shard that was made.
const MADE: &str = "a shard was made anew";

/// A line of the log when no group lacks a shard any more, and when one begins to.
const WHOLE: &str = "all groups are whole again";
const LACKING: &str = "groups lack shards";

/// A line of the log for each missing disk that nobody waits for any more.
const REPLACED: &str = "nothing of a missing volume is needed any more";

/// Lines of the log when the index has a standby, when that is over, and when it is made anew as there was none.
const STANDBY: &str = "the index has a standby";
const NO_STANDBY: [&str; 2] = ["the index has no standby any more", "the index is closed"];
const INDEX_ANEW: &str = "the index is made anew";

/// How often two disks are pulled at once, which may be those of the index and its standby.
const PAIRS: usize = 2;

#[test]
fn disks_pulled_at_every_stage_of_healing_cost_nothing_and_blank_ones_fill_up() -> Result<()> {
    let rack = Rack::new("healing-")?;
    let name = |number: usize| format!("HEAL{number:04}");
    let disks: Vec<Disk> =
        (0..10).map(|disk| rack.blank(&name(disk), Bus::Scsi, 2)).collect::<Result<_>>()?;
    let toml = node_toml()
        .replace("\"1GiB\"\n", &format!("\"1GiB\"\nreplace_after = \"{REPLACE_AFTER}\"\n"));
    let setup = Setup::new(&rack.stick("stick.img", &toml)?, &disks[..DISKS]);
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("kept")?;
    wait_for(&node, "all volumes", |log| log.matches("volume in use").count() == DISKS)?;
    let mut stored = Stored { s3, count: 0 };
    stored.add(SMALL, LARGE)?;

    // Two at once, before anything was made anew.
    node.pull(&disks[0])?;
    node.pull(&disks[1])?;
    wait_for(&node, "two missing", |log| log.matches("INFO disk is gone").count() == 2)?;
    stored.add(5, 1)?;
    ensure!(!node.log().contains(MADE), "healing began before the disks were missing for long");
    node.plug(&disks[5])?;

    // In the middle: the one that the first shards were made on.
    wait_for(&node, "a first shard", |log| log.contains(MADE))?;
    let before = node.log().matches(MADE).count();
    has_standby(&node)?;
    node.pull(&disks[5])?;
    stored.add(5, 1)?;
    node.plug(&disks[6])?;
    node.plug(&disks[7])?;
    println!("pulled in the middle, after {before} shards");
    whole_again(&node)?;
    stored.check().context("after two disks and the one that healing went to")?;

    // At the end: as soon as none of the old ones is needed, the next one.
    replaced(&node, 3)?;
    let times = node.log().matches(LACKING).count();
    has_standby(&node)?;
    node.pull(&disks[6])?;
    wait_for(&node, "the next loss", |log| log.matches(LACKING).count() > times)?;
    node.plug(&disks[8])?;

    // While the journal is packed: it is when disks come and go, and here it has something.
    stored.add(SMALL, 0)?;
    let packed = node.log().matches("packed the journal").count();
    has_standby(&node)?;
    node.pull(&disks[2])?;
    stored.add(SMALL, 1)?;
    node.plug(&disks[9])?;
    wait_for(&node, "packing", |log| log.matches("packed the journal").count() > packed)?;
    whole_again(&node)?;

    // Every group has all its shards again: any two disks may go.
    stored.check().context("after all is made anew")?;
    replaced(&node, 5)?;
    node.pull(&disks[3])?;
    node.pull(&disks[4])?;
    wait_for(&node, "two more missing", |log| log.matches("INFO disk is gone").count() == 7)?;
    stored.check().context("without two of the disks that were there at first")?;
    node.has_no_panic()?;
    let anew = node.log().matches(INDEX_ANEW).count();
    ensure!(anew <= PAIRS, "the index was made anew {anew} times: a standby did not take over");
    println!("{} shards were made anew", node.log().matches(MADE).count());
    node.power_off()?;
    Ok(())
}

fn wait_for(node: &Machine, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    node.wait_for_log(what, STEP, wanted)
}

/// Waits until the last thing that the node said of its groups is that none lacks a shard.
fn whole_again(node: &Machine) -> Result<()> {
    let is_whole = |log: &str| log.rfind(WHOLE) > log.rfind(LACKING);
    wait_for(node, "all shards", is_whole).map(drop)
}

/// Waits until one disk may go without the index being made anew.
fn has_standby(node: &Machine) -> Result<()> {
    let is_there = |log: &str| NO_STANDBY.iter().all(|over| log.rfind(STANDBY) > log.rfind(over));
    wait_for(node, "a standby of the index", is_there).map(drop)
}

/// Waits until so many missing disks are not needed any more.
fn replaced(node: &Machine, disks: usize) -> Result<()> {
    wait_for(node, "disks that are replaced", |log| log.matches(REPLACED).count() == disks)
        .map(drop)
}

/// Objects that were stored.
struct Stored {
    s3: S3,
    count: u64,
}

impl Stored {
    fn add(&mut self, small: u64, large: u64) -> Result<()> {
        for number in 0..small + large {
            let length = if number < small { 20_000 } else { 2_500_000 };
            self.put(length)?;
        }
        Ok(())
    }

    fn put(&mut self, length: u64) -> Result<()> {
        let key = format!("{length}/{}", self.count);
        let body = body(&key)?;
        patiently(|| self.s3.put("kept", &key, &body)).with_context(|| key.clone())?;
        self.count += 1;
        Ok(())
    }

    /// Everything reads as it was written.
    fn check(&self) -> Result<()> {
        patiently(|| self.s3.get("kept", "20000/0"))?;
        let keys = self.s3.keys("kept")?;
        ensure!(keys.len() as u64 == self.count, "{} of {} are listed", keys.len(), self.count);
        for key in keys {
            let read = patiently(|| self.s3.get("kept", &key)).with_context(|| key.clone())?;
            ensure!(read.body == body(&key)?, "{key} reads otherwise");
        }
        Ok(())
    }
}

/// Asks again where the answer is 503, as clients do: the disk with the index may be one of those that were
/// pulled.
fn patiently(ask: impl Fn() -> Result<Answer>) -> Result<Answer> {
    let began = Instant::now();
    loop {
        let answer = ask()?;
        if answer.status != 503 || began.elapsed() > STEP {
            return answer.expect(200);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The content of an object follows from its key.
fn body(key: &str) -> Result<Vec<u8>> {
    let (length, _) = key.split_once('/').context("a key of this test")?;
    Ok(noise(key, length.parse()?))
}
