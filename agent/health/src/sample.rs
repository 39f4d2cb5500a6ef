//! Readings as numbers with names: one list of them feeds metrics, history and reports.

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

/// How a number behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleKind {
    /// Goes up and down.
    Gauge,
    /// Only grows until what counts it starts anew.
    Counter,
}
