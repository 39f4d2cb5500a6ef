//! When the oracle writes and reads: drawn for each node and era, so that a node cannot tell, and another
//! run of the oracle draws the same.

use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::Era;

use super::content::{Seed, dice};
use crate::record::{Canary, Work};

/// How many eras a canary is kept: a node that throws away what is not read soon is found.
pub const ERAS_KEPT: u64 = 6;

/// Canaries of an era: a small one and a large one.
const PUTS: u64 = 2;

/// Small and large reads of an era. Ten checks of an hour, with the writes: a node that is away for a
/// tenth of it misses one.
const SMALL_READS: u64 = 6;
const LARGE_READS: u64 = 2;

/// Writes are in the first tenths of an era, reads behind them and well before its end.
const PUTS_END: u64 = 2;
const READS_END: u64 = 9;
const TENTHS: u64 = 10;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Delete canaries that are too old.
    Delete,
    /// Write a canary.
    Put(Canary),
    /// Read a few KiB of any.
    Small,
    /// Read much of a large one.
    Large,
}

impl Task {
    /// As what it is counted, if it is.
    #[must_use]
    pub fn work(self) -> Option<Work> {
        match self {
            Self::Delete => None,
            Self::Put(_) => Some(Work::Put),
            Self::Small => Some(Work::Small),
            Self::Large => Some(Work::Large),
        }
    }
}

/// One thing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub task: Task,
    /// What is drawn for it: which canary, and which bytes.
    pub dice: u64,
}

/// All that is done with a node in an era, in its order.
#[must_use]
pub fn plan(seed: &Seed, node: &B256, era: Era, begin_ms: u64, era_ms: u64) -> Vec<Step> {
    let drawn = |what: &str, number| dice(seed, what, node, era.0, number);
    // Each in a stretch of its own, at a moment of it that is drawn.
    let moment = |what: &str, number: u64, count: u64, tenths: (u64, u64)| {
        let whole = era_ms.saturating_mul(tenths.1 - tenths.0) / TENTHS;
        let stretch = (whole / count).max(1);
        let start = era_ms.saturating_mul(tenths.0) / TENTHS + stretch.saturating_mul(number);
        begin_ms.saturating_add(start).saturating_add(drawn(what, number) % stretch)
    };
    let mut steps = vec![Step { at_ms: begin_ms, task: Task::Delete, dice: 0 }];
    for number in 0..PUTS {
        let canary = Canary { era: era.0, number: u8::try_from(number).unwrap_or(u8::MAX) };
        let at_ms = moment("put", number, PUTS, (0, PUTS_END));
        steps.push(Step { at_ms, task: Task::Put(canary), dice: 0 });
    }
    let reads = SMALL_READS + LARGE_READS;
    for number in 0..reads {
        // The large ones are spread among the small ones.
        let is_large = number % (reads / LARGE_READS) == reads / LARGE_READS / 2;
        let task = if is_large { Task::Large } else { Task::Small };
        let at_ms = moment("read", number, reads, (PUTS_END, READS_END));
        steps.push(Step { at_ms, task, dice: drawn("which", number) });
    }
    steps.sort_unstable();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_000_000;

    fn planned(seed: u8, node: u8, era_ms: u64) -> Vec<Step> {
        plan(&[seed; 32], &B256::repeat_byte(node), Era(3), BEGIN, era_ms)
    }

    #[test]
    fn an_era_has_all_its_work_within_it_and_reads_behind_writes() {
        for (node, era_ms) in [(1, 20_000), (2, 60_000), (3, 3_600_000), (4, 86_400_000)] {
            let steps = planned(1, node, era_ms);
            let count = |work| steps.iter().filter(|step| step.task.work() == Some(work)).count();
            let found = [Work::Put, Work::Small, Work::Large].map(count);
            assert_eq!(found, [2, 6, 2]);
            let last = BEGIN + era_ms * 9 / 10;
            assert!(steps.iter().all(|step| (BEGIN..last).contains(&step.at_ms)));
            let is_read = |step: &&Step| matches!(step.task, Task::Small | Task::Large);
            let first_read = steps.iter().find(is_read).expect("a read").at_ms;
            let puts = steps.iter().filter(|step| matches!(step.task, Task::Put(_)));
            assert!(puts.clone().all(|step| step.at_ms < first_read));
        }
    }

    #[test]
    fn times_are_drawn_from_seed_node_and_era() {
        let times = |steps: Vec<Step>| steps.iter().map(|step| step.at_ms).collect::<Vec<_>>();
        let first = times(planned(1, 1, 3_600_000));
        assert_eq!(first, times(planned(1, 1, 3_600_000)));
        assert_ne!(first, times(planned(2, 1, 3_600_000)));
        assert_ne!(first, times(planned(1, 2, 3_600_000)));
    }
}
