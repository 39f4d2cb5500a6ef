//! Asking the chain what there is to know before anything is planned.

use agent_settlement::abi::reference::{NodeRegistry, SlaSettlement};
use agent_settlement::backend::reference::Reference as Backend;
use agent_settlement::backend::{Settlement, SettlementError};
use agent_settlement::chain::{At, Chain, Heads};
use agent_settlement::engine::observe;
use agent_settlement::preflight::{self, Refusal};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use anyhow::{Context, Result, bail};

use crate::abi::{CollateralVault, Eras, HpRegistry, Token};
use crate::network::{Network, Reference};
use crate::plan::Node;

/// How far the clock may be from the newest block's, in seconds (as the node's own engine has it).
pub(crate) const SKEW_MAX_S: u64 = 60;

/// The chain, seen by an HP.
#[derive(Debug, Clone)]
pub(crate) struct Desk<C> {
    pub network: Network,
    pub hp: Address,
    pub chain: C,
}

/// How the chain is.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub heads: Heads,
    pub balance_wei: u128,
    /// All that stands against signing.
    pub refusals: Vec<Refusal>,
}

impl<C: Chain + Clone> Desk<C> {
    /// Looks at chain and contracts.
    pub(crate) async fn survey(&self, now_s: u64) -> Result<Survey> {
        let found = self.chain.chain_id().await?;
        let expected = self.network.chain();
        if found != expected {
            // Nothing else of another chain would mean anything.
            bail!(Refusal::OtherChain { expected, found });
        }
        let heads = self.chain.heads().await?;
        let target = self.network.target(self.hp);
        let facts = observe(&self.chain, &target, &heads).await?;
        let balance_wei = self.chain.balance(self.hp).await?;
        let mut refusals =
            preflight::check(&target, &facts, self.hp, balance_wei, now_s, SKEW_MAX_S);
        // It is the HP who signs here.
        refusals.retain(|refusal| *refusal != Refusal::PayerIsHp);
        Ok(Survey { heads, balance_wei, refusals })
    }

    /// Our contracts' backend.
    pub(crate) fn backend(&self, contracts: &Reference) -> Backend<C> {
        Backend::new(contracts.network(self.hp), self.chain.clone())
    }

    /// What a contract answers.
    pub(crate) async fn ask<T: SolCall>(
        &self,
        contract: &'static str,
        at: Address,
        call: &T,
    ) -> Result<T::Return> {
        let answer = self.chain.read(at, call.abi_encode().into(), At::Latest).await?;
        Ok(T::abi_decode_returns_validate(&answer).map_err(|error| SettlementError::OtherAbi {
            contract,
            function: T::SIGNATURE,
            reason: error.to_string(),
        })?)
    }

    /// A node.
    pub(crate) async fn node(&self, contracts: &Reference, id: B256) -> Result<Node> {
        let status = self.backend(contracts).status(id).await?;
        let (era, _) = self.next_era_but_one(contracts).await?;
        let question = NodeRegistry::daemonAtCall { nodeId: id, era };
        let next = self.ask("NodeRegistry", contracts.registry, &question).await?;
        let question = agent_settlement::abi::reference::RewardClaims::doneCall { nodeId: id };
        let done = self.ask("RewardClaims", contracts.claims, &question).await?;
        let question = CollateralVault::collateralCall { nodeId: id };
        let held = self.ask("CollateralVault", contracts.vault, &question).await?;
        Ok(Node {
            id,
            standing: status.standing,
            hp: status.hp,
            daemon: status.daemon,
            daemon_next: (next != Address::ZERO).then_some(next),
            exit_at: status.exit_at,
            paid: U256::from(done.reward),
            taken: U256::from(done.penalty),
            collateral: U256::from(held.balance),
            deposited: U256::from(held.deposited),
        })
    }

    /// The first era that a change of now takes effect in, and when it begins, in seconds since 1970.
    pub(crate) async fn next_era_but_one(&self, contracts: &Reference) -> Result<(u64, u64)> {
        let era = self.ask("EraManager", contracts.eras, &Eras::nextEraButOneCall {}).await?;
        let start = self.ask("EraManager", contracts.eras, &Eras::startOfCall { era }).await?;
        Ok((era, seconds(start)))
    }

    /// Seconds from an exit until the collateral may be withdrawn.
    pub(crate) async fn exit_delay(&self, contracts: &Reference) -> Result<u64> {
        let question = HpRegistry::exitDelayCall {};
        Ok(seconds(self.ask("NodeRegistry", contracts.registry, &question).await?))
    }

    /// The node that a daemon key was ever bound to; zero for none.
    pub(crate) async fn bound_to(&self, contracts: &Reference, daemon: Address) -> Result<B256> {
        let question = NodeRegistry::nodeOfDaemonCall { daemon };
        self.ask("NodeRegistry", contracts.registry, &question).await
    }

    /// What the HP has of the token, and how much of it a contract may take.
    pub(crate) async fn tokens(
        &self,
        contracts: &Reference,
        spender: Address,
    ) -> Result<(U256, U256)> {
        let owner = self.hp;
        let question = Token::balanceOfCall { account: owner };
        let balance = self.ask("the token", contracts.token, &question).await?;
        let question = Token::allowanceCall { owner, spender };
        Ok((balance, self.ask("the token", contracts.token, &question).await?))
    }

    /// A root that stands, and when it is final, in seconds since 1970; none where there is none of this number.
    pub(crate) async fn root(&self, contracts: &Reference, id: u64) -> Result<Option<(B256, u64)>> {
        const CONTRACT: &str = "SlaSettlement";
        let at = contracts.settlement;
        let count = self.ask(CONTRACT, at, &SlaSettlement::rootCountCall {}).await?;
        if U256::from(id) >= count {
            return Ok(None);
        }
        let question = SlaSettlement::rootAtCall { id: U256::from(id) };
        let posted = self.ask(CONTRACT, at, &question).await.context("a root vanished")?;
        let window = self.ask(CONTRACT, at, &SlaSettlement::disputeWindowCall {}).await?;
        Ok(Some((posted.root, posted.postedAt.saturating_add(seconds(window)))))
    }
}

/// A time of a contract; what does not fit is never.
pub(crate) fn seconds(word: U256) -> u64 {
    u64::try_from(word).unwrap_or(u64::MAX)
}
