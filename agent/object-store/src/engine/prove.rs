//! Proofs that bytes are a slice of an object. Read are the slice, rounded out to groups, and the
//! leaves of the pieces that it touches: 2 MiB for each GiB of one. What lies in a record is read whole,
//! as it is 256 KiB at most and has no leaves beside it.

use std::ops::Range;
use std::sync::Arc;

use agent_proofs::slice::{Prover, rounded, verify};
use agent_proofs::tree::{ChainingValue, LEAF, groups, leaves};
use agent_proofs::{Content, ProofError, parts};

use super::core::Core;
use super::error::EngineError;
use super::read::{Located, Piece, TRIES, is_moved};
use crate::error::StoreError;
use crate::names::VersionId;
use crate::store::GetRequest;

/// Bytes that one proof has at most: it is made in memory, and whoever wants more asks again.
const SLICE_MAX_BYTES: u64 = 16 << 20;

/// A proof that bytes are a slice of an object: [`agent_proofs::slice::verify`] takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceProof {
    /// The version.
    pub version: VersionId,
    /// What the object is.
    pub content: Content,
    /// Which bytes.
    pub range: Range<u64>,
    /// The proof, with the bytes in it.
    pub proof: Vec<u8>,
}

fn failed(error: ProofError) -> StoreError {
    StoreError::engine("prove a slice", EngineError::Proof(error))
}

impl Core {
    /// Proves what [`Core::get`] would read.
    ///
    /// # Errors
    /// As for [`Core::get`], or more bytes are wanted than one proof may have.
    pub(super) async fn prove(
        self: Arc<Self>,
        request: &GetRequest,
    ) -> Result<SliceProof, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            let _reading = self.reads.begin();
            match self.prove_located(self.locate(request)?).await {
                Err(error) if is_moved(&error) => last = Some(error),
                result => return result,
            }
        }
        Err(last.unwrap_or(StoreError::Unavailable { reason: "it moves".to_owned() }))
    }

    async fn prove_located(&self, located: Located) -> Result<SliceProof, StoreError> {
        let Located { info, root, range, pieces } = located;
        if range.end - range.start > SLICE_MAX_BYTES {
            return Err(StoreError::TooLarge { limit: SLICE_MAX_BYTES });
        }
        let content = Content { root, size: info.size, parts: info.parts.unwrap_or(0) };
        let mut prover = Prover::new(&content, &range).map_err(failed)?;
        if content.parts > 0 {
            let size = |piece: &Piece| piece.range.end - piece.range.start;
            let list = parts::list(pieces.iter().map(|piece| (size(piece), piece.root)));
            for part in prover.list(&list, &range).map_err(failed)? {
                let piece = pieces.get(part.number).ok_or(failed(ProofError::Malformed))?;
                self.prove_piece(&mut prover, piece, &part.range).await?;
            }
        } else if let Some(piece) = pieces.first() {
            self.prove_piece(&mut prover, piece, &range).await?;
        }
        let proof = prover.finish();
        // What is given away holds, whatever the disks gave.
        verify(&content, &range, &proof).map_err(failed)?;
        Ok(SliceProof { version: info.version, content, range, proof })
    }

    /// Adds the proof of a range of a piece, counted from the piece's own start.
    async fn prove_piece(
        &self,
        prover: &mut Prover,
        piece: &Piece,
        range: &Range<u64>,
    ) -> Result<(), StoreError> {
        let size = piece.range.end - piece.range.start;
        let wanted = rounded(size, range).map_err(failed)?;
        if let Some(at) = piece.leaves_at {
            let behind = at..at + groups(size) * LEAF as u64;
            let leaves = self.read_stored(&piece.source, &behind).await?;
            let leaves: Vec<ChainingValue> =
                leaves.chunks(LEAF).filter_map(|leaf| leaf.try_into().ok()).collect();
            let read = self.read_piece(piece, &wanted).await?;
            return prover.piece(size, range, &leaves, &read).map_err(failed);
        }
        let all = self.read_piece(piece, &(0..size)).await?;
        let place = usize::try_from(wanted.start).ok().zip(usize::try_from(wanted.end).ok());
        let read = place.and_then(|(start, end)| all.get(start..end));
        let read = read.ok_or(failed(ProofError::Malformed))?;
        prover.piece(size, range, &leaves(&all), read).map_err(failed)
    }
}
