//! `[network]`: ports, bonds and VLANs, each with what may be wrong with it.

use std::net::IpAddr;

use super::known;
use crate::section::Section;
use crate::value::{self, contains, quoted};
use crate::{Bond, Network, Port, PortName, Vlan};

/// Most name servers: the resolver asks no more than three.
const MAX_DNS: usize = 3;
/// Most time servers: more than four good ones gain nothing.
const MAX_TIME_SERVERS: usize = 8;
/// Most names and networks that are reached without the proxy.
const MAX_NO_PROXY: usize = 64;
/// Most ports with settings of their own: no server has more.
const MAX_PORTS: usize = 64;
/// Most bonds: each takes two ports or more.
const MAX_BONDS: usize = 16;
/// Most ports of a bond: what switches let work as one (IEEE 802.1AX leaves it open).
const MAX_BONDED: usize = 8;
/// Most VLANs: a node has a handful; each is one more that DHCP may run on.
const MAX_VLANS: usize = 64;
/// Most static addresses of one port.
const MAX_ADDRESSES: usize = 16;
/// Gateways of one port: one per address family.
const MAX_GATEWAYS: usize = 2;
/// Largest VLAN id (IEEE 802.1Q, 9.6: 4095 is reserved).
const MAX_VLAN_ID: i128 = 4094;

const TIME_SERVERS_IGNORED: &str = "ntp is ignored and the default time servers are asked";

/// The section of a node's file: a mistake in `ntp` takes no node off the network, as one in any other key may.
pub(super) fn of_file(section: &mut Section<'_, '_, '_>) -> Option<Network> {
    let ntp = section.by_itself(TIME_SERVERS_IGNORED, time_servers);
    network(section, ntp)
}

/// The section as it is changed: every mistake is one of the whole.
pub(super) fn of_change(section: &mut Section<'_, '_, '_>) -> Option<Network> {
    let ntp = time_servers(section);
    network(section, ntp)
}

fn time_servers(section: &mut Section<'_, '_, '_>) -> Option<Vec<String>> {
    section.texts("ntp", MAX_TIME_SERVERS, value::time_server)
}

fn network(section: &mut Section<'_, '_, '_>, ntp: Option<Vec<String>>) -> Option<Network> {
    let dns = section.texts("dns", MAX_DNS, value::address).unwrap_or_default();
    let proxy = section.text("proxy", value::proxy);
    let no_proxy = section.texts("no_proxy", MAX_NO_PROXY, value::direct).unwrap_or_default();
    let mut seen = Seen::default();
    let ports =
        section.tables("port", "network.port", known("network.port"), MAX_PORTS, |section| {
            let name = section.required("port", value::port_name);
            let port = setup(section, name)?;
            seen.port(&port, section);
            Some(port)
        });
    let bonds =
        section.tables("bond", "network.bond", known("network.bond"), MAX_BONDS, |section| {
            let bond = bond(section)?;
            seen.bond(&bond, section);
            Some(bond)
        });
    let vlans =
        section.tables("vlan", "network.vlan", known("network.vlan"), MAX_VLANS, |section| {
            let vlan = vlan(section)?;
            seen.vlan(&vlan, section);
            Some(vlan)
        });
    Some(Network { dns, ntp, proxy, no_proxy, ports, bonds, vlans })
}

fn bond(section: &mut Section<'_, '_, '_>) -> Option<Bond> {
    let name = section.required("name", value::link_name);
    let mode = section.required("mode", value::bond_mode);
    let ports = section.texts("ports", MAX_BONDED, value::port_name);
    let has_ports = ports.as_ref().is_some_and(|ports| !ports.is_empty());
    if !has_ports && (ports.is_some() || !section.has("ports")) {
        let message = "a bond needs ports: write such as ports = [\"eno1\", \"eno2\"]".to_owned();
        section.fault("ports", message);
    }
    let port = setup(section, name)?;
    Some(Bond { port, ports: ports?, mode: mode? })
}

fn vlan(section: &mut Section<'_, '_, '_>) -> Option<Vlan> {
    let name = section.required("name", value::link_name);
    let id = section.required_integer("id", 1, MAX_VLAN_ID);
    let parent = section.required("parent", value::port_name);
    let port = setup(section, name)?;
    Some(Vlan { port, id: u16::try_from(id?).ok()?, parent: parent? })
}

/// What ports, bonds and VLANs have in common.
fn setup(section: &mut Section<'_, '_, '_>, name: Option<PortName>) -> Option<Port> {
    let dhcp = section.flag("dhcp");
    let addresses = section.texts("addresses", MAX_ADDRESSES, value::network_address);
    let gateways = section.texts("gateways", MAX_GATEWAYS, value::address);
    let mtu = section.integer("mtu", value::MIN_MTU, value::MAX_MTU);
    if section.has("addresses") && addresses.is_none() {
        return None;
    }
    let addresses = addresses.unwrap_or_default();
    let port = Port {
        port: name?,
        dhcp: dhcp.unwrap_or(addresses.is_empty()),
        addresses,
        gateways: gateways.unwrap_or_default(),
        mtu: mtu.and_then(|mtu| u16::try_from(mtu).ok()),
    };
    check_gateways(&port, section);
    Some(port)
}

