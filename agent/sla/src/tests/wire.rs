//! Requests over real connections.

use std::sync::Arc;
use std::time::Duration;

use agent_dial::{Dialer, Proxy, Routes};
use bytes::Bytes;
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::exchange::{Ask, Exchange, ExchangeError, OwnCertificate, Place, Wire};
use crate::protocol::B256;
use crate::protocol::messages::ANSWER_MAX;

/// A server that answers with the number of its connection and the length of the request's body, or as
/// long as it is asked to; `/last` closes the connection. Returns its URL and its fingerprint.
async fn server() -> (String, B256) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
    let der = certificate.der().clone();
    let fingerprint = B256::from(<[u8; 32]>::from(Sha256::digest(&der)));
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![der], key.into())
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        for number in 0_usize.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service =
                service_fn(move |request: hyper::Request<hyper::body::Incoming>| async move {
                    let path = request.uri().path().to_owned();
                    let length = request.into_body().collect().await?.to_bytes().len();
                    let body = match path.as_str() {
                        "/long" => vec![b' '; ANSWER_MAX + 1],
                        "/never" => std::future::pending().await,
                        _ => format!("{number} {length}").into_bytes(),
                    };
                    let mut answer = Response::new(Full::new(Bytes::from(body)));
                    if path == "/last" {
                        let close = http::HeaderValue::from_static("close");
                        answer.headers_mut().insert(http::header::CONNECTION, close);
                    }
                    Ok::<_, hyper::Error>(answer)
                });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    (url, fingerprint)
}

fn wire(url: &str, pinned: B256) -> Wire {
    let own = OwnCertificate::make().expect("a certificate");
    let place = Place::of("oracle", url).expect("a place");
    Wire::new(place, own.client(pinned).expect("TLS"), Dialer::default())
}

/// All goes through a proxy at this port.
#[derive(Debug)]
struct Through(u16);

impl Routes for Through {
    fn proxy_for(&self, _host: &str) -> Option<Proxy> {
        Some(Proxy { host: "127.0.0.1".to_owned(), port: self.0 })
    }
}

/// A proxy with this answer, whose tunnels all lead to `onward`.
async fn proxy(answer: &'static str, onward: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a request"));
            }
            assert!(head.starts_with(b"CONNECT oracle.invalid:7443 HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.expect("an answer is sent");
            if let Ok(mut onward) = TcpStream::connect(&onward).await {
                let _ = copy_bidirectional(&mut stream, &mut onward).await;
            }
        }
    });
    port
}

#[tokio::test]
async fn an_oracle_that_only_a_proxy_reaches_is_spoken_with_through_it() {
    let (url, fingerprint) = server().await;
    let onward = url.trim_start_matches("https://").to_owned();
    let own = OwnCertificate::make().expect("a certificate");
    let wire = |port| {
        let place = Place::of("oracle", "https://oracle.invalid:7443").expect("a place");
        let tls = own.client(fingerprint).expect("TLS");
        Wire::new(place, tls, Dialer::by(Arc::new(Through(port))))
    };
    let open = wire(proxy("HTTP/1.1 200 Connection established\r\n\r\n", onward).await);
    let answer = open.ask(ask("/")).await.expect("an answer");
    assert_eq!(answer.body, "0 5");
    assert_eq!(open.ask(ask("/")).await.expect("an answer").body, "0 5", "the tunnel is kept");
    let port = proxy("HTTP/1.1 403 Forbidden\r\n\r\n", String::new()).await;
    let Err(error) = wire(port).ask(ask("/")).await else { panic!("an answer") };
    let expected = format!(
        "cannot connect to https://oracle.invalid:7443: the proxy 127.0.0.1:{port} refuses a tunnel to \
         oracle.invalid:7443: status 403 (Forbidden)"
    );
    assert_eq!(error.to_string(), expected);
}

fn ask(path: &str) -> Ask {
    let body = Bytes::from_static(b"12345");
    Ask { method: Method::POST, path: path.to_owned(), body, within: Duration::from_secs(60) }
}

#[tokio::test]
async fn a_connection_is_kept_and_made_anew_when_it_was_closed() {
    let (url, fingerprint) = server().await;
    let wire = wire(&url, fingerprint);
    let mut found = Vec::new();
    for path in ["/", "/", "/last", "/"] {
        let answer = wire.ask(ask(path)).await.expect("an answer");
        found.push(String::from_utf8(answer.body.to_vec()).expect("words"));
    }
    assert_eq!(found, ["0 5", "0 5", "0 5", "1 5"]);
}

#[tokio::test]
async fn a_request_that_was_given_up_leaves_no_torn_connection() {
    let (url, fingerprint) = server().await;
    let wire = wire(&url, fingerprint);
    wire.ask(ask("/")).await.expect("an answer");
    tokio::select! {
        biased;
        _ = wire.ask(ask("/never")) => panic!("it never answers"),
        () = tokio::time::sleep(Duration::from_millis(50)) => {}
    }
    let answer = wire.ask(ask("/")).await.expect("an answer");
    assert_eq!(answer.body, "1 5");
}

#[tokio::test]
async fn another_certificate_is_told_with_both_fingerprints() {
    let (url, fingerprint) = server().await;
    let pinned = B256::repeat_byte(1);
    match wire(&url, pinned).ask(ask("/")).await {
        Err(ExchangeError::WrongCertificate { expected, found, .. }) => {
            assert_eq!((expected, found), (pinned, fingerprint));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_too_long_or_not_there_is_an_error_that_names_the_url() {
    let (url, fingerprint) = server().await;
    let long = wire(&url, fingerprint).ask(ask("/long")).await;
    assert!(matches!(long, Err(ExchangeError::TooLong { .. })), "{long:?}");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let nobody = format!("https://{}", listener.local_addr().expect("its address"));
    drop(listener);
    let refused = wire(&nobody, fingerprint).ask(ask("/")).await.expect_err("nobody is there");
    let words = refused.to_string();
    assert!(words.contains(&nobody) && words.contains("connect"), "{words}");
}
