//! Our own contracts. The node's engine binds (with the HP's signature) and claims; registering and leaving are
//! the HP's own.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{SolCall, SolValue};

use super::unsigned::Link;
use super::{
    ClaimOf, NodeId, NodeStatus, Rewards, Settlement, SettlementError, SignedBinding, Standing,
    Step, Unsigned,
};
use crate::abi::messages::domain;
use crate::abi::reference::{EraManager, Leaf, NodeRegistry, RewardClaims, SlaSettlement};
use crate::call::{Call, Probe, Wanted};
use crate::chain::{At, Chain};
use crate::preflight::{Contract, Target};

/// What this backend is called.
const NAME: &str = "reference";

/// A network on our contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The chain (EIP-155).
    pub chain: u64,
    /// The HP of this node.
    pub hp: Address,
    /// `NodeRegistry`.
    pub registry: Address,
    /// `EraManager`.
    pub eras: Address,
    /// `SlaSettlement`.
    pub settlement: Address,
    /// `RewardClaims`.
    pub claims: Address,
}

/// The backend.
#[derive(Debug, Clone)]
pub struct Reference<C> {
    pub(super) network: Network,
    chain: C,
}

impl Network {
    /// What must be so before anything is signed: the contracts are there, of this version, and belong together.
    #[must_use]
    pub fn target(&self) -> Target {
        let separator = domain(self.chain, self.settlement).separator();
        let version = |question: Vec<u8>, answer: Vec<u8>| Some((question.into(), answer.into()));
        let separates = || {
            let question = SlaSettlement::domainSeparatorCall {}.abi_encode();
            version(question, separator.abi_encode())
        };
        let pays_by = RewardClaims::settlementCall {}.abi_encode();
        let contracts = vec![
            Contract { name: "SlaSettlement", address: self.settlement, version: separates() },
            Contract { name: "NodeRegistry", address: self.registry, version: separates() },
            Contract {
                name: "RewardClaims",
                address: self.claims,
                version: version(pays_by, self.settlement.abi_encode()),
            },
            Contract { name: "EraManager", address: self.eras, version: None },
        ];
        Target { chain: self.chain, hp: self.hp, contracts }
    }
}

fn standing(state: u8) -> Option<Standing> {
    [
        Standing::Unknown,
        Standing::Healthy,
        Standing::Warned,
        Standing::RewardsHeld,
        Standing::Slashing,
        Standing::Offboarded,
    ]
    .get(usize::from(state))
    .copied()
}

/// What a node is called on chain: of its HP, and of the label by which the HP tells it apart. Nobody else can
/// register it.
#[must_use]
pub fn node_id(hp: Address, label: B256) -> NodeId {
    keccak256((hp, label).abi_encode())
}

impl<C: Chain> Reference<C> {
    /// A network, seen through a chain.
    #[must_use]
    pub fn new(network: Network, chain: C) -> Self {
        Self { network, chain }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    pub(super) async fn ask<T: SolCall>(
        &self,
        contract: &'static str,
        at: Address,
        call: &T,
    ) -> Result<T::Return, SettlementError> {
        let data = Bytes::from(call.abi_encode());
        let answer = self.chain.read(at, data, At::Latest).await?;
        T::abi_decode_returns_validate(&answer).map_err(|error| SettlementError::OtherAbi {
            contract,
            function: T::SIGNATURE,
            reason: error.to_string(),
        })
    }

    fn hp(&self) -> Result<Address, SettlementError> {
        match self.network.hp {
            Address::ZERO => Err(SettlementError::NoHp),
            hp => Ok(hp),
        }
    }

    fn by_hp(
        &self,
        data: Vec<u8>,
        what: String,
        links: Vec<Link>,
    ) -> Result<Step, SettlementError> {
        let Network { chain, registry: to, .. } = self.network;
        Ok(Step::Hp(Unsigned { chain, from: self.hp()?, to, data: data.into(), what, links }))
    }

    fn claim_leaf(&self, id: u64, leaf: &Leaf, proof: &[B256]) -> Result<Step, SettlementError> {
        self.hp()?;
        let Leaf { nodeId, cumulativeReward, .. } = *leaf;
        let call = RewardClaims::claimCall {
            rootId: U256::from(id),
            leaf: leaf.clone(),
            proof: proof.to_vec(),
        };
        let to = self.network.claims;
        let probe = Probe {
            to,
            data: RewardClaims::doneCall { nodeId }.abi_encode().into(),
            word: 0,
            // Nothing earned is nothing to be seen: then only a transaction of ours shows that it was claimed.
            at_least: cumulativeReward,
        };
        let probe = (cumulativeReward > U256::ZERO).then_some(probe);
        let data = Bytes::from(call.abi_encode());
        let digest = keccak256(("claim", to, id, nodeId, keccak256(&data)).abi_encode_params());
        Ok(Step::Ours(Wanted { digest, call: Call { to, data, probe } }))
    }
}

impl<C: Chain> Settlement for Reference<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn status(&self, node: NodeId) -> Result<NodeStatus, SettlementError> {
        const CONTRACT: &str = "NodeRegistry";
        let at = self.network.registry;
        let found = self.ask(CONTRACT, at, &NodeRegistry::nodeOfCall { nodeId: node }).await?;
        let standing = standing(found.state).ok_or_else(|| SettlementError::OtherAbi {
            contract: CONTRACT,
            function: NodeRegistry::nodeOfCall::SIGNATURE,
            reason: format!("state {}", found.state),
        })?;
        let era = self.ask("EraManager", self.network.eras, &EraManager::currentEraCall {}).await?;
        let question = NodeRegistry::daemonAtCall { nodeId: node, era };
        let daemon = self.ask(CONTRACT, at, &question).await?;
        Ok(NodeStatus {
            standing,
            hp: (found.hp != Address::ZERO).then_some(found.hp),
            daemon: (daemon != Address::ZERO).then_some(daemon),
            exit_at: (found.exitAt != 0).then_some(found.exitAt),
        })
    }

