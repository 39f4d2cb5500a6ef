//! What is known of the hardware now: the newest readings of each source and the verdicts on them. Pure: the
//! time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent_api::hardware::{COMPONENTS_MAX, Component};
use agent_api::status::DiskSlot;
use agent_health::host::slots::FAULT;
use agent_health::sampler::Outcome;
use agent_health::{Gathered, Health, Kind, Sample, Trends, Verdict};

/// The newest of each source.
#[derive(Debug, Default)]
pub(super) struct Board {
    sources: BTreeMap<String, Kept>,
}

/// The newest of one source.
#[derive(Debug)]
struct Kept {
    samples: Vec<Sample>,
    verdicts: Vec<Verdict>,
    read_at: Duration,
}

/// When something was read: since the agent was started, and in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) running: Duration,
    pub(super) ms: u64,
}

impl Board {
    /// Takes in what came of asking the source `name`, of which `subject` tells what it is about.
    pub(super) fn take(
        &mut self,
        name: &str,
        (kind, what): &(Kind, String),
        outcome: Outcome<Gathered>,
        trends: &mut Trends,
        now: Now,
    ) {
        let why = match outcome {
            Outcome::Answer(gathered) => {
                trends.record(now.ms, &gathered.samples);
                let samples = gathered.samples.clone();
                let verdicts = gathered.assess(trends, now.ms);
                let kept = Kept { samples, verdicts, read_at: now.running };
                self.sources.insert(name.to_owned(), kept);
                return;
            }
            Outcome::Hung(since) => format!("no answer for {} s", since.as_secs()),
            Outcome::Failed(why) => why,
        };
        let nothing = Kept { samples: Vec::new(), verdicts: Vec::new(), read_at: now.running };
        let kept = self.sources.entry(name.to_owned()).or_insert(nothing);
        kept.samples.clear();
        if kept.verdicts.is_empty() {
            let (kind, name) = (*kind, what.clone());
            kept.verdicts.push(Verdict {
                kind,
                name,
                health: Health::Healthy,
                evidence: Vec::new(),
            });
        }
        for verdict in &mut kept.verdicts {
            // What was failing is not better for being silent.
            verdict.health = verdict.health.max(Health::Unknown);
            verdict.evidence.retain(|evidence| !is_silence(evidence));
            verdict.evidence.insert(0, why.clone());
        }
    }

    /// These are the sources now; what was read of others is dropped.
    pub(super) fn keep(&mut self, names: &BTreeSet<String>) {
        self.sources.retain(|name, _| names.contains(name));
    }

    /// All verdicts with the age of what they are based on, the gravest first.
    pub(super) fn components(&self, running: Duration) -> Vec<Component> {
        let of = |kept: &Kept| {
            let age = running.saturating_sub(kept.read_at);
            let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let verdicts = kept.verdicts.clone().into_iter();
            verdicts.map(move |verdict| Component { verdict, age_ms }).collect::<Vec<_>>()
        };
        let mut all: Vec<Component> = self.sources.values().flat_map(of).collect();
        let order = |one: &Component| (std::cmp::Reverse(one.verdict.health), one.verdict.kind);
        all.sort_by(|a, b| order(a).cmp(&order(b)).then(a.verdict.name.cmp(&b.verdict.name)));
        all.truncate(COMPONENTS_MAX);
        all
    }

    /// All numbers, each series once.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let mut seen = BTreeSet::new();
        let all = self.sources.values().flat_map(|kept| &kept.samples);
        all.filter(|sample| seen.insert(sample.series())).cloned().collect()
    }

    /// Where disks are, as the numbers of enclosures tell: those have a disk's lasting name as a label.
    pub(super) fn slots(&self) -> Vec<DiskSlot> {
        let all = self.sources.values().flat_map(|kept| &kept.samples);
        all.filter(|sample| sample.name == FAULT.name).filter_map(slot_of).collect()
    }

    /// The worst verdict on each disk, by lasting names, and when it was read.
    pub(super) fn disks(&self) -> BTreeMap<String, (Health, Duration)> {
        let mut disks: BTreeMap<String, (Health, Duration)> = BTreeMap::new();
        for kept in self.sources.values() {
            for verdict in kept.verdicts.iter().filter(|verdict| verdict.kind == Kind::Disk) {
                let found = (verdict.health, kept.read_at);
                let known = disks.entry(verdict.name.clone()).or_insert(found);
                *known = (*known).max(found);
            }
        }
        disks
    }
}

