//! Bonds and VLANs: what has to be made of the ports that are there, and what has to go when the
//! settings change. Pure.

use provisioning_config::{Bond, BondMode, Network, Port, PortName, Vlan};

use super::ports::Found;

/// One thing to make. Ports are told by their number, with the name for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A bond without ports yet.
    Bond { name: String, mode: BondMode },
    /// A port becomes part of a bond.
    Join { port: Found, bond: Found },
    /// A VLAN on a port or bond.
    Vlan { name: String, id: u16, parent: Found },
}

/// What goes when the settings change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leave {
    /// Links that are removed: VLANs before the bonds that carry them.
    pub links: Vec<Found>,
    /// Ports that go back to how they were when they came, to be set up anew.
    pub ports: Vec<Found>,
}

/// What can be made now. Empty once all is there for which there are ports.
pub(crate) fn missing(network: &Network, found: &[Found]) -> Vec<Step> {
    let mut steps = Vec::new();
    for Bond { port, ports, mode } in &network.bonds {
        let Some(bond) = found.iter().find(|link| link.is_made && names(&port.port, link)) else {
            // Without any of its ports it would only hide that they are missing.
            if let PortName::Name(name) = &port.port
                && ports.iter().any(|port| find(port, found).is_some())
            {
                steps.push(Step::Bond { name: name.clone(), mode: *mode });
            }
            continue;
        };
        let lacking = ports.iter().filter_map(|port| find(port, found));
        let lacking = lacking.filter(|port| port.bond != Some(bond.index));
        steps.extend(lacking.map(|port| Step::Join { port: port.clone(), bond: bond.clone() }));
    }
    for Vlan { port, id, parent } in &network.vlans {
        if let PortName::Name(name) = &port.port
            && !found.iter().any(|link| link.name == *name)
            && let Some(parent) = find(parent, found)
        {
            steps.push(Step::Vlan { name: name.clone(), id: *id, parent: parent.clone() });
        }
    }
    steps
}

/// What goes where `before` is replaced by `after`. What stands in both is not touched.
pub(crate) fn leave(before: &Network, after: &Network, found: &[Found]) -> Leave {
    let same_bond =
        |a: &Bond, b: &Bond| (&a.port.port, a.mode) == (&b.port.port, b.mode) && a.ports == b.ports;
    let bonds_gone = before.bonds.iter().filter(|a| !after.bonds.iter().any(|b| same_bond(a, b)));
    let bonds_gone: Vec<&PortName> = bonds_gone.map(|bond| &bond.port.port).collect();
    let same_vlan =
        |a: &Vlan, b: &Vlan| (&a.port.port, a.id, &a.parent) == (&b.port.port, b.id, &b.parent);
    let vlans_gone = before.vlans.iter().filter(|a| {
        bonds_gone.contains(&&a.parent) || !after.vlans.iter().any(|b| same_vlan(a, b))
    });
    let gone = vlans_gone.map(|vlan| &vlan.port.port).chain(bonds_gone.iter().copied());
    let made = |name: &PortName| found.iter().find(|link| link.is_made && names(name, link));
    let links: Vec<Found> = gone.filter_map(made).cloned().collect();
    let is_otherwise = |port: &&Found| role(before, port) != role(after, port);
    let stays = |port: &&Found| !links.contains(port);
    Leave { ports: found.iter().filter(stays).filter(is_otherwise).cloned().collect(), links }
}

/// How a port is set up, and which bond it belongs to. How that bond is set up is no matter of its ports.
fn role<'n>(network: &'n Network, port: &Found) -> (Option<&'n Port>, Option<Membership<'n>>) {
    let bond = bond_of(network, port);
    let bond = bond.map(|bond| (&bond.port.port, bond.mode, bond.ports.as_slice()));
    (super::wanted(network, port), bond)
}

/// A bond by what its ports have to do with: its name, mode and ports.
type Membership<'n> = (&'n PortName, BondMode, &'n [PortName]);

/// The bond that a port belongs to.
pub(super) fn bond_of<'n>(network: &'n Network, found: &Found) -> Option<&'n Bond> {
    network.bonds.iter().find(|bond| bond.ports.iter().any(|port| names(port, found)))
}

/// Whether a name of the settings is that of a port or link. A hardware address is only that of a port:
/// a VLAN has that of its parent, a bond that of its first port.
pub(super) fn names(name: &PortName, found: &Found) -> bool {
    match name {
        PortName::Name(name) => *name == found.name,
        PortName::Mac(mac) => *mac == found.mac && !found.is_made,
    }
}

fn find<'f>(name: &PortName, found: &'f [Found]) -> Option<&'f Found> {
    found.iter().find(|found| names(name, found))
}

