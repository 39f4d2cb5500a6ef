use super::*;
use crate::sim::{Cut, Fault, SimDisk};

fn surroundings(disk: &SimDisk, key: u8) -> Surroundings {
    Surroundings {
        backend: Arc::new(disk.clone()),
        io: Io::Inline,
        node_key: Zeroizing::new([key; KEY]),
        on_fence: Box::new(|_, _| ()),
    }
}

fn new_volume() -> NewVolume {
    let (volume, number, class) = ("disk-1".to_owned(), VolumeNo(3), Class::Ssd);
    let member = Member::new(volume.clone(), number, class);
    NewVolume { pool: "pool".to_owned(), volume, number, class, members: vec![member] }
}

fn formatted() -> SimDisk {
    let disk = SimDisk::new(&["/v"]);
    drop(Device::format(Path::new("/v"), new_volume(), surroundings(&disk, 1)).unwrap());
    disk
}

#[test]
fn a_formatted_volume_opens_with_the_node_s_key_only() {
    let disk = formatted();
    let device = Device::open(Path::new("/v"), surroundings(&disk, 1)).unwrap();
    assert_eq!((device.number(), device.class()), (VolumeNo(3), Class::Ssd));
    let again = Device::open(Path::new("/v"), surroundings(&disk, 1));
    assert!(matches!(again, Err(DeviceError::InUse { .. })), "{again:?}");
    drop(device);
    let other = Device::open(Path::new("/v"), surroundings(&disk, 2));
    assert!(matches!(other, Err(DeviceError::WrongKey { .. })), "{other:?}");
}

#[test]
fn no_incarnation_is_given_out_twice_whatever_is_lost() {
    let mut disk = formatted();
    let mut last = 0;
    for round in 0..4 {
        let device = Device::open(Path::new("/v"), surroundings(&disk, 1)).unwrap();
        for _ in 0..RESERVE + 3 {
            let incarnation = device.incarnation().unwrap();
            assert!(incarnation > last, "round {round}");
            last = incarnation;
        }
        disk = disk.cut(Cut::Lost);
        // The superblock in force rots.
        let newest = superblock(&disk, Path::new("/v")).unwrap().unwrap().generation % 2;
        let path = Path::new("/v").join(FOLDER).join(format!("superblock-{newest}"));
        if round % 2 == 0 {
            disk.flip_bit(&path, 50);
        }
    }
}

#[test]
fn one_damaged_superblock_is_survived_and_a_later_format_is_refused() {
    for name in SUPERBLOCKS {
        let disk = formatted();
        disk.flip_bit(&Path::new("/v").join(FOLDER).join(name), 100);
        assert!(superblock(&disk, Path::new("/v")).unwrap().is_some());
    }
    let disk = formatted();
    for name in SUPERBLOCKS {
        disk.flip_bit(&Path::new("/v").join(FOLDER).join(name), 100);
    }
    let error = superblock(&disk, Path::new("/v")).unwrap_err();
    assert!(matches!(error, DeviceError::Superblock { source: SuperblockError::Damaged, .. }));

    let disk = formatted();
    // Format 2 becomes 3.
    disk.flip_bit_of(&Path::new("/v").join(FOLDER).join(SUPERBLOCKS[0]), 8, 0);
    let error = Device::open(Path::new("/v"), surroundings(&disk, 1)).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("format 3") && said.contains("left as it is"), "{said}");
}

#[test]
fn a_cut_at_any_call_of_formatting_leaves_a_blank_volume_or_a_whole_one() {
    for at in 0.. {
        let disk = SimDisk::new(&["/v"]);
        disk.set_fault(Some(Fault::PowerAt(at)));
        let result = Device::format(Path::new("/v"), new_volume(), surroundings(&disk, 1));
        let done = result.is_ok();
        drop(result);
        for seed in 0..8 {
            let after = disk.fork().cut(Cut::Mixed(seed));
            match superblock(&after, Path::new("/v")) {
                Ok(Some(found)) => {
                    assert_eq!(found.number, VolumeNo(3));
                    drop(Device::open(Path::new("/v"), surroundings(&after, 1)).unwrap());
                }
                // Torn while it was made: formatting it again is what the caller does then.
                Ok(None) | Err(DeviceError::Superblock { .. }) => {
                    assert!(!done, "lost after it was done");
                    Device::format(Path::new("/v"), new_volume(), surroundings(&after, 1)).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        if done {
            return;
        }
    }
}

#[test]
fn a_failed_write_fences_the_device_once() {
    let disk = formatted();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let on_fence: OnFence = Box::new(move |number, _| heard.lock().unwrap().push(number));
    let device =
        Device::open(Path::new("/v"), Surroundings { on_fence, ..surroundings(&disk, 1) }).unwrap();
    let before = device.superblock();
    disk.set_fault(Some(Fault::ErrorAt(1)));
    assert!(device.update(|superblock| superblock.incarnations += 1).is_err());
    assert!(device.fenced().is_some());
    assert_eq!(device.superblock(), before);
    device.fence("again");
    assert_eq!(*told.lock().unwrap(), [VolumeNo(3)]);
}

#[test]
fn a_key_is_destroyed_or_there_wherever_the_power_is_cut_and_then_is_gone_for_good() {
    let wrapped = |disk: &SimDisk| superblock(disk, Path::new("/v")).unwrap().unwrap().key;
    for at in 0.. {
        let disk = formatted();
        let key = wrapped(&disk);
        let device = Device::open(Path::new("/v"), surroundings(&disk, 1)).unwrap();
        disk.set_fault(Some(Fault::PowerAt(at)));
        let done = device.destroy_key().is_ok();
        drop(device);
        let disk = disk.cut(Cut::Mixed(at));
        if wrapped(&disk).is_empty() {
            end_destruction(&disk, Path::new("/v")).unwrap();
        } else {
            assert!(!done, "cut at {at}");
            Device::open(Path::new("/v"), surroundings(&disk, 1)).unwrap().destroy_key().unwrap();
        }
        let disk = disk.cut(Cut::Lost);
        for file in disk.files("/v") {
            let content = String::from_utf8_lossy(&disk.content(&file)).into_owned();
            assert!(!content.contains(&key), "cut at {at}: {}", file.display());
        }
        let again = Device::open(Path::new("/v"), surroundings(&disk, 1));
        assert!(matches!(again, Err(DeviceError::WrongKey { .. })), "{again:?}");
        if done {
            return;
        }
    }
}
