//! The node's own side of the SLA against this oracle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_proofs::member::Commitment;
use agent_sla::config::{Peer, SlaConfig};
use agent_sla::protocol::messages::{S3Access, Sample};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{Address, B256};
use agent_sla::status::{LinkState, PeerStatus, SlaStatus};
use agent_sla::{HealthView, NodeView, run};
use async_trait::async_trait;
use reference_oracle::client::Target;
use reference_oracle::fault::Fault;
use reference_oracle::proxy::{Mode, Proxy};
use reference_oracle::service::Oracle;
use reference_oracle::store::Store;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{Bench, key};
use crate::tenant::{Service, Wrong};

/// Longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(100);

/// A node with a small store.
struct View {
    store: Store,
    s3: Option<S3Access>,
}

#[async_trait]
impl NodeView for View {
    async fn health(&self) -> HealthView {
        HealthView {
            state: "serving".to_owned(),
            uptime_seconds: 1,
            clock_synchronised: None,
            capacity: None,
            verdicts: Vec::new(),
            readings: Vec::new(),
        }
    }

    fn s3_access(&self, _: Address) -> Option<S3Access> {
        self.s3.clone()
    }

    async fn cut(&self, _: Era, _: Era) -> Result<Commitment, String> {
        Ok(self.store.commitment)
    }

    async fn prove(&self, _: Era, position: u64) -> Result<Sample, String> {
        Ok(self.store.sample(position))
    }
}

/// A running process of a node; it ends when dropped.
struct Process {
    status: watch::Receiver<SlaStatus>,
    urgent: Arc<Notify>,
    _folder: watch::Sender<Option<std::path::PathBuf>>,
    _ends: DropGuard,
}

impl Process {
    fn start(folder: &Path, target: &Target, s3: Option<S3Access>) -> Self {
        Self::of(1, folder, target, s3)
    }

    /// One of the node with this key.
    fn of(daemon: u8, folder: &Path, target: &Target, s3: Option<S3Access>) -> Self {
        let config = SlaConfig {
            parameters: target.parameters.clone(),
            oracles: vec![Peer {
                name: "one".to_owned(),
                url: format!("https://{}", target.at),
                address: target.oracle,
                certificate: target.certificate,
            }],
            stores: Vec::new(),
            report_every: Duration::from_secs(5),
            node_id: B256::repeat_byte(daemon),
            dispute_eras: 10,
            software: "test".to_owned(),
        };
        std::fs::create_dir_all(folder).expect("made");
        let (told, folder) = watch::channel(Some(folder.to_owned()));
        let (sender, status) = watch::channel(SlaStatus::default());
        let (urgent, cancel) = (Arc::new(Notify::new()), CancellationToken::new());
        let view = Arc::new(View { store: Store::new(1), s3 });
        let (notified, ends) = (Arc::clone(&urgent), cancel.clone().drop_guard());
        tokio::spawn(run(config, key(daemon), folder, view, notified, sender, cancel));
        Self { status, urgent, _folder: told, _ends: ends }
    }

    /// Waits until the oracle is seen so.
    async fn sees(&mut self, what: &str, is_so: impl Fn(&PeerStatus) -> bool) -> PeerStatus {
        let wanted = |status: &SlaStatus| status.peers.first().is_some_and(&is_so);
        let is_there = matches!(timeout(PATIENCE, self.status.wait_for(wanted)).await, Ok(Ok(_)));
        let status = self.status.borrow().clone();
        assert!(is_there, "{what}: {status:?}");
        status.peers[0].clone()
    }
}

/// Numbers of the reports in the oracle's log, in their order.
fn kept(oracle: &Oracle) -> Vec<u64> {
    let (log, mut found) = (oracle.reports().log(), Vec::new());
    for file in log.files().expect("files") {
        log.read(file, |_, payload| {
            let stored: reference_oracle::reports::Stored =
                serde_json::from_slice(payload).expect("a report");
            found.push(stored.report.signed.message.sequence);
        })
        .expect("read");
    }
    found
}

fn has_receipt(peer: &PeerStatus) -> bool {
    peer.receipt.as_ref().is_some_and(|receipt| receipt.passed)
}

#[tokio::test]
async fn it_reports_is_challenged_and_written_to() {
    let (dir, service) =
        (tempfile::tempdir().expect("a folder"), Service::start(Wrong::Nothing, true).await);
    let bench = Bench::live(dir.path(), Fault::None, 0).await;
    let cancel = CancellationToken::new();
    let _ends = cancel.clone().drop_guard();
    tokio::spawn(reference_oracle::canary::run(Arc::clone(&bench.oracle), 4, cancel));
    let access = Some(service.access.clone());
    let mut node = Process::start(&dir.path().join("node"), &bench.target, access);
    let peer = node.sees("a receipt", |peer| has_receipt(peer) && peer.delivered.is_some()).await;
    assert!(matches!(peer.link, LinkState::InSession { .. }), "{peer:?}");
    bench
        .until("canaries are read", |oracle| {
            let state = oracle.state();
            let mut tallies =
                state.books.values().filter_map(|b| b.nodes.get(&B256::repeat_byte(1)));
            tallies.any(|tally| tally.readings.medians().0 > 0)
        })
        .await;
}

