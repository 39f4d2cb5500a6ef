//! Starts and ends the tasks of a node's SLA.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::challenge::ChallengeTask;
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigError, SlaConfig};
use crate::core::{Core, Parts};
use crate::exchange::{Exchange, OwnCertificate, OwnCertificateError, Place, Wire};
use crate::local::Local;
use crate::peer::{Link, PeerTask};
use crate::protocol::Address;
use crate::protocol::key::SigningKey;
use crate::reporter;
use crate::spool::Owner;
use crate::status::{LinkState, PeerStatus, SlaStatus};
use crate::view::NodeView;

/// How long the first data volume is waited for before anything is reported or asked in memory alone.
const FOLDER: Duration = Duration::from_secs(60);

/// Why the SLA of a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum SlaError {
    /// It cannot go by its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It has no certificate for its sessions.
    #[error(transparent)]
    Certificate(#[from] OwnCertificateError),
    /// TLS cannot be set up.
    #[error("cannot set up TLS with {name}: {source}")]
    Tls {
        /// With whom.
        name: String,
        /// Why not.
        source: rustls::Error,
    },
    /// The kernel gives no random bytes.
    #[error("cannot draw the number of this process: {0}")]
    Random(#[from] getrandom::Error),
    /// A task ended, which none does by itself.
    #[error("a task of the SLA ended: {0}")]
    Task(String),
}

/// How a peer is reached: one way for its session and reports, one for challenges.
pub(crate) struct Ways {
    pub(crate) session: Arc<dyn Exchange>,
    pub(crate) challenges: Arc<dyn Exchange>,
}

/// Reports and has the node challenged until `cancel`.
///
/// `folder` names a folder on a data volume as long as there is one; what is there before the first is
/// kept in memory. `urgent` is notified when a verdict changed. `status` says how everything does.
///
/// # Errors
/// It cannot begin, or a task ended.
pub async fn run(
    config: SlaConfig,
    key: SigningKey,
    folder: watch::Receiver<Option<PathBuf>>,
    node: Arc<dyn NodeView>,
    urgent: Arc<Notify>,
    status: watch::Sender<SlaStatus>,
    cancel: CancellationToken,
) -> Result<(), SlaError> {
    config.check()?;
    let own = OwnCertificate::make()?;
    let way = |name: &String, url: &String, pinned: B256| -> Result<Arc<dyn Exchange>, SlaError> {
        let tls = own.client(pinned);
        let tls = tls.map_err(|source| SlaError::Tls { name: name.clone(), source })?;
        Ok(Arc::new(Wire::new(Place::of(name, url)?, tls, node.dialer())))
    };
    let mut ways = Vec::new();
    let oracles = config.oracles.iter().map(|peer| (&peer.name, &peer.url, peer.certificate));
    let stores = config.stores.iter().map(|store| (&store.name, &store.url, store.certificate));
    for (name, url, pinned) in oracles.chain(stores) {
        let (session, challenges) = (way(name, url, pinned)?, way(name, url, pinned)?);
        ways.push(Ways { session, challenges });
    }
    let mut instance = [0; 32];
    getrandom::fill(&mut instance)?;
    let owner = Owner { node: config.node_id, daemon: key.address() };
    let core = Core::new(Parts {
        config,
        key,
        clock: Arc::new(SystemClock) as Arc<dyn Clock>,
        local: Local::new(owner),
        node,
        status,
        instance: instance.into(),
        certificate: own.fingerprint(),
    });
    run_with(Arc::new(core), ways, folder, urgent, cancel).await
}

/// The same with a clock and ways to the peers: oracles first, then report stores.
pub(crate) async fn run_with(
    core: Arc<Core>,
    ways: Vec<Ways>,
    folder: watch::Receiver<Option<PathBuf>>,
    urgent: Arc<Notify>,
    cancel: CancellationToken,
) -> Result<(), SlaError> {
    let known = peers(&core.config);
    core.status.send_modify(|status| {
        let peers = known.iter().map(Known::status).collect();
        let daemon = Some(core.key.address());
        *status = SlaStatus { daemon, peers, ..SlaStatus::default() };
    });
    let cursors = Arc::new(known.iter().map(|peer| peer.cursor.clone()).collect::<Vec<_>>());
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(Arc::clone(&core), Arc::clone(&cursors), folder));
    tasks.spawn(reporter::run(Arc::clone(&core), Arc::clone(&cursors), urgent));
    let era = Arc::clone(&core);
    tasks.spawn(async move { era.keep_era().await });
    for (place, (peer, ways)) in known.into_iter().zip(ways).enumerate() {
        let link = Arc::new(Link::new());
        if let Some(oracle) = peer.oracle {
            let task = ChallengeTask {
                core: Arc::clone(&core),
                place,
                name: peer.name.clone(),
                oracle,
                client: Client::new(ways.challenges),
                link: Arc::clone(&link),
            };
            tasks.spawn(task.run());
        }
        let task = PeerTask {
            core: Arc::clone(&core),
            place,
            name: peer.name,
            cursor: peer.cursor,
            oracle: peer.oracle,
            client: Client::new(ways.session),
            link,
            peers: Arc::clone(&cursors),
        };
        tasks.spawn(task.run());
    }
    tokio::select! {
        () = cancel.cancelled() => Ok(()),
        ended = tasks.join_next() => {
            let why = match ended {
                Some(Err(error)) => error.to_string(),
                Some(Ok(())) | None => "without an error".to_owned(),
            };
            Err(SlaError::Task(why))
        }
    }
}

/// A peer, as the tasks know it.
struct Known {
    name: String,
    url: String,
    oracle: Option<Address>,
    /// What its cursor is kept by: an oracle's name may change, its address not.
    cursor: String,
}

impl Known {
    fn status(&self) -> PeerStatus {
        PeerStatus {
            name: self.name.clone(),
            url: self.url.clone(),
            address: self.oracle,
            link: LinkState::Connecting,
            clock_ahead_ms: None,
            delivered: None,
            pending: 0,
            receipt: None,
            missed_eras: 0,
            refused_receipts: 0,
        }
    }
}

fn peers(config: &SlaConfig) -> Vec<Known> {
    let oracles = config.oracles.iter().map(|peer| Known {
        name: peer.name.clone(),
        url: peer.url.clone(),
        oracle: Some(peer.address),
        cursor: peer.address.to_string(),
    });
    let stores = config.stores.iter().map(|store| Known {
        name: store.name.clone(),
        url: store.url.clone(),
        oracle: None,
        cursor: format!("store {}", store.name),
    });
    oracles.chain(stores).collect()
}

/// Follows the data volume: to it, from it, to the next.
async fn follow(
    core: Arc<Core>,
    peers: Arc<Vec<String>>,
    mut folder: watch::Receiver<Option<PathBuf>>,
) {
    // Where nobody names a folder any more, memory is all there will be.
    let first = tokio::time::timeout(FOLDER, folder.wait_for(Option::is_some)).await;
    if !matches!(first, Ok(Ok(_))) {
        info!("no data volume yet: reports and receipts are kept in memory");
    }
    drop(first);
    loop {
        let now = folder.borrow_and_update().clone();
        let (at, from) = (core.clock.now_ms(), core.disputes_from());
        if let Err(error) = core.local.move_to(now, at, from).await {
            error!(%error, "the data volume cannot be followed");
        }
        core.local.settle();
        if let Err(error) = core.refresh(Arc::clone(&peers)).await {
            error!(%error, "what waits for oracles cannot be counted");
        }
        if folder.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
