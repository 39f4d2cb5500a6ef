//! From text to [`Config`] and [`Problem`]s.

mod network;
mod settlement;
mod sla;
mod support;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::section::{self, Complaints, Section};
use crate::settlement::Settlement;
use crate::sla::Sla;
use crate::value;
use crate::{
    Changes, ClaimMode, Config, Console, Disks, Health, Log, Metrics, Network, Node, PinHash,
    Problem, S3, Support, TlsFiles, User, VERSION,
};

/// Largest configuration that is read, in bytes: 256 users with long keys take a third of it.
pub const MAX_TEXT: usize = 256 * 1024;

/// Largest `[network]` section on its own, in bytes: all 64 ports with two addresses each take half of
/// it, and the node's record, where it is kept, has room for twice as much.
pub const MAX_NETWORK_TEXT: usize = 16 * 1024;

/// Most removable disks that may be claimed.
const MAX_REMOVABLE: usize = 64;
/// Most domains for virtual-host style.
const MAX_DOMAINS: usize = 16;
/// Most users of the S3 service in the file.
const MAX_USERS: usize = 256;
/// Most oracles of a network.
const MAX_ORACLES: usize = 32;
/// Most report stores: more than two keep no more.
const MAX_REPORT_STORES: usize = 8;
/// Most RPC servers: two are compared, a third would decide nothing.
const MAX_RPC: usize = 2;
/// Most serial lines with a console: what 8250 drivers offer by default.
const MAX_SERIAL_LINES: usize = 4;

/// Every section with its keys, as they stand in the file. The manual is tested against it.
pub(crate) const KEYS: [(&str, &[&str]); 17] = [
    ("node", &["name", "region", "hardware_class"]),
    ("network", &["dns", "ntp", "proxy", "no_proxy", "port", "bond", "vlan"]),
    ("network.port", &["port", "dhcp", "addresses", "gateways", "mtu"]),
    ("network.bond", &["name", "ports", "mode", "dhcp", "addresses", "gateways", "mtu"]),
    ("network.vlan", &["name", "id", "parent", "dhcp", "addresses", "gateways", "mtu"]),
    ("disks", &["claim", "min_size", "replace_after", "allow_removable"]),
    ("s3", &["listen", "region", "domains", "tls_certificate", "tls_key", "user"]),
    ("s3.user", &["name", "access_key", "secret_key"]),
    ("metrics", &["listen"]),
    (
        "sla",
        &[
            "chain",
            "contract",
            "genesis",
            "era",
            "samples",
            "report_every",
            "s3_endpoint",
            "oracle",
            "report_store",
        ],
    ),
    ("sla.oracle", &["name", "url", "address", "certificate"]),
    ("sla.report_store", &["name", "url", "certificate"]),
    (
        "settlement",
        &[
            "backend",
            "rpc",
            "hp_account",
            "registry",
            "eras",
            "claims",
            "protocol",
            "node",
            "abi",
            "pay_gas",
            "max_fee",
            "day_budget",
            "claim_every",
            "claim_at_least",
        ],
    ),
    ("health", &["drain"]),
    ("support", &["recipients"]),
    ("console", &["serial", "pin_hash"]),
    ("log", &["serial"]),
];

/// What stands at the top of the file.
const TOP: [&str; 12] = [
    "version",
    "node",
    "network",
    "disks",
    "s3",
    "metrics",
    "sla",
    "settlement",
    "health",
    "support",
    "console",
    "log",
];

const FILE_IGNORED: &str = "the whole file is ignored, defaults are used and no disk is claimed";
const NO_CLAIM: &str = "no disk is claimed";
const TIME_IGNORED: &str = "[time] is ignored and the time servers of [network] are asked";
const NETWORK_UNCHANGED: &str = "the network stays as it is";