#[tokio::test]
async fn each_report_comes_once_over_a_way_that_breaks_and_a_process_that_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::live(dir.path(), Fault::Twice, 0).await;
    let proxy = Proxy::start(bench.target.at).await.expect("a proxy");
    let through = Target { at: proxy.at, ..bench.target.clone() };
    let (mut last, mut taken) = (None, Vec::new());
    for mode in [Mode::AnswersLost, Mode::Down, Mode::Pass] {
        let mut node = Process::start(&dir.path().join("node"), &through, None);
        let newer = move |peer: &PeerStatus| peer.delivered > last;
        last = node.sees("a report", newer).await.delivered;
        proxy.set(mode);
        node.urgent.notify_one();
        let sequence = |status: &SlaStatus| status.report.as_ref().map(|report| report.sequence);
        let newer = node.status.wait_for(|status| sequence(status) > last);
        let status = timeout(PATIENCE, newer).await.expect("in time").expect("it runs").clone();
        taken.extend(sequence(&status));
        drop(node);
        proxy.set(Mode::Pass);
    }
    let mut node = Process::start(&dir.path().join("node"), &through, None);
    let newest = taken.last().copied();
    node.sees("all", |peer| peer.pending == 0 && peer.delivered >= newest).await;
    let kept = kept(&bench.oracle);
    assert!(kept.is_sorted_by(|one, next| one < next), "{kept:?}");
    assert_eq!(taken.len(), 3);
    assert!(taken.iter().all(|sequence| kept.contains(sequence)), "{taken:?} in {kept:?}");
}

#[tokio::test]
async fn a_restarted_node_keeps_its_receipt_and_passes_the_next_era() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::live(dir.path(), Fault::None, 0).await;
    let mut node = Process::start(&dir.path().join("node"), &bench.target, None);
    let first = node.sees("a receipt", has_receipt).await.receipt.map(|receipt| receipt.era);
    drop(node);
    let mut node = Process::start(&dir.path().join("node"), &bench.target, None);
    let is_next = move |peer: &PeerStatus| {
        has_receipt(peer) && peer.receipt.as_ref().map(|receipt| receipt.era) > first
    };
    let peer = node.sees("the next receipt", is_next).await;
    assert_eq!((peer.missed_eras, peer.refused_receipts), (0, 0), "{peer:?}");
}

#[tokio::test]
async fn who_is_on_no_list_sees_the_address_to_register() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::live(dir.path(), Fault::None, 0).await;
    let mut node = Process::of(99, &dir.path().join("node"), &bench.target, None);
    let daemon = key(99).address();
    let is_told = move |peer: &PeerStatus| peer.link == LinkState::NotAdmitted { daemon };
    node.sees("not admitted", is_told).await;
}

#[tokio::test]
async fn wrong_receipts_are_refused() {
    for fault in [Fault::WrongSignature, Fault::OtherNode] {
        let dir = tempfile::tempdir().expect("a folder");
        let bench = Bench::live(dir.path(), fault, 0).await;
        let mut node = Process::start(&dir.path().join("node"), &bench.target, None);
        let peer = node.sees("a refused receipt", |peer| peer.refused_receipts > 0).await;
        assert_eq!(peer.receipt, None, "{fault:?}");
    }
}

#[tokio::test]
async fn another_clock_and_another_certificate_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::live(dir.path(), Fault::None, 600_000).await;
    let mut node = Process::start(&dir.path().join("node"), &bench.target, None);
    let is_skew = |peer: &PeerStatus| matches!(peer.link, LinkState::ClockSkew { .. });
    let LinkState::ClockSkew { ms } = node.sees("the skew", is_skew).await.link else { panic!() };
    assert!((-660_000..-540_000).contains(&ms), "{ms}");
    drop(node);
    let other = Target { certificate: B256::ZERO, ..bench.target.clone() };
    let mut node = Process::start(&dir.path().join("node"), &other, None);
    let is_other = |peer: &PeerStatus| matches!(peer.link, LinkState::WrongCertificate { .. });
    node.sees("the certificate", is_other).await;
}

#[tokio::test]
async fn two_processes_with_one_key_both_see_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::live(dir.path(), Fault::None, 0).await;
    let in_session = |peer: &PeerStatus| matches!(peer.link, LinkState::InSession { .. });
    let is_conflict = |peer: &PeerStatus| matches!(peer.link, LinkState::Conflict { .. });
    let mut first = Process::start(&dir.path().join("first"), &bench.target, None);
    first.sees("a session", in_session).await;
    let mut second = Process::start(&dir.path().join("second"), &bench.target, None);
    second
        .sees("a session, or the conflict", move |peer| in_session(peer) || is_conflict(peer))
        .await;
    first.sees("the conflict", is_conflict).await;
    second.sees("the conflict", is_conflict).await;
}
