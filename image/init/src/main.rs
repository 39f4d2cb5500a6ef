//! PID 1 of the node, and the few programs that only PID 1 starts.
//!
//! - As PID 1 of the initramfs: [`early`], which makes the packed root file system the root and
//!   starts this same program again.
//! - As PID 1 of the root file system: [`node`], which supervises everything until the machine
//!   stops.
//! - `init prepare`: [`prepare`], devices and configuration.
//! - `init modules`: [`modules`], what no device asks for.
//! - `init launch SPEC`: [`launch`], the first steps of a service's process.
//! - Called as `dhcp-hook`: [`network::hook`], by dhcpcd.
//!
//! A panic is written to the kernel's log. Before the services run, it ends PID 1, upon which the
//! kernel panics and restarts (`panic=30` on its command line). Later, PID 1 goes on with the next
//! event: see [`node`].

mod clock;
mod cmdline;
mod coldplug;
mod control;
mod early;
mod kmsg;
mod launch;
mod logbook;
mod modules;
mod mounts;
mod network;
mod node;
mod pipes;
mod power;
mod prepare;
mod release;
mod replace;
mod resident;
mod seed;
mod services;
mod shutdown;
mod supervisor;
mod sys;
mod sysctl;
mod users;
mod watchdog;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::kmsg::Level;
use crate::supervisor::Goal;

/// How long a message of failure stands on the screen before the machine restarts.
const SHOW_FAILURE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name() == Path::new(network::HOOK).file_name() {
        return verdict(network::hook::run().err().map(|error| chain(&error)));
    }
    if std::process::id() != 1 {
        // PID 1 blocks the signals that it reads from a descriptor, and a process that it starts
        // begins with them blocked: it could never be asked to end.
        let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    }
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(launch::COMMAND), Some(specification)) => {
            verdict(launch::run(&specification).err().map(|error| chain(&error)))
        }
        (Some(prepare::COMMAND), None) => {
            prepare::run();
            ExitCode::SUCCESS
        }
        (Some(modules::COMMAND), None) => {
            modules::run();
            ExitCode::SUCCESS
        }
        _ if std::process::id() == 1 => be_init(),
        _ => verdict(Some("this is PID 1 of a node and runs as nothing else".to_owned())),
    }
}

/// Runs as PID 1, from which there is no return.
fn be_init() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        kmsg::write(Level::Emergency, &format!("bug in init: {panic}"));
    }));
    let failure = if Path::new(early::ROOT_IMAGE).exists() {
        early::run().err().map(|error| chain(&error))
    } else {
        node::run().err().map(|error| chain(&error))
    };
    let failure = failure.unwrap_or_default();
    let seconds = SHOW_FAILURE.as_secs();
    kmsg::write(Level::Emergency, &format!("{failure}; restarting in {seconds} s"));
    std::thread::sleep(SHOW_FAILURE);
    shutdown::halt(Goal::Reboot)
}

fn verdict(failure: Option<String>) -> ExitCode {
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("init: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// An error with everything that led to it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
