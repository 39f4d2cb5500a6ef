//! What a person at the console may have done that no file says: a disk claimed by hand, a PIN, the first
//! steps, recovery words, the way back to a node that is new. Part of version 1 of the wire form in
//! [`crate::control`].

use serde::{Deserialize, Serialize};

/// How many of the last characters of a disk's serial number are typed to claim it.
pub const SERIAL_END: usize = 6;

/// How many words the daemon key has: 256 bits and a checksum (BIP 39).
pub const RECOVERY_WORDS: usize = 24;

/// What a factory reset destroys beyond what it always does. It always destroys all objects, buckets and users, the
/// settings of the network that were kept, and the PIN that was set on the node; node.toml on the stick stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetScope {
    /// The node keeps its id, daemon key and certificate: it is the same node on chain.
    KeepIdentity,
    /// The daemon key and the certificate are destroyed too: what is not claimed on chain is claimed by the HP's own
    /// key, and a new daemon key has to be bound.
    ForgetIdentity,
}
