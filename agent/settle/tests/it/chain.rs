//! A chain with our contracts on it, ended with the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_settlement::abi::messages::{Leaf, domain};
use agent_settlement::abi::reference::SlaSettlement;
use agent_settlement::chain::http::{Server, public_tls};
use agent_sla::protocol::settled::{EraRoot, Settled};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolStruct};
use serde_json::{Value, json};

/// How long an era is, in seconds.
pub(crate) const ERA_S: u64 = 20;

/// The dispute window, in seconds.
pub(crate) const WINDOW_S: u64 = 3;

/// So long before now the first era begins, in seconds: some eras are over at once.
const BEFORE_S: u64 = 200;

/// Anvil's first account, which deploys and relays.
const DEPLOYER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

/// The HP's key.
pub(crate) const HP_KEY: [u8; 32] = [0x48; 32];

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
        function approve(address spender, uint256 value) external returns (bool);
        function voided(bytes32 voteDigest) external view returns (bool);
        function SLASHER_ROLE() external view returns (bytes32);
        function grantRole(bytes32 role, address account) external;
        function revokeRole(bytes32 role, address account) external;
        function oracles(address oracle) external view returns (uint96 bond, uint64 lastSet, bool jailed);
    }
}

/// A running anvil with a deployment.
#[derive(Debug)]
pub(crate) struct Chain {
    child: Child,
    server: Server,
    pub(crate) url: String,
    /// What the deployment script wrote.
    pub(crate) deployed: Value,
    oracles: Vec<PrivateKeySigner>,
    /// The roots that stand.
    roots: Vec<EraRoot>,
}

/// What a test may want otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// So long before now the first era begins, in seconds.
    pub(crate) before_s: u64,
    /// The dispute window, in seconds.
    pub(crate) window_s: u64,
    /// How far the chain's clock is behind, in seconds: so much may pass without waiting.
    pub(crate) behind_s: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { before_s: BEFORE_S, window_s: WINDOW_S, behind_s: 0 }
    }
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

pub(crate) fn hp() -> Address {
    PrivateKeySigner::from_slice(&HP_KEY).expect("a key").address()
}

