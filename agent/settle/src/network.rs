//! The description of a network: where it is read, and whose contracts are called. A TOML or JSON file; what the
//! deployment script of our contracts writes (`deployed/CHAIN.json`) is one.

use std::fs;
use std::path::{Path, PathBuf};

use agent_settlement::abi::icn_v5::Version;
use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::Disputes;
use agent_settlement::backend::{icn_v5, reference};
use agent_settlement::preflight::{Contract, Target};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolValue};
use serde::Deserialize;

use crate::abi::{CollateralVault, TOKEN_DIGITS, Token};

/// The longest description in bytes: 32 oracles of 300 bytes, and as much again for comments.
const FILE_MAX: u64 = 32 << 10;

/// The most RPC servers: two are compared, a third would decide nothing.
pub(crate) const RPC_MAX: usize = 2;

/// The most oracles of a network (agent-sla, `ORACLES_MAX`).
const ORACLES_MAX: usize = 32;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    /// One RPC server, or two that are compared.
    pub rpc: Vec<String>,
    /// The account of the HP, if the file names it.
    pub hp: Option<Address>,
    /// Whom to ask for leaves and bindings.
    pub oracles: Vec<Oracle>,
    /// Whose contracts.
    pub contracts: Contracts,
}

/// An oracle that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oracle {
    /// What people call it.
    pub name: String,
    /// `https://host` with or without a port.
    pub url: String,
    /// Whose signatures its votes carry.
    pub address: Address,
    /// SHA-256 of its TLS certificate in DER.
    pub certificate: B256,
}

/// Whose contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contracts {
    /// Our own.
    Reference(Reference),
    /// ICN's.
    Icn {
        /// The chain (EIP-155).
        chain: u64,
        /// The protocol's proxy.
        protocol: Address,
        /// Which form its nodes have.
        version: Version,
    },
}

/// Our contracts, as far as an HP calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub chain: u64,
    pub token: Address,
    pub eras: Address,
    pub registry: Address,
    pub vault: Address,
    pub claims: Address,
    pub settlement: Address,
    /// None where the description does not name it.
    pub disputes: Option<Address>,
}

