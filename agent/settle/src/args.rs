//! What is asked for on the command line.

use std::path::PathBuf;

use alloy::primitives::{Address, B256, U256};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dispute::args::DisputeCommand;
use crate::units::{parse_gwei, parse_tokens};

/// The most nodes that are asked about at once: as many as one batch of ICN's protocol has.
const NODES_MAX: usize = 300;

/// Seconds that a command waits for its transactions: on Base a block is final after some 20 minutes.
const TIMEOUT_S: &str = "3600";

/// From wallet to payout: what the owner of ICN nodes (the HP) does on the chain.
///
/// Runs on the HP's own machine. The HP's key belongs on no node.
#[derive(Debug, Parser)]
#[command(name = "icn-settle", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// JSON instead of words.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(flatten)]
    pub net: Net,
}

#[derive(Debug, Args)]
pub(crate) struct Net {
    /// The description of the network: TOML or JSON, see docs/operations/hp.md.
    #[arg(long, global = true, value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// An RPC server, instead of those of the description; two are compared.
    #[arg(long, global = true, value_name = "URL")]
    pub rpc: Vec<String>,
    /// The HP account, where neither description nor keystore name it.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub hp: Option<Address>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows what nodes earned and were paid, and how they stand.
    Status {
        #[command(flatten)]
        nodes: Nodes,
    },
    /// Registers a node.
    Register {
        /// The id that the node made for itself, as its console shows it.
        #[arg(long, value_name = "ID", value_parser = label)]
        label: B256,
        #[command(flatten)]
        acting: Acting,
    },
    /// Binds a node's daemon key, or puts it in the place of the one before.
    #[command(visible_alias = "rotate")]
    Bind {
        /// The binding that the node signed.
        #[arg(long, value_name = "FILE", required_unless_present = "daemon")]
        binding: Option<PathBuf>,
        /// Fetches the binding of this daemon key from an oracle.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "binding")]
        daemon: Option<Address>,
        /// The node that it must be of.
        #[arg(long, value_name = "NODE")]
        node: Option<B256>,
        /// The HP's signature of the binding, made elsewhere (see `consent`): another account sends it.
        #[arg(long, value_name = "FILE")]
        consent: Option<PathBuf>,
        /// With --consent: the account that sends and pays, where no keystore names it.
        #[arg(long, value_name = "ADDRESS", requires = "consent")]
        payer: Option<Address>,
        #[command(flatten)]
        acting: Acting,
    },
    /// Writes what the HP's wallet signs (EIP-712) so that another account can bind a daemon key.
    Consent {
        /// The binding that the node signed.
        #[arg(long, value_name = "FILE", required_unless_present = "daemon")]
        binding: Option<PathBuf>,
        /// Fetches the binding of this daemon key from an oracle.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "binding")]
        daemon: Option<Address>,
        /// Where it goes: typed data as wallets read it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Revokes a node's daemon key: for one that was stolen. Possible while the contracts are paused.
    Revoke {
        #[command(flatten)]
        node: OneNode,
        #[command(flatten)]
        acting: Acting,
    },
    /// Puts collateral in for a node.
    Deposit {
        #[command(flatten)]
        node: OneNode,
        /// In ICNT, with a point.
        #[arg(long, value_parser = parse_tokens)]
        amount: U256,
        #[command(flatten)]
        acting: Acting,
    },
    /// Has what nodes earned paid to the HP.
    Claim {
        #[command(flatten)]
        nodes: Nodes,
        /// Takes leaf and proof from a file, as an oracle answers them, instead of asking oracles.
        #[arg(long, value_name = "FILE")]
        leaf: Vec<PathBuf>,
        /// Of ICN's protocol: a claim that was begun, and whose delay is over.
        #[arg(long, value_name = "INDEX", conflicts_with_all = ["node", "leaf"])]
        begun: Option<U256>,
        #[command(flatten)]
        acting: Acting,
    },
    /// Leaves the network with a node, for good.
    Exit {
        #[command(flatten)]
        node: OneNode,
        #[command(flatten)]
        acting: Acting,
    },
    /// Takes a node's collateral back, after its exit.
    Withdraw {
        #[command(flatten)]
        node: OneNode,
        #[command(flatten)]
        acting: Acting,
    },
    /// Shows evidence against oracles and roots, and answers or closes what was asked of oracles.
    #[command(subcommand)]
    Dispute(DisputeCommand),
    /// Signs a file of `--out`. Needs no network.
    Sign {
        /// The file to sign.
        file: PathBuf,
        /// Where the signed transactions go.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        key: Key,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Sends signed transactions, and waits for them.
    Send {
        /// A file of `sign`, or one with a signed transaction in hexadecimal.
        file: PathBuf,
        /// The file of `--out` that was to be signed: another transaction is not sent.
        #[arg(long, value_name = "FILE")]
        unsigned: Option<PathBuf>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Keystores.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// The node, as the chain calls it.
    #[arg(long, value_name = "NODE", required_unless_present = "label")]
    pub node: Option<B256>,
    /// The node, by the id that it made for itself.
    #[arg(long, value_name = "ID", value_parser = label, conflicts_with = "node")]
    pub label: Option<B256>,
}

#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// A node, as the chain calls it; of ICN's protocol its number. May be given again.
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub node: Vec<B256>,
    /// A node, by the id that it made for itself. May be given again.
    #[arg(long, value_name = "ID", value_parser = label)]
    pub label: Vec<B256>,
}

/// What becomes of a transaction.
#[derive(Debug, Args)]
pub(crate) struct Acting {
    /// Signs nothing: shows what would happen, and what it would cost.
    #[arg(long, conflicts_with_all = ["out", "keystore"])]
    pub dry_run: bool,
    /// Signs nothing: writes a file to be signed elsewhere.
    #[arg(long, value_name = "FILE", conflicts_with = "keystore")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub key: MaybeKey,
    /// Does not ask.
    #[arg(long)]
    pub yes: bool,
    /// The most that a unit of gas may cost, in gwei.
    #[arg(long, value_name = "GWEI", default_value = "5", value_parser = parse_gwei)]
    pub max_fee: u128,
    /// With --out: the nonce of the first transaction, instead of the chain's next.
    #[arg(long, requires = "out")]
    pub nonce: Option<u64>,
    /// Draws links (EIP-681) as codes for a wallet's camera.
    #[arg(long)]
    pub qr: bool,
    /// Where unfinished transactions are remembered [default: $XDG_STATE_HOME/icn-settle].
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct MaybeKey {
    /// Signs with this keystore, and sends.
    #[arg(long, value_name = "FILE")]
    pub keystore: Option<PathBuf>,
    /// Reads the password from a file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The keystore.
    #[arg(long, value_name = "FILE")]
    pub keystore: PathBuf,
    /// Reads the password from a file instead of the terminal.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Wait {
    /// How far a transaction must be.
    #[arg(long, value_enum, default_value = "final")]
    pub wait: Until,
    /// Seconds after which it is not waited for any more.
    #[arg(long, value_name = "SECONDS", default_value = TIMEOUT_S)]
    pub timeout: u64,
}

/// How far a transaction is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Until {
    /// It is in a block, which may still vanish.
    Mined,
    /// It is in a block that its own chain will not change.
    Safe,
    /// It cannot vanish any more.
    Final,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key.
    New {
        #[command(flatten)]
        key: Key,
    },
    /// Puts a key that there is already into a keystore.
    Import {
        /// The file with the key: 64 hexadecimal digits.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        key: Key,
    },
    /// Shows whose key a keystore holds.
    Show {
        #[command(flatten)]
        key: Key,
        /// Opens it too, with the password.
        #[arg(long)]
        open: bool,
    },
}

impl Nodes {
    /// That they are not too many.
    pub(crate) fn count(&self) -> Result<usize, TooManyNodes> {
        match self.node.len().saturating_add(self.label.len()) {
            count if count > NODES_MAX => Err(TooManyNodes(count)),
            count => Ok(count),
        }
    }
}

/// Too many nodes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} nodes are named: at most {NODES_MAX} are possible")]
pub(crate) struct TooManyNodes(usize);

/// The id that a node made for itself: hexadecimal, with zeros in front (docs/design/sla.md).
fn label(text: &str) -> Result<B256, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match alloy::hex::decode(digits) {
        Ok(bytes) if (1..=B256::len_bytes()).contains(&bytes.len()) => {
            Ok(B256::left_padding_from(&bytes))
        }
        _ => Err("a node's id is up to 64 hexadecimal digits, an even number of them".to_owned()),
    }
}

/// A node as the chain calls it: 32 bytes, or a number.
fn node(text: &str) -> Result<B256, String> {
    let number = text.parse::<u128>().ok().map(|number| B256::from(U256::from(number)));
    number.or_else(|| text.parse().ok()).ok_or_else(|| {
        "a node is 0x and 64 hexadecimal digits, or of ICN's protocol its number".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn names_of_nodes_are_read() {
        assert_eq!(label("0x0102").unwrap(), label("0102").unwrap());
        assert_eq!(label("07").unwrap(), B256::from(U256::from(7)));
        assert_eq!(node("7").unwrap(), B256::from(U256::from(7)));
        for text in ["", "0", "zz", &"0".repeat(66)] {
            assert!(label(text).is_err(), "{text}");
        }
        assert!(node("0x12").is_err());
        assert_eq!(node(&format!("0x{}", "11".repeat(32))).unwrap(), B256::repeat_byte(0x11));
    }
}
