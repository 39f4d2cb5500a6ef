//! The SLA of the node: runs [`agent_sla`] once the node has its daemon key.

pub(crate) mod tenants;
mod view;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_api::control::Reply;
use agent_api::sla::SlaStatus;
use agent_settlement::backend::reference::node_id;
use agent_sla::SlaConfig;
use agent_sla::config::{Peer, Store};
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::{Address, B256};
use provisioning_config::Config;
use provisioning_config::settlement::Network;
use provisioning_config::sla::Sla;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::view::View;
use super::control::refused;
use super::{Node, place, spawn};
use crate::state::{Identity, NodeState};

/// For how many eras receipts and cuts are kept: two days of eras of an hour, twice the dispute window of a day.
pub(super) const DISPUTE_ERAS: u64 = 48;

/// Where on a data volume reports and receipts lie.
const FOLDER: &str = "state/sla";

/// How long a disk may take to give the receipts: some megabytes.
const READ: Duration = Duration::from_secs(30);

/// What is known of the SLA: why it does not run, else how it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    awaited: Option<String>,
    /// Where receipts lie, once the SLA runs.
    folder: Option<watch::Receiver<Option<PathBuf>>>,
    status: agent_sla::status::SlaStatus,
}

impl Known {
    /// As the console shows it at a moment, in milliseconds since 1970.
    pub(crate) fn shown(&self, now_ms: u64) -> SlaStatus {
        words::shown(&self.status, self.awaited.clone(), now_ms)
    }
}

/// The receipts of an era that are on a data volume.
pub(crate) async fn receipts(node: &Node, era: u64) -> Reply {
    let folder = node.sla.borrow().folder.as_ref().and_then(|folder| folder.borrow().clone());
    let Some(folder) = folder else {
        return refused("the node keeps no receipts: it has no [sla], or no data volume yet");
    };
    let reading = spawn_blocking(move || agent_sla::receipts(&folder, Era(era)));
    let found = match timeout(READ, reading).await {
        Ok(Ok(Ok(found))) => found,
        Ok(Ok(Err(error))) => return refused(error.to_string()),
        Ok(Err(error)) => return refused(format!("cannot read receipts: {error}")),
        Err(_) => return refused("the disk with the receipts does not answer: ask again later"),
    };
    let written: Result<Vec<_>, _> = found.iter().map(serde_json::to_value).collect();
    match written {
        Ok(receipts) => Reply::Receipts { receipts },
        Err(error) => refused(format!("cannot write receipts: {error}")),
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
        daemon = %key.address(), node = %node_id, label = own_id(&node), oracles = config.oracles.len(), config = %config.parameters.digest(),
        "the node speaks for its daemon address"
    );
    let (status, mut changes) = watch::channel(agent_sla::status::SlaStatus::default());
    spawn(&node, |node| async move {
        while changes.changed().await.is_ok() {
            let status = changes.borrow_and_update().clone();
            node.sla.send_modify(|known| known.status = status);
        }
    });
    let folder = place::follow(&node, FOLDER);
    node.sla.send_modify(|known| {
        (known.awaited, known.folder) = (None, Some(folder.clone()));
    });
    let view = Arc::new(View(Arc::clone(&node)));
    let urgent = Arc::clone(&node.verdicts_changed);
    if let Err(why) = agent_sla::run(config, key, folder, view, urgent, status, cancel).await {
        error!(%why, "the SLA does not run");
        wait(format!("[sla] of node.toml cannot be used: {why}"));
    }
}

/// Waits for the daemon key, and for what the node is called on the wire.
pub(super) async fn identity(
    node: &Node,
    cancel: &CancellationToken,
) -> Option<(SigningKey, B256)> {
    let mut held = node.held.subscribe();
    loop {
        if let Identity::Known(state) = &held.borrow_and_update().identity
            && let Some(key) = &state.daemon_key
        {
            match (SigningKey::from_bytes(key), on_the_wire(&node.config, &state.node_id)) {
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

/// The id that the node made for itself: by it its HP registers it.
fn own_id(node: &Node) -> String {
    match &node.held.borrow().identity {
        Identity::Known(state) => state.node_id.clone(),
        _ => String::new(),
    }
}

/// The node's id as 32 bytes, zeros in front: the label by which its HP tells it apart.
pub(super) fn label(node_id: &str) -> Option<B256> {
    let bytes = hex::decode(node_id).ok().filter(|bytes| bytes.len() <= B256::len_bytes())?;
    Some(B256::left_padding_from(&bytes))
}

/// What the node is called on the wire: where our own contracts settle, what they call it, which has its HP in it;
/// else its own id.
fn on_the_wire(config: &Config, own_id: &str) -> Option<B256> {
    let label = label(own_id)?;
    Some(match &config.settlement {
        Some(section) if matches!(section.network, Network::Reference { .. }) => {
            node_id(section.hp_account.into(), label)
        }
        _ => label,
    })
}

/// What all nodes and oracles of the network agree on.
pub(super) fn parameters(section: &Sla) -> Parameters {
    Parameters {
        chain: section.chain,
        contract: section.contract.into(),
        genesis: section.genesis,
        era_seconds: u32::try_from(section.era.as_secs()).unwrap_or(u32::MAX),
        samples: section.samples,
        oracles: section.oracles.iter().map(|oracle| Address::from(oracle.address)).collect(),
    }
}

fn config(section: &Sla, node_id: B256) -> SlaConfig {
    SlaConfig {
        parameters: parameters(section),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_called_after_its_hp_where_our_contracts_settle() {
        let section = |hp: u8| {
            let hp = hex::encode([hp; 20]);
            format!(
                "version = 1\n[sla]\nchain = 1\ncontract = \"0x{c}\"\ngenesis = 0\n[[sla.oracle]]\nname = \"o\"\n\
                 url = \"https://o\"\naddress = \"0x{c}\"\ncertificate = \"{d}\"\n[settlement]\nhp_account = \"0x{hp}\"\n\
                 rpc = [\"https://r\"]\n",
                c = "c0".repeat(20),
                d = "dd".repeat(32),
            )
        };
        let reference = |hp| {
            let of = "0x".to_owned() + &"01".repeat(20);
            section(hp)
                + &format!(
                    "backend = \"reference\"\nregistry = \"{of}\"\neras = \"{of}\"\nclaims = \"{of}\"\n"
                )
        };
        let icn = section(1)
            + &format!("backend = \"icn-v5\"\nnode = 3\nprotocol = \"0x{}\"\n", "05".repeat(20));
        let named = |text: &str| {
            let (config, problems) = provisioning_config::parse(text);
            assert_eq!(problems, []);
            on_the_wire(&config, "0a0b").expect("a name")
        };
        let own = B256::left_padding_from(&[0x0a, 0x0b]);
        assert_eq!(named("version = 1\n"), own);
        assert_eq!(named(&icn), own);
        assert_eq!(named(&reference(1)), node_id(Address::repeat_byte(1), own));
        assert_ne!(named(&reference(1)), named(&reference(2)), "another HP, another name");
        assert_eq!(on_the_wire(&Config::default(), "no hexadecimal"), None);
    }
}
