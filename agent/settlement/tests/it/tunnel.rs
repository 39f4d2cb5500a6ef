//! An RPC server behind an HTTP proxy.

use std::sync::Arc;

use agent_dial::{Dialer, Proxy, Routes};
use agent_settlement::chain::ChainError;
use agent_settlement::chain::http::{Server, public_tls};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::request;

/// All goes through a proxy at this port.
#[derive(Debug)]
struct Through(u16);

impl Routes for Through {
    fn proxy_for(&self, _host: &str) -> Option<Proxy> {
        Some(Proxy { host: "127.0.0.1".to_owned(), port: self.0 })
    }
}

/// A proxy that takes one request for a tunnel, and is the server at its other end where it opens it.
async fn proxy(answer: &'static str) -> (Server, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let head = head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.expect("an answer is sent");
        if answer.contains(" 200 ") && request(&mut stream).await.is_some() {
            let text = json!({ "jsonrpc": "2.0", "id": 0, "result": "0x7a69" }).to_string();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            let _ = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat()).await;
        }
        head
    });
    let tls = public_tls().expect("TLS");
    let server = Server::new("http://rpc.invalid:8545/a-key", &tls).expect("a URL");
    (server.dialled_by(&Dialer::by(Arc::new(Through(port)))), asked)
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn a_server_that_only_the_proxy_reaches_answers_through_it() {
    let (server, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(server.ask("eth_chainId", json!([])).await.expect("an answer"), json!("0x7a69"));
    let head = asked.await.expect("the proxy ends");
    assert!(head.starts_with("CONNECT rpc.invalid:8545 HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("a-key"), "the proxy learns no path");
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_is_named_with_its_status() {
    let (server, _) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let error = server.ask("eth_chainId", json!([])).await.expect_err("no tunnel");
    let ChainError::NoAnswer { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.starts_with("the proxy 127.0.0.1:"), "{reason}");
    assert!(reason.contains("refuses a tunnel to rpc.invalid:8545: status 407"), "{reason}");
}
