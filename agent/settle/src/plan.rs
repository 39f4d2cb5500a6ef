//! What is called for what an HP wants, or why not. Pure: all that is known arrives as arguments.

use agent_settlement::abi::messages::Leaf;
use agent_settlement::abi::reference::NodeRegistry;
use agent_settlement::backend::unsigned::{Link, Unsigned};
use agent_settlement::backend::{SettlementError, SignedBinding, Standing, Step};
use agent_settlement::call::{Call, Probe, Wanted};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::sol_types::{SolCall, SolValue};

use crate::abi::{CollateralVault, HpRegistry, Token};
use crate::deed::{Deed, UnknownDeed};
use crate::network::{Network, Reference};
use crate::units::{moment, tokens};

/// Gas for a deposit that cannot be simulated, as its allowance is not given yet: twice what the contracts' own test
/// measures (docs/design/settlement.md, 119,039).
const DEPOSIT_GAS: u64 = 240_000;

/// What the chain says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub id: B256,
    pub standing: Standing,
    pub hp: Option<Address>,
    /// The key that it signs with now.
    pub daemon: Option<Address>,
    /// The key that it signs with from the next era but one on.
    pub daemon_next: Option<Address>,
    /// When its collateral may be withdrawn, in seconds since 1970; none while no exit was requested.
    pub exit_at: Option<u64>,
    /// Rewards paid, in the token's smallest unit.
    pub paid: U256,
    /// Penalties taken.
    pub taken: U256,
    /// Collateral that is there.
    pub collateral: U256,
    /// Collateral that was ever put in.
    pub deposited: U256,
}

/// A call, and how it is told and seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub call: Call,
    pub digest: B256,
    pub deed: Deed,
    pub links: Vec<String>,
    /// What it needs where it cannot be simulated before the one in front of it took effect.
    pub gas: Option<u64>,
}

/// Why nothing is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the node {0} is not registered: register it first, or correct --node")]
    NotRegistered(B256),
    #[error("the node {0} is registered already")]
    Registered(B256),
    #[error(
        "the node {node} is of the HP {found}, and you are {hp}: it is another node, or another key"
    )]
    OtherHp { node: B256, found: Address, hp: Address },
    #[error("the node {0} is on its way out, or gone: there is no way back")]
    Leaving(B256),
    #[error(
        "the daemon key {daemon} was bound before, to the node {node}, and is never bound again: make another"
    )]
    DaemonTaken { daemon: Address, node: B256 },
    #[error("the node {0} has no daemon key that could be revoked")]
    NoDaemon(B256),
    #[error("no exit was requested for the node {0}: run `icn-settle exit` first")]
    NoExit(B256),
    #[error("the collateral can be withdrawn from {} on", moment(*.0))]
    NotYet(u64),
    #[error("the node {0} has no collateral that could be withdrawn")]
    NoCollateral(B256),
    #[error("nothing would be deposited: name an amount")]
    NoAmount,
    #[error("the account has {}, less than {}", tokens(*has), tokens(*wants))]
    TooFewTokens { has: U256, wants: U256 },
    #[error("root {root} is not final before {}: claim then", moment(*at))]
    NotFinal { root: u64, at: u64 },
    #[error("everything up to root {root} was claimed for the node {node}")]
    Claimed { node: B256, root: u64 },
    #[error(
        "rewards of the node {0} are held: a claim would pay nothing until the oracles release them"
    )]
    Held(B256),
    #[error(transparent)]
    Backend(#[from] SettlementError),
    #[error(transparent)]
    Unknown(#[from] UnknownDeed),
}

/// A leaf that is in a root on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Earned {
    pub root: u64,
    pub leaf: Leaf,
    /// When the root is final, in seconds since 1970.
    pub final_at: u64,
}

