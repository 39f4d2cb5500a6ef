//! What an oracle that settles is told: `--settlement FILE`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agent_settlement::chain::checked::Checked;
use agent_settlement::chain::http::{Server, UrlError, public_tls};
use agent_settlement::chain::rpc::Rpc;
use agent_settlement::key::{KeyError, PayerKey};
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::RANGE_ERAS_MAX;
use agent_sla::protocol::{Address, B256};
use agent_sla::{Reader, ReaderError};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::states::rules::{Rules, RulesError};
use super::tariff::{Tariff, TariffError};
use super::turn::Pace;
use super::voids::Source;

/// One gwei, in wei.
const GWEI: u128 = 1_000_000_000;

/// The longest file in bytes: 31 peers are some 8 KiB.
const FILE_MAX: u64 = 256 << 10;

/// The longest file of a key in bytes: 66 characters and a line's end.
const KEY_FILE_MAX: u64 = 1024;

/// Why an oracle cannot settle by a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is none.
    #[error("{path}: {reason}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its tariff cannot be used.
    #[error("{path}: tariff: {source}")]
    Tariff {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TariffError,
    },
    /// Its rules for nodes' states cannot be used.
    #[error("{path}: states: {source}")]
    States {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: RulesError,
    },
    /// An RPC server cannot be used.
    #[error("{path}: rpc: {source}")]
    Rpc {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: UrlError,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A peer cannot be used.
    #[error("{path}: peer {address}: {source}")]
    Peer {
        /// The file.
        path: PathBuf,
        /// Which.
        address: Address,
        /// Why not.
        source: ReaderError,
    },
    /// Others may read the key that pays.
    #[error("{path}: others may read it (mode {mode:o}); chmod 600 it, or pay by a new key")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its rights.
        mode: u32,
    },
    /// It holds no key.
    #[error("{path}: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    rpc: Vec<String>,
    gas_key: Option<PathBuf>,
    registry: Option<Address>,
    disputes: Option<Address>,
    disputes_from_block: Option<u64>,
    #[serde(default = "one")]
    eras_per_root: u64,
    votes_within_seconds: Option<u32>,
    takeover_seconds: Option<u32>,
    #[serde(default = "five")]
    fee_cap_gwei: u32,
    #[serde(default = "budget")]
    day_budget_gwei: u64,
    tariff: Tariff,
    states: Option<Rules>,
    #[serde(default)]
    peer: Vec<PeerForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerForm {
    address: Address,
    url: String,
    certificate: String,
}

fn one() -> u64 {
    1
}

fn five() -> u32 {
    5
}

/// 0.03 ETH, as the engine of nodes has it.
fn budget() -> u64 {
    30_000_000
}

/// How an oracle settles.
#[derive(Debug)]
pub struct SettleConfig {
    /// The chain, asked by two servers; by the one that there is twice.
    pub chain: Checked,
    /// Pays for transactions; none where this oracle signs and others post.
    pub gas_key: Option<PayerKey>,
    /// `NodeRegistry`, whose daemons are admitted beside the list; none where the list alone counts.
    pub registry: Option<Address>,
    /// `Disputes`, whose void votes are left out; none where all votes count.
    pub disputes: Option<Source>,
    /// When roots are made.
    pub pace: Pace,
    /// The most for a unit of gas, in wei.
    pub fee_cap_wei: u128,
    /// The most that a day's transactions can cost, in wei.
    pub day_budget_wei: u128,
    /// What an era is worth.
    pub tariff: Tariff,
    /// When nodes' states change; none where this oracle has no part in that.
    pub states: Option<Rules>,
    /// The other oracles.
    pub peers: BTreeMap<Address, Reader>,
}

