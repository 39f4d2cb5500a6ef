//! The client of init: asks for the state of the system from time to time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_api::client::{InitClient, RequestError};
use agent_api::control::Request;
use agent_api::init::SystemStatus;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::heard::Heard;

/// How often init is asked: the console shows a new address or a dead service within this time.
const EVERY: Duration = Duration::from_secs(2);

/// init answers from memory; on a node whose processors are busy that may take a while.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks init for ever.
pub(crate) async fn follow(socket: &Path, heard: &watch::Sender<Heard<SystemStatus>>) {
    let mut client = Some(InitClient::new(socket, TIMEOUT));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut asking = client.take().unwrap_or_else(|| InitClient::new(socket, TIMEOUT));
        // A panic while asking loses the client; the next round makes a new one.
        let Ok((asked, answer)) = spawn_blocking(move || {
            let answer = asking.status();
            (asking, answer)
        })
        .await
        else {
            continue;
        };
        client = Some(asked);
        heard.send_modify(|heard| match answer {
            Ok(status) => *heard = Heard { latest: Some(status), silent: None },
            Err(error) => {
                if heard.silent.is_none() {
                    warn!(%error, "init does not answer");
                }
                heard.silent = Some(error.to_string());
            }
        });
    }
}

/// What init is asked to do with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineRequest {
    /// Power off.
    PowerOff,
    /// Restart.
    Reboot,
}

impl MachineRequest {
    /// The request of the control socket, if it is one for the machine.
    pub(crate) fn of(request: Request) -> Option<Self> {
        match request {
            Request::PowerOff => Some(Self::PowerOff),
            Request::Reboot => Some(Self::Reboot),
            _ => None,
        }
    }
}

/// Passes a request on to init.
///
/// # Errors
/// What went wrong, in words.
pub(crate) async fn ask(socket: PathBuf, request: MachineRequest) -> Result<(), String> {
    let asking = spawn_blocking(move || -> Result<(), RequestError> {
        let mut client = InitClient::new(&socket, TIMEOUT);
        match request {
            MachineRequest::PowerOff => client.power_off(),
            MachineRequest::Reboot => client.reboot(),
        }
    });
    match asking.await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(error) => Err(format!("asking init failed: {error}")),
    }
}
