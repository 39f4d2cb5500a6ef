//! The ICN protocol, version 5.0.3: read, and prepared for. Rewards are claimed from the HP's account, so nothing is sent
//! from here.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolValue};

use super::unsigned::Link;
use super::{
    ClaimOf, NodeId, NodeStatus, Rewards, Settlement, SettlementError, SignedBinding, Standing,
    Step, Unsigned,
};
use crate::abi::icn_v5::{Booking, IcnV5, ScalerNode, ScalerNodePlain, Version};
use crate::chain::{At, Chain};

/// What this backend is called.
const NAME: &str = "icn-v5";

/// The one proxy of the protocol.
const CONTRACT: &str = "the ICN protocol";

/// Nodes of one `batchInitiateHpRewardsClaim` (ICN protocol 5.0.3).
pub const BATCH_MAX: usize = 300;

/// A deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The chain (EIP-155).
    pub chain: u64,
    /// The HP of this node.
    pub hp: Address,
    /// The protocol's proxy.
    pub protocol: Address,
    /// Which form its nodes have.
    pub version: Version,
}

/// The backend.
#[derive(Debug, Clone)]
pub struct Icn<C> {
    network: Network,
    chain: C,
}

impl<C: Chain> Icn<C> {
    /// A deployment, seen through a chain.
    #[must_use]
    pub fn new(network: Network, chain: C) -> Self {
        Self { network, chain }
    }

    async fn raw<T: SolCall>(&self, call: &T) -> Result<Bytes, SettlementError> {
        Ok(self.chain.read(self.network.protocol, call.abi_encode().into(), At::Latest).await?)
    }

    async fn ask<T: SolCall>(&self, call: &T) -> Result<T::Return, SettlementError> {
        let answer = self.raw(call).await?;
        let decoded = T::abi_decode_returns_validate(&answer);
        decoded.map_err(|error| other(T::SIGNATURE, error.to_string()))
    }

    /// A node, read by the version that is configured and by no other: what does not encode to the very same bytes
    /// again is of another.
    ///
    /// # Errors
    /// The chain does not say, or the protocol is of another version.
    pub async fn node(&self, id: NodeId) -> Result<ScalerNode, SettlementError> {
        let answer = self.raw(&IcnV5::getScalerNodeCall { scalerNodeId: number(id) }).await?;
        let function = IcnV5::getScalerNodeCall::SIGNATURE;
        let malformed = |error: alloy::sol_types::Error| other(function, error.to_string());
        let (node, again) = match self.network.version {
            Version::V5_0_3 => {
                let node = ScalerNode::abi_decode_validate(&answer).map_err(malformed)?;
                let again = node.abi_encode();
                (node, again)
            }
            Version::V5_0_3Plain => {
                let node = ScalerNodePlain::abi_decode_validate(&answer).map_err(malformed)?;
                let again = node.abi_encode();
                (with_bookings(node), again)
            }
        };
        match again == *answer {
            true => Ok(node),
            false => Err(other(function, "there is more or less in it".to_owned())),
        }
    }

    fn by_hp(
        &self,
        data: Vec<u8>,
        what: String,
        links: Vec<Link>,
    ) -> Result<Step, SettlementError> {
        let Network { chain, hp: from, protocol: to, .. } = self.network;
        match from {
            Address::ZERO => Err(SettlementError::NoHp),
            _ => Ok(Step::Hp(Unsigned { chain, from, to, data: data.into(), what, links })),
        }
    }

    fn begin_claim(&self, nodes: &[NodeId]) -> Result<Step, SettlementError> {
        let link = |node: &NodeId| Link {
            function: "initiateHpRewardsClaim",
            arguments: vec![("uint256", number(*node).to_string())],
        };
        // Links cannot say lists: of many nodes, each has one of its own.
        let links = nodes.iter().map(link).collect();
        let data = match nodes {
            [node] => {
                IcnV5::initiateHpRewardsClaimCall { scalerNodeId: number(*node) }.abi_encode()
            }
            nodes if (1..=BATCH_MAX).contains(&nodes.len()) => {
                let ids = nodes.iter().map(|node| number(*node)).collect();
                IcnV5::batchInitiateHpRewardsClaimCall { scalerNodeIds: ids }.abi_encode()
            }
            nodes => return Err(SettlementError::Nodes { found: nodes.len(), max: BATCH_MAX }),
        };
        self.by_hp(data, format!("begins to claim the rewards of {} node(s)", nodes.len()), links)
    }
}

fn number(id: NodeId) -> U256 {
    U256::from_be_bytes(id.0)
}

fn other(function: &'static str, reason: String) -> SettlementError {
    SettlementError::OtherAbi { contract: CONTRACT, function, reason }
}

