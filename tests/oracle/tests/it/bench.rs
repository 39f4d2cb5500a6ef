//! An oracle in this process, behind a port of its own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::{ChallengeAnswer, Receipt, Refusal, S3Access};
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::report::SentReport;
use agent_sla::protocol::signed::{ChallengeRequest, Signed};
use agent_sla::protocol::{Address, B256};
use reference_oracle::client::{ClientError, Connection, Party, Target, healthy};
use reference_oracle::clock::Clock;
use reference_oracle::fault::Fault;
use reference_oracle::identity::Identity;
use reference_oracle::server::{Limits, serve};
use reference_oracle::service::{Config, Oracle, Role};
use reference_oracle::setup::Admitted;
use reference_oracle::store::Store;
use reference_oracle::tls;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

pub(crate) const ERA_SECONDS: u32 = 20;
pub(crate) const GENESIS: u64 = 1_000_000;
pub(crate) const SAMPLES: u16 = 4;

/// An oracle; it ends when dropped.
pub(crate) struct Bench {
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) target: Target,
    /// What a clock that stands still shows.
    hand: Arc<AtomicU64>,
    _ends: DropGuard,
}

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key")
}

/// The first process of a node.
pub(crate) fn party(byte: u8) -> Party {
    Party::new(key(byte), B256::repeat_byte(byte), B256::repeat_byte(byte)).expect("a party")
}

/// Milliseconds since 1970, so many seconds into an era.
pub(crate) fn moment(era: u64, seconds: u64) -> u64 {
    (GENESIS + era * u64::from(ERA_SECONDS) + seconds) * 1000
}

/// Why a request was refused.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> Refusal {
    match answer {
        Err(ClientError::Refused { refusal, .. }) => refusal,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

impl Bench {
    pub(crate) async fn open(folder: &Path) -> Self {
        Self::with(folder, Fault::None, Limits::default()).await
    }

    pub(crate) async fn with(folder: &Path, fault: Fault, limits: Limits) -> Self {
        let clock = Arc::new(AtomicU64::new(moment(1, 0)));
        Self::start(folder, fault, limits, (Clock::Set(Arc::clone(&clock)), clock), GENESIS).await
    }

    /// One by the machine's clock, so many milliseconds ahead, whose first era begins now.
    pub(crate) async fn live(folder: &Path, fault: Fault, ahead_ms: i64) -> Self {
        let now = Clock::System { ahead_ms: 0 }.now_ms() / 1000;
        let clock = (Clock::System { ahead_ms }, Arc::default());
        Self::start(folder, fault, Limits::default(), clock, now).await
    }

    async fn start(
        folder: &Path,
        fault: Fault,
        limits: Limits,
        (clock, hand): (Clock, Arc<AtomicU64>),
        genesis: u64,
    ) -> Self {
        let identity = Identity::open(&folder.join("key")).expect("a key");
        let (address, certificate) = (identity.key.address(), identity.fingerprint());
        let parameters = Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis,
            era_seconds: ERA_SECONDS,
            samples: SAMPLES,
            oracles: [address].into(),
        };
        let admit = folder.join("admit");
        let list: Vec<_> = (1..10).map(|byte| key(byte).address().to_string()).collect();
        std::fs::write(&admit, list.join("\n")).expect("written");
        let tls = tls::server(&identity).expect("TLS");
        let config = Config {
            parameters: parameters.clone(),
            identity,
            admitted: Admitted::open(&admit).expect("a list"),
            role: Role::Oracle,
            clock,
            fault,
            reports_max: 1 << 30,
        };
        let oracle = Oracle::start(config, &folder.join("data")).expect("an oracle");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let cancel = CancellationToken::new();
        tokio::spawn(serve(Arc::clone(&oracle), listener, tls, limits, cancel.clone()));
        let target = Target { at, certificate, oracle: address, parameters };
        Self { oracle, target, hand, _ends: cancel.drop_guard() }
    }

    pub(crate) fn set(&self, now: u64) {
        self.hand.store(now, Ordering::SeqCst);
    }

    /// A connection of a party with a session.
    pub(crate) async fn enter(&self, one: &Party, s3: Option<S3Access>) -> Connection {
        let mut connection = one.connect(&self.target, None).await.expect("a connection");
        let asked = one.session(&self.target, self.oracle.now_ms(), s3).expect("signed");
        connection.session(&asked).await.expect("a session");
        connection
    }

    pub(crate) fn report(&self, one: &Party, sequence: u64) -> SentReport {
        let (parameters, now) = (&self.target.parameters, self.oracle.now_ms());
        one.report(parameters, sequence, now, &healthy(None), None).expect("signed")
    }

    pub(crate) fn request(&self, one: &Party, nonce: u8) -> Signed<ChallengeRequest> {
        let era = self.oracle.era().expect("an era");
        let stored = Store::new(1).request();
        one.request(&self.target, era, B256::repeat_byte(nonce), stored).expect("signed")
    }

    /// A whole challenge of the era that it is.
    pub(crate) async fn challenged(&self, one: &Party, connection: &mut Connection) -> Receipt {
        let request = self.request(one, 1);
        let asked = connection.challenge(&request).await.expect("a challenge");
        let answer = ChallengeAnswer { samples: Store::new(1).answer(&asked.beacon, SAMPLES) };
        connection.answer(&asked.request, &answer).await.expect("a receipt")
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Oracle) -> bool) {
        for _ in 0..1200 {
            if is_so(&self.oracle) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{what}: not within a minute");
    }

    /// Closes an era that is over.
    pub(crate) async fn close(&self, era: u64) -> Vec<reference_oracle::service::Vote> {
        self.set(moment(era + 1, 10));
        self.oracle.close_eras().await.expect("closed");
        let text = self.oracle.votes(Era(era), None).await.expect("votes");
        serde_json::from_str(&text).expect("a list")
    }
}