/// Reads a configuration.
///
/// - A mistake inside a section (unknown key, bad value) discards that section: its default
///   stands in, and the mistake is reported with line and key. One in `ntp` of `[network]` costs the
///   time servers only.
/// - A mistake in `[disks]`, an unknown section, a syntax error or another `version` leaves open
///   what the writer wanted of the disks: then none is claimed ([`crate::ClaimMode::Off`]); disks
///   that are already ours stay in use. `[time]`, where time servers stood before they came to
///   `[network]`, is reported and costs nothing else.
/// - After a syntax error, or where `version` is missing or another than [`VERSION`], nothing of
///   the file is used.
#[must_use]
pub fn parse(text: &str) -> (Config, Vec<Problem>) {
    if text.len() > MAX_TEXT {
        return refuse(format!(
            "the file has {} bytes and is too large: write at most {MAX_TEXT}",
            text.len()
        ));
    }
    let mut complaints = Complaints::new(text);
    let config = match DeTable::parse(text) {
        Ok(root) if has_version(&root, &mut complaints) => read(root.get_ref(), &mut complaints),
        Ok(_) => unclaiming(),
        Err(error) => {
            not_toml(&error, &mut complaints);
            complaints.settle(0, FILE_IGNORED);
            unclaiming()
        }
    };
    (config, complaints.into_problems())
}

/// As [`parse`], for the bytes of a file: other text than UTF-8 is a problem of the whole file.
#[must_use]
pub fn parse_bytes(bytes: &[u8]) -> (Config, Vec<Problem>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(_) => refuse("the file is not UTF-8 text: save it as UTF-8".to_owned()),
    }
}

/// Reads the configuration file of a running node, as every one of its processes does. No file
/// means the defaults; a file that cannot be read is a problem, and no disk is claimed.
#[must_use]
pub fn load(path: &Path) -> (Config, Vec<Problem>) {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => parse_bytes(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Config::default(), Vec::new()),
        Err(error) => {
            refuse(format!("{} cannot be read ({error}): write the stick anew", path.display()))
        }
    }
}

/// Sections by which a file answers what the first steps on a console would ask.
const FIRST_STEPS: [&str; 5] = ["network", "disks", "sla", "s3", "console"];

/// Whether a configuration makes the first steps on a console needless, as it has one of the sections that
/// they are about; `[network]` with no more than time servers is none. A text with a mistake that leaves open which
/// sections it has was meant to answer.
#[must_use]
pub fn answers_first_steps(text: &str) -> bool {
    match DeTable::parse(text) {
        Ok(root) => FIRST_STEPS.iter().any(|name| match root.get_ref().get(*name) {
            Some(section) => *name != "network" || says_more_than_time(section.get_ref()),
            None => false,
        }),
        Err(_) => true,
    }
}

/// Whether `[network]` says more than which time servers are asked.
fn says_more_than_time(network: &DeValue<'_>) -> bool {
    let DeValue::Table(network) = network else { return true };
    network.keys().any(|key| key.get_ref() != "ntp")
}

/// Reads a `[network]` section on its own, as it is changed while a node runs.
///
/// # Errors
///
/// Every mistake; nothing stands in for a part that has one. Any other section is a mistake too.
pub fn parse_network(text: &str) -> Result<Network, Vec<Problem>> {
    let mut complaints = Complaints::new(text);
    let mut found = None;
    if text.len() > MAX_NETWORK_TEXT {
        let message = format!(
            "the text has {} bytes and is too large: write at most {MAX_NETWORK_TEXT}",
            text.len()
        );
        complaints.add(None, "network", message);
    } else {
        match DeTable::parse(text) {
            Ok(root) => found = lone_network(root.get_ref(), &mut complaints),
            Err(error) => not_toml(&error, &mut complaints),
        }
    }
    complaints.settle(0, NETWORK_UNCHANGED);
    match (complaints.into_problems(), found) {
        (problems, Some(network)) if problems.is_empty() => Ok(network),
        (problems, _) => Err(problems),
    }
}