fn unsupported(what: &'static str) -> SettlementError {
    SettlementError::Unsupported { backend: NAME, what }
}

/// A node in the form with bookings, of which it has none.
fn with_bookings(node: ScalerNodePlain) -> ScalerNode {
    let none = || Booking {
        bookingPrice: U256::ZERO,
        startBookingPeriod: U256::ZERO,
        bookingPeriod: U256::ZERO,
    };
    ScalerNode {
        status: node.status,
        creationDate: node.creationDate,
        name: node.name,
        totalCapacity: node.totalCapacity,
        utilizedCapacity: node.utilizedCapacity,
        hpId: node.hpId,
        location: node.location,
        clusterId: node.clusterId,
        reservationPrice: node.reservationPrice,
        bookingPrice: node.bookingPrice,
        nodeRewardShare: node.nodeRewardShare,
        hwClass: node.hwClass,
        daemonAddress: node.daemonAddress,
        collateralAmount: node.collateralAmount,
        commitmentDuration: node.commitmentDuration,
        commitmentStart: node.commitmentStart,
        spIdUnused: node.spIdUnused,
        activationEra: node.activationEra,
        startBookingPeriod: node.startBookingPeriod,
        bookingPeriod: node.bookingPeriod,
        bookings: [none(), none()],
        spId: node.spId,
    }
}

/// `ScalerNodeStatus` {None, Registered, Validated, Rejected} with `ProtocolScalerNodeStatus` {None, Registered, Active,
/// Booked, Offboarded}; none where a number is no status.
fn standing(status: u8, protocol: u8) -> Option<Standing> {
    match (status, protocol) {
        (0, 0) => Some(Standing::Unknown),
        (3, 0..=4) => Some(Standing::Rejected),
        (0..=3, 4) => Some(Standing::Offboarded),
        (0..=3, 0 | 1) => Some(Standing::Registered),
        (0..=3, 2) => Some(Standing::Healthy),
        (0..=3, 3) => Some(Standing::Booked),
        _ => None,
    }
}

impl<C: Chain> Settlement for Icn<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn status(&self, id: NodeId) -> Result<NodeStatus, SettlementError> {
        let node = self.node(id).await?;
        let question = IcnV5::getProtocolScalerNodeStatusCall { scalerNodeId: number(id) };
        let protocol = self.ask(&question).await?;
        let standing = standing(node.status, protocol).ok_or_else(|| {
            let reason = format!("status {} and {protocol}", node.status);
            other(IcnV5::getProtocolScalerNodeStatusCall::SIGNATURE, reason)
        })?;
        let daemon = (node.daemonAddress != Address::ZERO).then_some(node.daemonAddress);
        // The protocol has a number for the HP, and this ABI no way from there to its account.
        Ok(NodeStatus { standing, hp: None, daemon, exit_at: None })
    }

    async fn rewards(&self, id: NodeId) -> Result<Rewards, SettlementError> {
        let question = IcnV5::unclaimedHpRewardsCall { scalerNodeId: number(id) };
        let unclaimed = self.ask(&question).await?;
        let delay = self.ask(&IcnV5::getHpRewardClaimDelayCall {}).await?;
        let delay_s = u64::try_from(delay).map_err(|_| {
            other(IcnV5::getHpRewardClaimDelayCall::SIGNATURE, format!("{delay} seconds"))
        })?;
        Ok(Rewards {
            paid: None,
            claimable: Some(unclaimed.nodeClaimable),
            of_delegators: Some(unclaimed.delegatorRewards),
            delay_s: Some(delay_s),
        })
    }

    fn register(&self, _label: B256) -> Result<Step, SettlementError> {
        Err(unsupported("call for registration that is public: use ICN's own page"))
    }

    fn bind(&self, _binding: &SignedBinding) -> Result<Step, SettlementError> {
        Err(unsupported("call for the daemon's address that is public: use ICN's own page"))
    }

    fn claim(&self, what: &ClaimOf) -> Result<Step, SettlementError> {
        match what {
            ClaimOf::Nodes(nodes) => self.begin_claim(nodes),
            ClaimOf::Begun(index) => {
                let data = IcnV5::claimHpRewardsCall { claimIndex: *index }.abi_encode();
                let arguments = vec![("uint256", index.to_string())];
                let link = Link { function: "claimHpRewards", arguments };
                self.by_hp(data, format!("pays out the claim {index}"), vec![link])
            }
            ClaimOf::Leaf { .. } => Err(unsupported("tree of rewards")),
        }
    }

    fn exit(&self, _node: NodeId) -> Result<Step, SettlementError> {
        Err(unsupported("call for leaving that is public: use ICN's own page"))
    }
}
