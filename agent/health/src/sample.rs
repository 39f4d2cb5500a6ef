//! Readings as numbers with names: one list of them feeds metrics, history and reports.

use std::fmt::Write as _;

/// One number that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name in OpenMetrics without prefix: base units as suffix (`_celsius`, `_seconds`, `_bytes`,
    /// `_volts`, `_watts`), counters without their `_total`.
    pub name: &'static str,
    /// What tells it from others of its name, by label name.
    pub labels: Vec<(&'static str, String)>,
    /// How it behaves.
    pub kind: SampleKind,
    /// The number.
    pub value: f64,
}

impl Sample {
    /// Its name with its labels, which tells it from every other: `fan_rpm{chip="nct",sensor="fan1"}`.
    /// Quotes, backslashes and line breaks of label values are escaped as in OpenMetrics.
    #[must_use]
    pub fn series(&self) -> String {
        let mut text = self.name.to_owned();
        for (number, (label, value)) in self.labels.iter().enumerate() {
            let opening = if number == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Writing to a string does not fail.
            let _ = write!(text, "{opening}{label}=\"{value}\"");
        }
        if !self.labels.is_empty() {
            text.push('}');
        }
        text
    }
}

/// How a number behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleKind {
    /// Goes up and down.
    Gauge,
    /// Only grows until what counts it starts anew.
    Counter,
}

/// All samples of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, as of [`Sample::name`].
    pub name: &'static str,
    /// What it tells, in a few words, without a full stop.
    pub help: &'static str,
    /// How it behaves.
    pub kind: SampleKind,
}

impl Family {
    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: SampleKind::Gauge }
    }

    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: SampleKind::Counter }
    }

    /// One of its samples.
    #[must_use]
    pub fn sample(&self, labels: Vec<(&'static str, String)>, value: f64) -> Sample {
        Sample { name: self.name, labels, kind: self.kind, value }
    }
}

/// Numbers up to 2^53 stay exact; larger ones are off by less than one in 10^15.
#[expect(clippy::cast_precision_loss, reason = "a reading needs no more than 15 digits")]
#[must_use]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_told_by_its_labels() {
        let family = Family::gauge("fan_rpm", "Turns a minute");
        assert_eq!(family.sample(vec![], 1.0).series(), "fan_rpm");
        let labels = vec![("chip", "a".to_owned()), ("sensor", "b\"c\\".to_owned())];
        assert_eq!(family.sample(labels, 1.0).series(), r#"fan_rpm{chip="a",sensor="b\"c\\"}"#);
    }
}
