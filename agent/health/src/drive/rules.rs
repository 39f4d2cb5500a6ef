//! The rules that a disk is judged by, each by itself.

use super::assess::{Asked, Counts, DriveHealth, Earlier, ObservedCalls, Thresholds};
use super::rates::{FailureRate, RATED, Rated, rated, timeout_rate};
use super::reading::{Attribute, Drive, DriveClass, Failed, TestEnd};
use crate::verdict::Health;
use disk_manager_plan::hardware::SelfTest;

/// Bits of smartctl's exit status (smartctl(8)).
const EXIT_FAILING: i32 = 1 << 3;
/// An attribute that foretells failure is at its threshold.
const EXIT_PREFAILURE: i32 = 1 << 4;
/// An attribute was at its threshold.
const EXIT_PAST: i32 = 1 << 5;
/// The log of self-tests has errors.
const EXIT_TESTS: i32 = 1 << 7;

/// The attributes that are temperatures: at their threshold a disk is hot, and was it once, it says nothing.
const TEMPERATURES: [u8; 2] = [190, 194];

/// The bit of NVMe's critical warning that is about temperature alone.
const WARNS_OF_TEMPERATURE: u8 = 1 << 1;

/// The bits of NVMe's critical warning (NVMe Base 2.0, figure 207).
const CRITICAL_WARNINGS: [(u8, &str); 5] = [
    (0, "the spare is below its threshold"),
    (2, "it is less reliable for its many errors"),
    (3, "it has become read-only"),
    (4, "the backup of its volatile memory has failed"),
    (5, "its persistent memory is unreliable"),
];

/// What was found, each with how bad it is.
pub(super) struct Findings {
    thresholds: Thresholds,
    found: Vec<(Health, String)>,
    rate: Option<(u16, FailureRate)>,
    hot: bool,
}

