//! An oracle that takes everything of one node, and faults between it and the node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use alloy::primitives::keccak256;
use async_trait::async_trait;
use serde::Serialize;

use super::{TestClock, daemon, key, parameters};
use crate::clock::Clock;
use crate::exchange::{Answer, Ask, Exchange, ExchangeError};
use crate::protocol::B256;
use crate::protocol::key::SigningKey;
use crate::protocol::messages::{
    Challenge, ChallengeAnswer, DeliverReports, Hello, OpenSession, Receipt, Refusal, ReportsTaken,
    Sample, SessionOpened,
};
use crate::protocol::parameters::{Era, Parameters};
use crate::protocol::report::Facts;
use crate::protocol::sampling::positions;
use crate::protocol::settled::SignedBinding;
use crate::protocol::signed::{ChallengeReceipt, ChallengeRequest, FAILED, PASSED, Signed};

/// How long a node has to answer.
const ANSWER_WITHIN_MS: u64 = 20_000;

#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) name: String,
    pub(crate) key: SigningKey,
    pub(crate) parameters: Parameters,
    pub(crate) clock: TestClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// What every request is answered with.
    pub(crate) refusal: Option<Refusal>,
    /// The session is not known any more.
    pub(crate) forgotten: bool,
    pub(crate) sessions: Vec<B256>,
    /// Where it was told to reach the node's S3, by each session.
    pub(crate) endpoints: Vec<Option<String>>,
    /// Whose it was told that the node is, by each session.
    pub(crate) bindings: Vec<Option<SignedBinding>>,
    /// The facts of each report that was new, in order.
    pub(crate) reports: Vec<(u64, Facts)>,
    /// A report that is never taken.
    pub(crate) poison: Option<u64>,
    pub(crate) challenges: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Signed<ChallengeRequest>,
    /// When it was first asked.
    pub(crate) at_ms: u64,
    pub(crate) receipt: Option<Receipt>,
}

