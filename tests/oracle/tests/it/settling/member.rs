//! Oracles that settle, each with its folder, its port and its peers.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_settlement::abi::reference::SlaSettlement;
use agent_sla::Reader;
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::settled::KnownRoot;
use agent_sla::protocol::{Address, B256};
use reference_oracle::client::Target;
use reference_oracle::clock::Clock;
use reference_oracle::fault::Fault;
use reference_oracle::identity::{Identity, self_signed};
use reference_oracle::record::{Canary, Check, Work};
use reference_oracle::server::{Limits, serve};
use reference_oracle::service::{Config, Oracle, Role};
use reference_oracle::settle::turn::Pace;
use reference_oracle::settle::{SettleConfig, Settler};
use reference_oracle::setup::Admitted;
use reference_oracle::tls;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use super::ERA_SECONDS;
use super::network::{GAS_KEYS, Network};
use crate::bench::key;

/// So many oracles: one may lie, three are a quorum.
pub(crate) const ORACLES: usize = 4;

/// How often it is looked whether something came to be.
pub(crate) const LOOKS: usize = 120;

/// How long is waited between two looks: peers answer some requests a second.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// An oracle, running or not.
pub(crate) struct Member {
    pub(crate) address: Address,
    pub(crate) folder: PathBuf,
    at: SocketAddr,
    byte: u8,
    certificate: (CertificateDer<'static>, Vec<u8>),
    pub(crate) tariff: String,
    /// When states of nodes change; empty for never.
    pub(crate) states: String,
    /// The chain's server, where it is not the network's.
    pub(crate) rpc: Option<String>,
    running: Option<Running>,
}

struct Running {
    oracle: Arc<Oracle>,
    settler: Arc<Settler>,
    _ends: DropGuard,
}

/// All of them, in the order of their addresses, with their chain and one clock.
pub(crate) struct Circle {
    pub(crate) network: Network,
    pub(crate) members: Vec<Member>,
    hand: Arc<AtomicU64>,
    _dir: TempDir,
}

/// A tariff by which an era that was passed is worth so much.
pub(crate) fn tariff(reward: u64) -> String {
    format!(
        "[tariff]\nera_reward = \"{reward}\"\ntib_reward = \"0\"\nera_reward_max = \"{reward}\"\n\
         pass_permille = 900\ndown_permille = 500\ndown_penalty = \"70\"\n"
    )
}

impl Member {
    fn identity(&self) -> Identity {
        let (certificate, tls_key) = &self.certificate;
        Identity {
            key: key(self.byte),
            certificate: certificate.clone(),
            tls_key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(tls_key.clone())),
            canary_seed: Zeroizing::new([self.byte; 32]),
        }
    }

    /// Where its settlement is configured.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("settlement.toml")
    }

    pub(crate) fn parameters(&self) -> PathBuf {
        self.folder.join("parameters.json")
    }

    /// Reads as anyone may.
    pub(crate) fn reader(&self) -> Reader {
        let pinned = self.identity().fingerprint();
        Reader::new("oracle", &format!("https://{}", self.at), pinned).expect("a reader")
    }

    /// As a node speaks with it.
    pub(crate) fn target(&self, parameters: &Parameters) -> Target {
        Target {
            at: self.at,
            certificate: self.identity().fingerprint(),
            oracle: self.address,
            parameters: parameters.clone(),
        }
    }

    /// The oracle with this certificate, as a command line has it.
    pub(crate) fn place(&self) -> String {
        format!("https://{},{}", self.at, self.identity().fingerprint())
    }
}

/// A port that is nobody's now. It is bound again by whoever listens there, and stays the same over restarts.
async fn port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    listener.local_addr().expect("its address")
}

fn listen(at: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("it may be bound again");
    socket.bind(at).expect("the port is still free");
    socket.listen(64).expect("it listens")
}

