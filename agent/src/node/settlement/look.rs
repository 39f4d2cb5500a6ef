//! One look at the chain and at the oracles.

use agent_settlement::backend::icn_v5::Icn;
use agent_settlement::backend::reference::Reference;
use agent_settlement::backend::roots::PostedRoot;
use agent_settlement::backend::{NodeStatus, Rewards, Settlement as _, SettlementError};
use agent_settlement::chain::servers::Servers;
use agent_settlement::chain::{Chain as _, ChainError};
use agent_sla::protocol::B256;
use agent_sla::protocol::settled::Settled;
use agent_sla::{ReadError, Reader};
use alloy::sol_types::Eip712Domain;

use super::book::{Book, Place, Untrue, verify};
use super::plan::Chain;

/// Why a look showed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookError {
    /// The contracts did not say.
    #[error(transparent)]
    Settlement(#[from] SettlementError),
    /// The chain did not say.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The servers are of another chain.
    #[error(
        "the RPC servers are of chain {found}, and [sla] of chain {expected}: correct rpc or chain"
    )]
    OtherChain {
        /// In the configuration.
        expected: u64,
        /// The servers'.
        found: u64,
    },
}

/// That the servers are of this chain; when the newest block was made, in seconds since 1970.
///
/// # Errors
/// They are not, or do not say.
pub(super) async fn at_chain(servers: &Servers, expected: u64) -> Result<u64, LookError> {
    let found = servers.chain_id().await?;
    if found != expected {
        return Err(LookError::OtherChain { expected, found });
    }
    Ok(servers.heads().await?.latest.time)
}

/// What the reference contracts say.
///
/// # Errors
/// They do not.
pub(super) async fn reference(
    backend: &Reference<Servers>,
    node: B256,
    time_s: u64,
) -> Result<Chain, LookError> {
    Ok(Chain {
        status: backend.status(node).await?,
        done: backend.done(node).await?,
        roots: backend.roots().await?,
        eras: backend.eras().await?,
        time_s,
    })
}

/// What the ICN protocol says.
///
/// # Errors
/// It does not.
pub(super) async fn icn(
    backend: &Icn<Servers>,
    node: B256,
) -> Result<(NodeStatus, Rewards), LookError> {
    Ok((backend.status(node).await?, backend.rewards(node).await?))
}

/// What became of asking one oracle.
#[derive(Debug, thiserror::Error)]
pub(super) enum Asked {
    /// It has no root with this node.
    #[error("it has no root with this node")]
    Nothing,
    /// It did not answer well.
    #[error("{0}")]
    Silent(ReadError),
    /// It did not answer in time.
    #[error("no answer in time")]
    TooLate,
    /// What it says is not so.
    #[error("{0}")]
    Untrue(Untrue),
    /// The chain did not say whether it is so.
    #[error("what it says could not be compared with the chain: {0}")]
    Unknown(SettlementError),
}

/// An oracle, by what people call it.
#[derive(Debug, Clone)]
pub(super) struct Oracle {
    pub(super) name: String,
    pub(super) reader: Reader,
}

/// The newest root on chain; none where there is none.
///
/// # Errors
/// The chain does not say.
pub(super) async fn newest(
    backend: &Reference<Servers>,
    chain: &Chain,
) -> Result<Option<PostedRoot>, LookError> {
    match chain.roots.count.checked_sub(1) {
        None => Ok(None),
        Some(id) => Ok(Some(backend.root(id).await?)),
    }
}

/// Asks one oracle for the node's place in the newest root, and compares it with the chain.
///
/// # Errors
/// Why nothing is taken.
pub(super) async fn ask(
    oracle: &Oracle,
    backend: &Reference<Servers>,
    chain: &Chain,
    node: B256,
    domain: &Eip712Domain,
) -> Result<(Place, Settled), Asked> {
    let settled = oracle.reader.settled(node).await.map_err(Asked::Silent)?;
    let settled = settled.ok_or(Asked::Nothing)?;
    let posted = match settled.number < chain.roots.count {
        true => Some(backend.root(settled.number).await.map_err(Asked::Unknown)?),
        false => None,
    };
    let place = verify(&oracle.name, &settled, posted.as_ref(), domain).map_err(Asked::Untrue)?;
    Ok((place, settled))
}

/// Whether a place is news to the book.
pub(super) fn is_news(book: &Book, place: &Place) -> bool {
    !book.roots.iter().any(|known| (known.number, known.digest) == (place.number, place.digest))
}
