//! The journal on real files and several threads.

use super::*;
use crate::disk::DiskBackend;

fn device(path: &Path, is_new: bool) -> Device {
    let surroundings = Surroundings {
        backend: Arc::new(DiskBackend::threads()),
        io: Io::Threads,
        node_key: Zeroizing::new([1; KEY]),
        on_fence: Box::new(|_, _| ()),
    };
    if is_new {
        Device::format(path, new_volume(), surroundings).unwrap()
    } else {
        Device::open(path, surroundings).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_files_hold_what_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = JournalConfig::of(Class::Nvme);
    config.segment_bytes = 1 << 20;
    (config.record_bytes_max, config.frame_bytes_max) = (300 << 10, 256 << 10);
    let (journal, scans) =
        Journal::open(device(folder.path(), true), config, |_| ()).await.unwrap();
    assert_eq!(scans, []);
    let mut appends = Vec::new();
    for lsn in 0..120_u64 {
        let content = content(lsn, 300 << 10, &mut Dice(lsn));
        let journal = journal.clone();
        appends.push(tokio::spawn(async move {
            let place = journal.append(Lsn(lsn), content.clone()).await.unwrap();
            (place, content)
        }));
    }
    let mut places = BTreeMap::new();
    for append in appends {
        let (place, content) = append.await.unwrap();
        assert_eq!(journal.read(place).await.unwrap(), content);
        places.insert(place, content);
    }
    let too_long = journal.append(Lsn(0), Bytes::from(vec![0; 301 << 10])).await;
    assert!(matches!(too_long, Err(JournalError::TooLong { .. })), "{too_long:?}");
    journal.close().await;
    drop(journal);

    let found = Arc::new(Mutex::new(BTreeMap::new()));
    let heard = Arc::clone(&found);
    let visit = move |found: Found| drop(heard.lock().unwrap().insert(found.place, found.content));
    let (journal, scans) =
        Journal::open(device(folder.path(), false), config, visit).await.unwrap();
    assert_eq!(*found.lock().unwrap(), places);
    for scan in scans.iter().filter(|scan| scan.is_held) {
        assert_eq!((scan.damage, scan.is_torn), (Damage::default(), false));
        journal.free(scan.slot, scan.incarnation).await.unwrap();
    }
    assert_eq!(journal.segments(), []);
    journal.close().await;
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let right = JournalConfig::of(Class::Hdd);
    assert_eq!((right.lanes, right.segment_bytes), (1, 64 << 20));
    right.check().unwrap();
    let wrong = [
        JournalConfig { segment_bytes: 4096 * 3 + 1, ..right },
        JournalConfig { segment_bytes: (4 << 30) + 4096, ..right },
        JournalConfig { segment_bytes: 4 << 20, ..right },
        JournalConfig { lanes: 0, ..right },
        JournalConfig { frame_bytes_max: 2 << 30, ..right },
    ];
    for config in wrong {
        assert!(matches!(config.check(), Err(JournalError::Config(_))), "{config:?}");
    }
    JournalConfig { segment_bytes: 4 << 30, ..right }.check().unwrap();
}

#[test]
fn a_place_is_serialized_without_names() {
    let place =
        JournalPlace { volume: VolumeNo(3), slot: 7, incarnation: 1025, offset: 4132, length: 64 };
    let text = serde_json::to_string(&place).unwrap();
    assert_eq!(text, "[3,7,1025,4132,64]");
    assert_eq!(serde_json::from_str::<JournalPlace>(&text).unwrap(), place);
}
