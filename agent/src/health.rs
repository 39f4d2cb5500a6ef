//! `icn-agent health`: how the hardware of a running node does, over its control socket.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_api::client::AgentClient;
use agent_api::health::Health;
use agent_api::words::health as words;
use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::arguments::{HealthArguments, HealthCommand};

/// How long the agent may take to answer: a long stretch of history is read from a disk under load.
const ANSWER: Duration = Duration::from_secs(30);

/// What ends with where a component deserves attention.
const ATTENTION: u8 = 2;

const MINUTE_MS: u64 = 60_000;

/// Shows what was asked for.
///
/// # Errors
/// The agent does not answer, or refuses; in words.
pub(crate) fn run(arguments: &HealthArguments) -> Result<ExitCode> {
    let mut client = AgentClient::new(&arguments.control_socket, ANSWER);
    match &arguments.command {
        None | Some(HealthCommand::All) => {
            let report = client.health()?;
            let all = arguments.command.is_some();
            show(arguments, &report, || words::report(&report, all))?;
            let is_worth = |health: Health| health >= Health::Warning;
            if report.components.iter().any(|one| is_worth(one.verdict.health)) {
                return Ok(ExitCode::from(ATTENTION));
            }
        }
        Some(HealthCommand::Series) => {
            let series = client.health_series()?;
            show(arguments, &series, || words::series(&series))?;
        }
        Some(HealthCommand::History { series, hours, step }) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            let from_ms = now_ms.saturating_sub(hours.saturating_mul(60 * MINUTE_MS));
            let step_ms = step.saturating_mul(MINUTE_MS);
            let stretch = client.health_history(series, (from_ms, now_ms), step_ms)?;
            show(arguments, &stretch, || words::stretch(&stretch))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a value as JSON, or in words.
fn show<T: Serialize>(
    arguments: &HealthArguments,
    value: &T,
    words: impl FnOnce() -> String,
) -> Result<()> {
    let text = match arguments.json {
        true => serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n",
        false => words(),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout")
}
