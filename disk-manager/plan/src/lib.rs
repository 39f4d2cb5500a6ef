//! Pure planning for disks: from what was observed to who owns each disk, and to the steps that
//! make a blank one ours. Nothing here reads a device, a clock or a random source.
//!
//! The way through: the probe fills an [`Inventory`] of [`ObservedDisk`]s; [`plan()`] decides whose
//! node this is ([`identity`]), judges every disk ([`judge`]) and answers a [`Plan`] of [`Step`]s
//! and [`Refusal`]s. A disk is foreign until it is proven [`Blank`](report::Ownership::Blank) or
//! [`Ours`](report::Ownership::Ours), and no step ever names another.
//!
//! ```text
//!  ObservedDisk ──► identity ──► judge ──► Judgement{ownership, reasons} ──► Plan{steps, refusals}
//! ```

pub mod by_hand;
mod codec;
pub mod hardware;
pub mod identity;
pub mod inventory;
pub mod judge;
pub mod label;
pub mod layout;
pub mod ledger;
pub mod observe;
pub mod plan;
pub mod reason;
pub mod report;
pub mod slots;
pub mod stick;
#[cfg(test)]
mod testing;

pub use inventory::{Inventory, Policy};
pub use judge::Judgement;
pub use label::{NodeId, NodeKey, Record};
pub use layout::Layout;
pub use observe::ObservedDisk;
pub use plan::{Outcome, Plan, Refusal, Step, plan};
pub use reason::{Reason, Rule};
