//! Challenges: the request goes on record, then the beacon is drawn; the answer is judged once.

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::{Challenge, ChallengeAnswer, Receipt, Refusal};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{ChallengeReceipt, ChallengeRequest, Signed};

use super::sessions::bad;
use super::{Oracle, Role, busy, deadline, malformed};
use crate::identity;
use crate::judge::{judge, wanted};
use crate::record::Record;
use crate::state::Speaker;
use crate::tally::Opened;

/// The challenge of a node as it stands.
struct Standing {
    era: Era,
    opened: Opened,
}

impl Oracle {
    /// Opens a challenge, or gives the one again that this request opened.
    ///
    /// # Errors
    /// Why not.
    pub async fn challenge(
        &self,
        speaker: Speaker,
        asked: Signed<ChallengeRequest>,
    ) -> Result<Challenge, Refusal> {
        let now = self.era()?;
        let request = &asked.message;
        if self.config.role != Role::Oracle {
            return Err(malformed("this is a store of reports; it challenges nobody"));
        }
        if request.oracleId != self.address() {
            return Err(malformed(format!("the request is for oracle {}", request.oracleId)));
        }
        if request.nodeId != speaker.node {
            return Err(malformed(format!("the request is of node {}", request.nodeId)));
        }
        if request.configDigest != self.digest {
            return Err(Refusal::OtherParameters);
        }
        let domain = self.config.parameters.domain();
        asked.verify(&domain, speaker.daemon).map_err(|error| bad(error.to_string()))?;
        let era = Era(request.era);
        if era != now {
            return Err(Refusal::WrongEra { asked: era, now });
        }
        let digest = asked.digest(&domain);
        let gate = self.gate(&speaker)?;
        let _one_after_the_other = gate.lock().await;
        if let Some(opened) = self.opened(&speaker, era) {
            if opened.digest != digest {
                return Err(Refusal::Replayed);
            }
            if let Some((beacon, at)) = opened.beacon {
                return Ok(self.question(digest, beacon, era, at));
            }
        } else {
            let daemon = speaker.daemon;
            let record = Record::Request { daemon, digest, request: asked };
            let pending = self.record(era, |_| Ok::<_, Refusal>(record)).await?;
            pending.wait().await.map_err(|_| busy())?;
        }
        // Only now: nobody can have known it when the node committed to what it stores.
        let beacon = B256::from(*identity::random().map_err(|_| busy())?);
        let at = self.now_ms();
        let record = Record::Beacon { node: speaker.node, beacon, at };
        let pending = self.record(era, |_| Ok::<_, Refusal>(record)).await?;
        pending.wait().await.map_err(|_| busy())?;
        Ok(self.question(digest, beacon, era, at))
    }

    /// Judges an answer, or gives the receipt again.
    ///
    /// # Errors
    /// Why not.
    pub async fn answer(
        &self,
        speaker: Speaker,
        digest: B256,
        answer: ChallengeAnswer,
    ) -> Result<Receipt, Refusal> {
        let arrived = self.now_ms();
        let gate = self.gate(&speaker)?;
        let _one_after_the_other = gate.lock().await;
        let found = self.standing(&speaker, &digest);
        let Some(Standing { era, opened }) = found else {
            return Err(malformed(format!("no challenge is open for request {digest}")));
        };
        if let Some(receipt) = opened.receipt {
            return Ok(self.given(&speaker, era, receipt));
        }
        let Some((beacon, at)) = opened.beacon else {
            return Err(malformed(format!("request {digest} was asked nothing yet: ask again")));
        };
        if arrived > deadline(&self.config.parameters, era, at) {
            return Err(Refusal::TooLate);
        }
        let samples = self.config.parameters.samples;
        let wanted = wanted(&opened.request.message, samples);
        if answer.samples.len() != wanted {
            let found = answer.samples.len();
            return Err(malformed(format!("{found} samples, where {wanted} were asked for")));
        }
        let request = opened.request.message;
        let permit = self.verifying.acquire().await.map_err(|_| busy())?;
        let judging =
            tokio::task::spawn_blocking(move || judge(&request, &beacon, samples, &answer.samples));
        let finding = judging.await.map_err(|_| busy())?;
        drop(permit);
        let sealed = self
            .record(era, |state| {
                let read = state.node(&speaker.daemon).map(|node| node.since_receipt.medians());
                let (latency, speed) = read.unwrap_or((0, 0));
                let message = ChallengeReceipt {
                    requestHash: digest,
                    beacon,
                    result: finding.result,
                    latencyUs: latency,
                    bytesPerSecond: speed,
                    oracleTime: self.now_ms(),
                };
                let domain = self.config.parameters.domain();
                let signed = Signed::new(message, &domain, &self.config.identity.key);
                let receipt =
                    Receipt { receipt: signed.map_err(|_| busy())?, reasons: finding.reasons };
                let digest = receipt.receipt.digest(&domain);
                Ok::<_, Refusal>(Record::Receipt { node: speaker.node, digest, receipt })
            })
            .await?;
        sealed.wait().await.map_err(|_| busy())?;
        let receipt = self.opened(&speaker, era).and_then(|opened| opened.receipt);
        Ok(self.given(&speaker, era, receipt.ok_or_else(busy)?))
    }

    fn question(&self, request: B256, beacon: B256, era: Era, at: u64) -> Challenge {
        let until = deadline(&self.config.parameters, era, at);
        Challenge { request, beacon, answer_within_ms: until.saturating_sub(self.now_ms()) }
    }

    fn opened(&self, speaker: &Speaker, era: Era) -> Option<Opened> {
        let state = self.state();
        state.books.get(&era)?.nodes.get(&speaker.node)?.challenge.clone()
    }

    /// The challenge of a request: of this era, or of one before that is still known.
    fn standing(&self, speaker: &Speaker, digest: &B256) -> Option<Standing> {
        let state = self.state();
        state.books.iter().rev().find_map(|(era, book)| {
            let opened = book.nodes.get(&speaker.node)?.challenge.clone()?;
            (opened.digest == *digest).then_some(Standing { era: *era, opened })
        })
    }

    /// The receipt as it is given away.
    fn given(&self, speaker: &Speaker, era: Era, receipt: Receipt) -> Receipt {
        let old = {
            let state = self.state();
            let mut before = state.books.range(..era).rev();
            before.find_map(|(_, book)| {
                book.nodes.get(&speaker.node)?.challenge.as_ref()?.receipt.clone()
            })
        };
        let Self { config, .. } = self;
        config.fault.instead(receipt, old, &config.parameters, &config.identity.key)
    }
}