impl Findings {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, found: Vec::new(), rate: None, hot: false }
    }

    pub(super) fn add(&mut self, health: Health, evidence: String) {
        self.found.push((health, evidence));
    }

    pub(super) fn into_verdict(mut self, asked: Asked) -> DriveHealth {
        self.found.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        DriveHealth {
            health: self.found.first().map_or(Health::Healthy, |(health, _)| *health),
            evidence: self.found.into_iter().map(|(_, evidence)| evidence).collect(),
            annual_failure_rate: self.rate.map(|(_, rate)| rate),
            hot: self.hot,
            asked,
        }
    }

    /// What a disk of its kind has to say before it may be called healthy.
    pub(super) fn missing(&mut self, drive: &Drive) {
        let mut missing: Vec<String> = Vec::new();
        if drive.passed.is_none() {
            missing.push("its own verdict".to_owned());
        }
        match drive.class {
            DriveClass::Ata => missing.extend(missing_attributes(drive)),
            DriveClass::Nvme => missing.extend(missing_of_nvme(drive).map(str::to_owned)),
            DriveClass::Scsi if drive.scsi.is_none() => missing.push("its counters".to_owned()),
            DriveClass::Scsi => {}
            DriveClass::Other => missing.push("what kind of disk it is".to_owned()),
        }
        if drive.self_tests.log.unread > 0 {
            missing.push("some of its self-tests".to_owned());
        }
        if !missing.is_empty() {
            self.add(Health::Unknown, format!("it did not say: {}", missing.join(", ")));
        }
    }

    pub(super) fn own_verdict(&mut self, drive: &Drive) {
        let fails = drive.passed == Some(false) || drive.exit & EXIT_FAILING != 0;
        let warning = drive.nvme.as_ref().and_then(|log| log.critical_warning);
        // NVMe calls a disk that is too hot a failing one; it is named as hot instead.
        if !fails || warning == Some(WARNS_OF_TEMPERATURE) {
            return;
        }
        let words = drive.verdict.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
        self.add(Health::Failing, format!("the disk itself says that it fails{words}"));
    }

    pub(super) fn attributes(&mut self, drive: &Drive, earlier: &[Earlier]) {
        for attribute in &drive.attributes {
            self.threshold(attribute);
        }
        let has = |when: Failed| drive.attributes.iter().any(|of| of.failed == Some(when));
        if drive.exit & EXIT_PREFAILURE != 0 && !has(Failed::Now) {
            let words = "an attribute that foretells failure is at its threshold".to_owned();
            self.add(Health::Failing, words);
        }
        if drive.exit & EXIT_PAST != 0 && !has(Failed::Now) && !has(Failed::Past) {
            self.add(Health::Warning, "an attribute was at its threshold".to_owned());
        }
        for rated in &RATED {
            let Some(attribute) = drive.usual_attribute(rated.id) else { continue };
            let rests = rated.id == 199 && self.rests(attribute, earlier);
            let rate = match (rated.id, attribute.words()) {
                (188, Some(words)) => timeout_rate(words).map(|rate| (u64::from(words[0]), rate)),
                (188, None) => None,
                _ => attribute.count().and_then(|count| Some((count, rated.rate(count)?))),
            };
            if let Some((count, rate)) = rate.filter(|_| !rests) {
                self.rated(rated, count, rate);
            }
        }
    }

    /// An attribute that is at its threshold, or was.
    fn threshold(&mut self, attribute: &Attribute) {
        let name = attribute.name.as_deref().unwrap_or("attribute");
        let id = attribute.id;
        let is_temperature = TEMPERATURES.contains(&id);
        match attribute.failed {
            None => {}
            Some(Failed::Past) if is_temperature => {}
            Some(Failed::Past) => {
                self.add(Health::Warning, format!("{id} {name} was at its threshold"));
            }
            Some(Failed::Now) => {
                self.hot |= is_temperature;
                let is_age = is_temperature || attribute.is_prefailure == Some(false);
                let health = if is_age { Health::Warning } else { Health::Failing };
                self.add(health, format!("{id} {name} is at its threshold"));
            }
        }
    }

    /// A cable that was exchanged: its count stays for ever, but has not risen for a whole window.
    fn rests(&self, attribute: &Attribute, earlier: &[Earlier]) -> bool {
        let now = attribute.count();
        let window = self.thresholds.window_seconds;
        now.is_some()
            && earlier
                .iter()
                .any(|then| then.age_seconds >= window && then.counts.interface_errors == now)
    }

    fn rated(&mut self, rated: &Rated, count: u64, rate: (u16, FailureRate)) {
        let (observed, range) = rate;
        if self.rate.is_none_or(|(worst, _)| worst < observed) {
            self.rate = Some(rate);
        }
        let Thresholds { critical_failing_permille, warning_permille, failing_permille, .. } =
            self.thresholds;
        let health = match observed {
            _ if rated.is_critical && observed >= critical_failing_permille => Health::Failing,
            _ if !rated.is_critical && observed >= failing_permille => Health::Failing,
            _ if observed >= warning_permille => Health::Warning,
            _ => return,
        };
        let Rated { id, what, .. } = rated;
        self.add(health, format!("{id} {what}: {count}, annual failure rate {range}"));
    }

    pub(super) fn nvme(&mut self, drive: &Drive) {
        let Some(log) = &drive.nvme else { return };
        let warning = log.critical_warning.unwrap_or(0);
        for (bit, words) in CRITICAL_WARNINGS {
            if warning >> bit & 1 == 1 {
                self.add(Health::Failing, format!("critical warning: {words}"));
            }
        }
        if warning >> 6 != 0 {
            self.add(Health::Failing, format!("critical warning {warning:#04x}"));
        }
        if warning & WARNS_OF_TEMPERATURE != 0 {
            self.hot = true;
            let words = "critical warning: its temperature is outside of what it stands";
            self.add(Health::Warning, words.to_owned());
        }
        let spare = (log.available_spare, log.available_spare_threshold);
        if let (Some(spare), Some(least)) = spare
            && spare < least
        {
            self.add(Health::Failing, format!("spare: {spare}% left, {least}% is the least"));
        }
        if let Some(errors @ 1..) = log.media_errors {
            self.add(Health::Warning, format!("media errors: {errors}"));
        }
    }

    pub(super) fn scsi(&mut self, drive: &Drive) {
        let Some(counters) = &drive.scsi else { return };
        // The same sectors that ATA counts by these attributes.
        for (id, count) in [(5, counters.grown_defects), (197, counters.pending_defects)] {
            let rated = rated(id);
            let rate = rated.and_then(|rated| rated.rate(count?));
            if let (Some(rated), Some(count), Some(rate)) = (rated, count, rate) {
                self.rated(rated, count, rate);
            }
        }
        if let Some(errors @ 1..) = counters.uncorrected {
            self.add(Health::Warning, format!("uncorrected errors: {errors}"));
        }
    }

    pub(super) fn wear(&mut self, drive: &Drive) {
        let Some(wear) = drive.wear_percent else { return };
        let health = match wear {
            _ if wear >= self.thresholds.wear_failing_percent => Health::Failing,
            _ if wear >= self.thresholds.wear_warning_percent => Health::Warning,
            _ => return,
        };
        self.add(health, format!("wear: {wear}% of its rated endurance"));
    }

    /// A long test that passed clears what was before it, as smartctl has it; a short one does not.
    pub(super) fn self_tests(&mut self, drive: &Drive) {
        let mut passed_since = false;
        let mut found = false;
        for result in &drive.self_tests.log.results {
            match (result.end, result.test) {
                (TestEnd::Passed, Some(SelfTest::Long)) => break,
                (TestEnd::Passed, _) => passed_since = true,
                (TestEnd::Aborted, _) => {}
                (TestEnd::Failed, _) => {
                    found = true;
                    let health = if passed_since { Health::Warning } else { Health::Failing };
                    let when = result.at_hours.map(|hours| format!(" at {hours} h of operation"));
                    let when = when.unwrap_or_default();
                    self.add(health, format!("a self-test failed{when}"));
                    break;
                }
            }
        }
        if !found && drive.exit & EXIT_TESTS != 0 {
            self.add(Health::Warning, "the log of self-tests has errors".to_owned());
        }
    }

    pub(super) fn temperature(&mut self, drive: &Drive) {
        let Some(current) = drive.temperatures.current else { return };
        let own = drive.temperatures.warning;
        let limit = own.unwrap_or(limit(drive, &self.thresholds));
        if current >= limit {
            self.hot = true;
            let whose = if own.is_some() { "the disk's own limit" } else { "the limit" };
            self.add(Health::Warning, format!("{current} °C, {whose} is {limit} °C"));
        }
    }

    pub(super) fn trends(&mut self, now: Counts, earlier: &[Earlier]) {
        let recent = |count: fn(&Counts) -> Option<u64>| {
            let window = self.thresholds.window_seconds;
            let within = earlier.iter().filter(|then| then.age_seconds <= window);
            within.filter_map(|then| count(&then.counts)).min()
        };
        let media = (now.media_errors, recent(|counts| counts.media_errors));
        let pending = (now.pending, recent(|counts| counts.pending));
        let reallocated = (now.reallocated, recent(|counts| counts.reallocated));
        let interface = (now.interface_errors, recent(|counts| counts.interface_errors));
        self.trend(Health::Failing, "errors that nothing corrected", media);
        self.trend(Health::Failing, "pending sectors", pending);
        self.trend(Health::Warning, "reallocated sectors", reallocated);
        self.trend(Health::Warning, "transmission errors", interface);
    }

    fn trend(&mut self, health: Health, what: &str, counts: (Option<u64>, Option<u64>)) {
        if let (Some(now), Some(then)) = counts
            && now > then
        {
            let days = self.thresholds.window_seconds / (24 * 3600);
            self.add(health, format!("{what} rose from {then} to {now} within {days} days"));
        }
    }

    /// Many disks fail without a word; what the engine meets counts as much (Pinheiro et al., "Failure
    /// Trends in a Large Disk Drive Population", FAST 2007).
    pub(super) fn observed(&mut self, observed: &ObservedCalls) {
        let counts =
            [(observed.errors, "calls that failed"), (observed.damaged_blocks, "damaged blocks")];
        for (count, what) in counts {
            if let Some(count @ 1..) = count {
                let is_failing = count >= self.thresholds.observed_failing;
                let health = if is_failing { Health::Failing } else { Health::Warning };
                self.add(health, format!("{what}: {count}"));
            }
        }
        let Thresholds { slow_factor, slow_floor_us, .. } = self.thresholds;
        if let (Some(own), Some(peers)) = (observed.p99_us, observed.peers_p99_us)
            && own >= slow_floor_us
            && own >= peers.saturating_mul(slow_factor)
        {
            let (own, peers) = (own / 1000, peers / 1000);
            let words = format!("slow: 99 of 100 calls within {own} ms, of its peers {peers} ms");
            self.add(Health::Warning, words);
        }
    }
}

