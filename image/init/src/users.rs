//! The users of the image by number: init asks no name service. The names are in /etc/passwd of
//! the image.

/// root.
pub(crate) const ROOT: u32 = 0;
/// icn-agent, user and group.
pub(crate) const AGENT: u32 = 900;
/// icn-console, user and group.
pub(crate) const CONSOLE: u32 = 901;
/// The group icn: who may use the agent's control socket.
pub(crate) const ICN_GROUP: u32 = 902;
/// `_chrony`, user and group.
pub(crate) const CHRONY: u32 = 903;
