//! The node's side against an oracle in the same process, with faults between them and time that is
//! told.

mod challenges;
mod delivery;
mod oracle;
mod refusals;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_proofs::member::Commitment;
use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use self::oracle::{Faulty, Oracle};
use crate::clock::Clock;
use crate::config::{Peer, SlaConfig};
use crate::core::{Core, Parts};
use crate::local::Local;
use crate::protocol::key::SigningKey;
use crate::protocol::messages::{S3Access, Sample};
use crate::protocol::parameters::{Era, Parameters, example};
use crate::protocol::settled::SignedBinding;
use crate::protocol::{Address, B256};
use crate::run::{SlaError, Ways, run_with};
use crate::spool::Owner;
use crate::status::SlaStatus;
use crate::view::{HealthView, NodeView};

/// The clock of a test: what it began at, and the time that tokio tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TestClock {
    began: Instant,
    at_ms: u64,
}

impl TestClock {
    /// At the beginning of era 10 of the example's parameters.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), at_ms: example().begin_ms(Era(10)) }
    }

    pub(crate) fn ahead(self, ms: u64) -> Self {
        Self { at_ms: self.at_ms + ms, ..self }
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        let gone = Instant::now().saturating_duration_since(self.began);
        self.at_ms + u64::try_from(gone.as_millis()).expect("a short test")
    }
}

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key")
}

/// The daemon key of the node.
pub(crate) fn daemon() -> SigningKey {
    key(0x42)
}

/// A node that stores `bytes`, and proves with the number of the byte and its era.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) bytes: u64,
    /// Cuts that were made.
    pub(crate) cuts: Mutex<Vec<Era>>,
    /// Bytes that cannot be proven.
    pub(crate) lost: Option<u64>,
    /// How many cuts fail before one does not.
    pub(crate) failing: Mutex<usize>,
    /// How its S3 is reached.
    pub(crate) s3: Mutex<Option<S3Access>>,
    /// Whose it is.
    pub(crate) binding: Mutex<Option<SignedBinding>>,
}

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
        self.s3.lock().expect("a lock").clone()
    }

    fn binding(&self) -> Option<SignedBinding> {
        self.binding.lock().expect("a lock").clone()
    }

    async fn cut(&self, era: Era, _: Era) -> Result<Commitment, String> {
        let mut failing = self.failing.lock().expect("a lock");
        if *failing > 0 {
            *failing -= 1;
            return Err("the store is closed".to_owned());
        }
        self.cuts.lock().expect("a lock").push(era);
        let count = u64::from(self.bytes > 0);
        Ok(Commitment { root: [7; 32], count, bytes: self.bytes })
    }

    async fn prove(&self, era: Era, position: u64) -> Result<Sample, String> {
        // The later, the sooner it is done: an order that is kept is no accident.
        tokio::time::sleep(Duration::from_millis(1_000 - position % 1_000)).await;
        if self.lost == Some(position) {
            return Err("it is gone".to_owned());
        }
        Ok(Sample::Proven { member: era.to_string(), slice: position.to_string() })
    }
}

/// A node's SLA that runs, until it is dropped, as by a crash.
pub(crate) struct Running {
    pub(crate) status: watch::Receiver<SlaStatus>,
    pub(crate) urgent: Arc<Notify>,
    pub(crate) cancel: CancellationToken,
    task: JoinHandle<Result<(), SlaError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// The status once it fits, which it must within `within`.
    pub(crate) async fn until(
        &mut self,
        within: Duration,
        mut fits: impl FnMut(&SlaStatus) -> bool,
    ) -> SlaStatus {
        let last = self.status.clone();
        let begun = |status: &SlaStatus| !status.peers.is_empty() && fits(status);
        match tokio::time::timeout(within, self.status.wait_for(begun)).await {
            Ok(found) => found.expect("it runs").clone(),
            Err(_) => panic!("not within {within:?}: {:#?}", last.borrow()),
        }
    }

    /// Ends as it does when it is told to.
    pub(crate) async fn stop(mut self) -> Result<(), SlaError> {
        self.cancel.cancel();
        (&mut self.task).await.expect("no panic")
    }
}

/// What a test changes of a node.
pub(crate) struct Setup {
    pub(crate) node: Arc<Node>,
    pub(crate) clock: TestClock,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) instance: u8,
    pub(crate) report_every: Duration,
    pub(crate) parameters: Parameters,
}

impl Setup {
    pub(crate) fn new(clock: TestClock) -> Self {
        let node = Arc::new(Node { bytes: 100_000, ..Node::default() });
        let report_every = Duration::from_secs(60);
        Self { node, clock, folder: None, instance: 1, report_every, parameters: parameters() }
    }

    pub(crate) fn start(&self, oracles: &[Arc<Faulty>]) -> Running {
        // Nobody drops what says where the folder is.
        let (sender, folder) = watch::channel(self.folder.clone());
        let running = self.start_at(oracles, folder);
        tokio::spawn(async move {
            sender.closed().await;
        });
        running
    }

    pub(crate) fn start_at(
        &self,
        oracles: &[Arc<Faulty>],
        folder: watch::Receiver<Option<PathBuf>>,
    ) -> Running {
        let peer = |faulty: &Arc<Faulty>| Peer {
            name: faulty.oracle.name.clone(),
            url: "https://oracle.example".to_owned(),
            address: faulty.oracle.key.address(),
            certificate: B256::ZERO,
        };
        let config = SlaConfig {
            parameters: self.parameters.clone(),
            oracles: oracles.iter().map(peer).collect(),
            stores: Vec::new(),
            report_every: self.report_every,
            node_id: B256::repeat_byte(9),
            dispute_eras: 100,
            software: "test".to_owned(),
        };
        config.check().expect("it can be used");
        let (status, told) = watch::channel(SlaStatus::default());
        let owner = Owner { node: config.node_id, daemon: daemon().address() };
        let core = Arc::new(Core::new(Parts {
            config,
            key: daemon(),
            clock: Arc::new(self.clock),
            local: Local::new(owner),
            node: Arc::clone(&self.node) as Arc<dyn NodeView>,
            status,
            instance: B256::repeat_byte(self.instance),
            certificate: B256::repeat_byte(self.instance),
        }));
        let way = |faulty: &Arc<Faulty>| Ways {
            session: Arc::clone(faulty) as _,
            challenges: Arc::clone(faulty) as _,
        };
        let ways = oracles.iter().map(way).collect();
        let (urgent, cancel) = (Arc::new(Notify::new()), CancellationToken::new());
        let task = run_with(core, ways, folder, Arc::clone(&urgent), cancel.clone());
        Running { status: told, urgent, cancel, task: tokio::spawn(task) }
    }
}

/// Parameters with the keys 1 to 3 as oracles.
pub(crate) fn parameters() -> Parameters {
    Parameters { oracles: [1, 2, 3].map(|byte| key(byte).address()).into(), ..example() }
}

/// An oracle with the key 1 to 3, with nothing wrong between it and the node.
pub(crate) fn oracle(byte: u8, clock: TestClock) -> Arc<Faulty> {
    Arc::new(Faulty::new(Oracle::new(byte, clock)))
}
