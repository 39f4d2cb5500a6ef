//! Challenges: one of each oracle in each era.
//!
//! ```text
//! cut -> request kept -> asked -> proven -> answered -> receipt verified -> kept
//!            |                                                |
//!            '--- the same request again, until the era ends -'
//! ```

use std::sync::Arc;
use std::time::Duration;

use alloy::sol_types::Eip712Domain;
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::client::{CallError, Client};
use crate::core::Core;
use crate::journal::{Receipted, Step};
use crate::local::Unusable;
use crate::peer::Link;
use crate::protocol::key::CannotSign;
use crate::protocol::messages::{
    Challenge, ChallengeAnswer, KeptReceipt, Receipt, Refusal, SKEW_MAX_MS, Sample,
};
use crate::protocol::parameters::{Era, Parameters};
use crate::protocol::sampling::positions;
use crate::protocol::signed::{ChallengeRequest, FAILED, PASSED, SignatureError, Signed};
use crate::protocol::{Address, B256};
use crate::status::ReceiptStatus;
use crate::words::{reasons, shown};

/// Proofs that are made at once for one oracle: enough to keep the disks of a node busy.
const PROVING_EACH: usize = 8;

/// The part of the time to answer in which proofs are made; the rest is for sending them.
const PROVING_PART: f64 = 0.75;

/// How long the cut of an era may take. One of a million objects takes seconds.
const CUT: Duration = Duration::from_secs(600);

/// The challenges of one oracle.
pub(crate) struct ChallengeTask {
    pub(crate) core: Arc<Core>,
    /// Its place in the status.
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) oracle: Address,
    pub(crate) client: Client,
    pub(crate) link: Arc<Link>,
}