/// Why a file describes no network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// It cannot be read.
    #[error("cannot read the description of the network {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// It is too long.
    #[error("{} is no description of a network: it has more than {FILE_MAX} bytes", .0.display())]
    Long(PathBuf),
    /// It is of another form.
    #[error("{} is no description of a network: {why}", path.display())]
    Form { path: PathBuf, why: String },
    /// Something is not in it.
    #[error("the description of the network lacks `{0}`: add it")]
    Lacks(&'static str),
    /// A contract is at the address zero.
    #[error("`{0}` in the description of the network is the address zero: correct it")]
    Zero(&'static str),
    /// The backend is not known.
    #[error("the backend `{0}` is not known: write reference or icn-v5")]
    Backend(String),
    /// The protocol's version is not known.
    #[error("version `{0}` of the ICN protocol is not known: write 5.0.3 or 5.0.3-plain")]
    Version(String),
    /// There are too many of something.
    #[error("{found} of `{what}` in the description of the network: at most {most} are possible")]
    Many { what: &'static str, found: usize, most: usize },
}

/// The file, word by word. Names of the deployment script's file are taken as well as those of our configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    backend: Option<String>,
    /// A file with the contracts, beside this one.
    deployment: Option<PathBuf>,
    #[serde(default)]
    rpc: Vec<String>,
    hp_account: Option<Address>,
    #[serde(default)]
    oracle: Vec<Oracle>,
    chain: Option<u64>,
    token: Option<Address>,
    eras: Option<Address>,
    registry: Option<Address>,
    vault: Option<Address>,
    claims: Option<Address>,
    settlement: Option<Address>,
    disputes: Option<Address>,
    protocol: Option<Address>,
    version: Option<String>,
    // What others need of a deployment.
    #[serde(rename = "oracles")]
    _oracles: Option<Address>,
    #[serde(rename = "timelock")]
    _timelock: Option<Address>,
    #[serde(rename = "genesis")]
    _genesis: Option<u64>,
    #[serde(rename = "eraSeconds", alias = "era_seconds")]
    _era_seconds: Option<u64>,
    #[serde(rename = "samples")]
    _samples: Option<u64>,
    #[serde(rename = "disputeWindow", alias = "dispute_window")]
    _dispute_window: Option<u64>,
}

impl Network {
    /// Reads a file, and the deployment that it names.
    pub(crate) fn read(path: &Path) -> Result<Self, NetworkError> {
        let file = parse(path, &text(path)?)?;
        let contracts = match &file.deployment {
            Some(beside) => {
                let beside = path.parent().unwrap_or(Path::new("")).join(beside);
                contracts(&parse(&beside, &text(&beside)?)?)?
            }
            None => contracts(&file)?,
        };
        bounded("rpc", file.rpc.len(), RPC_MAX)?;
        bounded("oracle", file.oracle.len(), ORACLES_MAX)?;
        let File { rpc, hp_account: hp, oracle: oracles, .. } = file;
        Ok(Self { rpc, hp, oracles, contracts })
    }

    /// The chain (EIP-155).
    pub(crate) fn chain(&self) -> u64 {
        match self.contracts {
            Contracts::Reference(Reference { chain, .. }) | Contracts::Icn { chain, .. } => chain,
        }
    }

    /// What must be so before anything is signed.
    pub(crate) fn target(&self, hp: Address) -> Target {
        match self.contracts {
            Contracts::Reference(reference) => reference.target(hp),
            Contracts::Icn { chain, protocol: address, .. } => {
                let contracts = vec![Contract { name: "the ICN protocol", address, version: None }];
                Target { chain, hp, contracts }
            }
        }
    }
}

impl Reference {
    /// As the backend wants it.
    pub(crate) fn network(&self, hp: Address) -> reference::Network {
        let Self { chain, registry, eras, settlement, claims, .. } = *self;
        reference::Network { chain, hp, registry, eras, settlement, claims }
    }

    /// Also the vault and its token must be those that belong together, and disputes those of this settlement.
    fn target(&self, hp: Address) -> Target {
        let mut target = self.network(hp).target();
        let version = |question: Vec<u8>, answer: Vec<u8>| Some((question.into(), answer.into()));
        let takes = CollateralVault::tokenCall {}.abi_encode();
        let digits = Token::decimalsCall {}.abi_encode();
        target.contracts.extend([
            Contract {
                name: "CollateralVault",
                address: self.vault,
                version: version(takes, self.token.abi_encode()),
            },
            Contract {
                name: "the token",
                address: self.token,
                version: version(digits, U256::from(TOKEN_DIGITS).abi_encode()),
            },
        ]);
        if let Some(address) = self.disputes {
            let separates = Disputes::domainSeparatorCall {}.abi_encode();
            let separator = domain(self.chain, self.settlement).separator();
            let version = version(separates, separator.abi_encode());
            target.contracts.push(Contract { name: "Disputes", address, version });
        }
        target
    }
}

/// As ICN's backend wants it.
pub(crate) fn icn(chain: u64, hp: Address, protocol: Address, version: Version) -> icn_v5::Network {
    icn_v5::Network { chain, hp, protocol, version }
}

fn text(path: &Path) -> Result<String, NetworkError> {
    let unread = |source| NetworkError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unread)?.len() > FILE_MAX {
        return Err(NetworkError::Long(path.to_owned()));
    }
    fs::read_to_string(path).map_err(unread)
}

fn parse(path: &Path, text: &str) -> Result<File, NetworkError> {
    let form = |why: String| NetworkError::Form { path: path.to_owned(), why };
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| form(error.to_string()))
    } else {
        toml::from_str(text).map_err(|error| form(error.to_string()))
    }
}

fn contracts(file: &File) -> Result<Contracts, NetworkError> {
    let chain = file.chain.ok_or(NetworkError::Lacks("chain"))?;
    match file.backend.as_deref().unwrap_or("reference") {
        "reference" => Ok(Contracts::Reference(Reference {
            chain,
            token: address("token", file.token)?,
            eras: address("eras", file.eras)?,
            registry: address("registry", file.registry)?,
            vault: address("vault", file.vault)?,
            claims: address("claims", file.claims)?,
            settlement: address("settlement", file.settlement)?,
            disputes: match file.disputes {
                None => None,
                found => Some(address("disputes", found)?),
            },
        })),
        "icn-v5" => {
            let version = match file.version.as_deref() {
                None | Some("5.0.3") => Version::V5_0_3,
                Some("5.0.3-plain") => Version::V5_0_3Plain,
                Some(other) => return Err(NetworkError::Version(other.to_owned())),
            };
            Ok(Contracts::Icn { chain, protocol: address("protocol", file.protocol)?, version })
        }
        other => Err(NetworkError::Backend(other.to_owned())),
    }
}

