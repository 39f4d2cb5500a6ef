//! Devices on PCI Express: errors on their links (AER), and links that run below what both ends could do.
//!
//! Source: /sys/bus/pci/devices (Documentation/ABI/testing/sysfs-bus-pci and
//! sysfs-bus-pci-devices-aer_stats). An error counts at the end that noticed it, which may be the sound
//! one: both ends are named.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample, number};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Corrected errors a day above which a link is bad: one a minute. Each costs a repetition of some
/// microseconds; a sound link has none for days (PCIe Base 6.0, 4.2.8.4: less than 10^-12 errors a bit).
const CORRECTED_A_DAY: f64 = 1440.0;

const ERRORS: Family =
    Family::counter("pcie_errors", "Errors on links of PCI Express, as the device counts them");
const WIDTH: Family = Family::gauge("pcie_link_width", "Lanes of the link of a device");
const WIDTH_MAX: Family =
    Family::gauge("pcie_link_width_limit", "Lanes that both ends of the link of a device have");
const SPEED: Family = Family::gauge(
    "pcie_link_transfers_per_second",
    "Transfers a second on each lane of the link of a device",
);

/// What is told of PCI Express.
pub(crate) const FAMILIES: &[Family] = &[ERRORS, WIDTH, WIDTH_MAX, SPEED];

/// A device on PCI Express.
#[derive(Debug, Clone, PartialEq)]
pub struct PcieDevice {
    /// Its address, such as `0000:01:00.0`.
    pub address: String,
    /// What it is, in words, as far as its class says.
    pub what: &'static str,
    /// The address of the port that it is plugged into; none where that is not told.
    pub partner: Option<String>,
    /// Errors since the machine was started; none where the device does not count them.
    pub errors: Option<Errors>,
    /// Its link; none while it has none.
    pub link: Option<Link>,
}

/// Errors that a device has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Errors {
    /// Corrected by repetition.
    pub corrected: u64,
    /// Lost transactions on a link that goes on.
    pub nonfatal: u64,
    /// The link was not usable any more.
    pub fatal: u64,
}

/// A link and what its ends can do. Speeds in 10^9 transfers a second on each lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Lanes now.
    pub width: u32,
    /// Lanes that both ends have.
    pub width_max: u32,
    /// Speed now.
    pub speed: f64,
    /// Speed that both ends have.
    pub speed_max: f64,
}

/// Reads the devices below `sys`, which is `/sys` but for tests.
#[must_use]
pub fn read_pcie(sys: &Path) -> Reading<Vec<PcieDevice>> {
    Reading::of(read(sys))
}

fn read(sys: &Path) -> Result<Option<Vec<PcieDevice>>, String> {
    let root = sysfs::below(sys, &["bus", "pci", "devices"]);
    let Some(addresses) = sysfs::entries(&root)? else { return Ok(None) };
    let mut devices = Vec::new();
    for address in addresses {
        let folder = root.join(&address);
        let partner = partner(&folder);
        let upstream = partner.as_ref().map(|partner| root.join(partner));
        let errors = errors(&folder);
        let link = link(&folder, upstream.as_deref());
        // What is neither is on no link: a part of the chipset.
        if errors.is_none() && link.is_none() {
            continue;
        }
        let what = class(sysfs::word(&folder.join("class")).as_deref());
        devices.push(PcieDevice { address, what, partner, errors, link });
    }
    Ok((!devices.is_empty()).then_some(devices))
}

/// The port above it: the folder in which its own stands.
fn partner(folder: &Path) -> Option<String> {
    let place = fs::canonicalize(folder).ok()?;
    let above = place.parent()?.file_name()?.to_str()?;
    // A root port stands in the folder of its bus, `pci0000:00`.
    let is_address = above.matches(':').count() == 2 && above.contains('.');
    is_address.then(|| above.to_owned())
}

fn errors(folder: &Path) -> Option<Errors> {
    let of = |kind: &str, total: &str| {
        aer_total(&sysfs::word(&folder.join(format!("aer_dev_{kind}")))?, total)
    };
    Some(Errors {
        corrected: of("correctable", "TOTAL_ERR_COR")?,
        nonfatal: of("nonfatal", "TOTAL_ERR_NONFATAL")?,
        fatal: of("fatal", "TOTAL_ERR_FATAL")?,
    })
}

/// The number behind `total` in a list of errors, one kind a line.
#[must_use]
pub fn aer_total(text: &str, total: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.trim().rsplit_once(' '));
    lines.find(|(name, _)| name.trim() == total)?.1.parse().ok()
}

