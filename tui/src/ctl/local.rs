//! What only a person decides: disks claimed by hand, the PIN, the first steps, the daemon key's words, and the way
//! back to a node that is new. What is typed names the disk or the node, and so confirms it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use agent_api::client::AgentClient;
use agent_api::control::{Request, Secret};
use agent_api::local::ResetScope;
use agent_api::status::NodeStatus;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use serde_json::json;

use super::find::find;
use super::prepare::{Step, show, with_status};
use crate::action::Action;
use crate::shelf::Row;

/// The most bytes of secrets that are read: 24 words of at most 8 letters have 215.
const SECRET_MAX: u64 = 1024;

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum LocalCommand {
    /// Erases a disk that is not blank, and claims it: 60 s later, unless it is taken back.
    Claim {
        /// As for `disk show`.
        disk: String,
        /// The last 6 characters of its serial number: what is on it is lost.
        serial_end: String,
    },
    /// Takes a claim back that waits, and forgets one that failed.
    UndoClaim {
        /// As for `disk show`.
        disk: String,
    },
    /// Sets the PIN of the console, or takes it away.
    Pin {
        /// Which.
        #[command(subcommand)]
        what: PinCommand,
    },
    /// Shows the 24 words from which the daemon key can be made again.
    Words,
    /// Gives the node the daemon key of words, which are read from standard input.
    RestoreKey,
    /// The first steps on a console.
    FirstSteps {
        /// What about them.
        #[command(subcommand)]
        what: FirstSteps,
    },
    /// Makes the node new, and restarts it: all objects, buckets and users are lost, the settings of the network that were
    /// kept, and the PIN that was set on the node.
    FactoryReset {
        /// Forgets the daemon key and the certificate too.
        #[arg(long)]
        forget_identity: bool,
        /// The last 6 characters of the node's id.
        node_end: String,
    },
}

/// What to do with the PIN.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum PinCommand {
    /// Sets it: 4 to 16 digits, which are read from standard input.
    Set,
    /// Takes it away.
    Clear,
}

/// What to do about the first steps.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum FirstSteps {
    /// Says that they are done: no console asks for them again.
    Done,
}

/// What comes of a command; those that read a secret are done by [`with_typed_secret`].
///
/// # Errors
/// The agent does not answer or refuses, or there is no such disk.
pub(super) fn prepare(command: &LocalCommand, agent: &mut AgentClient) -> Result<Step> {
    Ok(match command {
        LocalCommand::Claim { disk, serial_end } => {
            let (disk, called) = named(agent, disk)?;
            Step::Do(Action::ClaimDisk { disk, called, serial_end: serial_end.clone() })
        }
        LocalCommand::UndoClaim { disk } => {
            let (disk, called) = named(agent, disk)?;
            Step::Do(Action::UndoClaim { disk, called })
        }
        LocalCommand::Pin { what: PinCommand::Clear } => Step::Do(Action::ClearPin),
        LocalCommand::FirstSteps { what: FirstSteps::Done } => Step::Do(Action::FinishSetUp),
        LocalCommand::Words => {
            let words = agent.recovery_words()?;
            let text = numbered(words.reveal());
            let list: Vec<&str> = words.reveal().split_whitespace().collect();
            show(text, json!({ "words": list }))
        }
        LocalCommand::FactoryReset { forget_identity, node_end } => {
            let scope = match forget_identity {
                true => ResetScope::ForgetIdentity,
                false => ResetScope::KeepIdentity,
            };
            Step::Do(Action::FactoryReset { scope, node_end: node_end.clone() })
        }
        LocalCommand::Pin { what: PinCommand::Set } | LocalCommand::RestoreKey => {
            bail!("this reads a secret, which a line like this would show: use icnctl")
        }
    })
}

/// Does a command that reads a secret; tells what came of it, or nothing where the command is another.
///
/// # Errors
/// Nothing can be read, or the agent does not answer or refuses.
pub(super) fn with_typed_secret(
    command: &LocalCommand,
    agent: &mut AgentClient,
) -> Result<Option<String>> {
    Ok(Some(match command {
        LocalCommand::Pin { what: PinCommand::Set } => {
            let pin = secret("PIN of 4 to 16 digits")?;
            agent.decide(Request::SetPin { pin: Some(pin) })?;
            "changes on the console ask for this PIN".to_owned()
        }
        LocalCommand::RestoreKey => {
            let words = secret("the 24 words, then Enter")?;
            agent.decide(Request::RestoreKey { words })?;
            let status: NodeStatus = agent.status()?;
            match status.daemon {
                Some(daemon) => format!("the node has the daemon key of {daemon}"),
                None => "the node gets this daemon key with its first disk".to_owned(),
            }
        }
        _ => return Ok(None),
    }))
}

/// The disk's lasting name, and what a person calls it.
fn named(agent: &mut AgentClient, wanted: &str) -> Result<(String, String)> {
    let state = with_status(agent)?;
    let claims = state.status.as_ref().and_then(|status| status.disks.as_ref());
    // One that was taken out while it was claimed.
    let is_claim = |claim: &&agent_api::disks::HandClaim| claim.disk.0 == wanted;
    if let Some(claim) = claims.and_then(|report| report.claims.iter().find(is_claim)) {
        return Ok((claim.disk.0.clone(), format!("disk {}", claim.disk.0)));
    }
    let row: Row<'_> = find(&state, wanted)?;
    let none = || format!("{} has no lasting name and is never claimed", row.called());
    Ok((row.id.with_context(none)?.to_owned(), row.called()))
}

/// Words with their numbers, six in a line.
fn numbered(words: &str) -> String {
    let mut text = String::new();
    for (index, word) in words.split_whitespace().enumerate() {
        let end = if index % 6 == 5 { "\n" } else { " " };
        text.push_str(&format!("{:>2} {word:<8}{end}", index + 1));
    }
    text
}

/// A secret from standard input: a line of a terminal, else all of it.
fn secret(what: &str) -> Result<Secret> {
    let mut typed = Secret::new(String::new());
    let input = io::stdin();
    if input.is_terminal() {
        let mut asking = io::stderr().lock();
        write!(asking, "{what}: ").and_then(|()| asking.flush()).context("stderr")?;
        input
            .lock()
            .take(SECRET_MAX)
            .read_line(&mut typed.0)
            .context("cannot read standard input")?;
    } else {
        input
            .lock()
            .take(SECRET_MAX)
            .read_to_string(&mut typed.0)
            .context("cannot read standard input")?;
    }
    let secret = Secret::new(typed.reveal().trim().to_owned());
    ensure!(!secret.reveal().is_empty(), "nothing was given: write it to standard input");
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_so_that_they_can_be_copied() {
        let words: Vec<String> = (1..=24).map(|n| format!("word{n}")).collect();
        let text = numbered(&words.join(" "));
        assert_eq!(text.lines().count(), 4);
        assert!(text.starts_with(" 1 word1     2 word2 "), "{text}");
        assert!(text.contains("24 word24") && text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
