//! The network: links and fixed addresses by init itself, everything else by dhcpcd.
//!
//! Init writes dhcpcd's configuration, in which it names the ports with DHCP, and makes bonds and
//! VLANs and sets MTU, fixed addresses and routes over netlink. The settings are those of node.toml or
//! others that were given since ([`trial`]), time servers among them. dhcpcd calls init back with what a server told
//! ([`hook`]); name servers go to /run/resolv.conf, time servers to chronyd.

pub(crate) mod hook;
pub(crate) mod links;
mod netlink;
pub(crate) mod ports;
mod resolver;
mod routes;
pub(crate) mod trial;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use agent_api::init::SystemStatus;
use provisioning_config::{Config, Network, Port, TIME_SERVERS};

use self::links::{Leave, Step};
use self::netlink::Netlink;
use self::ports::Found;
use self::resolver::resolver;
use crate::replace::{STAGED, replace};

/// The configuration that init writes for dhcpcd.
pub(crate) const DHCPCD_CONF: &str = "/run/icn/init/dhcpcd.conf";

/// The name under which dhcpcd calls init; a link to init's own program.
pub(crate) const HOOK: &str = "/run/icn/init/dhcp-hook";

/// What servers told, one file for each port and protocol.
pub(crate) const LEASES: &str = "/run/icn/init/leases";

/// The resolver's configuration; /etc/resolv.conf of the image links here.
pub(crate) const RESOLV_CONF: &str = "/run/resolv.conf";

/// The settings in effect where they are others than those of node.toml; dhcpcd's hook reads them.
pub(crate) const IN_EFFECT: &str = "/run/icn/init/network.toml";

/// What the kernel is asked and listened to for, and which ports are set up.
#[derive(Debug)]
pub(crate) struct Ports {
    netlink: Netlink,
    /// Name and index of ports that are set up.
    done: Vec<(String, u32)>,
    /// Number and MTU in bytes of ports that got another one.
    mtus: Vec<(u32, u16)>,
}

impl Ports {
    /// # Errors
    ///
    /// When the kernel gives no netlink socket.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()?, done: Vec::new(), mtus: Vec::new() })
    }

    /// Brings the loopback port up.
    ///
    /// # Errors
    ///
    /// As the kernel gives them.
    pub(crate) fn loopback_up(&mut self) -> io::Result<()> {
        self.netlink.link_up(1, None)
    }

    /// Takes messages in; true where ports may have come, gone or changed their names.
    pub(crate) fn changed(&mut self) -> bool {
        self.netlink.drain()
    }

    /// Sets up the ports that have come since the last call; gives what to log.
    pub(crate) fn set_up(&mut self, network: &Network, found: &[Found]) -> Vec<String> {
        self.done.retain(|(name, index)| {
            found.iter().any(|port| (&port.name, port.index) == (name, *index))
        });
        let mut messages = Vec::new();
        for port in found {
            let key = (port.name.clone(), port.index);
            if self.done.contains(&key) {
                continue;
            }
            self.done.push(key);
            if let Some(wanted) = wanted(network, port) {
                messages.extend(self.set_up_one(wanted, port));
            }
        }
        messages
    }

    /// Makes links; gives what to log.
    pub(crate) fn make(&mut self, steps: &[Step]) -> Vec<String> {
        let make = |step: &Step| {
            let (link, what, result) = match step {
                Step::Bond { name, mode } => {
                    (name, format!("made, {mode}"), self.netlink.make_bond(name, *mode))
                }
                Step::Vlan { name, id, parent } => {
                    let made = self.netlink.make_vlan(name, *id, parent.index);
                    // What carries it has to be up, also where it has no entry of its own.
                    let made = made.and_then(|()| self.netlink.link_up(parent.index, None));
                    (name, format!("made as VLAN {id} of {}", parent.name), made)
                }
                Step::Join { port, bond } => {
                    // The kernel takes no port that is up; it brings it up itself.
                    let down = self.netlink.link_down(port.index);
                    let joined = down.and_then(|()| self.netlink.join(port.index, bond.index));
                    (&port.name, format!("joins {}", bond.name), joined)
                }
            };
            told(link, &what, result)
        };
        steps.iter().map(make).collect()
    }

    /// Removes links, and takes back from ports what they were given; gives what to log.
    pub(crate) fn leave(&mut self, plan: &Leave) -> Vec<String> {
        let mut messages = Vec::new();
        for link in &plan.links {
            messages.push(noted(link, "removed", self.netlink.remove_link(link.index)));
            self.mtus.retain(|(index, _)| *index != link.index);
        }
        for port in &plan.ports {
            // Addresses of DHCP too: dhcpcd leaves them when it ends.
            for (address, prefix) in ports::addresses_of(&port.name) {
                let what = format!("without {address}/{prefix}");
                let removed = self.netlink.remove_address(port.index, address, prefix);
                messages.push(noted(port, &what, removed));
            }
            // Takes the routes along. A port of a bond that goes is down already.
            messages.push(noted(port, "down", self.netlink.link_down(port.index)));
            if let Some(at) = self.mtus.iter().position(|(index, _)| *index == port.index) {
                let (index, mtu) = self.mtus.swap_remove(at);
                let what = format!("MTU {mtu} again");
                messages.push(noted(port, &what, self.netlink.set_mtu(index, mtu)));
            }
            accept_advertisements(&port.name, true);
            messages.push(noted(port, "up", self.netlink.link_up(port.index, None)));
            self.done.retain(|(_, index)| *index != port.index);
        }
        messages
    }

    fn set_up_one(&mut self, wanted: &Port, found: &Found) -> Vec<String> {
        let mut messages = Vec::new();
        let mut note = |what: String, result| messages.push(told(&found.name, &what, result));
        if !wanted.dhcp {
            accept_advertisements(&found.name, false);
        }
        let is_new = self.mtus.iter().all(|(index, _)| *index != found.index);
        if let Some(before) = found.mtu.filter(|_| wanted.mtu.is_some() && is_new) {
            self.mtus.push((found.index, before));
        }
        let mtu = wanted.mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
        note(format!("up{mtu}"), self.netlink.link_up(found.index, wanted.mtu));
        for net in &wanted.addresses {
            let what = format!("address {}/{}", net.address, net.prefix);
            note(what, self.netlink.add_address(found.index, net.address, net.prefix));
        }
        for gateway in &wanted.gateways {
            let what = format!("gateway {gateway}");
            note(what, self.netlink.add_gateway(found.index, *gateway));
        }
        messages
    }
}

