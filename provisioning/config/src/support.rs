//! `[support]`: who may read what a node says of itself when help is needed.

use std::fmt;

/// `[support]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Support {
    /// `recipients`: the keys that support bundles are encrypted to; without one, none is written.
    pub recipients: Vec<Recipient>,
}

/// The public key of an age key pair (X25519): `age1` and 58 characters, its checksum proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient(pub(crate) String);

impl Recipient {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
