//! The form in which a port is set up.

use std::net::IpAddr;

use agent_api::init::SystemStatus;
use provisioning_config::{BondMode, Direct, IpNet, Network, Proxy, parse_network};

use super::edit::{
    BondWish, NtpWish, SetError, Shared, Through, Wish, base, current, names_of, set,
};
use crate::form::{Field, Form, Pressed, TEXT_MAX, Value};
use crate::state::Key;

/// The longest number that is typed, in characters: 9216 and 4094 have four.
const NUMBER_MAX: usize = 5;

/// The longest list of time servers, in characters: eight names of 253 (RFC 1035, 2.3.4) with their ports and
/// what stands between them.
const NTP_MAX: usize = 8 * (253 + ":65535".len() + ", ".len());

/// The longest list of what is reached without the proxy, in characters: 64 names of 253.
const DIRECT_MAX: usize = 64 * (253 + ", ".len());

/// What stands for no time server at all.
const NTP_NONE: &str = "none";

/// What stands for the time servers that are asked without a setting.
const NTP_DEFAULT: &str = "default";

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
            shared: Shared {
                dns: Some(list(form, "dns", address)),
                ntp: ntp(form),
                through: Some(through(form)),
            },
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
    let dns = wish.shared.dns.as_deref().unwrap_or_default();
    let through = wish.shared.through.clone().unwrap_or_default();
    let ntp = match &wish.shared.ntp {
        NtpWish::These(servers) if servers.is_empty() => NTP_NONE.to_owned(),
        NtpWish::These(servers) => joined(servers),
        NtpWish::Default | NtpWish::Keep => String::new(),
    };
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
            "proxy",
            "Proxy",
            "for oracles and RPC servers, such as http://192.0.2.3:3128; empty: none",
            Value::text(
                through.proxy.as_ref().map_or_else(String::new, Proxy::to_string),
                TEXT_MAX,
            ),
        ),
        Field::new(
            "direct",
            "Around it",
            "what is reached without the proxy: names and networks, example.net, 10.0.0.0/8",
            Value::text(joined(&through.direct), DIRECT_MAX),
        ),
        Field::new(
            "dns",
            "DNS",
            "at most 3 name servers, asked before those of DHCP",
            Value::text(joined(dns), TEXT_MAX),
        ),
        Field::new(
            "ntp",
            "NTP",
            "time servers, such as ntp.example.net; none: ask none; empty: DHCP's, Debian's",
            Value::text(ntp, NTP_MAX),
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
        Some("ntp") => "ntp",
        Some("proxy") => "proxy",
        Some("no_proxy") => "direct",
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

/// The time servers, with the first mistake at their field.
fn ntp(form: &mut Form) -> NtpWish {
    let words: Vec<&str> = words(form.text("ntp")).collect();
    time_servers(&words).unwrap_or_else(|error| {
        form.fault("ntp", error);
        NtpWish::Keep
    })
}

/// The proxy and what goes around it, with mistakes at their fields.
fn through(form: &mut Form) -> Through {
    let text = form.text("proxy").to_owned();
    let proxy = match text.as_str() {
        "" => None,
        text => proxy(text).map_err(|error| form.fault("proxy", error)).ok(),
    };
    Through { proxy, direct: list(form, "direct", direct) }
}

/// Time servers, or a word for none or for those without a setting, which no word means too.
///
/// # Errors
/// What is wrong with the first that is wrong, in words.
pub(crate) fn time_servers(words: &[&str]) -> Result<NtpWish, String> {
    match words {
        [] | [NTP_DEFAULT] => return Ok(NtpWish::Default),
        [NTP_NONE] => return Ok(NtpWish::These(Vec::new())),
        _ => {}
    }
    if let Some(word) = words.iter().find(|word| [NTP_DEFAULT, NTP_NONE].contains(word)) {
        return Err(format!("{word} stands alone: take it out, or the time servers"));
    }
    let servers: Result<_, String> = words.iter().map(|word| time_server(word)).collect();
    servers.map(NtpWish::These)
}

fn time_server(text: &str) -> Result<String, String> {
    of_key("ntp", &format!("[\"{}\"]", bare(text)?)).map(|_| text.to_owned())
}

/// A proxy.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn proxy(text: &str) -> Result<Proxy, String> {
    let network = of_key("proxy", &format!("\"{}\"", bare(text)?))?;
    network.proxy.ok_or_else(|| "write such as http://192.0.2.3:3128".to_owned())
}

/// What is reached without the proxy.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn direct(text: &str) -> Result<Direct, String> {
    let network = of_key("no_proxy", &format!("[\"{}\"]", bare(text)?))?;
    let first = network.no_proxy.into_iter().next();
    first.ok_or_else(|| "write such as example.net or 10.0.0.0/8".to_owned())
}

/// A text that stands between quotes as it is.
fn bare(text: &str) -> Result<&str, String> {
    match text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        true => Err(format!("{text:?} has characters that no name or address has")),
        false => Ok(text),
    }
}

/// Settings with one key alone, read by the parser of node.toml.
fn of_key(key: &str, value: &str) -> Result<Network, String> {
    parse_network(&format!("[network]\n{key} = {value}\n")).map_err(|problems| {
        let first = problems.into_iter().next();
        first.map_or_else(|| format!("{value} is not understood"), |problem| problem.message)
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
#[path = "form_tests.rs"]
mod tests;
