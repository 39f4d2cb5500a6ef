//! The sources of readings that every machine may have, and how often each is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_health::host::disk_activity::{self, Activity};
use agent_health::host::kernel_log::KernelLog;
use agent_health::host::{
    management, memory_modules, network, pcie, processor, sensors, slots, uptime,
};
use agent_health::sampler::{Pace, Probe};
use agent_health::{Clock, Gathered, Kind, Privileged, Reading, clock_gathered, read_clock};
use disk_manager_plan::hardware::{Answer, Request};
use disk_manager_plan::report::DiskReport;

/// What files of the kernel tell: as often as the history keeps it.
const FILES: Pace = Pace { period: Duration::from_secs(60), limit: Duration::from_secs(20) };

/// The kernel's messages: it keeps some thousand, which a disk that dies fills within minutes.
const MESSAGES: Pace = Pace { period: Duration::from_secs(30), limit: Duration::from_secs(20) };

/// The management controller: asking all of its sensors takes it some seconds, and the processor too.
const CONTROLLER: Pace = Pace { period: Duration::from_secs(300), limit: Duration::from_secs(200) };

/// Its log, which is read whole.
const EVENTS: Pace = Pace { period: Duration::from_secs(1800), limit: Duration::from_secs(200) };

/// Longer than icn-disks gives the programs that it runs for the controller.
const CONTROLLER_ANSWER: Duration = Duration::from_secs(190);

/// icn-disks reads messages from memory.
const MESSAGES_ANSWER: Duration = Duration::from_secs(15);

/// Lasting names of disks by those of the kernel.
pub(super) type Names = BTreeMap<String, String>;

/// Where readings come from.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
    pub(super) privileged: Arc<dyn Privileged>,
    pub(super) names: Arc<Mutex<Names>>,
    pub(super) log: Arc<Mutex<KernelLog>>,
    /// The last reading of the disks' activity.
    pub(super) activity: Arc<Mutex<BTreeMap<String, Activity>>>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("sys", &self.sys).finish_non_exhaustive()
    }
}

/// A probe, and what it is about.
pub(super) struct Source {
    pub(super) probe: Probe<Gathered>,
    pub(super) subject: (Kind, String),
}

/// A source by its name.
pub(super) fn source(
    (kind, name): (Kind, &str),
    pace: Pace,
    ask: impl Fn() -> Gathered + Send + Sync + 'static,
) -> Source {
    let probe = Probe { name: name.to_owned(), pace, ask: Arc::new(ask) };
    Source { probe, subject: (kind, name.to_owned()) }
}

/// The names of all disks that have a lasting one.
pub(super) fn names_of(report: Option<&DiskReport>) -> Names {
    let disks = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let names = disks.iter().filter_map(|disk| {
        let device = disk.device.file_name()?.to_str()?.to_owned();
        Some((device, disk.id.as_ref()?.0.clone()))
    });
    names.collect()
}

/// Everything but the disks' own data.
pub(super) fn of_machine(from: &Sources) -> Vec<Source> {
    let sys = |gather: fn(&std::path::Path) -> Gathered| {
        let sys = from.sys.clone();
        move || gather(&sys)
    };
    let with = |ask: fn(&Sources) -> Gathered| {
        let from = from.clone();
        move || ask(&from)
    };
    vec![
        source((Kind::Memory, "memory modules"), FILES, sys(memory_modules::gather)),
        source((Kind::Processor, "processors"), FILES, sys(processor::gather)),
        source((Kind::Pcie, "PCI Express"), FILES, sys(pcie::gather)),
        source((Kind::Sensor, "sensors"), FILES, sys(sensors::gather)),
        source((Kind::Network, "network ports"), FILES, sys(network::gather)),
        source((Kind::Sensor, "enclosures"), FILES, with(enclosures)),
        source((Kind::Disk, "disk activity"), FILES, with(activity)),
        source((Kind::Kernel, "uptime"), FILES, with(machine_uptime)),
        source((Kind::Clock, "system clock"), MESSAGES, with(clock)),
        source((Kind::Kernel, "kernel"), MESSAGES, with(messages)),
        source((Kind::Management, "management controller"), CONTROLLER, with(controller)),
        source((Kind::Management, "management controller log"), EVENTS, with(events)),
    ]
}

fn enclosures(from: &Sources) -> Gathered {
    slots::gather(&from.sys, &names(from))
}

