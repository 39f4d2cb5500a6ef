//! The socket on which the agent asks for the state of the system, power-off and restart.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::{fs, mem};

use agent_api::init::{InitReply, InitRequest, SystemStatus};
use provisioning_config::MAX_NETWORK_TEXT;

use crate::network::trial::Trials;
use crate::supervisor::{Goal, Time};
use crate::users::{AGENT, ROOT};

const _: () = assert!(MAX_NETWORK_TEXT == agent_api::init::NETWORK_TEXT_MAX);

/// Most clients at a time; the agent needs one.
const MAX_CLIENTS: usize = 8;

/// Longest request, in bytes: network settings as JSON, where each line break and quote takes two.
const MAX_REQUEST: usize = 2 * MAX_NETWORK_TEXT + 1024;

/// The socket and who is connected.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    user: u32,
    request: Vec<u8>,
}

impl Control {
    /// Makes the socket, for root and the agent.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        if rustix::process::geteuid().is_root() {
            chown(path, Some(ROOT), Some(AGENT))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        Ok(Self { listener, clients: Vec::new() })
    }

    /// Everything that poll is to watch for input.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let clients = self.clients.iter().map(|client| client.stream.as_fd());
        std::iter::once(self.listener.as_fd()).chain(clients)
    }

    /// Takes in connections and what clients send; true where a request waits for its answer.
    pub(crate) fn receive(&mut self) -> bool {
        while let Ok((stream, _)) = self.listener.accept() {
            let user = rustix::net::sockopt::socket_peercred(&stream).map(|peer| peer.uid.as_raw());
            if let Ok(user) = user
                && self.clients.len() < MAX_CLIENTS
                && stream.set_nonblocking(true).is_ok()
            {
                self.clients.push(Client { stream, user, request: Vec::new() });
            }
        }
        self.clients.retain_mut(Client::receive);
        self.clients.iter().any(|client| client.request.contains(&b'\n'))
    }

    /// Answers every request, those about the network as `trials` decides; gives what was asked to be
    /// done with the machine.
    pub(crate) fn answer(
        &mut self,
        status: &SystemStatus,
        trials: &mut Trials,
        now: Time,
    ) -> Option<Goal> {
        let mut host = Host { status: status.clone(), trials, now, goal: None };
        self.clients.retain_mut(|client| client.answer(&mut host));
        host.goal
    }
}

impl Client {
    /// False where the connection is to be closed.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; MAX_REQUEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.request.extend(buffer.get(..length).unwrap_or_default());
                self.request.len() < MAX_REQUEST || self.request.contains(&b'\n')
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// False where the connection is to be closed.
    fn answer(&mut self, host: &mut Host<'_>) -> bool {
        while let Some(end) = self.request.iter().position(|&byte| byte == b'\n') {
            let rest = self.request.split_off(end + 1);
            let line = mem::replace(&mut self.request, rest);
            let reply = host.answer(&line, self.user);
            // A client that does not read its answers is let go.
            if send(&mut self.stream, &reply).is_err() {
                return false;
            }
        }
        true
    }
}

fn send(stream: &mut UnixStream, reply: &InitReply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// What requests are about.
struct Host<'t> {
    status: SystemStatus,
    trials: &'t mut Trials,
    now: Time,
    /// What is to be done with the machine.
    goal: Option<Goal>,
}

