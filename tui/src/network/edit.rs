//! From the settings that are in effect, and what is wanted of one port, to the settings to try.

use std::net::IpAddr;

use agent_api::init::{PortStatus, SystemStatus};
use provisioning_config::{
    Bond, BondMode, Direct, IpNet, Network, Port, PortName, Problem, Proxy, Vlan, parse_network,
};

/// The packet length of Ethernet without a setting, in bytes (IEEE 802.3).
const MTU_USUAL: u16 = 1500;

/// The longest name of a port, in bytes (Linux: IFNAMSIZ without the end).
const NAME_MAX: usize = 15;

/// What is wanted of a port, bond or VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Its name: the kernel's, or that of a bond or VLAN in the settings.
    pub(crate) port: String,
    /// Whether DHCP and IPv6 autoconfiguration run.
    pub(crate) dhcp: bool,
    /// Static addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// Gateways.
    pub(crate) gateways: Vec<IpAddr>,
    /// The longest packet, in bytes; none for the driver's.
    pub(crate) mtu: Option<u16>,
    /// The VLAN on it that all this is for; none for the port itself.
    pub(crate) vlan: Option<u16>,
    /// How it works together with other ports.
    pub(crate) bond: BondWish,
    /// What is wanted beside it.
    pub(crate) shared: Shared,
}

/// What is wanted of that which all ports share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Name servers; none to leave them as they are.
    pub(crate) dns: Option<Vec<IpAddr>>,
    /// Which time servers are asked.
    pub(crate) ntp: NtpWish,
    /// How the agent gets out; none to leave that as it is.
    pub(crate) through: Option<Through>,
}

/// How the agent gets to oracles and RPC servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Through {
    /// The proxy; none where there is none.
    pub(crate) proxy: Option<Proxy>,
    /// What is reached without it.
    pub(crate) direct: Vec<Direct>,
}

/// Which time servers are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum NtpWish {
    /// As they are.
    #[default]
    Keep,
    /// Those that DHCP gives and the Debian pool.
    Default,
    /// These alone; none where there are none.
    These(Vec<String>),
}

/// How a port works together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BondWish {
    /// As it does.
    Keep,
    /// By itself.
    Alone,
    /// With these, itself among them.
    With(BondMode, Vec<String>),
}

/// Why there are no settings to try.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SetError {
    /// The port works as one with others.
    #[error("{port} is a port of {bond}: set {bond} up instead")]
    Bonded {
        /// The port.
        port: String,
        /// Its bond.
        bond: String,
    },
    /// Init does not say how the network is set up, or in words that are not understood.
    #[error("how the network is set up now is not known: try again, or set it up in node.toml")]
    Unknown,
    /// The node has no such port.
    #[error("there is no port, bond or VLAN {0:?}: `icnctl network` lists them")]
    NoPort(String),
    /// The settings would have mistakes.
    #[error("{}", told(.0))]
    Mistakes(Vec<Problem>),
}

fn told(problems: &[Problem]) -> String {
    let told: Vec<_> =
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
    told.join("; ")
}

/// The settings that are in effect.
///
/// # Errors
/// [`SetError::Unknown`]: a change on another ground would undo what it does not know.
pub(crate) fn base(system: &SystemStatus) -> Result<Network, SetError> {
    let state = system.network.as_ref().ok_or(SetError::Unknown)?;
    let text = state.tried.as_ref().unwrap_or(&state.text);
    parse_network(text).map_err(|_| SetError::Unknown)
}

/// What can be set up: the ports that are in no bond, bonds, VLANs.
pub(crate) fn names_of(system: &SystemStatus, base: &Network) -> Vec<String> {
    let ports = physical(base, &system.ports);
    let free = ports.iter().filter(|port| bond_of(base, &port.name, &ports).is_none());
    let names = free.map(|port| port.name.clone());
    names.chain(others(base).map(PortName::to_string)).collect()
}

fn others(base: &Network) -> impl Iterator<Item = &PortName> {
    let bonds = base.bonds.iter().map(|bond| &bond.port.port);
    bonds.chain(base.vlans.iter().map(|vlan| &vlan.port.port))
}

fn bond_of<'a>(base: &'a Network, port: &str, ports: &[PortStatus]) -> Option<&'a Bond> {
    base.bonds.iter().find(|bond| bond.ports.iter().any(|name| is_called(name, port, ports)))
}

/// The ports without bonds and VLANs, which have the hardware address of a port of theirs.
fn physical(base: &Network, ports: &[PortStatus]) -> Vec<PortStatus> {
    let is_made = |port: &PortStatus| others(base).any(|name| is_called(name, &port.name, &[]));
    ports.iter().filter(|port| !is_made(port)).cloned().collect()
}

/// Whether a name of the settings means the port that the kernel calls so.
fn is_called(name: &PortName, port: &str, ports: &[PortStatus]) -> bool {
    match name {
        PortName::Name(name) => name == port,
        PortName::Mac(_) => {
            let mac = name.to_string();
            ports.iter().any(|known| known.name == port && known.mac.eq_ignore_ascii_case(&mac))
        }
    }
}

