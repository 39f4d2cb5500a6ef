//! Disks with a past that somebody claims by hand: what real tools wrote is found by none of them afterwards.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use disk_manager::blocks::Blocks;
use disk_manager::claim::{ClaimError, Target};
use disk_manager::erase::erase;
use disk_manager_plan::by_hand::check;
use disk_manager_plan::observe::Smart;
use disk_manager_plan::report::{DiskId, Ownership};
use disk_manager_plan::{Inventory, Step, plan};
use uuid::Uuid;

use crate::images::{Image, policy};
use crate::survey::PASTS;

/// An image as a disk that is held.
struct Disk(File);

impl Blocks for Disk {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
}

impl Target for Disk {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn settle(&mut self) -> Result<(), ClaimError> {
        Ok(())
    }

    fn format(&mut self, _volume: Uuid) -> Result<(), ClaimError> {
        Ok(())
    }
}

#[test]
fn a_disk_with_any_past_is_claimed_as_blank_once_it_is_erased_by_hand() {
    let id = DiskId("virtio-image".to_owned());
    for (name, make, _) in PASTS {
        let image = Image::new();
        make(&image);
        let inventory = |erased: &[DiskId]| Inventory {
            disks: vec![image.observe()],
            erased: erased.to_vec(),
            settled: true,
            ..Inventory::default()
        };
        let before = inventory(&[]);
        let typed = ("IMAGE", &Smart::NotSupported("virtio".to_owned()));
        let wanted = check(&before, &plan(&before, &policy()), &policy(), &id, typed);
        let wanted = wanted.unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let file = OpenOptions::new().read(true).write(true).open(image.path()).unwrap();
        let smart = Smart::NotSupported("virtio".to_owned());
        let look = |_: &mut Disk| {
            Ok(disk_manager_plan::ObservedDisk { smart: smart.clone(), ..image.observe() })
        };
        erase(&mut Disk(file), &wanted, &[], look)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = plan(&inventory(std::slice::from_ref(&id)), &policy());
        assert_eq!(after.judgements[0].ownership, Ownership::Blank, "{name}: {after}");
        assert!(
            matches!(after.steps.as_slice(), [Step::MintIdentity, Step::Claim { .. }]),
            "{name}: {after}"
        );
    }
}
