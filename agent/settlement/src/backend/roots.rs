//! What the reference contracts say of roots and eras.

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolCall;

use super::reference::Reference;
use super::{NodeId, SettlementError};
use crate::abi::reference::{EraManager, RewardClaims, SlaSettlement};
use crate::chain::Chain;

/// What the contract is called.
const CONTRACT: &str = "SlaSettlement";

/// A root on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostedRoot {
    /// Its number: that of a root that was cancelled is used again.
    pub id: u64,
    /// The root.
    pub root: B256,
    /// Its EIP-712 digest.
    pub digest: B256,
    /// When it was posted, in seconds since 1970.
    pub posted_at: u64,
}

/// How far the roots on chain are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    /// How many there are.
    pub count: u64,
    /// How many of them, from the first, nobody can cancel any more.
    pub finals: u64,
    /// How long a root can be disputed, in seconds.
    pub window_s: u64,
}

/// What was paid to a node and taken from it, in the token's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Paid.
    pub reward: U256,
    /// Taken.
    pub penalty: U256,
}

/// How eras are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eras {
    /// The era of the newest block.
    pub current: u64,
    /// When era 0 began, or would have, in seconds since 1970.
    pub genesis: u64,
    /// How long an era is, in seconds.
    pub seconds: u32,
}

impl<C: Chain> Reference<C> {
    /// How far the roots are. Roots are final in their order, so it is found with one question for each bit of their
    /// number, however long the node was away.
    ///
    /// # Errors
    /// The chain does not say.
    pub async fn roots(&self) -> Result<Roots, SettlementError> {
        let count = self.count().await?;
        let at = self.network.settlement;
        let window = self.ask(CONTRACT, at, &SlaSettlement::disputeWindowCall {}).await?;
        let window_s = small(window, SlaSettlement::disputeWindowCall::SIGNATURE)?;
        Ok(Roots { count, finals: self.finals(count).await?, window_s })
    }

    async fn count(&self) -> Result<u64, SettlementError> {
        let at = self.network.settlement;
        let count = self.ask(CONTRACT, at, &SlaSettlement::rootCountCall {}).await?;
        small(count, SlaSettlement::rootCountCall::SIGNATURE)
    }

    async fn finals(&self, count: u64) -> Result<u64, SettlementError> {
        // All below `low` are final, none from `high` on is.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = u64::midpoint(low, high);
            let question = SlaSettlement::isFinalCall { id: U256::from(middle) };
            match self.ask(CONTRACT, self.network.settlement, &question).await? {
                true => low = middle.saturating_add(1),
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// A root by its number.
    ///
    /// # Errors
    /// The chain does not say, or there is none.
    pub async fn root(&self, id: u64) -> Result<PostedRoot, SettlementError> {
        let question = SlaSettlement::rootAtCall { id: U256::from(id) };
        let posted = self.ask(CONTRACT, self.network.settlement, &question).await?;
        let (root, digest) = (posted.root, posted.digest);
        Ok(PostedRoot { id, root, digest, posted_at: posted.postedAt })
    }

    /// The newest final root; none if there is none.
    ///
    /// # Errors
    /// The chain does not say.
    pub async fn newest_final(&self) -> Result<Option<PostedRoot>, SettlementError> {
        match self.finals(self.count().await?).await?.checked_sub(1) {
            None => Ok(None),
            Some(id) => self.root(id).await.map(Some),
        }
    }

    /// What was paid to a node and taken from it.
    ///
    /// # Errors
    /// The chain does not say.
    pub async fn done(&self, node: NodeId) -> Result<Done, SettlementError> {
        let question = RewardClaims::doneCall { nodeId: node };
        let done = self.ask("RewardClaims", self.network.claims, &question).await?;
        Ok(Done { reward: U256::from(done.reward), penalty: U256::from(done.penalty) })
    }

    /// How the contracts count eras now.
    ///
    /// # Errors
    /// The chain does not say, or no era has begun.
    pub async fn eras(&self) -> Result<Eras, SettlementError> {
        let at = self.network.eras;
        let current = self.ask("EraManager", at, &EraManager::currentEraCall {}).await?;
        let question = EraManager::parametersOfCall { era: current };
        let found = self.ask("EraManager", at, &question).await?;
        Ok(Eras { current, genesis: found.genesis, seconds: found.duration })
    }
}

/// A number that is not beyond what can be counted.
fn small(number: U256, function: &'static str) -> Result<u64, SettlementError> {
    u64::try_from(number).map_err(|_| SettlementError::OtherAbi {
        contract: CONTRACT,
        function,
        reason: format!("{number}"),
    })
}
