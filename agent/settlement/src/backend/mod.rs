//! How a network settles, behind one trait: our own contracts ([`mod@reference`]), and those of ICN ([`icn_v5`]), which are
//! read, and for which what an HP's wallet has to sign is prepared.

pub mod icn_v5;
pub mod reference;
pub mod roots;
pub mod unsigned;

use std::future::Future;

use alloy::primitives::{Address, B256, Bytes, U256};

use crate::abi::messages::{DaemonBinding, Leaf};
use crate::call::Wanted;
use crate::chain::ChainError;

pub use unsigned::{Unsigned, UnsignedForm};

/// What a node is called on chain: 32 bytes, or a number as 32 bytes.
pub type NodeId = B256;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not known to the contracts.
    Unknown,
    /// It is registered, and not at work.
    Registered,
    /// It is at work.
    Healthy,
    /// It is at work, and booked.
    Booked,
    /// It was warned.
    Warned,
    /// Its rewards are counted and not paid.
    RewardsHeld,
    /// Penalties are taken from its collateral.
    Slashing,
    /// It was not admitted.
    Rejected,
    /// It is gone.
    Offboarded,
}

/// What the contracts say of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// How it stands.
    pub standing: Standing,
    /// Who is paid; none where the contracts do not say.
    pub hp: Option<Address>,
    /// The key that it signs with now; none for none.
    pub daemon: Option<Address>,
    /// When it leaves, in seconds since 1970; none if it does not.
    pub exit_at: Option<u64>,
}

/// What the contracts say of a node's rewards, in the token's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewards {
    /// Paid so far; none where the contracts do not say.
    pub paid: Option<U256>,
    /// To be claimed; none where only the oracles' tree says.
    pub claimable: Option<U256>,
    /// Of what is to be claimed, others' (delegators').
    pub of_delegators: Option<U256>,
    /// Seconds between the beginning of a claim and its payment; none where it is one step.
    pub delay_s: Option<u64>,
}

/// What is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOf {
    /// A leaf of a root.
    Leaf {
        /// The root's number.
        id: u64,
        /// The root.
        root: B256,
        /// The node's leaf.
        leaf: Leaf,
        /// Its way to the root.
        proof: Vec<B256>,
    },
    /// All of these nodes.
    Nodes(Vec<NodeId>),
    /// A claim that was begun, and whose delay is over.
    Begun(U256),
}

/// A binding with its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBinding {
    /// What is bound.
    pub binding: DaemonBinding,
    /// By the daemon key.
    pub daemon: Bytes,
    /// By the HP account; none where the HP sends it itself.
    pub hp: Option<Bytes>,
}

/// Who does what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The node's transaction engine, whose key pays the gas.
    Ours(Wanted),
    /// The HP's wallet. The node sends nothing.
    Hp(Unsigned),
}

/// Why a backend does not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementError {
    /// It has no such thing.
    #[error("{backend} has no {what}")]
    Unsupported {
        /// Which backend.
        backend: &'static str,
        /// What.
        what: &'static str,
    },
    /// The chain did not say.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A contract answers otherwise than its ABI says.
    #[error("{contract} answers {function} otherwise than the configured version does: {reason}")]
    OtherAbi {
        /// Which contract.
        contract: &'static str,
        /// Which function.
        function: &'static str,
        /// In what.
        reason: String,
    },
    /// Nobody would be paid.
    #[error("the HP account is zero: set it in the configuration")]
    NoHp,
    /// What was signed names another HP.
    #[error("the binding is of HP account {found}, and this node's is {expected}")]
    OtherHp {
        /// The account in the configuration.
        expected: Address,
        /// The account in the binding.
        found: Address,
    },
    /// The leaf is not in the root.
    #[error("the leaf is not in root {0}: its proof is wrong, or of another root")]
    NotInRoot(u64),
    /// Too many or too few nodes.
    #[error("{found} nodes in one claim: 1 to {max} are possible")]
    Nodes {
        /// How many.
        found: usize,
        /// The most.
        max: usize,
    },
}

/// How a network settles.
pub trait Settlement: Send + Sync {
    /// Which backend.
    fn name(&self) -> &'static str;
    /// What the contracts say of a node.
    fn status(
        &self,
        node: NodeId,
    ) -> impl Future<Output = Result<NodeStatus, SettlementError>> + Send;
    /// What the contracts say of its rewards.
    fn rewards(
        &self,
        node: NodeId,
    ) -> impl Future<Output = Result<Rewards, SettlementError>> + Send;
    /// Registers a node that its HP tells apart by a label.
    ///
    /// # Errors
    /// The backend cannot.
    fn register(&self, label: B256) -> Result<Step, SettlementError>;
    /// Binds a daemon key.
    ///
    /// # Errors
    /// The backend cannot.
    fn bind(&self, binding: &SignedBinding) -> Result<Step, SettlementError>;
    /// Claims.
    ///
    /// # Errors
    /// The backend cannot, or there is nothing that could be claimed.
    fn claim(&self, what: &ClaimOf) -> Result<Step, SettlementError>;
    /// Leaves the network with a node.
    ///
    /// # Errors
    /// The backend cannot.
    fn exit(&self, node: NodeId) -> Result<Step, SettlementError>;
}