    async fn rewards(&self, node: NodeId) -> Result<Rewards, SettlementError> {
        let paid = Some(self.done(node).await?.reward);
        Ok(Rewards { paid, claimable: None, of_delegators: None, delay_s: None })
    }

    fn register(&self, label: B256) -> Result<Step, SettlementError> {
        let data = NodeRegistry::registerCall { label }.abi_encode();
        let arguments = vec![("bytes32", label.to_string())];
        let link = Link { function: "register", arguments };
        self.by_hp(data, format!("registers the node {label}"), vec![link])
    }

    fn bind(&self, signed: &SignedBinding) -> Result<Step, SettlementError> {
        let (expected, found) = (self.hp()?, signed.binding.hpAccount);
        if found != expected {
            return Err(SettlementError::OtherHp { expected, found });
        }
        let (binding, signature) = (signed.binding.clone(), signed.daemon.clone());
        let daemon = binding.daemonAddress;
        let Some(by_hp) = signed.hp.clone() else {
            let data = NodeRegistry::bindCall { binding, daemonSignature: signature }.abi_encode();
            // A link cannot hold a tuple.
            return self.by_hp(data, format!("binds the daemon key {daemon}"), Vec::new());
        };
        let call =
            NodeRegistry::bindForCall { binding, daemonSignature: signature, hpSignature: by_hp };
        let to = self.network.registry;
        let probe = Probe {
            to,
            data: NodeRegistry::nodeOfDaemonCall { daemon }.abi_encode().into(),
            word: 0,
            // An address is bound once and never again, so any node in its place is this one.
            at_least: U256::from(1),
        };
        let digest = keccak256(("bind", to, daemon).abi_encode_params());
        let call = Call { to, data: call.abi_encode().into(), probe: Some(probe) };
        Ok(Step::Ours(Wanted { digest, call }))
    }

    fn claim(&self, what: &ClaimOf) -> Result<Step, SettlementError> {
        let unsupported = |what| Err(SettlementError::Unsupported { backend: NAME, what });
        match what {
            ClaimOf::Leaf { id, root, leaf, proof } => match leaf.is_in(*root, proof) {
                true => self.claim_leaf(*id, leaf, proof),
                false => Err(SettlementError::NotInRoot(*id)),
            },
            ClaimOf::Nodes(_) => unsupported("claim without a leaf"),
            ClaimOf::Begun(_) => unsupported("claim of two steps"),
        }
    }

    fn exit(&self, node: NodeId) -> Result<Step, SettlementError> {
        let data = NodeRegistry::requestExitCall { nodeId: node }.abi_encode();
        let link = Link { function: "requestExit", arguments: vec![("bytes32", node.to_string())] };
        self.by_hp(data, format!("leaves the network with node {node}, for good"), vec![link])
    }
}
