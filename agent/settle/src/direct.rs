//! Signing and sending with a keystore, by the transaction engine of agent-settlement: what is signed is remembered before
//! it is sent, so that a run that ends in between never leads to a second effect.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use agent_settlement::call::{Seq, Wanted};
use agent_settlement::chain::{At, Chain};
use agent_settlement::engine::event::{Alarm, Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::engine::{Engine, EngineError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::{Folder, Outbox, Owner};
use alloy::primitives::{Address, B256};
use anyhow::{Context, Result, anyhow, bail};

use crate::abi;
use crate::args::{Until, Wait};
use crate::files::Place;
use crate::keystore::SecretKey;
use crate::network::Network;
use crate::now_s;
use crate::plan::Planned;
use crate::say::note;

/// How often is looked: a block of Base is made every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// It is not over in the time that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the transaction is under way and not {0} yet: run the same command again to go on waiting; nothing is sent twice"
)]
pub(crate) struct Unfinished(pub &'static str);

/// A transaction that is as far as was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// None where another transaction had the effect.
    pub hash: Option<B256>,
    /// The block that it is in.
    pub block: Option<u64>,
}

/// An engine for the HP's key.
#[derive(Debug)]
pub(crate) struct Direct<C> {
    engine: Engine<Folder, C>,
    began: Instant,
    wait: Wait,
    /// What an open intent was last seen in.
    seen: Vec<(Seq, B256, Done)>,
}

impl<C: Chain + Clone> Direct<C> {
    /// Goes on where the outbox of this account ends.
    pub(crate) async fn open(
        network: &Network,
        chain: &C,
        place: &Place,
        key: &SecretKey,
        policy: Policy,
        wait: Wait,
    ) -> Result<Self> {
        let key = PayerKey::parse(key.bytes())?;
        let target = network.target(key.address());
        let setup = Setup { target, policy, errors: abi::errors() };
        let open =
            || Engine::open(Folder::new(&place.folder), chain.clone(), key.clone(), setup.clone());
        let engine = match open().await {
            // A wallet that was used before, elsewhere.
            Err(EngineError::Missing { owner, .. }) => {
                begin(chain, place, owner).await?;
                open().await?
            }
            opened => opened?,
        };
        Ok(Self { engine, began: Instant::now(), wait, seen: Vec::new() })
    }

    /// Waits until what an earlier run signed is so far, and drops what it did not sign. Returns the digests of what
    /// took effect.
    pub(crate) async fn finish_before(&mut self, until: Until) -> Result<BTreeSet<B256>> {
        let open: Vec<_> = self.engine.state().open().map(|entry| entry.intent.clone()).collect();
        let mut digests = BTreeSet::new();
        for intent in open {
            if self.engine.give_up(intent.seq)? {
                note("what an earlier run wanted and did not sign is dropped");
                continue;
            }
            note("an earlier run began a transaction: waiting for it first");
            self.until(intent.seq, until).await?;
            digests.insert(intent.digest);
        }
        Ok(digests)
    }

    /// Makes calls, one after the other, each when the one before is in a block.
    pub(crate) async fn carry_out(&mut self, plan: &[Planned]) -> Result<Vec<Done>> {
        let mut seqs = Vec::new();
        for planned in plan {
            let wanted = Wanted { digest: planned.digest, call: planned.call.clone() };
            let seq = self.engine.enqueue(wanted)?;
            self.until(seq, Until::Mined).await?;
            seqs.push(seq);
        }
        let mut done = Vec::new();
        for seq in seqs {
            self.until(seq, self.wait.wait).await?;
            let seen = self.seen.iter().find(|(of, ..)| *of == seq).map(|(.., done)| done.clone());
            done.push(seen.unwrap_or(Done { hash: None, block: None }));
        }
        Ok(done)
    }

