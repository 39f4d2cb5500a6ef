//! What oracles say, compared with the chain: none is believed.

use agent_settlement::abi::messages::Leaf;
use agent_settlement::chain::Chain;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::{self, Settled, Verdict};
use agent_sla::{ReadError, Reader, ReaderError};
use alloy::primitives::{Address, B256};
use anyhow::Result;

use crate::desk::Desk;
use crate::network::{Network, Oracle, Reference};
use crate::plan::Earned;

/// What became of asking an oracle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OracleError {
    #[error("{name}: {source}")]
    Reader { name: String, source: ReaderError },
    #[error("{name}: {source}")]
    Read { name: String, source: ReadError },
    #[error(
        "{name}: the leaf that it gives is not in root {root} of the chain: it is not believed"
    )]
    NotInRoot { name: String, root: u64 },
    #[error(
        "{name}: it speaks of root {root}, which does not stand on the chain: it is not believed"
    )]
    NoRoot { name: String, root: u64 },
    #[error("{name}: the answer is about node {found}, not {asked}: it is not believed")]
    OtherNode { name: String, asked: B256, found: B256 },
}

/// What is proven of a node's earnings.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub earned: Earned,
    pub root: B256,
    pub proof: Vec<B256>,
    /// What the oracle says of single eras; nothing proves it but its votes.
    pub eras: Vec<Verdict>,
}

/// The newest leaf that is in a root on the chain, and what was wrong with what others gave.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub newest: Option<Proven>,
    pub errors: Vec<OracleError>,
}

/// Who says something.
fn reader(oracle: &Oracle) -> Result<Reader, OracleError> {
    Reader::new(&oracle.name, &oracle.url, oracle.certificate)
        .map_err(|source| OracleError::Reader { name: oracle.name.clone(), source })
}

/// Asks all oracles for a node's leaf.
pub(crate) async fn leaf<C: Chain + Clone>(
    desk: &Desk<C>,
    contracts: &Reference,
    node: B256,
) -> Result<Answers> {
    let mut answers = Answers::default();
    for oracle in &desk.network.oracles {
        let name = oracle.name.clone();
        let settled = match reader(oracle) {
            Ok(reader) => {
                reader.settled(node).await.map_err(|source| OracleError::Read { name, source })
            }
            Err(error) => Err(error),
        };
        match settled {
            Ok(Some(settled)) => answers.take(desk, contracts, &oracle.name, node, settled).await?,
            // In no root yet, as far as it knows.
            Ok(None) => {}
            Err(error) => answers.errors.push(error),
        }
    }
    Ok(answers)
}

impl Answers {
    /// Compares an answer with the chain.
    pub(crate) async fn take<C: Chain + Clone>(
        &mut self,
        desk: &Desk<C>,
        contracts: &Reference,
        name: &str,
        asked: B256,
        settled: Settled,
    ) -> Result<()> {
        let (name, id) = (name.to_owned(), settled.number);
        let leaf = ours(&settled.leaf);
        let found = leaf.nodeId;
        if found != asked {
            self.errors.push(OracleError::OtherNode { name, asked, found });
            return Ok(());
        }
        let Some((root, final_at)) = desk.root(contracts, id).await? else {
            self.errors.push(OracleError::NoRoot { name, root: id });
            return Ok(());
        };
        if !leaf.is_in(root, &settled.proof) {
            self.errors.push(OracleError::NotInRoot { name, root: id });
            return Ok(());
        }
        if self.newest.as_ref().is_none_or(|newest| newest.earned.root < id) {
            let earned = Earned { root: id, leaf, final_at };
            let Settled { proof, eras, .. } = settled;
            self.newest = Some(Proven { earned, root, proof, eras });
        }
        Ok(())
    }
}

fn ours(leaf: &settled::Leaf) -> Leaf {
    let settled::Leaf { nodeId, toEra, cumulativeReward, cumulativePenalty, votesHash } = *leaf;
    Leaf { nodeId, toEra, cumulativeReward, cumulativePenalty, votesHash }
}

/// Asks oracles for the binding of a daemon key, until one has it.
pub(crate) async fn binding(
    network: &Network,
    contracts: &Reference,
    daemon: Address,
) -> (Option<settled::SignedBinding>, Vec<OracleError>) {
    // Only what the EIP-712 domain is made of is looked at.
    let parameters = Parameters {
        chain: contracts.chain,
        contract: contracts.settlement,
        genesis: 0,
        era_seconds: 0,
        samples: 0,
        oracles: network.oracles.iter().map(|oracle| oracle.address).collect(),
    };
    let mut errors = Vec::new();
    for oracle in &network.oracles {
        let name = oracle.name.clone();
        let found = match reader(oracle) {
            Ok(reader) => reader
                .binding(daemon, &parameters)
                .await
                .map_err(|source| OracleError::Read { name, source }),
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(binding)) => return (Some(binding), errors),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    (None, errors)
}
