//! The running system: one loop of PID 1 that waits in a single poll and acts on what comes.
//!
//! The decisions are in [`Supervisor`] and the other pure modules; here are the sources of events
//! and the deeds. A panic in one turn of the loop is told and the loop goes on, as all that it
//! knows is plain data; after [`MAX_PANICS`] of them the machine restarts in good order.

mod network;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_api::init::{self as api, ServiceStatus, SystemStatus};
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use provisioning_config::{Config, Console};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::WaitOptions;

use crate::clock;
use crate::control::Control;
use crate::kmsg::{self, Level};
use crate::launch::{self, Launch};
use crate::logbook::Logbook;
use crate::modules;
use crate::mounts;
use crate::network::trial::Trials;
use crate::network::{LEASES, Ports, absent, default_name, ports, status};
use crate::pipes::Pipes;
use crate::power::Buttons;
use crate::prepare;
use crate::release::Release;
use crate::resident;
use crate::services::{self, Service};
use crate::shutdown;
use crate::supervisor::{Action, Event, Goal, Id, Supervisor, Time};
use crate::sysctl;
use crate::watchdog::{FEED_EVERY, Watchdogs};

/// Panics after which PID 1 is beyond repair.
const MAX_PANICS: usize = 3;

/// How long ports are let come to rest before they are looked at: a change comes in bursts.
const PORTS_REST: Duration = Duration::from_millis(200);

/// How long a port that has come is waited for to get its lasting name from udev.
const PORTS_NAMED: Duration = Duration::from_secs(10);

const SYSFS: &str = "/sys";
/// Where the kernel tells of itself.
const PROC: &str = "/proc";
const UDEV: &str = "/run/udev";
const DEVICES: &str = "/dev";

/// Why PID 1 cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("cannot {what}")]
    Begin { what: &'static str, source: io::Error },
}

/// The system.
#[derive(Debug)]
struct Node {
    program: PathBuf,
    release: Release,
    signals: SignalFd,
    control: Control,
    ports: Ports,
    /// Which network settings are in effect, and until when.
    trials: Trials,
    leases: OwnedFd,
    pipes: Pipes,
    log: Logbook,
    watchdogs: Watchdogs,
    buttons: Buttons,
    supervisor: Supervisor,
    /// How each service's process is made, by [`Id`].
    launches: Vec<Launch>,
    /// The process that finds devices and configuration, and when it is given up.
    preparing: Option<(i32, Time)>,
    config: Config,
    problems: Vec<String>,
    feed_at: Time,
    ports_at: Option<Time>,
    /// Until when ports without a lasting name are left alone.
    ports_until: Time,
    /// When the services' memory is told next.
    memory_at: Option<Time>,
    /// When stage 2 began.
    began: Time,
    finished: Option<Goal>,
}

/// Runs the system; the machine is off before this comes back.
///
/// # Errors
///
/// When PID 1 cannot begin.
pub(crate) fn run() -> Result<Infallible, NodeError> {
    let mut node = Node::begin()?;
    for _ in 0..MAX_PANICS {
        if let Ok(goal) = catch_unwind(AssertUnwindSafe(|| node.serve())) {
            shutdown::finish(goal, &mut node.watchdogs);
        }
        node.note("init has gone on after a bug; please report it with this log");
    }
    shutdown::finish(Goal::Reboot, &mut node.watchdogs)
}

