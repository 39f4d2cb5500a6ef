//! Temperatures, fans, voltages, currents and power of the main board (hwmon).
//!
//! Source: /sys/class/hwmon (Documentation/hwmon/sysfs-interface.rst). The chips `drivetemp` and
//! `nvme` are left out: reading those asks a disk, which may sleep or hang; its SMART data tell the same.

use std::path::Path;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

/// Chips whose sensors stand in disks.
const IN_DISKS: [&str; 2] = ["drivetemp", "nvme"];

/// Most sensors of one chip; the largest Super I/O chips have some 60.
const SENSORS_MAX: usize = 256;

/// Degrees Celsius that a sensor which is connected can show: unconnected inputs of common chips show
/// −128, −62 or 127.5 and more.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = -40.0..=125.0;

const TEMPERATURE: Family = Family::gauge("sensor_temperature_celsius", "Temperatures");
const TEMPERATURE_LIMIT: Family = Family::gauge(
    "sensor_temperature_limit_celsius",
    "Temperatures from which on a sensor's chip calls it critical",
);
const FAN: Family = Family::gauge("sensor_fan_turns_per_minute", "Turns a minute of fans");
const VOLTAGE: Family = Family::gauge("sensor_voltage_volts", "Voltages");
const CURRENT: Family = Family::gauge("sensor_current_amperes", "Currents");
const POWER: Family = Family::gauge("sensor_power_watts", "Power");
const ALARM: Family =
    Family::gauge("sensor_alarm", "1 while a sensor's chip raises an alarm, else 0");

/// What is told of sensors.
pub(crate) const FAMILIES: &[Family] =
    &[TEMPERATURE, TEMPERATURE_LIMIT, FAN, VOLTAGE, CURRENT, POWER, ALARM];

/// What a sensor measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Degrees Celsius.
    Temperature,
    /// Turns a minute.
    Fan,
    /// Volts.
    Voltage,
    /// Amperes.
    Current,
    /// Watts.
    Power,
}

/// Quantities, how their files begin, and how many of the files' units make one of ours.
const QUANTITIES: [(Quantity, &str, f64); 5] = [
    (Quantity::Temperature, "temp", 1e3),
    (Quantity::Fan, "fan", 1.0),
    (Quantity::Voltage, "in", 1e3),
    (Quantity::Current, "curr", 1e3),
    (Quantity::Power, "power", 1e6),
];

/// A sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensor {
    /// The chip that reads it: its name and where it is.
    pub chip: String,
    /// Its label, or else the name of its files.
    pub name: String,
    /// What it measures.
    pub quantity: Quantity,
    /// The reading.
    pub value: f64,
    /// The lowest that is well.
    pub least: Option<f64>,
    /// The highest that is well.
    pub most: Option<f64>,
    /// From where on it is critical.
    pub critical: Option<f64>,
    /// Whether the chip raises an alarm; none where it has none to raise.
    pub alarm: Option<bool>,
    /// Whether that is the critical one.
    pub critical_alarm: Option<bool>,
}

/// Reads the sensors below `sys`, which is `/sys` but for tests.
#[must_use]
pub fn read_sensors(sys: &Path) -> Reading<Vec<Sensor>> {
    Reading::of(read(sys))
}

fn read(sys: &Path) -> Result<Option<Vec<Sensor>>, String> {
    let root = sysfs::below(sys, &["class", "hwmon"]);
    let Some(chips) = sysfs::entries(&root)? else { return Ok(None) };
    let mut sensors: Vec<Sensor> = Vec::new();
    for chip in chips {
        let folder = root.join(&chip);
        let Some(name) = sysfs::word(&folder.join("name")) else { continue };
        if IN_DISKS.contains(&name.as_str()) {
            continue;
        }
        // `hwmon3` may be another chip after the next start; its device is the same.
        let chip = match sysfs::link_name(&folder.join("device")) {
            Some(device) if device != name => format!("{name}-{device}"),
            _ => name,
        };
        let files = sysfs::entries(&folder)?.unwrap_or_default();
        let found = files.iter().filter_map(|file| sensor(&folder, &chip, file));
        for sensor in found.take(SENSORS_MAX) {
            let is_known = |known: &Sensor| {
                (&known.chip, &known.name, known.quantity)
                    == (&sensor.chip, &sensor.name, sensor.quantity)
            };
            if !sensors.iter().any(is_known) {
                sensors.push(sensor);
            }
        }
    }
    Ok((!sensors.is_empty()).then_some(sensors))
}

