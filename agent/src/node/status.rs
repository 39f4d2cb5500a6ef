//! From everything the agent knows to the status that the console shows. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use agent_api::hardware::Component;
use agent_api::init::{ServiceState, SystemStatus};
use agent_api::settlement::SettlementStatus;
use agent_api::sla::{Link, SlaStatus};
use agent_api::status::{
    Capacity, ConsoleChanges, Credentials, DiskSlot, NodeState, NodeStatus, Problem, S3State,
    S3Status, Severity, StateWord, TlsStatus, VolumeState, VolumeUse,
};
use agent_health::{ClockConcern, ClockReading, Health, Kind, MemoryReading, assess_clock};
use agent_object_store::Usage;
use disk_manager_plan::report::{Bytes, DiskReport, DiskStatus, Ownership, VolumePhase};

use super::heard::Heard;
use super::settlement;
use super::volumes::Failures;

/// How long the agent may wait for disks and services before their absence is called a problem:
/// disks spin up one after the other, and icn-disks reads samples of each.
const STARTING: Duration = Duration::from_secs(30);

/// How long ports may be without an address before a word is said: DHCP behind a switch with
/// spanning tree takes up to a minute.
const ADDRESS_TAKES: Duration = Duration::from_secs(60);

/// Most components that are told one by one among the problems: a screen of the console.
const HARDWARE_MAX: usize = 24;

/// Everything the agent knows at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    /// Since the machine was started.
    pub(crate) uptime: Duration,
    /// Since the agent was started.
    pub(crate) running: Duration,
    pub(crate) since_1970: Duration,
    pub(crate) stopping: bool,
    pub(crate) system: Heard<SystemStatus>,
    pub(crate) disks: Heard<DiskReport>,
    pub(crate) usage: Usage,
    /// Why the store is not open, in words.
    pub(crate) store_awaited: Option<String>,
    pub(crate) attach_failures: Failures,
    pub(crate) s3: S3State,
    /// What is wrong with the configuration of the service.
    pub(crate) s3_problem: Option<String>,
    pub(crate) tls: TlsStatus,
    pub(crate) tls_problem: Option<String>,
    pub(crate) credentials: Credentials,
    /// The node's address on chain.
    pub(crate) daemon: Option<String>,
    /// None where the configuration names no network.
    pub(crate) sla: Option<SlaStatus>,
    /// None where the configuration does not look at the chain.
    pub(crate) settlement: Option<SettlementStatus>,
    /// Trouble with copies of the node's own state.
    pub(crate) state_problems: Vec<String>,
    /// Why settings of the network that are kept are not in effect.
    pub(crate) network_problem: Option<String>,
    /// Whether any are kept.
    pub(crate) network_kept: bool,
    pub(crate) clock: ClockReading,
    pub(crate) memory: MemoryReading,
    /// Verdicts on the hardware, the gravest first.
    pub(crate) components: Vec<Component>,
    /// Where disks are.
    pub(crate) slots: Vec<DiskSlot>,
    /// Who may change something on a console.
    pub(crate) console: ConsoleChanges,
    /// Whether the first steps are done or needless.
    pub(crate) set_up: bool,
    /// Where the node stands, as node.toml says.
    pub(crate) region: Option<String>,
    /// Its class of hardware, as node.toml says.
    pub(crate) hardware_class: Option<String>,
    /// How many keys can open a support bundle.
    pub(crate) support_recipients: u32,
}

