//! `[network]`: its types, and the text that stands for them.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use crate::proxy::{Direct, Proxy};

/// The time servers that are asked where `ntp` names none: those that the Debian pool gives its machines.
pub const TIME_SERVERS: [&str; 4] = [
    "0.debian.pool.ntp.org",
    "1.debian.pool.ntp.org",
    "2.debian.pool.ntp.org",
    "3.debian.pool.ntp.org",
];

/// `[network]`. With no `[[network.port]]` every port uses DHCP and IPv6 router advertisements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// `dns`: name servers, before those that DHCP gives.
    pub dns: Vec<IpAddr>,
    /// `ntp`: time servers as `host` or `host:port`, at most 8, in the place of all others; an empty list asks
    /// none. `None` asks those that DHCP gives and [`TIME_SERVERS`].
    pub ntp: Option<Vec<String>>,
    /// `proxy`: through which the agent connects to oracles, report stores and RPC servers.
    pub proxy: Option<Proxy>,
    /// `no_proxy`: what it connects to directly all the same.
    pub no_proxy: Vec<Direct>,
    /// `[[network.port]]`: ports set up otherwise than by default.
    pub ports: Vec<Port>,
    /// `[[network.bond]]`: ports that work as one.
    pub bonds: Vec<Bond>,
    /// `[[network.vlan]]`: virtual networks on ports and bonds.
    pub vlans: Vec<Vlan>,
}

/// `[[network.port]]`; of a bond or VLAN, the same for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// `port`: the kernel's name (`eno1`) or hardware address (`52:54:00:12:34:56`). Of a bond or VLAN, its
    /// `name`.
    pub port: PortName,
    /// `dhcp`: whether DHCPv4 and IPv6 autoconfiguration run; default: only where no address is
    /// given.
    pub dhcp: bool,
    /// `addresses`: static addresses with prefix length.
    pub addresses: Vec<IpNet>,
    /// `gateways`: at most one per address family.
    pub gateways: Vec<IpAddr>,
    /// `mtu`: bytes, 1280 to 9216.
    pub mtu: Option<u16>,
}

/// `[[network.bond]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// How it is set up; its name is always a [`PortName::Name`].
    pub port: Port,
    /// `ports`: those that work as one.
    pub ports: Vec<PortName>,
    /// `mode`.
    pub mode: BondMode,
}

/// How the ports of a bond share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BondMode {
    /// `"lacp"`: all at once, as agreed with the switch (IEEE 802.1AX).
    Lacp,
    /// `"active-backup"`: one of them, another when that has no link.
    ActiveBackup,
}

/// `[[network.vlan]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// How it is set up; its name is always a [`PortName::Name`].
    pub port: Port,
    /// `id`: 1 to 4094 (IEEE 802.1Q, 9.6).
    pub id: u16,
    /// `parent`: the port or bond that carries it.
    pub parent: PortName,
}

/// How a port is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortName {
    /// The kernel's name.
    Name(String),
    /// Its hardware address.
    Mac([u8; 6]),
}

/// An address with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpNet {
    /// The address.
    pub address: IpAddr,
    /// Prefix length in bits: at most 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// How everything that has an entry is set up: ports, bonds and VLANs.
    pub fn entries(&self) -> impl Iterator<Item = &Port> {
        let bonds = self.bonds.iter().map(|bond| &bond.port);
        self.ports.iter().chain(bonds).chain(self.vlans.iter().map(|vlan| &vlan.port))
    }

    /// The section as text from which [`crate::parse_network`] reads the same. What has its default is left
    /// out, so that the text stays the same when a later release knows more keys.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = "[network]\n".to_owned();
        list(&mut text, "dns", &self.dns);
        if let Some(servers) = &self.ntp {
            listed(&mut text, "ntp", servers);
        }
        if let Some(proxy) = &self.proxy {
            key(&mut text, "proxy", format_args!("\"{proxy}\""));
        }
        list(&mut text, "no_proxy", &self.no_proxy);
        for port in &self.ports {
            head(&mut text, "port", "port", &port.port);
            setup(&mut text, port);
        }
        for Bond { port, ports, mode } in &self.bonds {
            head(&mut text, "bond", "name", &port.port);
            list(&mut text, "ports", ports);
            key(&mut text, "mode", format_args!("\"{mode}\""));
            setup(&mut text, port);
        }
        for Vlan { port, id, parent } in &self.vlans {
            head(&mut text, "vlan", "name", &port.port);
            key(&mut text, "id", id);
            key(&mut text, "parent", format_args!("\"{parent}\""));
            setup(&mut text, port);
        }
        text
    }
}

fn head(text: &mut String, section: &str, name: &str, port: &PortName) {
    // Writing to a string cannot fail; the same holds below.
    let _ = writeln!(text, "\n[[network.{section}]]\n{name} = \"{port}\"");
}

fn setup(text: &mut String, port: &Port) {
    if port.dhcp != port.addresses.is_empty() {
        key(text, "dhcp", port.dhcp);
    }
    list(text, "addresses", &port.addresses);
    list(text, "gateways", &port.gateways);
    if let Some(mtu) = port.mtu {
        key(text, "mtu", mtu);
    }
}

fn key(text: &mut String, name: &str, value: impl fmt::Display) {
    let _ = writeln!(text, "{name} = {value}");
}

fn list(text: &mut String, name: &str, values: &[impl fmt::Display]) {
    if !values.is_empty() {
        listed(text, name, values);
    }
}

/// A list that says something else when it is empty than when it is missing.
fn listed(text: &mut String, name: &str, values: &[impl fmt::Display]) {
    let values: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
    key(text, name, format_args!("[{}]", values.join(", ")));
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Mac(mac) => f.write_str(&mac.map(|byte| format!("{byte:02x}")).join(":")),
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for BondMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lacp => "lacp",
            Self::ActiveBackup => "active-backup",
        })
    }
}
