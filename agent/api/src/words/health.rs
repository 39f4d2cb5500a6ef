//! The health of hardware in words. Pure.

use std::fmt::Write as _;

use crate::hardware::{Component, HealthReport, PointValue, Series, Stretch};
use agent_health::Health;

use super::at;

/// The components that are not healthy, or all, and how many there are of each health.
#[must_use]
pub fn report(report: &HealthReport, all: bool) -> String {
    let mut text = String::new();
    for one in &report.components {
        if all || one.verdict.health != Health::Healthy {
            component(&mut text, one);
        }
    }
    let count = |health| {
        let of = report.components.iter().filter(|one| one.verdict.health == health);
        of.count()
    };
    let [failing, warning, unknown, healthy] =
        [Health::Failing, Health::Warning, Health::Unknown, Health::Healthy].map(count);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{failing} failing, {warning} with warnings, {unknown} unknown, {healthy} healthy"
    );
    if let Some(why) = &report.history_awaited {
        let _ = writeln!(text, "no history: {why}");
    }
    let drains = match report.drains {
        true => "a failing disk is emptied by itself where the pool can spare it",
        false => "failing disks are not emptied by themselves ([health] drain in node.toml)",
    };
    let _ = writeln!(text, "{drains}");
    text
}

fn component(text: &mut String, Component { verdict, age_ms }: &Component) {
    let age = age_ms / 1000;
    let (kind, name, health) = (verdict.kind, &verdict.name, verdict.health);
    let _ = writeln!(text, "{health:<8} {kind} {name} (read {age} s ago)");
    for evidence in &verdict.evidence {
        let _ = writeln!(text, "         {evidence}");
    }
}

/// The names of series, one a line.
#[must_use]
pub fn series(series: &[Series]) -> String {
    let mut text = String::new();
    for Series { name, is_counter } in series {
        let kind = if *is_counter { "counter" } else { "gauge" };
        let _ = writeln!(text, "{kind:<7} {name}");
    }
    text
}

/// Points, one a line.
#[must_use]
pub fn stretch(stretch: &Stretch) -> String {
    let mut text = String::new();
    let minutes = stretch.step_ms / 60_000;
    let _ = writeln!(text, "every {minutes} min");
    for point in &stretch.points {
        let at = at(point.at_ms);
        let _ = match point.value {
            PointValue::Gauge { min, mean, max } => {
                writeln!(text, "{at} {min} to {max}, mean {mean}")
            }
            PointValue::Counter { last } => writeln!(text, "{at} {last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::hardware::Point;
    use agent_health::{Kind, Verdict};

    use super::*;

    fn component(name: &str, health: Health, evidence: &[&str]) -> Component {
        let evidence = evidence.iter().map(|text| (*text).to_owned()).collect();
        let verdict = Verdict { kind: Kind::Memory, name: name.to_owned(), health, evidence };
        Component { verdict, age_ms: 61_000 }
    }

    #[test]
    fn what_is_not_healthy_is_told_with_its_evidence_and_age() {
        let report = HealthReport {
            components: vec![
                component("DIMM_A1", Health::Failing, &["3 errors: replace it", "warm"]),
                component("DIMM_B1", Health::Healthy, &[]),
            ],
            history_awaited: Some("no volume is in use yet".to_owned()),
            drains: true,
        };
        let wanted = "failing  memory DIMM_A1 (read 61 s ago)\n         3 errors: replace it\n         \
                      warm\n1 failing, 0 with warnings, 0 unknown, 1 healthy\nno history: no volume is \
                      in use yet\na failing disk is emptied by itself where the pool can spare it\n";
        assert_eq!(super::report(&report, false), wanted);
        assert!(
            super::report(&report, true).contains("\nhealthy  memory DIMM_B1 (read 61 s ago)\n")
        );
    }

    #[test]
    fn history_is_told_a_point_a_line() {
        let gauge = PointValue::Gauge { min: 1.0, mean: 1.5, max: 2.25 };
        let points = vec![
            Point { at_ms: 0, value: gauge },
            Point { at_ms: 600_000, value: PointValue::Counter { last: 7.0 } },
        ];
        let text = stretch(&Stretch { step_ms: 600_000, points });
        let wanted =
            "every 10 min\n1970-01-01T00:00:00Z 1 to 2.25, mean 1.5\n1970-01-01T00:10:00Z 7\n";
        assert_eq!(text, wanted);
    }
}
