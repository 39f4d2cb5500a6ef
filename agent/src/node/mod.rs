//! Node mode: the agent on the disks that icn-disks mounts.
//!
//! One task owns each resource, and they tell each other by watch channels:
//!
//! ```text
//! disks.sock → reports ─┬→ volumes (attach, detach) ───→ object store ─┐
//!                       │     ↑ settled            key ↗               │
//!                       └→ identity (state on volumes) → TLS, users ───┼→ S3 service
//! init.sock  → system ─────────────────────────────────────────────────┼→ status → control socket
//! hardware.sock, /sys, /proc → hardware (health, history) ──────────────┘
//! ```

mod control;
mod hardware;
mod heard;
mod identity;
mod local;
mod log_tail;
mod network;
mod pin;
mod place;
mod pool;
mod reach;
mod reports;
mod routes;
mod service;
mod settlement;
mod sla;
mod status;
mod support;
mod system;
mod volumes;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_api::control::{Reply, Request, Secret};
use agent_api::init::SystemStatus;
use agent_api::settlement::SettlementStatus;
use agent_api::status::{Credentials, S3State};
use agent_health::{read_clock, read_memory};
use agent_object_store::{Engine, ObjectStore, Usage};
use agent_s3::S3Server;
use agent_sla::protocol::settled::SignedBinding;
use anyhow::{Context, Result};
use disk_manager_plan::report::DiskReport;
use provisioning_config::{Changes, Config};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::arguments::NodeArguments;
use crate::listen::listen;
use crate::metrics;
use crate::state::{Held, Identity};
use crate::tls::Tls;
use hardware::{Hardware, Roots};
use heard::Heard;
use status::Facts;
use volumes::Failures;

pub(crate) use hardware::LATENCY;

/// The configuration file in the seed.
const CONFIG_FILE: &str = "node.toml";

/// A node as its tasks see it.
#[derive(Debug)]
pub(crate) struct Node {
    arguments: NodeArguments,
    config: Config,
    name: String,
    started: Instant,
    tls: Tls,
    stopping: AtomicBool,
    system: watch::Sender<Heard<SystemStatus>>,
    disks: watch::Sender<Heard<DiskReport>>,
    held: watch::Sender<Held>,
    failures: watch::Sender<Failures>,
    s3: watch::Sender<S3State>,
    s3_problem: watch::Sender<Option<String>>,
    store: watch::Sender<Option<Engine>>,
    /// What serves `store`.
    server: watch::Sender<Option<S3Server>>,
    sla: watch::Sender<sla::Known>,
    settlement: watch::Sender<settlement::Known>,
    /// The daemon key's word on whose it is.
    binding: watch::Sender<Option<SignedBinding>>,
    /// A volume was retired.
    retired: Notify,
    /// A verdict on the health of a component is another one than before.
    verdicts_changed: Arc<Notify>,
    hardware: Arc<Hardware>,
    network: network::Keeping,
    local: local::Keeping,
    console: pin::Guard,
    /// One support bundle is made at a time.
    support: tokio::sync::Mutex<()>,
}

