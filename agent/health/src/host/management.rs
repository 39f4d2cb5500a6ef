//! The management controller (BMC): its sensors and its event log, as `ipmitool -c` prints them.
//!
//! Sensors come as `name,reading,unit,status` (ipmitool 1.8, lib/ipmi_sdr.c), events as
//! `number,date,time,sensor,event,direction` (lib/ipmi_sel.c). Lines that are otherwise are left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::reading::Case;
use crate::sample::{Family, Sample, number};
use crate::verdict::{Health, Kind, Verdict};

/// Most lines that are looked at. Event logs have 512 to 16384 entries; the newest stand at the end.
const LINES_MAX: usize = 4096;

/// How long an event is held against a component, in days, as with memory modules.
const DAYS: i64 = 14;

const TEMPERATURE: Family = Family::gauge(
    "management_temperature_celsius",
    "Temperatures of the management controller's sensors",
);
const FAN: Family =
    Family::gauge("management_fan_turns_per_minute", "Fans of the management controller's sensors");
const VOLTAGE: Family =
    Family::gauge("management_voltage_volts", "Voltages of the management controller's sensors");
const CURRENT: Family =
    Family::gauge("management_current_amperes", "Currents of the management controller's sensors");
const POWER: Family =
    Family::gauge("management_power_watts", "Power of the management controller's sensors");
const EVENTS: Family =
    Family::gauge("management_events", "Entries in the event log of the management controller");

/// What is told of the management controller.
pub(crate) const FAMILIES: &[Family] = &[TEMPERATURE, FAN, VOLTAGE, CURRENT, POWER, EVENTS];

/// How a sensor stands to its thresholds (IPMI 2.0, table 42-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Within them, or it has none.
    Ok,
    /// Beyond the non-critical one.
    NonCritical,
    /// Beyond the critical one.
    Critical,
    /// Beyond the one that hardware does not survive.
    NonRecoverable,
    /// Not read: nothing is there, or the machine is off.
    NotRead,
}

/// A sensor of the management controller.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedSensor {
    /// Its name.
    pub name: String,
    /// Reading and unit; none where it has states instead of numbers.
    pub value: Option<(f64, String)>,
    /// How it stands to its thresholds.
    pub standing: Standing,
}

/// The sensors in the output of `ipmitool -c sdr`.
#[must_use]
pub fn parse_sensors(text: &str) -> Vec<ManagedSensor> {
    text.lines().take(LINES_MAX).filter_map(sensor).collect()
}

fn sensor(line: &str) -> Option<ManagedSensor> {
    let mut fields = line.split(',').map(str::trim);
    let name = fields.next().filter(|name| !name.is_empty())?;
    let rest: Vec<&str> = fields.take(8).collect();
    let standing = rest.iter().find_map(|word| standing(word))?;
    let value = match rest.as_slice() {
        [value, unit, ..] if standing != Standing::NotRead => {
            let value = value.parse().ok().filter(|value: &f64| value.is_finite());
            value.map(|value| (value, (*unit).to_owned()))
        }
        _ => None,
    };
    Some(ManagedSensor { name: name.to_owned(), value, standing })
}

fn standing(word: &str) -> Option<Standing> {
    Some(match word {
        "ok" => Standing::Ok,
        "nc" | "lnc" | "unc" => Standing::NonCritical,
        "cr" | "lcr" | "ucr" => Standing::Critical,
        "nr" | "lnr" | "unr" => Standing::NonRecoverable,
        "ns" | "na" => Standing::NotRead,
        _ => return None,
    })
}

/// What an event tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Memory errors that could not be corrected.
    UncorrectableMemory,
    /// So many corrected memory errors that no more are logged.
    CorrectableMemory,
    /// A power supply failed or lost its input.
    PowerSupply,
    /// A processor failed, or got too hot.
    Processor,
    /// A fault of PCI Express or its bus.
    Bus,
    /// A fault of a disk's slot.
    Drive,
}

/// An entry of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedEvent {
    /// Days since 1970; none for one from before the controller's clock was set.
    pub day: Option<i64>,
    /// The sensor's type and name.
    pub sensor: String,
    /// What happened, in the controller's words.
    pub event: String,
    /// Whether it began; else it ended.
    pub is_asserted: bool,
}

/// The entries in the output of `ipmitool -c sel elist`, the oldest first; of a longer log the newest.
#[must_use]
pub fn parse_events(text: &str) -> Vec<ManagedEvent> {
    let lines = text.lines().count().saturating_sub(LINES_MAX);
    text.lines().skip(lines).filter_map(event).collect()
}

fn event(line: &str) -> Option<ManagedEvent> {
    let mut fields = line.split(',').map(str::trim);
    let (_number, date, _time) = (fields.next()?, fields.next()?, fields.next()?);
    let (sensor, event) = (fields.next()?, fields.next()?);
    if sensor.is_empty() || event.is_empty() {
        return None;
    }
    let is_asserted = fields.next() != Some("Deasserted");
    let (sensor, event) = (sensor.to_owned(), event.to_owned());
    Some(ManagedEvent { day: day(date), sensor, event, is_asserted })
}

