//! The console on a terminal: events in, commands out, until told to leave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::poller::{AskSecret, poll};
use crate::state::{Command, Event, State, update};
use crate::terminal::Terminal;

/// How long a key is waited for before news of the agent are looked at.
const STEP: Duration = Duration::from_millis(250);

/// News that wait to be shown; the thread that asks waits when there are more.
const NEWS_MAX: usize = 16;

/// Requests for the secret key that wait; more keys of a hurried person are dropped.
const ASKED_MAX: usize = 1;

/// Shows the console until Ctrl-C or SIGTERM.
pub(crate) fn run(socket: &Path) -> Result<()> {
    let leave = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&leave)).context("cannot catch signals")?;
    }
    let (asking, asked) = sync_channel(ASKED_MAX);
    let (sending, news) = sync_channel(NEWS_MAX);
    let socket = socket.to_owned();
    thread::Builder::new()
        .name("agent".to_owned())
        .spawn(move || poll(&socket, &asked, &sending))
        .context("cannot start the thread that asks the agent")?;
    let mut terminal = Terminal::open().context("cannot take over the terminal")?;
    let state = State::new(terminal.measure().context("cannot read from the terminal")?);
    Console { terminal, state, asking }.serve(&news, &leave)
}

struct Console {
    terminal: Terminal,
    state: State,
    asking: SyncSender<AskSecret>,
}

impl Console {
    fn serve(mut self, news: &Receiver<Event>, leave: &AtomicBool) -> Result<()> {
        let started = Instant::now();
        self.terminal.show(&self.state).context("cannot write to the terminal")?;
        while !leave.load(Ordering::Relaxed) {
            let key = self.terminal.wait(STEP).context("cannot read from the terminal")?;
            let mut events = vec![Event::Tick(started.elapsed())];
            events.extend(key);
            loop {
                match news.try_recv() {
                    Ok(event) => events.push(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => bail!("the thread that asks the agent died"),
                }
            }
            let commands: Vec<_> =
                events.into_iter().flat_map(|event| update(&mut self.state, event)).collect();
            if commands.contains(&Command::Quit) {
                break;
            }
            self.carry_out(&commands)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, commands: &[Command]) -> Result<()> {
        if commands.contains(&Command::AskSecret) {
            // A full queue holds the same request already.
            let _ = self.asking.try_send(AskSecret);
        }
        if commands.contains(&Command::Measure) {
            let size = self.terminal.measure().context("cannot read from the terminal")?;
            update(&mut self.state, Event::Resized(size));
            self.terminal.forget();
        }
        if commands.contains(&Command::Repaint) {
            self.terminal.forget();
        }
        if !commands.is_empty() {
            self.terminal.show(&self.state).context("cannot write to the terminal")?;
        }
        Ok(())
    }
}
