//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use agent_object_store::IoChoice;
use clap::{Args, Parser, Subcommand};
use zeroize::Zeroizing;

/// The agent of an ICN node: serves objects over S3.
#[derive(Debug, Parser)]
#[command(name = "icn-agent", version)]
pub(crate) struct Arguments {
    /// What to do; without it, `run`.
    #[command(subcommand)]
    mode: Option<Mode>,
}

impl Arguments {
    /// Reads the command line; ends the process with a message where it is wrong.
    pub(crate) fn read() -> Mode {
        Self::parse().mode.unwrap_or_else(|| Mode::Run(NodeOnly::parse_from(["run"]).node))
    }
}

/// A command line of [`Mode::Run`] alone, for its defaults.
#[derive(Debug, Parser)]
struct NodeOnly {
    #[command(flatten)]
    node: NodeArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Runs as the agent of a node, on the disks that icn-disks mounts.
    Run(NodeArguments),
    /// Serves S3 from folders of this machine, for benchmarks and tests of clients.
    Serve(ServeArguments),
    /// Shows and steers the storage pool of the node that runs here.
    Pool(PoolArguments),
    /// Shows how the hardware of the node that runs here does.
    Health(HealthArguments),
    /// Shows what the node that runs here earned, and what its HP has to sign.
    Settlement(SettlementArguments),
}

/// What to show of what was earned. Ends with 0 where it was shown, with 1 where the agent does not answer or refuses, or
/// there is none of it, with the reason on standard error, and with 2 where the status has an alarm.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettlementArguments {
    /// The control socket of the agent.
    #[arg(long, global = true, default_value = agent_api::control::SOCKET)]
    pub(crate) control_socket: PathBuf,
    /// Prints JSON instead of words.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to show; without it, the status.
    #[command(subcommand)]
    pub(crate) command: Option<SettlementCommand>,
}

/// What to show of what was earned.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum SettlementCommand {
    /// Shows what was earned, pending, claimable and paid, and what waits.
    Status,
    /// Prints the daemon key's word on whose it is, as JSON: the HP binds the key with it.
    Binding,
    /// Prints the transactions that the HP's wallet has to sign, with links that wallets read.
    Unsigned,
}

/// What to show of the hardware. Ends with 0 where it was shown, with 1 where the agent does not answer or
/// refuses, with the reason on standard error, and with 2 where a component deserves attention.
#[derive(Debug, Clone, Args)]
pub(crate) struct HealthArguments {
    /// The control socket of the agent.
    #[arg(long, global = true, default_value = agent_api::control::SOCKET)]
    pub(crate) control_socket: PathBuf,
    /// Prints JSON instead of words.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to show; without it, every component that is not healthy.
    #[command(subcommand)]
    pub(crate) command: Option<HealthCommand>,
}

/// What to show of the hardware.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum HealthCommand {
    /// Shows every component.
    All,
    /// Shows which series have a history.
    Series,
    /// Shows the history of a series, the oldest first.
    History {
        /// Its name with its labels, as `series` shows it.
        series: String,
        /// How far back, in hours; at most 90 days are kept.
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=2160))]
        hours: u64,
        /// How fine, in minutes from one line to the next; what is older may be coarser.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
        step: u64,
    },
}

/// What to do with the pool. Ends with 0 where it was done, with 1 where the agent does not answer or
/// refuses, with the reason on standard error.
#[derive(Debug, Clone, Args)]
pub(crate) struct PoolArguments {
    /// The control socket of the agent.
    #[arg(long, global = true, default_value = agent_api::control::SOCKET)]
    pub(crate) control_socket: PathBuf,
    /// Prints JSON instead of words.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: PoolCommand,
}

/// What to do with the pool.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PoolCommand {
    /// Shows redundancy, space, healing and every volume; ends with 2 where something is missing.
    Status,
    /// Shows what happened to disks and data since the agent was started.
    Events {
        /// Only those behind this number.
        #[arg(long, default_value_t = 0)]
        since: u64,
    },
    /// Shows what each bucket holds.
    Usage,
    /// Empties a volume, takes it out of the pool and destroys its key.
    Retire {
        /// Its UUID, as `status` shows it.
        volume: String,
    },
    /// Keeps a volume that is being retired.
    CancelRetire {
        /// Its UUID.
        volume: String,
    },
    /// Gives a missing volume up: it is not waited for any more, and refused should it come back.
    Forget {
        /// Its UUID.
        volume: String,
    },
    /// Makes the index anew from the volumes alone; nothing is served meanwhile.
    RebuildIndex,
}

