//! S3 semantics and HTTP over the object store.
