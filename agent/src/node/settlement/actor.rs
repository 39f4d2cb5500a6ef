//! The one owner of outbox, usage and what is known of roots.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_api::settlement::{ALARMS_MAX, GasStatus, SettlementStatus};
use agent_settlement::abi::icn_v5::Version;
use agent_settlement::backend::icn_v5::{self, Icn};
use agent_settlement::backend::reference::{self, Reference};
use agent_settlement::call::Seq;
use agent_settlement::chain::servers::Servers;
use agent_settlement::engine::Engine;
use agent_settlement::engine::state::Stage;
use agent_settlement::outbox::Folder;
use agent_sla::Reader;
use agent_sla::protocol::{Address, B256};
use alloy::primitives::U256;
use alloy::sol_types::Eip712Domain;
use anyhow::{Context as _, Result};
use provisioning_config::settlement::{Abi, Network, Settlement as Section};
use provisioning_config::sla::Sla;
use tokio::sync::watch;
use tracing::{info, warn};

use super::look::Oracle;
use super::memory::Memory;
use super::plan::{Chain, OpenClaim, OwnEras};
use super::{usage, words};
use crate::node::{Node, routes, since_1970, sla};

/// The longest time between two looks at the chain: a root is final after a day or so.
const LOOK_MAX: Duration = Duration::from_secs(300);

/// The shortest: a block of Base.
const LOOK_MIN: Duration = Duration::from_secs(2);

/// So many looks fit into an era.
const LOOKS: u32 = 12;

/// How often the engine looks while something is open: two blocks of Base.
const TICK: Duration = Duration::from_secs(4);

/// How soon something is tried again that the store or a volume refused.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the store may take to add up its counters.
const COUNTERS: Duration = Duration::from_secs(60);

/// What an actor is made of.
pub(super) struct Parts {
    pub(super) section: Section,
    pub(super) sla: Sla,
    /// The daemon key's address.
    pub(super) daemon: Address,
    /// What the node is called on the wire.
    pub(super) name: B256,
    pub(super) folder: watch::Receiver<Option<PathBuf>>,
    pub(super) node: Arc<Node>,
}

/// How the network settles.
#[derive(Debug, Clone)]
pub(super) enum Backend {
    Reference(Reference<Servers>),
    /// With the node's number.
    Icn(Icn<Servers>, B256),
}

/// The owner.
pub(super) struct Actor {
    pub(super) parts: Parts,
    pub(super) servers: Servers,
    pub(super) backend: Backend,
    pub(super) oracles: Vec<Oracle>,
    pub(super) domain: Eip712Domain,
    pub(super) own: OwnEras,
    pub(super) memory: Memory,
    pub(super) engine: Option<Engine<Folder, Servers>>,
    /// A folder whose outbox failed: it is not used again by this process.
    pub(super) failed: Option<PathBuf>,
    /// Why there is no engine, in words.
    pub(super) no_engine: Option<String>,
    /// In what configuration and chain differ.
    pub(super) mismatch: Option<String>,
    /// What the engine wants looked at, by its numbers.
    pub(super) alarms: BTreeMap<Seq, String>,
    /// What oracles said that is not so.
    pub(super) untrue: BTreeMap<String, String>,
    /// The newest root that no oracle shows, at how many looks in a row, and why.
    pub(super) unshown: Option<Unshown>,
    /// What the reference contracts last said.
    pub(super) chain: Option<Chain>,
    pub(super) status: SettlementStatus,
    started: Instant,
}

/// A root on chain that no oracle shows.
#[derive(Debug)]
pub(super) struct Unshown {
    pub(super) root: u64,
    /// Looks in a row.
    pub(super) looks: u32,
    /// What each oracle said.
    pub(super) why: String,
}

/// So many looks in a row without an oracle that shows the newest root want a person: oracles see it within one or two.
const UNSHOWN_LOOKS: u32 = 4;

/// What is known before anything was asked.
pub(super) fn beginning(section: &Section, sla: &Sla) -> SettlementStatus {
    SettlementStatus {
        backend: match section.network {
            Network::Reference { .. } => "reference".to_owned(),
            Network::IcnV5 { .. } => "icn-v5".to_owned(),
        },
        chain: sla.chain,
        hp_account: Address::from(section.hp_account).to_string(),
        ..SettlementStatus::default()
    }
}

