//! What goes where room is short or time is over. Pure.

use std::collections::BTreeMap;

/// What is known of a report without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// In milliseconds since 1970.
    pub(crate) taken_at: u64,
    /// Bytes without the detail, compressed.
    pub(crate) facts: u64,
    /// Bytes of the detail, compressed; none where it was left out.
    pub(crate) detail: Option<u64>,
}

impl Entry {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.facts.saturating_add(self.detail.unwrap_or(0))
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Milliseconds after which a report goes.
    pub(crate) age_ms: u64,
    /// Bytes above which the detail of the oldest goes.
    pub(crate) bytes: u64,
    /// Bytes above which the oldest goes, whatever its age.
    pub(crate) facts: u64,
    /// Reports above which the oldest goes, whatever its age.
    pub(crate) reports: usize,
}

impl Limits {
    /// Of a spool on a data volume: 30 days, and 64 MiB with detail. Facts are a kilobyte each, 9 MiB
    /// in 30 days of one report in five minutes. A node that flaps reports every ten seconds, 260,000
    /// times in 30 days: that must not fill a volume.
    pub(crate) const DISK: Self =
        Self { age_ms: 30 * 86_400_000, bytes: 64 << 20, facts: 256 << 20, reports: 260_000 };

    /// Of a spool in memory: eight hours of reports every five minutes.
    pub(crate) const MEMORY: Self =
        Self { age_ms: 30 * 86_400_000, bytes: 4 << 20, facts: 8 << 20, reports: 100 };
}

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The detail of a report.
    Detail(u64),
    /// A report.
    Report(u64),
}

/// What goes, the oldest first, so that `limits` are kept. The youngest report stays whole.
pub(crate) fn plan(index: &BTreeMap<u64, Entry>, now_ms: u64, limits: &Limits) -> Vec<Step> {
    let (mut bytes, mut facts) = (0_u64, 0_u64);
    for entry in index.values() {
        bytes = bytes.saturating_add(entry.bytes());
        facts = facts.saturating_add(entry.facts);
    }
    let mut left = index.len();
    let youngest = index.last_key_value().map(|(sequence, _)| *sequence);
    let mut steps = Vec::new();
    let mut kept = Vec::new();
    for (sequence, entry) in index.iter().filter(|(sequence, _)| Some(**sequence) != youngest) {
        let old = now_ms.saturating_sub(entry.taken_at) > limits.age_ms;
        if old || facts > limits.facts || left > limits.reports {
            steps.push(Step::Report(*sequence));
            bytes = bytes.saturating_sub(entry.bytes());
            facts = facts.saturating_sub(entry.facts);
            left = left.saturating_sub(1);
        } else {
            kept.push((*sequence, entry.detail));
        }
    }
    for (sequence, detail) in kept {
        if bytes <= limits.bytes {
            break;
        }
        if let Some(detail) = detail {
            steps.push(Step::Detail(sequence));
            bytes = bytes.saturating_sub(detail);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { age_ms: 1_000, bytes: 100, facts: 60, reports: 5 };

    fn index(entries: &[(u64, u64, Option<u64>)]) -> BTreeMap<u64, Entry> {
        let entry = |(sequence, (taken_at, facts, detail)): (u64, &(u64, u64, Option<u64>))| {
            (sequence, Entry { taken_at: *taken_at, facts: *facts, detail: *detail })
        };
        (1..).zip(entries).map(entry).collect()
    }

    #[test]
    fn detail_of_the_oldest_goes_before_any_facts() {
        let full = index(&[(1, 10, Some(40)), (2, 10, Some(40)), (3, 10, Some(40))]);
        assert_eq!(plan(&full, 3, &LIMITS), [Step::Detail(1), Step::Detail(2)]);
        let thin = index(&[(1, 10, None), (2, 10, Some(40)), (3, 10, Some(40))]);
        assert_eq!(plan(&thin, 3, &LIMITS), [Step::Detail(2)]);
        assert_eq!(plan(&index(&[(1, 30, None), (2, 30, Some(40))]), 3, &LIMITS), []);
    }

    #[test]
    fn facts_go_only_when_they_are_old_or_alone_too_many() {
        let old = index(&[(0, 10, None), (500, 10, None), (1_200, 10, None)]);
        assert_eq!(plan(&old, 1_200, &LIMITS), [Step::Report(1)]);
        let long = index(&[(1, 30, None), (2, 30, None), (3, 30, Some(5))]);
        assert_eq!(plan(&long, 3, &LIMITS), [Step::Report(1)]);
        let many = index(&[(1, 1, None); 7]);
        assert_eq!(plan(&many, 3, &LIMITS), [Step::Report(1), Step::Report(2)]);
    }

    #[test]
    fn the_youngest_stays_whole() {
        let alone = index(&[(0, 1_000, Some(1_000))]);
        assert_eq!(plan(&alone, u64::MAX, &LIMITS), []);
    }
}