fn names(from: &Sources) -> Names {
    from.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn activity(from: &Sources) -> Gathered {
    let reading = disk_activity::read_activity(&from.proc, &names(from));
    let mut before = from.activity.lock().unwrap_or_else(PoisonError::into_inner);
    let samples = |now: &BTreeMap<String, Activity>| {
        let samples = disk_activity::samples(now, &before);
        before.clone_from(now);
        samples
    };
    Gathered::of((Kind::Disk, "disk activity"), reading, samples, |_, _, _| Vec::new())
}

fn machine_uptime(from: &Sources) -> Gathered {
    let reading = uptime::read_uptime(&from.proc);
    Gathered::of((Kind::Kernel, "uptime"), reading, uptime::samples, |_, _, _| Vec::new())
}

fn clock(_: &Sources) -> Gathered {
    let (since_1970, uptime) = (super::super::since_1970(), super::super::uptime());
    clock_gathered(Clock { reading: read_clock(), since_1970, uptime })
}

fn messages(from: &Sources) -> Gathered {
    let after = from.log.lock().unwrap_or_else(PoisonError::into_inner).last;
    let answer = from.privileged.ask(&Request::KernelLog { after }, MESSAGES_ANSWER);
    let reading = match answer {
        Answer::KernelLog { messages, lost } => {
            let mut log = from.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.take_in(&messages, lost);
            Reading::Known(log.clone())
        }
        other => unknown(other),
    };
    Gathered::of((Kind::Kernel, "kernel"), reading, KernelLog::samples, |log, _, _| {
        log.assess(super::super::uptime())
    })
}

fn controller(from: &Sources) -> Gathered {
    let reading = match printed(from.privileged.ask(&Request::Sensors, CONTROLLER_ANSWER)) {
        Reading::Known(text) => Reading::Known(management::parse_sensors(&text)),
        Reading::Absent => Reading::Absent,
        Reading::Unknown { reason } => Reading::Unknown { reason },
    };
    let subject = (Kind::Management, "management controller");
    Gathered::of(
        subject,
        reading,
        |sensors| management::sensor_samples(sensors),
        |sensors, _, _| management::assess_sensors(sensors),
    )
}

fn events(from: &Sources) -> Gathered {
    let reading = match printed(from.privileged.ask(&Request::SensorEvents, CONTROLLER_ANSWER)) {
        Reading::Known(text) => Reading::Known(management::parse_events(&text)),
        Reading::Absent => Reading::Absent,
        Reading::Unknown { reason } => Reading::Unknown { reason },
    };
    let subject = (Kind::Management, "management controller log");
    Gathered::of(
        subject,
        reading,
        |events| management::event_samples(events),
        |events, _, now_ms| management::assess_events(events, now_ms),
    )
}

/// What a program printed. ipmitool ends with 1 where a single sensor could not be read: what it printed
/// counts all the same.
fn printed(answer: Answer) -> Reading<String> {
    match answer {
        Answer::Output { status, text, complaint } => {
            if text.trim().is_empty() && status != 0 {
                let reason = format!("ipmitool ended with {status}: {complaint}");
                return Reading::Unknown { reason };
            }
            Reading::Known(text)
        }
        other => unknown(other),
    }
}

/// What an answer means that is not the one that was asked for.
pub(super) fn unknown<T>(answer: Answer) -> Reading<T> {
    match answer {
        Answer::Absent { .. } => Reading::Absent,
        Answer::Failed { reason } => Reading::Unknown { reason },
        Answer::Output { .. }
        | Answer::KernelLog { .. }
        | Answer::Machine { .. }
        | Answer::Ready
        | Answer::Written { .. }
        | Answer::Done => {
            Reading::Unknown { reason: "icn-disks answered something else".to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_health::{Health, Trends};
    use disk_manager_plan::hardware::KernelMessage;

    use super::*;

    struct Fake(Answer);

    impl Privileged for Fake {
        fn ask(&self, _: &Request, _: Duration) -> Answer {
            self.0.clone()
        }
    }

    fn sources(answer: Answer) -> Sources {
        Sources {
            sys: PathBuf::from("/nonexistent"),
            proc: PathBuf::from("/nonexistent"),
            privileged: Arc::new(Fake(answer)),
            names: Arc::default(),
            log: Arc::default(),
            activity: Arc::default(),
        }
    }

    fn verdicts(gathered: Gathered) -> Vec<(Health, String)> {
        let all = gathered.assess(&Trends::default(), 0);
        all.into_iter().map(|verdict| (verdict.health, verdict.name)).collect()
    }

    #[test]
    fn a_machine_without_anything_has_nothing_wrong_and_no_numbers() {
        let absent = Answer::Absent { what: "a management controller".to_owned() };
        for source in of_machine(&sources(absent)) {
            let gathered = (source.probe.ask)();
            let name = source.probe.name;
            if name == "system clock" {
                continue;
            }
            assert_eq!(gathered.samples, [], "{name}");
            assert_eq!(verdicts(gathered), [], "{name}");
        }
    }

    #[test]
    fn a_service_that_does_not_answer_leaves_what_it_tells_unknown() {
        let from = sources(Answer::Failed { reason: "no socket".to_owned() });
        let wanted = (Health::Unknown, "management controller".to_owned());
        assert_eq!(verdicts(controller(&from)), [wanted]);
        assert_eq!(verdicts(messages(&from)), [(Health::Unknown, "kernel".to_owned())]);
        let nothing = Answer::Output { status: 1, text: String::new(), complaint: "busy".into() };
        assert_eq!(verdicts(events(&sources(nothing)))[0].0, Health::Unknown);
    }

    #[test]
    fn sensors_and_messages_are_judged() {
        let text = "Temp,99,degrees C,ucr\n".to_owned();
        let from = sources(Answer::Output { status: 1, text, complaint: String::new() });
        assert_eq!(verdicts(controller(&from))[0].0, Health::Failing);
        let message = |sequence| KernelMessage {
            sequence,
            level: 3,
            at_us: 0,
            text: "I/O error, dev sda, sector 1".to_owned(),
        };
        let answer = Answer::KernelLog { messages: vec![message(1), message(2)], lost: 0 };
        let from = sources(answer);
        assert_eq!(messages(&from).samples[0].value, 2.0);
        assert_eq!(messages(&from).samples[0].value, 2.0, "messages count once");
    }

    #[test]
    fn sources_have_names_of_their_own_and_probes_come_back_before_they_count_as_hung() {
        let all = of_machine(&sources(Answer::Done));
        let names: std::collections::BTreeSet<_> =
            all.iter().map(|source| source.probe.name.clone()).collect();
        assert_eq!(names.len(), all.len());
        assert!(CONTROLLER_ANSWER < CONTROLLER.limit && MESSAGES_ANSWER < MESSAGES.limit);
    }
}
