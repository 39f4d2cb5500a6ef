//! The trait on the engine.

use std::sync::Arc;

use async_trait::async_trait;

use super::Engine;
use super::home::Watched;
use crate::checksum::Algorithm;
use crate::engine::core::Core;
use crate::engine::traffic::Meter;
use crate::error::{BodyError, StoreError};
use crate::list::{ListPage, ListQuery, UploadPage, UploadQuery};
use crate::names::{Bucket, Owner, PartNumber};
use crate::object::{Body, BucketInfo, ObjectInfo, ObjectReader, PartInfo, UploadInfo};
use crate::store::{
    BucketPage, BucketQuery, CompleteRequest, CopyTarget, DeleteRequest, Deleted, GetRequest,
    ObjectStore, PartPage, PutRequest, UploadRequest, UploadTarget, Usage,
};

impl Engine {
    /// Serves a request.
    pub(super) async fn serve<T, F: Future<Output = Result<T, StoreError>> + Send>(
        &self,
        request: impl FnOnce(Arc<Core>) -> F + Send,
    ) -> Result<T, StoreError> {
        let (core, index) = self.shared().serving_soon().await?;
        let result = request(Arc::clone(&core)).await;
        self.seen(&core, &index, result)
    }

    /// The same for what waits for nothing but the index.
    pub(super) async fn look<T>(
        &self,
        request: impl FnOnce(&Core) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let (core, index) = self.shared().serving_soon().await?;
        let result = request(&core);
        self.seen(&core, &index, result)
    }

    fn seen<T>(
        &self,
        core: &Arc<Core>,
        index: &Watched,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.shared().seen(core, index, result)
    }
}

#[async_trait]
impl ObjectStore for Engine {
    async fn create_bucket(
        &self,
        bucket: &Bucket,
        owner: &Owner,
    ) -> Result<BucketInfo, StoreError> {
        self.serve(|core| core.create_bucket(bucket.clone(), owner.clone())).await
    }

    async fn bucket(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError> {
        self.look(|core| core.bucket_info(bucket)).await
    }

    async fn list_buckets(&self, query: &BucketQuery) -> Result<BucketPage, StoreError> {
        self.look(|core| core.list_buckets(query)).await
    }

    async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.serve(|core| core.delete_bucket(bucket.clone())).await
    }

    async fn put(&self, request: PutRequest, body: Body) -> Result<ObjectInfo, StoreError> {
        let put = |core: Arc<Core>| async move {
            core.volumes.check_room(body.length.unwrap_or_default())?;
            core.put(request, body).await
        };
        self.serve(put).await
    }

    async fn get(&self, request: &GetRequest) -> Result<ObjectReader, StoreError> {
        self.serve(|core| core.get(request)).await
    }

    async fn head(&self, request: &GetRequest) -> Result<ObjectInfo, StoreError> {
        self.serve(|core| async move { core.head(request).await }).await
    }

    async fn delete(&self, request: &DeleteRequest) -> Result<Deleted, StoreError> {
        self.serve(|core| core.delete(request.clone())).await
    }

    async fn copy(
        &self,
        source: &GetRequest,
        target: CopyTarget,
    ) -> Result<ObjectInfo, StoreError> {
        // What ends the copy is what the source's volume said.
        self.serve(|core| async move { core.copy(source, target).await.map_err(own_error) }).await
    }

    async fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.look(|core| core.list(bucket, query)).await
    }

    async fn create_upload(&self, request: UploadRequest) -> Result<UploadInfo, StoreError> {
        self.serve(|core| core.create_upload(request)).await
    }

    async fn put_part(
        &self,
        target: &UploadTarget,
        part: PartNumber,
        keep: Vec<Algorithm>,
        body: Body,
    ) -> Result<PartInfo, StoreError> {
        let put = |core: Arc<Core>| async move {
            core.put_part(target, part, keep, body).await.map_err(own_error)
        };
        self.serve(put).await
    }

    async fn list_parts(
        &self,
        target: &UploadTarget,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartPage, StoreError> {
        self.look(|core| core.list_parts(target, after, limit)).await
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<ObjectInfo, StoreError> {
        self.serve(|core| core.complete_upload(request)).await
    }

    async fn abort_upload(&self, target: &UploadTarget) -> Result<(), StoreError> {
        self.serve(|core| core.abort_upload(target.clone())).await
    }

    async fn list_uploads(
        &self,
        bucket: &Bucket,
        query: &UploadQuery,
    ) -> Result<UploadPage, StoreError> {
        self.look(|core| core.list_uploads(bucket, query)).await
    }

    fn meter(&self, bucket: &Bucket) -> Meter {
        // A bucket that is gone counts for nobody.
        let serving = self.shared().serving();
        serving.and_then(|(core, _)| core.meter(bucket)).unwrap_or_default()
    }

    async fn usage(&self) -> Usage {
        self.usage_now().await
    }
}

/// Takes an error of the store out of a body that came from the store.
fn own_error(error: StoreError) -> StoreError {
    let unpack = |source: BodyError| match source.downcast::<StoreError>() {
        Ok(own) => *own,
        Err(source) => StoreError::Body { source },
    };
    match error {
        StoreError::Body { source } => unpack(source),
        other => other,
    }
}