/// The sensor that is read from `file`, if it is one's.
fn sensor(folder: &Path, chip: &str, file: &str) -> Option<Sensor> {
    let (stem, what) = file.split_once('_')?;
    let of = |(_, word, _): &&(Quantity, &str, f64)| sysfs::numbered(stem, word).is_some();
    let (quantity, _, scale) = *QUANTITIES.iter().find(of)?;
    let is_reading = match quantity {
        Quantity::Power => {
            what == "input" || (what == "average" && !folder.join(format!("{stem}_input")).exists())
        }
        _ => what == "input",
    };
    if !is_reading {
        return None;
    }
    let number = |what: &str| {
        let value: f64 = sysfs::value(&folder.join(format!("{stem}_{what}")))?;
        value.is_finite().then_some(value / scale)
    };
    let flag = |what: &str| {
        sysfs::value::<u8>(&folder.join(format!("{stem}_{what}"))).map(|flag| flag != 0)
    };
    let value = number(what)?;
    if quantity == Quantity::Temperature && !PLAUSIBLE.contains(&value) {
        return None;
    }
    let alarms = ["alarm", "max_alarm", "min_alarm", "fault"].map(flag);
    let alarm = alarms.into_iter().flatten().reduce(|one, other| one || other);
    let name =
        sysfs::word(&folder.join(format!("{stem}_label"))).unwrap_or_else(|| stem.to_owned());
    // Limits of 0 and below are those of chips that were never set up.
    let limit = |what: &str| number(what).filter(|limit| *limit > 0.0);
    Some(Sensor {
        chip: chip.to_owned(),
        name,
        quantity,
        value,
        least: limit("min"),
        most: limit("max"),
        critical: limit("crit"),
        alarm,
        critical_alarm: flag("crit_alarm"),
    })
}

/// Reads the sensors below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path) -> Gathered {
    Gathered::of(
        (Kind::Sensor, "sensors"),
        read_sensors(sys),
        |all| samples(all),
        |all, trends, now_ms| assess(all, trends, now_ms),
    )
}

/// The numbers.
#[must_use]
pub fn samples(sensors: &[Sensor]) -> Vec<Sample> {
    let of = |sensor: &Sensor| {
        let family = match sensor.quantity {
            Quantity::Temperature => TEMPERATURE,
            Quantity::Fan => FAN,
            Quantity::Voltage => VOLTAGE,
            Quantity::Current => CURRENT,
            Quantity::Power => POWER,
        };
        let labels = || vec![("chip", sensor.chip.clone()), ("sensor", sensor.name.clone())];
        let mut all = vec![family.sample(labels(), sensor.value)];
        if let Some(critical) = sensor.critical.filter(|_| sensor.quantity == Quantity::Temperature)
        {
            all.push(TEMPERATURE_LIMIT.sample(labels(), critical));
        }
        let alarm = [sensor.alarm, sensor.critical_alarm].into_iter().flatten();
        if let Some(alarm) = alarm.reduce(|one, other| one || other) {
            let mut labels = labels();
            labels.push(("quantity", called(sensor.quantity).to_owned()));
            all.push(ALARM.sample(labels, f64::from(u8::from(alarm))));
        }
        all
    };
    sensors.iter().flat_map(of).collect()
}

fn called(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Temperature => "temperature",
        Quantity::Fan => "fan",
        Quantity::Voltage => "voltage",
        Quantity::Current => "current",
        Quantity::Power => "power",
    }
}

/// One verdict for each temperature and fan, and for each other sensor that its chip gives a critical
/// limit for. Alarms of voltages without one are those of inputs that boards leave open.
#[must_use]
pub fn assess(sensors: &[Sensor], _: &Trends, _: u64) -> Vec<Verdict> {
    let judged = sensors.iter().filter(|sensor| match sensor.quantity {
        Quantity::Temperature => true,
        // One that never turned is a header without a fan.
        Quantity::Fan => sensor.value > 0.0 || sensor.alarm == Some(true),
        Quantity::Voltage | Quantity::Current | Quantity::Power => sensor.critical.is_some(),
    });
    judged.map(assess_sensor).collect()
}

