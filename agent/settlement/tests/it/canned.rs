//! A server that answers calls of contracts as it was told, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use agent_settlement::chain::rpc::Rpc;
use alloy::primitives::{Address, Bytes};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::anvil::server;
use crate::proxy::request;

#[derive(Debug, Default)]
struct Shared {
    answers: HashMap<(Address, Bytes), Bytes>,
    /// Methods that were asked.
    asked: Vec<String>,
}

/// A server with answers.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    shared: Arc<Mutex<Shared>>,
    url: String,
}

impl Canned {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(body) = request(&mut stream).await else { continue };
                let asked: Value = serde_json::from_slice(&body).expect("JSON");
                let text = answer(&serving, &asked).to_string();
                let length = text.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat()).await;
            }
        });
        Self { shared, url }
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(server(&self.url))
    }

    /// What a contract answers to a call from now on.
    pub(crate) fn answers(&self, to: Address, call: Vec<u8>, with: Vec<u8>) {
        let mut shared = self.shared.lock().expect("no test panicked with it");
        shared.answers.insert((to, call.into()), with.into());
    }

    /// What was asked since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().expect("no test panicked with it").asked)
    }
}

fn answer(shared: &Mutex<Shared>, asked: &Value) -> Value {
    let mut shared = shared.lock().expect("no test panicked with it");
    let method = asked["method"].as_str().expect("a method").to_owned();
    shared.asked.push(method);
    let call = &asked["params"][0];
    let to: Option<Address> = serde_json::from_value(call["to"].clone()).ok();
    let data: Option<Bytes> = serde_json::from_value(call["data"].clone()).ok();
    match to.zip(data).and_then(|key| shared.answers.get(&key)) {
        Some(with) => json!({ "jsonrpc": "2.0", "id": asked["id"], "result": with }),
        None => {
            let error = json!({ "code": 3, "message": "execution reverted", "data": "0x" });
            json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error })
        }
    }
}