fn limit(drive: &Drive, thresholds: &Thresholds) -> i16 {
    let is_flash = drive.class == DriveClass::Nvme || drive.identity.rotation_rate == Some(0);
    if is_flash { thresholds.hot_flash_celsius } else { thresholds.hot_rotating_celsius }
}

fn missing_attributes(drive: &Drive) -> Vec<String> {
    let mut missing = Vec::new();
    if drive.attributes.is_empty() {
        missing.push("any attribute".to_owned());
    }
    if drive.unread_attributes > 0 {
        missing.push(format!("{} attributes", drive.unread_attributes));
    }
    for attribute in &drive.attributes {
        let is_rated = rated(attribute.id).is_some() && !attribute.is_unusual();
        let is_counted = match attribute.id {
            188 => attribute.words().is_some(),
            _ => attribute.count().is_some(),
        };
        if !attribute.is_judged || (is_rated && !is_counted) {
            missing.push(format!("attribute {}", attribute.id));
        }
    }
    // Every rotating disk has these two.
    if drive.identity.rotation_rate.is_some_and(|rate| rate > 0) {
        let absent = [5, 197].into_iter().filter(|id| drive.attribute(*id).is_none());
        missing.extend(absent.map(|id| format!("attribute {id}")));
    }
    missing
}

fn missing_of_nvme(drive: &Drive) -> impl Iterator<Item = &'static str> {
    let log = drive.nvme.clone().unwrap_or_default();
    let parts = [
        (log.critical_warning.is_some(), "critical warnings"),
        (log.available_spare.is_some(), "its spare"),
        (log.available_spare_threshold.is_some(), "how much spare it needs"),
        (log.media_errors.is_some(), "media errors"),
        (drive.wear_percent.is_some(), "its wear"),
    ];
    parts.into_iter().filter(|(is_there, _)| !is_there).map(|(_, what)| what)
}
