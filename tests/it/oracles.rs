//! A node and its SLA oracles: admission, challenges, votes, and reports that wait for one that is down.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::dice::noise;
use e2e::disks::Bus;
use e2e::machine::{Machine, Setup, free_port};
use e2e::oracles;
use e2e::rack::Rack;
use e2e::stick::node_toml_with;
use test_network::Oracle;

/// Seconds of an era: an emulated node proves a dozen bytes to three oracles in a few of them.
const ERA: u32 = 60;

/// How long the steps of a test may take: several eras, on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// Waits until something is there.
fn wait_for<T>(
    what: &str,
    node: &Machine,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < until, "no {what} within {LIMIT:?}\n{}", node.diagnosis());
        thread::sleep(Duration::from_millis(500));
    }
}

/// The last era whose challenge a node passed with an oracle, as its log tells.
fn passed(log: &str, oracle: &Oracle) -> Option<u64> {
    let peer = format!("peer={:?}", oracle.name);
    let bare = format!("peer={}", oracle.name);
    let lines = log.lines().rev().filter(|line| line.contains("challenge passed"));
    let mut own = lines.filter(|line| line.contains(&peer) || line.contains(&bare));
    let (_, era) = own.next()?.split_once("era=")?;
    era.split_whitespace().next()?.parse().ok()
}

/// The last report that an oracle has.
fn last_report(oracle: &Oracle, daemon: &str) -> Result<Option<u64>> {
    let page = oracle.page(&format!("/node/{daemon}"))?;
    let number = page.split_once("<p>number ").and_then(|(_, rest)| rest.split_once(','));
    Ok(number.and_then(|(number, _)| number.parse().ok()))
}

#[test]
fn oracles_challenge_a_node_and_vote_and_one_that_was_down_gets_what_waited() -> Result<()> {
    let rack = Rack::new("oracles-")?;
    let mut network = oracles::start(rack.path(), 3, ERA)?;
    let s3_port = free_port()?;
    let toml = node_toml_with(&network.node_toml(s3_port));
    let disks = [1, 2, 3].map(|number| rack.blank(&format!("SCSIORA{number}"), Bus::Scsi, 2));
    let disks = disks.into_iter().collect::<Result<Vec<_>>>()?;
    let mut setup = Setup::new(&rack.stick("stick.img", &toml)?, &disks);
    setup.s3_port = Some(s3_port);
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("tenant")?;
    for number in 0..6 {
        let name = format!("object-{number}");
        s3.put("tenant", &name, &noise(&name, 400_000))?.expect(200)?;
    }

    // Nobody knows its daemon address yet: it says so, and works all the same.
    let log = node.wait_for_log("the refusal", LIMIT, |log| log.contains("not admitted"))?;
    let (_, daemon) = log.split_once("daemon=").context("no daemon address in the log")?;
    let daemon = daemon.get(..42).context("the daemon address is short")?.to_owned();
    ensure!(network.oracles.iter().all(|oracle| passed(&node.log(), oracle).is_none()));
    network.admit(&daemon)?;

    let admitted = Instant::now();
    let first = wait_for("receipt of each oracle", &node, || {
        let log = node.log();
        Ok(network.oracles.iter().map(|oracle| passed(&log, oracle)).collect::<Option<Vec<_>>>())
    })?;
    println!("receipts of three oracles {:.0?} after admission", admitted.elapsed());
    wait_for("receipts on the console", &node, || {
        // To the next section: the node's own has all of it when it is in focus.
        node.screen.type_keys("\t")?;
        thread::sleep(Duration::from_secs(2));
        let screen = node.screen.text();
        Ok((screen.contains(" passed") && screen.contains(&daemon)).then_some(()))
    })?;

    // An oracle that is down holds up no other, and gets its reports when it is back.
    let before = last_report(&network.oracles[1], &daemon)?.context("no report before")?;
    network.oracles[1].kill();
    let missed = wait_for("report with another oracle", &node, || {
        let last = last_report(&network.oracles[0], &daemon)?;
        Ok(last.filter(|last| *last > before))
    })?;
    let during = wait_for("receipt of another oracle", &node, || {
        Ok(passed(&node.log(), &network.oracles[0]).filter(|era| *era > first[0]))
    })?;
    network.oracles[1].start()?;
    let started = Instant::now();
    let caught_up = wait_for("delivery of what waited", &node, || {
        let last = last_report(&network.oracles[1], &daemon)?;
        Ok(last.filter(|last| *last >= missed))
    })?;
    println!(
        "report {missed} waited; {caught_up} delivered {:.0?} after the start",
        started.elapsed()
    );
    wait_for("receipt of the oracle that was down", &node, || {
        Ok(passed(&node.log(), &network.oracles[1]).filter(|era| *era >= during))
    })?;

    // Those that were up vote that the node passed everything.
    for oracle in [&network.oracles[0], &network.oracles[2]] {
        let vote = wait_for("vote", &node, || {
            let votes = oracle.votes(during)?;
            let list = votes.as_array().or_else(|| votes.get("votes")?.as_array());
            Ok(list.and_then(|list| list.first().cloned()))
        })?;
        let message = &vote["message"];
        println!("{} on era {during}: {message}", oracle.name);
        assert!(message["issued"].as_u64().is_some_and(|issued| issued > 1), "{message}");
        assert_eq!(message["issued"], message["passed"], "{message}");
        assert!(
            message["provenBytes"].as_u64().is_some_and(|bytes| bytes >= 2_400_000),
            "{message}"
        );
    }
    node.has_no_panic()?;
    node.power_off()?;
    Ok(())
}
