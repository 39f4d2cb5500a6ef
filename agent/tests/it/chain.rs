//! A chain with our contracts on it, ended with the test: anvil, on this host, and forge that puts them there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::SlaSettlement;
use agent_settlement::chain::http::{Server, public_tls};
use agent_sla::protocol::settled::{EraRoot, Leaf, Settled};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolStruct};
use serde_json::{Value, json};

/// How long an era is, in seconds.
pub(crate) const ERA_S: u64 = 20;

/// The dispute window, in seconds.
const WINDOW_S: u64 = 3;

/// So long before now the first era begins, in seconds: some eras are over at once.
const BEFORE_S: u64 = 200;

/// Anvil's first account, which deploys and relays.
const DEPLOYER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

/// Anvil's second account: the HP. Anvil signs for both.
pub(crate) const HP: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro"
)]
mod abi {
    alloy::sol! {
        function configDigest(uint64 era) external view returns (bytes32);
        function balanceOf(address account) external view returns (uint256);
    }
}

/// A running anvil with a deployment.
#[derive(Debug)]
pub(crate) struct Chain {
    child: Child,
    runtime: tokio::runtime::Runtime,
    server: Server,
    pub(crate) url: String,
    /// What the deployment script wrote.
    pub(crate) deployed: Value,
    oracles: Vec<PrivateKeySigner>,
    last: Option<EraRoot>,
    roots: u64,
}