impl Node {
    /// That it is there, and this HP's.
    pub(crate) fn of(&self, hp: Address) -> Result<(), Refused> {
        match self.hp {
            None => Err(Refused::NotRegistered(self.id)),
            Some(found) if found != hp => Err(Refused::OtherHp { node: self.id, found, hp }),
            Some(_) => Ok(()),
        }
    }

    fn stays(&self, hp: Address) -> Result<(), Refused> {
        self.of(hp)?;
        match self.exit_at.is_some() || self.standing == Standing::Offboarded {
            true => Err(Refused::Leaving(self.id)),
            false => Ok(()),
        }
    }
}

/// What a node of an HP is called.
pub(crate) fn node_id(hp: Address, label: B256) -> B256 {
    keccak256((hp, label).abi_encode())
}

/// A step of a backend as a call.
pub(crate) fn planned(network: &Network, step: Step) -> Result<Planned, Refused> {
    let (call, links) = match step {
        Step::Ours(wanted) => (wanted.call, Vec::new()),
        Step::Hp(unsigned) => {
            let links = unsigned.links();
            (Call { to: unsigned.to, data: unsigned.data, probe: None }, links)
        }
    };
    let deed = Deed::read(network, call.to, &call.data)?;
    // The same call again, while the first is under way, is the first.
    let digest = keccak256((call.to, keccak256(&call.data)).abi_encode());
    Ok(Planned { call, digest, deed, links, gas: None })
}

/// A call with tuples or lists, which links cannot hold.
pub(crate) fn unlinked(network: &Network, to: Address, data: Vec<u8>) -> Result<Planned, Refused> {
    let call = Call { to, data: data.into(), probe: None };
    // The digest is made anew of the call.
    planned(network, Step::Ours(Wanted { digest: B256::ZERO, call }))
}