/// Ports that bonds and VLANs want and that are not there, in words.
pub(super) fn absent(network: &Network, found: &[Found]) -> Vec<String> {
    let bonds = network
        .bonds
        .iter()
        .flat_map(|bond| bond.ports.iter().map(|port| ("bond", &bond.port.port, port)));
    let vlans = network.vlans.iter().map(|vlan| ("vlan", &vlan.port.port, &vlan.parent));
    bonds
        .chain(vlans)
        .filter(|(.., port)| find(port, found).is_none())
        .map(|(kind, name, port)| format!("network.{kind} {name}: there is no port {port}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use provisioning_config::parse_network;

    fn port(name: &str, index: u32) -> Found {
        let mac = [2, 0, 0, 0, 0, u8::try_from(index).expect("few")];
        Found { name: name.to_owned(), index, mac, ..Found::default() }
    }

    fn made(name: &str, index: u32) -> Found {
        Found { is_made: true, ..port(name, index) }
    }

    fn joined(name: &str, index: u32, bond: u32) -> Found {
        Found { bond: Some(bond), ..port(name, index) }
    }

    fn network(text: &str) -> Network {
        parse_network(&format!("[network]\n{text}")).expect("no mistake")
    }

    const STACK: &str = "[[network.bond]]\nname = \"bond0\"\nports = [\"eno1\", \"02:00:00:00:00:03\"]\n\
                         mode = \"lacp\"\ndhcp = false\n\
                         [[network.vlan]]\nname = \"storage\"\nid = 100\nparent = \"bond0\"\n";

    #[test]
    fn a_bond_comes_first_then_its_ports_and_the_vlans_on_it() {
        let network = network(STACK);
        let mut found = vec![port("eno1", 2), port("eno2", 3), port("eno3", 4)];
        let bond = Step::Bond { name: "bond0".to_owned(), mode: BondMode::Lacp };
        assert_eq!(missing(&network, &found), [bond]);
        found.push(made("bond0", 5));
        let join = |port: &Found| Step::Join { port: port.clone(), bond: made("bond0", 5) };
        let vlan = Step::Vlan { name: "storage".to_owned(), id: 100, parent: made("bond0", 5) };
        assert_eq!(missing(&network, &found), [join(&found[0]), join(&found[1]), vlan]);
        let all =
            [joined("eno1", 2, 5), joined("eno2", 3, 5), made("bond0", 5), made("storage", 6)];
        assert_eq!(missing(&network, &all), []);
    }

    #[test]
    fn nothing_is_made_without_ports_and_what_is_missing_is_told() {
        let network = network(STACK);
        assert_eq!(missing(&network, &[port("eno9", 9)]), []);
        assert_eq!(
            absent(&network, &[port("eno1", 2)]),
            [
                "network.bond bond0: there is no port 02:00:00:00:00:03",
                "network.vlan storage: there is no port bond0"
            ]
        );
    }

    #[test]
    fn a_hardware_address_names_the_port_and_not_what_is_stacked_on_it() {
        let stacked = Found { mac: port("eno1", 2).mac, ..made("storage", 9) };
        let name = PortName::Mac(stacked.mac);
        assert!(names(&name, &port("eno1", 2)) && !names(&name, &stacked));
    }

    #[test]
    fn only_what_changes_is_left() {
        let all = [
            joined("eno1", 2, 5),
            joined("eno2", 3, 5),
            port("eno3", 4),
            made("bond0", 5),
            made("storage", 6),
        ];
        let stack = network(STACK);
        assert_eq!(leave(&stack, &stack, &all), Leave::default());
        let other_id = network(&STACK.replace("100", "200"));
        let plan = leave(&stack, &other_id, &all);
        assert_eq!((plan.links, plan.ports), (vec![made("storage", 6)], vec![]));
        let address = network(&format!("{STACK}addresses = [\"192.0.2.1/24\"]\n"));
        let plan = leave(&stack, &address, &all);
        assert_eq!((plan.links, plan.ports), (vec![], vec![made("storage", 6)]));
        let bond_address =
            network(&STACK.replace("dhcp = false", "addresses = [\"192.0.2.1/24\"]"));
        let plan = leave(&stack, &bond_address, &all);
        assert_eq!((plan.links, plan.ports), (vec![], vec![made("bond0", 5)]));
        let other_mode = network(&STACK.replace("lacp", "active-backup"));
        let plan = leave(&stack, &other_mode, &all);
        assert_eq!(plan.links, [made("storage", 6), made("bond0", 5)]);
        assert_eq!(plan.ports, [joined("eno1", 2, 5), joined("eno2", 3, 5)]);
        let plan = leave(&stack, &Network::default(), &all);
        assert_eq!((plan.links.len(), plan.ports.len()), (2, 2), "eno3 is not touched");
    }
}
