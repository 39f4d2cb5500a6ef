//! A node of the ICN protocol, which is read and never written to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use agent_api::settlement::Standing;
use agent_settlement::abi::icn_v5::{IcnV5, ScalerNodePlain};
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::{SolCall, SolValue};
use serde_json::{Value, json};

use crate::chain::now_s;
use crate::fakes::Rig;
use crate::oracle::Oracle;
use crate::settlement::report;

/// The node's number.
const NODE: u64 = 12;

/// An RPC server of chain 8453, and what it was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/a-secret", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever goes away in the middle asks again.
                let _ended = answer(stream, &kept);
            }
        });
        Self { url, asked }
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().expect("a number");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let question: Value = serde_json::from_slice(&body)?;
    let method = question["method"].as_str().expect("a method").to_owned();
    let result = result(&method, &question["params"]);
    asked.lock().expect("its lock").push(method);
    let body = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }).to_string();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn result(method: &str, params: &Value) -> Value {
    match method {
        "eth_chainId" => json!("0x2105"),
        "eth_getBlockByNumber" => {
            let hash = Bytes::from(vec![7; 32]);
            json!({ "number": "0x10", "hash": hash, "timestamp": format!("{:#x}", now_s()), "baseFeePerGas": "0x1" })
        }
        "eth_call" => {
            let data: Bytes = serde_json::from_value(params[0]["data"].clone()).expect("data");
            json!(Bytes::from(contract(&data)))
        }
        other => panic!("asked for {other}"),
    }
}

/// The protocol: a node that works, and has rewards to be claimed.
fn contract(data: &[u8]) -> Vec<u8> {
    let is = |selector: [u8; 4]| data.starts_with(&selector);
    if is(IcnV5::getScalerNodeCall::SELECTOR) {
        node().abi_encode()
    } else if is(IcnV5::getProtocolScalerNodeStatusCall::SELECTOR) {
        U256::from(2).abi_encode()
    } else if is(IcnV5::unclaimedHpRewardsCall::SELECTOR) {
        (U256::from(500), U256::from(40)).abi_encode_params()
    } else {
        assert!(is(IcnV5::getHpRewardClaimDelayCall::SELECTOR), "{data:?}");
        U256::from(60).abi_encode()
    }
}

fn node() -> ScalerNodePlain {
    let number = U256::from;
    ScalerNodePlain {
        status: 2,
        creationDate: number(1_700_000_000),
        name: "node".to_owned(),
        totalCapacity: U256::from(1_u64 << 40),
        utilizedCapacity: number(0),
        hpId: number(12),
        location: 82,
        clusterId: "eu-1".to_owned(),
        reservationPrice: number(5),
        bookingPrice: number(0),
        nodeRewardShare: number(50),
        hwClass: "storage".to_owned(),
        daemonAddress: Address::repeat_byte(0xda),
        collateralAmount: number(1000),
        commitmentDuration: number(36),
        commitmentStart: number(7),
        spIdUnused: Address::ZERO,
        activationEra: number(9),
        startBookingPeriod: number(0),
        bookingPeriod: number(0),
        spId: number(3),
    }
}

#[test]
fn a_node_of_the_icn_protocol_prepares_claims_and_sends_nothing() {
    let (server, oracle) = (Server::start(), Oracle::start());
    let hp = format!("0x{}", "48".repeat(20));
    let contract = format!("0x{}", "1c".repeat(20));
    let rig = Rig::new(&format!(
        "[sla]\nchain = 8453\ncontract = \"{contract}\"\ngenesis = 0\nera = \"20s\"\n{}\
         [settlement]\nbackend = \"icn-v5\"\nrpc = [\"{}\"]\nhp_account = \"{hp}\"\nprotocol = \"{contract}\"\n\
         node = {NODE}\nabi = \"5.0.3-plain\"\n",
        oracle.described("one", 1),
        server.url,
    ));
    rig.report(vec![rig.mounted("a")], &[]);
    let agent = rig.start();
    let found = report(&rig, "rewards to be claimed", |report| !report.unsigned.is_empty());
    let status = &found.status;
    let seen = status.seen.as_ref().expect("seen");
    assert_eq!((seen.standing, seen.is_bound), (Standing::Healthy, false));
    assert_eq!(status.node.as_deref(), Some("12"));
    assert_eq!(status.amounts.claimable.as_deref(), Some("500"));
    assert_eq!((&status.gas, &found.binding), (&None, &None));
    let link = format!("@8453/initiateHpRewardsClaim?uint256={NODE}");
    assert!(found.unsigned[0].links[0].ends_with(&link), "{found:#?}");
    assert!(found.unsigned[0].from.eq_ignore_ascii_case(&hp));
    let asked = server.asked.lock().expect("its lock").clone();
    assert!(asked.iter().all(|method| !method.contains("send")), "{asked:?}");
    assert!(!agent.log().contains("a-secret"), "{}", agent.log());
}