impl SettleConfig {
    /// Reads a file. `ours` is this oracle; none where nothing is signed or posted, and so no key is read and no peer
    /// must be there.
    ///
    /// # Errors
    /// It cannot be used: what is wrong, and in which file.
    pub fn read(
        path: &Path,
        parameters: &Parameters,
        ours: Option<Address>,
    ) -> Result<Self, ConfigError> {
        let text = bounded(path, FILE_MAX)?;
        let text = String::from_utf8_lossy(&text);
        let wrong = |reason: String| ConfigError::Form { path: path.to_owned(), reason };
        let form: Form = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let tariff = form.tariff;
        tariff.check().map_err(|source| ConfigError::Tariff { path: path.to_owned(), source })?;
        if let Some(rules) = &form.states {
            let failed = |source| ConfigError::States { path: path.to_owned(), source };
            rules.check().map_err(failed)?;
            if form.registry.is_none() {
                return Err(wrong("states without registry: write the address".to_owned()));
            }
        }
        if !(1..=RANGE_ERAS_MAX).contains(&form.eras_per_root) {
            return Err(wrong(format!("eras_per_root: 1 to {RANGE_ERAS_MAX} are possible")));
        }
        if form.disputes.is_none() && form.disputes_from_block.is_some() {
            return Err(wrong(
                "disputes_from_block without disputes: write the address".to_owned(),
            ));
        }
        if form.disputes.is_some() && form.disputes_from_block.is_none() {
            return Err(wrong(
                "disputes without disputes_from_block: write the block in which it was made, or one before"
                    .to_owned(),
            ));
        }
        let from_block = form.disputes_from_block.unwrap_or(0);
        let era_ms = u64::from(parameters.era_seconds) * 1000;
        let or_half = |seconds: Option<u32>, otherwise: u64| {
            seconds.map_or(otherwise, |seconds| u64::from(seconds) * 1000).max(1)
        };
        let pace = Pace {
            eras_per_root: form.eras_per_root,
            grace_ms: crate::service::grace_ms(parameters),
            // Votes come within seconds of their cast; an oracle that is away is not waited for into the next era.
            votes_within_ms: or_half(form.votes_within_seconds, era_ms / 2),
            takeover_ms: or_half(form.takeover_seconds, era_ms / 4),
        };
        Ok(Self {
            chain: chain(path, &form.rpc)?,
            gas_key: form
                .gas_key
                .filter(|_| ours.is_some())
                .map(|file| gas_key(path, &file))
                .transpose()?,
            registry: form.registry,
            disputes: form.disputes.map(|disputes| Source { disputes, from_block }),
            pace,
            fee_cap_wei: u128::from(form.fee_cap_gwei) * GWEI,
            day_budget_wei: u128::from(form.day_budget_gwei) * GWEI,
            tariff,
            states: form.states,
            peers: peers(path, form.peer, parameters, ours)?,
        })
    }
}

fn bounded(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > most {
        let reason = format!("longer than {most} bytes, so it is another kind of file");
        return Err(ConfigError::Form { path: path.to_owned(), reason });
    }
    fs::read(path).map(Zeroizing::new).map_err(failed)
}

/// The chain by one or two servers.
fn chain(path: &Path, urls: &[String]) -> Result<Checked, ConfigError> {
    let tls = public_tls()?;
    let rpc = |url: &String| {
        let server = Server::new(url, &tls);
        let failed = |source| ConfigError::Rpc { path: path.to_owned(), source };
        server.map(Rpc::new).map_err(failed)
    };
    match urls {
        [one] => rpc(one).map(|one| Checked::new(one.clone(), one)),
        [one, two] => Ok(Checked::new(rpc(one)?, rpc(two)?)),
        _ => {
            let reason = format!("rpc: {} URLs, 1 or 2 are possible", urls.len());
            Err(ConfigError::Form { path: path.to_owned(), reason })
        }
    }
}

fn gas_key(beside: &Path, file: &Path) -> Result<PayerKey, ConfigError> {
    let path = beside.parent().unwrap_or(Path::new("")).join(file);
    let failed = |source| ConfigError::Read { path: path.clone(), source };
    let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::Readable { path, mode });
    }
    let bytes = bounded(&path, KEY_FILE_MAX)?;
    PayerKey::parse(&bytes).map_err(|source| ConfigError::Key { path, source })
}

