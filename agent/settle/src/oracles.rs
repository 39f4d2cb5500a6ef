//! What oracles say, compared with the chain: none is believed.

use std::time::Duration;

use agent_settlement::abi::messages::Leaf;
use agent_settlement::chain::Chain;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::{Settled, SignedBinding, Verdict};
use agent_sla::{ReadError, Reader, ReaderError};
use alloy::primitives::{Address, B256};
use anyhow::Result;

use crate::desk::Desk;
use crate::network::{Network, Oracle, Reference};
use crate::plan::Earned;
use crate::tree::Tree;

/// The most leaves of a root: as many as daemons may be admitted by an oracle.
const LEAVES_MAX: usize = 200_000;

/// How long all leaves of a root may take: 100,000 are 35 MB.
const PAGES_WITHIN: Duration = Duration::from_secs(300);

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
    #[error("{name}: its leaves are not those of root {root} of the chain: they are not believed")]
    OtherLeaves { name: String, root: u64 },
    #[error("{name}: it did not give all leaves of a root within {} s", PAGES_WITHIN.as_secs())]
    Slow { name: String },
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

/// What of a node's earnings is final.
#[derive(Debug, Clone, Default)]
pub(crate) enum Final {
    /// No oracle proves anything.
    #[default]
    Unknown,
    /// The node is in no final root.
    Nothing,
    /// Its leaf in the newest final root.
    Proven(Box<Proven>),
}

/// The newest leaf that is in a root on the chain, the newest that is final, and what was wrong with what others gave.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub newest: Option<Proven>,
    pub last_final: Final,
    pub errors: Vec<OracleError>,
}

/// Who says something.
pub(crate) fn reader(oracle: &Oracle) -> Result<Reader, OracleError> {
    Reader::new(&oracle.name, &oracle.url, oracle.certificate)
        .map_err(|source| OracleError::Reader { name: oracle.name.clone(), source })
}

/// Asks all oracles for the leaves of nodes. Where the newest root is not final yet, the newest that is final is made of
/// all its leaves again, as oracles have proofs of the newest only.
pub(crate) async fn leaves<C: Chain + Clone>(
    desk: &Desk<C>,
    contracts: &Reference,
    nodes: &[B256],
    block_s: u64,
) -> Result<Vec<(B256, Answers)>> {
    let mut all = Vec::new();
    for node in nodes {
        let mut answers = newest(desk, contracts, *node).await?;
        answers.settle(block_s);
        all.push((*node, answers));
    }
    if all.iter().all(|(_, answers)| matches!(answers.last_final, Final::Proven(_))) {
        return Ok(all);
    }
    let Some(last) = desk.backend(contracts).newest_final().await? else {
        all.iter_mut().for_each(|(_, answers)| answers.last_final = Final::Nothing);
        return Ok(all);
    };
    let Some((_, final_at)) = desk.root(contracts, last.id).await? else { return Ok(all) };
    for (_, answers) in &mut all {
        // It became final meanwhile.
        answers.settle_by(last.id);
    }
    if all.iter().all(|(_, answers)| matches!(answers.last_final, Final::Proven(_))) {
        return Ok(all);
    }
    let (tree, mut errors) = tree(&desk.network, last.id, last.root, last.digest).await;
    for (node, answers) in &mut all {
        let missing = matches!(answers.last_final, Final::Unknown);
        if let (Some(tree), true) = (&tree, missing) {
            answers.last_final = match tree.leaf(*node) {
                None => Final::Nothing,
                Some((leaf, proof)) => {
                    let earned = Earned { root: last.id, leaf, final_at };
                    Final::Proven(Box::new(Proven {
                        earned,
                        root: last.root,
                        proof,
                        eras: Vec::new(),
                    }))
                }
            };
        }
        answers.errors.append(&mut errors);
    }
    Ok(all)
}

/// The tree of a root of the chain, by the first oracle whose leaves have that root.
async fn tree(
    network: &Network,
    number: u64,
    root: B256,
    digest: B256,
) -> (Option<Tree>, Vec<OracleError>) {
    let mut errors = Vec::new();
    for oracle in &network.oracles {
        let name = oracle.name.clone();
        let read = match reader(oracle) {
            Ok(reader) => tokio::time::timeout(PAGES_WITHIN, pages(&reader, digest))
                .await
                .map_err(|_| OracleError::Slow { name: name.clone() })
                .and_then(|read| read.map_err(|source| OracleError::Read { name, source })),
            Err(error) => Err(error),
        };
        match read.map(Tree::new) {
            Ok(tree) if tree.root() == Some(root) => return (Some(tree), errors),
            Ok(_) => {
                let name = oracle.name.clone();
                errors.push(OracleError::OtherLeaves { name, root: number });
            }
            Err(error) => errors.push(error),
        }
    }
    (None, errors)
}

/// All leaves of a root, page by page.
async fn pages(reader: &Reader, digest: B256) -> Result<Vec<Leaf>, ReadError> {
    let mut leaves: Vec<Leaf> = Vec::new();
    loop {
        let last = leaves.last().map(|leaf| leaf.nodeId);
        let behind = last.map_or_else(String::new, |node| format!("&after={node}"));
        let path = format!("/v1/leaves?root={digest}{behind}");
        let page: Vec<Leaf> = reader.get(path).await?;
        // A page that goes back would never end; what is in no order makes another root.
        let goes_on = page.first().is_some_and(|leaf| last.is_none_or(|node| node < leaf.nodeId));
        if !goes_on || leaves.len().saturating_add(page.len()) > LEAVES_MAX {
            return Ok(leaves);
        }
        leaves.extend(page);
    }
}

/// Asks all oracles for a node's leaf in the newest root.
async fn newest<C: Chain + Clone>(
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
    /// Takes the newest for the newest that is final, if it is.
    pub(crate) fn settle(&mut self, block_s: u64) {
        if let Some(proven) = self.newest.as_ref().filter(|one| block_s >= one.earned.final_at) {
            self.last_final = Final::Proven(Box::new(proven.clone()));
        }
    }

    /// The same, where the chain said that roots are final up to this one.
    fn settle_by(&mut self, last: u64) {
        if let Some(proven) = self.newest.as_ref().filter(|one| one.earned.root == last) {
            self.last_final = Final::Proven(Box::new(proven.clone()));
        }
    }

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
        let leaf = settled.leaf.clone();
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

/// Asks oracles for the binding of a daemon key, until one has it.
pub(crate) async fn binding(
    network: &Network,
    contracts: &Reference,
    daemon: Address,
) -> (Option<SignedBinding>, Vec<OracleError>) {
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
