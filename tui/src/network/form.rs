//! The form in which a port is set up.

use std::net::IpAddr;

use agent_api::init::SystemStatus;
use provisioning_config::{BondMode, IpNet};

use super::edit::{BondWish, SetError, Wish, base, current, names_of, set};
use crate::form::{Field, Form, Pressed, TEXT_MAX, Value};
use crate::state::Key;

/// The longest number that is typed, in characters: 9216 and 4094 have four.
const NUMBER_MAX: usize = 5;

/// What can be chosen of the set-up, in the order of the form.
const SET_UPS: [&str; 4] = ["DHCP", "static", "DHCP and static", "no address"];
const DHCP: usize = 0;
const STATIC: usize = 1;
const BOTH: usize = 2;
const NOTHING: usize = 3;

/// What can be chosen of bonds.
const BONDS: [&str; 3] = ["by itself", "LACP", "active-backup"];
const LACP: usize = 1;
const BACKUP: usize = 2;

/// The form, and the port that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkForm {
    /// The form.
    pub(crate) form: Form,
    /// What can be set up by it.
    port: String,
}

/// What comes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It stays open.
    Open,
    /// It is left.
    Left,
    /// These settings are to be tried.
    Try(String),
}

impl NetworkForm {
    /// A form that shows the first port with a link; none where nothing can be set up.
    pub(crate) fn new(system: &SystemStatus) -> Option<Self> {
        let base = base(system).ok()?;
        let names = names_of(system, &base);
        let has_link =
            |name: &&String| system.ports.iter().any(|port| port.name == **name && port.link);
        let port = names.iter().find(has_link).or(names.first())?;
        Self::of(system, port)
    }

    /// The same for a person who needs a static address.
    pub(crate) fn with_static_address(system: &SystemStatus) -> Option<Self> {
        let mut this = Self::new(system)?;
        let fields = this.form.fields.iter_mut();
        for field in fields.filter(|field| field.key == "dhcp") {
            if let Value::Choice { at, .. } = &mut field.value
                && *at == DHCP
            {
                *at = STATIC;
            }
        }
        Some(this)
    }

    fn of(system: &SystemStatus, port: &str) -> Option<Self> {
        let base = base(system).ok()?;
        let names = names_of(system, &base);
        let at = names.iter().position(|name| name == port)?;
        let wish = current(&base, port, &system.ports);
        Some(Self { form: form(names, at, &wish), port: port.to_owned() })
    }

    /// Takes in a key.
    pub(crate) fn press(&mut self, key: Key, system: &SystemStatus) -> Sent {
        match self.form.press(key) {
            Pressed::Left => return Sent::Left,
            Pressed::Sent => return self.send(system),
            Pressed::Open => {}
        }
        let chosen = self.form.text("port");
        if chosen != self.port
            && let Some(other) = Self::of(system, chosen)
        {
            *self = other;
        }
        Sent::Open
    }

    fn send(&mut self, system: &SystemStatus) -> Sent {
        self.form.clear_faults();
        let wish = self.wish();
        if self.form.faults() > 0 {
            return Sent::Open;
        }
        let next = base(system).and_then(|base| set(&base, &wish, &system.ports));
        match next {
            Ok(network) => return Sent::Try(network.to_toml()),
            Err(SetError::Mistakes(problems)) => {
                for problem in problems {
                    self.form.fault(field_of(&problem.key), problem.message);
                }
            }
            Err(error) => self.form.fault("port", error.to_string()),
        }
        Sent::Open
    }

    /// What is wanted, with the mistakes at their fields.
    fn wish(&mut self) -> Wish {
        let form = &mut self.form;
        let way = form.chosen("dhcp");
        let is_static = way == STATIC || way == BOTH;
        let addresses = if is_static { list(form, "addresses", net) } else { Vec::new() };
        if is_static && addresses.is_empty() {
            let text = "write an address with its prefix length, such as 192.0.2.10/24";
            form.fault("addresses", text.to_owned());
        }
        let gateways = if is_static { list(form, "gateways", address) } else { Vec::new() };
        let names: Vec<String> = words(form.text("ports")).map(str::to_owned).collect();
        let bond = match form.chosen("bond") {
            LACP => BondWish::With(BondMode::Lacp, names),
            BACKUP => BondWish::With(BondMode::ActiveBackup, names),
            _ => BondWish::Alone,
        };
        Wish {
            port: form.text("port").to_owned(),
            dhcp: way == DHCP || way == BOTH,
            addresses,
            gateways,
            mtu: number(form, "mtu"),
            vlan: number(form, "vlan"),
            bond,
            dns: Some(list(form, "dns", address)),
        }
    }
}

