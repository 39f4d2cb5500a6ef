//! What clients asked for.

use std::fmt;

use agent_object_store::Requests;
use agent_s3::RequestCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::families::Families;

/// Requests as the S3 service answered them.
#[derive(Debug)]
pub(super) struct S3Readings(pub(super) RequestCounts);

impl Collector for S3Readings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let RequestCounts { served, failed, connections } = self.0;
        to.counter("s3_requests", "Requests that were answered", None, served)?;
        let help = "Requests that failed for a reason of the node's (status 500 and above)";
        to.counter("s3_failed_requests", help, None, failed)?;
        to.gauge("s3_connections", "Connections that are open", connections)
    }
}

/// Requests as the store carried them out.
#[derive(Debug)]
pub(super) struct ObjectReadings(pub(super) Requests);

impl Collector for ObjectReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let Requests { reads, writes, deletes, bytes_in, bytes_out } = self.0;
        let help =
            "Requests of buckets and objects that were carried out since the store was opened";
        let kinds = [("read", reads), ("write", writes), ("delete", deletes)];
        let kinds = kinds.map(|(kind, count)| ([("kind", kind)], count));
        to.counters("object_requests", help, None, kinds)?;
        let help = "Bytes of objects that were received since the store was opened";
        to.counter("object_received", help, Some(&Unit::Bytes), bytes_in)?;
        let help = "Bytes of objects that were handed over to be sent since the store was opened";
        to.counter("object_sent", help, Some(&Unit::Bytes), bytes_out)
    }
}
