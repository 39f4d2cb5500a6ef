//! The object store under the S3 service: buckets, keys and versions on the node's volumes. It
//! knows no HTTP.
//!
//! Protocols above are written against the trait [`ObjectStore`]; [`Engine`] is what stands behind
//! it. Its parts are told in `docs/design/engine.md`, its on-disk format in
//! `docs/design/on-disk-format.md`.

mod checksum;
mod clock;
mod conditions;
mod engine;
mod error;
mod latch;
mod list;
mod names;
mod object;
mod store;
mod volumes;

pub use agent_object_store_pool::disk::Choice as IoChoice;
pub use agent_object_store_pool::meter::{Calls, Measured, SPANS_US};
pub use agent_object_store_pool::superblock::Class;
pub use agent_object_store_pool::uring::Unavailable as NoUring;
pub use checksum::{Algorithm, Checksum, ChecksumScope, Checksums};
pub use clock::{Clock, SystemClock};
pub use conditions::{ReadConditions, ReadVerdict, TagMatch, WriteConditions};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use engine::fuzzing;
pub use engine::{
    BodyMemory, BucketTotals, ContentStatus, Engine, EngineConfig, EngineError, EraRoot, Event,
    Happening, HealingStatus, IndexError, IndexFault, IndexMemory, Leaving, Meter, NotARecord,
    NotCompressed, PackingStatus, PoolSpace, PoolStatus, Requests, ScrubStatus, SliceProof, Spread,
    StandbyStatus, Unsettled, VolumeStatus, destroy_volume, has_pool, is_opened_by, is_retired,
};
pub use error::{BodyError, StoreError};
pub use list::{After, ListEntry, ListPage, ListQuery, ObjectSummary, UploadPage, UploadQuery};
pub use names::{
    BUCKET_MAX_BYTES, Bucket, ETag, KEY_MAX_BYTES, NameError, ObjectKey, Owner, PART_NUMBER_MAX,
    PartNumber, PoolId, UnixMillis, UploadId, VersionId, VolumeId,
};
pub use object::{
    Attributes, Body, BucketInfo, ByteStream, ObjectInfo, ObjectReader, PartInfo, ReadBody,
    Trailer, UploadInfo,
};
pub use store::{
    BucketPage, BucketQuery, CompleteRequest, CopyTarget, DeleteRequest, Deleted, GetRequest,
    ObjectStore, PartPage, PutRequest, ReadRange, UploadRequest, UploadTarget, Usage, VolumeState,
    VolumeUsage,
};
pub use volumes::{AttachError, AttachReport, ForgetError, RetireError, Volume};