/// Runs until `cancel`.
///
/// # Errors
/// When the control socket cannot be opened or no certificate can be made.
pub(crate) async fn run(arguments: NodeArguments, cancel: CancellationToken) -> Result<()> {
    let (config, is_answered, is_clear) = read_config(&arguments.seed.join(CONFIG_FILE));
    let name = config.node.name.clone().unwrap_or_else(host_name);
    let now = i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX);
    let tls = Tls::start(&arguments.seed, config.s3.tls.as_ref(), &name, now)?;
    let control = control::open(&arguments.control_socket)
        .with_context(|| format!("cannot open {}", arguments.control_socket.display()))?;
    let roots = Roots {
        sys: arguments.sys.clone(),
        proc: arguments.proc.clone(),
        socket: arguments.hardware_socket.clone(),
    };
    let hardware = Hardware::start(roots, config.health.drain).context("no thread for health")?;
    let node = Arc::new(Node {
        name,
        tls,
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        system: watch::Sender::default(),
        disks: watch::Sender::default(),
        held: watch::Sender::default(),
        failures: watch::Sender::default(),
        s3: watch::Sender::new(S3State::Starting),
        s3_problem: watch::Sender::default(),
        store: watch::Sender::default(),
        server: watch::Sender::default(),
        sla: watch::Sender::default(),
        settlement: watch::Sender::default(),
        binding: watch::Sender::default(),
        retired: Notify::new(),
        verdicts_changed: Arc::default(),
        hardware,
        network: network::Keeping::new(&config.network),
        local: local::Keeping::new(is_answered, is_clear),
        console: pin::Guard::new(config.console.changes.clone()),
        support: tokio::sync::Mutex::default(),
        arguments,
        config,
    });
    info!(name = node.name, listen = %node.config.s3.listen, "the agent starts");
    // These end with the process: they hold nothing that must be finished.
    tokio::spawn(control::serve(control, Arc::clone(&node)));
    spawn(&node, |node| async move {
        reports::follow(&node.arguments.disks_socket, &node.disks).await;
    });
    spawn(&node, |node| async move {
        system::follow(&node.arguments.init_socket, &node.system).await;
    });
    spawn(&node, identity::keep);
    spawn(&node, network::keep);
    spawn(&node, {
        let cancel = cancel.clone();
        |node| sla::keep(node, cancel)
    });
    spawn(&node, {
        let cancel = cancel.clone();
        |node| settlement::keep(node, cancel)
    });
    spawn(&node, |node| hardware::watch(Arc::clone(&node), Arc::clone(&node.hardware)));
    if let Some(address) = node.config.metrics.listen {
        spawn(&node, move |node| async move {
            let listener = metrics::listen(address).await;
            metrics::serve(listener, move || Arc::clone(&node).readings()).await;
        });
    }
    let listener = tokio::select! {
        listener = listen(node.config.s3.listen, &node.s3) => listener,
        () = cancel.cancelled() => return Ok(()),
    };
    spawn(&node, {
        let cancel = cancel.clone();
        |node| async move {
            cancel.cancelled().await;
            info!("the agent stops");
            node.stopping.store(true, Ordering::Relaxed);
        }
    });
    let hardware = Arc::clone(&node.hardware);
    let served = service::serve(node, listener, cancel).await;
    hardware.close().await;
    served
}

fn spawn<F: Future<Output = ()> + Send + 'static>(
    node: &Arc<Node>,
    task: impl FnOnce(Arc<Node>) -> F,
) {
    tokio::spawn(task(Arc::clone(node)));
}