impl Actor {
    /// An actor that has not begun.
    ///
    /// # Errors
    /// A URL is none, or TLS cannot be set up.
    pub(super) fn new(parts: Parts) -> Result<Self> {
        let (section, sla) = (&parts.section, &parts.sla);
        let tls = agent_settlement::chain::http::public_tls().context("cannot set up TLS")?;
        let first = section.rpc.first().context("rpc names no server")?;
        let second = section.rpc.get(1).map(String::as_str);
        let dialer = routes::dialer(&parts.node);
        let servers = Servers::new(first, second, &tls, &dialer).context("rpc")?;
        let hp = Address::from(section.hp_account);
        let backend = match section.network {
            Network::Reference { registry, eras, claims } => {
                let network = reference::Network {
                    chain: sla.chain,
                    hp,
                    registry: registry.into(),
                    eras: eras.into(),
                    settlement: sla.contract.into(),
                    claims: claims.into(),
                };
                Backend::Reference(Reference::new(network, servers.clone()))
            }
            Network::IcnV5 { protocol, node, abi } => {
                let version = match abi {
                    Abi::V5_0_3 => Version::V5_0_3,
                    Abi::V5_0_3Plain => Version::V5_0_3Plain,
                };
                let network =
                    icn_v5::Network { chain: sla.chain, hp, protocol: protocol.into(), version };
                Backend::Icn(Icn::new(network, servers.clone()), B256::from(U256::from(node)))
            }
        };
        let mut oracles = Vec::new();
        for oracle in &sla.oracles {
            let reader = Reader::dialled_by(
                dialer.clone(),
                &oracle.name,
                &oracle.url,
                oracle.certificate.into(),
            )
            .with_context(|| format!("oracle {}", oracle.name))?;
            oracles.push(Oracle { name: oracle.name.clone(), reader });
        }
        let mut status = beginning(section, sla);
        status.daemon = Some(parts.daemon.to_string());
        status.node = Some(match backend {
            Backend::Reference(_) => parts.name.to_string(),
            Backend::Icn(_, number) => U256::from_be_bytes(number.0).to_string(),
        });
        Ok(Self {
            servers,
            backend,
            oracles,
            domain: sla::parameters(sla).domain(),
            own: OwnEras { genesis: sla.genesis, seconds: sla.era.as_secs() },
            memory: Memory::default(),
            engine: None,
            failed: None,
            no_engine: None,
            mismatch: None,
            alarms: BTreeMap::new(),
            untrue: BTreeMap::new(),
            unshown: None,
            chain: None,
            status,
            started: Instant::now(),
            parts,
        })
    }

