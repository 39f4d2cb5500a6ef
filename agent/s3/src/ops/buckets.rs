//! Buckets.

use agent_object_store::{BucketQuery, StoreError};
use s3s::dto::{
    Bucket, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, shown_owner};
use crate::access::user;
use crate::convert;
use crate::error::refusal;

/// Most buckets of one page (S3: 10,000).
const BUCKETS_MAX: i32 = 10_000;

/// The region that S3 tells by telling none.
const NAMELESS_REGION: &str = "us-east-1";

pub(super) async fn create_bucket(
    api: &Api,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let owner = user(&req.extensions)?;
    let input = req.input;
    let wanted = input.create_bucket_configuration.and_then(|c| c.location_constraint);
    if let Some(region) = wanted.filter(|r| !r.as_str().is_empty() && r.as_str() != api.region) {
        return Err(s3_error!(
            InvalidLocationConstraint,
            "The specified location constraint {:?} is not valid: this is region {:?}.",
            region.as_str(),
            api.region
        ));
    }
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(s3_error!(NotImplemented, "Object lock is not implemented."));
    }
    let bucket = convert::bucket(&input.bucket)?;
    match api.store.create_bucket(&bucket, &owner).await {
        Ok(_) => {}
        Err(StoreError::BucketExists { owner: of, .. }) if of == owner => {
            return Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "Your previous request to create the named bucket succeeded and you already own it."
            ));
        }
        Err(error) => return Err(refusal(error)),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
}

pub(super) async fn delete_bucket(
    api: &Api,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = convert::bucket(&req.input.bucket)?;
    api.store.delete_bucket(&bucket).await.map_err(refusal)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// That the bucket exists and belongs to the user was checked before.
pub(super) async fn head_bucket(
    api: &Api,
    _: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let bucket_region = Some(api.region.clone());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
}

pub(super) async fn get_bucket_location(
    api: &Api,
    _: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let named = (api.region != NAMELESS_REGION).then(|| api.region.clone());
    let location_constraint = named.map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// Versioning was never switched on, which S3 tells by an empty answer.
pub(super) async fn get_bucket_versioning(
    _: &Api,
    _: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

pub(super) async fn list_buckets(
    api: &Api,
    req: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let owner = user(&req.extensions)?;
    let ListBucketsInput { bucket_region, continuation_token, max_buckets, prefix } = req.input;
    let limit = match usize::try_from(max_buckets.unwrap_or(BUCKETS_MAX)) {
        Ok(limit) if (1..=BUCKETS_MAX).contains(&max_buckets.unwrap_or(BUCKETS_MAX)) => limit,
        _ => return Err(s3_error!(InvalidArgument, "max-buckets must be 1 to {BUCKETS_MAX}")),
    };
    let after =
        continuation_token.as_deref().map(convert::bucket).transpose().map_err(|_| {
            s3_error!(InvalidArgument, "The continuation token provided is incorrect")
        })?;
    let elsewhere = bucket_region.is_some_and(|region| region != api.region);
    let query = BucketQuery {
        owner: Some(owner.clone()),
        prefix: prefix.clone().unwrap_or_default(),
        after,
        limit,
    };
    let page = api.store.list_buckets(&query).await.map_err(refusal)?;
    let last = page.buckets.last().map(|info| info.bucket.to_string());
    let continuation_token = last.filter(|_| page.more && !elsewhere);
    let shown = page.buckets.into_iter().filter(|_| !elsewhere).map(|info| Bucket {
        bucket_region: Some(api.region.clone()),
        creation_date: Some(convert::timestamp(info.created)),
        name: Some(info.bucket.to_string()),
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(shown.collect()),
        continuation_token,
        owner: Some(shown_owner(&owner)),
        prefix,
    }))
}
