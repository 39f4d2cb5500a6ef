//! icnctl: everything that the console shows and does, as commands.

mod find;
mod local;
mod network;
mod prepare;
mod receipts;
mod support;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use agent_api::client::AgentClient;
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;

use crate::action::Action;
use crate::dialog::Confirm;
use crate::poller::ACTION_TIMEOUT;
use crate::state::Level;

pub(crate) use network::SetArguments;
pub(crate) use prepare::{Answer, Step, prepare};

/// What ends with where something deserves attention.
const ATTENTION: u8 = 2;

/// Shows the state of the node that runs here, and has it do things. Ends with 0 where that was done, with
/// 1 where the agent does not answer or refuses, with the reason on standard error, and with 2 where
/// what `health` or `pool` shows deserves attention.
#[derive(Debug, Parser)]
#[command(name = "icnctl", version)]
pub struct Arguments {
    /// The agent's control socket.
    #[arg(long, global = true, default_value = agent_api::control::SOCKET)]
    socket: PathBuf,
    /// Prints JSON instead of words.
    #[arg(long, global = true)]
    json: bool,
    /// Does not ask before something that cannot be taken back.
    #[arg(long, global = true)]
    yes: bool,
    /// What to show or to do.
    #[command(subcommand)]
    command: Command,
}

/// What to show or to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Shows how the node does, and why it earns or not.
    Status,
    /// Shows ports, addresses, gateways, name and time servers; changes or tests the network.
    Network {
        /// What else.
        #[command(subcommand)]
        what: Option<NetworkCommand>,
    },
    /// Shows every disk: where it is, how it does, what it is used for.
    Disks,
    /// Shows one disk or does something with it.
    Disk {
        /// What.
        #[command(subcommand)]
        what: DiskCommand,
    },
    /// Shows who the node is to others: its id, its address on chain, its oracles.
    Identity,
    /// Shows redundancy, space, healing and every volume.
    Pool,
    /// Shows what happened to disks and data since the agent was started.
    Events,
    /// Shows every component of the machine that is not healthy.
    Health {
        /// Shows the healthy ones too.
        #[arg(long)]
        all: bool,
    },
    /// Shows how the node does with its oracles.
    Sla,
    /// Shows what the node earned and how it stands on chain, and what its HP has to sign.
    Settlement,
    /// Shows the receipts of an era's challenges that the node keeps for disputes.
    Receipts {
        /// Which era.
        era: u64,
        /// Writes them there, as the HP's tool reads them; the file must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows the end of the log of all services.
    Log {
        /// How many lines are looked at.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        lines: u32,
        /// Which levels are shown.
        #[arg(long, value_enum, default_value = "all")]
        level: LevelArgument,
        /// Shows only lines with this text.
        #[arg(long, default_value = "")]
        text: String,
    },
    /// Shows what the node is made of.
    Inventory,
    /// Writes a support bundle to the stick that is labelled ICN-SUPPORT; takes up to some minutes.
    Support,
    /// Shows the secret key of the S3 user that the node made for itself.
    Secret,
    /// What a person decides.
    #[command(flatten)]
    Local(local::LocalCommand),
    /// Restarts the machine.
    Reboot,
    /// Powers the machine off.
    Poweroff,
}

impl Command {
    /// Whether a PIN of the console guards it. Here nobody asks for that: whoever may start programs
    /// on the node does not stand before a console.
    pub(crate) fn is_guarded(&self) -> bool {
        match self {
            Self::Secret | Self::Support | Self::Local(_) | Self::Reboot | Self::Poweroff => true,
            Self::Disk { what } => {
                matches!(what, DiskCommand::Retire { .. } | DiskCommand::Keep { .. })
            }
            Self::Receipts { out, .. } => out.is_some(),
            Self::Network { what } => what.as_ref().is_some_and(NetworkCommand::changes),
            Self::Status
            | Self::Disks
            | Self::Identity
            | Self::Pool
            | Self::Events
            | Self::Health { .. }
            | Self::Sla
            | Self::Settlement
            | Self::Inventory
            | Self::Log { .. } => false,
        }
    }
}