/// Composes the status.
pub(crate) fn compose(facts: Facts) -> NodeStatus {
    let volumes = volumes(&facts);
    let mut problems = problems(&facts, &volumes);
    // Worst first; else in the order in which they were found.
    problems.sort_by_key(|problem| problem.severity);
    let state = state(&facts, &volumes, &problems);
    let capacity = facts.usage.capacity_bytes();
    let used = capacity.saturating_sub(facts.usage.free_bytes());
    NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node_id: facts.disks.latest.as_ref().and_then(|report| report.node_id.clone()),
        name: facts.name,
        state,
        uptime_seconds: facts.uptime.as_secs(),
        capacity: (capacity > 0).then_some(Capacity { total: Bytes(capacity), used: Bytes(used) }),
        volumes,
        slots: facts.slots,
        s3: S3Status {
            state: facts.s3,
            endpoints: endpoints(facts.listen, facts.system.latest.as_ref()),
            tls: Some(facts.tls),
            credentials: facts.credentials,
        },
        daemon: facts.daemon,
        sla: facts.sla,
        settlement: facts.settlement.as_ref().map(SettlementStatus::summary),
        clock: facts.clock,
        memory: facts.memory,
        console: facts.console,
        set_up: facts.set_up,
        region: facts.region,
        hardware_class: facts.hardware_class,
        support_recipients: facts.support_recipients,
        network_kept: facts.network_kept,
        problems,
        system: facts.system.latest.filter(|_| facts.system.silent.is_none()),
        disks: facts.disks.latest,
    }
}

fn volumes(facts: &Facts) -> Vec<VolumeUse> {
    use agent_object_store::VolumeState as Engine;
    let mut volumes: Vec<_> = facts
        .usage
        .volumes
        .iter()
        .filter_map(|volume| {
            let state = match &volume.state {
                Engine::Attaching => VolumeState::Attaching,
                Engine::Attached => VolumeState::Attached,
                Engine::Retiring => VolumeState::Retiring,
                Engine::Retired => VolumeState::Retired,
                Engine::Fenced { reason } => VolumeState::Failed { reason: reason.clone() },
                Engine::Missing => return None,
            };
            Some(VolumeUse { id: volume.id.as_str().to_owned(), state })
        })
        .collect();
    for (id, reason) in &facts.attach_failures {
        if !volumes.iter().any(|volume| volume.id == *id) {
            let state = VolumeState::Failed { reason: reason.clone() };
            volumes.push(VolumeUse { id: id.clone(), state });
        }
    }
    volumes
}

fn state(facts: &Facts, volumes: &[VolumeUse], problems: &[Problem]) -> NodeState {
    let disks = Disks::count(facts, volumes);
    let (word, why) = if facts.stopping {
        (StateWord::Stopping, "finishing the requests under way".to_owned())
    } else if let S3State::NotListening { reason } = &facts.s3 {
        (StateWord::Unavailable, reason.clone())
    } else if facts.s3 == S3State::Starting {
        (StateWord::Starting, "the S3 service starts".to_owned())
    } else if disks.attached == 0 && (facts.running < STARTING || disks.coming > 0) {
        let stuck = disks.lost() > 0 && facts.running >= STARTING;
        let word = if stuck { StateWord::Unavailable } else { StateWord::Starting };
        let why = facts.store_awaited.clone();
        (word, why.unwrap_or_else(|| "waiting for the first disk".to_owned()))
    } else if disks.attached == 0 {
        (StateWord::Unavailable, no_disk(facts, &disks))
    } else if let Credentials::Awaited { reason } = &facts.credentials {
        (StateWord::Unavailable, format!("nobody can sign in: {reason}"))
    } else if disks.lost() > 0 {
        let why = match disks.attached {
            // Nothing is acknowledged that is on one of several only.
            1 => "nothing can be written until another one is back",
            _ => "with less redundancy until the others are back",
        };
        (StateWord::Degraded, format!("{}; {why}", disks.serving()))
    } else if disks.coming > 0 {
        (StateWord::Starting, format!("{}; the others are being read in", disks.serving()))
    } else {
        match problems.iter().find(|problem| problem.severity == Severity::Error) {
            Some(problem) => (
                StateWord::Degraded,
                format!("serves objects, but {}: {}", problem.about, problem.text),
            ),
            None => (StateWord::Ready, format!("serves objects from {}", all(disks.attached))),
        }
    };
    NodeState { word, why }
}

/// Disks of this node that hold objects, and those that do not matter.
#[derive(Debug)]
struct Disks {
    /// Ours, without those just being claimed, and with those that are missing.
    members: usize,
    /// In use.
    attached: usize,
    /// On the way into use.
    coming: usize,
    /// With other content.
    foreign: usize,
}

