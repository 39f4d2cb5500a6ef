//! The table of services: which programs run, as whom, and in which order they start and stop.

use std::time::Duration;

use provisioning_config::Config;

use crate::launch::Launch;
use crate::supervisor::{Rules, StopOrder};
use crate::users::{AGENT, CONSOLE, ICN_GROUP, ROOT};

/// Names that other modules refer to.
pub(crate) const UDEVD: &str = "udevd";
pub(crate) const DHCPCD: &str = "dhcpcd";
pub(crate) const CHRONYD: &str = "chronyd";
const DISKS: &str = "icn-disks";
const AGENT_NAME: &str = "icn-agent";

/// How long the agent may take to bring requests to an end.
const DRAIN: Duration = Duration::from_secs(20);
/// How long icn-disks may take to end the step it is in.
const DISKS_STOP: Duration = Duration::from_secs(5);
/// How long any other service may take.
const STOP: Duration = Duration::from_secs(5);

/// Open files of the agent: a connection takes one, and an object that is read or written another.
const AGENT_FILES: u64 = 65_536;
/// Open files of the others.
const FILES: u64 = 4096;

/// How ready the kernel is to kill a service when memory runs out, from -1000 to 1000.
const KEEP: i32 = -900;
const ORDINARY: i32 = 0;
const FIRST_TO_GO: i32 = 300;

/// A service: when it runs, and how its process is made.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub rules: Rules,
    pub launch: Launch,
}

/// The services that run from the start: what finds the devices, and the console of the screen.
pub(crate) fn first() -> Vec<Service> {
    let workers = format!("--children-max={}", udev_workers());
    let udevd = service(UDEVD, "/usr/lib/systemd/systemd-udevd", &[&workers], StopOrder::Last);
    vec![udevd, console("tty1")]
}

/// How many events udevd works on at once. Its own measure, 8 and 8 more for each processor, has a
/// small machine spend a second on making processes; fewer than 4 would let two slow drivers hold
/// up all others.
fn udev_workers() -> usize {
    4 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// The services that run once devices and configuration are known.
pub(crate) fn rest(config: &Config) -> Vec<Service> {
    let dhcpcd = ["--nobackground", "--config", crate::network::DHCPCD_CONF];
    // -d: stay in the foreground and log to standard error. -L 0: no debug messages.
    let chronyd = ["-d", "-L", "0", "-f", crate::clock::CHRONY_CONF];
    let mut disks = service(DISKS, "/usr/bin/icn-disks", &["run"], StopOrder::Disks);
    disks.rules.stop_within = DISKS_STOP;
    let mut agent = service(AGENT_NAME, "/usr/bin/icn-agent", &[], StopOrder::Agent);
    agent.rules.after.push(DISKS.to_owned());
    agent.rules.stop_within = DRAIN;
    agent.launch = Launch {
        user: AGENT,
        group: AGENT,
        groups: vec![ICN_GROUP],
        open_files: AGENT_FILES,
        out_of_memory: ORDINARY,
        environment: environment("/var/lib/icn-agent", "dumb"),
        ..agent.launch
    };
    let mut services = vec![
        service(DHCPCD, "/usr/sbin/dhcpcd", &dhcpcd, StopOrder::Last),
        service(CHRONYD, "/usr/sbin/chronyd", &chronyd, StopOrder::Last),
        disks,
        agent,
    ];
    services.extend(config.console.serial.iter().map(|line| console(line)));
    services
}

/// A console on a terminal.
fn console(line: &str) -> Service {
    let name = format!("icn-console@{line}");
    let mut console = service(&name, "/usr/bin/icn-console", &[], StopOrder::First);
    let terminal = if line == "tty1" { "linux" } else { "vt220" };
    console.launch = Launch {
        user: CONSOLE,
        group: CONSOLE,
        groups: vec![ICN_GROUP],
        terminal: Some(line.to_owned()),
        out_of_memory: FIRST_TO_GO,
        environment: environment("/run/icn", terminal),
        ..console.launch
    };
    console
}

/// A service of root with the usual limits.
fn service(name: &str, program: &str, arguments: &[&str], stop_order: StopOrder) -> Service {
    let rules = Rules { name: name.to_owned(), after: Vec::new(), stop_order, stop_within: STOP };
    let launch = Launch {
        name: name.to_owned(),
        program: program.to_owned(),
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        environment: environment("/", "dumb"),
        user: ROOT,
        group: ROOT,
        groups: Vec::new(),
        terminal: None,
        open_files: FILES,
        out_of_memory: KEEP,
    };
    Service { rules, launch }
}

fn environment(home: &str, terminal: &str) -> Vec<(String, String)> {
    [("PATH", "/usr/sbin:/usr/bin"), ("HOME", home), ("TERM", terminal), ("LANG", "C.UTF-8")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Service> {
        let config = Config {
            console: provisioning_config::Console {
                serial: vec!["ttyS0".into(), "ttyS1".into()],
                ..provisioning_config::Console::default()
            },
            ..Config::default()
        };
        first().into_iter().chain(rest(&config)).collect()
    }

    #[test]
    fn every_dependency_is_in_the_table_before_its_user() {
        let mut names: Vec<String> = Vec::new();
        for service in all() {
            assert!(service.rules.after.iter().all(|name| names.contains(name)));
            assert_eq!(service.rules.name, service.launch.name);
            names.push(service.rules.name);
        }
    }

    #[test]
    fn only_known_services_run_as_root() {
        let roots: Vec<String> = all()
            .into_iter()
            .filter(|service| service.launch.user == ROOT || service.launch.group == ROOT)
            .map(|service| service.rules.name)
            .collect();
        assert_eq!(roots, ["udevd", "dhcpcd", "chronyd", "icn-disks"]);
    }

    #[test]
    fn each_terminal_has_one_console() {
        let lines: Vec<_> =
            all().into_iter().filter_map(|service| service.launch.terminal).collect();
        assert_eq!(lines, ["tty1", "ttyS0", "ttyS1"]);
    }

    #[test]
    fn the_stop_takes_less_than_the_watchdog_s_time() {
        let order = |order| {
            let within = all().into_iter().filter(|service| service.rules.stop_order == order);
            within.map(|service| service.rules.stop_within).max().unwrap_or_default()
        };
        let orders = [StopOrder::First, StopOrder::Agent, StopOrder::Disks, StopOrder::Last];
        let longest: Duration =
            orders.into_iter().map(|each| order(each) + crate::supervisor::KILL_WAIT).sum();
        let left =
            Duration::from_secs(crate::watchdog::STOP_TIMEOUT.unsigned_abs().into()) - longest;
        assert!(left > Duration::from_secs(60), "too little is left for sync and unmount");
    }
}