/// Where a node keeps what the agent needs.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArguments {
    /// The folder with node.toml.
    #[arg(long, default_value = provisioning_config::SEED_DIR)]
    pub(crate) seed: PathBuf,
    /// The socket of icn-disks.
    #[arg(long, default_value = disk_manager_plan::report::SOCKET)]
    pub(crate) disks_socket: PathBuf,
    /// The socket of init.
    #[arg(long, default_value = agent_api::init::SOCKET)]
    pub(crate) init_socket: PathBuf,
    /// The socket of icn-disks for what needs privileges.
    #[arg(long, default_value = disk_manager_plan::hardware::SOCKET)]
    pub(crate) hardware_socket: PathBuf,
    /// Where the kernel tells of devices.
    #[arg(long, default_value = "/sys")]
    pub(crate) sys: PathBuf,
    /// Where the kernel tells of itself.
    #[arg(long, default_value = "/proc")]
    pub(crate) proc: PathBuf,
    /// The control socket to listen on.
    #[arg(long, default_value = agent_api::control::SOCKET)]
    pub(crate) control_socket: PathBuf,
    /// The log of all services.
    #[arg(long, default_value = agent_api::init::LOG)]
    pub(crate) log: PathBuf,
    /// The log before the last rotation.
    #[arg(long, default_value = agent_api::init::LOG_OLD)]
    pub(crate) log_old: PathBuf,
    /// How disks are waited for: auto, threads or io-uring.
    #[arg(long, default_value = "auto")]
    pub(crate) io: IoChoice,
}

/// What to serve, and to whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArguments {
    /// The folder that holds the disks; made if it is not there.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// How many disks: the folders disk-1 to disk-N.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) disks: u16,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// A user as NAME:ACCESS:SECRET; as often as needed.
    #[arg(long = "user", required = true)]
    pub(crate) users: Vec<UserArgument>,
    /// Serves HTTPS with a self-signed certificate.
    #[arg(long)]
    pub(crate) tls: bool,
    /// The region that clients sign for.
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// A name below which a bucket may stand as a host name; as often as needed.
    #[arg(long = "domain")]
    pub(crate) domains: Vec<String>,
    /// Where readings are served, at /metrics; without it, nowhere.
    #[arg(long)]
    pub(crate) metrics: Option<SocketAddr>,
    /// How disks are waited for: auto, threads or io-uring.
    #[arg(long, default_value = "auto")]
    pub(crate) io: IoChoice,
}

/// A user of the command line.
#[derive(Clone)]
pub(crate) struct UserArgument {
    /// User name.
    pub(crate) name: String,
    /// Access key.
    pub(crate) access_key: String,
    /// Secret key.
    pub(crate) secret_key: Zeroizing<String>,
}

/// What is wrong with a user. Never quotes it: it holds a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserError {
    #[error("write it as NAME:ACCESS:SECRET")]
    Parts,
    #[error("the name is empty or longer than 64 bytes")]
    Name,
    #[error("the access key must have 3 to 128 letters, digits, '-', '_' or '.'")]
    AccessKey,
    #[error("the secret key must have 8 to 128 printable characters")]
    SecretKey,
}

impl FromStr for UserArgument {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, UserError> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(access_key), Some(secret_key)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(UserError::Parts);
        };
        if name.is_empty() || name.len() > 64 {
            return Err(UserError::Name);
        }
        let in_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(3..=128).contains(&access_key.len()) || !access_key.chars().all(in_key) {
            return Err(UserError::AccessKey);
        }
        if !(8..=128).contains(&secret_key.len())
            || !secret_key.chars().all(|c| c.is_ascii_graphic())
        {
            return Err(UserError::SecretKey);
        }
        Ok(Self {
            name: name.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: Zeroizing::new(secret_key.to_owned()),
        })
    }
}

impl std::fmt::Debug for UserArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserArgument").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_three_parts_and_the_secret_may_hold_colons() {
        let user: UserArgument = "alice:AKIA1:sec:ret:00".parse().expect("a user");
        assert_eq!((user.name.as_str(), user.access_key.as_str()), ("alice", "AKIA1"));
        assert_eq!(user.secret_key.as_str(), "sec:ret:00");
    }

    #[test]
    fn a_wrong_user_is_told_what_is_wrong() {
        let wrong = |text: &str| text.parse::<UserArgument>().expect_err("wrong");
        assert_eq!(wrong("alice:AKIA1"), UserError::Parts);
        assert_eq!(wrong(":AKIA1:secretsecret"), UserError::Name);
        assert_eq!(wrong("alice:A:secretsecret"), UserError::AccessKey);
        assert_eq!(wrong("alice:AK IA:secretsecret"), UserError::AccessKey);
        assert_eq!(wrong("alice:AKIA1:short"), UserError::SecretKey);
        assert_eq!(wrong("alice:AKIA1:secret with blanks"), UserError::SecretKey);
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
