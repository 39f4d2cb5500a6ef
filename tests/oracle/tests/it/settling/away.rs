//! Chains that answer in part: what goes on all the same, and what is asked for otherwise.

use std::sync::{Arc, Mutex};

use agent_settlement::chain::ChainError;
use agent_settlement::chain::checked::Checked;
use agent_settlement::chain::http::{Server, public_tls};
use agent_settlement::chain::rpc::Rpc;
use agent_sla::protocol::parameters::Era;
use reference_oracle::proxy::{Mode, Proxy};
use reference_oracle::settle::net::{Net, NetError};
use reference_oracle::settle::settler::SettleError;
use reference_oracle::settle::voids::{Follower, Source, Void};
use reference_oracle::settle::votes::Store;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::member::{Circle, LOOKS, ORACLES};
use super::network::Network;
use super::voids::{dispute, two};
use super::{FIRST, GOOD};

/// The longest range of blocks that the server below answers.
const RANGE_MAX: u64 = 10;

/// A server that refuses long ranges of blocks, as public ones do.
struct Bounded {
    url: String,
    /// How long each range was that it was asked for.
    asked: Arc<Mutex<Vec<u64>>>,
}

fn server(url: &str) -> Server {
    Server::new(url, &public_tls().expect("TLS")).expect("a URL")
}

/// The body of a request; none where the connection ends before.
async fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let body = end + 4..end + 4 + length.trim().parse::<usize>().ok()?;
            if let Some(body) = bytes.get(body) {
                return serde_json::from_slice(body).ok();
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

impl Bounded {
    async fn start(network: &Network) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (chain, asked) = (server(&network.url), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(asked) = request(&mut stream).await else { continue };
                let mut answer = answer(&chain, &asked, &noted).await;
                answer["jsonrpc"] = json!("2.0");
                answer["id"] = asked["id"].clone();
                let body = answer.to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let text = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                // Who asked may be gone.
                let _gone = stream.write_all(text.as_bytes()).await;
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<u64> {
        self.asked.lock().expect("nobody panicked with it").clone()
    }
}

async fn answer(chain: &Server, asked: &Value, noted: &Mutex<Vec<u64>>) -> Value {
    let (method, params) = (asked["method"].as_str().expect("a method"), &asked["params"]);
    if method == "eth_getLogs" {
        let block = |name: &str| {
            let digits = params[0][name].as_str().expect("a number").trim_start_matches("0x");
            u64::from_str_radix(digits, 16).expect("a number")
        };
        let count = block("toBlock") - block("fromBlock") + 1;
        noted.lock().expect("nobody panicked with it").push(count);
        if count > RANGE_MAX {
            return json!({ "error": { "code": -32005, "message": "block range is too large" } });
        }
    }
    match chain.ask(String::leak(method.to_owned()), params.clone()).await {
        Ok(result) => json!({ "result": result }),
        Err(error) => json!({ "error": { "code": -32000, "message": error.to_string() } }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_long_ranges_is_asked_for_shorter_ones() {
    let circle = Circle::new().await;
    let network = &circle.network;
    circle.moment(FIRST, 1).await;
    dispute(network, &two(&circle, 0, FIRST)).await;
    network.mine(40).await;
    let bounded = Bounded::start(network).await;
    let rpc = || Rpc::new(server(&bounded.url));
    let net = Net::new(Checked::new(rpc(), rpc()), &network.parameters);
    let source = Source { disputes: network.disputes, from_block: 0 };
    let oracles = network.parameters.oracles.clone();
    let follower = Follower::open(None, source, oracles).expect("no folder");
    let mut refused = 0;
    while refused < LOOKS {
        match follower.refresh(&net).await {
            Ok(is_whole) => {
                assert!(is_whole, "{:?}", bounded.asked());
                break;
            }
            Err(SettleError::Net(NetError::Chain(ChainError::Refused { message, .. }))) => {
                assert_eq!(message, "block range is too large");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let void = Void { era: FIRST, oracle: circle.members[0].address, node: Some(GOOD) };
    assert_eq!(follower.voids(), Some([void].into()), "nothing is left out between the ranges");
    let is_refused = |count: &u64| *count > RANGE_MAX;
    let before = bounded.asked().iter().filter(|count| is_refused(count)).count();
    assert!(refused > 0 && before > 0, "{:?}", bounded.asked());
    // What it refused it is not asked for again at the next look.
    network.mine(40).await;
    assert!(follower.refresh(&net).await.expect("shorter ranges are answered"));
    assert_eq!(bounded.asked().iter().filter(|count| is_refused(count)).count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_are_fetched_while_the_chain_is_away() {
    let mut circle = Circle::new().await;
    let anvil = circle.network.url.trim_start_matches("http://").parse().expect("an address");
    let proxy = Proxy::start(anvil).await.expect("a port");
    circle.members[0].rpc = Some(format!("http://{}", proxy.at));
    (0..ORACLES).for_each(|index| circle.start(index));
    proxy.set(Mode::Down);
    circle.era(FIRST, &[(GOOD, 10)]).await;
    let looked = circle.settler(0).go_on(circle.oracle(0)).await;
    assert!(matches!(looked, Err(SettleError::Net(NetError::Chain(_)))), "{looked:?}");
    assert!(circle.settler(0).tip().is_none(), "it has seen no chain");
    let folder = circle.members[0].folder.join("data/settle/votes");
    let kept = Store::open(&folder, circle.network.parameters.clone()).expect("votes");
    for member in &circle.members {
        let set = kept.set(Era(FIRST), &member.address).expect("read");
        assert!(set.is_some_and(|votes| votes.contains_key(&GOOD)), "of {}", member.address);
    }
}
