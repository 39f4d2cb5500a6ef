//! Which bytes a challenge asks for, and whether what was answered proves them.
//!
//! A byte of everything that a node stores is drawn, in the order in which the data root has the
//! objects. The node shows the object that has it, the way from there to the root, and the group of
//! 16 KiB with the byte, with its way to the object's root. So a large object is asked for as often as
//! it is large, and 460 draws find a loss of 1% with a chance of 99%.

use std::ops::Range;

use agent_proofs::member::{Commitment, MemberProof};
use agent_proofs::tree::GROUP;
use agent_proofs::{ProofError, slice};
use alloy::primitives::{B256, keccak256};

/// The bytes that a challenge asks for: Keccak-256 of beacon and number (big-endian u64), its first 16
/// bytes as a big-endian number, modulo the total. None if nothing is stored.
#[must_use]
pub fn positions(beacon: &B256, samples: u16, total_bytes: u64) -> Vec<u64> {
    let position = |number: u64| {
        let hash = keccak256([beacon.as_slice(), &number.to_be_bytes()].concat());
        let drawn = hash.iter().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
        drawn.checked_rem(u128::from(total_bytes)).and_then(|at| u64::try_from(at).ok())
    };
    (0..u64::from(samples)).filter_map(position).collect()
}

/// The group of an object of `size` bytes that has the byte `at`.
#[must_use]
pub fn group_of(at: u64, size: u64) -> Range<u64> {
    let group = GROUP as u64;
    let start = at - at % group;
    start..start.saturating_add(group).min(size)
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The object does not belong to what was committed to.
    #[error("byte {position}: the object does not belong to the data root: {source}")]
    Member {
        /// The byte that was asked for.
        position: u64,
        /// Why.
        source: ProofError,
    },
    /// It belongs to it, but has other bytes.
    #[error("byte {position}: the object shown has bytes {start} to {end}")]
    Elsewhere {
        /// The byte that was asked for.
        position: u64,
        /// The first byte of the object.
        start: u64,
        /// The byte behind its last one.
        end: u64,
    },
    /// The bytes are not those of the object.
    #[error("byte {position}: the bytes are not the object's: {source}")]
    Slice {
        /// The byte that was asked for.
        position: u64,
        /// Why.
        source: ProofError,
    },
}

/// That an object has a byte of what was committed to: the object, and where the byte is in it.
///
/// # Errors
/// It is not shown.
pub fn verify_member(
    commitment: &Commitment,
    position: u64,
    member: &[u8],
) -> Result<(MemberProof, u64), SampleError> {
    let failed = |source| SampleError::Member { position, source };
    let proof = MemberProof::from_bytes(member).map_err(failed)?;
    let Range { start, end } = proof.verify(commitment).map_err(failed)?;
    match position.checked_sub(start) {
        Some(at) if position < end => Ok((proof, at)),
        _ => Err(SampleError::Elsewhere { position, start, end }),
    }
}

/// That the bytes around one of everything that was committed to are there.
///
/// # Errors
/// They are not shown.
pub fn verify(
    commitment: &Commitment,
    position: u64,
    member: &[u8],
    slice: &[u8],
) -> Result<(), SampleError> {
    let (proof, at) = verify_member(commitment, position, member)?;
    let content = &proof.member.content;
    let failed = |source| SampleError::Slice { position, source };
    slice::verify(content, &group_of(at, content.size), slice).map(drop).map_err(failed)
}
