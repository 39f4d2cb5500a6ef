//! The chain: anvil, with the contracts of `agent/settlement/contracts` and a token that is worth nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use ureq::Agent;

use crate::oracle::Oracle;
use crate::process::{output, stop, tied};
use crate::{CHAIN, HOST, Parameters};

/// How long anvil may take to answer, with a state of some days.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long the contracts may take to be compiled and to be there.
const DEPLOY_LIMIT: Duration = Duration::from_secs(300);

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What the chain says.
const LOG: &str = "chain.log";

/// Seconds from block to block, as on Base. While the contracts are put there, each transaction has its own at once.
const BLOCK_SECONDS: u64 = 2;

/// Where a fund comes from: 10 ETH, some thousand claims at anvil's prices.
const FUND_WEI: &str = "0x8ac7230489e80000";

/// The HP: the second of the accounts that every anvil has, whose keys are public.
pub(crate) const HP_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// Its address.
const HP: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// Keys that pay for what oracles send: the following ones of these accounts.
const GAS_KEYS: [&str; 3] = [
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
];

/// What an era is worth here: 12 tokens, and 3 for each TiB; an era that was missed costs one.
const TARIFF: &str = "
[tariff]
era_reward = \"12000000000000000000\"
tib_reward = \"3000000000000000000\"
era_reward_max = \"100000000000000000000\"
pass_permille = 950
down_permille = 500
down_penalty = \"1000000000000000000\"
";

/// When nodes' states change here: a node that is switched off is warned of after some minutes, and paid again soon after
/// it came back. Collateral is taken only of one that stays away.
const STATES: &str = "
[states]
warn_after = 2
hold_after = 10
slash_after = 20
restore_after = 2
";

/// What chain and contracts are made with.
#[derive(Debug, Clone)]
pub struct ChainPrograms {
    /// The chain.
    pub anvil: PathBuf,
    /// What puts contracts on it.
    pub forge: PathBuf,
    /// The folder of the contracts, with their packages.
    pub contracts: PathBuf,
    /// The HP's tool.
    pub settle: PathBuf,
}

/// The chain; ended when dropped.
#[derive(Debug)]
pub struct Chain {
    dir: PathBuf,
    pub(crate) programs: ChainPrograms,
    port: u16,
    deployment: Value,
    child: Option<Child>,
}

