//! What the engine can tell and prove of what it holds.

use agent_proofs::member::MemberProof;

use super::Engine;
use crate::engine::eras::EraRoot;
use crate::engine::prove::SliceProof;
use crate::engine::totals::BucketTotals;
use crate::error::StoreError;
use crate::names::{Bucket, ObjectKey};
use crate::store::GetRequest;

impl Engine {
    /// What each bucket holds and what was used of it, also of those that are deleted. All of it is as
    /// much or more after a restart.
    ///
    /// # Errors
    /// It could not be written down, or the store is not open.
    pub async fn bucket_totals(&self) -> Result<Vec<BucketTotals>, StoreError> {
        self.serve(|core| async move { core.bucket_totals().await }).await
    }

    /// Forgets what was used of a deleted bucket, by its number, once that is settled. Says whether it was
    /// known.
    ///
    /// # Errors
    /// The index failed, or the store is not open.
    pub async fn forget_usage(&self, number: u64) -> Result<bool, StoreError> {
        self.look(|core| core.forget_usage(number)).await
    }

    /// Proves that bytes are those of an object, without reading the rest of it. At most 16 MiB at once.
    ///
    /// # Errors
    /// As for [`get`](crate::ObjectStore::get), or [`StoreError::TooLarge`].
    pub async fn prove(&self, request: &GetRequest) -> Result<SliceProof, StoreError> {
        self.serve(|core| core.prove(request)).await
    }

    /// Cuts an era: commits to every object that is stored now, so that each can be proven to have been.
    /// Requests go on meanwhile. What is kept of eras before `keep_from`, whose disputes are over, is
    /// given back. For an era that was cut before, its commitment.
    ///
    /// # Errors
    /// It could not be written down, on which it may be cut again; or the store is not open.
    pub async fn cut_era(&self, era: u64, keep_from: u64) -> Result<EraRoot, StoreError> {
        self.serve(|core| core.cut_era(era, keep_from)).await
    }

    /// The commitment of an era; none if it is not kept.
    ///
    /// # Errors
    /// It cannot be read now.
    pub async fn era_root(&self, era: u64) -> Result<Option<EraRoot>, StoreError> {
        self.serve(|core| async move { core.era_root(era).await }).await
    }

    /// Proves that an object was stored when an era was cut, also if it is gone or replaced by now. None
    /// if it was not, or the era is not kept.
    ///
    /// # Errors
    /// What is kept of the era cannot be read now.
    pub async fn prove_member(
        &self,
        era: u64,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<MemberProof>, StoreError> {
        self.serve(|core| async move { core.prove_member(era, bucket, key).await }).await
    }

    /// The same for the object that has one byte of all that were stored, in the order of buckets and
    /// keys: whoever draws bytes at random meets each object as often as it is large.
    ///
    /// # Errors
    /// As [`Engine::prove_member`].
    pub async fn prove_byte(&self, era: u64, byte: u64) -> Result<Option<MemberProof>, StoreError> {
        self.serve(|core| async move { core.prove_byte(era, byte).await }).await
    }
}
