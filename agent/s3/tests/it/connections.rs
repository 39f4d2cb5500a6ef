//! Connections: protocols, and how they end.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::node::{Node, Setup, read_answer};
use crate::signer::Signed;

/// A server's configuration without protocols of its own, and a client's that trusts it.
fn tls() -> (Arc<ServerConfig>, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let chain = vec![made.cert.der().clone()];
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), client)
}

#[test]
fn tls_speaks_the_protocol_that_the_client_likes() {
    let (server, client) = tls();
    let node = Node::with(Setup { tls: Some(server), ..Setup::default() });
    for (protocols, http2) in
        [(&["h2", "http/1.1"][..], true), (&["http/1.1"], false), (&[], false)]
    {
        let mut client = client.clone();
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let status = node.runtime.block_on(async {
            let socket = TcpStream::connect(node.address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), http2);
            let request = hyper::Request::get("https://localhost/");
            let request = request.header("host", "localhost").body(Empty::<bytes::Bytes>::new());
            let (request, stream) = (request.unwrap(), TokioIo::new(stream));
            let answer = if http2 {
                let executor = TokioExecutor::new();
                let (mut send, link) =
                    hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
                tokio::spawn(link);
                send.send_request(request).await.unwrap()
            } else {
                let (mut send, link) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                tokio::spawn(link);
                send.send_request(request).await.unwrap()
            };
            let status = answer.status();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(String::from_utf8_lossy(&body).contains("<Code>AccessDenied</Code>"));
            status
        });
        assert_eq!(status, 403, "{protocols:?}");
    }
}

#[test]
fn a_request_under_way_may_finish_when_the_server_ends() {
    let mut node = Node::start();
    node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes()).expect(200, "");
    let put = Signed::new(node.address, "PUT", "/photos/k").body(vec![1; 100_000]).bytes();
    let mut socket = node.connect();
    let (first, rest) = put.split_at(50_000);
    socket.write_all(first).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    node.cancel.cancel();
    std::thread::sleep(Duration::from_millis(200));
    socket.write_all(rest).unwrap();
    read_answer(&mut socket).expect(200, "");
    assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "the connection ends");
    node.ended().unwrap();
    assert!(std::net::TcpStream::connect(node.address).is_err(), "nobody listens");
}

#[test]
fn idle_connections_do_not_keep_a_server_from_ending() {
    let mut node = Node::start();
    let idle = node.connect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(node.server.requests().connections, 1);
    let begun = Instant::now();
    node.cancel.cancel();
    node.ended().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(idle);
}

#[test]
fn a_request_that_never_finishes_is_dropped_after_the_grace() {
    let mut node = Node::start();
    node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes()).expect(200, "");
    let put = Signed::new(node.address, "PUT", "/photos/k").body(vec![1; 1000]).bytes();
    let mut socket = node.connect();
    socket.write_all(&put[..put.len() - 1]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    node.cancel.cancel();
    node.ended().unwrap();
    let took = begun.elapsed();
    assert!((5..12).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn one_connection_serves_many_requests_without_waiting_for_acknowledgements() {
    let node = Node::start();
    node.exchange(&Signed::new(node.address, "PUT", "/photos").bytes()).expect(200, "");
    node.exchange(&Signed::new(node.address, "PUT", "/photos/k").body(vec![1; 4096]).bytes())
        .expect(200, "");
    let get = Signed::new(node.address, "GET", "/photos/k").bytes();
    let mut socket = node.connect();
    let mut times: Vec<_> = (0..50)
        .map(|_| {
            let begun = Instant::now();
            socket.write_all(&get).unwrap();
            assert_eq!(read_answer(&mut socket).body.len(), 4096);
            begun.elapsed()
        })
        .collect();
    times.sort();
    // A delayed acknowledgement takes 40 ms on Linux; the quickest half must not see any.
    assert!(times[25] < Duration::from_millis(35), "{times:?}");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending_over_http_2() {
    let (server, mut client) = tls();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let node = Node::with(Setup { tls: Some(server), ..Setup::default() });
    let (status, text) = node.runtime.block_on(async {
        let socket = TcpStream::connect(node.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
        let executor = TokioExecutor::new();
        let (mut send, link) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
        tokio::spawn(link);
        let body = Full::new(bytes::Bytes::from(vec![0; 20 << 20]));
        let request = hyper::Request::put("https://localhost/photos/k").body(body).unwrap();
        let answer = send.send_request(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    });
    assert_eq!(status, 403);
    assert!(String::from_utf8_lossy(&text).contains("<Code>AccessDenied</Code>"));
}
