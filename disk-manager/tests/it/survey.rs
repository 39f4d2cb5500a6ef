//! Which images are blank and which are not, and that looking changes no byte.

use std::fs;

use disk_manager_plan::Step;
use disk_manager_plan::report::Ownership;

use crate::images::{Image, MIB, SIZE};

/// What was done to a disk, and the words by which it must be named.
pub(crate) type Past = (&'static str, fn(&Image), &'static [&'static str]);

/// Bytes without a pattern (SplitMix64, a fixed seed).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

fn ext4(image: &Image) {
    assert!(image.run("mkfs.ext4", &["-q", "-F"], ""), "e2fsprogs is on every Debian");
}

fn zfs_labels(image: &Image) {
    for label in [0, 256 << 10, SIZE - (512 << 10), SIZE - (256 << 10)] {
        for ring in 0..16 {
            image.put(label + (128 << 10) + ring * 1024, &0x00ba_b10c_u64.to_le_bytes());
        }
    }
}

fn gpt(image: &Image) {
    assert!(image.run("sfdisk", &["-q", "-X", "gpt"], ",,L\n"), "fdisk is needed");
}

/// A GPT with a basic data partition of a name, as Windows and the stick have them.
fn basic_data(image: &Image, name: &str) {
    let table = format!("type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, name=\"{name}\"\n");
    assert!(image.run("sfdisk", &["-q", "-X", "gpt"], &table), "fdisk is needed");
}

/// An LVM2 physical volume as pvcreate 2.03 writes it: label header, physical volume header.
fn lvm(image: &Image) {
    image.put(512, b"LABELONE\x01\0\0\0\0\0\0\0\x2a\x3f\x8c\x6d\x20\0\0\0LVM2 001");
    image.put(544, b"kHSrmIVYSNgWbcJKtNqV0X9kFcrWsy1p");
}

pub(crate) const PASTS: &[Past] = &[
    ("ext4", ext4, &["ext4", "ext2/3/4"]),
    (
        "ext4 with its first MiB zeroed",
        |image| {
            ext4(image);
            image.put(0, &vec![0; 1 << 20]);
        },
        &["ext2/3/4 backup superblock at byte 134217784"],
    ),
    (
        "ext4 over ZFS labels",
        |image| {
            ext4(image);
            zfs_labels(image);
        },
        &["ZFS at byte"],
    ),
    ("ZFS labels", zfs_labels, &["ZFS at byte 131072"]),
    (
        "the last ZFS label alone",
        |image| {
            image.put(SIZE - (128 << 10), &0x00ba_b10c_u64.to_le_bytes());
        },
        &["ZFS at byte 629014528"],
    ),
    (
        "XFS",
        |image| assert!(image.run("mkfs.xfs", &["-q", "-f"], ""), "xfsprogs is needed"),
        &["xfs", "XFS at byte 0"],
    ),
    ("swap", |image| assert!(image.run("mkswap", &["-q"], "")), &["swap"]),
    ("GPT", gpt, &["GPT at byte 512", "boot sector or MBR"]),
    (
        "a data disk of Windows",
        |image| basic_data(image, "Basic data partition"),
        &["GPT at byte 512", "boot sector or MBR"],
    ),
    ("a name that is nearly ICN-SEED", |image| basic_data(image, "icn-seed"), &["GPT at byte 512"]),
    (
        "the backup GPT alone",
        |image| {
            gpt(image);
            image.put(0, &vec![0; 34 * 512]);
        },
        &["backup GPT at byte 629145088"],
    ),
    (
        "an MBR without partitions",
        |image| {
            image.put(510, &[0x55, 0xaa]);
        },
        &["boot sector or MBR at byte 510"],
    ),
    ("LVM", lvm, &["LVM physical volume at byte 512"]),
    (
        "LUKS",
        |image| {
            let fast =
                ["luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
            if !image.run("cryptsetup", &fast, "passphrase\n") {
                image.put(0, b"LUKS\xba\xbe\0\x02").put(16384, b"SKUL\xba\xbe\0\x02");
            }
        },
        &["LUKS at byte 0"],
    ),
    (
        "LUKS2 with its first header zeroed",
        |image| {
            image.put(16384, b"SKUL\xba\xbe\0\x02");
        },
        &["LUKS2 second header at byte 16384"],
    ),
    (
        "a detached-header LUKS: noise from the first byte on",
        |image| {
            image.put(0, &noise(64 << 20));
        },
        &["not empty: data at byte 0"],
    ),
    (
        "data that starts at 200 MiB",
        |image| {
            image.put(200 * MIB, &noise(8 << 20));
        },
        &["not empty: data at byte 2"],
    ),
    (
        "md RAID 1.2",
        |image| {
            image.put(4096, &[0xfc, 0x4e, 0x2b, 0xa9, 1]);
        },
        &["md RAID 1.2 at byte 4096"],
    ),
    (
        "md RAID 1.0, at the end",
        |image| {
            image.put((SIZE / 512 - 16) / 8 * 8 * 512, &[0xfc, 0x4e, 0x2b, 0xa9, 1]);
        },
        &["md RAID 1.0 at byte 629137408"],
    ),
    (
        "md RAID 0.90, at the end",
        |image| {
            image.put(SIZE - (64 << 10), &[0xfc, 0x4e, 0x2b, 0xa9, 0, 0, 0, 0, 90]);
        },
        &["md RAID 0.90 at byte 629080064"],
    ),
    (
        "SPDK blobstore",
        |image| {
            image.put(0, b"SPDKBLOB");
        },
        &["SPDK blobstore at byte 0"],
    ),
    (
        "Ceph BlueStore",
        |image| {
            image.put(0, b"bluestore block device\n");
        },
        &["BlueStore at byte 0"],
    ),
    (
        "btrfs with its first superblock zeroed",
        |image| {
            image.put(64 * MIB + 64, b"_BHRfS_M");
        },
        &["btrfs at byte 67108928"],
    ),
    (
        "one byte in the last sector",
        |image| {
            image.put(SIZE - 1, &[1]);
        },
        &["not empty: data at byte 629145599"],
    ),
];

#[test]
fn a_disk_with_a_past_is_foreign_named_and_never_touched() {
    for (name, make, words) in PASTS {
        let image = Image::new();
        make(&image);
        let before = image.digest();
        let plan = image.plan();
        let judgement = &plan.judgements[0];
        assert_eq!(judgement.ownership, Ownership::Foreign, "{name}: {plan}");
        assert!(plan.steps.is_empty(), "{name}: {plan}");
        for word in *words {
            assert!(plan.to_string().contains(word), "{name}: no {word:?} in {plan}");
        }
        let after = image.digest();
        assert_eq!(before, after, "{name}: looking changed the disk");
    }
}

#[test]
fn a_disk_with_a_seed_is_a_boot_disk_and_never_touched() {
    let image = Image::new();
    basic_data(&image, "ICN-SEED");
    let before = image.digest();
    let plan = image.plan();
    assert_eq!(plan.judgements[0].ownership, Ownership::Boot, "{plan}");
    assert!(plan.to_string().contains("(ICN-SEED)"), "{plan}");
    assert!(plan.steps.is_empty(), "{plan}");
    assert_eq!(before, image.digest(), "looking changed the disk");
}

#[test]
fn an_empty_disk_and_one_full_of_ones_are_blank() {
    let image = Image::new();
    let plan = image.plan();
    assert_eq!(plan.judgements[0].ownership, Ownership::Blank, "{plan}");
    assert!(matches!(plan.steps.as_slice(), [Step::MintIdentity, Step::Claim { .. }]), "{plan}");

    let ones = vec![0xff; 1 << 20];
    (0..SIZE / MIB).for_each(|at| {
        image.put(at * MIB, &ones);
    });
    let plan = image.plan();
    assert_eq!(plan.judgements[0].ownership, Ownership::Blank, "{plan}");
}

#[test]
fn a_disk_that_cannot_be_opened_is_failing_with_the_reason() {
    let image = Image::new();
    fs::remove_file(image.path()).unwrap();
    let plan = image.plan();
    assert_eq!(plan.judgements[0].ownership, Ownership::Failing, "{plan}");
    assert!(plan.to_string().contains("No such file"), "{plan}");
}
