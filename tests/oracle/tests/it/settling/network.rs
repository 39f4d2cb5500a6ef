//! A local chain with the contracts on it, of the test's own.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agent_settlement::abi::reference::SlaSettlement;
use agent_settlement::chain::http::{Server, public_tls};
use agent_settlement::chain::rpc::Rpc;
use agent_settlement::chain::{At, Chain as _};
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::{Address, B256, U256};
use alloy::primitives::Bytes;
use alloy::sol_types::SolCall;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::ERA_SECONDS;

/// The chain's number: no other test's, as forge writes what it deployed by this.
const CHAIN: u64 = 40_001;

/// When the chain begins, in seconds since 1970: any moment, as all clocks are set.
const BEGIN: u64 = 1_750_000_000;

/// How often is looked for a receipt, 20 ms apart: longer than a busy machine takes for a block.
const RECEIPT_TRIES: u32 = 1000;

/// Keys of anvil's accounts behind the first, which deploys (mnemonic "test … junk").
pub(crate) const GAS_KEYS: [&str; 4] = [
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
];

/// What was deployed, once for all tests of this process: the chain's state, and the parameters.
static DEPLOYED: OnceCell<(Value, Deployed)> = OnceCell::const_new();

alloy::sol! {
    interface Token {
        function mint(address to, uint256 amount) external;
        function approve(address spender, uint256 amount) external returns (bool);
    }

    interface Oracles {
        function token() external view returns (address);
        function minBond() external view returns (uint256);
        function deposit(address oracle, uint256 amount) external;
        function schedule(address[] members, uint16 samples, uint64 fromEra) external;
    }

    interface Timelock {
        function schedule(
            address target, uint256 value, bytes data, bytes32 predecessor, bytes32 salt, uint256 delay
        ) external;
        function execute(address target, uint256 value, bytes payload, bytes32 predecessor, bytes32 salt) external payable;
    }
}

/// What was deployed.
#[derive(Clone)]
struct Deployed {
    parameters: Parameters,
    registry: Address,
    disputes: Address,
    timelock: Address,
}

/// A running chain.
pub(crate) struct Network {
    child: Child,
    pub(crate) url: String,
    server: Server,
    pub(crate) parameters: Parameters,
    /// `NodeRegistry`.
    pub(crate) registry: Address,
    pub(crate) disputes: Address,
    /// What governs all of them, without a delay.
    timelock: Address,
}

/// A tool of the contracts: where the variable says; else where `cargo xtask contracts` puts it.
fn tool(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let below =
        format!("icn-node/contracts/node_modules/@foundry-rs/{name}-linux-amd64/bin/{name}");
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let path = cache.map(|cache| cache.join(below)).filter(|path| path.exists());
    path.unwrap_or_else(|| {
        panic!("there is no {name}: run the tests with `cargo xtask test`, or set {variable}")
    })
}

fn anvil() -> (Child, String) {
    let mut child = Command::new(tool("ICN_ANVIL", "anvil"))
        .args(["--host", "127.0.0.1", "--port", "0", "--accounts", "5"])
        .args(["--slots-in-an-epoch", "1", "--chain-id", &CHAIN.to_string()])
        .args(["--timestamp", &BEGIN.to_string()])
        .args(["--mnemonic", "test test test test test test test test test test test junk"])
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
    (child, format!("http://{address}"))
}

fn server(url: &str) -> Server {
    Server::new(url, &public_tls().expect("TLS")).expect("a URL")
}

