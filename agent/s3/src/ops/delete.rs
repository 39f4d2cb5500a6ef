//! Deleting objects.

use agent_object_store::{Bucket, DeleteRequest, ETag, TagMatch, WriteConditions};
use futures::{FutureExt as _, StreamExt as _, stream};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error, ObjectIdentifier,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Api;
use crate::convert;
use crate::error::refusal;

/// Most objects of one request (S3: 1000).
const OBJECTS_MAX: usize = 1000;

/// How many of them are deleted at once: each waits for its disk, and several fit into one wait.
const AT_ONCE: usize = 16;

pub(super) async fn delete_object(
    api: &Api,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = req.input;
    if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
        return Err(conditions_not_there());
    }
    let request = DeleteRequest {
        bucket: convert::bucket(&input.bucket)?,
        key: convert::key(&input.key)?,
        version: convert::version(input.version_id.as_deref())?,
        conditions: convert::write_conditions(input.if_match.as_ref(), None)?,
    };
    api.store.delete(&request).await.map_err(refusal)?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(super) async fn delete_objects(
    api: &Api,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let bucket = convert::bucket(&req.input.bucket)?;
    let objects = req.input.delete.objects;
    if objects.is_empty() || objects.len() > OBJECTS_MAX {
        return Err(s3_error!(
            MalformedXML,
            "A request must name 1 to {OBJECTS_MAX} objects to delete, not {}.",
            objects.len()
        ));
    }
    let quiet = req.input.delete.quiet == Some(true);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    let deleting = objects.into_iter().map(|object| {
        let names = (object.key.clone(), object.version_id.clone());
        delete_one(api, &bucket, object).map(|outcome| (names, outcome))
    });
    let mut outcomes = stream::iter(deleting).buffered(AT_ONCE);
    while let Some(((key, version_id), outcome)) = outcomes.next().await {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject {
                key: Some(key),
                version_id,
                ..DeletedObject::default()
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        request_charged: None,
    }))
}

async fn delete_one(api: &Api, bucket: &Bucket, object: ObjectIdentifier) -> S3Result<()> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(conditions_not_there());
    }
    let tag = object.e_tag.as_ref();
    let if_match = tag.map(|tag| TagMatch::OneOf(ETag::new(tag.value()).into_iter().collect()));
    let request = DeleteRequest {
        bucket: bucket.clone(),
        key: convert::key(&object.key)?,
        version: convert::version(object.version_id.as_deref())?,
        conditions: WriteConditions { if_absent: false, if_match },
    };
    api.store.delete(&request).await.map_err(refusal)?;
    Ok(())
}

fn conditions_not_there() -> s3s::S3Error {
    s3_error!(
        NotImplemented,
        "Deleting on the condition of a size or a time is not implemented; use the entity tag."
    )
}
