//! What the chain says of roots.

use std::collections::BTreeSet;

use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::{OracleRegistry, Posted, SlaSettlement};
use agent_settlement::call::{Call, Probe, Wanted};
use agent_settlement::chain::checked::Checked;
use agent_settlement::chain::{At, Chain as _, ChainError};
use agent_settlement::preflight::{Contract, Target};
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::EraRoot;
use agent_sla::protocol::signed::Signature;
use agent_sla::protocol::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolValue};

/// Why nothing is known of the roots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The chain did not say.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The contract answers otherwise than ours does.
    #[error("the contract at {contract} answers {function} otherwise than ours: {reason}")]
    OtherAbi {
        /// Where it is.
        contract: Address,
        /// What was asked.
        function: &'static str,
        /// In what.
        reason: String,
    },
}

/// How far roots are on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The era that the next root begins with.
    pub next_era: u64,
    /// Roots that stand.
    pub count: u64,
    /// The last of them.
    pub last: Option<Posted>,
}

impl View {
    /// Digest of the root that the next one follows; zero for none.
    #[must_use]
    pub fn previous(&self) -> B256 {
        self.last.as_ref().map(|last| last.digest).unwrap_or_default()
    }
}

/// `SlaSettlement` on its chain.
#[derive(Debug, Clone)]
pub struct Net {
    chain: Checked,
    chain_id: u64,
    contract: Address,
}

impl Net {
    /// The contract of the parameters.
    #[must_use]
    pub fn new(chain: Checked, parameters: &Parameters) -> Self {
        Self { chain, chain_id: parameters.chain, contract: parameters.contract }
    }

    /// `SlaSettlement`.
    #[must_use]
    pub fn contract(&self) -> Address {
        self.contract
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> &Checked {
        &self.chain
    }

    /// What a contract answers.
    pub(super) async fn ask_of<T: SolCall>(
        &self,
        contract: Address,
        call: &T,
        at: At,
    ) -> Result<T::Return, NetError> {
        let answer = self.chain.read(contract, call.abi_encode().into(), at).await?;
        let function = T::SIGNATURE;
        T::abi_decode_returns_validate(&answer).map_err(|error| NetError::OtherAbi {
            contract,
            function,
            reason: error.to_string(),
        })
    }

    async fn ask<T: SolCall>(&self, call: &T, at: At) -> Result<T::Return, NetError> {
        self.ask_of(self.contract, call, at).await
    }

    /// How far roots are, all of one block.
    ///
    /// # Errors
    /// It is not known.
    pub async fn look(&self) -> Result<View, NetError> {
        let latest = self.chain.heads().await?.latest;
        let at = At::Number(latest.number);
        let next_era = self.ask(&SlaSettlement::nextEraCall {}, at).await?;
        let count = self.ask(&SlaSettlement::rootCountCall {}, at).await?;
        let count = u64::try_from(count).map_err(|_| NetError::OtherAbi {
            contract: self.contract,
            function: SlaSettlement::rootCountCall::SIGNATURE,
            reason: format!("{count} roots"),
        })?;
        let last = match count.checked_sub(1) {
            Some(id) => Some(self.posted(id, at).await?),
            None => None,
        };
        Ok(View { next_era, count, last })
    }

    /// A root that stands.
    ///
    /// # Errors
    /// It is not known, or there is none of this number.
    pub async fn posted(&self, id: u64, at: At) -> Result<Posted, NetError> {
        self.ask(&SlaSettlement::rootAtCall { id: U256::from(id) }, at).await
    }

    /// Whether a root that stands is final.
    ///
    /// # Errors
    /// It is not known, or there is none of this number.
    pub async fn is_final(&self, id: u64) -> Result<bool, NetError> {
        self.ask(&SlaSettlement::isFinalCall { id: U256::from(id) }, At::Latest).await
    }

    /// Whether a root was cancelled, and so can never be posted again.
    ///
    /// # Errors
    /// It is not known.
    pub async fn is_cancelled(&self, digest: B256) -> Result<bool, NetError> {
        self.ask(&SlaSettlement::cancelledCall { digest }, At::Latest).await
    }

    /// Those of some oracles whose signatures count no more, as they voted twice.
    ///
    /// # Errors
    /// It is not known.
    pub async fn jailed(
        &self,
        of: impl IntoIterator<Item = Address>,
    ) -> Result<BTreeSet<Address>, NetError> {
        let registry = self.ask(&SlaSettlement::oraclesCall {}, At::Latest).await?;
        let mut jailed = BTreeSet::new();
        for oracle in of {
            let question = OracleRegistry::oraclesCall { oracle };
            if self.ask_of(registry, &question, At::Latest).await?.jailed {
                jailed.insert(oracle);
            }
        }
        Ok(jailed)
    }

    /// What contracts of these roots sign and check for (EIP-712).
    #[must_use]
    pub fn separator(&self) -> B256 {
        domain(self.chain_id, self.contract).separator()
    }

    /// What must be so before anything is signed for the chain.
    #[must_use]
    pub fn target(&self) -> Target {
        let question = SlaSettlement::domainSeparatorCall {}.abi_encode().into();
        let separator = self.separator().abi_encode().into();
        let contract = Contract {
            name: "SlaSettlement",
            address: self.contract,
            version: Some((question, separator)),
        };
        // Nobody is paid by the post of a root; the contract stands for the HP that others have.
        Target { chain: self.chain_id, hp: self.contract, contracts: vec![contract] }
    }

    /// The post of a root. It happened where the next era is behind it, whoever posted it.
    #[must_use]
    pub fn post<'a>(
        &self,
        digest: B256,
        root: &EraRoot,
        signatures: impl Iterator<Item = &'a Signature>,
    ) -> Wanted {
        let EraRoot { toEra, .. } = *root;
        let signatures = signatures.map(|signature| signature.0.to_vec().into()).collect();
        let call = SlaSettlement::postCall { root: root.clone(), signatures };
        let probe = Probe {
            to: self.contract,
            data: SlaSettlement::nextEraCall {}.abi_encode().into(),
            word: 0,
            at_least: U256::from(toEra).saturating_add(U256::from(1)),
        };
        let data = call.abi_encode().into();
        Wanted { digest, call: Call { to: self.contract, data, probe: Some(probe) } }
    }
}
