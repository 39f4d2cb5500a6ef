//! `[settlement]`: where the node sees on chain what it earned, and whether it claims that itself.

use std::fmt;
use std::time::Duration;

/// `[settlement]`. Chain, settling contract and eras are those of `[sla]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Settlement {
    /// `rpc`: one or two servers of the chain. Their paths may hold a secret: they are never shown.
    pub rpc: Vec<String>,
    /// `hp_account`: who is paid.
    pub hp_account: [u8; 20],
    /// `backend` with what it needs.
    pub network: Network,
    /// `pay_gas` with what goes with it; none where the node only watches.
    pub gas: Option<Gas>,
}

/// `backend`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// `"reference"`: the contracts of this repository.
    Reference {
        /// `registry`: `NodeRegistry`.
        registry: [u8; 20],
        /// `eras`: `EraManager`.
        eras: [u8; 20],
        /// `claims`: `RewardClaims`.
        claims: [u8; 20],
    },
    /// `"icn-v5"`: the ICN protocol, which is read only.
    IcnV5 {
        /// `protocol`: the protocol's proxy.
        protocol: [u8; 20],
        /// `node`: the node's number there.
        node: u64,
        /// `abi`: which form its nodes have.
        abi: Abi,
    },
}

/// `abi`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Abi {
    /// `"5.0.3"`: nodes with bookings.
    #[default]
    V5_0_3,
    /// `"5.0.3-plain"`: nodes without.
    V5_0_3Plain,
}

/// What the node may spend on gas, and when it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// `max_fee`: the most for a unit of gas, in wei. Default [`MAX_FEE_WEI`].
    pub max_fee_wei: u128,
    /// `day_budget`: the most that the transactions of a day (UTC) can cost, in wei. Default [`DAY_BUDGET_WEI`].
    pub day_budget_wei: u128,
    /// `claim_every`: at most one claim in so long. Default [`CLAIM_EVERY`].
    pub claim_every: Duration,
    /// `claim_at_least`: less is left until it is more, in the token's smallest unit. Default 0: all that is
    /// there.
    pub claim_at_least: u128,
}

/// The most for a unit of gas by default: 5 gwei, where Base is at some 0.01.
pub const MAX_FEE_WEI: u128 = 5_000_000_000;

/// The most that a day's transactions can cost by default: 0.03 ETH, which are 20 claims at the highest fee.
pub const DAY_BUDGET_WEI: u128 = 30_000_000_000_000_000;

/// How often is claimed by default: what is not claimed is not lost, so gas is spent once a day.
pub const CLAIM_EVERY: Duration = Duration::from_secs(24 * 3600);

impl fmt::Debug for Settlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement")
            .field("rpc", &self.rpc.len())
            .field("network", &self.network)
            .field("gas", &self.gas)
            .finish_non_exhaustive()
    }
}