fn link(folder: &Path, upstream: Option<&Path>) -> Option<Link> {
    let width = |folder: &Path, name: &str| {
        sysfs::value::<u32>(&folder.join(name)).filter(|width| (1..=32).contains(width))
    };
    let speed = |folder: &Path, name: &str| link_speed(&sysfs::word(&folder.join(name))?);
    let mut link = Link {
        width: width(folder, "current_link_width")?,
        width_max: width(folder, "max_link_width")?,
        speed: speed(folder, "current_link_speed")?,
        speed_max: speed(folder, "max_link_speed")?,
    };
    // A device that could do more than its slot is not at fault, nor is the slot.
    if let Some(above) = upstream {
        link.width_max = link.width_max.min(width(above, "max_link_width").unwrap_or(u32::MAX));
        link.speed_max = link.speed_max.min(speed(above, "max_link_speed").unwrap_or(f64::MAX));
    }
    Some(link)
}

/// The number of `8.0 GT/s PCIe`; none for `Unknown` and what is no speed.
#[must_use]
pub fn link_speed(text: &str) -> Option<f64> {
    let (number, _) = text.split_once(" GT/s")?;
    number.trim().parse().ok().filter(|speed: &f64| (1.0..1000.0).contains(speed))
}

/// Class codes of PCI (PCI Code and ID Assignment 1.15), as far as a node has such devices.
fn class(code: Option<&str>) -> &'static str {
    let digits = code.and_then(|code| code.strip_prefix("0x")).unwrap_or_default();
    match digits.get(..4) {
        Some("0108") => "NVMe disk",
        Some("0106" | "0107" | "0104") => "disk controller",
        Some("0200" | "0207" | "0280") => "network card",
        Some("0604") => "port",
        _ => "device",
    }
}

/// Reads the devices below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path) -> Gathered {
    Gathered::of(
        (Kind::Pcie, "PCI Express"),
        read_pcie(sys),
        |all| samples(all),
        |all, trends, now_ms| assess(all, trends, now_ms),
    )
}

/// The numbers.
#[must_use]
pub fn samples(devices: &[PcieDevice]) -> Vec<Sample> {
    devices.iter().flat_map(of_device).collect()
}

fn of_device(device: &PcieDevice) -> Vec<Sample> {
    let mut all = Vec::new();
    if let Some(errors) = device.errors {
        let kinds = [
            ("corrected", errors.corrected),
            ("nonfatal", errors.nonfatal),
            ("fatal", errors.fatal),
        ];
        all.extend(
            kinds.map(|(kind, count)| ERRORS.sample(labels(device, Some(kind)), number(count))),
        );
    }
    if let Some(link) = device.link {
        all.push(WIDTH.sample(labels(device, None), f64::from(link.width)));
        all.push(WIDTH_MAX.sample(labels(device, None), f64::from(link.width_max)));
        all.push(SPEED.sample(labels(device, None), link.speed * 1e9));
    }
    all
}

fn labels(device: &PcieDevice, kind: Option<&str>) -> Vec<(&'static str, String)> {
    let mut labels = vec![("device", device.address.clone())];
    labels.extend(kind.map(|kind| ("kind", kind.to_owned())));
    labels
}

/// One verdict for each device.
#[must_use]
pub fn assess(devices: &[PcieDevice], trends: &Trends, now_ms: u64) -> Vec<Verdict> {
    devices.iter().map(|device| assess_device(device, trends, now_ms)).collect()
}