impl AsFd for Ports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// Whether the kernel takes addresses from router advertisements.
fn accept_advertisements(port: &str, accept: bool) {
    for setting in ["accept_ra", "autoconf"] {
        let path = format!("/proc/sys/net/ipv6/conf/{port}/{setting}");
        // Without IPv6 there are none.
        let _ = fs::write(path, if accept { "1" } else { "0" });
    }
}

fn noted(port: &Found, what: &str, result: io::Result<()>) -> String {
    told(&port.name, what, result)
}

fn told(port: &str, what: &str, result: io::Result<()>) -> String {
    match result {
        Ok(()) => format!("port {port}: {what}"),
        Err(error) => format!("port {port}: {what} failed: {error}"),
    }
}

/// What the configuration says of a port.
fn wanted<'n>(network: &'n Network, found: &Found) -> Option<&'n Port> {
    network.entries().find(|port| links::names(&port.port, found))
}

/// Entries of the configuration for which there is no port, in words.
pub(crate) fn absent(network: &Network, found: &[Found]) -> Vec<String> {
    let is_there = |port: &&Port| found.iter().any(|f| wanted(network, f) == Some(*port));
    let absent = network.ports.iter().filter(|port| !is_there(port));
    absent
        .map(|port| {
            let names: Vec<&str> = found.iter().map(|port| port.name.as_str()).collect();
            format!(
                "network.port {}: there is no such port; the ports are {}",
                port.port,
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        })
        .chain(links::absent(network, found))
        .collect()
}

/// Whether DHCP and IPv6 autoconfiguration run on a port: never on one that works for a bond.
fn is_dynamic(network: &Network, found: &Found) -> bool {
    links::bond_of(network, found).is_none() && wanted(network, found).is_none_or(|port| port.dhcp)
}

/// Forgets what servers told on a port.
pub(crate) fn forget_leases(folder: &Path, port: &str) {
    for protocol in hook::PROTOCOLS {
        // There may be none.
        let _ = fs::remove_file(folder.join(format!("{port}.{protocol}")));
    }
}

/// The name servers of the settings in effect, for a process that does not have them.
fn configured_dns(in_effect: &Path, seed: &Path) -> Vec<IpAddr> {
    let text = fs::read_to_string(in_effect).ok();
    let given = text.and_then(|text| provisioning_config::parse_network(&text).ok());
    given.unwrap_or_else(|| provisioning_config::load(seed).0.network).dns
}

/// The host name where the configuration gives none: from the first port's hardware address, which
/// is on a label of the machine.
pub(crate) fn default_name(found: &[Found]) -> String {
    match found.iter().find(|port| port.mac != [0; 6]) {
        Some(Found { mac: [.., a, b, c], .. }) => format!("icn-{a:02x}{b:02x}{c:02x}"),
        None => "icn-node".to_owned(),
    }
}

/// dhcpcd's configuration.
///
/// - Ports are allowed by name: one that comes later is touched only when init has seen it and its
///   entry, which may go by the hardware address.
/// - The hardware address names the client, as a person reserves an address by the label; a DUID
///   from a file would be another at each boot, as there is no state on disk.
/// - `persistent`: addresses stay when dhcpcd ends, so that its restart disturbs no client.
/// - `noarp`: the server probes an address before it offers it (RFC 2131, 2.2); probing once more
///   would take five seconds of each boot. `nodelay` saves the random second before.
pub(crate) fn dhcpcd_conf(network: &Network, found: &[Found]) -> String {
    let dynamic = found.iter().filter(|port| is_dynamic(network, port));
    let names: Vec<&str> = dynamic.map(|port| port.name.as_str()).collect();
    let allowed = match names.as_slice() {
        [] => "denyinterfaces *".to_owned(),
        names => format!("allowinterfaces {}", names.join(" ")),
    };
    format!(
        "# Made by init from node.toml.\nscript {HOOK}\nhostname\nduid ll\nclientid\nvendorclassid\n\
         persistent\nnoarp\nnodelay\nnoipv4ll\nslaac hwaddr\n\
         option domain_name_servers, domain_name, domain_search, classless_static_routes\n\
         option interface_mtu, ntp_servers\n\
         option dhcp6_name_servers, dhcp6_domain_search, dhcp6_sntp_servers\n\
         require dhcp_server_identifier\n{allowed}\n"
    )
}

/// Reads what the hook has put down, by port and protocol.
pub(crate) fn leases(folder: &Path) -> BTreeMap<String, hook::Lease> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|n| !n.ends_with(STAGED))?;
            let text = fs::read_to_string(entry.path()).ok()?;
            Some((name, hook::Lease::parse(&text)))
        })
        .collect()
}