/// Why a challenge has no receipt yet.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("no session was open")]
    NoSession,
    #[error("the objects could not be committed to: {0}")]
    Cut(String),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the oracle asks about another request")]
    OtherRequest,
    #[error("the receipt is refused: {0}")]
    Receipt(#[from] ReceiptError),
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] CannotSign),
    #[error("no nonce could be drawn: {0}")]
    Nonce(#[from] getrandom::Error),
    #[error(transparent)]
    Memory(#[from] Unusable),
}

impl Failed {
    /// Whether there will be no receipt in this era, whatever is done.
    fn is_final(&self) -> bool {
        let Self::Call(CallError::Refused { refusal, .. }) = self else { return false };
        matches!(refusal, Refusal::Replayed | Refusal::TooLate)
    }

    /// Whether the session is not what it was.
    fn is_of_session(&self) -> bool {
        let Self::Call(CallError::Refused { refusal, .. }) = self else { return false };
        matches!(
            refusal,
            Refusal::NoSession
                | Refusal::NotAdmitted { .. }
                | Refusal::Conflict { .. }
                | Refusal::OtherParameters
                | Refusal::Skew { .. }
        )
    }
}

/// Why a receipt is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReceiptError {
    /// It is of another request: another node's, another era's, or an old one.
    #[error("it is of the request {found}, not of {expected}")]
    Request {
        /// The digest of what was asked.
        expected: B256,
        /// The digest that it names.
        found: B256,
    },
    /// It is of other questions than were asked.
    #[error("it is of other questions than were asked")]
    Beacon,
    /// It says neither passed nor failed.
    #[error("its result is {0}, which is neither passed nor failed")]
    Result(u8),
    /// Its time is outside of the era.
    #[error("its time {found} is not of era {era}")]
    Time {
        /// The era.
        era: Era,
        /// Its time.
        found: u64,
    },
    /// Somebody else signed it.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl ChallengeTask {
    /// Has the node challenged in each era, for ever.
    pub(crate) async fn run(self) {
        self.core.local.settled().await;
        self.show_last().await;
        loop {
            let Some(era) = self.core.era() else {
                self.core.sleep_until_ms(self.core.config.parameters.begin_ms(Era(0))).await;
                continue;
            };
            let end = self.core.end_ms(era);
            if !self.has_receipt(era).await {
                let begin = self.core.config.parameters.begin_ms(era);
                let into = u64::try_from(self.core.pace.start_in(era.0).as_millis());
                let at = begin.saturating_add(into.unwrap_or(0));
                self.core.sleep_until_ms(at).await;
                self.have(era, end).await;
            }
            self.core.sleep_until_ms(end).await;
        }
    }

    /// Tries until there is a receipt or the era is over.
    async fn have(&self, era: Era, end: u64) {
        let mut failures = 0;
        let mut last = Failed::NoSession;
        let trying = async {
            loop {
                match self.attempt(era).await {
                    Ok(receipt) => break self.passed(&receipt),
                    Err(failed) => {
                        failures += 1;
                        self.tell(era, &failed, &last);
                        let is_final = failed.is_final();
                        last = failed;
                        if is_final {
                            return;
                        }
                    }
                }
                tokio::time::sleep(self.core.pace.after_failures(&self.name, failures)).await;
            }
        };
        let done = tokio::select! {
            () = trying => true,
            () = self.core.sleep_until_ms(end) => false,
        };
        if !(done && self.has_receipt(era).await) {
            self.core.say(self.place, |peer| peer.missed_eras = peer.missed_eras.saturating_add(1));
            let error = shown(&last.to_string());
            warn!(peer = self.name, %era, error, "no receipt for this era");
        }
    }

    /// One attempt.
    async fn attempt(&self, era: Era) -> Result<Receipted, Failed> {
        // A receipt that was kept is never asked for again.
        if let Some(Step::Receipt(receipt)) = self.step(era).await? {
            return Ok(*receipt);
        }
        if !*self.link.open.borrow() {
            let mut open = self.link.open.subscribe();
            // The sender lives in `self`, so this ends with the value alone.
            let _open = open.wait_for(|open| *open).await;
        }
        let request = self.request(era).await?;
        let digest = request.digest(&self.core.domain);
        let challenge = self.client.challenge(&request).await.inspect_err(|error| {
            self.session_lost(error);
        })?;
        if challenge.request != digest {
            return Err(Failed::OtherRequest);
        }
        let answer = self.prove(era, &request.message, &challenge).await;
        let receipt = self.client.answer(&digest, &answer).await.inspect_err(|error| {
            self.session_lost(error);
        })?;
        let parameters = &self.core.config.parameters;
        let verified =
            verify(&receipt, &challenge, self.oracle, era, parameters, &self.core.domain);
        if let Err(error) = verified {
            let count = |refused: &mut u64| *refused = refused.saturating_add(1);
            self.core.say(self.place, |peer| count(&mut peer.refused_receipts));
            return Err(error.into());
        }
        let Receipt { receipt, reasons: received } = receipt;
        let kept = KeptReceipt { oracle: self.oracle, era, request, receipt };
        let kept = Receipted { kept, reasons: reasons(&received) };
        self.keep(Step::Receipt(Box::new(kept.clone()))).await?;
        Ok(kept)
    }

    fn session_lost(&self, error: &CallError) {
        if Failed::from(error.clone()).is_of_session() {
            self.link.lost.notify_one();
        }
    }

    /// The request of an era: the one that is remembered, else a new one that is remembered first.
    async fn request(&self, era: Era) -> Result<Signed<ChallengeRequest>, Failed> {
        let cutting = timeout(CUT, self.core.cut(era)).await;
        let cut = cutting
            .unwrap_or_else(|_| Err(format!("not done within {} s", CUT.as_secs())))
            .map_err(Failed::Cut)?;
        if let Some(Step::Asked(request)) = self.step(era).await?
            && request.message.configDigest == self.core.digest
        {
            if request.message.dataRoot != B256::from(cut.root) {
                warn!(peer = self.name, %era, "the cut is not the one that was committed to");
            }
            return Ok(*request);
        }
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)?;
        let message = ChallengeRequest {
            nodeId: self.core.config.node_id,
            oracleId: self.oracle,
            era: era.0,
            nonce: nonce.into(),
            dataRoot: cut.root.into(),
            objects: cut.count,
            totalBytes: cut.bytes,
            configDigest: self.core.digest,
        };
        let request = Signed::new(message, &self.core.domain, &self.core.key)?;
        self.keep(Step::Asked(Box::new(request.clone()))).await?;
        Ok(request)
    }

    /// Proves what is asked, in order. What cannot be proven in time is said to have failed.
    async fn prove(
        &self,
        era: Era,
        request: &ChallengeRequest,
        challenge: &Challenge,
    ) -> ChallengeAnswer {
        let parameters = &self.core.config.parameters;
        let era_ms = u64::from(parameters.era_seconds).saturating_mul(1000);
        let within = Duration::from_millis(challenge.answer_within_ms.min(era_ms));
        let deadline = Instant::now() + within.mul_f64(PROVING_PART);
        let one = |position: u64| async move {
            let proving = async {
                let _permit = self.core.proving.acquire().await;
                self.core.node.prove(era, position).await
            };
            let failed = |reason| Sample::Failed { reason };
            match timeout_at(deadline, proving).await {
                Ok(proven) => proven.unwrap_or_else(failed),
                Err(_) => failed("it took too long".to_owned()),
            }
        };
        let asked = positions(&challenge.beacon, parameters.samples, request.totalBytes);
        let samples: Vec<_> = stream::iter(asked).map(one).buffered(PROVING_EACH).collect().await;
        let failed =
            samples.iter().filter(|sample| matches!(sample, Sample::Failed { .. })).count();
        if failed > 0 {
            let all = samples.len();
            error!(peer = self.name, %era, failed, all, "some of what is stored cannot be proven");
        }
        ChallengeAnswer { samples }
    }

    async fn step(&self, era: Era) -> Result<Option<Step>, Unusable> {
        let oracle = self.oracle;
        self.core.local.with(move |memory| memory.step(era, oracle)).await
    }

    async fn has_receipt(&self, era: Era) -> bool {
        matches!(self.step(era).await, Ok(Some(Step::Receipt(_))))
    }

    async fn keep(&self, step: Step) -> Result<(), Unusable> {
        let (from, now) = (self.core.disputes_from(), self.core.clock.now_ms());
        let receipts = self.core.local.with(move |memory| {
            memory.keep(step, from, now);
            memory.status()
        });
        let spool = receipts.await?;
        self.core.status.send_modify(|status| status.spool = spool);
        Ok(())
    }

    /// Shows the last receipt that is remembered.
    async fn show_last(&self) {
        let oracle = self.oracle;
        match self.core.local.with(move |memory| memory.last_receipt(oracle)).await {
            Ok(Some(receipt)) => self.show(&receipt),
            Ok(None) => {}
            Err(error) => error!(%error, "the last receipt cannot be read"),
        }
    }

    fn show(&self, Receipted { kept, reasons }: &Receipted) {
        let measured = |value: u64| (value > 0).then_some(value);
        let message = &kept.receipt.message;
        let receipt = ReceiptStatus {
            era: kept.era,
            passed: message.result == PASSED,
            latency_us: measured(message.latencyUs),
            bytes_per_second: measured(message.bytesPerSecond),
            reasons: reasons.clone(),
        };
        self.core.say(self.place, |peer| peer.receipt = Some(receipt));
    }

    fn passed(&self, receipt: &Receipted) {
        self.show(receipt);
        let (era, reasons) = (receipt.kept.era, receipt.reasons.join("; "));
        if receipt.kept.receipt.message.result == PASSED {
            info!(peer = self.name, %era, "challenge passed");
        } else {
            warn!(peer = self.name, %era, reasons, "challenge failed");
        }
    }

    /// Says what went wrong, unless it did so just before.
    fn tell(&self, era: Era, failed: &Failed, before: &Failed) {
        if failed.to_string() != before.to_string() {
            let error = shown(&failed.to_string());
            warn!(peer = self.name, %era, error, "challenge not answered yet");
        }
    }
}

/// That a receipt is of what was asked, of this era, and signed by the oracle.
pub(crate) fn verify(
    receipt: &Receipt,
    challenge: &Challenge,
    oracle: Address,
    era: Era,
    parameters: &Parameters,
    domain: &Eip712Domain,
) -> Result<(), ReceiptError> {
    let message = &receipt.receipt.message;
    receipt.receipt.verify(domain, oracle)?;
    if message.requestHash != challenge.request {
        let (expected, found) = (challenge.request, message.requestHash);
        return Err(ReceiptError::Request { expected, found });
    }
    if message.beacon != challenge.beacon {
        return Err(ReceiptError::Beacon);
    }
    if !matches!(message.result, PASSED | FAILED) {
        return Err(ReceiptError::Result(message.result));
    }
    let begin = parameters.begin_ms(era).saturating_sub(SKEW_MAX_MS);
    let end = parameters.begin_ms(Era(era.0.saturating_add(1))).saturating_add(SKEW_MAX_MS);
    if !(begin..end).contains(&message.oracleTime) {
        return Err(ReceiptError::Time { era, found: message.oracleTime });
    }
    Ok(())
}