impl Disks {
    fn count(facts: &Facts, volumes: &[VolumeUse]) -> Self {
        let in_state = |state| volumes.iter().filter(|volume| volume.state == state).count();
        let report = facts.disks.latest.as_ref();
        let disks = report.map(|report| report.disks.as_slice()).unwrap_or_default();
        let ours = disks.iter().filter(|disk| disk.ownership == Ownership::Ours);
        let claiming = |disk: &&DiskStatus| {
            disk.volume.as_ref().is_some_and(|volume| volume.phase == VolumePhase::Claiming)
        };
        let fresh = |disk: &&DiskStatus| {
            let Some(volume) = &disk.volume else { return false };
            let mounted = matches!(volume.phase, VolumePhase::Mounted { .. });
            mounted && !volumes.iter().any(|used| used.id == volume.id)
        };
        let missing = report.map_or(0, |report| report.missing.len());
        Self {
            members: (ours.clone().filter(|disk| !claiming(disk)).count() + missing)
                .saturating_sub(in_state(VolumeState::Retired)),
            attached: in_state(VolumeState::Attached) + in_state(VolumeState::Retiring),
            coming: in_state(VolumeState::Attaching) + ours.filter(fresh).count(),
            foreign: disks.iter().filter(|disk| disk.ownership == Ownership::Foreign).count(),
        }
    }

    fn lost(&self) -> usize {
        self.members.saturating_sub(self.attached + self.coming)
    }

    fn serving(&self) -> String {
        format!("serves objects from {} of {} disks of this node", self.attached, self.members)
    }
}

fn all(disks: usize) -> String {
    match disks {
        1 => "the one disk of this node".to_owned(),
        more => format!("all {more} disks of this node"),
    }
}

fn no_disk(facts: &Facts, disks: &Disks) -> String {
    if facts.disks.latest.is_none() {
        return "icn-disks has not reported".to_owned();
    }
    match (disks.members, disks.foreign) {
        (0, 0) => "no disk to keep objects on: plug in a blank one".to_owned(),
        (0, foreign) => format!(
            "no disk to keep objects on: plug in a blank one; {foreign} with other content will \
             not be touched"
        ),
        _ => "none of the disks of this node can be used now".to_owned(),
    }
}

/// URLs that reach the service, one per address.
pub(crate) fn endpoints(listen: SocketAddr, system: Option<&SystemStatus>) -> Vec<String> {
    let port = match listen.port() {
        443 => String::new(),
        other => format!(":{other}"),
    };
    let url = |address: IpAddr| match address {
        IpAddr::V4(address) => format!("https://{address}{port}"),
        IpAddr::V6(address) => format!("https://[{address}]{port}"),
    };
    if !listen.ip().is_unspecified() {
        return vec![url(listen.ip())];
    }
    addresses(system)
        // An unspecified IPv6 address listens on IPv4 too, but not the other way round.
        .filter(|address| listen.is_ipv6() || address.is_ipv4())
        .map(url)
        .collect()
}

/// Addresses that another machine can reach, of ports with a link.
fn addresses(system: Option<&SystemStatus>) -> impl Iterator<Item = IpAddr> {
    let ports = system.into_iter().flat_map(|system| &system.ports).filter(|port| port.link);
    ports.flat_map(|port| &port.addresses).filter_map(|address| {
        let (address, _prefix) = address.split_once('/').unwrap_or((address, ""));
        let address: IpAddr = address.parse().ok()?;
        let local = match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
            IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
        };
        (!local).then_some(address)
    })
}

/// Collects problems.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn error(&mut self, about: &str, text: impl Into<String>) {
        self.add(Severity::Error, about, text.into());
    }

    fn warning(&mut self, about: &str, text: impl Into<String>) {
        self.add(Severity::Warning, about, text.into());
    }

    fn add(&mut self, severity: Severity, about: &str, text: String) {
        self.0.push(Problem { severity, about: about.to_owned(), text });
    }
}