/// The time servers to ask: those of the settings where these name any or none, else those of DHCP
/// before the default ones.
pub(crate) fn time_servers<'l>(
    network: &Network,
    leases: impl IntoIterator<Item = &'l hook::Lease>,
) -> Vec<String> {
    /// Most servers from DHCP: more gain nothing.
    const MAX_FROM_DHCP: usize = 4;
    if let Some(servers) = &network.ntp {
        return servers.clone();
    }
    let mut servers: Vec<String> = Vec::new();
    for server in leases.into_iter().flat_map(|lease| &lease.time_servers) {
        if !servers.contains(server) && servers.len() < MAX_FROM_DHCP {
            servers.push(server.clone());
        }
    }
    servers.extend(TIME_SERVERS.map(str::to_owned));
    servers
}

/// Writes the resolver's configuration.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn write_resolv_conf(
    path: &Path,
    dns: &[IpAddr],
    leases: &BTreeMap<String, hook::Lease>,
) -> io::Result<()> {
    replace(path, resolver::resolv_conf(&resolver(dns, leases.values())))
}

/// The network as it is now: ports with their addresses, gateways, name and time servers. Nothing else
/// of the system is told.
pub(crate) fn status(
    config: &Config,
    found: &[Found],
    (sysfs, proc): (&Path, &Path),
) -> SystemStatus {
    let leases = leases(Path::new(LEASES));
    let names = resolver(&config.network.dns, leases.values());
    let mut ports = ports::status(sysfs);
    for port in &mut ports {
        let found = found.iter().find(|found| found.name == port.name);
        port.dhcp = found.map(|found| is_dynamic(&config.network, found));
    }
    SystemStatus {
        ports,
        gateways: routes::gateways(proc),
        dns: names.servers,
        search: names.search,
        time_servers: time_servers(&config.network, leases.values()),
        ..SystemStatus::default()
    }
}

/// Makes the link under which dhcpcd calls init.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn link_hook(path: &Path, program: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(program, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
