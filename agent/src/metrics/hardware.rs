//! The hardware: every number that was read, and how each component does.

use std::collections::BTreeSet;
use std::fmt;

use agent_api::hardware::Component;
use agent_health::{Family, Health, Sample, SampleKind, families};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::families::Families;
use crate::node::LATENCY;

/// What was read of the hardware.
#[derive(Debug, Default)]
pub(crate) struct HardwareFacts {
    /// Every number.
    pub(crate) samples: Vec<Sample>,
    /// Every verdict.
    pub(crate) components: Vec<Component>,
}

/// The hardware.
#[derive(Debug)]
pub(super) struct HardwareReadings(pub(super) HardwareFacts);

/// What healths are called, as in `icn-agent health --json`.
const HEALTHS: [Health; 4] = [Health::Healthy, Health::Unknown, Health::Warning, Health::Failing];

/// The unit that a name ends in, and what stands before it.
fn unit_of(name: &str) -> (&str, Option<Unit>) {
    let units = [
        Unit::Seconds,
        Unit::Bytes,
        Unit::Celsius,
        Unit::Volts,
        Unit::Amperes,
        Unit::Joules,
        Unit::Other("watts".to_owned()),
    ];
    let found = units.into_iter().find_map(|unit| {
        let before = name.strip_suffix(unit.as_str())?.strip_suffix('_')?;
        Some((before, Some(unit)))
    });
    found.unwrap_or((name, None))
}

/// Every family of hardware.
pub(super) fn all_families() -> impl Iterator<Item = &'static Family> {
    families().chain([&LATENCY])
}

impl Collector for HardwareReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let HardwareFacts { samples, components } = &self.0;
        let mut seen = BTreeSet::new();
        for family in all_families() {
            let of = samples.iter().filter(|sample| {
                sample.name == family.name
                    && sample.value.is_finite()
                    && seen.insert(sample.series())
            });
            let values: Vec<_> =
                of.map(|sample| (sample.labels.as_slice(), sample.value)).collect();
            if values.is_empty() {
                continue;
            }
            let (name, unit) = unit_of(family.name);
            let unit = unit.as_ref();
            match family.kind {
                SampleKind::Gauge => to.floats(name, family.help, unit, values)?,
                SampleKind::Counter => to.float_counters(name, family.help, unit, values)?,
            }
        }
        let states = components.iter().flat_map(|Component { verdict, .. }| {
            let kind = verdict.kind.to_string().replace(' ', "_");
            HEALTHS.map(|health| {
                let labels = [
                    ("kind", kind.clone()),
                    ("name", verdict.name.clone()),
                    ("health", health.to_string()),
                ];
                (labels, u64::from(health == verdict.health))
            })
        });
        let states: Vec<_> =
            states.filter(|(labels, _)| seen.insert(format!("{labels:?}"))).collect();
        if states.is_empty() {
            return Ok(());
        }
        let help = "1 for how a component does, else 0; of its own word, not proven";
        to.gauges("component_health", help, None, states)
    }
}