fn assess_device(device: &PcieDevice, trends: &Trends, now_ms: u64) -> Verdict {
    let mut case = Case::default();
    let ends = match &device.partner {
        Some(partner) => format!("{} {} and its partner {partner}", device.what, device.address),
        None => format!("{} {}", device.what, device.address),
    };
    let in_a_day = |kind| trends.of(&ERRORS.sample(labels(device, Some(kind)), 0.0), now_ms, DAY);
    if device.errors.is_some() {
        let [fatal, nonfatal, corrected] = ["fatal", "nonfatal", "corrected"].map(in_a_day);
        if fatal > 0.0 {
            let text = format!(
                "{fatal} fatal PCIe errors in 24 hours between {ends}: seat it anew, then replace it"
            );
            case.add(Health::Failing, text);
        }
        if nonfatal > 0.0 {
            let text = format!(
                "{nonfatal} PCIe errors in 24 hours between {ends}: seat it anew, check the riser"
            );
            case.add(Health::Warning, text);
        }
        if corrected > CORRECTED_A_DAY {
            let text = format!(
                "{corrected} corrected PCIe errors in 24 hours between {ends}: seat it anew, check the riser"
            );
            case.add(Health::Warning, text);
        }
    }
    if let Some(link) = device.link {
        if link.width < link.width_max {
            let (now, most) = (link.width, link.width_max);
            let text = format!("link x{now} of x{most} between {ends}: seat it anew");
            case.add(Health::Warning, text);
        }
        // Equal numbers are of the same text.
        if link.speed < link.speed_max {
            let (now, most) = (link.speed, link.speed_max);
            let text = format!(
                "link at {now} of {most} GT/s between {ends}: seat it anew, check the riser"
            );
            case.add(Health::Warning, text);
        }
    }
    case.close(Kind::Pcie, device.address.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::sysfs::fake::{link, tree, write};

    const PORT: &str = "devices/pci0000:00/0000:00:01.0";
    const CARD: &str = "devices/pci0000:00/0000:00:01.0/0000:01:00.0";

    /// A port for x8 at 8 GT/s with a disk that could do x16 at 16 GT/s.
    fn machine(width: &str, speed: &str, fatal: &str) -> tempfile::TempDir {
        let root = tree(&[]);
        let put = |folder: &str, name: &str, text: &str| {
            write(root.path(), &format!("{folder}/{name}"), text);
        };
        for (folder, most) in [(PORT, ["8", "8.0 GT/s PCIe"]), (CARD, ["16", "16.0 GT/s PCIe"])] {
            put(folder, "max_link_width", most[0]);
            put(folder, "max_link_speed", most[1]);
            put(folder, "current_link_width", width);
            put(folder, "current_link_speed", speed);
        }
        put(CARD, "class", "0x010802");
        put(CARD, "aer_dev_correctable", "RxErr 1\nBadTLP 2\nTOTAL_ERR_COR 3");
        put(CARD, "aer_dev_nonfatal", "Undefined 0\nTOTAL_ERR_NONFATAL 0");
        put(CARD, "aer_dev_fatal", &format!("Undefined 0\nTOTAL_ERR_FATAL {fatal}"));
        link(root.path(), "bus/pci/devices/0000:00:01.0", PORT);
        link(root.path(), "bus/pci/devices/0000:01:00.0", CARD);
        write(root.path(), "bus/pci/devices/0000:00:1f.0/class", "0x060100");
        root
    }

    fn known(root: &tempfile::TempDir) -> Vec<PcieDevice> {
        match read_pcie(root.path()) {
            Reading::Known(devices) => devices,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_link_is_compared_with_what_both_ends_can_do() {
        let devices = known(&machine("8", "8.0 GT/s PCIe", "0"));
        assert_eq!(devices.len(), 2, "the one without a link is part of the chipset");
        let verdicts = assess(&devices, &Trends::default(), 0);
        assert!(verdicts.iter().all(|verdict| verdict.health == Health::Healthy), "{verdicts:?}");
        let narrow = known(&machine("4", "2.5 GT/s PCIe", "0"));
        let verdict = assess(&narrow, &Trends::default(), 0).remove(1);
        assert_eq!(verdict.health, Health::Warning);
        let ends = "between NVMe disk 0000:01:00.0 and its partner 0000:00:01.0: seat it anew";
        assert_eq!(verdict.evidence[0], format!("link x4 of x8 {ends}"));
        assert!(verdict.evidence[1].starts_with("link at 2.5 of 8 GT/s "), "{verdict:?}");
        // A port with nothing plugged in.
        assert_eq!(known(&machine("0", "Unknown", "0"))[0].link, None);
    }

    #[test]
    fn errors_count_when_they_rise_and_both_ends_are_named() {
        let (before, now) =
            (machine("8", "8.0 GT/s PCIe", "1"), machine("8", "8.0 GT/s PCIe", "3"));
        let (before, now) = (known(&before), known(&now));
        assert_eq!(now[1].errors, Some(Errors { corrected: 3, nonfatal: 0, fatal: 3 }));
        let mut trends = Trends::default();
        trends.record(0, &samples(&before));
        assert_eq!(assess(&before, &trends, 0)[1].health, Health::Healthy);
        trends.record(1000, &samples(&now));
        let verdict = assess(&now, &trends, 1000).remove(1);
        assert_eq!(verdict.health, Health::Failing);
        let wanted = "2 fatal PCIe errors in 24 hours between NVMe disk 0000:01:00.0 and its partner \
                      0000:00:01.0: seat it anew, then replace it";
        assert_eq!(verdict.evidence, [wanted]);
        assert_eq!(assess(&now, &trends, 1000 + 86_400_001)[1].health, Health::Healthy);
    }

    #[test]
    fn a_machine_without_the_bus_has_none() {
        assert_eq!(read_pcie(Path::new("/nonexistent")), Reading::Absent);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(text in "(?s).{0,200}") {
            let _ = aer_total(&text, "TOTAL_ERR_COR");
            let _ = link_speed(&text);
            let _ = class(Some(&text));
        }

        #[test]
        fn the_total_is_found_behind_other_lines(total: u64, others in "([A-Z][a-z]{2,9} [0-9]{1,5}\n){0,9}") {
            prop_assert_eq!(aer_total(&format!("{others}TOTAL_ERR_COR {total}\n"), "TOTAL_ERR_COR"), Some(total));
        }
    }
}