/// Deploys the contracts for these oracles, by the script that people use.
fn deploy(url: &str, oracles: &[Address]) -> Deployed {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/settlement/contracts");
    let names: Vec<String> = oracles.iter().map(ToString::to_string).collect();
    let done = Command::new(tool("ICN_FORGE", "forge"))
        .args(["script", "script/Local.s.sol:Local", "--rpc-url", url, "--broadcast", "--slow"])
        .env("ORACLES", names.join(","))
        .env("ERA_SECONDS", ERA_SECONDS.to_string())
        .env("SAMPLES", "4")
        .current_dir(&contracts)
        .output()
        .expect("forge starts");
    assert!(done.status.success(), "forge: {}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read(contracts.join(format!("deployed/{CHAIN}.json"))).expect("written");
    let found: Value = serde_json::from_slice(&text).expect("JSON");
    let address = |name: &str| serde_json::from_value(found[name].clone()).expect("an address");
    let parameters = Parameters {
        chain: CHAIN,
        contract: address("settlement"),
        genesis: found["genesis"].as_u64().expect("a number"),
        era_seconds: ERA_SECONDS,
        samples: 4,
        oracles: oracles.iter().copied().collect(),
    };
    let (registry, disputes) = (address("registry"), address("disputes"));
    Deployed { parameters, registry, disputes, timelock: address("timelock") }
}

impl Network {
    /// A chain with the contracts for these oracles.
    pub(crate) async fn start(oracles: &[Address]) -> Self {
        let deploying = async {
            let (mut child, url) = anvil();
            let deployed = deploy(&url, oracles);
            let state = server(&url).ask("anvil_dumpState", json!([])).await;
            // It may have ended by itself.
            let _gone = child.kill();
            let _reaped = child.wait();
            (state.expect("anvil answers"), deployed)
        };
        let (state, deployed) = DEPLOYED.get_or_init(|| deploying).await.clone();
        let Deployed { parameters, registry, disputes, timelock } = deployed;
        assert_eq!(parameters.oracles, oracles.iter().copied().collect());
        let (child, url) = anvil();
        let server = server(&url);
        let network = Self { child, server, url, parameters, registry, disputes, timelock };
        assert_eq!(network.ask("anvil_loadState", json!([state])).await, json!(true));
        network
    }

    pub(crate) async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.server.ask(method, params).await.expect("anvil answers")
    }

    /// Makes a block at a moment, in seconds since 1970; later ones follow it.
    pub(crate) async fn at(&self, unix_s: u64) {
        self.ask("evm_setNextBlockTimestamp", json!([unix_s])).await;
        self.ask("evm_mine", json!([])).await;
    }

    /// Makes so many blocks.
    pub(crate) async fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    /// Calls the registry as the HP of the test; its own address is answered.
    pub(crate) async fn as_hp(&self, call: &impl SolCall) -> Address {
        self.call(self.registry, call).await
    }

    /// Calls a contract as anvil's first account, who deployed all of them and is their guardian; its own address is answered.
    pub(crate) async fn call(&self, to: Address, call: &impl SolCall) -> Address {
        let accounts = self.ask("eth_accounts", json!([])).await;
        let hp: Address = serde_json::from_value(accounts[0].clone()).expect("an address");
        let data = Bytes::from(call.abi_encode());
        let transaction = json!({ "from": hp, "to": to, "data": data });
        let hash = self.ask("eth_sendTransaction", json!([transaction])).await;
        // Not mined yet, it might count from an era later on.
        for _ in 0..RECEIPT_TRIES {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                return hp;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("the transaction {hash} is in no block");
    }

    /// Makes an oracle of one more, from an era on that is to come.
    pub(crate) async fn add_oracle(&self, oracle: Address, from_era: u64) {
        let oracles = self.read(&SlaSettlement::oraclesCall {}).await;
        let token = self.read_of(oracles, &Oracles::tokenCall {}).await;
        let amount = self.read_of(oracles, &Oracles::minBondCall {}).await;
        let governor = self.call(token, &Token::approveCall { spender: oracles, amount }).await;
        self.call(token, &Token::mintCall { to: governor, amount }).await;
        self.call(oracles, &Oracles::depositCall { oracle, amount }).await;
        let Parameters { oracles: now, samples, .. } = &self.parameters;
        let members: BTreeSet<Address> = now.iter().copied().chain([oracle]).collect();
        let members = members.into_iter().collect();
        let set = Oracles::scheduleCall { members, samples: *samples, fromEra: from_era };
        let data: Bytes = set.abi_encode().into();
        let (target, value, predecessor, salt) = (oracles, U256::ZERO, B256::ZERO, B256::ZERO);
        let (payload, delay) = (data.clone(), U256::ZERO);
        let announced = Timelock::scheduleCall { target, value, data, predecessor, salt, delay };
        self.call(self.timelock, &announced).await;
        let done = Timelock::executeCall { target, value, payload, predecessor, salt };
        self.call(self.timelock, &done).await;
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(self.server.clone())
    }

    /// What the contract that settles answers.
    pub(crate) async fn read<T: SolCall>(&self, call: &T) -> T::Return {
        self.read_of(self.parameters.contract, call).await
    }

    /// What a contract answers.
    pub(crate) async fn read_of<T: SolCall>(&self, to: Address, call: &T) -> T::Return {
        let rpc = self.rpc();
        let answer = rpc.read(to, call.abi_encode().into(), At::Latest).await.expect("an answer");
        T::abi_decode_returns(&answer).expect("of this call")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
