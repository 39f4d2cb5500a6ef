//! Proofs of what a node stores: that bytes are a slice of an object ([`mod@slice`]), and that an object
//! belongs to what was stored at the cut of an era ([`member`]). Pure, so that an oracle or a dispute
//! can verify what a node said without any of the node's code beside this. The forms on the wire are
//! drawn in `docs/design/proofs.md`.

pub mod member;
pub mod parts;
pub mod slice;
pub mod tree;

mod wire;

/// A BLAKE3 hash.
pub type Root = [u8; 32];

/// What an object's bytes are, without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// BLAKE3 of the bytes; of the list of the parts, if the object has parts.
    pub root: Root,
    /// How many bytes.
    pub size: u64,
    /// Parts that the object was uploaded in; 0 for one that was written in one piece.
    pub parts: u16,
}

/// Why a proof does not hold, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not in the form of a proof.
    #[error("the bytes are no proof: they are cut off, go on behind the end, or have another form")]
    Malformed,
    /// It is of something else than was asked for.
    #[error("the proof is of another {0}")]
    Other(&'static str),
    /// It does not lead to the root.
    #[error("{0} does not lead to the root")]
    Broken(&'static str),
    /// There are no such bytes.
    #[error("bytes {start} to {end} are not within an object of {size} bytes")]
    Outside {
        /// The first byte.
        start: u64,
        /// The byte behind the last one.
        end: u64,
        /// Bytes of the object.
        size: u64,
    },
}
