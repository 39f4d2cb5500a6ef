//! From votes to a root on chain.
//!
//! [`tariff`], [`verdict`], [`tree`], [`compute`] and [`turn`] are pure: what votes come to, and whose turn it is.
//! [`votes`] and [`book`] remember; [`net`], [`voids`] and [`poster`] speak with the chain; [`settler`] joins them, following
//! chain and peers in `follow`, and proposing and judging in `round`; [`states`] has changes of nodes' states signed; [`verify`] computes anew, [`admission`] asks who the registry's nodes are. The sequence is drawn in
//! `docs/design/settlement.md`.

pub mod admission;
pub mod book;
pub mod compute;
pub mod config;
pub mod evidence;
mod follow;
pub mod net;
pub mod poster;
mod reads;
mod replies;
mod round;
pub mod settler;
pub mod states;
pub mod tariff;
pub mod tree;
pub mod turn;
pub mod verdict;
pub mod verify;
pub mod voids;
pub mod votes;
pub mod wire;

use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::EraRoot;
use alloy::sol_types::SolStruct as _;

pub use admission::Admits;
pub use config::SettleConfig;
pub use settler::Settler;

/// The EIP-712 digest of a root.
#[must_use]
pub fn root_digest(root: &EraRoot, parameters: &Parameters) -> B256 {
    root.eip712_signing_hash(&parameters.domain())
}
