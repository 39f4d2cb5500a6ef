//! Who may do what: the owner of a bucket, who is the one that made it, may do everything with it
//! and what is in it; nobody else may do anything. Every user may make buckets and list their own.
//!
//! This is decided here for all operations, before their bodies are read, so that none can forget
//! it; only the source of a copy is looked at by the copy itself.

use std::sync::Arc;

use agent_object_store::{Bucket, ObjectStore, Owner, StoreError};
use http::{Extensions, HeaderMap};
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Error, S3Result, s3_error};

use crate::convert;
use crate::error::refusal;
use crate::features;
use crate::users::Users;

/// The rule, over the store that knows the owners of buckets.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) users: Users,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else { return Err(denied()) };
        // The user may have been taken away between the signature and this.
        let owner = self.users.owner(&credentials.access_key).ok_or_else(denied)?;
        features::check(cx.headers())?;
        let operation = cx.s3_op().name();
        if let Some(bucket) = cx.s3_path().get_bucket_name()
            && operation != "CreateBucket"
        {
            let bucket = convert::bucket(bucket)?;
            may_use(self.store.as_ref(), &owner, &bucket, Side::Target, cx.headers()).await?;
        }
        cx.extensions_mut().insert(owner);
        Ok(())
    }
}

/// Which bucket of a request is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one in the address.
    Target,
    /// The one that is copied from.
    Source,
}

impl Side {
    fn expected_owner_header(self) -> &'static str {
        match self {
            Self::Target => "x-amz-expected-bucket-owner",
            Self::Source => "x-amz-source-expected-bucket-owner",
        }
    }
}

/// Refuses unless `owner` owns the bucket.
pub(crate) async fn may_use(
    store: &dyn ObjectStore,
    owner: &Owner,
    bucket: &Bucket,
    side: Side,
    headers: &HeaderMap,
) -> S3Result<()> {
    let info = match store.bucket(bucket).await {
        Ok(info) => info,
        Err(StoreError::NoSuchBucket { .. }) if side == Side::Source => {
            return Err(s3_error!(NoSuchBucket, "The bucket {bucket} does not exist."));
        }
        Err(error) => return Err(refusal(error)),
    };
    let expected = headers.get(side.expected_owner_header());
    let as_expected = expected.is_none_or(|name| name.as_bytes() == info.owner.as_str().as_bytes());
    if info.owner != *owner || !as_expected {
        return Err(denied());
    }
    Ok(())
}

/// The user that signed a request, as [`Access`] left it there.
pub(crate) fn user(extensions: &Extensions) -> S3Result<Owner> {
    extensions.get::<Owner>().cloned().ok_or_else(denied)
}

fn denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}