impl Circle {
    /// Oracles that are not running yet, and the moment at which era 0 begins.
    pub(crate) async fn new() -> Self {
        // `RUST_LOG=info` shows what the oracles say; the first test of a process sets it up for all.
        let _set_up_before = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let dir = tempfile::tempdir().expect("a folder");
        let mut members = Vec::new();
        for byte in (0x31..).take(ORACLES) {
            let folder = dir.path().join(byte.to_string());
            fs::create_dir(&folder).expect("a folder");
            members.push(Member {
                address: key(byte).address(),
                folder,
                at: port().await,
                byte,
                certificate: self_signed("oracle").expect("a certificate"),
                tariff: tariff(1000),
                states: String::new(),
                rpc: None,
                running: None,
            });
        }
        members.sort_by_key(|member| member.address);
        let addresses: Vec<Address> = members.iter().map(|member| member.address).collect();
        let network = Network::start(&addresses).await;
        let hand = Arc::new(AtomicU64::new(network.parameters.genesis * 1000));
        Self { network, members, hand, _dir: dir }
    }

    /// Milliseconds since 1970 by all clocks.
    pub(crate) fn now_ms(&self) -> u64 {
        self.hand.load(Ordering::SeqCst)
    }

    pub(crate) fn oracle(&self, index: usize) -> &Arc<Oracle> {
        &self.members[index].running.as_ref().expect("it runs").oracle
    }

    pub(crate) fn settler(&self, index: usize) -> &Arc<Settler> {
        &self.members[index].running.as_ref().expect("it runs").settler
    }

    fn text(&self, index: usize) -> String {
        let member = &self.members[index];
        let Network { url, registry, disputes, .. } = &self.network;
        let url = member.rpc.as_ref().unwrap_or(url);
        let mut text = format!(
            "rpc = [\"{url}\"]\nregistry = \"{registry}\"\ndisputes = \"{disputes}\"\ndisputes_from_block = 0\ngas_key = \"gas\"\n{}{}",
            member.tariff, member.states
        );
        for (other, peer) in self.members.iter().enumerate() {
            if other != index {
                let (address, at) = (peer.address, peer.at);
                let pin = hex::encode(peer.identity().fingerprint());
                write!(
                    text,
                    "[[peer]]\naddress = \"{address}\"\nurl = \"https://{at}\"\ncertificate = \"sha256:{pin}\"\n"
                )
                .expect("written");
            }
        }
        text
    }

    /// Starts an oracle with what is in its folder.
    pub(crate) fn start(&mut self, index: usize) {
        let text = self.text(index);
        let parameters: Parameters = self.network.parameters.clone();
        let member = &self.members[index];
        let folder = &member.folder;
        let (admit, gas) = (folder.join("admit"), folder.join("gas"));
        fs::write(&admit, "").expect("written");
        fs::write(&gas, GAS_KEYS[index]).expect("written");
        fs::set_permissions(&gas, Permissions::from_mode(0o600)).expect("changed");
        fs::write(member.config(), text).expect("written");
        let json = serde_json::to_string(&parameters).expect("JSON");
        fs::write(member.parameters(), json).expect("written");
        let identity = member.identity();
        let tls = tls::server(&identity).expect("TLS");
        let config = Config {
            parameters: parameters.clone(),
            identity,
            admitted: Admitted::open(&admit).expect("a list"),
            role: Role::Oracle,
            clock: Clock::Set(Arc::clone(&self.hand)),
            fault: Fault::None,
            reports_max: 1 << 30,
        };
        let cancel = CancellationToken::new();
        let data = folder.join("data");
        let oracle = Oracle::start(config, &data).expect("an oracle");
        let settle = SettleConfig::read(&member.config(), &parameters, Some(member.address));
        let settle = settle.expect("a configuration");
        let settler =
            Settler::start(settle, &oracle, &data.join("settle"), cancel.clone()).expect("settles");
        oracle.settle(Arc::clone(&settler));
        let serving =
            serve(Arc::clone(&oracle), listen(member.at), tls, Limits::default(), cancel.clone());
        tokio::spawn(serving);
        let running = Running { oracle, settler, _ends: cancel.drop_guard() };
        self.members[index].running = Some(running);
    }

