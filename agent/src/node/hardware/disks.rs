//! The disks' own data: SMART by way of icn-disks, judged beside what was before and what the store saw; and
//! when disks test themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_health::drive::{
    Counts, DriveReading, Earlier, ObservedCalls, TestDisk, TestStart, Thresholds, assess,
    plan_tests,
};
use agent_health::sampler::{Pace, Probe};
use agent_health::{Gathered, Kind, Privileged, Trends, Verdict};
use disk_manager_plan::hardware::{Answer, Request};
use disk_manager_plan::report::{DiskClass, DiskId, DiskReport, DiskStatus, Ownership};
use tokio::time::Instant;
use tracing::{info, warn};

use super::locked;
use super::probes::{Source, Sources};

/// Disks behind SATA and SAS: what SMART tells of them changes over days.
const SLOW: Pace = Pace { period: Duration::from_secs(600), limit: LIMIT };

/// NVMe disks: a critical warning is to be known within a minute, and asking takes them some milliseconds.
const NVME: Pace = Pace { period: Duration::from_secs(45), limit: LIMIT };

/// Longer than is waited for an answer.
const LIMIT: Duration = Duration::from_secs(75);

/// Longer than icn-disks gives the program that it runs: 60 s.
const ANSWER: Duration = Duration::from_secs(70);

/// The same for starting a self-test: 40 s.
const TEST_ANSWER: Duration = Duration::from_secs(50);

const HOUR_SECONDS: u64 = 3600;

/// What is known of the disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    /// The newest readings, by lasting names.
    pub(super) readings: Mutex<BTreeMap<String, DriveReading>>,
    /// What the store saw lately, by lasting names.
    pub(super) observed: Mutex<BTreeMap<String, ObservedCalls>>,
    /// Those that are too hot, by lasting names.
    pub(super) hot: Mutex<BTreeSet<String>>,
}

/// The sources that are disks. One without a lasting name cannot be asked for.
pub(super) fn of_disks(
    from: &Sources,
    disks: &Arc<Disks>,
    report: Option<&DiskReport>,
) -> Vec<Source> {
    let all = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let known: BTreeSet<_> = all.iter().filter_map(|disk| disk.id.clone()).collect();
    locked(&disks.readings).retain(|id, _| known.iter().any(|known| known.0 == *id));
    locked(&disks.hot).retain(|id| known.iter().any(|known| known.0 == *id));
    all.iter().filter_map(|disk| of_disk(from, disks, disk)).collect()
}

fn of_disk(from: &Sources, disks: &Arc<Disks>, disk: &DiskStatus) -> Option<Source> {
    let id = disk.id.clone()?;
    let pace = if disk.class == DiskClass::Nvme { NVME } else { SLOW };
    let (privileged, disks) = (Arc::clone(&from.privileged), Arc::clone(disks));
    let (name, subject) = (format!("disk {}", id.0), (Kind::Disk, id.0.clone()));
    let ask = move || gather(&*privileged, &disks, &id);
    Some(Source { probe: Probe { name, pace, ask: Arc::new(ask) }, subject })
}

fn gather(privileged: &dyn Privileged, disks: &Arc<Disks>, id: &DiskId) -> Gathered {
    let answer = privileged.ask(&Request::Smart { disk: id.clone() }, ANSWER);
    let reading = DriveReading::of(&Ok(answer));
    locked(&disks.readings).insert(id.0.clone(), reading.clone());
    let observed = locked(&disks.observed).get(&id.0).copied().unwrap_or_default();
    let (samples, id, disks) = (reading.samples(id), id.clone(), Arc::clone(disks));
    Gathered::new(samples, move |trends, now_ms| {
        let thresholds = Thresholds::default();
        let earlier = earlier(&reading, &id, trends, now_ms, thresholds.window_seconds);
        let judged = assess(&reading, &[earlier], &observed, &thresholds);
        note_heat(&mut locked(&disks.hot), &id, judged.hot);
        let (health, evidence) = (judged.health, judged.evidence);
        vec![Verdict { kind: Kind::Disk, name: id.0, health, evidence }]
    })
}

/// Keeps which disks are too hot.
fn note_heat(hot: &mut BTreeSet<String>, id: &DiskId, is_hot: bool) {
    if is_hot && hot.insert(id.0.clone()) {
        warn!(disk = id.0, "the disk is too hot: what is new goes to others where enough are left");
    } else if !is_hot && hot.remove(&id.0) {
        info!(disk = id.0, "the disk is no longer too hot");
    }
}

/// What a disk counted when the window began, as far as it is known how its counts grew since.
fn earlier(
    reading: &DriveReading,
    id: &DiskId,
    trends: &Trends,
    now_ms: u64,
    window_seconds: u64,
) -> Earlier {
    let now = Counts::of(reading);
    let before = |name: &'static str, count: Option<u64>| {
        let series = reading.samples(id).into_iter().find(|sample| sample.name == name)?.series();
        let grown = trends.increase(&series, now_ms, Duration::from_secs(window_seconds))?;
        let grown = Duration::try_from_secs_f64(grown).ok()?.as_secs();
        Some(count?.saturating_sub(grown))
    };
    let counts = Counts {
        reallocated: before("disk_reallocated_sectors", now.reallocated),
        // Goes up and down: of it no growth is known.
        pending: None,
        media_errors: before("disk_media_errors", now.media_errors),
        interface_errors: before("disk_interface_errors", now.interface_errors),
    };
    Earlier { age_seconds: window_seconds, counts }
}

/// Self-tests that were started, and when.
pub(super) type Started = BTreeMap<DiskId, Instant>;