fn lone_network<'t>(root: &DeTable<'t>, complaints: &mut Complaints<'t>) -> Option<Network> {
    for key in root.keys().filter(|key| key.get_ref() != "network") {
        let message = "only [network] can be changed here: take everything else out".to_owned();
        complaints.add(Some(key.span().start), &section::shown(key.get_ref()), message);
    }
    let Some(value) = root.get("network") else {
        complaints.add(None, "network", "the section is missing: write [network]".to_owned());
        return None;
    };
    let mut section = section::open("network", known("network"), value, complaints)?;
    network::of_change(&mut section)
}

fn not_toml(error: &toml::de::Error, complaints: &mut Complaints<'_>) {
    let message = error.message().trim().replace('\n', ", ");
    let message = format!("the text is not TOML here ({message}): correct this line");
    complaints.add(error.span().map(|span| span.start), "", message);
}

/// A problem of the whole file.
fn refuse(message: String) -> (Config, Vec<Problem>) {
    let mut complaints = Complaints::new("");
    complaints.add(None, "", message);
    complaints.settle(0, FILE_IGNORED);
    (unclaiming(), complaints.into_problems())
}

/// The defaults, except that no disk is claimed and nobody changes anything on a console.
fn unclaiming() -> Config {
    Config { disks: no_claim(), console: Console::safe(), ..Config::default() }
}

fn no_claim() -> Disks {
    Disks { claim: ClaimMode::Off, ..Disks::default() }
}

fn has_version(root: &Spanned<DeTable<'_>>, complaints: &mut Complaints<'_>) -> bool {
    let write = format!("write version = {VERSION} above the first section");
    match root.get_ref().get("version") {
        None => complaints.add(None, "version", format!("the key is missing: {write}")),
        Some(value) if section::integer(value.get_ref()) == Some(i128::from(VERSION)) => (),
        Some(value) => {
            let message = format!("this image reads version {VERSION} only: {write}");
            complaints.add(Some(value.span().start), "version", message);
        }
    }
    !complaints.settle(0, FILE_IGNORED)
}

/// Reads a file of our version section by section.
fn read<'t>(root: &DeTable<'t>, complaints: &mut Complaints<'t>) -> Config {
    let mark = complaints.mark();
    if let Some((key, _)) = root.get_key_value("time") {
        let message = "time servers stand in [network]: write ntp = [\"ntp.example.net\"] there, which drops \
                       what was confirmed at the console, or set them at the console; then remove this section";
        complaints.add(Some(key.span().start), "time", message.to_owned());
    }
    complaints.settle(mark, TIME_IGNORED);

    let mark = complaints.mark();
    let is_known = |key: &str| key == "time" || TOP.contains(&key);
    for key in root.keys().filter(|key| !is_known(key.get_ref())) {
        let message = misplaced(key.get_ref());
        complaints.add(Some(key.span().start), &section::shown(key.get_ref()), message);
    }
    let unknown = complaints.settle(mark, NO_CLAIM);

    let mut sections = Sections { root, complaints };
    let mut config = Config {
        node: sections.read("node", node),
        network: sections.read("network", network::of_file),
        disks: sections.read("disks", disks),
        s3: sections.read("s3", s3),
        metrics: Metrics::default(),
        sla: sections.read("sla", sla::sla),
        settlement: None,
        health: sections.read("health", health),
        support: sections.read("support", support::support),
        console: sections.read("console", console),
        log: Log::default(),
    };
    let service = config.s3.listen;
    config.metrics = sections.read("metrics", |section| metrics(section, service));
    let has_network = config.sla.is_some();
    config.settlement =
        sections.read("settlement", |section| settlement::settlement(section, has_network));
    let consoles = config.console.serial.clone();
    config.log = sections.read("log", |section| log(section, &consoles));
    if unknown {
        config.disks.claim = ClaimMode::Off;
    }
    config
}

