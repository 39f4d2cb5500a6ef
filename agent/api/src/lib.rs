//! Types and clients of the node's local sockets: the agent's control socket, which the console
//! and tools talk to, and init's socket, which the agent talks to.
//!
//! Both speak lines of JSON: one request, one reply, any number of times on one connection.

pub mod client;
pub mod control;
pub mod hardware;
pub mod init;
pub mod local;
pub mod network;
pub mod pool;
pub mod settlement;
pub mod sla;
pub mod status;
pub mod support;
pub mod words;

pub use agent_health as health;
pub use disk_manager_plan::report as disks;
