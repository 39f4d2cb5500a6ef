//! Which failing disk is to be emptied. Pure: the engine does it, and refuses where the pool cannot spare it.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_health::Health;
use agent_object_store::{VolumeId, VolumeState, VolumeUsage};

/// How far apart two judgements must be, both failing and none between them that is not: a reading that is
/// wrong once is not wrong twice.
const CONFIRMED_AFTER: Duration = Duration::from_secs(60);

/// Volumes in use that must be left. With two, all that is stored stands on two disks still.
const LEFT_LEAST: usize = 2;

/// Since when disks are failing, by their lasting names.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// When the first of the failing readings was taken, and the last.
    since: BTreeMap<String, (Duration, Duration)>,
}

impl Failing {
    /// Takes in the verdicts on all disks, with the times at which these were read.
    pub(super) fn observe(&mut self, disks: &BTreeMap<String, (Health, Duration)>) {
        self.since.retain(|disk, _| {
            disks.get(disk).is_some_and(|(health, _)| *health == Health::Failing)
        });
        for (disk, (health, read_at)) in disks {
            if *health == Health::Failing {
                let (_, last) = self.since.entry(disk.clone()).or_insert((*read_at, *read_at));
                *last = (*last).max(*read_at);
            }
        }
    }

    /// Disks that failed in two judgements far enough apart; the longest failing first.
    fn confirmed(&self) -> Vec<&str> {
        let old = self
            .since
            .iter()
            .filter(|(_, (first, last))| last.saturating_sub(*first) >= CONFIRMED_AFTER);
        let mut old: Vec<_> = old.collect();
        old.sort_by_key(|(_, (first, _))| *first);
        old.into_iter().map(|(disk, _)| disk.as_str()).collect()
    }

    /// The volume to retire now: in use, on a disk whose failing is confirmed, while no other is being
    /// emptied and enough others are in use. `on` tells which volume is on which disk.
    pub(super) fn drain(
        &self,
        volumes: &[VolumeUsage],
        on: &BTreeMap<String, String>,
    ) -> Option<VolumeId> {
        let in_use = |volume: &&VolumeUsage| volume.state == VolumeState::Attached;
        let is_leaving = volumes.iter().any(|volume| volume.state == VolumeState::Retiring);
        if is_leaving || volumes.iter().filter(in_use).count() <= LEFT_LEAST {
            return None;
        }
        self.confirmed().into_iter().find_map(|disk| {
            let id = on.get(disk)?;
            let volume = volumes.iter().filter(in_use).find(|volume| volume.id.as_str() == id)?;
            Some(volume.id.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use agent_object_store::UnixMillis;

    use super::*;

    fn volume(id: &str, state: VolumeState) -> VolumeUsage {
        VolumeUsage {
            id: VolumeId::new(id).expect("an id"),
            path: None,
            state,
            capacity_bytes: 0,
            free_bytes: 0,
            since: UnixMillis(0),
        }
    }

    fn pool(states: [VolumeState; 4]) -> Vec<VolumeUsage> {
        ["a", "b", "c", "d"].into_iter().zip(states).map(|(id, state)| volume(id, state)).collect()
    }

    fn in_use() -> Vec<VolumeUsage> {
        pool([const { VolumeState::Attached }; 4])
    }

    /// Disk-a to disk-d hold volumes a to d.
    fn on() -> BTreeMap<String, String> {
        ["a", "b", "c", "d"].map(|id| (format!("disk-{id}"), id.to_owned())).into()
    }

    fn observed(readings: &[(&str, Health, u64)]) -> Failing {
        let mut failing = Failing::default();
        let mut disks = BTreeMap::new();
        for (disk, health, at) in readings {
            disks.insert((*disk).to_owned(), (*health, Duration::from_secs(*at)));
            failing.observe(&disks);
        }
        failing
    }

    fn drained(failing: &Failing, volumes: &[VolumeUsage]) -> Option<String> {
        failing.drain(volumes, &on()).map(|id| id.to_string())
    }

    const BAD: Health = Health::Failing;

    #[test]
    fn a_disk_is_emptied_after_two_failing_judgements_a_minute_apart() {
        assert_eq!(drained(&observed(&[("disk-b", BAD, 5)]), &in_use()), None);
        assert_eq!(drained(&observed(&[("disk-b", BAD, 5), ("disk-b", BAD, 64)]), &in_use()), None);
        let twice = observed(&[("disk-b", BAD, 5), ("disk-b", BAD, 65)]);
        assert_eq!(drained(&twice, &in_use()).as_deref(), Some("b"));
        // The same reading seen again later is not another one.
        assert_eq!(drained(&observed(&[("disk-b", BAD, 5), ("disk-b", BAD, 5)]), &in_use()), None);
    }

    #[test]
    fn any_other_judgement_between_begins_anew() {
        for between in [Health::Healthy, Health::Unknown, Health::Warning] {
            let readings = [("disk-b", BAD, 5), ("disk-b", between, 40), ("disk-b", BAD, 70)];
            assert_eq!(drained(&observed(&readings), &in_use()), None, "{between}");
        }
    }

    #[test]
    fn one_at_a_time_the_longest_failing_first() {
        let failing = observed(&[
            ("disk-c", BAD, 5),
            ("disk-b", BAD, 20),
            ("disk-c", BAD, 100),
            ("disk-b", BAD, 110),
        ]);
        assert_eq!(drained(&failing, &in_use()).as_deref(), Some("c"));
        use VolumeState::{Attached, Retired, Retiring};
        assert_eq!(drained(&failing, &pool([Attached, Attached, Retiring, Attached])), None);
        let next = pool([Attached, Attached, Retired, Attached]);
        assert_eq!(drained(&failing, &next).as_deref(), Some("b"));
    }

    #[test]
    fn never_when_too_few_are_left_and_only_what_is_in_use() {
        use VolumeState::{Attached, Missing};
        let failing = observed(&[("disk-b", BAD, 5), ("disk-b", BAD, 100)]);
        assert_eq!(drained(&failing, &pool([Attached, Attached, Missing, Missing])), None);
        let fenced = VolumeState::Fenced { reason: "a write failed".to_owned() };
        assert_eq!(drained(&failing, &pool([Attached, fenced, Attached, Attached])), None);
        let other = observed(&[("disk-x", BAD, 5), ("disk-x", BAD, 100)]);
        assert_eq!(drained(&other, &in_use()), None, "a disk without a volume");
    }
}
