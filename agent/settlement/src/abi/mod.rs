//! The ABI of contracts, by version. What stands here is signed, sent or read: it never changes, a new version gets a
//! module of its own.

pub mod icn_v5;
pub mod messages;
pub mod reference;
