//! A reference SLA oracle: a real server that takes reports of nodes, challenges them, reads canaries as
//! an ordinary S3 tenant, and votes on each era. What it speaks is `agent_sla::protocol`; how to run one
//! says `docs/operations/oracle.md`.
//!
//! [`state`], [`tally`] and [`judge`] decide and are pure; [`log`] is what they decided, on stable
//! storage; [`service`] joins them, [`server`] speaks HTTP.

pub mod canary;
pub mod client;
pub mod clock;
pub mod fault;
pub mod html;
pub mod identity;
pub mod judge;
pub mod limits;
pub mod log;
pub mod proxy;
pub mod record;
pub mod reports;
pub mod server;
pub mod service;
pub mod settle;
pub mod setup;
pub mod state;
pub mod store;
pub mod tally;
pub mod tls;