    /// Looks again and again, until a call is so far.
    async fn until(&mut self, seq: Seq, until: Until) -> Result<()> {
        let mut told = BTreeSet::new();
        loop {
            if self.reached(seq, until) {
                return Ok(());
            }
            if self.began.elapsed() >= Duration::from_secs(self.wait.timeout) {
                return Err(self.late(seq, until)?);
            }
            let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let report = self.engine.tick(Moment { ms, unix_s: now_s()? }).await?;
            for error in report.errors {
                if told.insert(error.to_string()) {
                    note(&format!("not known yet: {error}"));
                }
            }
            for notice in report.notices {
                self.hear(seq, notice, &mut told)?;
            }
            self.look();
            if !self.reached(seq, until) {
                tokio::time::sleep(TICK).await;
            }
        }
    }

    fn hear(&mut self, seq: Seq, notice: Notice, told: &mut BTreeSet<String>) -> Result<()> {
        let line = match &notice {
            Notice::Alarm(of, alarm) if *of == seq && ends(alarm) => {
                if self.engine.give_up(seq)? {
                    bail!("{alarm}; nothing that was signed can take effect any more");
                }
                alarm.to_string()
            }
            Notice::Alarm(_, alarm) => alarm.to_string(),
            Notice::Mined { .. } => "in a block".to_owned(),
            Notice::Reorged { .. } => "its block vanished: sent again".to_owned(),
            Notice::Safe { .. } => "in a block that its chain will not change".to_owned(),
            Notice::Final { .. } => "final".to_owned(),
        };
        if told.insert(line.clone()) {
            note(&line);
        }
        Ok(())
    }

    /// Keeps in which transaction each call is: what is final is forgotten by the engine.
    fn look(&mut self) {
        for entry in self.engine.state().open() {
            let (seq, digest) = (entry.intent.seq, entry.intent.digest);
            let done = match &entry.stage {
                Stage::Mined(inclusion) | Stage::Safe(inclusion) => {
                    Done { hash: Some(inclusion.tx), block: Some(inclusion.number) }
                }
                _ => Done { hash: entry.attempts.last().map(|last| last.hash), block: None },
            };
            self.seen.retain(|(of, ..)| *of != seq);
            self.seen.push((seq, digest, done));
        }
    }

    fn reached(&self, seq: Seq, until: Until) -> bool {
        let Some(entry) = self.engine.state().get(seq) else { return true };
        match &entry.stage {
            Stage::Mined(inclusion) => until == Until::Mined && inclusion.ok,
            Stage::Safe(inclusion) => until <= Until::Safe && inclusion.ok,
            Stage::Queued | Stage::Unsure | Stage::Waits | Stage::Parked(_) => false,
        }
    }

    fn late(&mut self, seq: Seq, until: Until) -> Result<anyhow::Error> {
        if self.engine.give_up(seq)? {
            return Ok(anyhow!(
                "nothing was signed in the time that was given: see what is said above"
            ));
        }
        Ok(Unfinished(words(until)).into())
    }
}

/// What is waited for, in a word.
pub(crate) fn words(until: Until) -> &'static str {
    match until {
        Until::Mined => "mined",
        Until::Safe => "safe",
        Until::Final => "final",
    }
}

/// Alarms that nothing but the HP changes: a person at a terminal is not kept waiting for them.
fn ends(alarm: &Alarm) -> bool {
    matches!(
        alarm,
        Alarm::Refused(_)
            | Alarm::NoFunds { .. }
            | Alarm::Reverted(_)
            | Alarm::Parked(_)
            | Alarm::NotTaken(_)
    )
}

/// Begins an outbox for an account that has sent transactions elsewhere, where none of them waits: what is mined is over,
/// and nothing of what this program signed can be unknown to it without one that waits.
async fn begin<C: Chain>(chain: &C, place: &Place, owner: Owner) -> Result<()> {
    free(chain, owner.account).await?;
    let begun = Outbox::begin_anew(Folder::new(&place.folder), owner);
    begun.map(drop).context("cannot begin to remember transactions")
}

/// The next nonce of an account of which no transaction waits.
pub(crate) async fn free<C: Chain>(chain: &C, account: Address) -> Result<u64> {
    let mined = chain.nonce(account, At::Latest).await?;
    let pending = chain.nonce(account, At::Pending).await?;
    match pending.checked_sub(mined) {
        None | Some(0) => Ok(mined),
        Some(count) => bail!(
            "{count} transaction(s) of the account {account} wait to be mined: wait until they are, or cancel \
             them in the wallet that sent them"
        ),
    }
}
