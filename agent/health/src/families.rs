//! Every family of samples that this crate takes.

use crate::sample::Family;
use crate::{clock, drive, host};

/// All of them, in the order in which they are told.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let all: [&[Family]; 12] = [
        drive::FAMILIES,
        host::memory_modules::FAMILIES,
        host::processor::FAMILIES,
        host::pcie::FAMILIES,
        host::sensors::FAMILIES,
        host::management::FAMILIES,
        host::network::FAMILIES,
        host::disk_activity::FAMILIES,
        host::slots::FAMILIES,
        host::kernel_log::FAMILIES,
        clock::FAMILIES,
        host::uptime::FAMILIES,
    ];
    all.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::SampleKind;

    #[test]
    fn every_number_of_a_disk_is_of_a_family() {
        let id = disk_manager_plan::report::DiskId("wwn-1".to_owned());
        let texts = [
            include_str!("../fixtures/smartctl/ata.json"),
            include_str!("../fixtures/smartctl/nvme.json"),
        ];
        for text in texts {
            let samples = drive::decode(0, text).samples(&id);
            assert!(samples.len() > 5, "{samples:?}");
            for sample in samples {
                let family = families().find(|family| family.name == sample.name);
                assert_eq!(family.map(|family| family.kind), Some(sample.kind), "{sample:?}");
            }
        }
    }

    #[test]
    fn families_have_names_of_their_own_in_base_units_and_tell_what_they_are() {
        let mut names = BTreeSet::new();
        for family in families() {
            let name = family.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
            assert!(!family.help.is_empty() && !family.help.ends_with('.'), "{name}");
            for wrong in
                ["_total", "_info", "_count", "_sum", "_bucket", "_ms", "_percent", "_mbps"]
            {
                assert!(!name.ends_with(wrong), "{name}");
            }
            if family.kind == SampleKind::Counter {
                assert!(!name.ends_with("_celsius") && !name.ends_with("_ratio"), "{name}");
            }
        }
    }
}
