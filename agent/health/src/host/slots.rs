//! Slots of enclosures, and which disk is in which (/sys/class/enclosure, the driver `ses`:
//! Documentation/scsi/scsi_mid_low_api.rst, drivers/misc/enclosure.c).

use std::collections::BTreeMap;
use std::path::Path;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

/// Whether a slot has a fault; its labels tell the slot and the disk in it.
pub const FAULT: Family = Family::gauge(
    "enclosure_slot_fault",
    "1 while an enclosure reports a fault of a slot, else 0; the disk in it is a label",
);

/// What is told of slots.
pub(crate) const FAMILIES: &[Family] = &[FAULT];

/// A slot of an enclosure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The enclosure's address.
    pub enclosure: String,
    /// What the enclosure calls the slot.
    pub name: String,
    /// The lasting name of the disk in it, or the kernel's where it has none; none where it is empty.
    pub disk: Option<String>,
    /// Whether the enclosure reports a fault; none where it does not tell.
    pub fault: Option<bool>,
}

/// Reads the slots below `sys`, which is `/sys` but for tests; `names` gives the lasting names of disks
/// by those of the kernel.
#[must_use]
pub fn read_slots(sys: &Path, names: &BTreeMap<String, String>) -> Reading<Vec<Slot>> {
    Reading::of(read(sys, names))
}

fn read(sys: &Path, names: &BTreeMap<String, String>) -> Result<Option<Vec<Slot>>, String> {
    let root = sysfs::below(sys, &["class", "enclosure"]);
    let mut slots = Vec::new();
    for enclosure in sysfs::entries(&root)?.unwrap_or_default() {
        let folder = root.join(&enclosure);
        for name in sysfs::entries(&folder)?.unwrap_or_default() {
            let folder = folder.join(&name);
            // Slots are the folders with a number of their own.
            if !folder.join("status").exists() {
                continue;
            }
            let blocks = sysfs::entries(&folder.join("device/block"))?.unwrap_or_default();
            let disk = blocks.into_iter().next();
            slots.push(Slot {
                enclosure: enclosure.clone(),
                disk: disk.map(|disk| names.get(&disk).cloned().unwrap_or(disk)),
                fault: sysfs::value::<u8>(&folder.join("fault")).map(|fault| fault != 0),
                name,
            });
        }
    }
    Ok((!slots.is_empty()).then_some(slots))
}

/// Reads the slots below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path, names: &BTreeMap<String, String>) -> Gathered {
    Gathered::of(
        (Kind::Sensor, "enclosures"),
        read_slots(sys, names),
        |all| samples(all),
        |all, trends, now_ms| assess(all, trends, now_ms),
    )
}

/// The numbers.
#[must_use]
pub fn samples(slots: &[Slot]) -> Vec<Sample> {
    let of = |slot: &Slot| {
        let labels = vec![
            ("enclosure", slot.enclosure.clone()),
            ("slot", slot.name.clone()),
            ("disk", slot.disk.clone().unwrap_or_default()),
        ];
        slot.fault.map(|fault| FAULT.sample(labels, f64::from(u8::from(fault))))
    };
    slots.iter().filter_map(of).collect()
}

/// One verdict for each slot that tells of faults.
#[must_use]
pub fn assess(slots: &[Slot], _: &Trends, _: u64) -> Vec<Verdict> {
    let judge = |slot: &Slot| {
        let fault = slot.fault?;
        let mut case = Case::default();
        if fault {
            let disk = match &slot.disk {
                Some(disk) => format!("with disk {disk}"),
                None => "which is empty".to_owned(),
            };
            let text = format!("the enclosure reports a fault of slot {}, {disk}", slot.name);
            case.add(Health::Warning, text);
        }
        Some(case.close(Kind::Sensor, format!("enclosure {} slot {}", slot.enclosure, slot.name)))
    };
    slots.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::tree;

    #[test]
    fn a_slot_tells_its_disk_and_its_fault() {
        let root = tree(&[
            ("class/enclosure/0:0:9:0/Slot 01/status", "OK"),
            ("class/enclosure/0:0:9:0/Slot 01/fault", "1"),
            ("class/enclosure/0:0:9:0/Slot 01/device/block/sda/size", "1"),
            ("class/enclosure/0:0:9:0/Slot 02/status", "not installed"),
            ("class/enclosure/0:0:9:0/Slot 02/fault", "0"),
            ("class/enclosure/0:0:9:0/components", "2"),
        ]);
        let names = [("sda".to_owned(), "wwn-1".to_owned())].into();
        let reading = read_slots(root.path(), &names);
        let Reading::Known(slots) = reading else { panic!("{reading:?}") };
        assert_eq!(slots.len(), 2);
        assert_eq!(slots[0].disk.as_deref(), Some("wwn-1"));
        let verdicts = assess(&slots, &Trends::default(), 0);
        let wanted = "the enclosure reports a fault of slot Slot 01, with disk wwn-1";
        assert_eq!(verdicts[0].evidence, [wanted]);
        assert_eq!(verdicts[1].health, Health::Healthy);
        assert_eq!(samples(&slots)[0].value, 1.0);
        assert_eq!(read_slots(Path::new("/nonexistent"), &names), Reading::Absent);
    }
}
