//! Errors of memory modules (EDAC).
//!
//! Source: /sys/devices/system/edac/mc* (Documentation/admin-guide/RAS/main.rst). Where a driver tells
//! no modules, it tells rows of chips (`csrow`), which are as good.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample, number};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an uncorrectable error is held against a module: it is replaced at the next visit, and one
/// that was replaced is no longer blamed for ever.
const UNCORRECTABLE: Duration = Duration::from_secs(14 * 24 * 3600);

/// Corrected errors a day above which a module is worn: more than one an hour. Particles from space cause
/// a few a year; mcelog and rasdaemon act at 10 to 50 a day; a module with corrected errors is 9 to 400
/// times likelier to have an uncorrectable one next (Schroeder and others, "DRAM errors in the wild", 2009).
const CORRECTED_A_DAY: f64 = 24.0;

const CORRECTED: Family =
    Family::counter("memory_corrected_errors", "Memory errors that were corrected");
const UNCORRECTED: Family =
    Family::counter("memory_uncorrected_errors", "Memory errors that could not be corrected");

/// What is told of memory modules.
pub(crate) const FAMILIES: &[Family] = &[CORRECTED, UNCORRECTED];

/// A memory module, and its errors since the machine was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryModule {
    /// What is printed beside its socket, as far as the firmware says; else its place.
    pub name: String,
    /// Corrected errors.
    pub corrected: u64,
    /// Errors that could not be corrected.
    pub uncorrected: u64,
}

/// Reads the modules below `sys`, which is `/sys` but for tests.
#[must_use]
pub fn read_memory_modules(sys: &Path) -> Reading<Vec<MemoryModule>> {
    Reading::of(read(sys))
}

fn read(sys: &Path) -> Result<Option<Vec<MemoryModule>>, String> {
    let root = sysfs::below(sys, &["devices", "system", "edac", "mc"]);
    let Some(controllers) = sysfs::entries(&root)? else { return Ok(None) };
    let mut modules = Vec::new();
    for controller in controllers.iter().filter(|name| sysfs::numbered(name, "mc").is_some()) {
        let folder = root.join(controller);
        let parts = sysfs::entries(&folder)?.unwrap_or_default();
        let of = |word: &str| parts.iter().any(|part| sysfs::numbered(part, word).is_some());
        let (word, names): (_, [&str; 3]) = if of("dimm") {
            ("dimm", ["dimm_ce_count", "dimm_ue_count", "dimm_label"])
        } else if of("rank") {
            ("rank", ["dimm_ce_count", "dimm_ue_count", "dimm_label"])
        } else {
            ("csrow", ["ce_count", "ue_count", "ch0_dimm_label"])
        };
        let [corrected, uncorrected, label] = names;
        for part in parts.iter().filter(|part| sysfs::numbered(part, word).is_some()) {
            let folder = folder.join(part);
            let counts =
                (sysfs::value(&folder.join(corrected)), sysfs::value(&folder.join(uncorrected)));
            let (Some(corrected), Some(uncorrected)) = counts else { continue };
            let place = format!("{controller} {part}");
            let name = sysfs::word(&folder.join(label)).unwrap_or(place);
            modules.push((name, format!("{controller} {part}"), corrected, uncorrected));
        }
    }
    Ok((!modules.is_empty()).then(|| distinct(modules)))
}

/// Firmware gives the same label to several modules now and then: these get their place too.
fn distinct(modules: Vec<(String, String, u64, u64)>) -> Vec<MemoryModule> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (name, ..) in &modules {
        *times.entry(name.clone()).or_default() += 1;
    }
    let module = |(name, place, corrected, uncorrected): (String, String, u64, u64)| {
        let is_alone = times.get(&name) == Some(&1);
        let name = if is_alone { name } else { format!("{name} ({place})") };
        MemoryModule { name, corrected, uncorrected }
    };
    modules.into_iter().map(module).collect()
}

fn labels(module: &MemoryModule) -> Vec<(&'static str, String)> {
    vec![("module", module.name.clone())]
}

/// Reads the modules below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path) -> Gathered {
    Gathered::of(
        (Kind::Memory, "memory modules"),
        read_memory_modules(sys),
        |all| samples(all),
        |all, trends, now_ms| assess(all, trends, now_ms),
    )
}

/// The numbers.
#[must_use]
pub fn samples(modules: &[MemoryModule]) -> Vec<Sample> {
    let both = |module: &MemoryModule| {
        [
            CORRECTED.sample(labels(module), number(module.corrected)),
            UNCORRECTED.sample(labels(module), number(module.uncorrected)),
        ]
    };
    modules.iter().flat_map(both).collect()
}

/// One verdict for each module.
#[must_use]
pub fn assess(modules: &[MemoryModule], trends: &Trends, now_ms: u64) -> Vec<Verdict> {
    modules.iter().map(|module| assess_module(module, trends, now_ms)).collect()
}

