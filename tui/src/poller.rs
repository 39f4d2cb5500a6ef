//! The thread that asks the agent, so that a slow answer never stops the keys.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use agent_api::client::AgentClient;

use crate::state::Event;

/// How often the status is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// The log every so many times of [`EVERY`]: it is ten times longer than the status.
const LOG_EVERY: u32 = 2;

/// Log lines that are held to scroll through.
pub(crate) const LOG_LINES: u32 = 200;

/// The agent answers from memory; on a node whose processors are busy that may take a while.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for the secret key.
#[derive(Debug)]
pub(crate) struct AskSecret;

/// Asks the agent until nobody listens any more.
pub(crate) fn poll(socket: &Path, asked: &Receiver<AskSecret>, news: &SyncSender<Event>) {
    let mut agent = AgentClient::new(socket, TIMEOUT);
    for round in 0_u32.. {
        let mut events = vec![match agent.status() {
            Ok(status) => Event::Status(Box::new(status)),
            Err(error) => Event::Silent(error.to_string()),
        }];
        if round.is_multiple_of(LOG_EVERY)
            && matches!(events.first(), Some(Event::Status(_)))
            && let Ok(lines) = agent.log_tail(LOG_LINES)
        {
            events.push(Event::Log(lines));
        }
        let next = Instant::now() + EVERY;
        loop {
            for event in events.drain(..) {
                if news.send(event).is_err() {
                    return;
                }
            }
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(AskSecret) => {
                    let answer = agent.first_user_secret().map_err(|error| error.to_string());
                    events.push(Event::Secret(answer));
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