/// The slot of a disk; none of an empty one.
fn slot_of(sample: &Sample) -> Option<DiskSlot> {
    let label = |wanted| {
        let found = sample.labels.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    Some(DiskSlot { disk: label("disk")?, enclosure: label("enclosure")?, slot: label("slot")? })
}

fn is_silence(evidence: &str) -> bool {
    evidence.starts_with("no answer for ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_health::SampleKind;

    const SUBJECT: (Kind, &str) = (Kind::Disk, "wwn-1");

    fn now(seconds: u64) -> Now {
        Now { running: Duration::from_secs(seconds), ms: seconds * 1000 }
    }

    fn verdict(health: Health) -> Verdict {
        let evidence = vec!["worn".to_owned()];
        Verdict { kind: Kind::Disk, name: "wwn-1".to_owned(), health, evidence }
    }

    fn gathered(health: Health) -> Outcome<Gathered> {
        let sample =
            Sample { name: "faults", labels: Vec::new(), kind: SampleKind::Counter, value: 1.0 };
        Outcome::Answer(Gathered::new(vec![sample], move |_, _| vec![verdict(health)]))
    }

    fn take(board: &mut Board, outcome: Outcome<Gathered>, seconds: u64) {
        let subject = (SUBJECT.0, SUBJECT.1.to_owned());
        board.take("smart wwn-1", &subject, outcome, &mut Trends::default(), now(seconds));
    }

    #[test]
    fn a_source_that_hangs_is_unknown_with_the_age_of_what_was_known() {
        let mut board = Board::default();
        take(&mut board, gathered(Health::Healthy), 5);
        assert_eq!(board.samples().len(), 1);
        take(&mut board, Outcome::Hung(Duration::from_secs(30)), 40);
        take(&mut board, Outcome::Hung(Duration::from_secs(31)), 41);
        let components = board.components(Duration::from_secs(45));
        assert_eq!(components.len(), 1);
        assert_eq!((components[0].verdict.health, components[0].age_ms), (Health::Unknown, 40_000));
        assert_eq!(components[0].verdict.evidence, ["no answer for 31 s", "worn"]);
        assert_eq!(board.samples(), [], "what is not known now is not told as a number");
        take(&mut board, gathered(Health::Healthy), 50);
        assert_eq!(board.components(Duration::from_secs(50))[0].verdict.health, Health::Healthy);
    }

    #[test]
    fn a_slot_with_a_disk_is_told_and_an_empty_one_is_not() {
        let reading = |slot: &str, disk: &str| Sample {
            name: FAULT.name,
            labels: [("enclosure", "0:0:9:0"), ("slot", slot), ("disk", disk)]
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec(),
            kind: SampleKind::Gauge,
            value: 0.0,
        };
        let samples = vec![reading("Slot 01", "wwn-1"), reading("Slot 02", "")];
        let mut board = Board::default();
        take(&mut board, Outcome::Answer(Gathered::new(samples, |_, _| Vec::new())), 5);
        let (disk, enclosure) = ("wwn-1".to_owned(), "0:0:9:0".to_owned());
        assert_eq!(board.slots(), [DiskSlot { disk, enclosure, slot: "Slot 01".to_owned() }]);
    }

    #[test]
    fn what_fails_is_not_better_for_being_silent() {
        let mut board = Board::default();
        take(&mut board, gathered(Health::Failing), 5);
        take(&mut board, Outcome::Hung(Duration::from_secs(30)), 40);
        assert_eq!(board.disks()["wwn-1"].0, Health::Failing);
    }

    #[test]
    fn a_source_that_never_answered_is_unknown_by_its_name() {
        let mut board = Board::default();
        take(&mut board, Outcome::Failed("a defect".to_owned()), 5);
        let components = board.components(Duration::from_secs(5));
        let wanted = Verdict {
            health: Health::Unknown,
            evidence: vec!["a defect".into()],
            ..verdict(Health::Unknown)
        };
        assert_eq!(components[0].verdict, wanted);
        board.keep(&BTreeSet::new());
        assert_eq!(board.components(Duration::ZERO), []);
    }

    #[test]
    fn the_gravest_come_first() {
        let mut board = Board::default();
        for (name, health) in
            [("a", Health::Healthy), ("b", Health::Failing), ("c", Health::Warning)]
        {
            let subject = (SUBJECT.0, SUBJECT.1.to_owned());
            board.take(name, &subject, gathered(health), &mut Trends::default(), now(1));
        }
        let told: Vec<_> =
            board.components(Duration::ZERO).iter().map(|one| one.verdict.health).collect();
        assert_eq!(told, [Health::Failing, Health::Warning, Health::Healthy]);
        assert_eq!(board.samples().len(), 1, "a series that comes twice is told once");
    }
}
