//! From a command to what is shown or done: asks the agent for what has to be known first.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::VERSION;
use agent_api::health::{Health, Kind};
use agent_api::init::NETWORK_TEXT_MAX;
use agent_api::words;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::find::find;
use super::{Command, DiskCommand, Led, NetworkCommand};
use crate::action::Action;
use crate::dialog::Confirm;
use crate::pages::{self, PAPER};
use crate::screen::Screen;
use crate::sections::log::passes;
use crate::state::{Event, Filter, State};
use crate::update::update;

/// What is done to come to an answer.
type Work = Box<dyn FnOnce(&mut AgentClient) -> Result<Answer>>;

/// What comes of a command.
pub(crate) enum Step {
    /// This is to be shown.
    Show(Answer),
    /// This is to be done.
    Do(Action),
    /// This is to be done, and what comes of it shown.
    Run(Work),
    /// This is to be done once somebody has confirmed it.
    Ask(Confirm),
}

/// What is to be shown.
#[derive(Debug)]
pub(crate) struct Answer {
    /// In words.
    pub(crate) text: String,
    /// In the types of the control socket.
    pub(crate) json: Value,
    /// Whether somebody should look at it.
    pub(crate) needs_attention: bool,
}

/// Asks for what a command needs, and changes nothing.
///
/// # Errors
/// The agent does not answer or refuses, or there is no such disk.
pub(crate) fn prepare(command: &Command, agent: &mut AgentClient) -> Result<Step> {
    Ok(match command {
        Command::Status => {
            let mut state = with_status(agent)?;
            show(pages::page(&mut state, Screen::Status), json!(state.status))
        }
        Command::Network { what: None } => network(agent)?,
        Command::Network { what: Some(what) } => change_network(what, agent)?,
        Command::Disks => {
            let mut state = with_disks(agent)?;
            show(pages::page(&mut state, Screen::Disks), disks_json(&state, |_| true))
        }
        Command::Disk { what } => disk(what, &with_disks(agent)?)?,
        Command::Identity => {
            let mut state = with_status(agent)?;
            let text = pages::page(&mut state, Screen::Identity);
            let status = state.status.as_deref();
            let json = json!({
                "v": VERSION,
                "name": status.map(|status| &status.name),
                "node_id": status.and_then(|status| status.node_id.as_ref()),
                "region": status.and_then(|status| status.region.as_ref()),
                "hardware_class": status.and_then(|status| status.hardware_class.as_ref()),
                "daemon": status.and_then(|status| status.daemon.as_ref()),
                "sla": status.and_then(|status| status.sla.as_ref()),
            });
            show(text, json)
        }
        Command::Pool => {
            let pool = agent.pool()?;
            let needs_attention = words::pool::needs_attention(&pool);
            Step::Show(Answer {
                text: words::pool::status(&pool),
                json: json!(pool),
                needs_attention,
            })
        }
        Command::Events => {
            let events = agent.pool_events(0)?;
            show(words::pool::events(&events), json!(events))
        }
        Command::Health { all } => {
            let report = agent.health()?;
            let is_worth =
                |one: &agent_api::hardware::Component| one.verdict.health >= Health::Warning;
            let needs_attention = report.components.iter().any(is_worth);
            let text = words::health::report(&report, *all);
            Step::Show(Answer { text, json: json!(report), needs_attention })
        }
        Command::Sla => {
            let state = with_status(agent)?;
            let sla = state.status.as_ref().and_then(|status| status.sla.as_ref());
            show(pages::sla(&state), json!(sla))
        }
        Command::Settlement => {
            let report = agent.settlement()?;
            show(pages::settlement(&report), json!(report))
        }
        Command::Receipts { era, out: None } => Step::Show(super::receipts::shown(*era, agent)?),
        Command::Receipts { era, out: Some(file) } => {
            let (era, file) = (*era, file.clone());
            Step::Run(Box::new(move |agent| super::receipts::written(era, &file, agent)))
        }
        Command::Log { lines, level, text } => {
            let filter = Filter { level: (*level).into(), text: text.clone() };
            let mut log = agent.log_tail(*lines)?;
            log.retain(|line| passes(&filter, line));
            let text = log.iter().map(|line| crate::text::printable(line) + "\n").collect();
            show(text, json!({ "v": VERSION, "lines": log }))
        }
        Command::Inventory => Step::Show(super::support::inventory(agent)?),
        Command::Support => Step::Run(Box::new(super::support::write)),
        Command::Secret => {
            let secret = agent.first_user_secret()?;
            show(format!("{}\n", secret.reveal()), json!({ "secret_key": secret.reveal() }))
        }
        Command::Local(command) => super::local::prepare(command, agent)?,
        Command::Reboot => Step::Ask(Confirm::reboot()),
        Command::Poweroff => Step::Ask(Confirm::power_off()),
    })
}

pub(super) fn show(text: String, json: Value) -> Step {
    Step::Show(Answer { text, json, needs_attention: false })
}