/// A call that only an HP makes.
pub(crate) fn own(
    network: &Network,
    to: Address,
    data: Vec<u8>,
    function: &'static str,
    arguments: Vec<(&'static str, String)>,
) -> Result<Planned, Refused> {
    let links = vec![Link { function, arguments }];
    let (chain, from, what) = (network.chain(), Address::ZERO, String::new());
    planned(network, Step::Hp(Unsigned { chain, from, to, data: data.into(), what, links }))
}

/// How to see that a call took effect.
pub(crate) fn probe(
    to: Address,
    question: &impl SolCall,
    word: u16,
    at_least: U256,
) -> Option<Probe> {
    Some(Probe { to, data: Bytes::from(question.abi_encode()), word, at_least })
}

/// Registers a node.
pub(crate) fn register(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    step: Step,
) -> Result<Vec<Planned>, Refused> {
    if node.hp.is_some() {
        return Err(Refused::Registered(node.id));
    }
    let mut call = planned(network, step)?;
    let question = NodeRegistry::nodeOfCall { nodeId: node.id };
    call.call.probe = probe(contracts.registry, &question, 0, U256::from(1));
    Ok(vec![call])
}

/// Binds a daemon key; `taken` is the node that it was bound to before.
pub(crate) fn bind(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    signed: &SignedBinding,
    taken: B256,
    step: Step,
) -> Result<Vec<Planned>, Refused> {
    node.stays(signed.binding.hpAccount)?;
    let daemon = signed.binding.daemonAddress;
    if taken != B256::ZERO {
        return Err(Refused::DaemonTaken { daemon, node: taken });
    }
    let mut call = planned(network, step)?;
    let question = NodeRegistry::nodeOfDaemonCall { daemon };
    call.call.probe = probe(contracts.registry, &question, 0, U256::from(1));
    Ok(vec![call])
}

/// Revokes the daemon key.
pub(crate) fn revoke(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    hp: Address,
) -> Result<Vec<Planned>, Refused> {
    node.of(hp)?;
    if node.daemon_next.is_none() {
        return Err(Refused::NoDaemon(node.id));
    }
    let data = HpRegistry::revokeCall { nodeId: node.id }.abi_encode();
    let arguments = vec![("bytes32", node.id.to_string())];
    Ok(vec![own(network, contracts.registry, data, "revoke", arguments)?])
}

/// Leaves the network.
pub(crate) fn exit(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    hp: Address,
    step: Step,
) -> Result<Vec<Planned>, Refused> {
    node.of(hp)?;
    if node.exit_at.is_some() {
        return Err(Refused::Leaving(node.id));
    }
    let mut call = planned(network, step)?;
    // The third word of a node is when it leaves.
    let question = NodeRegistry::nodeOfCall { nodeId: node.id };
    call.call.probe = probe(contracts.registry, &question, 2, U256::from(1));
    Ok(vec![call])
}

/// Puts collateral in, and allows the vault to take it where that is not allowed yet.
pub(crate) fn deposit(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    hp: Address,
    amount: U256,
    (balance, allowance): (U256, U256),
) -> Result<Vec<Planned>, Refused> {
    node.stays(hp)?;
    if amount == U256::ZERO {
        return Err(Refused::NoAmount);
    }
    if balance < amount {
        return Err(Refused::TooFewTokens { has: balance, wants: amount });
    }
    let Reference { vault, token, .. } = *contracts;
    let mut calls = Vec::new();
    if allowance < amount {
        let data = Token::approveCall { spender: vault, value: amount }.abi_encode();
        let arguments = vec![("address", vault.to_string()), ("uint256", amount.to_string())];
        let mut allow = own(network, token, data, "approve", arguments)?;
        let question = Token::allowanceCall { owner: hp, spender: vault };
        allow.call.probe = probe(token, &question, 0, amount);
        calls.push(allow);
    }
    let data = CollateralVault::depositCall { nodeId: node.id, amount }.abi_encode();
    let arguments = vec![("bytes32", node.id.to_string()), ("uint256", amount.to_string())];
    let mut put = own(network, vault, data, "deposit", arguments)?;
    // The fourth word of a node's collateral is what was ever put in.
    let question = CollateralVault::collateralCall { nodeId: node.id };
    put.call.probe = probe(vault, &question, 3, node.deposited.saturating_add(amount));
    put.gas = (!calls.is_empty()).then_some(DEPOSIT_GAS);
    calls.push(put);
    Ok(calls)
}

/// Takes what is left of the collateral.
pub(crate) fn withdraw(
    network: &Network,
    contracts: &Reference,
    node: &Node,
    hp: Address,
    block_s: u64,
) -> Result<Vec<Planned>, Refused> {
    node.of(hp)?;
    let at = node.exit_at.ok_or(Refused::NoExit(node.id))?;
    if block_s < at {
        return Err(Refused::NotYet(at));
    }
    if node.collateral == U256::ZERO {
        return Err(Refused::NoCollateral(node.id));
    }
    let data = CollateralVault::withdrawCall { nodeId: node.id }.abi_encode();
    let arguments = vec![("bytes32", node.id.to_string())];
    Ok(vec![own(network, contracts.vault, data, "withdraw", arguments)?])
}

/// Claims what a node earned up to a root.
pub(crate) fn claim(
    network: &Network,
    node: &Node,
    hp: Address,
    earned: &Earned,
    step: Step,
    block_s: u64,
) -> Result<Planned, Refused> {
    node.of(hp)?;
    let Earned { root, leaf, final_at } = earned;
    if block_s < *final_at {
        return Err(Refused::NotFinal { root: *root, at: *final_at });
    }
    if leaf.cumulativeReward <= node.paid {
        return Err(Refused::Claimed { node: node.id, root: *root });
    }
    // After the exit's delay everything is paid (NodeRegistry, `standing`).
    let held = matches!(node.standing, Standing::RewardsHeld | Standing::Slashing);
    if held && node.exit_at.is_none_or(|at| block_s < at) {
        return Err(Refused::Held(node.id));
    }
    planned(network, step)
}

#[cfg(test)]
mod tests;
