//! The SLA of the node: runs [`agent_sla`] once the node has its daemon key.

pub(crate) mod tenants;
mod view;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use agent_api::sla::SlaStatus;
use agent_sla::SlaConfig;
use agent_sla::config::{Peer, Store};
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::{Address, B256};
use disk_manager_plan::report::{DiskReport, Ownership, VolumePhase};
use provisioning_config::sla::Sla;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::view::View;
use super::{Node, spawn};
use crate::state::{Identity, NodeState};

/// For how many eras receipts and cuts are kept: two days of eras of an hour, twice the dispute window of a day.
const DISPUTE_ERAS: u64 = 48;

/// Where on a data volume reports and receipts lie.
const FOLDER: &str = "state/sla";

/// What is known of the SLA: why it does not run, else how it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    awaited: Option<String>,
    status: agent_sla::status::SlaStatus,
}

impl Known {
    /// As the console shows it at a moment, in milliseconds since 1970.
    pub(crate) fn shown(&self, now_ms: u64) -> SlaStatus {
        words::shown(&self.status, self.awaited.clone(), now_ms)
    }
}

/// The node's address on chain; none before it has a daemon key.
pub(crate) fn daemon_address(state: &NodeState) -> Option<Address> {
    let key = SigningKey::from_bytes(state.daemon_key.as_ref()?).ok()?;
    Some(key.address())
}

/// Runs the SLA from when the node has its daemon key until `cancel`. Without `[sla]` the node speaks with
/// nobody.
pub(crate) async fn keep(node: Arc<Node>, cancel: CancellationToken) {
    let Some(section) = node.config.sla.clone() else { return };
    let wait = |why: String| node.sla.send_modify(|known| known.awaited = Some(why));
    wait("waiting for the node's daemon key, which stands on its disks".to_owned());
    let Some((key, node_id)) = identity(&node, &cancel).await else { return };
    let config = config(&section, node_id);
    info!(
        daemon = %key.address(), oracles = config.oracles.len(), config = %config.parameters.digest(),
        "the node speaks for its daemon address"
    );
    let (status, mut changes) = watch::channel(agent_sla::status::SlaStatus::default());
    spawn(&node, |node| async move {
        while changes.changed().await.is_ok() {
            let status = changes.borrow_and_update().clone();
            node.sla.send_modify(|known| known.status = status);
        }
    });
    let folder = follow_folder(&node);
    node.sla.send_modify(|known| known.awaited = None);
    let view = Arc::new(View(Arc::clone(&node)));
    let urgent = Arc::clone(&node.verdicts_changed);
    if let Err(why) = agent_sla::run(config, key, folder, view, urgent, status, cancel).await {
        error!(%why, "the SLA does not run");
        wait(format!("[sla] of node.toml cannot be used: {why}"));
    }
}

/// Waits for the daemon key and the node's id.
async fn identity(node: &Node, cancel: &CancellationToken) -> Option<(SigningKey, B256)> {
    let mut held = node.held.subscribe();
    loop {
        if let Identity::Known(state) = &held.borrow_and_update().identity
            && let Some(key) = &state.daemon_key
        {
            match (SigningKey::from_bytes(key), on_the_wire(&state.node_id)) {
                (Ok(key), Some(id)) => return Some((key, id)),
                (Err(why), _) => error!(%why, "the daemon key cannot be used"),
                (_, None) => error!(id = state.node_id, "the node's id is not hexadecimal"),
            }
        }
        tokio::select! {
            changed = held.changed() => changed.ok()?,
            () = cancel.cancelled() => return None,
        }
    }
}

/// The node's id as 32 bytes, zeros in front.
fn on_the_wire(node_id: &str) -> Option<B256> {
    let bytes = hex::decode(node_id).ok().filter(|bytes| bytes.len() <= B256::len_bytes())?;
    Some(B256::left_padding_from(&bytes))
}

fn config(section: &Sla, node_id: B256) -> SlaConfig {
    let oracles: BTreeSet<Address> =
        section.oracles.iter().map(|oracle| Address::from(oracle.address)).collect();
    SlaConfig {
        parameters: Parameters {
            chain: section.chain,
            contract: section.contract.into(),
            genesis: section.genesis,
            era_seconds: u32::try_from(section.era.as_secs()).unwrap_or(u32::MAX),
            samples: section.samples,
            oracles,
        },
        oracles: section
            .oracles
            .iter()
            .map(|oracle| Peer {
                name: oracle.name.clone(),
                url: oracle.url.clone(),
                address: oracle.address.into(),
                certificate: oracle.certificate.into(),
            })
            .collect(),
        stores: section
            .report_stores
            .iter()
            .map(|store| Store {
                name: store.name.clone(),
                url: store.url.clone(),
                certificate: store.certificate.into(),
            })
            .collect(),
        report_every: section.report_every,
        node_id,
        dispute_eras: DISPUTE_ERAS,
        software: format!("icn-node {}", env!("CARGO_PKG_VERSION")),
    }
}

/// The folder for reports: on one data volume as long as it is mounted, then on another.
fn follow_folder(node: &Arc<Node>) -> watch::Receiver<Option<PathBuf>> {
    let (sender, receiver) = watch::channel(None);
    let mut reports = node.disks.subscribe();
    tokio::spawn(async move {
        loop {
            let mounts = mounts(reports.borrow_and_update().latest.as_ref());
            sender.send_if_modified(|chosen| choose(chosen, &mounts));
            tokio::select! {
                changed = reports.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

fn mounts(report: Option<&DiskReport>) -> Vec<PathBuf> {
    let disks = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let ours = disks.iter().filter(|disk| disk.ownership == Ownership::Ours);
    let mounted = ours.filter_map(|disk| match &disk.volume.as_ref()?.phase {
        VolumePhase::Mounted { mount } => Some(mount.clone()),
        VolumePhase::Claiming | VolumePhase::Unavailable { .. } => None,
    });
    mounted.filter(|mount| !agent_object_store::is_retired(mount)).collect()
}

/// Chooses a volume, and says whether it is another one than before: one that has the folder, else the first.
fn choose(chosen: &mut Option<PathBuf>, mounts: &[PathBuf]) -> bool {
    let folder = |mount: &PathBuf| mount.join(FOLDER);
    if chosen.as_ref().is_some_and(|chosen| mounts.iter().any(|mount| folder(mount) == *chosen)) {
        return false;
    }
    let with = mounts.iter().map(folder).find(|folder| folder.exists());
    let next = with.or_else(|| mounts.first().map(folder));
    let changed = next != *chosen;
    *chosen = next;
    changed
}
