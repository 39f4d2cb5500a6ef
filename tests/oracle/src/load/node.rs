//! A simulated node.

use std::time::Instant;

use agent_sla::protocol::B256;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::ChallengeAnswer;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::report::{Detail, Reading, VERSION};
use agent_sla::protocol::signed::PASSED;
use anyhow::{Context as _, Result, ensure};
use reference_oracle::client::{Party, Target, healthy};
use reference_oracle::store::Store;
use zeroize::Zeroizing;

use super::now_ms;

/// Readings of a report: a server with twelve disks has about as many.
const READINGS: u32 = 300;

/// A node before its era.
pub(super) struct Simulated(Party);

/// What became of a node. Times are in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    /// Connecting, with its handshake.
    pub(super) connect: Option<u64>,
    pub(super) session: Option<u64>,
    pub(super) report: Option<u64>,
    pub(super) challenge: Option<u64>,
    pub(super) answer: Option<u64>,
    /// From the moment at which it was to come to its receipt, in milliseconds.
    pub(super) whole: Option<u64>,
    /// Why it did not get through.
    pub(super) error: Option<String>,
}

/// So many nodes, each with keys of its own.
pub(super) fn make(count: u32) -> Result<Vec<Simulated>> {
    let one = |number: u32| {
        let id = *blake3::hash(&number.to_le_bytes()).as_bytes();
        let key = SigningKey::from_bytes(&Zeroizing::new(id)).context("a hash is a key")?;
        Ok(Simulated(Party::new(key, B256::from(id), B256::from(id))?))
    };
    (0..count).map(one).collect()
}

impl Simulated {
    pub(super) fn party(&self) -> &Party {
        &self.0
    }

    /// Goes through the era.
    pub(super) async fn run(self, target: &Target, store: &Store, due: u64) -> Outcome {
        let mut outcome = Outcome::default();
        match self.through(target, store, &mut outcome).await {
            Ok(()) => outcome.whole = Some(now_ms().saturating_sub(due)),
            Err(error) => outcome.error = Some(format!("{error:#}")),
        }
        outcome
    }

    async fn through(&self, target: &Target, store: &Store, outcome: &mut Outcome) -> Result<()> {
        let Self(party) = self;
        let took = |since: Instant| u64::try_from(since.elapsed().as_micros()).ok();
        let began = Instant::now();
        let mut connection = party.connect(target, None).await?;
        outcome.connect = took(began);
        let hello = connection.hello().await?;
        ensure!(hello.parameters == target.parameters, "other parameters");
        let session = party.session(target, now_ms(), None)?;
        let began = Instant::now();
        connection.session(&session).await?;
        outcome.session = took(began);
        let reading = |number| Reading {
            series: format!("disk_reading_of_some_length{{disk=\"serial-{number}\"}}"),
            value: f64::from(number),
        };
        let detail = Detail { version: VERSION, readings: (0..READINGS).map(reading).collect() };
        let sequence = now_ms();
        let facts = healthy(None);
        let report = party.report(&target.parameters, sequence, sequence, &facts, Some(&detail))?;
        let began = Instant::now();
        let taken = connection.reports(vec![report]).await?;
        outcome.report = took(began);
        ensure!(taken.delivered == sequence, "another report was taken");
        let request = party.request(target, Era(0), party.node, store.request())?;
        let began = Instant::now();
        let challenge = connection.challenge(&request).await?;
        outcome.challenge = took(began);
        let samples = store.answer(&challenge.beacon, target.parameters.samples);
        let answer = ChallengeAnswer { samples };
        let began = Instant::now();
        let receipt = connection.answer(&challenge.request, &answer).await?;
        outcome.answer = took(began);
        receipt.receipt.verify(&target.parameters.domain(), target.oracle)?;
        ensure!(receipt.receipt.message.result == PASSED, "failed: {:?}", receipt.reasons);
        Ok(())
    }
}
