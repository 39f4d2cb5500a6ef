//! Sessions.

use std::net::IpAddr;

use agent_sla::protocol::messages::{OpenSession, Refusal, S3Access, SKEW_MAX_MS, SessionOpened};
use agent_sla::protocol::signed::SignatureError;
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Oracle, Peer, busy, malformed};
use crate::settle::Admits;
use crate::state::{End, Opening};

/// Most endpoints of a node, and the longest text of what it says of its S3, in bytes.
const ENDPOINTS_MAX: usize = 8;
const TEXT_MAX: usize = 512;

/// Which daemon speaks for which node: what the log `nodes` has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Binding {
    /// The daemon.
    pub(super) daemon: Address,
    /// The node.
    pub(super) node: B256,
}

impl Oracle {
    /// Opens a session.
    ///
    /// # Errors
    /// Why not.
    pub async fn open_session(
        &self,
        peer: Peer,
        asked: OpenSession,
    ) -> Result<SessionOpened, Refusal> {
        let era = self.era()?;
        let now = self.now_ms();
        let Some(certificate) = peer.certificate else {
            return Err(bad("no certificate was shown"));
        };
        let session = &asked.session.message;
        if session.oracleId != self.address() {
            return Err(malformed(format!("the session is for oracle {}", session.oracleId)));
        }
        if session.configDigest != self.digest {
            return Err(Refusal::OtherParameters);
        }
        if session.certificate != certificate {
            return Err(bad("the session binds another certificate than the one shown"));
        }
        let domain = self.config.parameters.domain();
        let daemon = asked.session.signer(&domain).map_err(|error| bad(error.to_string()))?;
        let admits = self.admits(&daemon);
        if let Some(binding) = asked.binding {
            self.keep_binding(daemon, binding, matches!(admits, Admits::For(_))).await?;
        }
        let only = match admits {
            Admits::For(only) => only,
            Admits::No => return Err(Refusal::NotAdmitted { daemon }),
            Admits::NotYet => return Err(busy()),
        };
        let skew = i128::from(session.openedAt) - i128::from(now);
        if skew.unsigned_abs() > u128::from(SKEW_MAX_MS) {
            let bound = if skew < 0 { i64::MIN } else { i64::MAX };
            return Err(Refusal::Skew { skew_ms: i64::try_from(skew).unwrap_or(bound) });
        }
        let s3 = asked.s3.map(|s3| usable(s3, peer.address.ip())).transpose()?;
        let node = session.nodeId;
        self.bind(daemon, node, only).await?;
        let end = End { instance: session.instance, certificate, peer: peer.address };
        let turn = self.eras.turn().await.map_err(|_| busy())?;
        let opened = self.state().open(Opening { daemon, node, end, s3 }, era, now);
        match opened {
            Ok(delivered) => {
                info!(%daemon, %node, peer = %peer.address, "a session is open");
                Ok(SessionOpened { delivered, oracle_time: self.now_ms() })
            }
            Err(turned) => Err(self.turned(turned, era, turn).await),
        }
    }

    /// Remembers for good which daemon speaks for which node.
    async fn bind(&self, daemon: Address, node: B256, only: Option<B256>) -> Result<(), Refusal> {
        let turn = self.nodes.turn().await.map_err(|_| busy())?;
        let pending = {
            let mut state = self.state();
            let is_admitted = |other: &Address| self.admits(other) != Admits::No;
            state.bind(daemon, node, only, is_admitted)?;
            if state.is_bound(&daemon, &node) {
                return Ok(());
            }
            let bytes = serde_json::to_vec(&Binding { daemon, node }).unwrap_or_default();
            state.known(daemon, node, self.now_ms());
            turn.append(0, &bytes).map_err(|_| busy())?
        };
        pending.wait().await.map(drop).map_err(|_| busy())
    }
}

pub(super) fn bad(reason: impl Into<String>) -> Refusal {
    Refusal::BadSignature { reason: reason.into() }
}

impl From<SignatureError> for crate::state::Turned {
    fn from(error: SignatureError) -> Self {
        bad(error.to_string()).into()
    }
}

/// What a node says of its S3, if it can be used.
fn usable(s3: S3Access, peer: IpAddr) -> Result<S3Access, Refusal> {
    if s3.endpoints.is_empty() || s3.endpoints.len() > ENDPOINTS_MAX {
        return Err(malformed(format!("S3: 1 to {ENDPOINTS_MAX} endpoints")));
    }
    let texts = s3.endpoints.iter().chain([&s3.region, &s3.access_key, &s3.secret_key]);
    if let Some(long) = texts.map(String::len).find(|length| *length > TEXT_MAX) {
        return Err(malformed(format!("S3: {long} bytes of text, more than {TEXT_MAX}")));
    }
    for endpoint in &s3.endpoints {
        let url = crate::canary::Endpoint::parse(endpoint)
            .map_err(|reason| malformed(format!("S3: {endpoint}: {reason}")))?;
        if let Ok(address) = url.host().parse()
            && !crate::canary::may_dial(peer, address)
        {
            return Err(malformed(format!(
                "S3: {endpoint}: an address of the oracle's own machine"
            )));
        }
    }
    Ok(s3)
}
