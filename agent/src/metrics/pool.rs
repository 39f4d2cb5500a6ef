//! The pool as a whole.

use std::fmt;

use agent_object_store::{PoolStatus, StandbyStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::Families;

/// The pool.
#[derive(Debug)]
pub(super) struct PoolReadings(pub(super) PoolStatus);

impl Collector for PoolReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let PoolStatus { awaited, spare_volumes, space, content, healing, scrub, packing, .. } =
            &self.0;
        to.gauge("pool_open", "1 while the store is open, else 0", awaited.is_none().into())?;
        to.counter("events", "Events since the agent was started", None, self.0.events)?;
        // Of a store that is not open nothing else is known.
        if awaited.is_some() {
            return Ok(());
        }
        if let Some(spare) = *spare_volumes {
            let help = "Volumes that may still be lost without any object";
            to.gauge("pool_spare_volumes", help, spare.into())?;
        }
        if let Some(standby) = &self.0.standby {
            let is_in_step = *standby == StandbyStatus::InStep;
            let help = "1 while the index has a standby that is in step, else 0";
            to.gauge("index_standby", help, is_in_step.into())?;
        }
        to.bytes("pool_capacity", "Size of the volumes in use", space.total)?;
        to.bytes("pool_used", "Room that is taken", space.used)?;
        to.bytes("pool_reserved", "Room that is kept for packing and cleaning", space.reserved)?;
        to.bytes("pool_usable", "Bytes of objects that still fit, about", space.usable)?;
        if let Some(content) = content {
            let help = "Bytes of objects and parts, as clients see them";
            to.bytes("content_plain", help, content.plain_bytes)?;
            let help = "Bytes in groups that are needed for that, without redundancy";
            to.bytes("content_stored", help, content.stored_bytes)?;
        }
        to.gauge("groups", "Groups of erasure-coded content", healing.groups)?;
        let help = "Groups by how many of their shards are missing";
        let missing = (1_u64..).zip(&healing.by_missing);
        let missing =
            missing.map(|(missing, groups)| ([("missing", missing.to_string())], *groups));
        to.gauges("groups_degraded", help, None, missing)?;
        let help = "Groups of which more is missing than may be";
        to.gauge("groups_lost", help, healing.lost)?;
        let help = "Damaged shards that are known and not made anew yet";
        to.gauge("damaged_shards", help, healing.damaged)?;
        to.gauge(
            "healing_running",
            "1 while shards are made anew",
            healing.since.is_some().into(),
        )?;
        to.bytes(
            "healing_wanting",
            "Bytes that are to be made anew, about",
            healing.wanting_bytes,
        )?;
        let help = "Shards that were made anew since healing began";
        to.gauge("healing_made_shards", help, healing.made_shards)?;
        let help = "Bytes that were made anew since healing began";
        to.bytes("healing_made", help, healing.made_bytes)?;
        if let Some(scrub) = scrub {
            let help = "Groups that were read in this round of the scrub";
            to.gauge("scrub_read_groups", help, scrub.read)?;
        }
        to.gauge("journal_segments", "Segments of journals in use", packing.segments)?;
        to.bytes("journal_records", "Records in these segments", packing.bytes)?;
        to.gauge("packing_running", "1 while journals are packed", packing.is_running.into())
    }
}
