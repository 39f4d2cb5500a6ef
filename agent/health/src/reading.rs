//! What asking a source gives, and what it means.

use crate::sample::Sample;
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

/// What a source of readings answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// This.
    Known(T),
    /// This machine has no such thing, which says nothing good and nothing bad.
    Absent,
    /// It is there, or may be, but gave no useful answer.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

impl<T> Reading<T> {
    /// What a read gave that finds nothing on machines without the thing.
    pub(crate) fn of(read: Result<Option<T>, String>) -> Self {
        match read {
            Ok(Some(found)) => Self::Known(found),
            Ok(None) => Self::Absent,
            Err(reason) => Self::Unknown { reason },
        }
    }
}

/// What judges a reading: told what was earlier, and the time in milliseconds since 1970.
type Assess = Box<dyn FnOnce(&Trends, u64) -> Vec<Verdict> + Send>;

/// Numbers of a source, and what judges them once they are among the earlier ones.
pub struct Gathered {
    /// The numbers.
    pub samples: Vec<Sample>,
    assess: Assess,
}

impl Gathered {
    /// Numbers, and what judges them.
    pub fn new(
        samples: Vec<Sample>,
        assess: impl FnOnce(&Trends, u64) -> Vec<Verdict> + Send + 'static,
    ) -> Self {
        Self { samples, assess: Box::new(assess) }
    }

    /// Of a reading: nothing where it is absent, and where it is unknown a verdict on the whole source
    /// `name` that says so.
    pub fn of<T: Send + 'static>(
        (kind, name): (Kind, &str),
        reading: Reading<T>,
        samples: impl FnOnce(&T) -> Vec<Sample>,
        assess: impl FnOnce(&T, &Trends, u64) -> Vec<Verdict> + Send + 'static,
    ) -> Self {
        match reading {
            Reading::Known(found) => {
                Self::new(samples(&found), move |trends, now_ms| assess(&found, trends, now_ms))
            }
            Reading::Absent => Self::new(Vec::new(), |_, _| Vec::new()),
            Reading::Unknown { reason } => {
                let name = name.to_owned();
                let verdict =
                    Verdict { kind, name, health: Health::Unknown, evidence: vec![reason] };
                Self::new(Vec::new(), move |_, _| vec![verdict])
            }
        }
    }

    /// The verdicts. `trends` has these numbers already.
    #[must_use]
    pub fn assess(self, trends: &Trends, now_ms: u64) -> Vec<Verdict> {
        (self.assess)(trends, now_ms)
    }
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathered").field("samples", &self.samples).finish_non_exhaustive()
    }
}

/// Evidence on one component, and how bad the worst of it is.
#[derive(Debug, Default)]
pub(crate) struct Case {
    found: Vec<(Health, String)>,
}

impl Case {
    /// Something is wrong.
    pub(crate) fn add(&mut self, health: Health, evidence: String) {
        self.found.push((health, evidence));
    }

    /// The verdict: healthy where nothing is wrong.
    pub(crate) fn close(mut self, kind: Kind, name: impl Into<String>) -> Verdict {
        // Stable: among the equally bad in the order in which they were found.
        self.found.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        let health = self.found.first().map_or(Health::Healthy, |(health, _)| *health);
        let evidence = self.found.into_iter().map(|(_, evidence)| evidence).collect();
        Verdict { kind, name: name.into(), health, evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_is_told_first() {
        let mut case = Case::default();
        case.add(Health::Warning, "warm".to_owned());
        case.add(Health::Failing, "on fire".to_owned());
        let verdict = case.close(Kind::Sensor, "s");
        assert_eq!(verdict.health, Health::Failing);
        assert_eq!(verdict.evidence, ["on fire", "warm"]);
        assert_eq!(Case::default().close(Kind::Sensor, "s").health, Health::Healthy);
    }

    #[test]
    fn what_is_absent_says_nothing_and_what_is_unknown_is_never_healthy() {
        let of = |reading: Reading<u8>| {
            let gathered =
                Gathered::of((Kind::Memory, "ECC"), reading, |_| vec![], |_, _, _| vec![]);
            gathered.assess(&Trends::default(), 0)
        };
        assert_eq!(of(Reading::Absent), []);
        let unknown = of(Reading::Unknown { reason: "no answer".to_owned() });
        assert_eq!(unknown[0].health, Health::Unknown);
        assert_eq!(unknown[0].evidence, ["no answer"]);
    }
}