fn form(names: Vec<String>, at: usize, wish: &Wish) -> Form {
    let way = match (wish.dhcp, wish.addresses.is_empty()) {
        (true, true) => DHCP,
        (false, false) => STATIC,
        (true, false) => BOTH,
        (false, true) => NOTHING,
    };
    let choice = |options: &[&str], at: usize| Value::Choice {
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        at,
    };
    let number = |number: Option<u16>| {
        Value::text(number.map_or_else(String::new, |number| number.to_string()), NUMBER_MAX)
    };
    let (bond, ports) = match &wish.bond {
        BondWish::With(BondMode::Lacp, ports) => (LACP, ports.join(", ")),
        BondWish::With(BondMode::ActiveBackup, ports) => (BACKUP, ports.join(", ")),
        BondWish::Keep | BondWish::Alone => (0, wish.port.clone()),
    };
    let dns = wish.dns.as_deref().unwrap_or_default();
    let port = Value::Choice { options: names, at };
    let fields = vec![
        Field::new("port", "Port", "which port, bond or VLAN is set up", port),
        Field::new(
            "dhcp",
            "Set-up",
            "DHCP: from the network, IPv4 and IPv6; static: the addresses below",
            choice(&SET_UPS, way),
        ),
        Field::new(
            "addresses",
            "Addresses",
            "IPv4 and IPv6 with prefix length, such as 192.0.2.10/24, 2001:db8::10/64",
            Value::text(joined(&wish.addresses), TEXT_MAX),
        ),
        Field::new(
            "gateways",
            "Gateways",
            "one for IPv4, one for IPv6: 192.0.2.1, fe80::1",
            Value::text(joined(&wish.gateways), TEXT_MAX),
        ),
        Field::new(
            "vlan",
            "VLAN",
            "1 to 4094: all this is for that VLAN on the port; empty: no VLAN",
            number(wish.vlan),
        ),
        Field::new(
            "mtu",
            "MTU",
            "1280 to 9216 bytes; empty: as the driver has it",
            number(wish.mtu),
        ),
        Field::new(
            "bond",
            "Bond",
            "LACP: with others, as the switch is set up; active-backup: one after the other",
            choice(&BONDS, bond),
        ),
        Field::new(
            "ports",
            "Bond ports",
            "those that work as one, such as eno1, eno2",
            Value::text(ports, TEXT_MAX),
        ),
        Field::new(
            "dns",
            "DNS",
            "at most 3 name servers, asked before those of DHCP",
            Value::text(joined(dns), TEXT_MAX),
        ),
    ];
    Form::new(fields, "Try it for 120 s")
}

/// The field of a key of the configuration.
fn field_of(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("addresses") => "addresses",
        Some("gateways") => "gateways",
        Some("mtu") => "mtu",
        Some("id" | "parent") => "vlan",
        Some("ports" | "mode") => "ports",
        Some("dns") => "dns",
        Some("dhcp") => "dhcp",
        Some("port" | "name") => "port",
        _ => "",
    }
}

fn joined(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', ';']).filter(|word| !word.is_empty())
}

/// The values of a list, with the first mistake at its field.
fn list<T>(form: &mut Form, key: &'static str, read: fn(&str) -> Result<T, String>) -> Vec<T> {
    let values: Result<Vec<T>, String> = words(form.text(key)).map(read).collect();
    values.unwrap_or_else(|error| {
        form.fault(key, error);
        Vec::new()
    })
}

fn number(form: &mut Form, key: &'static str) -> Option<u16> {
    let text = form.text(key);
    if text.is_empty() {
        return None;
    }
    let number = text.parse().ok();
    if number.is_none() {
        form.fault(key, format!("{text:?} is not such a number"));
    }
    number
}

/// An address.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no address: write such as 192.0.2.1 or fe80::1"))
}

/// An address with its prefix length.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn net(text: &str) -> Result<IpNet, String> {
    let example = "write such as 192.0.2.10/24 or 2001:db8::10/64";
    let Some((front, prefix)) = text.split_once('/') else {
        return Err(format!("{text:?} has no prefix length: {example}"));
    };
    let wrong = || format!("{text:?} is no address with its prefix length: {example}");
    let address: IpAddr = front.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?;
    Ok(IpNet { address, prefix })
}

#[cfg(test)]
mod tests {
    use agent_api::init::{NetworkOrigin, NetworkState, PortStatus};
    use provisioning_config::parse_network;

    use super::*;

