//! Processors: slowed down by heat, and the energy they take.
//!
//! Source: /sys/devices/system/cpu/cpu*/thermal_throttle (Documentation/ABI/testing/
//! sysfs-devices-system-cpu; Intel only) and /sys/class/powercap (RAPL). Since the attack "Platypus"
//! (CVE-2020-8694) only root may read energy on most kernels: then it is absent.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample, number};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

const HOUR: Duration = Duration::from_secs(3600);

/// Seconds in an hour for which a processor may be slowed down without a word: one in a hundred. Short
/// moments when many cores wake up are usual and cost nothing.
const SLOWED_SECONDS: f64 = 36.0;

/// The same where the kernel tells only how often: before 5.6 it told no times.
const SLOWED_TIMES: f64 = 100.0;

const SLOWED: Family = Family::counter(
    "processor_throttled_seconds",
    "How long a processor was slowed down by heat, as far as the kernel tells",
);
const SLOWED_COUNT: Family =
    Family::counter("processor_throttles", "How often a processor was slowed down by heat");
const ENERGY: Family =
    Family::counter("processor_energy_joules", "Energy that a part of a processor took");

/// What is told of processors.
pub(crate) const FAMILIES: &[Family] = &[SLOWED, SLOWED_COUNT, ENERGY];

/// The processors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processors {
    /// By the number of their socket.
    pub sockets: BTreeMap<u32, Slowed>,
    /// Joules by part, such as `package-0`, since the counter began anew.
    pub energy_joules: BTreeMap<String, f64>,
}

/// How often a processor was slowed down by heat since the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slowed {
    /// How often: the most of the package and of its cores.
    pub times: u64,
    /// How long, in milliseconds: the same; none where the kernel does not tell.
    pub time_ms: Option<u64>,
}

/// Reads the processors below `sys`, which is `/sys` but for tests.
#[must_use]
pub fn read_processors(sys: &Path) -> Reading<Processors> {
    Reading::of(read(sys))
}

fn read(sys: &Path) -> Result<Option<Processors>, String> {
    let mut all = Processors::default();
    let root = sysfs::below(sys, &["devices", "system", "cpu"]);
    for name in sysfs::entries(&root)?.unwrap_or_default() {
        if sysfs::numbered(&name, "cpu").is_none() {
            continue;
        }
        let folder = root.join(&name);
        let throttle = folder.join("thermal_throttle");
        let value = |name: &str| sysfs::value::<u64>(&throttle.join(name));
        let Some(times) = value("package_throttle_count").max(value("core_throttle_count")) else {
            continue;
        };
        let time_ms =
            value("package_throttle_total_time_ms").max(value("core_throttle_total_time_ms"));
        let socket = sysfs::value(&folder.join("topology/physical_package_id")).unwrap_or(0);
        let slowed: &mut Slowed = all.sockets.entry(socket).or_default();
        slowed.times = slowed.times.max(times);
        slowed.time_ms = slowed.time_ms.max(time_ms);
    }
    let root = sysfs::below(sys, &["class", "powercap"]);
    for zone in sysfs::entries(&root)?.unwrap_or_default() {
        let folder = root.join(&zone);
        let name = sysfs::word(&folder.join("name"));
        let microjoules = sysfs::value::<u64>(&folder.join("energy_uj"));
        let Some((name, microjoules)) = name.zip(microjoules) else { continue };
        // Parts of packages are called alike: `core` of both.
        let name = if zone.matches(':').count() > 1 { format!("{name} {zone}") } else { name };
        all.energy_joules.insert(name, number(microjoules) / 1e6);
    }
    Ok((!all.sockets.is_empty() || !all.energy_joules.is_empty()).then_some(all))
}

fn labels(socket: u32) -> Vec<(&'static str, String)> {
    vec![("socket", socket.to_string())]
}

/// Reads the processors below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path) -> Gathered {
    Gathered::of((Kind::Processor, "processors"), read_processors(sys), samples, assess)
}