/// What to say of a key at the top that is not known: where it belongs, if it has a place.
fn misplaced(key: &str) -> String {
    match KEYS.iter().find(|(_, keys)| keys.contains(&key)) {
        Some((section, _)) => format!("the key belongs below [{section}]: move it there"),
        None => section::unknown(key, &TOP),
    }
}

struct Sections<'c, 'v, 't> {
    root: &'v DeTable<'t>,
    complaints: &'c mut Complaints<'t>,
}

impl<'v, 't> Sections<'_, 'v, 't> {
    /// The section, or its safe default where it is missing or has a mistake.
    fn read<T: SafeDefault>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_, 'v, 't>) -> Option<T>,
    ) -> T {
        let Some(value) = self.root.get(name) else { return T::default() };
        let mark = self.complaints.mark();
        let found = section::open(name, known(name), value, self.complaints)
            .and_then(|mut section| read(&mut section));
        if self.complaints.settle(mark, T::CONSEQUENCE) {
            return T::safe();
        }
        found.unwrap_or_else(T::safe)
    }
}

/// What stands in for a section with a mistake.
trait SafeDefault: Default {
    const CONSEQUENCE: &'static str;

    fn safe() -> Self {
        Self::default()
    }
}

impl SafeDefault for Node {
    const CONSEQUENCE: &'static str = "[node] is ignored and the node keeps its default name";
}
impl SafeDefault for Network {
    const CONSEQUENCE: &'static str = "[network] is ignored and every port uses DHCP";
}
impl SafeDefault for Disks {
    const CONSEQUENCE: &'static str = "[disks] is ignored and no disk is claimed";

    fn safe() -> Self {
        no_claim()
    }
}
impl SafeDefault for S3 {
    const CONSEQUENCE: &'static str = "[s3] is ignored: the service uses its default address, its \
                                       own certificate and the node's own user";
}
impl SafeDefault for Metrics {
    const CONSEQUENCE: &'static str = "[metrics] is ignored and only the node itself can read them";
}
impl SafeDefault for Option<Sla> {
    const CONSEQUENCE: &'static str = "[sla] is ignored and no oracle is spoken with: the node earns \
                                       nothing";
}
impl SafeDefault for Option<Settlement> {
    const CONSEQUENCE: &'static str = "[settlement] is ignored: the chain is not read, nothing is claimed, \
                                       and the node goes by its own id";
}
impl SafeDefault for Health {
    const CONSEQUENCE: &'static str = "[health] is ignored and no disk is emptied by itself";

    fn safe() -> Self {
        Self { drain: false }
    }
}
impl SafeDefault for Support {
    const CONSEQUENCE: &'static str = "[support] is ignored and no support bundle is written";
}
impl SafeDefault for Console {
    const CONSEQUENCE: &'static str = "[console] is ignored: the consoles are tty1 and ttyS0, and nobody can change anything there";

    fn safe() -> Self {
        Self { changes: Changes::Nobody, ..Self::default() }
    }
}
impl SafeDefault for Log {
    const CONSEQUENCE: &'static str = "[log] is ignored and no serial line gets the log";
}

fn known(name: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(section, _)| *section == name).map_or(&[], |(_, keys)| *keys)
}

fn node(section: &mut Section<'_, '_, '_>) -> Option<Node> {
    Some(Node {
        name: section.text("name", value::node_name),
        region: section.text("region", value::place),
        hardware_class: section.text("hardware_class", value::machine_class),
    })
}

fn disks(section: &mut Section<'_, '_, '_>) -> Option<Disks> {
    let default = Disks::default();
    let claim = section.text("claim", value::claim_mode);
    let min_size = section.amount("min_size", value::size);
    let bounds = value::MIN_MIN_SIZE..=value::MAX_MIN_SIZE;
    if min_size.is_some_and(|size| !bounds.contains(&size)) {
        section.fault("min_size", "write a size from \"1GB\" to \"1000TB\"".to_owned());
    }
    let replace_after = section.text("replace_after", value::duration);
    let bounds = value::MIN_REPLACE_AFTER..=value::MAX_REPLACE_AFTER;
    if replace_after.is_some_and(|duration| !bounds.contains(&duration)) {
        section.fault("replace_after", "write a time from \"10s\" to \"7d\"".to_owned());
    }
    let allow = section.texts("allow_removable", MAX_REMOVABLE, value::serial_number);
    Some(Disks {
        claim: claim.unwrap_or(default.claim),
        min_size: min_size.unwrap_or(default.min_size),
        replace_after: replace_after.unwrap_or(default.replace_after),
        allow_removable: allow.unwrap_or_default(),
    })
}