impl Node {
    /// Everything that needs no device: mounts, settings, sockets; then the first services.
    fn begin() -> Result<Self, NodeError> {
        let began = now();
        let failed = |what| move |source| NodeError::Begin { what, source };
        let mut problems = mounts::complete();
        let settings = sysctl::apply(Path::new("/proc/sys"));
        let release = Release::read(Path::new("/"));
        problems.extend(clock::correct(release.built));
        // Ctrl-Alt-Del is a signal for init from here on.
        let keys = rustix::system::reboot(rustix::system::RebootCommand::CadOff);

        let mut handled = SigSet::empty();
        handled.add(Signal::SIGCHLD);
        handled.add(Signal::SIGTERM);
        handled.add(Signal::SIGINT);
        handled.thread_block().map_err(|e| failed("block signals")(e.into()))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&handled, flags)
            .map_err(|e| failed("listen to signals")(e.into()))?;
        let leases = watch(Path::new(LEASES)).map_err(failed("watch the leases"))?;
        let mut node = Self {
            program: std::env::current_exe().map_err(failed("find its own program"))?,
            release,
            signals,
            control: Control::bind(Path::new(api::SOCKET)).map_err(failed("make its socket"))?,
            ports: Ports::new().map_err(failed("listen to network ports"))?,
            trials: Trials::default(),
            leases,
            pipes: Pipes::default(),
            log: Logbook::open(Path::new(api::LOG), Path::new(api::LOG_OLD)),
            watchdogs: Watchdogs::default(),
            buttons: Buttons::default(),
            supervisor: Supervisor::new(),
            launches: Vec::new(),
            preparing: None,
            config: Config::default(),
            problems: Vec::new(),
            feed_at: Duration::ZERO,
            ports_at: None,
            ports_until: Duration::ZERO,
            memory_at: None,
            began,
            finished: None,
        };
        node.note(&format!("{} starts", node.release.name));
        for problem in problems {
            node.problem(problem);
        }
        settings.iter().for_each(|failure| node.note(failure));
        let lo = node.ports.loopback_up();
        for (what, result) in
            [("take Ctrl-Alt-Del", keys.map_err(io::Error::from)), ("bring lo up", lo)]
        {
            if let Err(error) = result {
                node.note(&format!("cannot {what}: {error}"));
            }
        }
        node.take_on(services::first());
        node.start_preparing();
        let took = now().saturating_sub(began).as_millis();
        node.note(&format!("stage 2 (mounts and settings) took {took} ms"));
        Ok(node)
    }

    /// Turns of the loop until every service has stopped.
    fn serve(&mut self) -> Goal {
        loop {
            if let Some(goal) = self.finished {
                return goal;
            }
            self.wait();
            self.take_signals();
            for (service, line) in self.pipes.read() {
                self.log.line(Timestamp::now(), &service, &line);
            }
            self.answer_requests();
            if self.buttons.pressed() {
                self.note("the power button was pressed");
                self.stop(Goal::PowerOff);
            }
            self.follow_network();
            self.keep_time();
            self.step(Event::Tick);
        }
    }

    /// Waits until something comes or is due.
    fn wait(&self) {
        let due = [
            Some(self.feed_at),
            self.ports_at,
            self.memory_at,
            self.trials.deadline(),
            self.supervisor.deadline(),
            self.preparing.map(|(_, deadline)| deadline),
        ];
        let due = due.into_iter().flatten().min().unwrap_or_default();
        let timeout = Timespec::try_from(due.saturating_sub(now())).ok();
        let one = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut inputs: Vec<PollFd<'_>> =
            [self.signals.as_fd(), self.ports.as_fd(), self.leases.as_fd()]
                .into_iter()
                .chain(self.control.inputs())
                .chain(self.pipes.inputs())
                .chain(self.buttons.devices().map(AsFd::as_fd))
                .map(one)
                .collect();
        // An interrupted wait is a turn without events.
        let _ = poll(&mut inputs, timeout.as_ref());
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                Ok(Ok(Signal::SIGTERM)) => self.stop(Goal::PowerOff),
                Ok(Ok(Signal::SIGINT)) => self.stop(Goal::Reboot),
                _ => {}
            }
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_pid();
            let how = shutdown::describe(status);
            if self.preparing.is_some_and(|(preparing, _)| preparing == pid) {
                self.preparing = None;
                let failed = status.exit_status() != Some(0);
                self.prepared(failed.then_some(how));
            } else if let Some(id) = self.supervisor.owner(pid) {
                self.clean_up(id);
                self.note(&format!("{} has ended: {how}", self.name(id)));
                self.step(Event::Exited(id, how));
            }
        }
    }

    fn answer_requests(&mut self) {
        if !self.control.receive() {
            return;
        }
        let status = self.status();
        let goal = self.control.answer(&status, &mut self.trials, now());
        self.follow_trials();
        if let Some(goal) = goal {
            self.note(&format!("{goal:?} was asked for on {}", api::SOCKET));
            self.stop(goal);
        }
    }

    fn keep_time(&mut self) {
        let now = now();
        if now >= self.feed_at {
            self.feed_at = now + FEED_EVERY;
            if !self.supervisor.is_stopping() {
                self.look_for_hardware();
                self.watchdogs.feed();
            }
        }
        if self.ports_at.is_some_and(|at| now >= at) {
            self.ports_at = None;
            self.set_up_ports();
        }
        if self.trials.tick(now) {
            self.note("the network change was not confirmed in time");
            self.follow_trials();
        }
        if self.memory_at.is_some_and(|at| now >= at) {
            self.memory_at = Some(now + resident::EVERY);
            let services = self.supervisor.status().map(|(name, ..)| name);
            let report = resident::report(Path::new(PROC), Path::new(launch::GROUPS), services);
            self.note(&report);
        }
        if let Some((pid, deadline)) = self.preparing
            && now >= deadline
        {
            shutdown::signal_group(pid, rustix::process::Signal::KILL);
            self.preparing = None;
            self.prepared(Some(format!("longer than {} s", prepare::LIMIT.as_secs())));
        }
    }

    /// Watchdogs and power buttons, also those that come later.
    fn look_for_hardware(&mut self) {
        let mut messages = self.watchdogs.look(Path::new(DEVICES));
        messages.extend(self.buttons.look(Path::new(SYSFS), Path::new(DEVICES)));
        messages.iter().for_each(|message| self.note(message));
    }

    fn is_preparing(&self) -> bool {
        self.preparing.is_some()
    }

    fn start_preparing(&mut self) {
        let spawned = self.spawn("prepare", &[prepare::COMMAND]);
        match spawned {
            Ok(pid) => self.preparing = Some((pid, now() + prepare::LIMIT)),
            Err(error) => self.prepared(Some(error.to_string())),
        }
    }

    /// Devices and configuration are known, or given up: the rest of the system starts.
    fn prepared(&mut self, failure: Option<String>) {
        if self.supervisor.is_stopping() {
            return;
        }
        let began = now();
        let problems = fs::read_to_string(prepare::PROBLEMS).unwrap_or_default();
        self.problems.extend(problems.lines().map(str::to_owned));
        if let Some(failure) = failure {
            self.problem(prepare::give_up(&failure));
        }
        let (config, mistakes) = provisioning_config::load(Path::new(provisioning_config::PATH));
        self.trials = Trials::new(config.network.clone());
        self.config = config;
        for mistake in mistakes {
            self.problem(mistake.to_string());
        }
        self.look_for_hardware();
        let found = ports::find(Path::new(SYSFS));
        let name = self.config.node.name.clone();
        let name = name.unwrap_or_else(|| default_name(&found));
        if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
            self.note(&format!("cannot take the name {name}: {error}"));
        }
        if let Some(line) = self.config.log.serial.clone()
            && let Err(error) = self.log.copy_to(&Path::new(DEVICES).join(&line))
        {
            self.problem(format!("node.toml, log.serial: cannot open {line}: {error}"));
        }
        self.set_up_ports();
        self.write_time_servers();
        let mut services = services::rest(&self.config);
        services.retain(|service| self.has_its_terminal(service));
        self.take_on(services);
        if let Err(error) = self.spawn("modules", &[modules::COMMAND]) {
            self.note(&format!("cannot load modules: {error}"));
        }
        let (took, up) = (now().saturating_sub(began).as_millis(), now().as_millis());
        let before = self.began.as_millis();
        self.note(&format!(
            "starting services took {took} ms; {up} ms since the kernel started, {before} of them \
             before init"
        ));
        self.memory_at = Some(now() + resident::FIRST);
        self.step(Event::Tick);
    }

    /// Whether the terminal of a console is there; one that is not is told once.
    fn has_its_terminal(&mut self, service: &Service) -> bool {
        let Some(line) = &service.launch.terminal else { return true };
        let is_there = has_terminal(Path::new(SYSFS), line);
        let text = format!("there is no serial line {line}; no console is started on it");
        match (is_there, self.config.console == Console::default()) {
            (true, _) => {}
            (false, true) => self.note(&text),
            (false, false) => self.problem(format!("node.toml, console.serial: {text}")),
        }
        is_there
    }

    fn take_on(&mut self, services: Vec<Service>) {
        for Service { rules, launch } in services {
            self.supervisor.add(rules);
            self.launches.push(launch);
        }
        self.step(Event::Tick);
    }

    fn stop(&mut self, goal: Goal) {
        if !self.supervisor.is_stopping() {
            self.note(&format!("stopping: {goal:?}"));
            self.watchdogs.last_feed();
            self.step(Event::Stop(goal));
        }
    }

    /// Hands an event to the supervisor and does what it asks for.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.supervisor.step(now(), event) {
                match action {
                    Action::Start(id) => events.push_back(self.start(id)),
                    Action::Terminate(_, pid) => signal(pid, Signal::SIGTERM),
                    Action::Kill(id, pid) => {
                        self.note(&format!("{} does not end and is killed", self.name(id)));
                        shutdown::signal_group(pid, rustix::process::Signal::KILL);
                        self.clean_up(id);
                    }
                    Action::Finish(goal) => self.finished = Some(goal),
                }
            }
        }
    }

    fn start(&mut self, id: Id) -> Event {
        let Some(launch) = self.launches.get(id.0) else {
            return Event::StartFailed(id, "it is not in the table".to_owned());
        };
        let name = launch.name.clone();
        let specification = serde_json::to_string(launch).map_err(io::Error::other);
        let spawned = specification
            .and_then(|specification| self.spawn(&name, &[launch::COMMAND, &specification]));
        match spawned {
            Ok(pid) => {
                self.note(&format!("{name} starts (process {pid})"));
                Event::Started(id, pid)
            }
            Err(error) => {
                self.note(&format!("{name} cannot be started: {error}"));
                Event::StartFailed(id, format!("cannot be started: {error}"))
            }
        }
    }

    /// Starts this program again in another role, its output on a pipe to the log.
    fn spawn(&mut self, name: &str, arguments: &[&str]) -> io::Result<i32> {
        let output = self.pipes.add(name)?;
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output));
        // The process is waited for in `take_signals`, with all others.
        i32::try_from(command.spawn()?.id()).map_err(io::Error::other)
    }

    /// Ends what a service has left behind.
    fn clean_up(&self, id: Id) {
        if let Some(launch) = self.launches.get(id.0) {
            let group = Path::new(launch::GROUPS).join(&launch.name);
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
    }

    fn name(&self, id: Id) -> String {
        self.launches.get(id.0).map_or_else(String::new, |launch| launch.name.clone())
    }

    fn status(&self) -> SystemStatus {
        let services = self.supervisor.status();
        let found = ports::find(Path::new(SYSFS));
        let mut problems = self.problems.clone();
        problems.extend(absent(&self.config.network, &found));
        SystemStatus {
            version: 1,
            image: self.release.name.clone(),
            services: services
                .map(|(name, state, restarts, last_exit)| ServiceStatus {
                    name: name.to_owned(),
                    state,
                    restarts,
                    last_exit: last_exit.to_owned(),
                })
                .collect(),
            problems,
            network: Some(self.trials.state(now())),
            ..status(&self.config, &found, (Path::new(SYSFS), Path::new(PROC)))
        }
    }

    /// A problem is shown until the node is restarted.
    fn problem(&mut self, text: String) {
        self.note(&text);
        self.problems.push(text);
    }

    /// One line of init's own, in the log and in the kernel's.
    fn note(&mut self, text: &str) {
        kmsg::write(Level::Info, text);
        self.log.line(Timestamp::now(), "init", text);
    }
}

