//! The simulated disk does what the tests above it rely on.

use super::*;

const OLD: [u8; 4096] = [1; 4096];
const NEW: [u8; 6000] = [2; 6000];

/// A file with [`OLD`] on stable storage and [`NEW`] written over it.
fn written() -> (SimDisk, Box<dyn BackendFile>) {
    let disk = SimDisk::new(&["/v"]);
    let file = disk.create(Path::new("/v/a")).unwrap();
    file.write_at(&OLD, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/v")).unwrap();
    file.write_at(&NEW, 0).unwrap();
    (disk, file)
}

fn content(disk: &SimDisk) -> Vec<u8> {
    disk.content(Path::new("/v/a"))
}

#[test]
fn a_cut_keeps_loses_or_tears_what_is_not_synced() {
    let (disk, file) = written();
    assert!(content(&disk.fork().cut(Cut::Lost)) == OLD);
    let killed = disk.fork().cut(Cut::Kept);
    assert!(content(&killed) == NEW);
    assert!(content(&killed.cut(Cut::Lost)) == OLD, "kept, but no more durable than before");
    let (mut torn, mut sizes) = (0, std::collections::BTreeSet::new());
    for seed in 0..200 {
        let after = content(&disk.fork().cut(Cut::Mixed(seed)));
        sizes.insert(after.len());
        for sector in after[..4096].chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}: within a sector");
        }
        let new = after[..4096].iter().filter(|byte| **byte == 2).count();
        torn += u32::from(new > 0 && new < 4096);
    }
    assert!(torn > 60 && sizes.len() > 2, "{torn} torn, {sizes:?}");
    file.sync_data().unwrap();
    assert!(content(&disk.fork().cut(Cut::Lost)) == NEW);
}

#[test]
fn a_sync_is_of_one_file_and_a_failed_one_is_final() {
    let (disk, file) = written();
    let other = disk.create(Path::new("/v/b")).unwrap();
    other.sync_data().unwrap();
    assert!(content(&disk.fork().cut(Cut::Lost)) == OLD);
    disk.set_fault(Some(Fault::SyncErrorAt(0)));
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert!(content(&disk) == NEW);
    for seed in 0..20 {
        let after = content(&disk.fork().cut(Cut::Mixed(seed)));
        assert!(after[..4096] == OLD, "seed {seed}");
    }
}

#[test]
fn lost_writes_are_there_until_the_cut_and_others_go_astray() {
    let (disk, file) = written();
    file.sync_data().unwrap();
    disk.set_fault(Some(Fault::LostWriteAt(0)));
    file.write_at(&OLD, 0).unwrap();
    file.sync_data().unwrap();
    assert!(content(&disk)[..4096] == OLD);
    assert!(content(&disk.fork().cut(Cut::Lost)) == NEW);
    // What is written over it later is kept.
    file.write_at(&OLD, 0).unwrap();
    file.sync_data().unwrap();
    assert!(content(&disk.fork().cut(Cut::Lost))[..4096] == OLD);
    disk.set_fault(Some(Fault::MisdirectedWriteAt(0, 5)));
    file.write_at(&[9; 512], 5000).unwrap();
    let at = content(&disk).iter().position(|byte| *byte == 9).unwrap();
    assert!(at.is_multiple_of(512));
}

#[test]
fn shrinking_is_undone_by_a_cut_as_well() {
    let (disk, file) = written();
    file.sync_data().unwrap();
    file.set_size(100).unwrap();
    file.set_size(300).unwrap();
    assert_eq!(content(&disk)[99..101], [2, 0]);
    assert!(content(&disk.fork().cut(Cut::Lost)) == NEW);
}

#[test]
fn a_pulled_volume_fails_alone() {
    let disk = SimDisk::new(&["/v1", "/v2"]);
    let make = |path: &str| disk.create(Path::new(path)).unwrap();
    let (first, second) = (make("/v1/a"), make("/v2/a"));
    disk.sync_dir(Path::new("/v1")).unwrap();
    first.write_at(&OLD, 0).unwrap();
    disk.pull("/v1");
    first.read_at(&mut [0], 0).unwrap_err();
    disk.open(Path::new("/v1/a")).unwrap_err();
    disk.list_dir(Path::new("/v1")).unwrap_err();
    second.write_at(&OLD, 0).unwrap();
    disk.plug("/v1");
    first.size().unwrap_err();
    assert_eq!(disk.open(Path::new("/v1/a")).unwrap().size().unwrap(), 0);
}

#[test]
fn room_and_slow_calls_are_counted() {
    let disk = SimDisk::new(&["/v"]);
    let file = disk.create(Path::new("/v/a")).unwrap();
    disk.set_capacity(Some(8192));
    file.allocate(8192).unwrap();
    assert_eq!(disk.space(Path::new("/v")).unwrap().free, 0);
    file.write_at(&NEW, 0).unwrap();
    let full = file.write_at(&NEW, 4096).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    disk.set_slow(4, 1);
    for _ in 0..400 {
        file.read_at(&mut [0; 8], 0).unwrap();
    }
    assert!((50..150).contains(&disk.slow_calls()), "{}", disk.slow_calls());
}