/// A tool of Foundry: the environment names it; else it is where `cargo xtask test` puts it.
fn tool(name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(format!("ICN_{}", name.to_uppercase())) {
        return PathBuf::from(path);
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let below =
        format!("icn-node/contracts/node_modules/@foundry-rs/{name}-linux-amd64/bin/{name}");
    let path = cache.map(|cache| cache.join(below)).filter(|path| path.exists());
    path.unwrap_or_else(|| panic!("there is no {name}: run the tests with `cargo xtask test`"))
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The contracts' sources where forge may write beside them; compiled once, and kept for the next run.
fn workshop() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("settlement/contracts");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contracts");
    for folder in ["src", "script", "test", ""] {
        fs::create_dir_all(place.join(folder)).expect("a folder");
        for entry in fs::read_dir(sources.join(folder)).expect("sources") {
            let from = entry.expect("an entry").path();
            if from.is_file() {
                let to = place.join(folder).join(from.file_name().expect("a name"));
                fs::copy(&from, to).expect("a copy");
            }
        }
    }
    let link = place.join("node_modules");
    let forge = tool("forge");
    let modules = forge.ancestors().nth(4).expect("node_modules");
    let _absent = fs::remove_file(&link);
    std::os::unix::fs::symlink(modules, &link).expect("a link");
    place
}

impl Chain {
    /// A chain of this number, so that no two tests have one.
    pub(crate) fn start(number: u64) -> Self {
        let chain = Self::start_before(number, BEFORE_S);
        chain.catch_up();
        chain
    }

    /// The same, whose first era began, and whose clock is, so many seconds before now.
    pub(crate) fn start_before(number: u64, before_s: u64) -> Self {
        let mut child = Command::new(tool("anvil"))
            .args(["--host", "127.0.0.1", "--port", "0", "--slots-in-an-epoch", "1"])
            .args(["--mnemonic", "test test test test test test test test test test test junk"])
            .args(["--chain-id", &number.to_string()])
            .args(["--timestamp", &(now_s() - before_s).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("anvil starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        // What it says later is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("http://{address}");
        let server = Server::new(&url, &public_tls().expect("TLS")).expect("a URL");
        let server = server.answering_within(Duration::from_secs(10));
        let oracles =
            [1, 2, 3, 4].map(|key| PrivateKeySigner::from_slice(&[key; 32]).expect("a key"));
        let deployed = deploy(&url, number, &oracles);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let oracles = oracles.to_vec();
        let chain = Self { child, runtime, server, url, deployed, oracles, last: None, roots: 0 };
        chain.ask("evm_setIntervalMining", json!([1]));
        chain
    }

    /// Its clock goes on until now.
    pub(crate) fn catch_up(&self) {
        self.pass(now_s().saturating_sub(self.time()));
    }

    pub(crate) fn ask(&self, method: &'static str, params: Value) -> Value {
        self.runtime.block_on(self.server.ask(method, params)).expect("anvil answers")
    }

    fn time(&self) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false]));
        let time = block["timestamp"].as_str().expect("a time").trim_start_matches("0x");
        u64::from_str_radix(time, 16).expect("a number")
    }

    /// Time passes at once.
    pub(crate) fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds]));
        self.ask("evm_mine", json!([]));
    }

    pub(crate) fn contract(&self, name: &str) -> Address {
        self.deployed[name].as_str().expect("a contract").parse().expect("an address")
    }

    fn call<T: SolCall>(&self, to: Address, call: &T) -> T::Return {
        let data = Bytes::from(call.abi_encode());
        let answer = self.ask("eth_call", json!([{ "to": to, "data": data }, "latest"]));
        let answer: Bytes = serde_json::from_value(answer).expect("bytes");
        T::abi_decode_returns(&answer).expect("an answer")
    }

    /// What an account has of the token.
    pub(crate) fn tokens(&self, account: &str) -> U256 {
        let account = account.parse().expect("an address");
        self.call(self.contract("token"), &abi::balanceOfCall { account })
    }

    /// How many transactions of an account are mined.
    pub(crate) fn transactions(&self, account: &str) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([account, "latest"]));
        let digits = count.as_str().expect("a number").trim_start_matches("0x");
        u64::from_str_radix(digits, 16).expect("a number")
    }

    /// An account that anvil signs for sends a call; it succeeds.
    pub(crate) fn send(&self, from: &str, to: &str, data: &str) {
        let transaction = json!([{ "from": from, "to": to, "data": data, "gas": "0xf4240" }]);
        let hash = self.ask("eth_sendTransaction", transaction);
        self.ask("evm_mine", json!([]));
        let receipt = self.ask("eth_getTransactionReceipt", json!([hash]));
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }

    /// Three of the four oracles sign a root with this node and another one, and it is posted. Returns what an honest
    /// oracle shows of the node.
    pub(crate) fn settle(&mut self, node: B256, reward: U256, total: U256) -> Settled {
        let domain =
            domain(self.deployed["chain"].as_u64().expect("one"), self.contract("settlement"));
        let era = self.last.as_ref().map_or(0, |last| last.toEra + 1);
        let leaf = |node: B256, reward: U256| Leaf {
            nodeId: node,
            toEra: era,
            cumulativeReward: reward,
            cumulativePenalty: U256::ZERO,
            votesHash: B256::repeat_byte(9),
        };
        let (ours, other) = (leaf(node, reward), leaf(B256::repeat_byte(0x77), U256::ZERO));
        let mut pair = [ours.hash(), other.hash()];
        pair.sort();
        let config = abi::configDigestCall { era };
        let root = EraRoot {
            fromEra: era,
            toEra: era,
            previous: self
                .last
                .as_ref()
                .map_or(B256::ZERO, |last| last.eip712_signing_hash(&domain)),
            root: keccak256(pair.concat()),
            votesRoot: B256::ZERO,
            totalReward: total,
            totalPenalty: U256::ZERO,
            configDigest: self.call(self.contract("oracles"), &config),
        };
        self.post(&root, &root.eip712_signing_hash(&domain));
        let number = self.roots;
        (self.roots, self.last) = (number + 1, Some(root.clone()));
        Settled { number, root, leaf: ours, proof: vec![other.hash()], eras: Vec::new() }
    }

    fn post(&self, root: &EraRoot, digest: &B256) {
        let mut signers: Vec<_> = self.oracles.iter().take(3).collect();
        signers.sort_by_key(|signer| signer.address());
        let sign = |signer: &&PrivateKeySigner| {
            Bytes::from(signer.sign_hash_sync(digest).expect("a signature").as_bytes())
        };
        let signatures = signers.iter().map(sign).collect();
        let call = SlaSettlement::postCall { root: root.clone(), signatures };
        let data = Bytes::from(call.abi_encode()).to_string();
        self.send(DEPLOYER, &self.contract("settlement").to_string(), &data);
    }
}

fn deploy(url: &str, number: u64, oracles: &[PrivateKeySigner]) -> Value {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().expect("nobody panicked with it");
    let place = workshop();
    let oracles: Vec<_> = oracles.iter().map(|oracle| oracle.address().to_string()).collect();
    let output = Command::new(tool("forge"))
        .args(["script", "script/Local.s.sol:Local", "--rpc-url", url, "--broadcast", "--slow"])
        .env("ORACLES", oracles.join(","))
        .env("HP", HP)
        .env("ERA_SECONDS", ERA_S.to_string())
        .env("DISPUTE_WINDOW", WINDOW_S.to_string())
        .current_dir(&place)
        .output()
        .expect("forge runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text =
        fs::read_to_string(place.join(format!("deployed/{number}.json"))).expect("it is written");
    serde_json::from_str(&text).expect("JSON")
}

/// So many whole tokens.
pub(crate) fn tokens(count: u64) -> U256 {
    U256::from(count) * U256::from(10).pow(U256::from(18))
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
