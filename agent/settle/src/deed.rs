//! What a transaction does, read from its own bytes: what is shown before anything is signed is what is signed, whatever a
//! file says about it.

use agent_settlement::abi::icn_v5::IcnV5;
use agent_settlement::abi::messages::{DaemonBinding, Leaf};
use agent_settlement::abi::reference::{NodeRegistry, RewardClaims};
use agent_settlement::backend::icn_v5::BATCH_MAX;
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;

use crate::abi::{CollateralVault, HpRegistry, Token};
use crate::dispute::deed::Dispute;
use crate::network::{Contracts, Network, Reference};
use crate::units::{moment, tokens};

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Register {
        label: B256,
    },
    Bind {
        binding: DaemonBinding,
    },
    Revoke {
        node: B256,
    },
    Exit {
        node: B256,
    },
    Allow {
        to: Spender,
        at: Address,
        amount: U256,
    },
    Deposit {
        node: B256,
        amount: U256,
    },
    Withdraw {
        node: B256,
    },
    Claim {
        root: U256,
        leaf: Leaf,
    },
    /// Of ICN's protocol.
    Begin {
        nodes: Vec<U256>,
    },
    /// Of ICN's protocol.
    PayOut {
        claim: U256,
    },
    Dispute(Dispute),
}

/// Who may be allowed to take tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spender {
    Vault,
    /// For a bond.
    Disputes,
}

/// It does nothing that this program knows, at a contract of this network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the transaction calls {to} in a way that this program does not know for the network that --network describes: \
     it is not signed or sent from here"
)]
pub(crate) struct UnknownDeed {
    to: Address,
}

impl Deed {
    /// Reads a call.
    pub(crate) fn read(network: &Network, to: Address, data: &[u8]) -> Result<Self, UnknownDeed> {
        let known = match network.contracts {
            Contracts::Reference(contracts) => reference(&contracts, to, data),
            Contracts::Icn { protocol, .. } if to == protocol => icn(data),
            Contracts::Icn { .. } => None,
        };
        known.ok_or(UnknownDeed { to })
    }

    /// When it is too late for it, in seconds since 1970; none if it never is.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match self {
            Self::Bind { binding } => Some(u64::try_from(binding.deadline).unwrap_or(u64::MAX)),
            _ => None,
        }
    }

    /// Whether there is no way back, which is asked for with a word of its own.
    pub(crate) fn for_good(&self) -> bool {
        matches!(self, Self::Exit { .. })
    }

    /// In words: a line each.
    pub(crate) fn words(&self) -> Vec<String> {
        let one = |line: String| vec![line];
        match self {
            Self::Register { label } => one(format!("registers the node with the label {label}")),
            Self::Bind { binding } => vec![
                format!("binds the daemon key {}", binding.daemonAddress),
                format!("to the node {} of the HP {}", binding.nodeId, binding.hpAccount),
                match self.deadline() {
                    Some(deadline) => format!("not after {}", moment(deadline)),
                    None => String::new(),
                },
            ],
            Self::Revoke { node } => one(format!("revokes the daemon key of the node {node}")),
            Self::Exit { node } => vec![
                format!("leaves the network with the node {node}: there is no way back"),
                "its daemon key is revoked; its collateral can be withdrawn after the exit delay"
                    .to_owned(),
            ],
            Self::Allow { to, at, amount } => {
                let name = match to {
                    Spender::Vault => "the collateral vault",
                    Spender::Disputes => "the contract of disputes",
                };
                one(format!("allows {name} {at} to take {}", tokens(*amount)))
            }
            Self::Deposit { node, amount } => {
                one(format!("deposits {} as collateral of the node {node}", tokens(*amount)))
            }
            Self::Withdraw { node } => one(format!("withdraws all collateral of the node {node}")),
            Self::Claim { root, leaf } => vec![
                format!(
                    "claims for the node {} by root {root}, up to era {}",
                    leaf.nodeId, leaf.toEra
                ),
                format!(
                    "earned since its beginning: {}; forfeited: {}",
                    tokens(leaf.cumulativeReward),
                    tokens(leaf.cumulativePenalty)
                ),
            ],
            Self::Begin { nodes } => {
                let ids: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                one(format!(
                    "begins to claim the rewards of {} node(s): {}",
                    ids.len(),
                    ids.join(", ")
                ))
            }
            Self::PayOut { claim } => one(format!("has the claim {claim} paid out")),
            Self::Dispute(dispute) => dispute.words(),
        }
    }
}

/// Whether data are a call, with nothing more or less in it.
pub(crate) fn call<T: SolCall>(data: &[u8]) -> Option<T> {
    let arguments = data.strip_prefix(&T::SELECTOR[..])?;
    let call = T::abi_decode_raw_validate(arguments).ok()?;
    (call.abi_encode() == data).then_some(call)
}

