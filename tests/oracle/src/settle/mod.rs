//! From votes to a root on chain. [`tariff`], [`verdict`], [`tree`] and [`compute`] are pure.

pub mod compute;
pub mod tariff;
pub mod tree;
pub mod verdict;