/// What to do with the network.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Sets the network up by the section "network" of a file, for 120 s unless that is confirmed.
    Try {
        /// The file.
        file: PathBuf,
    },
    /// Sets a port, bond or VLAN up otherwise, or what all ports share, for 120 s unless that is confirmed.
    Set(SetArguments),
    /// Keeps the settings that are tried.
    Confirm,
    /// Takes the settings back that are tried.
    Revert,
    /// Sets the network up by node.toml again.
    Reset,
    /// Asks a machine for echoes.
    Ping {
        /// Its name or address.
        host: String,
    },
    /// Looks a name up.
    Lookup {
        /// The name.
        name: String,
    },
    /// Compares the clock with the time servers.
    Clock,
}

impl NetworkCommand {
    fn changes(&self) -> bool {
        match self {
            Self::Try { .. } | Self::Set(_) | Self::Confirm | Self::Revert | Self::Reset => true,
            Self::Ping { .. } | Self::Lookup { .. } | Self::Clock => false,
        }
    }
}

/// What to do with a disk.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum DiskCommand {
    /// Shows everything that is known of it.
    Show {
        /// Its serial number, the end of that, its lasting name, or the kernel's.
        disk: String,
    },
    /// Switches the locate LED of its slot.
    Locate {
        /// As for `show`.
        disk: String,
        /// Whether the LED is to be lit.
        led: Led,
    },
    /// Empties it, takes it out of the pool and destroys its key.
    Retire {
        /// As for `show`.
        disk: String,
    },
    /// Keeps a disk that is being emptied.
    Keep {
        /// As for `show`.
        disk: String,
    },
}

/// Whether an LED is lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Led {
    /// Lit.
    On,
    /// Out.
    Off,
}

/// Which levels of the log are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LevelArgument {
    /// All lines.
    All,
    /// Warnings and errors.
    Warnings,
    /// Errors alone.
    Errors,
}

impl From<LevelArgument> for Level {
    fn from(level: LevelArgument) -> Self {
        match level {
            LevelArgument::All => Self::All,
            LevelArgument::Warnings => Self::Warnings,
            LevelArgument::Errors => Self::Errors,
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// The agent does not answer, or refuses; or nobody confirms what has to be.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut agent = AgentClient::new(&arguments.socket, ACTION_TIMEOUT);
    if let Command::Local(command) = &arguments.command {
        // A prepared step is compared and printed; secrets are not to be in one.
        if let Some(done) = local::with_typed_secret(command, &mut agent)? {
            return say(&done_text(arguments, &done)).map(|()| ExitCode::SUCCESS);
        }
    }
    match prepare(&arguments.command, &mut agent)? {
        Step::Show(answer) => return show(arguments, answer),
        Step::Run(work) => return show(arguments, work(&mut agent)?),
        Step::Ask(confirm) => {
            if !arguments.yes {
                confirmed(&confirm)?;
            }
            act(arguments, &mut agent, &confirm.action)?;
        }
        Step::Do(action) => act(arguments, &mut agent, &action)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(arguments: &Arguments, answer: Answer) -> Result<ExitCode> {
    let Answer { text, json, needs_attention } = answer;
    let json = || serde_json::to_string_pretty(&json).context("cannot write JSON");
    say(&if arguments.json { json()? + "\n" } else { text })?;
    Ok(if needs_attention { ExitCode::from(ATTENTION) } else { ExitCode::SUCCESS })
}

fn act(arguments: &Arguments, agent: &mut AgentClient, action: &Action) -> Result<()> {
    action.carry_out(agent)?;
    say(&done_text(arguments, &action.done()))
}

fn done_text(arguments: &Arguments, done: &str) -> String {
    match arguments.json {
        true => format!("{}\n", json!({ "done": done })),
        false => format!("{done}\n"),
    }
}

/// Has the word typed that confirms.
///
/// # Errors
/// There is no terminal to ask on, or another word was typed.
fn confirmed(confirm: &Confirm) -> Result<()> {
    let title = confirm.action.title();
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        bail!(
            "not done, as nobody is there to be asked: {title}; --yes does it without a question"
        );
    }
    let mut asking = io::stderr().lock();
    write!(asking, "{}", question(confirm)).and_then(|()| asking.flush()).context("stderr")?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).context("cannot read the answer")?;
    if !confirm.accepts(&typed) {
        bail!("that was another word; nothing was done");
    }
    Ok(())
}

/// The question before something that cannot be taken back, up to where the word is typed.
pub(crate) fn question(confirm: &Confirm) -> String {
    let means = confirm.means.join("\n");
    format!("{}\n{means}\n{}: ", confirm.action.title(), confirm.asks)
}

fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
