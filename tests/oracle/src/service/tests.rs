//! Every refusal, and what stays after a restart.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::{ChallengeAnswer, DeliverReports, Receipt, Sample};
use agent_sla::protocol::signed::{ChallengeRequest, FAILED, PASSED};
use zeroize::Zeroizing;

use super::*;
use crate::client::{Party, Target, healthy};
use crate::record::{Canary, Check, Work};
use crate::setup::Admitted;
use crate::store::Store;

mod closing;
mod reports;
mod sessions;

/// Length of an era, and when the first begins, in seconds.
const ERA_SECONDS: u32 = 60;
const GENESIS: u64 = 1_000_000;

/// Samples of a challenge.
const SAMPLES: u16 = 8;

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key")
}

fn moment(era: u64, seconds: u64) -> u64 {
    (GENESIS + era * u64::from(ERA_SECONDS) + seconds) * 1000
}

/// An oracle in a folder, with a clock that stands still.
struct Bench {
    oracle: Arc<Oracle>,
    clock: Arc<AtomicU64>,
    target: Target,
}

impl Bench {
    fn open(folder: &Path) -> Self {
        Self::with(folder, Role::Oracle, moment(1, 10))
    }

    fn with(folder: &Path, role: Role, now: u64) -> Self {
        let identity = Identity::open(&folder.join("key")).expect("a key");
        let (oracle, certificate) = (identity.key.address(), identity.fingerprint());
        let parameters = Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis: GENESIS,
            era_seconds: ERA_SECONDS,
            samples: SAMPLES,
            oracles: [oracle].into(),
        };
        let admit = folder.join("admit");
        let list: Vec<_> = (1..10).map(|byte| key(byte).address().to_string()).collect();
        std::fs::write(&admit, list.join("\n")).expect("written");
        let clock = Arc::new(AtomicU64::new(now));
        let config = Config {
            parameters: parameters.clone(),
            identity,
            admitted: Admitted::open(&admit).expect("a list"),
            role,
            clock: Clock::Set(Arc::clone(&clock)),
            fault: Fault::None,
            reports_max: 1 << 30,
        };
        let at = ([127, 0, 0, 1], 1).into();
        let target = Target { at, certificate, oracle, parameters };
        let oracle = Oracle::start(config, &folder.join("data")).expect("an oracle");
        Self { oracle, clock, target }
    }

    fn set(&self, now: u64) {
        self.clock.store(now, Ordering::SeqCst);
    }

    /// Opens a session of a party and says who speaks.
    async fn enter(&self, party: &Party) -> Speaker {
        let asked = party.session(&self.target, self.oracle.now_ms(), None).expect("signed");
        let peer = peer(party);
        self.oracle.open_session(peer, asked).await.expect("a session");
        self.oracle.speaker(peer).await.expect("a speaker")
    }

    fn request(&self, party: &Party, era: u64, nonce: u8) -> Signed<ChallengeRequest> {
        let stored = Store::new(1).request();
        party.request(&self.target, Era(era), B256::repeat_byte(nonce), stored).expect("signed")
    }

    /// Goes through a whole challenge; the answer is right, or the first sample is not.
    async fn challenged(&self, party: &Party, speaker: Speaker, is_right: bool) -> Receipt {
        let era = self.oracle.era().expect("an era").0;
        let asked = self.request(party, era, 1);
        let challenge = self.oracle.challenge(speaker, asked).await.expect("a challenge");
        let mut samples = Store::new(1).answer(&challenge.beacon, SAMPLES);
        if !is_right {
            samples[0] = Sample::Failed { reason: "lost".to_owned() };
        }
        let answer = ChallengeAnswer { samples };
        self.oracle.answer(speaker, challenge.request, answer).await.expect("a receipt")
    }
}

fn party(byte: u8) -> Party {
    Party::new(key(byte), B256::repeat_byte(byte), B256::repeat_byte(byte)).expect("a party")
}

/// Where a party speaks from: each from another port.
fn peer(party: &Party) -> Peer {
    let [port, ..] = party.instance.0;
    let address: SocketAddr = ([192, 0, 2, 1], u16::from(port)).into();
    Peer { address, certificate: Some(party.fingerprint()) }
}

fn passed_check(micros: u64) -> Check {
    let canary = Canary { era: 1, number: 0 };
    Check { work: Work::Small, canary, passed: true, micros, bytes: 4096, why: None }
}

#[tokio::test]
async fn a_challenge_is_passed_or_failed_and_its_receipt_given_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    for (byte, is_right, result) in [(1, true, PASSED), (2, false, FAILED)] {
        let one = party(byte);
        let speaker = bench.enter(&one).await;
        let receipt = bench.challenged(&one, speaker, is_right).await;
        let message = &receipt.receipt.message;
        assert_eq!((message.result, receipt.reasons.is_empty()), (result, is_right));
        let domain = bench.target.parameters.domain();
        assert_eq!(receipt.receipt.verify(&domain, bench.target.oracle), Ok(()));
        assert_eq!(message.requestHash, bench.request(&one, 1, 1).digest(&domain));
        bench.set(moment(1, 20));
        assert_eq!(bench.challenged(&one, speaker, is_right).await, receipt, "the same request");
        let other = bench.oracle.challenge(speaker, bench.request(&one, 1, 2)).await;
        assert_eq!(other, Err(Refusal::Replayed));
        bench.set(moment(1, 10));
    }
}