/// The contracts' sources where forge may write beside them; compiled once, and kept for the next run.
fn workshop() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../settlement/contracts");
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
    pub(crate) async fn start(number: u64) -> Self {
        Self::start_with(number, Setup::default()).await
    }

    pub(crate) async fn start_with(number: u64, setup: Setup) -> Self {
        let mut child = Command::new(tool("anvil"))
            .args(["--host", "127.0.0.1", "--port", "0", "--slots-in-an-epoch", "1"])
            .args(["--chain-id", &number.to_string()])
            .args(["--timestamp", &(now_s() - setup.before_s).to_string()])
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
        let server = server.answering_within(Duration::from_secs(5));
        let oracles =
            [1, 2, 3, 4].map(|key| PrivateKeySigner::from_slice(&[key; 32]).expect("a key"));
        let deployed = deploy(&url, number, &oracles, setup.window_s);
        let oracles = oracles.to_vec();
        let chain = Self { child, server, url, deployed, oracles, roots: Vec::new() };
        chain.catch_up(setup.behind_s).await;
        chain.ask("anvil_setBalance", json!([hp(), "0xde0b6b3a7640000"])).await;
        chain.ask("evm_setIntervalMining", json!([1])).await;
        chain
    }

    pub(crate) async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.server.ask(method, params).await.expect("anvil answers")
    }

    async fn time(&self) -> u64 {
        let block = self.ask("eth_getBlockByNumber", json!(["latest", false])).await;
        let time = block["timestamp"].as_str().expect("a time").trim_start_matches("0x");
        u64::from_str_radix(time, 16).expect("a number")
    }

    /// Its clock goes on until it is so far behind, in seconds.
    pub(crate) async fn catch_up(&self, behind_s: u64) {
        let behind = now_s().saturating_sub(self.time().await);
        self.pass(behind.saturating_sub(behind_s)).await;
    }

    /// The era of the newest block.
    pub(crate) async fn era(&self) -> u64 {
        (self.time().await - self.genesis()) / ERA_S
    }

    /// How many seconds of the era are over.
    pub(crate) async fn second_of_era(&self) -> u64 {
        (self.time().await - self.genesis()) % ERA_S
    }

    fn genesis(&self) -> u64 {
        self.deployed["genesis"].as_u64().expect("a second")
    }

    /// Waits until so much time is over on the chain, without making its clock go faster.
    pub(crate) async fn wait(&self, seconds: u64) {
        let until = self.time().await + seconds;
        while self.time().await < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Time passes at once.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.ask("evm_mine", json!([])).await;
    }

    /// Whether blocks are made by themselves.
    pub(crate) async fn mines(&self, by_itself: bool) {
        self.ask("evm_setIntervalMining", json!([u8::from(by_itself)])).await;
    }

    pub(crate) fn contract(&self, name: &str) -> Address {
        self.deployed[name].as_str().expect("a contract").parse().expect("an address")
    }

    pub(crate) fn number(&self) -> u64 {
        self.deployed["chain"].as_u64().expect("a number")
    }

    pub(crate) async fn call<T: SolCall>(&self, to: Address, call: &T) -> T::Return {
        let data = Bytes::from(call.abi_encode());
        let answer = self.ask("eth_call", json!([{ "to": to, "data": data }, "latest"])).await;
        let answer: Bytes = serde_json::from_value(answer).expect("bytes");
        T::abi_decode_returns(&answer).expect("an answer")
    }

    /// What an account has of the token.
    pub(crate) async fn tokens(&self, account: Address) -> U256 {
        self.call(self.contract("token"), &abi::balanceOfCall { account }).await
    }

    /// The HP allows the vault to take so much, by another wallet.
    pub(crate) async fn allow(&self, value: U256) {
        self.allow_to("vault", value).await;
    }

    /// The HP allows a contract to take so much, by another wallet.
    pub(crate) async fn allow_to(&self, contract: &str, value: U256) {
        let data = abi::approveCall { spender: self.contract(contract), value }.abi_encode();
        self.by_another_wallet("token", data).await;
    }

    /// The HP calls a contract, by another wallet; it succeeds.
    pub(crate) async fn by_another_wallet(&self, contract: &str, data: Vec<u8>) {
        let to = self.contract(contract);
        self.ask("anvil_impersonateAccount", json!([hp()])).await;
        let transaction =
            json!([{ "from": hp(), "to": to, "data": Bytes::from(data), "gas": "0xf4240" }]);
        self.mined(transaction).await;
        self.ask("anvil_stopImpersonatingAccount", json!([hp()])).await;
    }

    /// Why a contract refuses the HP's call, as it answers it.
    pub(crate) async fn refusal(&self, contract: &str, data: Vec<u8>) -> Bytes {
        let to = self.contract(contract);
        let call = json!([{ "from": hp(), "to": to, "data": Bytes::from(data) }, "latest"]);
        let refused = self.server.ask("eth_call", call).await.expect_err("it is refused");
        refused.revert().expect("by the contract")
    }

    async fn mined(&self, transaction: Value) {
        let hash = self.ask("eth_sendTransaction", transaction).await;
        self.ask("evm_mine", json!([])).await;
        let receipt = self.ask("eth_getTransactionReceipt", json!([hash])).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }

    /// The digest of the parameters of an era.
    pub(crate) async fn config(&self, era: u64) -> B256 {
        self.call(self.contract("oracles"), &abi::configDigestCall { era }).await
    }

    /// Whether a vote is void.
    pub(crate) async fn is_void(&self, vote: B256) -> bool {
        self.call(self.contract("disputes"), &abi::voidedCall { voteDigest: vote }).await
    }

    /// The stake of an oracle, and whether its signatures count no more.
    pub(crate) async fn stake(&self, oracle: Address) -> (U256, bool) {
        let found = self.call(self.contract("oracles"), &abi::oraclesCall { oracle }).await;
        (U256::from(found.bond), found.jailed)
    }

    /// Governance lets `Disputes` slash oracles, or no more.
    pub(crate) async fn let_slash(&self, may: bool) {
        let (from, to) = (self.contract("timelock"), self.contract("oracles"));
        let (role, account) =
            (self.call(to, &abi::SLASHER_ROLECall {}).await, self.contract("disputes"));
        let data = match may {
            true => abi::grantRoleCall { role, account }.abi_encode(),
            false => abi::revokeRoleCall { role, account }.abi_encode(),
        };
        self.ask("anvil_setBalance", json!([from, "0xde0b6b3a7640000"])).await;
        self.ask("anvil_impersonateAccount", json!([from])).await;
        let gas = "0xf4240";
        self.mined(json!([{ "from": from, "to": to, "data": Bytes::from(data), "gas": gas }]))
            .await;
    }

    /// The last root was cancelled: the next takes its place.
    pub(crate) fn cancelled(&mut self) {
        self.roots.pop().expect("a root");
    }

    /// How many transactions the HP has sent, with those that wait.
    pub(crate) async fn sent(&self) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([hp(), "pending"])).await;
        u64::from_str_radix(count.as_str().expect("a number").trim_start_matches("0x"), 16)
            .expect("a number")
    }

    /// Three of the four oracles sign a root of two leaves, and it is posted. Returns what an oracle answers of each.
    pub(crate) async fn settle(&mut self, leaves: [Leaf; 2], total: U256) -> [Settled; 2] {
        let hashes = leaves.each_ref().map(Leaf::hash);
        let mut pair = hashes;
        pair.sort();
        let domain = domain(self.number(), self.contract("settlement"));
        let last = self.roots.last();
        let from = last.map_or(0, |last| last.toEra + 1);
        let previous = last.map_or(B256::ZERO, |last| last.eip712_signing_hash(&domain));
        let root = EraRoot {
            fromEra: from,
            toEra: from,
            previous,
            root: keccak256(pair.concat()),
            votesRoot: B256::ZERO,
            totalReward: total,
            totalPenalty: U256::ZERO,
            configDigest: self.config(from).await,
        };
        let digest = root.eip712_signing_hash(&domain);
        // The last three: the first is the one that misbehaves.
        let mut signers: Vec<_> = self.oracles.iter().skip(1).collect();
        signers.sort_by_key(|signer| signer.address());
        let sign = |signer: &&PrivateKeySigner| {
            Bytes::from(signer.sign_hash_sync(&digest).expect("a signature").as_bytes())
        };
        let signatures = signers.iter().map(sign).collect();
        let call = SlaSettlement::postCall { root: root.clone(), signatures };
        let data = Bytes::from(call.abi_encode());
        let to = self.contract("settlement");
        let transaction = json!([{ "from": DEPLOYER, "to": to, "data": data, "gas": "0xf4240" }]);
        self.mined(transaction).await;
        let number = u64::try_from(self.roots.len()).expect("a number");
        self.roots.push(root.clone());
        let [first, second] = leaves;
        let settled = |leaf: Leaf, beside: B256| Settled {
            number,
            root: root.clone(),
            leaf,
            proof: vec![beside],
            eras: Vec::new(),
        };
        [settled(first, hashes[1]), settled(second, hashes[0])]
    }
}