fn assess_sensor(sensor: &Sensor) -> Verdict {
    let mut case = Case::default();
    let Sensor { chip, name, quantity, value, least, most, critical, alarm, critical_alarm } =
        sensor;
    let at = format!("{name} of {chip}");
    match quantity {
        Quantity::Temperature => {
            if let Some(limit) = critical.filter(|limit| value >= limit) {
                let text =
                    format!("{at} has {value} °C, critical from {limit} °C on: check fans and air");
                case.add(Health::Failing, text);
            } else if *critical_alarm == Some(true) {
                let text =
                    format!("{at} raises a critical alarm at {value} °C: check fans and air");
                case.add(Health::Failing, text);
            } else if let Some(limit) = most.filter(|limit| value >= limit) {
                let text = format!("{at} has {value} °C, above {limit} °C: check fans and air");
                case.add(Health::Warning, text);
            }
        }
        Quantity::Fan => {
            let is_slow = least.is_some_and(|least| *value < least);
            if *value <= 0.0 && *alarm == Some(true) {
                case.add(Health::Failing, format!("{at} stands still: replace the fan"));
            } else if is_slow || *alarm == Some(true) {
                let least = least.map_or(String::new(), |least| format!(", least {least}"));
                let text =
                    format!("{at} turns at {value} a minute{least}: clean or replace the fan");
                case.add(Health::Warning, text);
            }
        }
        Quantity::Voltage | Quantity::Current | Quantity::Power => {
            let what = called(*quantity);
            if critical.is_some_and(|limit| *value >= limit) || *critical_alarm == Some(true) {
                let text = format!("{what} {at} is {value}, beyond its critical limit");
                case.add(Health::Failing, text);
            } else if *alarm == Some(true) {
                case.add(Health::Warning, format!("{what} {at} is {value} and raises an alarm"));
            }
        }
    }
    case.close(Kind::Sensor, format!("{chip} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::{link, tree};

    fn machine(files: &[(&str, &str)]) -> Vec<Sensor> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("class/hwmon/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let root = tree(&files);
        std::fs::create_dir_all(root.path().join("devices/coretemp.0")).expect("a folder");
        link(root.path(), "class/hwmon/hwmon0/device", "devices/coretemp.0");
        match read_sensors(root.path()) {
            Reading::Known(sensors) => sensors,
            other => panic!("{other:?}"),
        }
    }

    fn judged(files: &[(&str, &str)]) -> Verdict {
        assess(&machine(files), &Trends::default(), 0).remove(0)
    }

    #[test]
    fn sensors_are_read_in_base_units_with_their_labels() {
        let sensors = machine(&[
            ("hwmon0/name", "coretemp"),
            ("hwmon0/temp1_input", "45500"),
            ("hwmon0/temp1_label", "Package id 0"),
            ("hwmon0/temp1_crit", "100000"),
            ("hwmon0/temp2_input", "-62000"),
            ("hwmon0/temp3_input", "warm"),
            ("hwmon0/in0_input", "1104"),
            ("hwmon0/power1_average", "95000000"),
            ("hwmon0/uevent", ""),
            ("hwmon1/name", "drivetemp"),
            ("hwmon1/temp1_input", "30000"),
        ]);
        let seen: Vec<_> = samples(&sensors).iter().map(|s| (s.series(), s.value)).collect();
        let labels = |sensor: &str| format!("{{chip=\"coretemp-coretemp.0\",sensor=\"{sensor}\"}}");
        let wanted = [
            (format!("sensor_voltage_volts{}", labels("in0")), 1.104),
            (format!("sensor_power_watts{}", labels("power1")), 95.0),
            (format!("sensor_temperature_celsius{}", labels("Package id 0")), 45.5),
            (format!("sensor_temperature_limit_celsius{}", labels("Package id 0")), 100.0),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(read_sensors(Path::new("/nonexistent")), Reading::Absent);
    }

    #[test]
    fn temperatures_are_judged_by_the_limits_of_their_chip() {
        let at = |value: &str| {
            let files = [
                ("hwmon0/name", "coretemp"),
                ("hwmon0/temp1_input", value),
                ("hwmon0/temp1_max", "84000"),
                ("hwmon0/temp1_crit", "100000"),
            ];
            judged(&files)
        };
        assert_eq!(at("83000").health, Health::Healthy);
        assert_eq!(at("84000").health, Health::Warning);
        let verdict = at("101000");
        assert_eq!(verdict.health, Health::Failing);
        let wanted =
            "temp1 of coretemp-coretemp.0 has 101 °C, critical from 100 °C on: check fans and air";
        assert_eq!(verdict.evidence, [wanted]);
        // Limits that were never set up are none.
        let files = [
            ("hwmon0/name", "x"),
            ("hwmon0/temp1_input", "40000"),
            ("hwmon0/temp1_max", "0"),
            ("hwmon0/temp1_crit", "-1000"),
        ];
        assert_eq!(judged(&files).health, Health::Healthy);
    }

    #[test]
    fn a_fan_that_stands_still_with_an_alarm_fails_and_a_header_without_a_fan_does_not() {
        let files = |turns, alarm| {
            [("hwmon0/name", "nct"), ("hwmon0/fan1_input", turns), ("hwmon0/fan1_alarm", alarm)]
        };
        assert_eq!(judged(&files("0", "1")).health, Health::Failing);
        assert_eq!(judged(&files("800", "1")).health, Health::Warning);
        assert_eq!(judged(&files("800", "0")).health, Health::Healthy);
        assert!(assess(&machine(&files("0", "0")), &Trends::default(), 0).is_empty());
    }

    #[test]
    fn a_voltage_is_judged_only_where_its_chip_says_what_is_critical() {
        let open = [("hwmon0/name", "nct"), ("hwmon0/in3_input", "0"), ("hwmon0/in3_alarm", "1")];
        assert!(assess(&machine(&open), &Trends::default(), 0).is_empty());
        let files =
            [("hwmon0/name", "pmbus"), ("hwmon0/in3_input", "12900"), ("hwmon0/in3_crit", "12600")];
        assert_eq!(judged(&files).health, Health::Failing);
    }
}
