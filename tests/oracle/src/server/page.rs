//! The page for people: plain HTTP, no scripts, nothing that can be changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use agent_sla::protocol::Address;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::route::{Answer, json, refused, votes_query};
use crate::html;
use crate::service::Oracle;

/// Connections at once: a few people.
const CONNECTIONS_MAX: usize = 32;

/// How long a head may take, and how long a connection may live.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(60);

/// Nothing is loaded, run or sent anywhere, whatever a node said.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Serves the pages until cancelled.
pub async fn serve_pages(oracle: Arc<Oracle>, listener: TcpListener, cancel: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let socket = tokio::select! {
            socket = super::accept(&listener) => socket,
            () = cancel.cancelled() => return,
        };
        let (oracle, cancel) = (Arc::clone(&oracle), cancel.clone());
        tokio::spawn(async move {
            let answering = service_fn(move |request: Request<Incoming>| {
                let oracle = Arc::clone(&oracle);
                async move { Ok::<Answer, Infallible>(answer(oracle, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(socket), answering);
            tokio::select! {
                ended = timeout(LIFETIME, connection) => {
                    if let Ok(Err(error)) = ended {
                        debug!(%error, "a connection to the page broke");
                    }
                }
                () = cancel.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn answer(oracle: Arc<Oracle>, request: Request<Incoming>) -> Answer {
    let uri = request.uri();
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, html::plain("This page is only read."));
    }
    match uri.path() {
        "/votes" => {
            let Some((era, after)) = votes_query(uri.query().unwrap_or_default()) else {
                return page(StatusCode::BAD_REQUEST, html::plain("Which era? /votes?era=N"));
            };
            match oracle.votes(era, after).await {
                Ok(votes) => json(StatusCode::OK, votes.into()),
                Err(refusal) => refused(&refusal),
            }
        }
        "/" => blocking(move || Some(html::overview(&oracle))).await,
        path => {
            let daemon = path.strip_prefix("/node/").and_then(|text| text.parse::<Address>().ok());
            let Some(daemon) = daemon else {
                return page(StatusCode::NOT_FOUND, html::plain("There is no such page."));
            };
            blocking(move || html::node(&oracle, &daemon)).await
        }
    }
}

async fn blocking(make: impl FnOnce() -> Option<String> + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(make).await {
        Ok(Some(text)) => page(StatusCode::OK, text),
        Ok(None) => page(StatusCode::NOT_FOUND, html::plain("No such node is known.")),
        Err(_) => page(StatusCode::INTERNAL_SERVER_ERROR, html::plain("The page was not made.")),
    }
}

fn page(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}