fn address(name: &'static str, found: Option<Address>) -> Result<Address, NetworkError> {
    match found {
        None => Err(NetworkError::Lacks(name)),
        Some(Address::ZERO) => Err(NetworkError::Zero(name)),
        Some(address) => Ok(address),
    }
}

fn bounded(what: &'static str, found: usize, most: usize) -> Result<(), NetworkError> {
    if found > most { Err(NetworkError::Many { what, found, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYED: &str = r#"{"chain":31337,"claims":"0x0165878a594ca255338adfa4d48449f69242eb8f",
        "disputeWindow":60,"disputes":"0xa513e6e4b8f2a923d98304ec87f64353c4d5c853","eraSeconds":60,
        "eras":"0xe7f1725e7734ce288f8367e1bb143e90bb3f0512","genesis":5,"samples":16,
        "oracles":"0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0",
        "registry":"0xdc64a140aa3e981100a9beca4e685f962f0cf6c9",
        "settlement":"0xcf7ed3acca5a467e9e704c703e8d87f634fb0fc9",
        "timelock":"0x2279b7a0a67db372996a5fab50d91eaa73d2ebe6",
        "token":"0x5fbdb2315678afecb367f032d93f642f64180aa3",
        "vault":"0x5fc8d32690cc91d4c39d9d3abcbd16989f875707"}"#;

    fn read(text: &str) -> Result<Network, NetworkError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("31337.json"), DEPLOYED).unwrap();
        let path = folder.path().join("network");
        fs::write(&path, text).unwrap();
        Network::read(&path)
    }

    #[test]
    fn what_the_deployment_script_writes_is_taken_as_it_is() {
        let network = read(DEPLOYED).unwrap();
        assert_eq!((network.chain(), network.rpc.len(), network.hp), (31_337, 0, None));
        let target = network.target(Address::repeat_byte(1));
        assert_eq!(target.contracts.len(), 7);
    }

    #[test]
    fn a_file_of_its_own_names_servers_and_oracles_beside_a_deployment() {
        let zeros = "00".repeat(32);
        let text = format!(
            "deployment = \"31337.json\"\nrpc = [\"http://127.0.0.1:8545\"]\n\
             hp_account = \"0x7e5f4552091a69125d5dfcb7b8c2659029395bdf\"\n[[oracle]]\nname = \"a\"\n\
             url = \"https://a\"\naddress = \"0x2279b7a0a67db372996a5fab50d91eaa73d2ebe6\"\n\
             certificate = \"{zeros}\"\n"
        );
        let network = read(&text).unwrap();
        assert_eq!((network.oracles.len(), network.rpc.len()), (1, 1));
        assert!(network.hp.is_some());
        assert_eq!(network.contracts, read(DEPLOYED).unwrap().contracts);
    }

    #[test]
    fn each_mistake_is_named() {
        let icn = "chain = 8453\nbackend = \"icn-v5\"\n";
        let protocol = "protocol = \"0x2279b7a0a67db372996a5fab50d91eaa73d2ebe6\"\n";
        let cases = [
            ("rpc = []\n".to_owned(), "lacks `chain`"),
            ("chain = 5\n".to_owned(), "lacks `token`"),
            ("chain = 5\ncolour = 1\n".to_owned(), "unknown field `colour`"),
            (DEPLOYED.replace("0x5fbd", "0x5fb"), "no description"),
            (
                DEPLOYED.replace(
                    "0x5fbdb2315678afecb367f032d93f642f64180aa3",
                    &format!("{:?}", Address::ZERO),
                ),
                "`token` in the description of the network is the address zero",
            ),
            ("chain = 5\nbackend = \"x\"\n".to_owned(), "`x` is not known"),
            (icn.to_owned(), "lacks `protocol`"),
            (format!("{icn}{protocol}version = \"4\"\n"), "version `4`"),
            ("rpc = [\"a\",\"b\",\"c\"]\ndeployment = \"31337.json\"\n".to_owned(), "3 of `rpc`"),
            ("#".repeat(40 << 10), "more than"),
        ];
        for (text, expected) in cases {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let network = read(&format!("{icn}{protocol}version = \"5.0.3-plain\"\n")).unwrap();
        assert!(matches!(network.contracts, Contracts::Icn { version: Version::V5_0_3Plain, .. }));
    }
}