fn network(agent: &mut AgentClient) -> Result<Step> {
    let mut state = with_status(agent)?;
    let mut text = pages::page(&mut state, Screen::Network);
    let status = state.status.as_deref();
    let system = status.and_then(|status| status.system.as_ref());
    let settings = system.and_then(|system| system.network.as_ref());
    if let Some(words) = settings.and_then(words::network::settings) {
        text.push('\n');
        text.push_str(&words);
    }
    let json = json!({
        "v": VERSION,
        "name": status.map(|status| &status.name),
        "ports": system.map(|system| &system.ports),
        "gateways": system.map(|system| &system.gateways),
        "dns": system.map(|system| &system.dns),
        "search": system.map(|system| &system.search),
        "time_servers": system.map(|system| &system.time_servers),
        "settings": settings,
        "kept": status.map(|status| status.network_kept),
        "clock": status.map(|status| &status.clock),
    });
    Ok(show(text, json))
}

fn change_network(what: &NetworkCommand, agent: &mut AgentClient) -> Result<Step> {
    Ok(match what {
        NetworkCommand::Try { file } => Step::Do(Action::TryNetwork { text: settings(file)? }),
        NetworkCommand::Set(arguments) => super::network::set(arguments, agent)?,
        NetworkCommand::Confirm => Step::Do(Action::ConfirmNetwork),
        NetworkCommand::Revert => Step::Do(Action::RevertNetwork),
        NetworkCommand::Reset => Step::Do(Action::ResetNetwork),
        NetworkCommand::Ping { host } => {
            let report = agent.ping(host)?;
            let needs_attention = report.answers_us.iter().any(Option::is_none);
            let text = words::network::ping(&report);
            Step::Show(Answer { text, json: json!(report), needs_attention })
        }
        NetworkCommand::Lookup { name } => {
            let report = agent.look_up(name)?;
            show(words::network::look_up(&report), json!(report))
        }
        NetworkCommand::Clock => {
            let report = agent.test_clock()?;
            show(words::network::clock(&report), json!(report))
        }
    })
}

/// The settings in a file.
///
/// # Errors
/// It cannot be read, is no plain file, which might never end, or is too long.
fn settings(file: &Path) -> Result<String> {
    let reading = || format!("cannot read {}", file.display());
    let length = fs::metadata(file).with_context(reading)?;
    ensure!(length.is_file(), "{}: write the settings to a plain file", file.display());
    let most = u64::try_from(NETWORK_TEXT_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    let opened = fs::File::open(file).with_context(reading)?;
    opened.take(most + 1).read_to_string(&mut text).with_context(reading)?;
    ensure!(
        text.len() <= NETWORK_TEXT_MAX,
        "{} is longer than {NETWORK_TEXT_MAX} bytes: write only the section [network]",
        file.display()
    );
    Ok(text)
}

fn disk(what: &DiskCommand, state: &State) -> Result<Step> {
    Ok(match what {
        DiskCommand::Show { disk } => {
            let row = find(state, disk)?;
            show(pages::disk(state, &row), disks_json(state, |key| key == row.key))
        }
        DiskCommand::Locate { disk, led } => {
            let row = find(state, disk)?;
            let called = row.called();
            let Some(id) = row.id.filter(|_| row.disk.is_some()) else {
                bail!("{called} is not there or has no lasting name");
            };
            Step::Do(Action::Locate { disk: id.to_owned(), called, on: *led == Led::On })
        }
        DiskCommand::Retire { disk } => {
            let row = find(state, disk)?;
            let question = if row.is_in_use() { Confirm::retire(&row) } else { None };
            let none = || format!("{} is not in use: there is nothing to retire", row.called());
            Step::Ask(question.with_context(none)?)
        }
        DiskCommand::Keep { disk } => {
            let row = find(state, disk)?;
            let called = row.called();
            match row.volume_id().filter(|_| row.is_retiring()) {
                Some(volume) => Step::Do(Action::Keep { volume: volume.to_owned(), called }),
                None => bail!("{called} is not being retired"),
            }
        }
    })
}

/// The disks that are wanted, by the keys of their rows.
fn disks_json(state: &State, wanted: impl Fn(&str) -> bool) -> Value {
    let rows = crate::shelf::rows(state);
    let disks: Vec<Value> = rows
        .iter()
        .filter(|row| wanted(&row.key))
        .map(|row| {
            json!({
                "id": row.id,
                "use": row.judgement.word,
                "disk": row.disk,
                "slot": row.slot,
                "verdict": row.health,
                "volume": row.volume,
            })
        })
        .collect();
    json!({ "v": VERSION, "disks": disks })
}

pub(super) fn with_status(agent: &mut AgentClient) -> Result<State> {
    let mut state = State::new(PAPER);
    let status = agent.status()?;
    update(&mut state, Event::Status(Box::new(status)));
    Ok(state)
}

fn with_disks(agent: &mut AgentClient) -> Result<State> {
    let mut state = with_status(agent)?;
    let mut health = agent.health()?;
    health.components.retain(|one| one.verdict.kind == Kind::Disk);
    update(&mut state, Event::Health(Box::new(health)));
    match agent.pool() {
        Ok(pool) => {
            update(&mut state, Event::Pool(Box::new(pool)));
        }
        // An agent that has just started has no pool yet; the disks are there all the same.
        Err(RequestError::Refused { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(state)
}
