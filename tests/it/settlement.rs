//! From a node's work to its HP's money: oracles' roots on a local chain, and the node's own claims.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::dice::noise;
use e2e::disks::Bus;
use e2e::machine::{Machine, Setup, free_port};
use e2e::oracles;
use e2e::rack::Rack;
use e2e::stick::node_toml_with;
use test_network::{daemon_in, gas_in, label_in, tokens};

/// Seconds of an era.
const ERA: u32 = 30;

/// How long the steps of a test may take: several eras, on a busy machine.
const LIMIT: Duration = Duration::from_secs(400);

/// Waits until the log tells something.
fn told(node: &Machine, what: &str, find: impl Fn(&str) -> Option<String>) -> Result<String> {
    let log = node.wait_for_log(what, LIMIT, |log| find(log).is_some())?;
    Ok(find(&log).unwrap_or_default())
}

#[test]
fn a_node_earns_and_its_hp_is_paid() -> Result<()> {
    let rack = Rack::new("settlement-")?;
    let mut network = oracles::start_with_chain(rack.path(), 3, ERA)?;
    let s3_port = free_port()?;
    let toml = node_toml_with(&network.node_toml(s3_port));
    let disks = [1, 2, 3].map(|number| rack.blank(&format!("SCSISET{number}"), Bus::Scsi, 2));
    let disks = disks.into_iter().collect::<Result<Vec<_>>>()?;
    let mut setup = Setup::new(&rack.stick("stick.img", &toml)?, &disks);
    setup.s3_port = Some(s3_port);
    let mut node = rack.boot(&setup)?;
    let (s3, _) = node.wait_for_s3("earning")?;
    for number in 0..4 {
        let name = format!("object-{number}");
        s3.put("earning", &name, &noise(&name, 300_000))?.expect(200)?;
    }

    // Of what the node needs from people, all is in its log: whom to admit, what to register, whom to fund.
    let daemon = told(&node, "its daemon address", daemon_in)?;
    let label = told(&node, "its id", label_in)?;
    ensure!(network.admit(&daemon)?, "it was admitted before");
    let gas = told(&node, "where it pays gas from", gas_in)?;
    let chain = network.chain.as_ref().context("there is a chain")?;
    ensure!(chain.fund(&gas)?, "the node's gas address had something already");
    node.wait_for_log("its session with the binding", LIMIT, |log| {
        log.matches("in session").count() >= 3 && log.contains("signed a binding")
    })?;
    let hp = network.hp()?;
    hp.enrol(&label, &daemon)?;
    let (enrolled, before) = (Instant::now(), chain.tokens_of_hp()?);

    let paid = loop {
        let now = chain.tokens_of_hp()?;
        if now != before {
            break now;
        }
        ensure!(
            enrolled.elapsed() < 2 * LIMIT,
            "nothing was paid: {}\n{}\n{}",
            hp.status(&[&label])?,
            network.oracles[0].log(),
            node.diagnosis()
        );
        thread::sleep(Duration::from_secs(1));
    };
    let more = tokens(paid.saturating_sub(before));
    println!("the HP was paid {more} tokens {:.0?} after enrolling", enrolled.elapsed());
    ensure!(paid > before, "the HP has less");
    node.wait_for_log("the claim in a block", LIMIT, |log| log.contains("a claim is in a block"))?;
    node.has_no_panic()?;
    node.power_off()?;
    Ok(())
}