impl Node {
    /// Answers a request of the control socket.
    pub(crate) async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(status::compose(self.facts().await))),
            Request::LogTail { lines } => {
                let (log, old) = (self.arguments.log.clone(), self.arguments.log_old.clone());
                let reading =
                    tokio::task::spawn_blocking(move || log_tail::tail(&log, &old, lines));
                match reading.await {
                    Ok(lines) => Reply::LogTail { lines },
                    Err(error) => control::refused(format!("cannot read the log: {error}")),
                }
            }
            Request::FirstUserSecret => self.first_user_secret(),
            Request::CheckPin { pin } => self.console.check(&local::kept_pin(self), pin).await,
            Request::PoolStatus
            | Request::PoolEvents { .. }
            | Request::BucketUsage { .. }
            | Request::RetireVolume { .. }
            | Request::CancelRetire { .. }
            | Request::ForgetVolume { .. }
            | Request::RebuildIndex => {
                let store = self.store.borrow().clone();
                match store {
                    Some(store) => pool::answer(&store, request).await,
                    None => control::refused("the agent has just started; ask again in a minute"),
                }
            }
            Request::Settlement => settlement::answer(self),
            Request::Receipts { era } => sla::receipts(self, era).await,
            Request::Health => self.hardware.report(),
            Request::HealthSeries => self.hardware.series().await,
            Request::HealthHistory { series, from_ms, to_ms, step_ms } => {
                self.hardware.stretch(series, (from_ms, to_ms), step_ms).await
            }
            Request::Locate { disk, on } => self.hardware.locate(disk, on).await,
            Request::TryNetwork { .. }
            | Request::ConfirmNetwork
            | Request::RevertNetwork
            | Request::ResetNetwork => network::answer(self, request).await,
            Request::Ping { host } => reach::ping(&host).await,
            Request::LookUp { name } => reach::look_up(&name).await,
            Request::ClockTest => {
                let servers = self.system.borrow().latest.clone().unwrap_or_default().time_servers;
                reach::test_clock(&servers).await
            }
            Request::ClaimDisk { .. }
            | Request::UndoClaim { .. }
            | Request::SetPin { .. }
            | Request::FinishSetUp
            | Request::RecoveryWords
            | Request::RestoreKey { .. }
            | Request::FactoryReset { .. } => local::answer(self, request).await,
            Request::Inventory | Request::WriteSupport => support::answer(self, request).await,
            Request::PowerOff | Request::Reboot => match system::MachineRequest::of(request) {
                Some(machine) => {
                    info!(?machine, "asked for on the control socket");
                    let socket = self.arguments.init_socket.clone();
                    match system::ask(socket, machine).await {
                        Ok(()) => Reply::Accepted,
                        Err(why) => control::refused(why),
                    }
                }
                None => control::refused("not a request for the machine"),
            },
        }
    }

    /// What is told to whoever watches the node.
    async fn readings(self: Arc<Self>) -> metrics::Facts {
        let store = self.store.borrow().clone();
        let pool = match store {
            Some(store) => Some(store.status().await),
            None => None,
        };
        let s3 = self.server.borrow().as_ref().map(S3Server::requests);
        let hardware = metrics::HardwareFacts {
            samples: self.hardware.samples(),
            components: self.hardware.components(),
        };
        metrics::Facts { pool, s3, hardware: Some(hardware), settlement: self.settlement_status() }
    }

    fn first_user_secret(&self) -> Reply {
        if !self.config.s3.users.is_empty() {
            return control::refused("the users are those of node.toml; the node knows no others");
        }
        match &self.held.borrow().identity {
            Identity::Known(state) => {
                info!("the first user's secret key was shown on the console");
                let secret_key = Secret(state.first_user.secret_key.clone());
                Reply::FirstUserSecret { secret_key }
            }
            Identity::Awaited(why) => control::refused(why.clone()),
        }
    }

    fn credentials(&self) -> Credentials {
        match self.config.s3.users.len() {
            0 => match &self.held.borrow().identity {
                Identity::Known(state) => Credentials::FirstUser {
                    name: state.first_user.name.clone(),
                    access_key: state.first_user.access_key.clone(),
                },
                Identity::Awaited(reason) => Credentials::Awaited { reason: reason.clone() },
            },
            users => Credentials::Configured { users: u32::try_from(users).unwrap_or(u32::MAX) },
        }
    }

    /// Whether settings of the network are kept in the node's record.
    fn network_kept(&self) -> bool {
        match &self.held.borrow().identity {
            Identity::Known(state) => state.network.is_some(),
            Identity::Awaited(_) => false,
        }
    }

    /// The node's address on chain.
    fn daemon(&self) -> Option<String> {
        match &self.held.borrow().identity {
            Identity::Known(state) => Some(sla::daemon_address(state)?.to_string()),
            Identity::Awaited(_) => None,
        }
    }

    /// What was earned; none where the configuration does not look at the chain.
    fn settlement_status(&self) -> Option<SettlementStatus> {
        self.config.settlement.as_ref()?;
        let now_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
        Some(self.settlement.borrow().shown(now_ms))
    }

    async fn facts(&self) -> Facts {
        let store = self.store.borrow().clone();
        let (usage, store_awaited) = match store {
            Some(store) => (store.usage().await, store.awaited()),
            None => (Usage::default(), None),
        };
        // Not below, where a guard of the same lock lives on: a writer between the two would wait for ever.
        let network_kept = self.network_kept();
        let (set_up, pin) = (local::is_set_up(self), local::kept_pin(self));
        let since_1970 = since_1970();
        let now = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        let now_ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        Facts {
            name: self.name.clone(),
            listen: self.config.s3.listen,
            uptime: uptime(),
            running: self.started.elapsed(),
            since_1970,
            stopping: self.stopping.load(Ordering::Relaxed),
            system: self.system.borrow().clone(),
            disks: self.disks.borrow().clone(),
            usage,
            store_awaited,
            attach_failures: self.failures.borrow().clone(),
            s3: self.s3.borrow().clone(),
            s3_problem: self.s3_problem.borrow().clone(),
            tls: self.tls.status(),
            tls_problem: self.tls.problem(now),
            credentials: self.credentials(),
            daemon: self.daemon(),
            sla: self.config.sla.is_some().then(|| self.sla.borrow().shown(now_ms)),
            settlement: self.settlement_status(),
            state_problems: self.held.borrow().problems.clone(),
            network_problem: self.network.problem(),
            network_kept,
            clock: read_clock(),
            memory: read_memory(Path::new("/proc")),
            components: self.hardware.components(),
            slots: self.hardware.slots(),
            console: self.console.told(&pin),
            set_up,
            region: self.config.node.region.clone(),
            hardware_class: self.config.node.hardware_class.clone(),
            support_recipients: u32::try_from(self.config.support.recipients.len())
                .unwrap_or(u32::MAX),
        }
    }
}

/// The configuration, whether it answers what the first steps would ask, and whether all of it was read. init has told what is wrong with it; here
/// the safe parts count.
fn read_config(path: &Path) -> (Config, bool, bool) {
    match fs::read_to_string(path) {
        Ok(text) => {
            let (config, problems) = provisioning_config::parse(&text);
            (config, provisioning_config::answers_first_steps(&text), problems.is_empty())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Config::default(), false, true),
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read the configuration; defaults count");
            // It may have a PIN.
            let mut config = Config::default();
            config.console.changes = Changes::Nobody;
            (config, true, false)
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default())
}