fn check_gateways(port: &Port, section: &mut Section<'_, '_, '_>) {
    let v4 = port.gateways.iter().filter(|gateway| gateway.is_ipv4()).count();
    if v4 > 1 || port.gateways.len() - v4 > 1 {
        let message = "write one gateway per address family".to_owned();
        section.fault("gateways", message);
    }
    for gateway in &port.gateways {
        let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if port.addresses.iter().any(|net| net.address == *gateway) {
            let message = format!("{gateway} is the port's own address: write the router's");
            section.fault("gateways", message);
        } else if !link_local && !port.addresses.iter().any(|net| contains(net, *gateway)) {
            let message = format!(
                "{gateway} is in no subnet of this port's addresses: correct it, the address or \
                 the prefix length"
            );
            section.fault("gateways", message);
        }
    }
}

/// What stands in the file so far: nothing may come twice or contradict another entry.
#[derive(Default)]
struct Seen {
    /// Ports, bonds and VLANs with an entry.
    names: Vec<PortName>,
    addresses: Vec<IpAddr>,
    /// Ports with the bond that they belong to.
    bonded: Vec<(PortName, PortName)>,
    bonds: Vec<PortName>,
    /// VLANs with what carries them.
    vlans: Vec<(PortName, u16, PortName)>,
}

impl Seen {
    fn port(&mut self, port: &Port, section: &mut Section<'_, '_, '_>) {
        if self.names.contains(&port.port) {
            section.fault("port", "another entry is for the same port: join them".to_owned());
        }
        self.entry(port, section);
    }

    fn bond(&mut self, bond: &Bond, section: &mut Section<'_, '_, '_>) {
        let name = &bond.port.port;
        self.check_name(name, section);
        if self.bonded.iter().any(|(port, _)| port == name) {
            section.fault("name", format!("{name} is a port of another bond: write another"));
        }
        for port in &bond.ports {
            if port == name || self.bonds.contains(port) {
                section.fault("ports", format!("{port} is a bond: write ports only"));
            } else if self.names.contains(port) {
                let message = format!(
                    "{port} has an entry of its own: remove it, as the bond has the addresses"
                );
                section.fault("ports", message);
            }
            if let Some((_, other)) = self.bonded.iter().find(|(bonded, _)| bonded == port) {
                section.fault("ports", format!("{port} is in {other} already: remove it from one"));
            }
            self.bonded.push((port.clone(), name.clone()));
        }
        self.bonds.push(name.clone());
        self.entry(&bond.port, section);
    }

    fn vlan(&mut self, vlan: &Vlan, section: &mut Section<'_, '_, '_>) {
        let Vlan { port: Port { port: name, .. }, id, parent } = vlan;
        self.check_name(name, section);
        let is_bonded = |wanted: &PortName| self.bonded.iter().find(|(port, _)| port == wanted);
        if is_bonded(name).is_some() {
            section.fault("name", format!("{name} is a port of a bond: write another"));
        }
        if let Some((_, bond)) = is_bonded(parent) {
            section.fault("parent", format!("{parent} is a port of {bond}: write {bond}"));
        }
        let is_vlan = |wanted: &PortName| self.vlans.iter().any(|(vlan, ..)| vlan == wanted);
        if parent == name || is_vlan(parent) {
            section.fault("parent", format!("{parent} is a VLAN: write a port or a bond"));
        }
        if self.vlans.iter().any(|(.., carrier)| carrier == name) {
            let message = format!("{name} carries another VLAN: write a port or a bond there");
            section.fault("name", message);
        }
        if self.vlans.iter().any(|(_, other, carrier)| (other, carrier) == (id, parent)) {
            let message = format!("{parent} carries VLAN {id} twice: remove one");
            section.fault("id", message);
        }
        self.vlans.push((name.clone(), *id, parent.clone()));
        self.entry(&vlan.port, section);
    }

    fn check_name(&self, name: &PortName, section: &mut Section<'_, '_, '_>) {
        if self.names.contains(name) {
            let shown = quoted(&name.to_string());
            section.fault("name", format!("another entry has the name {shown}: write another"));
        }
    }

    fn entry(&mut self, port: &Port, section: &mut Section<'_, '_, '_>) {
        self.names.push(port.port.clone());
        for net in &port.addresses {
            if self.addresses.contains(&net.address) {
                let message = format!("{} is there twice: remove one", net.address);
                section.fault("addresses", message);
            }
            self.addresses.push(net.address);
        }
    }
}
