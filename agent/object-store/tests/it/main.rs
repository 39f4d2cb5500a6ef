//! Tests of the store through its public interface.

use agent_object_store::{Bucket, FileStoreConfig, PoolId};

#[test]
fn a_store_is_configured_by_its_pool_alone() {
    let config = FileStoreConfig::new(PoolId::new("node-1").unwrap());
    assert_eq!(config.pool.as_str(), "node-1");
    assert!(Bucket::new("photos").is_ok());
}