    fn system(text: &str) -> SystemStatus {
        let port = |name: &str, link| PortStatus {
            name: name.to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            link,
            ..PortStatus::default()
        };
        let state = NetworkState {
            origin: NetworkOrigin::Seed,
            text: text.to_owned(),
            tried: None,
            seconds_left: None,
        };
        SystemStatus {
            ports: vec![port("eno1", false), port("eno2", true)],
            network: Some(state),
            ..SystemStatus::default()
        }
    }

    fn keys(form: &mut NetworkForm, system: &SystemStatus, keys: &str) -> Sent {
        let mut last = Sent::Open;
        for letter in keys.chars() {
            last = form.press(
                match letter {
                    '\n' => Key::Enter,
                    '\t' => Key::Next,
                    '>' => Key::Right,
                    'v' => Key::PageDown,
                    '#' => Key::Erase,
                    letter => Key::Char(letter),
                },
                system,
            );
        }
        last
    }

    #[test]
    fn a_vlan_with_a_static_address_is_filled_in_by_keys() {
        let system = system("[network]\n");
        let mut form = NetworkForm::new(&system).expect("ports");
        assert_eq!(form.form.text("port"), "eno2", "the one with a link");
        let sent = keys(
            &mut form,
            &system,
            "\ns\n192.0.2.10/24 2001:db8::10/64\n192.0.2.1\n100\n\n\n\n192.0.2.53\n\n",
        );
        let Sent::Try(text) = sent else { panic!("{sent:?}: {form:?}") };
        let network = parse_network(&text).expect("settings");
        assert_eq!(network.vlans[0].id, 100);
        assert_eq!(network.vlans[0].port.addresses.len(), 2);
        assert_eq!(network.dns.len(), 1);
        assert!(!network.ports[0].dhcp);
    }

    #[test]
    fn mistakes_stand_at_their_fields_and_nothing_is_tried() {
        let system = system("[network]\n");
        for (typed, field, words) in [
            ("\ns\n192.0.2.300/24v\n", "addresses", "prefix length"),
            ("\ns\n192.0.2.10v\n", "addresses", "has no prefix length"),
            ("\ns\nv\n", "addresses", "write an address"),
            ("\ns\n192.0.2.10/33v\n", "addresses", "no address"),
            ("\ns\n192.0.2.10/24\n10.0.0.1v\n", "gateways", "in no subnet"),
            ("\n\n\n\n5000v\n", "vlan", "1 to 4094"),
            ("\n\n\n\nxv\n", "vlan", "is not such a number"),
            ("\n\n\n\n\n99v\n", "mtu", "1280 to 9216"),
            ("\n\n\n\n\n\n\n\n1.2v\n", "dns", "is no address"),
        ] {
            let mut form = NetworkForm::new(&system).expect("ports");
            assert_eq!(keys(&mut form, &system, typed), Sent::Open, "{typed:?}");
            let wrong = form.form.field().expect("a field");
            assert_eq!(wrong.key, field, "{typed:?}");
            let error = wrong.error.as_deref().unwrap_or_default();
            assert!(error.contains(words), "{typed:?}: {error}");
        }
    }

    #[test]
    fn another_port_shows_its_own_settings() {
        let system = system(
            "[network]\n[[network.port]]\nport = \"eno1\"\naddresses = [\"192.0.2.7/24\"]\nmtu = 9000\n",
        );
        let mut form = NetworkForm::new(&system).expect("ports");
        assert_eq!((form.form.text("dhcp"), form.form.text("mtu")), ("DHCP", ""));
        form.press(Key::Right, &system);
        assert_eq!((form.form.text("port"), form.form.text("dhcp")), ("eno1", "static"));
        assert_eq!((form.form.text("addresses"), form.form.text("mtu")), ("192.0.2.7/24", "9000"));
        assert_eq!(form.press(Key::Escape, &system), Sent::Left);
        assert_eq!(NetworkForm::new(&SystemStatus::default()), None);
        let unknown = SystemStatus { network: None, ..system };
        assert_eq!(NetworkForm::new(&unknown), None, "what is not known is not undone");
    }

    #[test]
    fn a_bond_with_lacp_is_made_by_keys() {
        let system = system("[network]\n");
        let mut form = NetworkForm::new(&system).expect("ports");
        let sent = keys(&mut form, &system, "\n\n\n\n\n\n>\n, eno1\n\n\n");
        let Sent::Try(text) = sent else { panic!("{sent:?}: {form:?}") };
        let network = parse_network(&text).expect("settings");
        assert_eq!(network.bonds[0].mode, BondMode::Lacp);
        assert_eq!(network.bonds[0].ports.len(), 2);
        assert!(network.bonds[0].port.dhcp);
    }
}
