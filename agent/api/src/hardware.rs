//! Hardware on the control socket: verdicts, readings and their history. Part of version 1 of the wire form in
//! [`crate::control`].

use agent_health::Verdict;
use serde::{Deserialize, Serialize};

/// The most components that one reply carries: at some 500 bytes each far below
/// [`crate::control::REPLY_MAX`]. The gravest are told.
pub const COMPONENTS_MAX: usize = 4000;

/// What the node says of its own hardware. Nobody has proven any of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthReport {
    /// Every component that was judged, the gravest first.
    pub components: Vec<Component>,
    /// Why there is no history, in words; none while there is one.
    pub history_awaited: Option<String>,
    /// Whether a failing disk is emptied by itself.
    pub drains: bool,
}

/// A component with the verdict on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long ago the reading that it is based on was taken, in milliseconds.
    pub age_ms: u64,
}

/// A series that has a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Its name with its labels, such as `sensor_temperature_celsius{chip="…",sensor="…"}`.
    pub name: String,
    /// Whether it only grows until what counts it begins anew; else it goes up and down.
    pub is_counter: bool,
}

/// A stretch of a series. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stretch {
    /// From one point to the next, in milliseconds.
    pub step_ms: u64,
    /// The oldest first.
    pub points: Vec<Point>,
}

/// What a series did within one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When the step began.
    pub at_ms: u64,
    /// What it did.
    #[serde(flatten)]
    pub value: PointValue,
}

/// What a series did within one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PointValue {
    /// Of one that goes up and down.
    Gauge {
        /// The lowest value.
        min: f64,
        /// The mean.
        mean: f64,
        /// The highest value.
        max: f64,
    },
    /// Of one that only grows.
    Counter {
        /// The last value.
        last: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_health::{Health, Kind};

    #[test]
    fn a_component_and_a_stretch_keep_their_wire_form() {
        let verdict = Verdict {
            kind: Kind::Memory,
            name: "DIMM_A1".to_owned(),
            health: Health::Failing,
            evidence: vec!["worn".to_owned()],
        };
        let line = serde_json::to_string(&Component { verdict, age_ms: 7 }).expect("JSON");
        let wanted = r#"{"kind":"memory","name":"DIMM_A1","health":"failing","evidence":["worn"],"age_ms":7}"#;
        assert_eq!(line, wanted);
        let gauge = PointValue::Gauge { min: 1.0, mean: 1.5, max: 2.0 };
        let points = vec![
            Point { at_ms: 0, value: gauge },
            Point { at_ms: 1, value: PointValue::Counter { last: 3.0 } },
        ];
        let stretch = Stretch { step_ms: 60_000, points };
        let line = serde_json::to_string(&stretch).expect("JSON");
        let wanted = r#"{"step_ms":60000,"points":[{"at_ms":0,"min":1.0,"mean":1.5,"max":2.0},{"at_ms":1,"last":3.0}]}"#;
        assert_eq!(line, wanted);
        assert_eq!(serde_json::from_str::<Stretch>(&line).expect("a stretch"), stretch);
    }
}
