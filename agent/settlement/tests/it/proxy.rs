//! A server between engine and chain that does not do what it should.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_settlement::chain::ChainError;
use agent_settlement::chain::http::Server;
use agent_settlement::chain::rpc::Rpc;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::anvil::{Anvil, server};

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What it should.
    None,
    /// Passes nothing on, and ends the connection.
    Silent,
    /// Passes everything on, and loses what is answered to what is sent.
    LosesAnswers,
    /// Answers later than it may.
    Late,
    /// Passes everything on twice.
    Twice,
    /// Answers the question before.
    Repeats,
    /// Knows the chain only so many blocks ago.
    Stale(u64),
    /// Says that no transaction is mined.
    NoReceipts,
    /// Says that every transaction it is asked about is mined, in the newest block.
    FakeReceipts,
    /// Says that blocks have other hashes.
    OtherHashes,
    /// Says that it is of another chain.
    OtherChain,
    /// Says that more transactions of an account are mined.
    NonceAhead,
    /// Answers what is no JSON.
    Garbage,
}

#[derive(Debug)]
struct Shared {
    fault: Mutex<Fault>,
    asked: AtomicUsize,
    last: Mutex<Option<Vec<u8>>>,
    chain: Server,
}

/// A server that passes on what it is asked, as its fault lets it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    url: String,
}

impl Proxy {
    pub(crate) async fn start(anvil: &Anvil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            asked: AtomicUsize::new(0),
            last: Mutex::new(None),
            chain: server(&anvil.url),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&serving), stream));
            }
        });
        Self { shared, url }
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(server(&self.url).answering_within(Duration::from_millis(300)))
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("no test panicked with it") = fault;
    }

    /// How often it was asked since this was asked last.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.swap(0, Ordering::Relaxed)
    }
}

async fn serve(shared: Arc<Shared>, mut stream: TcpStream) -> Option<()> {
    let body = request(&mut stream).await?;
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let fault = *shared.fault.lock().expect("no test panicked with it");
    let asked: Value = serde_json::from_slice(&body).ok()?;
    let method = asked["method"].as_str()?.to_owned();
    if fault == Fault::Silent {
        return None;
    }
    let mut answer = pass_on(&shared.chain, &method, asked["params"].clone()).await?;
    if fault == Fault::Twice {
        answer = pass_on(&shared.chain, &method, asked["params"].clone()).await?;
    }
    answer["id"] = asked["id"].clone();
    distort(&shared, fault, &method, &asked["params"], &mut answer).await;
    let mut text = match fault {
        Fault::Garbage => b"<html>".to_vec(),
        _ => serde_json::to_vec(&answer).ok()?,
    };
    let before = shared.last.lock().expect("no test panicked with it").replace(text.clone());
    match fault {
        Fault::LosesAnswers if method == "eth_sendRawTransaction" => return None,
        Fault::Late => tokio::time::sleep(Duration::from_millis(700)).await,
        Fault::Repeats => text = before.unwrap_or(text),
        _ => {}
    }
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
    stream.write_all(&[head.as_bytes(), &text].concat()).await.ok()
}

/// The body of a request of HTTP/1.1 with a length.
pub(crate) async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let body = end + 4..end + 4 + length.trim().parse::<usize>().ok()?;
            if bytes.len() >= body.end {
                return Some(bytes[body].to_vec());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn pass_on(chain: &Server, method: &str, params: Value) -> Option<Value> {
    match chain.ask(String::leak(method.to_owned()), params).await {
        Ok(result) => Some(json!({ "jsonrpc": "2.0", "result": result })),
        Err(ChainError::Refused { code, message, data, .. }) => {
            let error = json!({ "code": code, "message": message, "data": data });
            Some(json!({ "jsonrpc": "2.0", "error": error }))
        }
        Err(_) => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Makes an answer wrong.
async fn distort(shared: &Shared, fault: Fault, method: &str, params: &Value, answer: &mut Value) {
    let block = || async {
        let block = pass_on(&shared.chain, "eth_getBlockByNumber", json!(["latest", false])).await;
        block.expect("a block")["result"].clone()
    };
    match (fault, method) {
        (Fault::Stale(by), "eth_getBlockByNumber") => {
            let height = number(&block().await["number"]).expect("a number").saturating_sub(by);
            let wanted = number(&params[0]).map_or(height, |wanted| wanted.max(height + 1));
            if number(&params[0]).is_none_or(|wanted| wanted > height) {
                let stale = json!([format!("{:#x}", wanted.min(height)), false]);
                let found = pass_on(&shared.chain, method, stale).await.expect("a block");
                answer["result"] = match number(&params[0]) {
                    Some(_) => Value::Null,
                    None => found["result"].clone(),
                };
            }
        }
        (Fault::Stale(by), "eth_getTransactionReceipt") => {
            let height = number(&block().await["number"]).expect("a number").saturating_sub(by);
            if number(&answer["result"]["blockNumber"]).is_some_and(|at| at > height) {
                answer["result"] = Value::Null;
            }
        }
        (Fault::NoReceipts, "eth_getTransactionReceipt") => answer["result"] = Value::Null,
        (Fault::FakeReceipts, "eth_getTransactionReceipt") => {
            let block = block().await;
            answer["result"] = json!({
                "transactionHash": params[0], "blockHash": block["hash"],
                "blockNumber": block["number"], "status": "0x1",
            });
        }
        (Fault::OtherHashes, "eth_getBlockByNumber") if answer["result"].is_object() => {
            answer["result"]["hash"] = json!(format!("0x{}", "ab".repeat(32)));
        }
        (Fault::OtherChain, "eth_chainId") => answer["result"] = json!("0x1"),
        (Fault::NonceAhead, "eth_getTransactionCount") => answer["result"] = json!("0x63"),
        _ => {}
    }
}