fn deploy(url: &str, number: u64, oracles: &[PrivateKeySigner], window_s: u64) -> Value {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().expect("nobody panicked with it");
    let place = workshop();
    let oracles: Vec<_> = oracles.iter().map(|oracle| oracle.address().to_string()).collect();
    let output = Command::new(tool("forge"))
        .args(["script", "script/Local.s.sol:Local", "--rpc-url", url, "--broadcast", "--slow"])
        .env("ORACLES", oracles.join(","))
        .env("HP", hp().to_string())
        .env("ERA_SECONDS", ERA_S.to_string())
        .env("DISPUTE_WINDOW", window_s.to_string())
        .current_dir(&place)
        .output()
        .expect("forge runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text =
        fs::read_to_string(place.join(format!("deployed/{number}.json"))).expect("it is written");
    serde_json::from_str(&text).expect("JSON")
}

/// A leaf of a node that earned so much, in whole tokens.
pub(crate) fn leaf(node: B256, to_era: u64, reward: u64) -> Leaf {
    let cumulative = U256::from(reward) * U256::from(10).pow(U256::from(18));
    Leaf {
        nodeId: node,
        toEra: to_era,
        cumulativeReward: cumulative,
        cumulativePenalty: U256::ZERO,
        votesHash: B256::repeat_byte(9),
    }
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
