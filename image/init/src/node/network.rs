//! What PID 1 does for the network.

use std::fs;
use std::path::Path;

use provisioning_config::Network;
use rustix::fs::inotify;

use super::{Node, PORTS_NAMED, PORTS_REST, SYSFS, UDEV, now};
use crate::clock;
use crate::network::{self, links, ports};
use crate::replace::replace;
use crate::services;
use crate::supervisor::{Event, Id};

/// How often it is looked what can be made of links: a bond, its ports and VLANs on it come one after
/// the other. What is missing then waits for the next change.
const LINK_ROUNDS: usize = 3;

impl Node {
    pub(super) fn follow_network(&mut self) {
        // While devices are being found, ports come and go; they are set up when that is done.
        if self.ports.changed() && !self.is_preparing() {
            self.ports_at = Some(now() + PORTS_REST);
            self.ports_until = now() + PORTS_NAMED;
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut changes = inotify::Reader::new(&self.leases, &mut buffer);
        let mut changed = false;
        while changes.next().is_ok() {
            changed = true;
        }
        if changed && !self.is_preparing() {
            self.write_time_servers();
        }
    }

    /// Puts the settings that are to be in effect in the place of those that are.
    pub(super) fn follow_trials(&mut self) {
        if *self.trials.in_effect() == self.config.network {
            return;
        }
        let after = self.trials.in_effect().clone();
        self.note("the network is set up anew");
        // What dhcpcd's hook reads, before anything changes that has it called.
        if let Err(error) = replace(Path::new(network::IN_EFFECT), after.to_toml()) {
            self.note(&format!("cannot write {}: {error}", network::IN_EFFECT));
        }
        let before = std::mem::replace(&mut self.config.network, after);
        self.leave(&before);
        self.set_up_ports();
        self.write_time_servers();
    }

    /// Takes back what was set up otherwise than it is to be now.
    fn leave(&mut self, before: &Network) {
        let found = ports::find(Path::new(SYSFS));
        let plan = links::leave(before, &self.config.network, &found);
        for port in &plan.ports {
            network::forget_leases(Path::new(network::LEASES), &port.name);
        }
        let messages = self.ports.leave(&plan);
        messages.iter().for_each(|message| self.note(message));
    }

    /// The ports that are there, but those that udev may still name.
    fn named_ports(&mut self) -> Vec<ports::Found> {
        let mut found = ports::find(Path::new(SYSFS));
        if now() < self.ports_until {
            let all = found.len();
            found.retain(|port| ports::is_named(Path::new(UDEV), port));
            self.ports_at = (found.len() < all).then(|| now() + PORTS_REST);
        }
        found
    }

    /// Links that are missing, ports that have come: their addresses, and dhcpcd's configuration where that changes it.
    pub(super) fn set_up_ports(&mut self) {
        let mut found = self.named_ports();
        for _ in 0..LINK_ROUNDS {
            let steps = links::missing(&self.config.network, &found);
            if steps.is_empty() {
                break;
            }
            let messages = self.ports.make(&steps);
            messages.iter().for_each(|message| self.note(message));
            found = self.named_ports();
        }
        let messages = self.ports.set_up(&self.config.network, &found);
        messages.iter().for_each(|message| self.note(message));
        if let Err(error) = network::link_hook(Path::new(network::HOOK), &self.program) {
            self.note(&format!("cannot make {}: {error}", network::HOOK));
        }
        let leases = network::leases(Path::new(network::LEASES));
        let resolver = Path::new(network::RESOLV_CONF);
        if let Err(error) = network::write_resolv_conf(resolver, &self.config.network.dns, &leases)
        {
            self.note(&format!("cannot write {}: {error}", network::RESOLV_CONF));
        }
        let text = network::dhcpcd_conf(&self.config.network, &found);
        self.write_config(network::DHCPCD_CONF, &text, services::DHCPCD);
    }

    pub(super) fn write_time_servers(&mut self) {
        let leases = network::leases(Path::new(network::LEASES));
        let servers = network::time_servers(&self.config.network, leases.values());
        self.write_config(clock::CHRONY_CONF, &clock::chrony_conf(&servers), services::CHRONYD);
    }

    /// Writes a service's configuration where it differs, and has the service read it.
    fn write_config(&mut self, path: &str, text: &str, service: &str) {
        if fs::read_to_string(path).is_ok_and(|old| old == text) {
            return;
        }
        if let Err(error) = replace(Path::new(path), text) {
            self.note(&format!("cannot write {path}: {error}"));
            return;
        }
        if let Some(index) = self.launches.iter().position(|launch| launch.name == service) {
            self.note(&format!("{service} starts again with another configuration"));
            self.step(Event::Restart(Id(index)));
        }
    }
}