fn reference(contracts: &Reference, to: Address, data: &[u8]) -> Option<Deed> {
    let Reference { token, registry, vault, claims, disputes, .. } = *contracts;
    if to == registry {
        call::<NodeRegistry::registerCall>(data)
            .map(|call| Deed::Register { label: call.label })
            .or_else(|| {
                let call = call::<NodeRegistry::bindCall>(data)?;
                Some(Deed::Bind { binding: call.binding })
            })
            .or_else(|| {
                // With the HP's consent in it; whoever sends it changes nothing.
                let call = call::<NodeRegistry::bindForCall>(data)?;
                Some(Deed::Bind { binding: call.binding })
            })
            .or_else(|| {
                let call = call::<HpRegistry::revokeCall>(data)?;
                Some(Deed::Revoke { node: call.nodeId })
            })
            .or_else(|| {
                let call = call::<NodeRegistry::requestExitCall>(data)?;
                Some(Deed::Exit { node: call.nodeId })
            })
    } else if to == vault {
        call::<CollateralVault::depositCall>(data)
            .map(|call| Deed::Deposit { node: call.nodeId, amount: call.amount })
            .or_else(|| {
                let call = call::<CollateralVault::withdrawCall>(data)?;
                Some(Deed::Withdraw { node: call.nodeId })
            })
    } else if to == claims {
        let call = call::<RewardClaims::claimCall>(data)?;
        Some(Deed::Claim { root: call.rootId, leaf: call.leaf })
    } else if to == token {
        let call = call::<Token::approveCall>(data)?;
        // To nobody else: whom it allows may take tokens.
        let to = match call.spender {
            spender if spender == vault => Spender::Vault,
            spender if Some(spender) == disputes => Spender::Disputes,
            _ => return None,
        };
        Some(Deed::Allow { to, at: call.spender, amount: call.value })
    } else if Some(to) == disputes {
        Dispute::read(data).map(Deed::Dispute)
    } else {
        None
    }
}

fn icn(data: &[u8]) -> Option<Deed> {
    call::<IcnV5::initiateHpRewardsClaimCall>(data)
        .map(|call| Deed::Begin { nodes: vec![call.scalerNodeId] })
        .or_else(|| {
            let call = call::<IcnV5::batchInitiateHpRewardsClaimCall>(data)?;
            let nodes = call.scalerNodeIds;
            (1..=BATCH_MAX).contains(&nodes.len()).then_some(Deed::Begin { nodes })
        })
        .or_else(|| {
            let call = call::<IcnV5::claimHpRewardsCall>(data)?;
            Some(Deed::PayOut { claim: call.claimIndex })
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use agent_settlement::abi::reference::Disputes;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn network() -> Network {
        let at = Address::repeat_byte;
        let contracts = Reference {
            chain: 31_337,
            token: at(1),
            eras: at(2),
            registry: at(3),
            vault: at(4),
            claims: at(5),
            settlement: at(6),
            disputes: Some(at(7)),
        };
        let (rpc, oracles) = (Vec::new(), Vec::new());
        Network { rpc, hp: None, oracles, contracts: Contracts::Reference(contracts) }
    }

    #[test]
    fn each_call_is_read_at_its_own_contract_and_nowhere_else() {
        let node = B256::repeat_byte(7);
        let amount = U256::from(10).pow(U256::from(18));
        let vault = Address::repeat_byte(4);
        let cases = [
            (3, NodeRegistry::registerCall { label: node }.abi_encode(), "registers"),
            (3, HpRegistry::revokeCall { nodeId: node }.abi_encode(), "revokes"),
            (3, NodeRegistry::requestExitCall { nodeId: node }.abi_encode(), "no way back"),
            (1, Token::approveCall { spender: vault, value: amount }.abi_encode(), "take 1 ICNT"),
            (
                4,
                CollateralVault::depositCall { nodeId: node, amount }.abi_encode(),
                "deposits 1 ICNT",
            ),
            (
                7,
                Disputes::closeCall { voteDigest: node, receiptDigest: node }.abi_encode(),
                "nobody answered",
            ),
            (
                7,
                Disputes::takeBackCall { voteDigest: node, receiptDigest: node }.abi_encode(),
                "takes the bond",
            ),
            (4, CollateralVault::withdrawCall { nodeId: node }.abi_encode(), "withdraws"),
        ];
        for (at, data, expected) in cases {
            for to in 1..9 {
                let read = Deed::read(&network(), Address::repeat_byte(to), &data);
                assert_eq!(read.is_ok(), to == at, "{expected} at {to}");
            }
            let words = Deed::read(&network(), Address::repeat_byte(at), &data).unwrap().words();
            assert!(words.concat().contains(expected), "{words:?}");
            let more = [&data[..], &[0]].concat();
            assert!(Deed::read(&network(), Address::repeat_byte(at), &more).is_err());
        }
    }

    #[test]
    fn an_allowance_for_anyone_but_the_vault_is_not_known() {
        let data = Token::approveCall { spender: Address::repeat_byte(9), value: U256::MAX };
        let read = Deed::read(&network(), Address::repeat_byte(1), &data.abi_encode());
        assert!(read.unwrap_err().to_string().contains("does not know"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]
        #[test]
        fn whatever_is_read_is_the_whole_of_what_is_signed(cut in 0_usize..140, at in 0_usize..140, byte: u8) {
            let call = CollateralVault::depositCall { nodeId: B256::repeat_byte(7), amount: U256::from(5) };
            let mut data = call.abi_encode();
            data.truncate(cut);
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
            if let Ok(Deed::Deposit { node, amount }) = Deed::read(&network(), Address::repeat_byte(4), &data) {
                prop_assert_eq!(CollateralVault::depositCall { nodeId: node, amount }.abi_encode(), data);
            }
        }
    }
}
