//! What is asked of roots, leaves and bindings. It needs no session, and is limited as votes are.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{Address, B256};
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use super::Shared;
use super::route::{Answer, form, json, read};
use crate::service::Oracle;
use crate::settle::states::wire::{AskedChanges, BODY_MAX};
use crate::settle::wire::{Asked, PROPOSAL_MAX};

/// What is asked for.
pub(super) enum Route {
    Settled(B256),
    Roots(Option<Era>),
    Root(B256),
    Propose,
    ProposeChanges,
    Kept(Era, Address, Option<B256>),
    Leaves(B256, Option<B256>),
    Binding(Address),
}

/// What a head asks for; none if it is nothing of this.
pub(super) fn route(head: &Parts) -> Option<Route> {
    let path = head.uri.path();
    let query = pairs(head.uri.query().unwrap_or_default())?;
    let has_only = |names: &[&str]| query.keys().all(|name| names.contains(name));
    let value = |name: &str| query.get(name).copied();
    if head.method == Method::POST {
        return match path {
            "/v1/roots/propose" if query.is_empty() => Some(Route::Propose),
            "/v1/states/propose" if query.is_empty() => Some(Route::ProposeChanges),
            _ => None,
        };
    }
    if head.method != Method::GET {
        return None;
    }
    let after = match value("after") {
        Some(node) => Some(node.parse().ok()?),
        None => None,
    };
    match path {
        "/v1/roots" if has_only(&["before"]) => {
            let before = value("before").map(str::parse).transpose().ok()?;
            Some(Route::Roots(before.map(Era)))
        }
        "/v1/kept" if has_only(&["era", "oracle", "after"]) => {
            let era = Era(value("era")?.parse().ok()?);
            Some(Route::Kept(era, value("oracle")?.parse().ok()?, after))
        }
        "/v1/leaves" if has_only(&["root", "after"]) => {
            Some(Route::Leaves(value("root")?.parse().ok()?, after))
        }
        _ if !query.is_empty() => None,
        _ => {
            if let Some(node) = path.strip_prefix("/v1/settled/") {
                return node.parse().ok().map(Route::Settled);
            }
            if let Some(daemon) = path.strip_prefix("/v1/bindings/") {
                return daemon.parse().ok().map(Route::Binding);
            }
            path.strip_prefix("/v1/roots/")?.parse().ok().map(Route::Root)
        }
    }
}

fn pairs(query: &str) -> Option<BTreeMap<&str, &str>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=')).collect()
}

/// Answers.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    route: Route,
    head: Parts,
    body: Incoming,
) -> Result<Answer, Refusal> {
    let oracle = Arc::clone(&shared.oracle);
    match route {
        Route::Propose => {
            let settler = Arc::clone(oracle.settler()?);
            let asked: Asked = read(&shared.strangers, &head, body, PROPOSAL_MAX).await?;
            // To its end, even if whoever asked goes away: what is signed is remembered.
            let judging = shared.work.spawn(async move { settler.propose(asked).await });
            let judged = judging.await.unwrap_or(Err(Refusal::Busy { retry_after_ms: 1000 }))?;
            Ok(form(StatusCode::OK, &judged))
        }
        Route::ProposeChanges => {
            let settler = Arc::clone(oracle.settler()?);
            let asked: AskedChanges = read(&shared.strangers, &head, body, BODY_MAX).await?;
            let judging = shared.work.spawn(async move { settler.propose_changes(asked).await });
            let judged = judging.await.unwrap_or(Err(Refusal::Busy { retry_after_ms: 1000 }))?;
            Ok(form(StatusCode::OK, &judged))
        }
        Route::Binding(daemon) => Ok(form(StatusCode::OK, &oracle.binding(&daemon)?)),
        Route::Roots(before) => {
            blocking(oracle, move |oracle| Ok(oracle.settler()?.roots(before))).await
        }
        Route::Root(digest) => {
            blocking(oracle, move |oracle| oracle.settler()?.proposal(&digest)).await
        }
        Route::Settled(node) => {
            blocking(oracle, move |oracle| oracle.settler()?.settled(node)).await
        }
        Route::Leaves(digest, after) => {
            blocking(oracle, move |oracle| oracle.settler()?.leaves(&digest, after)).await
        }
        Route::Kept(era, of, after) => {
            let reading =
                tokio::task::spawn_blocking(move || oracle.settler()?.kept(era, &of, after));
            let text = reading.await.unwrap_or(Err(Refusal::Busy { retry_after_ms: 1000 }))?;
            Ok(json(StatusCode::OK, text.into()))
        }
    }
}

async fn blocking<T: Serialize + Send + 'static>(
    oracle: Arc<Oracle>,
    read: impl FnOnce(&Oracle) -> Result<T, Refusal> + Send + 'static,
) -> Result<Answer, Refusal> {
    let reading = tokio::task::spawn_blocking(move || read(&oracle));
    let found = reading.await.unwrap_or(Err(Refusal::Busy { retry_after_ms: 1000 }))?;
    Ok(form(StatusCode::OK, &found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(uri: &str) -> Option<Route> {
        let request = http::Request::get(uri).body(()).expect("a request");
        route(&request.into_parts().0)
    }

    #[test]
    fn what_is_asked_of_roots_is_found_and_nothing_else() {
        let (word, address) = (B256::repeat_byte(7), Address::repeat_byte(8));
        assert!(
            matches!(found(&format!("/v1/settled/{word}")), Some(Route::Settled(node)) if node == word)
        );
        assert!(matches!(found("/v1/roots"), Some(Route::Roots(None))));
        assert!(matches!(found("/v1/roots?before=5"), Some(Route::Roots(Some(Era(5))))));
        assert!(
            matches!(found(&format!("/v1/roots/{word}")), Some(Route::Root(root)) if root == word)
        );
        assert!(
            matches!(found(&format!("/v1/bindings/{address}")), Some(Route::Binding(of)) if of == address)
        );
        let kept = found(&format!("/v1/kept?era=5&oracle={address}&after={word}"));
        assert!(matches!(kept, Some(Route::Kept(Era(5), of, Some(_))) if of == address));
        assert!(matches!(found(&format!("/v1/leaves?root={word}")), Some(Route::Leaves(_, None))));
        for wrong in [
            "/v1/settled/7",
            "/v1/roots?era=5",
            "/v1/roots?before=x",
            "/v1/kept?era=5",
            "/v1/leaves",
            "/v1",
        ] {
            assert!(found(wrong).is_none(), "{wrong}");
        }
    }
}
