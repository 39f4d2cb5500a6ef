//! What the SLA asks of the node around it.

use agent_dial::Dialer;
use agent_health::Verdict;
use agent_proofs::member::Commitment;
use async_trait::async_trait;

use crate::protocol::Address;
use crate::protocol::messages::{S3Access, Sample};
use crate::protocol::parameters::Era;
use crate::protocol::report::{Capacity, Reading};
use crate::protocol::settled::SignedBinding;

/// How the node does, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthView {
    /// In one word, as on the console.
    pub state: String,
    /// Seconds since the machine was started, by a clock that nobody sets.
    pub uptime_seconds: u64,
    /// Whether a time daemon keeps the clock; none where that is not known.
    pub clock_synchronised: Option<bool>,
    /// Space for objects; none where that is not known.
    pub capacity: Option<Capacity>,
    /// Verdicts on all components, the healthy ones too.
    pub verdicts: Vec<Verdict>,
    /// All readings.
    pub readings: Vec<Reading>,
}

/// The node around the SLA.
///
/// Whatever takes too long is given up by dropping its future.
#[async_trait]
pub trait NodeView: Send + Sync {
    /// How the node does.
    async fn health(&self) -> HealthView;

    /// How an oracle reaches this node's S3 as a tenant; none while no S3 is served.
    fn s3_access(&self, oracle: Address) -> Option<S3Access>;

    /// The daemon key's word on whose it is; none where the node names no HP. Oracles are told anew when it is another.
    fn binding(&self) -> Option<SignedBinding> {
        None
    }

    /// How oracles and report stores are reached: directly, unless a proxy is set.
    fn dialer(&self) -> Dialer {
        Dialer::default()
    }

    /// The root over everything stored at the cut of an era: made at the first call, the same at each
    /// later one, also by a later process if it still can be proven. Cuts before `keep_from` can go.
    ///
    /// # Errors
    /// There is none now, in words; it is asked again later.
    async fn cut(&self, era: Era, keep_from: Era) -> Result<Commitment, String>;

    /// The proof for one byte of what an era's cut committed to.
    ///
    /// # Errors
    /// There is none, in words.
    async fn prove(&self, era: Era, position: u64) -> Result<Sample, String>;
}
