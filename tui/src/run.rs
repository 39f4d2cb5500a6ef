//! The console on a terminal that can place its cursor: events in, commands out.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{EventfdFlags, eventfd};

use crate::poller::{Ask, News, Task, Watched, poll, work};
use crate::state::{Command, Event, Pace, Size, State};
use crate::terminal::Terminal;
use crate::update::update;

/// How long keys and news of the agent are waited for before it is looked at the time.
const STEP: Duration = Duration::from_secs(1);

/// News that wait to be shown; the thread that asks waits when there are more.
const NEWS_MAX: usize = 16;

/// Requests that wait; more keys of a hurried person are dropped.
const ASKED_MAX: usize = 4;

/// Why the screens are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A person or a signal ended the console.
    Left,
    /// The terminal does not say how large it is any more: another one, most likely.
    Mute,
}

/// Shows the screens on a terminal of this size.
///
/// # Errors
/// The terminal is gone, or the system gives no thread.
pub(crate) fn run(
    socket: &Path,
    terminal: &mut Terminal,
    size: Size,
    leave: &AtomicBool,
) -> Result<End> {
    let state = State::new(size);
    let watched = Watched::new(state.screen, state.pace);
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let bell = Arc::new(eventfd(0, flags).context("cannot make an eventfd")?);
    let (asking, asked) = sync_channel(ASKED_MAX);
    let (tasks, waiting) = sync_channel(ASKED_MAX);
    let (slow_tasks, slow_waiting) = sync_channel(ASKED_MAX);
    let (events, news) = sync_channel(NEWS_MAX);
    let sending = News::new(events, Arc::clone(&bell));
    let start = |name: &str, task: Box<dyn FnOnce() + Send>| {
        let started = thread::Builder::new().name(name.to_owned()).spawn(task);
        started.with_context(|| format!("cannot start the thread {name}"))
    };
    let (path, seen, done) = (socket.to_owned(), watched.clone(), sending.clone());
    start("ask", Box::new(move || poll(&path, &seen, &asked, &sending)))?;
    let path = socket.to_owned();
    let (slow_path, slow_done) = (path.clone(), done.clone());
    start("act", Box::new(move || work(path, &waiting, &done)))?;
    start("slow", Box::new(move || work(slow_path, &slow_waiting, &slow_done)))?;
    Console { terminal, state, watched, asking, tasks, slow_tasks }.serve(&news, &bell, leave)
}

struct Console<'t> {
    terminal: &'t mut Terminal,
    state: State,
    watched: Watched,
    asking: SyncSender<Ask>,
    tasks: SyncSender<Task>,
    /// For what others should not wait for: a change of the network has 120 s to be kept.
    slow_tasks: SyncSender<Task>,
}

impl Console<'_> {
    fn serve(mut self, news: &Receiver<Event>, bell: &OwnedFd, leave: &AtomicBool) -> Result<End> {
        let started = Instant::now();
        self.terminal.forget();
        self.terminal.show(&self.state).context("cannot write to the terminal")?;
        while !leave.load(Ordering::Relaxed) {
            let key = self.terminal.wait(STEP, bell).context("cannot read from the terminal")?;
            let mut events = vec![Event::Tick(started.elapsed())];
            events.extend(key);
            loop {
                match news.try_recv() {
                    Ok(event) => events.push(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => bail!("the threads that ask the agent died"),
                }
            }
            let commands: Vec<_> =
                events.into_iter().flat_map(|event| update(&mut self.state, event)).collect();
            if commands.contains(&Command::Quit) {
                return Ok(End::Left);
            }
            if !self.carry_out(commands)? {
                return Ok(End::Mute);
            }
        }
        Ok(End::Left)
    }

    /// Hands a task over, where not too many wait.
    fn begin(&mut self, task: Task) {
        let queue = if task.is_slow() { &self.slow_tasks } else { &self.tasks };
        if let Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) =
            queue.try_send(task)
        {
            let reason = "not begun, as others are not done yet; try again".to_owned();
            update(&mut self.state, task.ended(Err(reason)));
        }
    }

    /// False where the terminal does not say how large it is.
    fn carry_out(&mut self, commands: Vec<Command>) -> Result<bool> {
        if commands.is_empty() {
            return Ok(true);
        }
        let measure = commands.contains(&Command::Measure);
        let repaint = measure || commands.contains(&Command::Repaint);
        for command in commands {
            match command {
                Command::Look(screen) => {
                    self.watched.set_screen(screen);
                    // Where the queue is full it comes with the next round.
                    let _ = self.asking.try_send(Ask::Look);
                }
                Command::Pace(pace) => {
                    self.watched.set_pace(pace);
                    if pace == Pace::Quick {
                        // Where the queue is full, it asks already.
                        let _ = self.asking.try_send(Ask::Now);
                    }
                }
                Command::AskSecret => {
                    // A full queue holds the same request already.
                    let _ = self.asking.try_send(Ask::Secret);
                }
                Command::Act(action) => self.begin(Task::Act(action)),
                Command::CheckPin(pin) => self.begin(Task::CheckPin(pin)),
                Command::Draw | Command::Repaint | Command::Measure | Command::Quit => {}
            }
        }
        if measure {
            let size = self.terminal.measure().context("cannot read from the terminal")?;
            let Some(size) = size else { return Ok(false) };
            update(&mut self.state, Event::Resized(size));
        }
        if repaint {
            self.terminal.forget();
        }
        self.terminal.show(&self.state).context("cannot write to the terminal")?;
        Ok(true)
    }
}
