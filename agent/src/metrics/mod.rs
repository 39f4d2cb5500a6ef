//! What the node says of itself to whoever watches many: readings in the form of OpenMetrics 1.0.
//!
//! Each source of readings is one collector; [`expose`] asks all of them. What is exposed is listed in
//! `docs/operations/metrics.md`, and a test compares the two.

mod build;
mod families;
mod hardware;
mod memory;
mod pool;
mod server;
mod settlement;
mod traffic;
mod volumes;

use std::fmt;

use agent_api::settlement::SettlementStatus;
use agent_object_store::PoolStatus;
use agent_s3::RequestCounts;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub(crate) use hardware::HardwareFacts;
pub(crate) use server::{listen, serve};

/// What the names of all readings begin with.
const PREFIX: &str = "icn";

/// What there is to read. A source that is not known yet is none, and so is every reading of it.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) pool: Option<PoolStatus>,
    pub(crate) s3: Option<RequestCounts>,
    pub(crate) hardware: Option<HardwareFacts>,
    pub(crate) settlement: Option<SettlementStatus>,
}

/// The readings of all sources, as text.
///
/// # Errors
/// A collector could not write.
fn expose(facts: Facts) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(build::Build));
    if let Some(pool) = facts.pool {
        let memory = crate::memory::shown(&pool);
        registry.register_collector(Box::new(memory::MemoryReadings(memory)));
        if let Some(served) = pool.served {
            registry.register_collector(Box::new(traffic::ObjectReadings(served)));
        }
        registry.register_collector(Box::new(volumes::VolumeReadings(pool.volumes.clone())));
        registry.register_collector(Box::new(pool::PoolReadings(pool)));
    }
    if let Some(s3) = facts.s3 {
        registry.register_collector(Box::new(traffic::S3Readings(s3)));
    }
    if let Some(hardware) = facts.hardware {
        registry.register_collector(Box::new(hardware::HardwareReadings(hardware)));
    }
    if let Some(status) = facts.settlement {
        registry.register_collector(Box::new(settlement::SettlementReadings(status)));
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