impl Oracle {
    pub(crate) fn new(byte: u8, clock: TestClock) -> Self {
        let (name, state) = (format!("oracle {byte}"), Mutex::default());
        Self { name, key: key(byte), parameters: parameters(), clock, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a lock")
    }

    pub(crate) fn answer(&self, ask: &Ask) -> Answer {
        let found = match ask.path.as_str() {
            "/v1/parameters" => self.hello().map(|hello| json(&hello)),
            "/v1/sessions" => self.open(&ask.body).map(|opened| json(&opened)),
            "/v1/reports" => self.reports(&ask.body).map(|taken| json(&taken)),
            "/v1/challenges" => self.challenge(&ask.body).map(|challenge| json(&challenge)),
            path => self.judge(path, &ask.body).map(|receipt| json(&receipt)),
        };
        match found {
            Ok(body) => Answer { status: 200, body },
            Err(refusal) => Answer { status: 403, body: json(&refusal) },
        }
    }

    fn hello(&self) -> Result<Hello, Refusal> {
        let parameters = self.parameters.clone();
        Ok(Hello { oracle: self.key.address(), parameters, oracle_time: self.clock.now_ms() })
    }

    fn open(&self, body: &[u8]) -> Result<SessionOpened, Refusal> {
        let mut state = self.state();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let OpenSession { session, s3, binding } = serde_json::from_slice(body).expect("a session");
        let domain = self.parameters.domain();
        session.verify(&domain, daemon().address()).expect("the daemon's");
        assert_eq!(session.message.oracleId, self.key.address());
        state.sessions.push(session.message.instance);
        state.endpoints.push(s3.and_then(|s3| s3.endpoints.into_iter().next()));
        state.bindings.push(binding);
        state.forgotten = false;
        let delivered = state.reports.last().map(|(sequence, _)| *sequence);
        Ok(SessionOpened { delivered, oracle_time: self.clock.now_ms() })
    }

    fn reports(&self, body: &[u8]) -> Result<ReportsTaken, Refusal> {
        let mut state = self.known()?;
        let DeliverReports { reports } = serde_json::from_slice(body).expect("reports");
        let poison = state.poison;
        if reports.iter().any(|report| Some(report.signed.message.sequence) == poison) {
            return Err(Refusal::Malformed { reason: "it is poison".to_owned() });
        }
        for report in reports {
            let sequence = report.signed.message.sequence;
            let domain = self.parameters.domain();
            report.signed.verify(&domain, daemon().address()).expect("the daemon's");
            let facts = report.facts().expect("what was signed");
            if state.reports.last().is_none_or(|(last, _)| sequence > *last) {
                state.reports.push((sequence, facts));
            }
        }
        let (delivered, _) = state.reports.last().expect("a report");
        Ok(ReportsTaken { delivered: *delivered })
    }

    fn challenge(&self, body: &[u8]) -> Result<Challenge, Refusal> {
        let mut state = self.known()?;
        let request: Signed<ChallengeRequest> = serde_json::from_slice(body).expect("a request");
        let domain = self.parameters.domain();
        request.verify(&domain, daemon().address()).expect("the daemon's");
        let now = self.parameters.era_at(self.clock.now_ms()).expect("an era");
        let asked = Era(request.message.era);
        if asked != now {
            return Err(Refusal::WrongEra { asked, now });
        }
        let digest = request.digest(&domain);
        let at_ms = self.clock.now_ms();
        let fresh = || Asked { request, at_ms, receipt: None };
        let known = state.challenges.entry(asked.0).or_insert_with(fresh);
        if known.request.digest(&domain) != digest {
            return Err(Refusal::Replayed);
        }
        let beacon = self.beacon(&digest);
        Ok(Challenge { request: digest, beacon, answer_within_ms: ANSWER_WITHIN_MS })
    }

    fn judge(&self, path: &str, body: &[u8]) -> Result<Receipt, Refusal> {
        let mut state = self.known()?;
        let ChallengeAnswer { samples } = serde_json::from_slice(body).expect("an answer");
        let domain = self.parameters.domain();
        let named = path.strip_prefix("/v1/challenges/").expect("a challenge");
        let digest: B256 = named.parse().expect("a digest");
        let mut all = state.challenges.values_mut();
        let asked = all.find(|asked| asked.request.digest(&domain) == digest).expect("asked");
        if let Some(receipt) = &asked.receipt {
            return Ok(receipt.clone());
        }
        let ChallengeRequest { era, totalBytes, .. } = asked.request.message;
        let questions = positions(&self.beacon(&digest), self.parameters.samples, totalBytes);
        assert_eq!(samples.len(), questions.len(), "one for each question");
        let mut reasons = Vec::new();
        for (position, sample) in questions.iter().zip(samples) {
            match sample {
                Sample::Proven { member, slice } => {
                    assert_eq!((member, slice), (era.to_string(), position.to_string()));
                }
                other => reasons.push(format!("{other:?}")),
            }
        }
        let receipt = self.receipt(digest, if reasons.is_empty() { PASSED } else { FAILED });
        let receipt = Receipt { receipt, reasons };
        asked.receipt = Some(receipt.clone());
        Ok(receipt)
    }

    pub(crate) fn receipt(&self, request: B256, result: u8) -> Signed<ChallengeReceipt> {
        let message = ChallengeReceipt {
            requestHash: request,
            beacon: self.beacon(&request),
            result,
            latencyUs: 800,
            bytesPerSecond: 0,
            oracleTime: self.clock.now_ms(),
        };
        Signed::new(message, &self.parameters.domain(), &self.key).expect("signed")
    }

    fn beacon(&self, request: &B256) -> B256 {
        keccak256([request.as_slice(), self.key.address().as_slice()].concat())
    }

    fn known(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let state = self.state();
        match &state.refusal {
            Some(refusal) => Err(refusal.clone()),
            None if state.forgotten || state.sessions.is_empty() => Err(Refusal::NoSession),
            None => Ok(state),
        }
    }
}

fn json(value: &impl Serialize) -> bytes::Bytes {
    serde_json::to_vec(value).expect("JSON").into()
}

/// Changes an answer of an oracle to what it was asked.
type Change = Box<dyn Fn(&Oracle, &Ask, Answer) -> Answer + Send>;

/// What happens to a request.
pub(crate) enum Fault {
    None,
    /// It does not arrive.
    LoseRequest,
    /// It arrives, but its answer does not.
    LoseAnswer,
    /// It arrives twice; the second answer counts.
    Twice,
    /// The answer takes so long.
    Slow(Duration),
    /// The answer is changed.
    Alter(Change),
}

/// An oracle with faults before it: the first of them for the next request whose path fits, and so on.
pub(crate) struct Faulty {
    pub(crate) oracle: Oracle,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    /// Every request fails.
    pub(crate) down: Mutex<bool>,
}

impl Faulty {
    pub(crate) fn new(oracle: Oracle) -> Self {
        Self { oracle, faults: Mutex::default(), down: Mutex::new(false) }
    }

    /// The next request whose path begins with `path` has this fault.
    pub(crate) fn next(&self, path: &'static str, fault: Fault) {
        self.faults.lock().expect("a lock").push_back((path, fault));
    }

    pub(crate) fn set_down(&self, down: bool) {
        *self.down.lock().expect("a lock") = down;
    }

    fn fault(&self, ask: &Ask) -> Fault {
        let mut faults = self.faults.lock().expect("a lock");
        let fits = |(path, _): &(&str, Fault)| ask.path.starts_with(*path);
        let at = faults.iter().position(fits);
        at.and_then(|at| faults.remove(at)).map_or(Fault::None, |(_, fault)| fault)
    }
}

#[async_trait]
impl Exchange for Faulty {
    async fn ask(&self, ask: Ask) -> Result<Answer, ExchangeError> {
        let lost = || {
            let (url, why) = ("https://oracle.example".to_owned(), "it was lost".to_owned());
            Err(ExchangeError::Failed { step: "ask", url, why })
        };
        // A moment on the way, so that tasks take turns.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if *self.down.lock().expect("a lock") {
            return lost();
        }
        let fault = self.fault(&ask);
        match fault {
            Fault::None => Ok(self.oracle.answer(&ask)),
            Fault::LoseRequest => lost(),
            Fault::LoseAnswer => {
                self.oracle.answer(&ask);
                lost()
            }
            Fault::Twice => {
                self.oracle.answer(&ask);
                Ok(self.oracle.answer(&ask))
            }
            Fault::Slow(wait) => {
                tokio::time::sleep(wait).await;
                Ok(self.oracle.answer(&ask))
            }
            Fault::Alter(alter) => Ok(alter(&self.oracle, &ask, self.oracle.answer(&ask))),
        }
    }
}