/// The numbers.
#[must_use]
pub fn samples(processors: &Processors) -> Vec<Sample> {
    let mut all = Vec::new();
    for (socket, slowed) in &processors.sockets {
        all.push(SLOWED_COUNT.sample(labels(*socket), number(slowed.times)));
        all.extend(slowed.time_ms.map(|ms| SLOWED.sample(labels(*socket), number(ms) / 1e3)));
    }
    let energy = processors.energy_joules.iter();
    all.extend(energy.map(|(part, joules)| ENERGY.sample(vec![("part", part.clone())], *joules)));
    all
}

/// One verdict for each socket.
#[must_use]
pub fn assess(processors: &Processors, trends: &Trends, now_ms: u64) -> Vec<Verdict> {
    let judge = |(socket, slowed): (&u32, &Slowed)| {
        let mut case = Case::default();
        let lately = |family: Family| trends.of(&family.sample(labels(*socket), 0.0), now_ms, HOUR);
        let (seconds, times) = (lately(SLOWED), lately(SLOWED_COUNT));
        if seconds > SLOWED_SECONDS {
            let text = format!(
                "slowed down by heat for {seconds:.0} s in the last hour: check fans, air and heat sink"
            );
            case.add(Health::Warning, text);
        } else if slowed.time_ms.is_none() && times > SLOWED_TIMES {
            let text = format!(
                "slowed down by heat {times} times in the last hour: check fans, air and heat sink"
            );
            case.add(Health::Warning, text);
        }
        case.close(Kind::Processor, format!("processor {socket}"))
    };
    processors.sockets.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::tree;

    const CPU: &str = "devices/system/cpu";

    #[test]
    fn a_socket_is_as_slow_as_its_slowest_core_says() {
        let throttle = |cpu: &str, name: &str| format!("{CPU}/{cpu}/thermal_throttle/{name}");
        let files = [
            (throttle("cpu0", "package_throttle_count"), "5"),
            (throttle("cpu0", "core_throttle_count"), "9"),
            (throttle("cpu0", "core_throttle_total_time_ms"), "1500"),
            (throttle("cpu1", "core_throttle_count"), "2"),
            (throttle("cpu2", "core_throttle_count"), "7"),
            (format!("{CPU}/cpu2/topology/physical_package_id"), "1"),
            (format!("{CPU}/cpufreq/boost"), "1"),
            ("class/powercap/intel-rapl:0/name".to_owned(), "package-0"),
            ("class/powercap/intel-rapl:0/energy_uj".to_owned(), "2500000"),
            ("class/powercap/intel-rapl:0:0/name".to_owned(), "core"),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let reading = read_processors(tree(&files).path());
        let Reading::Known(found) = reading else { panic!("{reading:?}") };
        let slowed = |times, time_ms| Slowed { times, time_ms };
        assert_eq!(found.sockets, [(0, slowed(9, Some(1500))), (1, slowed(7, None))].into());
        assert_eq!(found.energy_joules, [("package-0".to_owned(), 2.5)].into());
        assert_eq!(samples(&found).len(), 4);
        assert_eq!(read_processors(Path::new("/nonexistent")), Reading::Absent);
    }

    #[test]
    fn a_processor_that_is_slow_for_a_hundredth_of_the_hour_warns() {
        let at = |time_ms| Processors {
            sockets: [(0, Slowed { times: 1, time_ms: Some(time_ms) })].into(),
            ..Processors::default()
        };
        let health = |time_ms| {
            let mut trends = Trends::default();
            trends.record(0, &samples(&at(0)));
            trends.record(60_000, &samples(&at(time_ms)));
            assess(&at(time_ms), &trends, 60_000).remove(0)
        };
        assert_eq!(health(36_000).health, Health::Healthy);
        let verdict = health(45_000);
        assert_eq!(verdict.health, Health::Warning);
        assert!(verdict.evidence[0].starts_with("slowed down by heat for 45 s in the last hour"));
    }
}
