//! An S3 service of a node, as far as the oracle uses it, that can be told to do wrong.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::S3Access;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reference_oracle::identity::{fingerprint, self_signed};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What the service does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    /// Every read has one bit flipped.
    Bits,
    /// What was written is not there.
    Lost,
}

pub(crate) struct Service {
    pub(crate) access: S3Access,
    pub(crate) objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    _serving: AbortOnDropHandle<()>,
}

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

impl Service {
    /// Serves with TLS, or without.
    pub(crate) async fn start(wrong: Wrong, is_tls: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (certificate, key) = self_signed("s3").expect("a certificate");
        let shown = fingerprint(&certificate);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        let acceptor = is_tls.then(|| TlsAcceptor::from(Arc::new(config)));
        let objects = Objects::default();
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&objects), wrong));
        let scheme = if is_tls { "https" } else { "http" };
        let access = S3Access {
            // The first one answers nobody.
            endpoints: vec![
                format!("{scheme}://127.0.0.1:1"),
                format!("{scheme}://127.0.0.1:{port}"),
            ],
            certificate: is_tls.then_some(shown),
            region: "region-1".to_owned(),
            access_key: "oracle".to_owned(),
            secret_key: "secret".to_owned(),
        };
        Self { access, objects, _serving: AbortOnDropHandle::new(serving) }
    }

    /// How to use it, for who believes that it shows another certificate.
    pub(crate) fn mistaken(&self) -> S3Access {
        S3Access { certificate: Some(B256::ZERO), ..self.access.clone() }
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, objects: Objects, wrong: Wrong) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (objects, tls) = (Arc::clone(&objects), tls.clone());
        tokio::spawn(async move {
            let answering = service_fn(move |request: Request<Incoming>| {
                let objects = Arc::clone(&objects);
                async move { Ok::<_, Infallible>(answer(&objects, wrong, request).await) }
            });
            let builder = http1::Builder::new();
            match tls {
                None => drop(builder.serve_connection(TokioIo::new(socket), answering).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(socket).await {
                        drop(builder.serve_connection(TokioIo::new(stream), answering).await);
                    }
                }
            }
        });
    }
}

async fn answer(
    objects: &Objects,
    wrong: Wrong,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let is_signed = head.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
    let path = head.uri.path().to_owned();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let plain = |status, bytes: Bytes| {
        let mut answer = Response::new(Full::new(bytes));
        *answer.status_mut() = status;
        answer
    };
    if !is_signed {
        return plain(StatusCode::FORBIDDEN, Bytes::new());
    }
    let mut objects = objects.lock().expect("no panic");
    let is_bucket = path.trim_matches('/').split('/').count() == 1;
    match head.method {
        Method::PUT if is_bucket && objects.insert(path.clone(), Bytes::new()).is_some() => {
            plain(StatusCode::CONFLICT, Bytes::new())
        }
        Method::PUT => {
            if !is_bucket && wrong != Wrong::Lost {
                objects.insert(head.uri.path().to_owned(), bytes);
            }
            plain(StatusCode::OK, Bytes::new())
        }
        Method::DELETE => {
            objects.remove(&path);
            plain(StatusCode::NO_CONTENT, Bytes::new())
        }
        _ => {
            let Some(object) = objects.get(&path) else {
                return plain(StatusCode::NOT_FOUND, Bytes::new());
            };
            let range = head.headers["range"].to_str().expect("text");
            let (first, last) =
                range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("one");
            let number = |text: &str| text.parse::<usize>().expect("a number");
            let mut part = object[number(first)..=number(last)].to_vec();
            if wrong == Wrong::Bits {
                part[0] ^= 1;
            }
            plain(StatusCode::PARTIAL_CONTENT, part.into())
        }
    }
}