fn peers(
    path: &Path,
    forms: Vec<PeerForm>,
    parameters: &Parameters,
    ours: Option<Address>,
) -> Result<BTreeMap<Address, Reader>, ConfigError> {
    let wrong = |reason: String| ConfigError::Form { path: path.to_owned(), reason };
    let mut peers = BTreeMap::new();
    for PeerForm { address, url, certificate } in forms {
        if !parameters.oracles.contains(&address) || Some(address) == ours {
            return Err(wrong(format!(
                "peer {address} is no other oracle of the parameters: correct the one or the other"
            )));
        }
        let digits = certificate.strip_prefix("sha256:").unwrap_or(&certificate);
        let pinned: B256 = digits.parse().map_err(|_| {
            wrong(format!("peer {address}: certificate is sha256: and 64 hexadecimal digits"))
        })?;
        let reader = Reader::new(&address.to_string(), &url, pinned);
        let failed = |source| ConfigError::Peer { path: path.to_owned(), address, source };
        if peers.insert(address, reader.map_err(failed)?).is_some() {
            return Err(wrong(format!("peer {address} stands there twice")));
        }
    }
    let is_missing = |oracle: &&Address| {
        ours.is_some_and(|ours| **oracle != ours) && !peers.contains_key(*oracle)
    };
    if let Some(missing) = parameters.oracles.iter().find(is_missing) {
        return Err(wrong(format!(
            "no peer {missing}: write [[peer]] with address, url and certificate for each other oracle"
        )));
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const TARIFF: &str = "[tariff]\nera_reward = \"1000\"\ntib_reward = \"0\"\nera_reward_max = \"1000\"\n\
                          pass_permille = 900\ndown_permille = 500\ndown_penalty = \"70\"\n";

    fn parameters() -> Parameters {
        Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis: 0,
            era_seconds: 60,
            samples: 1,
            oracles: [1, 2].map(Address::repeat_byte).into(),
        }
    }

    fn read(text: &str) -> Result<SettleConfig, ConfigError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("settlement.toml");
        fs::write(&path, text).expect("written");
        for (name, mode) in [("open", 0o644), ("shut", 0o600)] {
            let key = dir.path().join(name);
            fs::write(&key, "11".repeat(32)).expect("written");
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("changed");
        }
        SettleConfig::read(&path, &parameters(), Some(Address::repeat_byte(1)))
    }

    fn text(head: &str, peer: u8) -> String {
        let mut text = format!("{head}\n{TARIFF}");
        let (address, pin) = (Address::repeat_byte(peer), "ab".repeat(32));
        write!(
            text,
            "[[peer]]\naddress = \"{address}\"\nurl = \"https://o.example\"\ncertificate = \"sha256:{pin}\"\n"
        )
        .expect("written");
        text
    }

    #[test]
    fn a_file_is_read_and_what_is_not_said_follows_the_era() {
        let head = "rpc = [\"http://127.0.0.1:1\"]\ngas_key = \"shut\"";
        let found = read(&text(head, 2)).expect("a configuration");
        assert!(found.gas_key.is_some());
        let pace = Pace {
            eras_per_root: 1,
            grace_ms: 15_000,
            votes_within_ms: 30_000,
            takeover_ms: 15_000,
        };
        assert_eq!(found.pace, pace);
        assert_eq!(found.peers.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rpc = "rpc = [\"http://127.0.0.1:1\"]";
        let words = |text: String| read(&text).expect_err("wrong").to_string();
        assert!(words(text("rpc = []", 2)).contains("0 URLs"));
        assert!(words(text("rpc = [\"ftp://a\"]", 2)).contains("rpc"));
        assert!(words(text(rpc, 3)).contains("no other oracle"));
        assert!(words(format!("{rpc}\n{TARIFF}")).contains("no peer 0x0202"));
        assert!(words(text(&format!("{rpc}\ngas_key = \"open\""), 2)).contains("mode 644"));
        assert!(words(text(&format!("{rpc}\nextra = 1"), 2)).contains("extra"));
        let rules = |warn: u16| {
            let rest = "hold_after = 2\nslash_after = 3\nrestore_after = 2";
            let states = format!("[states]\nwarn_after = {warn}\n{rest}\n");
            text(rpc, 2).replace("[[peer]]", &format!("{states}[[peer]]"))
        };
        assert!(words(rules(1)).contains("states without registry"));
        assert!(words(rules(2)).contains("warn_after < hold_after"));
        let block = words(text(&format!("{rpc}\ndisputes_from_block = 1"), 2));
        assert!(block.contains("without disputes"), "{block}");
        let block = words(text(&format!("{rpc}\ndisputes = \"{}\"", Address::ZERO), 2));
        assert!(block.contains("without disputes_from_block"), "{block}");
        assert!(words(text(&format!("{rpc}\neras_per_root = 169"), 2)).contains("eras_per_root"));
    }
}
