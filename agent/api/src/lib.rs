//! Types and clients of the node's local sockets: the agent's control socket, which the console
//! and tools talk to, and init's socket, which the agent talks to.

pub mod init;
