//! The node's side of the SLA against this oracle, as both are in use.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_proofs::member::Commitment;
use agent_sla::config::Peer;
use agent_sla::protocol::messages::{S3Access, Sample};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{Address, B256};
use agent_sla::status::{Kept, LinkState};
use agent_sla::{HealthView, NodeView, SlaConfig, SlaStatus};
use async_trait::async_trait;
use reference_oracle::store::Store;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{Bench, key};

/// Longer than an era and all that is waited for in one, also on a machine that does much else.
const LONG: Duration = Duration::from_secs(120);

struct Node(Store);

#[async_trait]
impl NodeView for Node {
    async fn health(&self) -> HealthView {
        HealthView {
            state: "ready".to_owned(),
            uptime_seconds: 1,
            clock_synchronised: None,
            capacity: None,
            verdicts: Vec::new(),
            readings: Vec::new(),
        }
    }

    fn s3_access(&self, _: Address) -> Option<S3Access> {
        None
    }

    async fn cut(&self, _: Era, _: Era) -> Result<Commitment, String> {
        Ok(self.0.commitment)
    }

    async fn prove(&self, _: Era, position: u64) -> Result<Sample, String> {
        Ok(self.0.sample(position))
    }
}

/// A node's SLA that runs until it is dropped.
struct Running {
    status: watch::Receiver<SlaStatus>,
    _folder: watch::Sender<Option<std::path::PathBuf>>,
    _ends: DropGuard,
}

impl Running {
    fn start(bench: &Bench, daemon: u8, certificate: B256, folder: &Path) -> Self {
        let target = &bench.target;
        let oracle = Peer {
            name: "reference".to_owned(),
            url: format!("https://{}", target.at),
            address: target.oracle,
            certificate,
        };
        let config = SlaConfig {
            parameters: target.parameters.clone(),
            oracles: vec![oracle],
            stores: Vec::new(),
            report_every: Duration::from_secs(5),
            node_id: B256::repeat_byte(daemon),
            dispute_eras: 100,
            software: "test".to_owned(),
        };
        let (sender, folder) = watch::channel(Some(folder.to_owned()));
        let (status, told) = watch::channel(SlaStatus::default());
        let cancel = CancellationToken::new();
        let node = Arc::new(Node(Store::new(1)));
        let urgent = Arc::new(Notify::new());
        let running =
            agent_sla::run(config, key(daemon), folder, node, urgent, status, cancel.clone());
        tokio::spawn(async move { running.await.expect("it ends when it is told to") });
        Self { status: told, _folder: sender, _ends: cancel.drop_guard() }
    }

    async fn until(&mut self, mut fits: impl FnMut(&SlaStatus) -> bool) -> SlaStatus {
        let last = self.status.clone();
        let begun = |status: &SlaStatus| !status.peers.is_empty() && fits(status);
        match tokio::time::timeout(LONG, self.status.wait_for(begun)).await {
            Ok(found) => found.expect("it runs").clone(),
            Err(_) => panic!("not within {LONG:?}: {:#?}", last.borrow()),
        }
    }
}

/// An oracle with the clock of this machine.
async fn bench(folder: &Path) -> Arc<Bench> {
    let bench = Arc::new(Bench::open(folder).await);
    let set = Arc::clone(&bench);
    let tick = move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        set.set(u64::try_from(since.as_millis()).expect("it fits"));
    };
    tick();
    tokio::spawn(async move {
        loop {
            tick();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_delivers_passes_its_challenges_and_goes_on_after_a_restart() {
    let (ours, theirs) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let bench = bench(theirs.path()).await;
    let pinned = bench.target.certificate;
    let passed = |status: &SlaStatus| {
        let peer = &status.peers[0];
        peer.delivered.is_some() && peer.receipt.as_ref().is_some_and(|receipt| receipt.passed)
    };
    let mut first = Running::start(&bench, 1, pinned, ours.path());
    let before = first.until(passed).await;
    assert!(matches!(before.peers[0].link, LinkState::InSession { .. }), "{before:#?}");
    assert_eq!((before.spool.kept, before.peers[0].refused_receipts), (Kept::OnDisk, 0));
    drop(first);
    let mut second = Running::start(&bench, 1, pinned, ours.path());
    let last = before.peers[0].delivered;
    let era = before.peers[0].receipt.as_ref().map(|receipt| receipt.era);
    let after = second
        .until(|status| {
            let peer = &status.peers[0];
            peer.delivered > last
                && peer.pending == 0
                && peer.receipt.as_ref().map(|receipt| receipt.era) > era
        })
        .await;
    assert!(passed(&after) && after.spool.reports >= 2, "{after:#?}");
    assert!(matches!(after.peers[0].link, LinkState::InSession { .. }), "{after:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_oracle_does_not_admit_or_is_not_is_shown() {
    let (ours, theirs) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let bench = bench(theirs.path()).await;
    let mut stranger = Running::start(&bench, 99, bench.target.certificate, &ours.path().join("a"));
    let status = stranger
        .until(|status| matches!(status.peers[0].link, LinkState::NotAdmitted { .. }))
        .await;
    assert_eq!(status.daemon, Some(key(99).address()));
    let other = B256::repeat_byte(1);
    let mut wrong = Running::start(&bench, 1, other, &ours.path().join("b"));
    let expected = LinkState::WrongCertificate { expected: other, found: bench.target.certificate };
    wrong.until(|status| status.peers[0].link == expected).await;
}