/// The self-tests to start now.
pub(super) fn due_tests(
    disks: &Disks,
    report: Option<&DiskReport>,
    started: &Started,
    is_healing: bool,
) -> Vec<TestStart> {
    let all = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let readings = locked(&disks.readings);
    let ours = all.iter().filter(|disk| disk.ownership == Ownership::Ours);
    let disks = ours.filter_map(|disk| {
        let id = disk.id.clone()?;
        let reading = readings.get(&id.0)?;
        let hours = started.get(&id).map(|at| at.elapsed().as_secs() / HOUR_SECONDS);
        let sets = BTreeSet::from([set(disk.class)]);
        Some(TestDisk::new(id, sets, reading, hours))
    });
    plan_tests(&disks.collect::<Vec<_>>(), is_healing)
}

/// All disks of a class may hold parts of the same groups.
fn set(class: DiskClass) -> u32 {
    match class {
        DiskClass::Hdd => 0,
        DiskClass::Ssd => 1,
        DiskClass::Nvme => 2,
        DiskClass::Virtual => 3,
    }
}

/// Starts a self-test. Blocks.
pub(super) fn start_test(privileged: &dyn Privileged, TestStart { disk, test }: TestStart) {
    let request = Request::SelfTest { disk: disk.clone(), test };
    match privileged.ask(&request, TEST_ANSWER) {
        Answer::Done => info!(disk = disk.0, ?test, "the disk tests itself"),
        Answer::Absent { .. } => {}
        Answer::Failed { reason } => {
            warn!(disk = disk.0, ?test, reason, "cannot start a self-test")
        }
        other => warn!(disk = disk.0, ?test, ?other, "not an answer to starting a self-test"),
    }
}

#[cfg(test)]
mod tests {
    use agent_health::Health;
    use disk_manager_plan::hardware::SelfTest;

    use super::*;

    /// Answers with a whole NVMe log with so many media errors.
    struct Fake(Mutex<u64>);

    impl Privileged for Fake {
        fn ask(&self, request: &Request, _: Duration) -> Answer {
            assert!(matches!(request, Request::Smart { .. }));
            let errors = self.0.lock().expect("no panic");
            let text = include_str!("../../../health/fixtures/smartctl/nvme.json");
            let mut json: serde_json::Value = serde_json::from_str(text).expect("JSON");
            json["nvme_smart_health_information_log"]["media_errors"] = (*errors).into();
            Answer::Output { status: 0, text: json.to_string(), complaint: String::new() }
        }
    }

    #[test]
    fn media_errors_that_rise_are_seen_beside_what_was_before() {
        let (fake, disks) = (Fake(Mutex::new(3)), Arc::new(Disks::default()));
        let id = DiskId("eui-1".to_owned());
        let mut trends = Trends::default();
        let mut judged = |now_ms| {
            let gathered = gather(&fake, &disks, &id);
            trends.record(now_ms, &gathered.samples);
            gathered.assess(&trends, now_ms).remove(0)
        };
        let before = judged(0);
        assert_eq!((before.kind, before.name.as_str()), (Kind::Disk, "eui-1"));
        *fake.0.lock().expect("no panic") = 9;
        let after = judged(60_000);
        assert!(after.health > Health::Unknown && after.health >= before.health, "{after:?}");
        assert_ne!(after.evidence, before.evidence);
        assert!(locked(&disks.readings).contains_key("eui-1"));
    }

    #[test]
    fn a_hot_disk_is_known_until_it_cools() {
        let mut hot = BTreeSet::new();
        let id = DiskId("eui-1".to_owned());
        note_heat(&mut hot, &id, false);
        assert!(hot.is_empty());
        note_heat(&mut hot, &id, true);
        note_heat(&mut hot, &id, true);
        assert_eq!(hot, BTreeSet::from(["eui-1".to_owned()]));
        note_heat(&mut hot, &id, false);
        assert!(hot.is_empty());
    }

    #[test]
    fn only_disks_of_ours_that_answered_are_tested_one_of_a_class() {
        let disk = |name: &str, ownership| DiskStatus {
            id: Some(DiskId(name.to_owned())),
            device: format!("/dev/{name}").into(),
            model: String::new(),
            serial: String::new(),
            size: disk_manager_plan::report::Bytes(0),
            class: DiskClass::Hdd,
            ownership,
            reasons: Vec::new(),
            volume: None,
        };
        let report = DiskReport {
            disks: vec![
                disk("a", Ownership::Ours),
                disk("b", Ownership::Ours),
                disk("c", Ownership::Foreign),
                disk("d", Ownership::Ours),
            ],
            ..DiskReport::default()
        };
        let text = include_str!("../../../health/fixtures/smartctl/ata.json");
        let mut json: serde_json::Value = serde_json::from_str(text).expect("JSON");
        json["power_on_time"]["hours"] = 90_000.into();
        json["ata_smart_data"]["capabilities"]["self_tests_supported"] = true.into();
        let reading = agent_health::drive::decode(0, &json.to_string());
        let disks = Disks::default();
        for name in ["a", "b", "c"] {
            locked(&disks.readings).insert(name.to_owned(), reading.clone());
        }
        let due = due_tests(&disks, Some(&report), &Started::new(), false);
        assert_eq!(due.len(), 1, "{due:?}");
        assert!(["a", "b"].contains(&due[0].disk.0.as_str()), "{due:?}");
        assert!([SelfTest::Short, SelfTest::Long].contains(&due[0].test));
        assert_eq!(
            due_tests(&disks, Some(&report), &Started::new(), true),
            [],
            "not while healing"
        );
        assert_eq!(due_tests(&disks, None, &Started::new(), false), []);
    }

    #[test]
    fn nvme_disks_are_asked_more_than_once_a_minute() {
        assert!(NVME.period + NVME.period / 10 < Duration::from_secs(60));
        assert!(ANSWER < LIMIT);
    }
}