/// Time since the kernel started.
fn now() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

fn signal(pid: i32, signal: Signal) {
    // The process may just have ended.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Hears of files that are put into a folder or taken out of it.
fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let what = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE;
    inotify::add_watch(&watch, folder, what)?;
    Ok(watch)
}

/// Whether a terminal is there. The driver of serial ports makes four of them whatever the machine
/// has; those without hardware are of type 0 (`PORT_UNKNOWN` of linux/serial.h).
fn has_terminal(sysfs: &Path, line: &str) -> bool {
    let folder = sysfs.join("class/tty").join(line);
    let kind = fs::read_to_string(folder.join("type")).unwrap_or_default();
    folder.exists() && kind.trim() != "0"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replace::replace;

    #[test]
    fn a_serial_port_without_hardware_is_no_terminal() {
        let root = tempfile::TempDir::new().expect("temporary folder");
        for (line, kind) in [("ttyS0", Some("4\n")), ("ttyS1", Some("0\n")), ("tty1", None)] {
            let folder = root.path().join("class/tty").join(line);
            fs::create_dir_all(&folder).expect("folder");
            if let Some(kind) = kind {
                fs::write(folder.join("type"), kind).expect("file");
            }
        }
        let there = ["ttyS0", "ttyS1", "tty1", "ttyS9"].map(|line| has_terminal(root.path(), line));
        assert_eq!(there, [true, false, true, false]);
    }

    #[test]
    fn a_lease_that_is_put_down_is_heard_of() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let watch = watch(folder.path()).expect("watch");
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        assert!(inotify::Reader::new(&watch, &mut buffer).next().is_err());
        replace(&folder.path().join("eno1.dhcp4"), "").expect("written");
        assert!(inotify::Reader::new(&watch, &mut buffer).next().is_ok());
    }
}