/// Days since 1970 of `MM/DD/YYYY` or `MM/DD/YY`.
#[must_use]
pub fn day(date: &str) -> Option<i64> {
    let mut parts = date.split('/');
    let mut next = |most: i64| parts.next()?.parse::<i64>().ok().filter(|n| (0..=most).contains(n));
    let (month, day, year) = (next(12)?, next(31)?, next(2199)?);
    let year = if year < 100 { year + 2000 } else { year };
    if month == 0 || day == 0 || year < 1970 || parts.next().is_some() {
        return None;
    }
    // Days before a date of the Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    // Of 1970-01-01.
    Some(days - 719_468)
}

fn kind(event: &ManagedEvent) -> Option<EventKind> {
    let (sensor, what) = (event.sensor.to_lowercase(), event.event.to_lowercase());
    let has = |words: &[&str]| words.iter().any(|word| what.contains(word));
    if sensor.starts_with("memory") || has(&["ecc"]) {
        if has(&["uncorrectable"]) {
            return Some(EventKind::UncorrectableMemory);
        }
        return has(&["correctable ecc logging limit"]).then_some(EventKind::CorrectableMemory);
    }
    if sensor.starts_with("power supply") {
        let words =
            ["failure detected", "ac lost", "input lost", "predictive failure", "out-of-range"];
        return has(&words).then_some(EventKind::PowerSupply);
    }
    if sensor.starts_with("processor") {
        return has(&["ierr", "thermal trip", "frb"]).then_some(EventKind::Processor);
    }
    if sensor.starts_with("critical interrupt") {
        let words = ["fatal", "perr", "serr", "uncorrectable", "pci"];
        return has(&words).then_some(EventKind::Bus);
    }
    if sensor.starts_with("drive slot") {
        return has(&["drive fault", "predictive failure"]).then_some(EventKind::Drive);
    }
    None
}

/// Numbers of sensors.
#[must_use]
pub fn sensor_samples(sensors: &[ManagedSensor]) -> Vec<Sample> {
    let mut seen = BTreeSet::new();
    let of = |sensor: &ManagedSensor| {
        let (value, unit) = sensor.value.as_ref()?;
        let family = match unit.as_str() {
            "degrees C" => TEMPERATURE,
            "RPM" => FAN,
            "Volts" => VOLTAGE,
            "Amps" => CURRENT,
            "Watts" => POWER,
            _ => return None,
        };
        // Some boards give two sensors one name: the first is told.
        let sample = family.sample(vec![("sensor", sensor.name.clone())], *value);
        seen.insert(sample.series()).then_some(sample)
    };
    sensors.iter().filter_map(of).collect()
}

/// How long the log is.
#[must_use]
pub fn event_samples(events: &[ManagedEvent]) -> Vec<Sample> {
    let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
    vec![EVENTS.sample(Vec::new(), number(count))]
}

/// One verdict for each sensor that is read.
#[must_use]
pub fn assess_sensors(sensors: &[ManagedSensor]) -> Vec<Verdict> {
    let judged = sensors.iter().filter(|sensor| sensor.standing != Standing::NotRead);
    let judge = |sensor: &ManagedSensor| {
        let mut case = Case::default();
        let reading = match &sensor.value {
            Some((value, unit)) => format!("reads {value} {unit}"),
            None => "is".to_owned(),
        };
        let name = &sensor.name;
        let beyond = |what: &str| format!("{name} {reading}, beyond its {what} threshold");
        match sensor.standing {
            Standing::Ok | Standing::NotRead => {}
            Standing::NonCritical => case.add(Health::Warning, beyond("non-critical")),
            Standing::Critical => case.add(Health::Failing, beyond("critical")),
            Standing::NonRecoverable => case.add(Health::Failing, beyond("non-recoverable")),
        }
        case.close(Kind::Sensor, format!("management controller {name}"))
    };
    judged.map(judge).collect()
}