impl Host<'_> {
    /// The reply to one line of one user.
    fn answer(&mut self, line: &[u8], user: u32) -> InitReply {
        let refused = |reason: &str| InitReply::Refused { reason: reason.to_owned() };
        if user != ROOT && user != AGENT {
            return refused("only root and the agent may ask");
        }
        let Ok(request) = serde_json::from_slice(line) else {
            return refused(
                "the request is not one of status, power_off, reboot, try_network, confirm_network, \
                 revert_network, use_network",
            );
        };
        match request {
            InitRequest::Status => InitReply::Status(Box::new(self.status.clone())),
            InitRequest::PowerOff => self.take(Goal::PowerOff),
            InitRequest::Reboot => self.take(Goal::Reboot),
            about_network => {
                let reply = self.trials.answer(&about_network, self.now);
                // What is asked for next on the same connection is told as it is then.
                self.status.network = Some(self.trials.state(self.now));
                reply.unwrap_or_else(|| refused("not a request about the network"))
            }
        }
    }

    fn take(&mut self, goal: Goal) -> InitReply {
        self.goal = Some(goal);
        InitReply::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    fn status() -> SystemStatus {
        SystemStatus { version: 1, image: "ICN Node 0.1.0".into(), ..SystemStatus::default() }
    }

    fn answer(line: &[u8], user: u32, status: &SystemStatus) -> (InitReply, Option<Goal>) {
        let (mut trials, now) = (Trials::default(), Time::ZERO);
        let mut host = Host { status: status.clone(), trials: &mut trials, now, goal: None };
        (host.answer(line, user), host.goal)
    }

    #[test]
    fn a_network_change_is_told_in_the_next_status() {
        let (mut trials, now) = (Trials::default(), Time::ZERO);
        let mut host = Host { status: status(), trials: &mut trials, now, goal: None };
        let line = br#"{"request":"try_network","text":"[network]\ndns = [\"192.0.2.1\"]\n"}"#;
        assert!(matches!(host.answer(line, crate::users::CONSOLE), InitReply::Refused { .. }));
        assert_eq!(host.answer(line, AGENT), InitReply::Accepted);
        let InitReply::Status(status) = host.answer(br#"{"request":"status"}"#, AGENT) else {
            panic!("no status");
        };
        assert_eq!(status.network.and_then(|network| network.seconds_left), Some(120));
    }

    #[test]
    fn root_and_the_agent_may_ask_and_others_may_not() {
        let line = br#"{"request":"power_off"}"#;
        for user in [ROOT, AGENT] {
            let expected = (InitReply::Accepted, Some(Goal::PowerOff));
            assert_eq!(answer(line, user, &status()), expected);
        }
        for user in [crate::users::CONSOLE, crate::users::CHRONY, 65534] {
            let (reply, goal) = answer(line, user, &status());
            assert!(matches!(reply, InitReply::Refused { .. }) && goal.is_none());
        }
    }

    #[test]
    fn a_strange_request_is_refused_in_words() {
        for line in [&b"{}"[..], b"", b"{\"request\":\"format\"}", b"\xff"] {
            let (reply, goal) = answer(line, ROOT, &status());
            assert!(matches!(reply, InitReply::Refused { .. }) && goal.is_none());
        }
    }

    #[test]
    fn requests_are_answered_in_order_however_they_arrive() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let path = folder.path().join("init.sock");
        let mut control = Control::bind(&path).expect("socket");
        let mut client = UnixStream::connect(&path).expect("connected");
        let me = rustix::process::getuid().as_raw();
        let allowed = me == ROOT || me == AGENT;

        client.write_all(b"{\"request\":\"sta").expect("sent");
        assert!(!control.receive());
        client.write_all(b"tus\"}\n{\"request\":\"reboot\"}\n").expect("sent");
        assert!(control.receive());
        assert_eq!(
            control.answer(&status(), &mut Trials::default(), Time::ZERO),
            allowed.then_some(Goal::Reboot)
        );
        let mut lines = BufReader::new(client.try_clone().expect("clone")).lines();
        let mut reply = || -> InitReply {
            serde_json::from_str(&lines.next().expect("line").expect("read")).expect("JSON")
        };
        if allowed {
            assert_eq!(reply(), InitReply::Status(Box::new(status())));
            assert_eq!(reply(), InitReply::Accepted);
        } else {
            assert!(matches!(reply(), InitReply::Refused { .. }));
        }
        drop(lines);
        drop(client);
        control.receive();
        assert_eq!(control.inputs().count(), 1, "a client that has gone is forgotten");
    }

    #[test]
    fn a_client_that_never_ends_its_line_is_let_go() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let path = folder.path().join("init.sock");
        let mut control = Control::bind(&path).expect("socket");
        let mut client = UnixStream::connect(&path).expect("connected");
        client.write_all(&[b'x'; MAX_REQUEST]).expect("sent");
        control.receive();
        assert_eq!(control.inputs().count(), 1);
    }
}
