//! What memory is used for, and how much there is.

use std::fmt;

use agent_api::pool::Memory;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::Families;

/// Memory.
#[derive(Debug)]
pub(super) struct MemoryReadings(pub(super) Memory);

impl Collector for MemoryReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let Memory { bodies, index, resident, machine, limit } = self.0;
        to.bytes("body_memory_limit", "Memory that the bodies of requests may take", bodies.total)?;
        to.bytes("body_memory_used", "Memory that the bodies of requests take", bodies.held)?;
        to.gauge("body_memory_waiting", "Requests that wait for memory", bodies.waiting)?;
        let help = "Requests that were answered with SlowDown, as they found no memory";
        to.counter("body_memory_refused", help, None, bodies.refused)?;
        if let Some(index) = index {
            let help = "Memory that the cache of the index may take";
            to.bytes("index_cache_limit", help, index.cache_total)?;
            to.bytes("index_cache_used", "Memory of the cache of the index", index.cache_held)?;
            let help = "Memory that the write buffers of the index may take";
            to.bytes("index_buffers_limit", help, index.buffers_total)?;
            let help = "Memory of the write buffers of the index";
            to.bytes("index_buffers_used", help, index.buffers_held)?;
        }
        if let Some(resident) = resident {
            to.bytes("resident_memory", "Memory that the agent occupies in all", resident)?;
        }
        if let Some(machine) = machine {
            to.bytes("machine_memory", "Memory of the machine", machine)?;
        }
        if let Some(limit) = limit {
            to.bytes("memory_limit", "Memory that the agent's control group may take", limit)?;
        }
        Ok(())
    }
}