impl Chain {
    /// Starts the chain in a folder, with contracts for these oracles: those of before where they are for the same.
    pub(crate) fn start(
        dir: &Path,
        programs: ChainPrograms,
        oracles: &[String],
        (era_seconds, samples): (u32, u16),
    ) -> Result<Self> {
        let terms = json!({ "oracles": oracles, "eraSeconds": era_seconds, "samples": samples });
        let known = fs::read_to_string(dir.join("terms.json")).ok();
        let is_new = known.and_then(|text| serde_json::from_str(&text).ok()) != Some(terms.clone());
        if is_new {
            for name in ["chain.json", "deployment.json"] {
                let _ = fs::remove_file(dir.join(name));
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(dir.join(LOG))?;
        let before = log.metadata()?.len();
        let child = tied(&programs.anvil)
            .args(["--port", "0", "--chain-id", &CHAIN.to_string()])
            .args(["--slots-in-an-epoch", "1", "--state"])
            .arg(dir.join("chain.json"))
            .args(["--state-interval", "10"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", programs.anvil.display()))?;
        let (dir, child) = (dir.to_owned(), Some(child));
        let mut chain = Self { dir, programs, port: 0, deployment: Value::Null, child };
        chain.wait(before)?;
        if is_new {
            chain.deploy(oracles, era_seconds, samples)?;
        }
        chain.ask("evm_setIntervalMining", &json!([BLOCK_SECONDS]))?;
        let text = fs::read_to_string(chain.dir.join("deployment.json"))
            .context("the contracts were not put on the chain")?;
        chain.deployment = serde_json::from_str(&text).context("in deployment.json")?;
        fs::write(chain.dir.join("terms.json"), terms.to_string())?;
        Ok(chain)
    }

    /// Waits until it answers; where, it says in its log behind what was there `before`.
    fn wait(&mut self, before: u64) -> Result<()> {
        let began = Instant::now();
        let path = self.dir.join(LOG);
        loop {
            if let Some(port) = port_in(&since(&path, before)?) {
                self.port = port;
                if self.ask("eth_chainId", &json!([])).is_ok() {
                    return Ok(());
                }
            }
            ensure!(
                began.elapsed() < START_LIMIT,
                "the chain does not answer: see {}",
                path.display()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn deploy(&self, oracles: &[String], era_seconds: u32, samples: u16) -> Result<()> {
        let contracts = &self.programs.contracts;
        let mut command = Command::new(&self.programs.forge);
        command
            .args(["script", "script/Local.s.sol:Local", "--broadcast", "--rpc-url", &self.url()])
            // One after the other: sent at once, one may get lost, and the others wait for it.
            .arg("--slow")
            .env("ORACLES", oracles.join(","))
            .env("HP", HP)
            .env("ERA_SECONDS", era_seconds.to_string())
            .env("SAMPLES", samples.to_string())
            .env("DISPUTE_WINDOW", era_seconds.to_string())
            .current_dir(contracts);
        // What forge writes there is for one at a time.
        let turn = File::create(contracts.join("deploying"))?;
        turn.lock()?;
        output(&mut command, DEPLOY_LIMIT)?;
        let made = contracts.join(format!("deployed/{CHAIN}.json"));
        fs::copy(&made, self.dir.join("deployment.json"))
            .with_context(|| format!("cannot copy {}", made.display()))?;
        Ok(())
    }

    /// Where its RPC server is, on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it by JSON-RPC.
    ///
    /// # Errors
    /// It does not answer, or with an error.
    pub fn ask(&self, method: &str, params: &Value) -> Result<Value> {
        let agent: Agent = Agent::config_builder().timeout_global(Some(ANSWER)).build().into();
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut answer = agent
            .post(self.url())
            .header("content-type", "application/json")
            .send(body.to_string())?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => bail!("{method}: {answer}"),
        }
    }

    /// Gives an account something to pay gas with, if it has nothing; whether it did.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn fund(&self, address: &str) -> Result<bool> {
        if self.ask("eth_getBalance", &json!([address, "latest"]))? != "0x0" {
            return Ok(false);
        }
        self.ask("anvil_setBalance", &json!([address, FUND_WEI]))?;
        Ok(true)
    }

    /// Tokens that the HP has, in the smallest unit.
    ///
    /// # Errors
    /// The chain does not answer.
    pub fn tokens_of_hp(&self) -> Result<u128> {
        let digits = HP.trim_start_matches("0x").to_lowercase();
        // balanceOf(address), ERC-20.
        let data = format!("0x70a08231{digits:0>64}");
        let call = json!([{ "to": self.contract("token")?, "data": data }, "latest"]);
        let answer = self.ask("eth_call", &call)?;
        let digits = answer.as_str().context("a balance is a text")?.trim_start_matches("0x");
        u128::from_str_radix(digits, 16).with_context(|| format!("{digits} is no balance"))
    }

    fn contract(&self, name: &str) -> Result<&str> {
        let found = self.deployment.get(name).and_then(Value::as_str);
        found.with_context(|| format!("no {name} among the contracts"))
    }

    pub(crate) fn parameters(&self, oracles: Vec<String>) -> Result<Parameters> {
        let number = |name: &str| {
            let found = self.deployment.get(name).and_then(Value::as_u64);
            found.with_context(|| format!("no {name} in deployment.json"))
        };
        Ok(Parameters {
            chain: number("chain")?,
            contract: self.contract("settlement")?.to_owned(),
            genesis: number("genesis")?,
            era_seconds: u32::try_from(number("eraSeconds")?)?,
            samples: u16::try_from(number("samples")?)?,
            oracles: oracles.into_iter().collect(),
        })
    }

    /// Writes for each oracle what it settles by.
    pub(crate) fn write_settlement(&self, oracles: &[Oracle]) -> Result<()> {
        for (oracle, key) in oracles.iter().zip(GAS_KEYS.iter().cycle()) {
            let gas_key = self.dir.join(format!("{}-gas-key", oracle.name));
            write_secret(&gas_key, key)?;
            let text =
                settlement(&self.url(), &gas_key, self.contract("registry")?, oracle, oracles);
            fs::write(oracle.settlement(), text)?;
        }
        Ok(())
    }

    /// `[settlement]` of a node's `node.toml`.
    pub(crate) fn node_toml(&self) -> String {
        let contract = |name: &str| self.contract(name).unwrap_or_default().to_owned();
        let values = [
            ("hp_account", HP.to_owned()),
            ("registry", contract("registry")),
            ("eras", contract("eras")),
            ("claims", contract("claims")),
            ("claim_every", "10s".to_owned()),
        ];
        let values: BTreeMap<&str, String> = values.into();
        let mut text = format!(
            "\n[settlement]\nbackend = \"reference\"\nrpc = [\"http://{HOST}:{}\"]\npay_gas = true\n",
            self.port
        );
        for (key, value) in values {
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
        text
    }

    /// The HP's account.
    pub(crate) fn hp(&self) -> &'static str {
        HP
    }
}

/// What an oracle settles by, with a chain and an account to pay with.
fn settlement(url: &str, gas_key: &Path, registry: &str, ours: &Oracle, all: &[Oracle]) -> String {
    let mut text = format!(
        "rpc = [\"{url}\"]\ngas_key = {gas_key:?}\nregistry = \"{registry}\"\n{TARIFF}{STATES}"
    );
    for peer in all.iter().filter(|peer| peer.address != ours.address) {
        let (port, Oracle { address, certificate, .. }) = (peer.port(), peer);
        let _ = write!(
            text,
            "\n[[peer]]\naddress = \"{address}\"\nurl = \"https://127.0.0.1:{port}\"\n\
             certificate = \"{certificate}\"\n"
        );
    }
    text
}

/// What stands in a file behind so many bytes.
fn since(path: &Path, bytes: u64) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.seek(SeekFrom::Start(bytes))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The port that a chain says it listens on, once the whole line is there.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("Listening on 127.0.0.1:")?;
    let (port, _) = rest.split_once('\n')?;
    port.trim().parse().ok()
}

/// An amount in tokens, which have 18 digits behind the point.
#[must_use]
pub fn tokens(amount: u128) -> String {
    const ONE: u128 = 1_000_000_000_000_000_000;
    format!("{}.{:018}", amount / ONE, amount % ONE)
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Writes what only its user may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            stop(child);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Oracle, Path, port_in, settlement, tokens};

    #[test]
    fn an_oracle_settles_with_all_others_and_changes_states_by_the_registry() {
        let oracle = |number| Oracle::at(number, Path::new("/nonexistent"));
        let all: Vec<_> = [1, 2, 3].map(oracle).into();
        let text = settlement("http://127.0.0.1:1", Path::new("key"), "0x0a", &all[1], &all);
        assert_eq!(text.matches("[[peer]]").count(), 2);
        for (oracle, is_peer) in all.iter().zip([true, false, true]) {
            assert_eq!(text.contains(&format!("address = \"{}\"", oracle.address)), is_peer);
            assert_eq!(text.contains(&format!("127.0.0.1:{}\"", oracle.port())), is_peer);
        }
        // A key of a table that came before it would be that table's.
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
        assert!(at("registry = \"0x0a\"") < at("[tariff]") && at("[tariff]") < at("[states]"));
        assert!(at("[states]\nwarn_after = ") < at("[[peer]]"));
    }

    #[test]
    fn the_port_of_a_chain_is_read_once_its_line_is_whole() {
        let log = "banner\nListening on 127.0.0.1:4711";
        assert_eq!((port_in(log), port_in(&format!("{log}\n"))), (None, Some(4711)));
    }

    #[test]
    fn amounts_are_told_in_tokens() {
        assert_eq!(tokens(99_000_000_000_000_000_000_000), "99000");
        assert_eq!(tokens(1_050_000_000_000_000_000), "1.05");
        assert_eq!(tokens(0), "0");
    }
}
