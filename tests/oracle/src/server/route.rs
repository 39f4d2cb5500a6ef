//! Which request goes where, and what answers and refusals look like on the wire.

use std::sync::Arc;

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::{
    ChallengeAnswer, DeliverReports, OpenSession, REQUEST_MAX, Refusal,
};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{ChallengeRequest, Signed};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::Shared;
use super::body::Budget;
use crate::fault::Fault;
use crate::service::{Oracle, Peer, Role};

/// The longest body of a session, and of a request for a challenge, in bytes.
const SMALL_MAX: usize = 64 << 10;

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// What is asked for.
enum Route {
    Parameters,
    Session,
    Reports,
    Challenge,
    Proofs(B256),
    Votes(Era, Option<B256>),
    Roots(super::roots::Route),
}

/// Answers a request.
pub(super) async fn answer(shared: &Arc<Shared>, peer: Peer, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Some(route) = route(&head) else {
        let reason = format!("{} {}: there is no such thing here", head.method, head.uri.path());
        let refusal = Refusal::Malformed { reason };
        return form(StatusCode::NOT_FOUND, &refusal);
    };
    dispatch(shared, peer, route, head, body).await.unwrap_or_else(|refusal| {
        debug!(peer = %peer.address, %refusal, "refused");
        refused(&refusal)
    })
}

async fn dispatch(
    shared: &Arc<Shared>,
    peer: Peer,
    route: Route,
    head: Parts,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let oracle = &shared.oracle;
    match route {
        Route::Parameters => Ok(form(StatusCode::OK, &oracle.hello())),
        Route::Votes(era, after) => match oracle.config().role {
            Role::Oracle => Ok(json(StatusCode::OK, oracle.votes(era, after).await?.into())),
            Role::ReportStore => {
                Err(Refusal::Malformed { reason: "a store casts no votes".into() })
            }
        },
        Route::Roots(route) => super::roots::answer(shared, route, head, body).await,
        Route::Session => {
            let asked: OpenSession = read(&shared.strangers, &head, body, SMALL_MAX).await?;
            let run = move |oracle: Arc<Oracle>| {
                let asked = asked.clone();
                async move { oracle.open_session(peer, asked).await }
            };
            detached(shared, run).await
        }
        Route::Reports => {
            let speaker = oracle.speaker(peer).await?;
            let _one_of_few = oracle.room(&speaker)?;
            let sent: DeliverReports = read(&shared.budget, &head, body, REQUEST_MAX).await?;
            let run = move |oracle: Arc<Oracle>| {
                let sent = sent.clone();
                async move { oracle.take_reports(speaker, sent).await }
            };
            detached(shared, run).await
        }
        Route::Challenge => {
            let speaker = oracle.speaker(peer).await?;
            let _one_of_few = oracle.room(&speaker)?;
            let asked: Signed<ChallengeRequest> =
                read(&shared.budget, &head, body, SMALL_MAX).await?;
            let run = move |oracle: Arc<Oracle>| {
                let asked = asked.clone();
                async move { oracle.challenge(speaker, asked).await }
            };
            detached(shared, run).await
        }
        Route::Proofs(digest) => {
            let speaker = oracle.speaker(peer).await?;
            let _one_of_few = oracle.room(&speaker)?;
            let sent: ChallengeAnswer = read(&shared.budget, &head, body, REQUEST_MAX).await?;
            let run = move |oracle: Arc<Oracle>| {
                let sent = sent.clone();
                async move { oracle.answer(speaker, digest, sent).await }
            };
            detached(shared, run).await
        }
    }
}

/// Runs what changes something to its end, even if whoever asked goes away: what is decided is written.
async fn detached<T, F>(
    shared: &Arc<Shared>,
    run: impl Fn(Arc<Oracle>) -> F,
) -> Result<Answer, Refusal>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<T, Refusal>> + Send + 'static,
{
    if shared.oracle.config().fault == Fault::Twice {
        let _first = shared.work.spawn(run(Arc::clone(&shared.oracle))).await;
    }
    let running = shared.work.spawn(run(Arc::clone(&shared.oracle)));
    let done = running.await.unwrap_or(Err(Refusal::Busy { retry_after_ms: 1000 }))?;
    Ok(form(StatusCode::OK, &done))
}

pub(super) async fn read<T: DeserializeOwned>(
    budget: &Budget,
    head: &Parts,
    body: Incoming,
    longest: usize,
) -> Result<T, Refusal> {
    let (bytes, room) = budget.read(&head.headers, body, longest).await?;
    let parsed = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::Malformed { reason: error.to_string() });
    drop(room);
    parsed
}

fn route(head: &Parts) -> Option<Route> {
    let path = head.uri.path();
    match (&head.method, path) {
        (&Method::GET, "/v1/parameters") => Some(Route::Parameters),
        (&Method::POST, "/v1/sessions") => Some(Route::Session),
        (&Method::POST, "/v1/reports") => Some(Route::Reports),
        (&Method::POST, "/v1/challenges") => Some(Route::Challenge),
        (&Method::POST, _) if path.starts_with("/v1/challenges/") => {
            path.strip_prefix("/v1/challenges/")?.parse().ok().map(Route::Proofs)
        }
        (&Method::GET, "/v1/votes") => {
            let (era, after) = votes_query(head.uri.query().unwrap_or_default())?;
            Some(Route::Votes(era, after))
        }
        _ => super::roots::route(head).map(Route::Roots),
    }
}

/// `era=N`, and perhaps `after=NODE`.
pub(super) fn votes_query(query: &str) -> Option<(Era, Option<B256>)> {
    let (mut era, mut after) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("era", number) => era = Some(Era(number.parse().ok()?)),
            ("after", node) => after = Some(node.parse().ok()?),
            _ => return None,
        }
    }
    Some((era?, after))
}

/// A refusal as an answer.
pub(super) fn refused(refusal: &Refusal) -> Answer {
    let status = match refusal {
        Refusal::NotAdmitted { .. } | Refusal::BadSignature { .. } => StatusCode::FORBIDDEN,
        Refusal::NoSession => StatusCode::UNAUTHORIZED,
        Refusal::Conflict { .. } | Refusal::Replayed | Refusal::WrongEra { .. } => {
            StatusCode::CONFLICT
        }
        Refusal::OtherParameters => StatusCode::PRECONDITION_FAILED,
        Refusal::Skew { .. } | Refusal::Malformed { .. } => StatusCode::BAD_REQUEST,
        Refusal::TooLate => StatusCode::GONE,
        Refusal::Unknown { .. } => StatusCode::NOT_FOUND,
        Refusal::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = form(status, refusal);
    if let Refusal::Busy { retry_after_ms } = refusal {
        let seconds = HeaderValue::from(retry_after_ms.div_ceil(1000));
        answer.headers_mut().insert(RETRY_AFTER, seconds);
    }
    answer
}

pub(super) fn form(status: StatusCode, form: &impl Serialize) -> Answer {
    json(status, serde_json::to_vec(form).unwrap_or_default())
}

pub(super) fn json(status: StatusCode, bytes: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(bytes.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_asked_for_by_era_and_from_a_node_on() {
        let node = B256::repeat_byte(7);
        assert_eq!(votes_query("era=5"), Some((Era(5), None)));
        assert_eq!(votes_query(&format!("era=5&after={node}")), Some((Era(5), Some(node))));
        for wrong in ["", "era", "era=x", "after=0x07", "era=5&after=7", "era=5&all=1"] {
            assert_eq!(votes_query(wrong), None, "{wrong}");
        }
    }
}
