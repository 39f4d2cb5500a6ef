//! A chain of the test's own, ended with it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_settlement::call::{Call, Probe};
use agent_settlement::chain::ChainError;
use agent_settlement::chain::http::{Server, public_tls};
use agent_settlement::chain::rpc::Rpc;
use alloy::primitives::{Address, B256, Bytes, U256, hex};
use serde_json::{Value, json};

/// The chain's number.
pub(crate) const CHAIN: u64 = 31_337;

/// The key of anvil's first account (mnemonic "test … junk"), which has 10,000 ETH.
pub(crate) const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// The account of that key.
pub(crate) const PAYER: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

/// Where the counting contract is.
pub(crate) const COUNTER: Address = Address::repeat_byte(0xc0);

/// A contract: called with one word, it adds one to the storage at that word, unless the storage at 0 has a selector,
/// with which it then reverts; called with more, it answers what is stored at the first word.
const COUNTER_CODE: [u8; 49] = hex!(
    "602036146013576000355460005260206000f35b600054801560245760005260046000fd5b506000358054600101905500"
);

/// A running anvil.
#[derive(Debug)]
pub(crate) struct Anvil {
    child: Child,
    pub(crate) url: String,
    server: Server,
}

/// Where anvil is: `ICN_ANVIL` names it; else it is where `cargo xtask test` puts it.
fn program() -> PathBuf {
    const BELOW: &str = "icn-node/contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
    if let Some(path) = std::env::var_os("ICN_ANVIL") {
        return PathBuf::from(path);
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    let path = cache.map(|cache| cache.join(BELOW)).filter(|path| path.exists());
    path.expect("there is no anvil: run the tests with `cargo xtask test`, or set ICN_ANVIL")
}

pub(crate) fn server(url: &str) -> Server {
    let tls = public_tls().expect("TLS");
    Server::new(url, &tls).expect("a URL").answering_within(Duration::from_secs(5))
}

/// A number as RPC wants it.
pub(crate) fn quantity(number: u128) -> Value {
    json!(format!("{number:#x}"))
}

impl Anvil {
    /// A chain that makes a block when it is told to, with the counting contract.
    pub(crate) async fn start() -> Self {
        let mut child = Command::new(program())
            .args(["--host", "127.0.0.1", "--port", "0", "--accounts", "2", "--no-mining"])
            .args(["--slots-in-an-epoch", "1", "--chain-id", &CHAIN.to_string()])
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
        let url = format!("http://{address}");
        let anvil = Self { child, server: server(&url), url };
        anvil.ask("anvil_setCode", json!([COUNTER, Bytes::from(COUNTER_CODE)])).await;
        anvil.mine(3).await;
        anvil
    }

    pub(crate) fn rpc(&self) -> Rpc {
        Rpc::new(self.server.clone())
    }

    pub(crate) async fn try_ask(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, ChainError> {
        self.server.ask(method, params).await
    }

    pub(crate) async fn ask(&self, method: &'static str, params: Value) -> Value {
        self.try_ask(method, params).await.expect("anvil answers")
    }

    pub(crate) async fn mine(&self, blocks: u128) {
        self.ask("anvil_mine", json!([quantity(blocks)])).await;
    }

    /// How often a counter was counted up.
    pub(crate) async fn count(&self, counter: u64) -> u64 {
        let slot = B256::from(U256::from(counter));
        let value = self.ask("eth_getStorageAt", json!([COUNTER, slot, "latest"])).await;
        let value: B256 = serde_json::from_value(value).expect("a word");
        U256::from_be_bytes(value.0).to()
    }

    /// The contract reverts with this selector from now on; 0 for not any more.
    pub(crate) async fn revert_with(&self, selector: [u8; 4]) {
        let mut word = B256::ZERO;
        word[..4].copy_from_slice(&selector);
        self.ask("anvil_setStorageAt", json!([COUNTER, B256::ZERO, word])).await;
        self.mine(1).await;
    }

    /// A transaction of the payer's that no engine knows of.
    pub(crate) async fn foreign(&self, nonce: u64, fee_wei: u128) -> B256 {
        let transaction = json!({
            "from": PAYER, "to": Address::ZERO, "nonce": quantity(u128::from(nonce)), "value": "0x0",
            "maxFeePerGas": quantity(fee_wei), "maxPriorityFeePerGas": quantity(1), "gas": "0x5208",
        });
        let hash = self.ask("eth_sendTransaction", json!([transaction])).await;
        serde_json::from_value(hash).expect("a hash")
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts a counter up. It is no call that can be made twice without anyone seeing it.
pub(crate) fn count_up(counter: u64) -> Call {
    let word = B256::from(U256::from(counter));
    Call { to: COUNTER, data: Bytes::from(word.0), probe: None }
}

/// The same, and how to see that it was done.
pub(crate) fn count_up_once(counter: u64) -> Call {
    let word = B256::from(U256::from(counter));
    let data = Bytes::from([&word[..], &[0]].concat());
    let probe = Probe { to: COUNTER, data, word: 0, at_least: U256::from(1) };
    Call { probe: Some(probe), ..count_up(counter) }
}