    /// Ends an oracle as a crash would; what it had on stable storage stays.
    pub(crate) fn stop(&mut self, index: usize) {
        self.members[index].running = None;
    }

    pub(crate) fn up(&self) -> impl Iterator<Item = usize> {
        let runs = |(index, member): (usize, &Member)| member.running.is_some().then_some(index);
        self.members.iter().enumerate().filter_map(runs)
    }

    /// So many seconds into an era, on every clock.
    pub(crate) async fn moment(&self, era: u64, seconds: u64) {
        let begin = self.network.parameters.genesis + era * u64::from(ERA_SECONDS);
        self.hand.store((begin + seconds) * 1000, Ordering::SeqCst);
        self.network.at(begin + seconds).await;
    }

    /// An era in which each oracle that runs made ten checks of each node, so many of which were passed; then its votes
    /// are cast.
    pub(crate) async fn era(&self, era: u64, nodes: &[(B256, u32)]) {
        self.seen(era, |_| nodes.to_vec()).await;
    }

    /// The same, where each oracle sees what it sees.
    pub(crate) async fn seen(&self, era: u64, nodes: impl Fn(usize) -> Vec<(B256, u32)>) {
        self.moment(era, 10).await;
        for index in self.up() {
            for (node, passed) in nodes(index) {
                for number in 0..10 {
                    let canary = Canary { era, number };
                    let passed = u32::from(number) < passed;
                    let work = Work::Put;
                    let check = Check { work, canary, passed, micros: 5, bytes: 5, why: None };
                    self.oracle(index).checked(Era(era), node, check).await.expect("counted");
                }
            }
        }
        // Behind the grace: 5 s of an era of 20.
        self.moment(era + 1, 6).await;
        for index in self.up() {
            self.oracle(index).close_eras().await.expect("votes are cast");
        }
    }

    /// Each oracle that runs looks once.
    pub(crate) async fn look(&self) {
        for index in self.up() {
            let done = self.settler(index).go_on(self.oracle(index)).await;
            done.unwrap_or_else(|error| panic!("oracle {index}: {error}"));
        }
    }

    /// All look until so many roots stand.
    pub(crate) async fn until(&self, roots: u64) {
        for _ in 0..LOOKS {
            self.look().await;
            if self.count().await >= roots {
                // Once more, so that all have seen it.
                return self.look().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("there are {} roots, not {roots}", self.count().await);
    }

    /// The newest root as an oracle shows it that posted it, once it knows by which transaction.
    pub(crate) async fn posted_by(&self, index: usize) -> KnownRoot {
        for _ in 0..LOOKS {
            self.look().await;
            let newest = self.members[index].reader().roots(None).await.expect("roots").remove(0);
            if newest.transaction.is_some() {
                return newest;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("oracle {index} does not know that it posted a root");
    }

    pub(crate) async fn count(&self) -> u64 {
        self.network.read(&SlaSettlement::rootCountCall {}).await.to()
    }

    /// Whose turn it is, so many seconds into an era, in the root that begins with era 0.
    pub(crate) fn leader(&self, era: u64, seconds: u64) -> usize {
        let parameters = &self.network.parameters;
        // As the configuration above has it: all but the grace follows the era.
        let pace =
            Pace { eras_per_root: 1, grace_ms: 5_000, votes_within_ms: 10_000, takeover_ms: 5_000 };
        let now = parameters.begin_ms(Era(era)) + seconds * 1000;
        let leader = pace.leader(parameters, 0, now).expect("an oracle");
        let place = self.members.iter().position(|member| member.address == leader);
        place.expect("one of these")
    }
}