#[tokio::test]
async fn requests_that_are_not_for_this_oracle_node_era_or_network_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    let ask = async |target: &Target, era: u64, by: &Party| {
        let stored = Store::new(1).request();
        let asked = by.request(target, Era(era), B256::ZERO, stored).expect("signed");
        bench.oracle.challenge(speaker, asked).await
    };
    let early = ask(&bench.target, 0, &one).await;
    assert_eq!(early, Err(Refusal::WrongEra { asked: Era(0), now: Era(1) }));
    let late = ask(&bench.target, 2, &one).await;
    assert_eq!(late, Err(Refusal::WrongEra { asked: Era(2), now: Era(1) }));
    let other = Target { oracle: Address::ZERO, ..bench.target.clone() };
    assert!(matches!(ask(&other, 1, &one).await, Err(Refusal::Malformed { .. })));
    let mut other = bench.target.clone();
    other.parameters.samples += 1;
    assert_eq!(ask(&other, 1, &one).await, Err(Refusal::OtherParameters));
    let node = ask(&bench.target, 1, &party(2)).await;
    assert!(matches!(node, Err(Refusal::Malformed { .. })), "{node:?}");
    let thief = Party::new(key(2), one.node, one.instance).expect("a party");
    let signed = ask(&bench.target, 1, &thief).await;
    assert!(matches!(signed, Err(Refusal::BadSignature { .. })), "{signed:?}");
    assert!(ask(&bench.target, 1, &one).await.is_ok());
}

#[tokio::test]
async fn an_answer_is_taken_in_time_whole_and_for_an_open_challenge() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    let none = ChallengeAnswer { samples: Vec::new() };
    let unknown = bench.oracle.answer(speaker, B256::ZERO, none.clone()).await;
    assert!(matches!(unknown, Err(Refusal::Malformed { .. })), "{unknown:?}");
    let asked = bench.request(&one, 1, 1);
    let challenge = bench.oracle.challenge(speaker, asked).await.expect("a challenge");
    assert_eq!(challenge.answer_within_ms, 30_000);
    let few = bench.oracle.answer(speaker, challenge.request, none).await;
    assert!(matches!(few, Err(Refusal::Malformed { .. })), "{few:?}");
    let samples = Store::new(1).answer(&challenge.beacon, SAMPLES);
    let answer = ChallengeAnswer { samples };
    bench.set(moment(1, 40) + 1);
    let late = bench.oracle.answer(speaker, challenge.request, answer.clone()).await;
    assert_eq!(late, Err(Refusal::TooLate));
    bench.set(moment(1, 40));
    assert!(bench.oracle.answer(speaker, challenge.request, answer).await.is_ok());
}

#[tokio::test]
async fn a_challenge_goes_on_after_a_restart_with_the_same_questions() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    let asked = bench.request(&one, 1, 1);
    let before = bench.oracle.challenge(speaker, asked.clone()).await.expect("a challenge");
    drop(bench);
    // The oracle was away for longer than the node had.
    let bench = Bench::with(dir.path(), Role::Oracle, moment(1, 50));
    let closed = bench.oracle.speaker(peer(&one)).await;
    assert_eq!(closed, Err(Refusal::NoSession));
    let speaker = bench.enter(&one).await;
    let after = bench.oracle.challenge(speaker, asked).await.expect("a challenge");
    assert_eq!(after.beacon, before.beacon);
    assert!(after.answer_within_ms > 10_000, "{}", after.answer_within_ms);
    assert_eq!(bench.challenged(&one, speaker, true).await.receipt.message.result, PASSED);
}

#[tokio::test]
async fn a_receipt_has_what_was_read_since_the_one_before() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    for micros in [100, 300, 200] {
        bench.oracle.checked(Era(1), one.node, passed_check(micros)).await.expect("counted");
    }
    assert_eq!(bench.challenged(&one, speaker, true).await.receipt.message.latencyUs, 200);
    bench.set(moment(2, 1));
    bench.oracle.checked(Era(2), one.node, passed_check(900)).await.expect("counted");
    assert_eq!(bench.challenged(&one, speaker, true).await.receipt.message.latencyUs, 900);
}

#[tokio::test]
async fn a_node_has_few_requests_at_once_and_others_have_theirs() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let (one, two) = (bench.enter(&party(1)).await, bench.enter(&party(2)).await);
    let rooms: Vec<_> = (0..crate::state::ROOMS).map(|_| bench.oracle.room(&one)).collect();
    assert!(rooms.iter().all(Result::is_ok));
    assert!(matches!(bench.oracle.room(&one), Err(Refusal::Busy { .. })));
    assert!(bench.oracle.room(&two).is_ok());
    drop(rooms);
    assert!(bench.oracle.room(&one).is_ok());
}

#[test]
fn an_answer_has_half_an_era_and_ends_before_the_votes() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let parameters = runtime.block_on(async { Bench::open(dir.path()).target.parameters });
    for era_seconds in [20, 60, 3600, 86_400] {
        let parameters = Parameters { era_seconds, ..parameters.clone() };
        let votes = parameters.begin_ms(Era(2)) + grace_ms(&parameters);
        for at in [parameters.begin_ms(Era(1)), parameters.begin_ms(Era(2)) - 1] {
            let until = deadline(&parameters, Era(1), at);
            assert!(
                until > at && until + 2_000 <= votes,
                "{era_seconds}: {at} to {until}, {votes}"
            );
        }
    }
}
