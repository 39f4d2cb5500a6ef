//! What the SLA asks of the node: how it does, its cuts and proofs, and a tenancy for each oracle.

use std::sync::Arc;

use agent_dial::Dialer;
use agent_health::Sample;
use agent_object_store::{
    Bucket, Engine, GetRequest, ObjectKey, ReadRange, SliceProof, StoreError,
};
use agent_proofs::member::{Commitment, MemberProof};
use agent_sla::HealthView;
use agent_sla::NodeView;
use agent_sla::protocol::Address;
use agent_sla::protocol::messages::{S3Access, Sample as Answer};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::report::{Capacity, Reading};
use agent_sla::protocol::sampling::group_of;
use agent_sla::protocol::settled::SignedBinding;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::tenants;
use crate::node::{Node, routes, status};
use crate::state::Identity;

/// The node as the SLA sees it.
#[derive(Debug)]
pub(super) struct View(pub(super) Arc<Node>);

#[async_trait]
impl NodeView for View {
    async fn health(&self) -> HealthView {
        let status = status::compose(self.0.facts().await);
        let hardware = &self.0.hardware;
        HealthView {
            state: status.state.word.to_string(),
            uptime_seconds: status.uptime_seconds,
            clock_synchronised: match status.clock {
                agent_health::ClockReading::Synchronised { .. } => Some(true),
                agent_health::ClockReading::Unsynchronised => Some(false),
                agent_health::ClockReading::Unknown { .. } => None,
            },
            capacity: status
                .capacity
                .map(|capacity| Capacity { total: capacity.total.0, used: capacity.used.0 }),
            verdicts: hardware.components().into_iter().map(|one| one.verdict).collect(),
            readings: hardware.samples().iter().map(reading).collect(),
        }
    }

    fn s3_access(&self, oracle: Address) -> Option<S3Access> {
        let node = &self.0;
        let Identity::Known(state) = &node.held.borrow().identity else { return None };
        let tenant = tenants::tenant(state.daemon_key.as_ref()?, oracle);
        let endpoints = match node.config.sla.as_ref().and_then(|sla| sla.s3_endpoint.clone()) {
            Some(endpoint) => vec![endpoint],
            None => status::endpoints(node.config.s3.listen, node.system.borrow().latest.as_ref()),
        };
        if endpoints.is_empty() {
            return None;
        }
        Some(S3Access {
            endpoints,
            certificate: Some(node.tls.sha256().into()),
            region: node.config.s3.region.clone(),
            access_key: tenant.access_key,
            secret_key: tenant.secret_key.to_string(),
        })
    }

    fn dialer(&self) -> Dialer {
        routes::dialer(&self.0)
    }

    fn binding(&self) -> Option<SignedBinding> {
        self.0.binding.borrow().clone()
    }

    async fn cut(&self, era: Era, keep_from: Era) -> Result<Commitment, String> {
        let cut = self.store()?.cut_era(era.0, keep_from.0).await;
        cut.map(|root| root.commitment).map_err(|error| in_words(&error))
    }

    async fn prove(&self, era: Era, position: u64) -> Result<Answer, String> {
        let store = self.store()?;
        let root = store.era_root(era.0).await.map_err(|error| in_words(&error))?;
        let root = root.ok_or_else(|| format!("era {era} is not kept any more"))?;
        let member = store.prove_byte(era.0, position).await.map_err(|error| in_words(&error))?;
        let member = member.ok_or_else(|| format!("no object has byte {position} of era {era}"))?;
        let shown = member.to_bytes().map_err(|error| error.to_string())?;
        let shown = BASE64.encode(shown);
        let range = member.verify(&root.commitment).map_err(|error| error.to_string())?;
        let at = position.saturating_sub(range.start);
        match slice(&store, &member, at).await? {
            Some(slice) => Ok(Answer::Proven { member: shown, slice: BASE64.encode(slice.proof) }),
            None => Ok(Answer::Gone { member: shown }),
        }
    }
}

impl View {
    fn store(&self) -> Result<Engine, String> {
        self.0.store.borrow().clone().ok_or_else(|| "the store is not open yet".to_owned())
    }
}

fn reading(sample: &Sample) -> Reading {
    Reading { series: sample.series(), value: sample.value }
}

/// The proof of the group with a byte of an object, if that is still what is stored.
async fn slice(
    store: &Engine,
    member: &MemberProof,
    at: u64,
) -> Result<Option<SliceProof>, String> {
    let object = &member.member;
    let name = |error| format!("the object's name is none: {error}");
    let bucket = Bucket::new(&object.bucket).map_err(name)?;
    let key = ObjectKey::new(&object.key).map_err(name)?;
    let range = group_of(at, object.content.size);
    let last = range.end.saturating_sub(1);
    let request =
        GetRequest { range: ReadRange::Between(range.start, last), ..GetRequest::new(bucket, key) };
    match store.prove(&request).await {
        Ok(slice) if slice.content == object.content => Ok(Some(slice)),
        Ok(_)
        | Err(
            StoreError::NoSuchKey { .. }
            | StoreError::NoSuchBucket { .. }
            | StoreError::RangeNotSatisfiable { .. },
        ) => Ok(None),
        Err(error) => Err(in_words(&error)),
    }
}

/// An error with what is behind it.
fn in_words(error: &StoreError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}
