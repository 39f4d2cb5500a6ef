//! The trait on the first engine.

use async_trait::async_trait;

use super::FileStore;
use crate::checksum::Algorithm;
use crate::error::{BodyError, StoreError};
use crate::list::{ListPage, ListQuery, UploadPage, UploadQuery};
use crate::names::{Bucket, Owner, PartNumber};
use crate::object::{Body, BucketInfo, ObjectInfo, ObjectReader, PartInfo, UploadInfo};
use crate::store::{
    BucketPage, BucketQuery, CompleteRequest, CopyTarget, DeleteRequest, Deleted, GetRequest,
    ObjectStore, PartPage, PutRequest, UploadRequest, UploadTarget, Usage,
};

#[async_trait]
impl ObjectStore for FileStore {
    async fn create_bucket(
        &self,
        bucket: &Bucket,
        owner: &Owner,
    ) -> Result<BucketInfo, StoreError> {
        self.shared.create_bucket(bucket.clone(), owner.clone()).await
    }

    async fn bucket(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError> {
        self.shared.read().bucket(bucket)
    }

    async fn list_buckets(&self, query: &BucketQuery) -> Result<BucketPage, StoreError> {
        self.shared.list_buckets(query)
    }

    async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.shared.delete_bucket(bucket.clone()).await
    }

    async fn put(&self, request: PutRequest, body: Body) -> Result<ObjectInfo, StoreError> {
        self.shared.put(request, body).await
    }

    async fn get(&self, request: &GetRequest) -> Result<ObjectReader, StoreError> {
        self.shared.get(request).await
    }

    async fn head(&self, request: &GetRequest) -> Result<ObjectInfo, StoreError> {
        self.shared.head(request).await
    }

    async fn delete(&self, request: &DeleteRequest) -> Result<Deleted, StoreError> {
        self.shared.delete(request.clone()).await
    }

    async fn copy(
        &self,
        source: &GetRequest,
        target: CopyTarget,
    ) -> Result<ObjectInfo, StoreError> {
        let CopyTarget { bucket, key, attributes, keep, conditions, limit } = target;
        let reader = self.shared.get(source).await?;
        let attributes = attributes.unwrap_or(reader.info.attributes);
        let length = reader.range.end - reader.range.start;
        let body = Body::new(reader.body.into_stream()).with_length(length).with_limit(limit);
        let request = PutRequest { bucket, key, attributes, keep, conditions };
        // What ends the copy is what the source's volume said.
        self.shared.put(request, body).await.map_err(own_error)
    }

    async fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.shared.list(bucket, query)
    }

    async fn create_upload(&self, request: UploadRequest) -> Result<UploadInfo, StoreError> {
        self.shared.create_upload(request).await
    }

    async fn put_part(
        &self,
        target: &UploadTarget,
        part: PartNumber,
        keep: Vec<Algorithm>,
        body: Body,
    ) -> Result<PartInfo, StoreError> {
        self.shared.put_part(target, part, keep, body).await.map_err(own_error)
    }

    async fn list_parts(
        &self,
        target: &UploadTarget,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartPage, StoreError> {
        self.shared.list_parts(target, after, limit)
    }

    async fn complete_upload(&self, request: CompleteRequest) -> Result<ObjectInfo, StoreError> {
        self.shared.complete_upload(request).await
    }

    async fn abort_upload(&self, target: &UploadTarget) -> Result<(), StoreError> {
        self.shared.abort_upload(target).await
    }

    async fn list_uploads(
        &self,
        bucket: &Bucket,
        query: &UploadQuery,
    ) -> Result<UploadPage, StoreError> {
        self.shared.list_uploads(bucket, query)
    }

    async fn usage(&self) -> Usage {
        self.shared.usage()
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