fn problems(facts: &Facts, volumes: &[VolumeUse]) -> Vec<Problem> {
    let mut problems = Problems::default();
    if let S3State::NotListening { reason } = &facts.s3 {
        problems.error("s3", reason);
    }
    if let Some(why) = &facts.s3_problem {
        problems.error("s3", why);
    }
    // First of the warnings: a wrong configuration explains most of what follows.
    system_problems(&mut problems, facts);
    disk_problems(&mut problems, facts, volumes);
    if let Some(why) = &facts.tls_problem {
        problems.warning("tls", why);
    }
    // Without a disk that is the problem; users come with the first one.
    if let Credentials::Awaited { reason } = &facts.credentials
        && volumes.iter().any(|volume| volume.state == VolumeState::Attached)
        && facts.running >= STARTING
    {
        problems.error("users", format!("nobody can sign in: {reason}"));
    }
    for why in &facts.state_problems {
        problems.warning("users", format!("certificate and first user: {why}"));
    }
    if let Some(why) = &facts.network_problem {
        problems.warning("network", why);
    }
    sla_problems(&mut problems, facts);
    if let Some(status) = facts.settlement.as_ref().filter(|_| facts.running >= STARTING) {
        for (severity, text) in settlement::problems(status) {
            problems.add(severity, "settlement", text);
        }
    }
    hardware_problems(&mut problems, facts);
    clock_problem(&mut problems, facts);
    problems.0
}

fn system_problems(problems: &mut Problems, facts: &Facts) {
    if let Some(reason) = &facts.system.silent
        && facts.running >= STARTING
    {
        problems.warning("init", format!("does not answer: {reason}"));
    }
    let Some(system) = &facts.system.latest else { return };
    for problem in &system.problems {
        problems.warning("setup", problem);
    }
    for service in &system.services {
        let state = match service.state {
            ServiceState::Running | ServiceState::Waiting => continue,
            ServiceState::BackingOff => "failed and is started again soon",
            ServiceState::Stopped => "is stopped",
        };
        let exit = match service.last_exit.as_str() {
            "" => String::new(),
            exit => format!(" ({exit})"),
        };
        problems.warning(&service.name, format!("{state}{exit}"));
    }
    if facts.uptime >= ADDRESS_TAKES && addresses(Some(system)).next().is_none() {
        let text = if system.ports.iter().any(|port| port.link) {
            "no port has an address: check the DHCP server, or set one in node.toml"
        } else {
            "no port has a link: check the cables"
        };
        problems.error("network", text);
    }
}

fn disk_problems(problems: &mut Problems, facts: &Facts, volumes: &[VolumeUse]) {
    if let Some(reason) = &facts.disks.silent
        && facts.running >= STARTING
    {
        problems.error("disks", format!("icn-disks does not answer: {reason}"));
    }
    let Some(report) = &facts.disks.latest else { return };
    if !report.missing.is_empty() {
        let ids: Vec<_> = report.missing.iter().map(|id| id.0.as_str()).collect();
        let text = match ids.as_slice() {
            [one] => format!("a disk of this node is missing: {one}; plug it in again"),
            more => format!(
                "{} disks of this node are missing: {}; plug them in again",
                more.len(),
                more.join(", ")
            ),
        };
        problems.error("disks", text);
    }
    for disk in &report.disks {
        if let Some(text) = disk_problem(disk, volumes) {
            let ours = disk.ownership == Ownership::Ours;
            let severity = if ours { Severity::Error } else { Severity::Warning };
            problems.add(severity, "disks", format!("{} {text}", called(disk)));
        }
    }
    for problem in &report.problems {
        problems.warning("disks", problem);
    }
}

fn disk_problem(disk: &DiskStatus, volumes: &[VolumeUse]) -> Option<String> {
    if disk.ownership == Ownership::Failing {
        return Some(format!("is failing: {}", disk.reasons.join("; ")));
    }
    let volume = disk.volume.as_ref().filter(|_| disk.ownership == Ownership::Ours)?;
    match &volume.phase {
        VolumePhase::Unavailable { reason } => Some(format!("cannot be used: {reason}")),
        VolumePhase::Claiming => None,
        VolumePhase::Mounted { .. } => {
            let used = volumes.iter().find(|used| used.id == volume.id)?;
            match &used.state {
                VolumeState::Failed { reason } => Some(format!("cannot be used: {reason}")),
                VolumeState::Attaching
                | VolumeState::Attached
                | VolumeState::Retiring
                | VolumeState::Retired => None,
            }
        }
    }
}