fn assess_module(module: &MemoryModule, trends: &Trends, now_ms: u64) -> Verdict {
    let mut case = Case::default();
    let [corrected, uncorrected] = [CORRECTED, UNCORRECTED].map(|f| f.sample(labels(module), 0.0));
    let lately = trends.of(&uncorrected, now_ms, UNCORRECTABLE);
    let name = &module.name;
    if module.uncorrected > 0 {
        let count = module.uncorrected;
        let text = format!(
            "{count} uncorrectable memory errors on {name} since the machine was started: replace it"
        );
        case.add(Health::Failing, text);
    } else if lately > 0.0 {
        let days = UNCORRECTABLE.as_secs() / 86_400;
        let text =
            format!("{lately} uncorrectable memory errors on {name} in {days} days: replace it");
        case.add(Health::Failing, text);
    }
    let in_a_day = trends.of(&corrected, now_ms, DAY);
    if in_a_day > CORRECTED_A_DAY {
        let text = format!(
            "{in_a_day} corrected memory errors on {name} in 24 hours: seat it anew, replace it if they go on"
        );
        case.add(Health::Warning, text);
    }
    case.close(Kind::Memory, name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::tree;

    const MC: &str = "devices/system/edac/mc";

    fn read_tree(files: &[(&str, &str)]) -> Reading<Vec<MemoryModule>> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("{MC}/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        read_memory_modules(tree(&files).path())
    }

    fn judged(now: (u64, u64), before: (u64, u64), hours: u64) -> Verdict {
        let module = |(corrected, uncorrected)| {
            vec![MemoryModule { name: "DIMM_A1".to_owned(), corrected, uncorrected }]
        };
        let mut trends = Trends::default();
        trends.record(0, &samples(&module(before)));
        let now_ms = hours * 3_600_000;
        trends.record(now_ms, &samples(&module(now)));
        assess(&module(now), &trends, now_ms).remove(0)
    }

    #[test]
    fn modules_are_named_by_their_labels() {
        let reading = read_tree(&[
            ("mc0/dimm0/dimm_label", "DIMM_A1"),
            ("mc0/dimm0/dimm_ce_count", "3"),
            ("mc0/dimm0/dimm_ue_count", "1"),
            ("mc0/dimm1/dimm_label", ""),
            ("mc0/dimm1/dimm_ce_count", "0"),
            ("mc0/dimm1/dimm_ue_count", "0"),
            ("mc1/dimm0/dimm_label", "same"),
            ("mc1/dimm0/dimm_ce_count", "0"),
            ("mc1/dimm0/dimm_ue_count", "0"),
            ("mc1/dimm1/dimm_label", "same"),
            ("mc1/dimm1/dimm_ce_count", "0"),
            ("mc1/dimm1/dimm_ue_count", "0"),
            ("mc1/dimm2/dimm_ce_count", "much"),
            ("power/control", "auto"),
        ]);
        let Reading::Known(modules) = reading else { panic!("{reading:?}") };
        let names: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["DIMM_A1", "mc0 dimm1", "same (mc1 dimm0)", "same (mc1 dimm1)"]);
        assert_eq!((modules[0].corrected, modules[0].uncorrected), (3, 1));
    }

    #[test]
    fn rows_of_chips_stand_in_for_modules_and_no_controller_is_absent() {
        let reading = read_tree(&[("mc0/csrow0/ce_count", "2"), ("mc0/csrow0/ue_count", "0")]);
        let Reading::Known(modules) = reading else { panic!("{reading:?}") };
        assert_eq!((modules[0].name.as_str(), modules[0].corrected), ("mc0 csrow0", 2));
        assert_eq!(read_tree(&[("power/control", "auto")]), Reading::Absent);
        assert_eq!(read_memory_modules(Path::new("/nonexistent")), Reading::Absent);
    }

    #[test]
    fn an_uncorrectable_error_fails_a_module_for_two_weeks() {
        assert_eq!(judged((0, 0), (0, 0), 1).health, Health::Healthy);
        let verdict = judged((0, 3), (0, 0), 1);
        assert_eq!(verdict.health, Health::Failing);
        let wanted =
            "3 uncorrectable memory errors on DIMM_A1 since the machine was started: replace it";
        assert_eq!(verdict.evidence, [wanted]);
        // The machine was started since, and its counters with it.
        let mut trends = Trends::default();
        let module =
            |uncorrected| vec![MemoryModule { name: "a".to_owned(), corrected: 0, uncorrected }];
        for (at, uncorrected) in [(0, 0), (1000, 2), (2000, 0)] {
            trends.record(at, &samples(&module(uncorrected)));
        }
        let health = |now_ms| assess(&module(0), &trends, now_ms)[0].health;
        assert_eq!(health(2000), Health::Failing);
        assert_eq!(health(2000 + 15 * 86_400_000), Health::Healthy);
    }

    #[test]
    fn corrected_errors_warn_above_one_an_hour() {
        assert_eq!(judged((24, 0), (0, 0), 20).health, Health::Healthy);
        let verdict = judged((25, 0), (0, 0), 20);
        assert_eq!(verdict.health, Health::Warning);
        assert!(verdict.evidence[0].starts_with("25 corrected memory errors on DIMM_A1 in 24"));
        // Counted before anybody looked: it is not known how long that took.
        assert_eq!(judged((1000, 0), (1000, 0), 20).health, Health::Healthy);
    }
}