/// Verdicts on what the log tells of the last days and that did not end: one for each sensor.
#[must_use]
pub fn assess_events(events: &[ManagedEvent], now_ms: u64) -> Vec<Verdict> {
    let today = i64::try_from(now_ms / 86_400_000).unwrap_or(i64::MAX);
    let mut open: BTreeMap<(EventKind, &str), (u64, &str)> = BTreeMap::new();
    for event in events {
        let Some(kind) = kind(event) else { continue };
        let key = (kind, event.sensor.as_str());
        if !event.is_asserted {
            open.remove(&key);
        } else if event.day.is_some_and(|day| today.saturating_sub(day) <= DAYS) {
            let (count, text) = open.entry(key).or_insert((0, ""));
            (*count, *text) = (*count + 1, &event.event);
        }
    }
    let judge = |((kind, sensor), (count, text)): (&(EventKind, &str), &(u64, &str))| {
        let (component, health, what) = match kind {
            EventKind::UncorrectableMemory => (Kind::Memory, Health::Failing, "replace the module"),
            EventKind::CorrectableMemory => (Kind::Memory, Health::Warning, "replace the module"),
            EventKind::PowerSupply => {
                (Kind::PowerSupply, Health::Failing, "check its cable, then replace it")
            }
            EventKind::Processor => (Kind::Processor, Health::Failing, "check cooling"),
            EventKind::Bus => (Kind::Pcie, Health::Warning, "seat the cards anew"),
            EventKind::Drive => (Kind::Sensor, Health::Warning, "see the disk in it"),
        };
        let mut case = Case::default();
        let text = format!(
            "the management controller logged {text:?} of {sensor} {count} times in {DAYS} days: {what}"
        );
        case.add(health, text);
        case.close(component, format!("management controller {sensor}"))
    };
    open.iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENSORS: &str = "CPU Temp,45,degrees C,ok\nFAN1,0,RPM,lcr\nFAN2,,,ns\nPS1 Status,0x1,,ok\n\
        Vcpu,1.82,Volts,unc,3.1\n\nhalf a line\nCPU Temp,99,degrees C,ok\n";

    // 2024-01-15 is 19737 days after 1970-01-01.
    const NOW_MS: u64 = 19_737 * 86_400_000;

    #[test]
    fn sensors_are_read_and_judged_by_their_thresholds() {
        let sensors = parse_sensors(SENSORS);
        assert_eq!(sensors.len(), 6);
        let seen: Vec<_> = sensor_samples(&sensors).iter().map(|s| (s.series(), s.value)).collect();
        let wanted = [
            ("management_temperature_celsius{sensor=\"CPU Temp\"}".to_owned(), 45.0),
            ("management_fan_turns_per_minute{sensor=\"FAN1\"}".to_owned(), 0.0),
            ("management_voltage_volts{sensor=\"Vcpu\"}".to_owned(), 1.82),
        ];
        assert_eq!(seen, wanted);
        let verdicts = assess_sensors(&sensors);
        let bad: Vec<_> =
            verdicts.iter().filter(|verdict| verdict.health != Health::Healthy).collect();
        assert_eq!((verdicts.len(), bad.len()), (5, 2));
        assert_eq!(bad[0].evidence, ["FAN1 reads 0 RPM, beyond its critical threshold"]);
        assert_eq!((bad[0].health, bad[1].health), (Health::Failing, Health::Warning));
    }

    #[test]
    fn dates_are_days_since_1970() {
        assert_eq!(day("01/01/1970"), Some(0));
        assert_eq!(day("01/15/2024"), Some(19_737));
        assert_eq!(day("01/15/24"), Some(19_737));
        assert_eq!(day("02/29/2024"), Some(19_782));
        for text in ["Pre-Init", "", "13/01/2024", "00/01/2024", "1/1/1", "1/1/1/1", "-1/2/2024"] {
            assert!(day(text).is_none_or(|day| text == "1/1/1" && day > 0), "{text}");
        }
    }

    #[test]
    fn an_event_counts_for_two_weeks_and_until_it_ends() {
        let log = "1,01/14/2024,10:00:00,Power Supply PS1,Failure detected,Asserted\n\
            2,12/01/2023,10:00:00,Memory DIMM_A1,Uncorrectable ECC,Asserted\n\
            3,Pre-Init,,Memory DIMM_B1,Uncorrectable ECC,Asserted\n\
            4,01/10/2024,10:00:00,Memory DIMM_C1,Uncorrectable ECC,Asserted\n\
            5,01/10/2024,10:00:00,Event Logging Disabled SEL,Log area reset/cleared,Asserted\n";
        let events = parse_events(log);
        assert_eq!(events.len(), 5);
        let verdicts = assess_events(&events, NOW_MS);
        let told: Vec<_> = verdicts.iter().map(|v| (v.kind, v.name.as_str())).collect();
        let wanted = [
            (Kind::Memory, "management controller Memory DIMM_C1"),
            (Kind::PowerSupply, "management controller Power Supply PS1"),
        ];
        assert_eq!(told, wanted);
        let ended =
            format!("{log}6,01/15/2024,11:00:00,Power Supply PS1,Failure detected,Deasserted\n");
        assert_eq!(assess_events(&parse_events(&ended), NOW_MS).len(), 1);
    }

    #[test]
    fn of_a_long_log_the_newest_entries_are_read() {
        let line =
            |n: usize| format!("{n},01/14/2024,1:00:00,Power Supply PS{n},AC lost,Asserted\n");
        let log: String = (0..LINES_MAX + 10).map(line).collect();
        let events = parse_events(&log);
        assert_eq!(events.len(), LINES_MAX);
        assert_eq!(events[0].sensor, "Power Supply PS10");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(text in "(?s).{0,300}", now_ms: u64) {
            let (sensors, events) = (parse_sensors(&text), parse_events(&text));
            let _ = (sensor_samples(&sensors), event_samples(&events), assess_sensors(&sensors));
            let _ = assess_events(&events, now_ms);
            let _ = day(&text);
        }

        #[test]
        fn fields_are_read_whatever_is_in_them(fields in prop::collection::vec("[a-z0-9/.]{0,5}", 0..9)) {
            let text = fields.join(",");
            let _ = assess_sensors(&parse_sensors(&text));
            let _ = parse_events(&text);
        }
    }
}