/// How a port is set up now: its VLAN where it is one, and itself as far as the settings have it.
pub(crate) fn current(base: &Network, name: &str, ports: &[PortStatus]) -> Wish {
    let ports = &physical(base, ports);
    let find = |port: &&Port| is_called(&port.port, name, ports);
    let port = base.entries().find(find);
    let vlan = base.vlans.iter().find(|vlan| is_called(&vlan.port.port, name, ports));
    let bond = base.bonds.iter().find(|bond| is_called(&bond.port.port, name, ports));
    Wish {
        port: name.to_owned(),
        dhcp: port.is_none_or(|port| port.dhcp),
        addresses: port.map(|port| port.addresses.clone()).unwrap_or_default(),
        gateways: port.map(|port| port.gateways.clone()).unwrap_or_default(),
        mtu: port.and_then(|port| port.mtu),
        vlan: vlan.map(|vlan| vlan.id),
        bond: match bond {
            Some(bond) => {
                let name = |name: &PortName| kernel_name(name, ports);
                BondWish::With(bond.mode, bond.ports.iter().map(name).collect())
            }
            None => BondWish::Alone,
        },
        shared: Shared {
            dns: Some(base.dns.clone()),
            ntp: base.ntp.clone().map_or(NtpWish::Default, NtpWish::These),
            through: Some(Through { proxy: base.proxy.clone(), direct: base.no_proxy.clone() }),
        },
    }
}

fn kernel_name(name: &PortName, ports: &[PortStatus]) -> String {
    let known = ports.iter().find(|port| is_called(name, &port.name, ports));
    known.map_or_else(|| name.to_string(), |port| port.name.clone())
}

/// The settings with what is wanted.
///
/// # Errors
/// [`SetError`]: there is no such port, or the settings would have mistakes.
pub(crate) fn set(base: &Network, wish: &Wish, ports: &[PortStatus]) -> Result<Network, SetError> {
    let name = wish.port.as_str();
    let ports = &physical(base, ports);
    if let Some(bond) = bond_of(base, name, ports) {
        let bond = bond.port.port.to_string();
        return Err(SetError::Bonded { port: name.to_owned(), bond });
    }
    check_name(base, name, ports)?;
    let mut editor = Editor { next: with_shared(base, &wish.shared), ports };
    editor.apply(wish);
    checked(&editor.next)
}

/// The settings with what is wanted of that which all ports share; the ports stay as they are.
///
/// # Errors
/// [`SetError::Mistakes`].
pub(crate) fn set_shared(base: &Network, shared: &Shared) -> Result<Network, SetError> {
    checked(&with_shared(base, shared))
}

/// Whether there is such a port, bond or VLAN.
///
/// # Errors
/// [`SetError::NoPort`].
pub(crate) fn check_name(base: &Network, name: &str, ports: &[PortStatus]) -> Result<(), SetError> {
    let is_known = ports.iter().any(|port| port.name == name)
        || base.entries().any(|port| is_called(&port.port, name, ports));
    if is_known { Ok(()) } else { Err(SetError::NoPort(name.to_owned())) }
}

fn with_shared(base: &Network, shared: &Shared) -> Network {
    let mut next = base.clone();
    if let Some(dns) = &shared.dns {
        next.dns.clone_from(dns);
    }
    match &shared.ntp {
        NtpWish::Keep => {}
        NtpWish::Default => next.ntp = None,
        NtpWish::These(servers) => next.ntp = Some(servers.clone()),
    }
    if let Some(Through { proxy, direct }) = shared.through.clone() {
        (next.proxy, next.no_proxy) = (proxy, direct);
    }
    next
}

fn checked(next: &Network) -> Result<Network, SetError> {
    parse_network(&next.to_toml()).map_err(SetError::Mistakes)
}

struct Editor<'p> {
    next: Network,
    ports: &'p [PortStatus],
}