fn s3(section: &mut Section<'_, '_, '_>) -> Option<S3> {
    let default = S3::default();
    let mut seen: Vec<User> = Vec::new();
    let users = section.tables("user", "s3.user", known("s3.user"), MAX_USERS, |section| {
        let user = user(section)?;
        if seen.iter().any(|other| other.access_key == user.access_key) {
            section.fault("access_key", "another user has it too: give each its own".to_owned());
        }
        if seen.iter().any(|other| other.name == user.name) {
            section.fault("name", "another user has it too: give each its own".to_owned());
        }
        seen.push(user.clone());
        Some(user)
    });
    Some(S3 {
        listen: section.text("listen", value::listen).unwrap_or(default.listen),
        region: section.text("region", value::region).unwrap_or(default.region),
        domains: section.texts("domains", MAX_DOMAINS, value::domain).unwrap_or_default(),
        tls: tls(section),
        users,
    })
}

fn tls(section: &mut Section<'_, '_, '_>) -> Option<TlsFiles> {
    let certificate = section.text("tls_certificate", value::seed_file);
    let key = section.text("tls_key", value::seed_file);
    match (section.has("tls_certificate"), section.has("tls_key")) {
        (true, false) => section
            .fault("tls_certificate", "its key is missing: add tls_key, or remove both".to_owned()),
        (false, true) => section.fault(
            "tls_key",
            "its certificate is missing: add tls_certificate, or remove both".to_owned(),
        ),
        _ => (),
    }
    Some(TlsFiles { certificate: certificate?, key: key? })
}

fn user(section: &mut Section<'_, '_, '_>) -> Option<User> {
    let name = section.required("name", value::user_name);
    let access_key = section.required("access_key", value::access_key);
    let secret_key = section.required("secret_key", value::secret_key);
    Some(User { name: name?, access_key: access_key?, secret_key: secret_key? })
}

fn metrics(section: &mut Section<'_, '_, '_>, service: SocketAddr) -> Option<Metrics> {
    let listen = section.text("listen", value::metrics_listen);
    let port = listen.flatten().map(|listen| listen.port());
    if port == Some(service.port()) {
        let message = format!("port {} is that of [s3]: write another port", service.port());
        section.fault("listen", message);
    }
    Some(listen.map_or_else(Metrics::default, |listen| Metrics { listen }))
}

fn health(section: &mut Section<'_, '_, '_>) -> Option<Health> {
    let drain = section.flag("drain");
    Some(drain.map_or_else(Health::default, |drain| Health { drain }))
}

fn console(section: &mut Section<'_, '_, '_>) -> Option<Console> {
    let serial = section.texts("serial", MAX_SERIAL_LINES, value::serial_line);
    let changes = section.text("pin_hash", PinHash::parse).map_or(Changes::Anybody, Changes::Pin);
    Some(Console { serial: serial.unwrap_or_else(|| Console::default().serial), changes })
}

fn log(section: &mut Section<'_, '_, '_>, consoles: &[String]) -> Option<Log> {
    let serial = section.text("serial", value::serial_line);
    if let Some(line) = serial.as_ref().filter(|line| consoles.contains(line)) {
        let message = format!(
            "{line} carries a console: write another line, or take it out of [console] serial"
        );
        section.fault("serial", message);
    }
    Some(Log { serial })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod console_tests;

#[cfg(test)]
mod network_tests;
