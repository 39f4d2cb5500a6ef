//! What the engine can prove of what it holds.

use super::Engine;
use crate::engine::prove::SliceProof;
use crate::error::StoreError;
use crate::store::GetRequest;

impl Engine {
    /// Proves that bytes are those of an object, without reading the rest of it. At most 16 MiB at once.
    ///
    /// # Errors
    /// As for [`get`](crate::ObjectStore::get), or [`StoreError::TooLarge`].
    pub async fn prove(&self, request: &GetRequest) -> Result<SliceProof, StoreError> {
        self.serve(|core| core.prove(request)).await
    }
}