fn called(disk: &DiskStatus) -> String {
    let name = disk.device.file_name().unwrap_or(disk.device.as_os_str()).to_string_lossy();
    match disk.serial.as_str() {
        "" => name.into_owned(),
        serial => format!("{name} (serial {serial})"),
    }
}

fn sla_problems(problems: &mut Problems, facts: &Facts) {
    let Some(sla) = facts.sla.as_ref().filter(|_| facts.running >= STARTING) else { return };
    if let Some(why) = &sla.awaited {
        problems.warning("oracles", why);
    }
    if let Some(why) = &sla.clock {
        problems.warning("clock", why);
    }
    for peer in &sla.peers {
        let text = format!("{}: {}", peer.name, peer.words);
        match peer.link {
            Link::Connecting | Link::InSession => {}
            // The era does not count while that is so.
            Link::Conflict => problems.error("oracles", text),
            Link::NotAdmitted
            | Link::OtherParameters
            | Link::Unreachable
            | Link::WrongCertificate
            | Link::ClockSkew => problems.warning("oracles", text),
        }
        if let Some(receipt) = peer.receipt.as_ref().filter(|receipt| !receipt.passed) {
            let why = receipt.reasons.first().map_or("no reason was given", String::as_str);
            let text = format!("{}: era {} was not passed: {why}", peer.name, receipt.era);
            problems.warning("oracles", text);
        }
    }
}

/// What of the hardware deserves attention. The clock is told elsewhere.
fn hardware_problems(problems: &mut Problems, facts: &Facts) {
    let deserves =
        |one: &&Component| one.verdict.health >= Health::Warning && one.verdict.kind != Kind::Clock;
    let mut told = facts.components.iter().filter(deserves);
    for Component { verdict, .. } in told.by_ref().take(HARDWARE_MAX) {
        let is_spare = verdict.kind == Kind::Disk && !is_ours(facts, &verdict.name);
        let severity = match verdict.health {
            Health::Failing if !is_spare => Severity::Error,
            _ => Severity::Warning,
        };
        let name = match disk_of(facts, &verdict.name).filter(|_| verdict.kind == Kind::Disk) {
            Some(disk) => called(disk),
            None => verdict.name.clone(),
        };
        let text = format!("{name} is {}: {}", verdict.health, verdict.evidence.join("; "));
        problems.add(severity, &verdict.kind.to_string(), text);
    }
    let more = told.count();
    if more > 0 {
        let text = format!("{more} more components deserve attention; see `icn-agent health`");
        problems.warning("hardware", text);
    }
}

fn disk_of<'a>(facts: &'a Facts, id: &str) -> Option<&'a DiskStatus> {
    let report = facts.disks.latest.as_ref()?;
    report.disks.iter().find(|disk| disk.id.as_ref().is_some_and(|known| known.0 == id))
}

fn is_ours(facts: &Facts, id: &str) -> bool {
    disk_of(facts, id).is_some_and(|disk| disk.ownership == Ownership::Ours)
}

fn clock_problem(problems: &mut Problems, facts: &Facts) {
    const REFUSED: &str = "S3 clients whose clock differs by more than 15 minutes are refused";
    match assess_clock(&facts.clock, facts.since_1970, facts.uptime) {
        None => {}
        Some(ClockConcern::InThePast) => problems.error(
            "clock",
            format!("shows a time long past; {REFUSED}: give a time server it can reach"),
        ),
        Some(ClockConcern::NotSynchronised) => problems.warning(
            "clock",
            format!("not synchronised; {REFUSED}: give a time server it can reach"),
        ),
        Some(ClockConcern::Skewed { by_ms }) => problems.warning(
            "clock",
            format!("likely to be off by {by_ms} ms; {REFUSED}: check the time servers"),
        ),
        Some(ClockConcern::Unknown { reason }) => {
            problems.warning("clock", format!("its state is unknown: {reason}"));
        }
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