impl Editor<'_> {
    fn apply(&mut self, wish: &Wish) {
        // A VLAN is taken out first: what carries it is set up by the same rules as any port.
        let at = self.next.vlans.iter().position(|vlan| self.is(&vlan.port.port, &wish.port));
        let edited = at.map(|at| self.next.vlans.remove(at));
        let carrier = match &edited {
            Some(vlan) => vlan.parent.clone(),
            None => self.bonded(wish),
        };
        let Some(id) = wish.vlan else {
            let port = set_up(self.named(&carrier), wish);
            return self.put(port);
        };
        let is_this = |vlan: &Vlan| vlan.id == id && vlan.parent == carrier;
        let at = self.next.vlans.iter().position(is_this);
        let there = at.map(|at| self.next.vlans.remove(at));
        let name = match (edited, there) {
            (Some(vlan), _) | (None, Some(vlan)) => vlan.port.port,
            (None, None) => self.vlan_name(&carrier, id),
        };
        let parent = self.named(&carrier);
        self.carry(&parent, wish.mtu);
        self.next.vlans.push(Vlan { port: set_up(name, wish), id, parent });
        self.next.vlans.sort_by_key(|vlan| (vlan.parent.to_string(), vlan.id));
    }

    /// Makes, changes or dissolves the bond, and gives what carries the settings then.
    fn bonded(&mut self, wish: &Wish) -> PortName {
        let at = self.next.bonds.iter().position(|bond| self.is(&bond.port.port, &wish.port));
        let plain = PortName::Name(wish.port.clone());
        match (&wish.bond, at) {
            (BondWish::Keep, Some(at)) => self.bond_name(at).unwrap_or(plain),
            (BondWish::Keep | BondWish::Alone, None) => self.named(&plain),
            (BondWish::Alone, Some(at)) => {
                let bond = self.next.bonds.remove(at);
                let first = bond.ports.first().cloned().unwrap_or(plain);
                self.reparent(&bond.port.port, &first);
                first
            }
            (BondWish::With(mode, names), at) => {
                let members: Vec<PortName> =
                    names.iter().map(|name| self.named(&PortName::Name(name.clone()))).collect();
                let name = at.and_then(|at| self.bond_name(at));
                let name = name.unwrap_or_else(|| self.free_bond());
                for member in &members {
                    self.next.ports.retain(|port| port.port != *member);
                    self.reparent(member, &name);
                }
                match at.and_then(|at| self.next.bonds.get_mut(at)) {
                    Some(bond) => (bond.mode, bond.ports) = (*mode, members),
                    None => {
                        let port = quiet(name.clone());
                        self.next.bonds.push(Bond { port, ports: members, mode: *mode });
                    }
                }
                name
            }
        }
    }

    fn is(&self, name: &PortName, port: &str) -> bool {
        is_called(name, port, self.ports)
    }

    fn bond_name(&self, at: usize) -> Option<PortName> {
        self.next.bonds.get(at).map(|bond| bond.port.port.clone())
    }

    /// The name by which the settings know a port; else the kernel's.
    fn named(&self, name: &PortName) -> PortName {
        let called = kernel_name(name, self.ports);
        let known = self.next.entries().find(|port| self.is(&port.port, &called));
        known.map_or_else(|| PortName::Name(called), |port| port.port.clone())
    }

    fn reparent(&mut self, from: &PortName, to: &PortName) {
        for vlan in &mut self.next.vlans {
            if vlan.parent == *from {
                vlan.parent = to.clone();
            }
        }
    }

    /// Puts the set-up of a port or bond in its place.
    fn put(&mut self, port: Port) {
        if let Some(bond) = self.next.bonds.iter_mut().find(|bond| bond.port.port == port.port) {
            bond.port = port;
            return;
        }
        let at = self.next.ports.iter().position(|known| known.port == port.port);
        let is_default = port.dhcp && port.addresses.is_empty() && port.mtu.is_none();
        match (at, is_default) {
            (Some(at), true) => {
                self.next.ports.remove(at);
            }
            (Some(at), false) => {
                if let Some(known) = self.next.ports.get_mut(at) {
                    *known = port;
                }
            }
            (None, true) => {}
            (None, false) => self.next.ports.push(port),
        }
    }

    /// Has a port or bond carry a VLAN: without an address of its own unless the settings give it one, and
    /// with packets as long as the VLAN's.
    fn carry(&mut self, carrier: &PortName, mtu: Option<u16>) {
        let known = self.next.entries().find(|port| port.port == *carrier).cloned();
        let mut port = known.unwrap_or_else(|| quiet(carrier.clone()));
        if let Some(mtu) = mtu.filter(|mtu| *mtu > port.mtu.unwrap_or(MTU_USUAL)) {
            port.mtu = Some(mtu);
        }
        self.put(port);
    }

    fn vlan_name(&self, carrier: &PortName, id: u16) -> PortName {
        let name = format!("{}.{id}", kernel_name(carrier, self.ports));
        let name = if name.len() <= NAME_MAX { name } else { format!("vlan{id}") };
        let is_taken = |name: &str| self.next.entries().any(|port| self.is(&port.port, name));
        let others = (2..).map(|number| format!("v{id}-{number}"));
        let mut names = std::iter::once(name).chain(others);
        PortName::Name(names.find(|name| !is_taken(name)).unwrap_or_default())
    }

    fn free_bond(&self) -> PortName {
        let is_taken = |name: &str| self.next.entries().any(|port| self.is(&port.port, name));
        let mut names = (0..).map(|number| format!("bond{number}"));
        PortName::Name(names.find(|name| !is_taken(name)).unwrap_or_default())
    }
}

fn set_up(port: PortName, wish: &Wish) -> Port {
    let Wish { dhcp, addresses, gateways, mtu, .. } = wish.clone();
    Port { port, dhcp, addresses, gateways, mtu }
}

/// A port without an address.
fn quiet(port: PortName) -> Port {
    Port { port, dhcp: false, addresses: Vec::new(), gateways: Vec::new(), mtu: None }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
