//! The operations of S3. What is not here is answered with NotImplemented, after the signature and
//! the owner were checked.

mod buckets;
mod complete;
mod copy;
mod delete;
mod list;
mod read;
mod uploads;
mod write;

use std::sync::Arc;

use agent_object_store::{ObjectStore, Owner};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

/// Largest object that is written or copied in one piece, and largest part (S3: 5 GiB).
pub(crate) const PIECE_MAX_BYTES: u64 = 5 << 30;

/// Most entries of one page of a listing (S3: 1000).
const PAGE_MAX: i32 = 1000;

/// What the operations work with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) region: String,
}

/// An owner as S3 shows one.
fn shown_owner(owner: &Owner) -> s3s::dto::Owner {
    let name = owner.as_str().to_owned();
    s3s::dto::Owner { display_name: Some(name.clone()), id: Some(name) }
}

/// How many entries a page may have, from what the client asks for.
fn page_limit(name: &str, asked: Option<i32>) -> S3Result<(usize, i32)> {
    let limit = asked.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    match usize::try_from(limit) {
        Ok(count) => Ok((count, limit)),
        Err(_) => Err(s3s::s3_error!(InvalidArgument, "{name} must not be negative")),
    }
}

/// Passes each operation to the function of the same name in its group. What only reads is counted
/// once it was carried out; what changes something is counted by the store.
macro_rules! operations {
    ($($group:ident: $($name:ident($input:ty) -> $output:ty $([$kind:ident])?),+;)+) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $($(
                async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    $(let $kind = req.input.bucket.clone();)?
                    let answer = $group::$name(self, req).await;
                    $(self.count(&answer, &$kind);)?
                    answer
                }
            )+)+
        }
    };
}

impl Api {
    /// Counts a request that read something in a bucket, if it was carried out.
    fn count<T>(&self, answer: &S3Result<T>, bucket: &str) {
        if let (Ok(_), Ok(bucket)) = (answer, crate::convert::bucket(bucket)) {
            self.store.meter(&bucket).read();
        }
    }
}

operations! {
    buckets:
        create_bucket(CreateBucketInput) -> CreateBucketOutput,
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput,
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput [read],
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput [read],
        head_bucket(HeadBucketInput) -> HeadBucketOutput [read],
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
    read:
        get_object(GetObjectInput) -> GetObjectOutput,
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput [read],
        head_object(HeadObjectInput) -> HeadObjectOutput [read];
    write:
        put_object(PutObjectInput) -> PutObjectOutput,
        upload_part(UploadPartInput) -> UploadPartOutput;
    copy:
        copy_object(CopyObjectInput) -> CopyObjectOutput,
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    delete:
        delete_object(DeleteObjectInput) -> DeleteObjectOutput,
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    list:
        list_objects(ListObjectsInput) -> ListObjectsOutput [read],
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output [read];
    uploads:
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput,
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput,
        list_parts(ListPartsInput) -> ListPartsOutput [read],
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput [read];
    complete:
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
}
