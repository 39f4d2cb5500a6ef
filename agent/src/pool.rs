//! `icn-agent pool`: the storage pool of a running node, seen and steered over its control socket.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use agent_api::client::AgentClient;
use agent_api::control::Request;
use agent_api::words::pool as words;
use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::arguments::{PoolArguments, PoolCommand};

/// How long the agent may take to answer: deciding to retire a volume looks at all groups.
const ANSWER: Duration = Duration::from_secs(60);

/// How often it is asked how far the index is.
const LOOK: Duration = Duration::from_secs(1);

/// What `status` ends with where something deserves attention.
const ATTENTION: u8 = 2;

/// Does what was asked for.
///
/// # Errors
/// The agent does not answer, or refuses; in words.
pub(crate) fn run(arguments: &PoolArguments) -> Result<ExitCode> {
    let mut client = AgentClient::new(&arguments.control_socket, ANSWER);
    match &arguments.command {
        PoolCommand::Status => {
            let status = client.pool()?;
            show(arguments, &status, || words::status(&status))?;
            if words::needs_attention(&status) {
                return Ok(ExitCode::from(ATTENTION));
            }
        }
        PoolCommand::Events { since } => {
            let events = client.pool_events(*since)?;
            show(arguments, &events, || words::events(&events))?;
        }
        PoolCommand::Usage => {
            let buckets = client.bucket_usage()?;
            show(arguments, &buckets, || words::usage(&buckets))?;
        }
        PoolCommand::Retire { volume } => {
            client.change_pool(Request::RetireVolume { volume: volume.clone() })?;
            say(&format!(
                "volume {volume} is being emptied; `pool status` tells how far it is, and when the \
                 disk may be taken out\n"
            ))?;
        }
        PoolCommand::CancelRetire { volume } => {
            client.change_pool(Request::CancelRetire { volume: volume.clone() })?;
            say(&format!("volume {volume} stays in use\n"))?;
        }
        PoolCommand::Forget { volume } => {
            client.change_pool(Request::ForgetVolume { volume: volume.clone() })?;
            say(&format!("volume {volume} is given up; what it held is made anew\n"))?;
        }
        PoolCommand::RebuildIndex => rebuild(&mut client)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the index made anew, and tells how far that is until the store is open again.
fn rebuild(client: &mut AgentClient) -> Result<()> {
    let events = client.pool_events(0)?;
    let last = events.last().map_or(0, |event| event.number);
    client.change_pool(Request::RebuildIndex)?;
    say("the index is made anew; requests are answered with 503 meanwhile\n")?;
    let mut told = None;
    loop {
        sleep(LOOK);
        let status = client.pool()?;
        if status.rebuilding != told
            && let Some(far) = status.rebuilding.filter(|far| far.groups > 0)
        {
            say(&format!("{} of {} groups are read\n", far.read, far.groups))?;
            told = status.rebuilding;
        }
        if status.awaited.is_some() {
            continue;
        }
        let behind = client.pool_events(last)?;
        let rebuilt = |event: &agent_api::pool::PoolEvent| words::is_rebuilt(&event.what);
        if behind.iter().any(rebuilt) {
            return say("the index is made; the store is open\n");
        }
        if behind.is_empty() {
            continue;
        }
        // An empty pool has nothing to be made from.
        if status.healing.groups == 0 && status.packing.segments == 0 {
            return say("the index is made; the store is open, and empty\n");
        }
        if !behind.iter().any(|event| words::is_lost(&event.what)) {
            continue;
        }
        bail!("the store is open, but does not say that the index was made; see `pool events`");
    }
}

/// Prints a value as JSON, or in words.
fn show<T: Serialize>(
    arguments: &PoolArguments,
    value: &T,
    words: impl FnOnce() -> String,
) -> Result<()> {
    if arguments.json {
        let json = serde_json::to_string_pretty(value).context("cannot write JSON")?;
        return say(&format!("{json}\n"));
    }
    say(&words())
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout")
}