    /// Watches and claims until it is dropped.
    pub(super) async fn run(mut self) {
        let between = (self.parts.sla.era / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
        // Nodes that are started together do not come together.
        let spread =
            self.parts.name.iter().fold(0_u32, |sum, byte| sum.wrapping_add((*byte).into()));
        let mut next = Instant::now() + between / 4 * (spread % 100) / 100;
        let mut folder = self.parts.folder.clone();
        loop {
            let place = folder.borrow_and_update().clone();
            self.go(place);
            let counted = self.count().await;
            if Instant::now() >= next {
                self.look().await;
                next = Instant::now() + between;
            }
            self.tick().await;
            self.publish();
            let until = next.saturating_duration_since(Instant::now());
            let pause = match (self.is_open(), counted) {
                (true, _) => until.min(TICK),
                (false, Some(era_ends)) => until.min(era_ends),
                (false, None) => until.min(AGAIN),
            };
            tokio::select! {
                changed = folder.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Follows the data volume; the outbox stays on its own.
    fn go(&mut self, folder: Option<PathBuf>) {
        match self.memory.go(folder) {
            Ok(false) => {}
            Ok(true) => {
                self.engine = None;
                self.alarms.clear();
                let name = self.parts.name;
                if let Some(before) = self.memory.book.rename(name) {
                    warn!(
                        %before, now = %name,
                        "the node is called otherwise on chain, as hp_account is another: what it earned under its former \
                         name stays the former HP's to claim"
                    );
                }
                self.kept(self.memory.keep_book());
            }
            Err(error) => {
                self.engine = None;
                self.kept(Err(error));
            }
        }
    }

    pub(super) fn kept(&self, result: Result<(), super::file::FileError>) {
        if let Err(error) = result {
            warn!(%error, "what was used and settled is not kept");
        }
    }

    /// Reads the store's counters once in each era; how long until the next begins, none where they could not be read.
    async fn count(&mut self) -> Option<Duration> {
        let OwnEras { genesis, seconds } = self.own;
        let since = since_1970();
        let Some(in_eras) = since.as_secs().checked_sub(genesis) else { return Some(LOOK_MAX) };
        let era = in_eras.checked_div(seconds)?;
        let ends = Duration::from_secs(seconds.saturating_sub(in_eras.checked_rem(seconds)?));
        if !self.memory.usage.wants(era) {
            return Some(ends);
        }
        let store = self.parts.node.store.borrow().clone()?;
        let totals = tokio::time::timeout(COUNTERS, store.bucket_totals()).await.ok()?.ok()?;
        self.memory.usage.take(era, usage::reading(&totals), sla::DISPUTE_ERAS);
        self.kept(self.memory.keep_usage());
        Some(ends)
    }

    /// Calls of ours that are not over.
    pub(super) fn open(&self) -> Vec<OpenClaim> {
        let claims = &self.memory.book.claims;
        let entries = self.engine.iter().flat_map(|engine| engine.state().open());
        let open = entries.map(|entry| OpenClaim {
            seq: entry.intent.seq,
            root: claims
                .iter()
                .find(|claim| claim.digest == entry.intent.digest)
                .map_or(0, |claim| claim.root),
            is_mined: matches!(entry.stage, Stage::Mined(_) | Stage::Safe(_)),
            is_parked: matches!(entry.stage, Stage::Parked(_)),
        });
        open.collect()
    }

    /// Whether the engine has something to do.
    fn is_open(&self) -> bool {
        self.open().iter().any(|claim| !claim.is_parked)
    }

    /// Milliseconds of a clock that never goes back.
    pub(super) fn running_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The gas key's address and balance, as far as they are known.
    pub(super) fn paid_by(&mut self, address: Address, balance_wei: Option<u128>) {
        let balance_wei = balance_wei.map(|wei| wei.to_string());
        self.status.gas = Some(GasStatus { address: address.to_string(), balance_wei });
    }

    fn publish(&mut self) {
        let (book, chain, open) = (&self.memory.book, self.chain.as_ref(), self.open());
        let records = self.memory.usage.records();
        let stages = super::plan::stages(self.parts.name, records, book, chain, &open);
        self.status.eras = words::eras(&stages);
        self.status.penalties = words::penalties(&book.penalties);
        if let Some(chain) = chain {
            self.status.amounts = words::amounts(book, chain);
            self.status.root = words::root(book, chain);
        }
        self.status.claim = book.claims.last().map(|last| {
            let mut entries = self.engine.iter().flat_map(|engine| engine.state().open());
            words::claim(last, entries.find(|entry| entry.intent.digest == last.digest))
        });
        self.status.alarms = self.alarms_in_words();
        let status = self.status.clone();
        self.parts.node.settlement.send_modify(|known| known.status = status);
    }

    fn alarms_in_words(&self) -> Vec<String> {
        let untrue =
            self.untrue.iter().map(|(name, what)| format!("oracle {name} is not believed: {what}"));
        let entries = self.engine.iter().flat_map(|engine| engine.state().open());
        let parked = entries.filter_map(|entry| match &entry.stage {
            Stage::Parked(reason) => Some(format!("a claim is parked: {reason}")),
            _ => None,
        });
        let alarms = self.alarms.values().cloned();
        let ours = self.mismatch.iter().chain(&self.no_engine).cloned();
        let unshown = self.unshown.iter().filter(|unshown| unshown.looks >= UNSHOWN_LOOKS);
        let unshown =
            unshown.map(|Unshown { root, why, .. }| format!("no oracle shows root {root}: {why}"));
        let all = ours.chain(alarms).chain(parked).chain(untrue).chain(unshown);
        all.map(|alarm| words::short(&alarm)).take(ALARMS_MAX).collect()
    }

    /// Says once in the log what an oracle said that is not so; forgets it when it is over.
    pub(super) fn believed(&mut self, oracle: &str, untrue: Option<String>) {
        match untrue {
            None => {
                if self.untrue.remove(oracle).is_some() {
                    info!(oracle, "the oracle is believed again");
                }
            }
            Some(what) => {
                if self.untrue.insert(oracle.to_owned(), what.clone()).as_ref() != Some(&what) {
                    warn!(oracle, what = words::short(&what), "an oracle says what is not so");
                }
            }
        }
    }
}
