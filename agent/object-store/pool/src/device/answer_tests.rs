//! Disks that hang, under a clock that is set forward by hand.

use std::path::Path;

use zeroize::Zeroizing;

use super::*;
use crate::backend::Backend;
use crate::device::{NewVolume, Surroundings};
use crate::seal::KEY;
use crate::sim::SimDisk;
use crate::superblock::{Class, VolumeNo};

fn device(disk: &SimDisk) -> Device {
    let surroundings = Surroundings {
        backend: Arc::new(disk.clone()),
        io: Io::Threads,
        node_key: Zeroizing::new([1; KEY]),
        on_fence: Box::new(|_, _| ()),
    };
    let new = NewVolume {
        pool: "pool".to_owned(),
        volume: "disk-1".to_owned(),
        number: VolumeNo(3),
        class: Class::Ssd,
        members: Vec::new(),
    };
    Device::format(Path::new("/v"), new, surroundings).unwrap()
}

fn path() -> PathBuf {
    "/v/file".into()
}

/// Waits until so many calls hang.
pub(crate) async fn until_hung(disk: &SimDisk, calls: usize) {
    while disk.hung_calls() < calls {
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_an_answer_is_fenced_and_asked_for_nothing_more() {
    let disk = SimDisk::new(&["/v", "/w"]);
    let device = device(&disk);
    let file: Arc<dyn BackendFile> = disk.create(&path()).unwrap().into();
    disk.hang("/v");
    let ask = |limit| {
        let (device, file) = (device.clone(), Arc::clone(&file));
        tokio::spawn(async move {
            let job =
                Job { action: crate::backend::Action::Write, data: vec![1].into(), offset: 0 };
            device.perform(&file, job, limit, path).await.map(|_| ())
        })
    };
    let first = ask(ANSWER_MAX);
    // More than it is asked for at once: the others wait for their turn.
    let asked: Vec<_> = (0..ASKED_MAX + 9).map(|_| ask(LONG_MAX)).collect();
    until_hung(&disk, ASKED_MAX).await;
    tokio::time::advance(ANSWER_MAX.checked_sub(Duration::from_millis(1)).unwrap()).await;
    assert_eq!((device.fenced(), device.is_hung()), (None, false));
    tokio::time::advance(Duration::from_millis(2)).await;
    assert_eq!(first.await.unwrap(), Err(Unfinished));
    assert_eq!(device.fenced().unwrap(), "no answer for 30 s when asked to write /v/file",);
    // Nobody waits as long as he would have.
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Err(Unfinished));
    }
    assert_eq!(ask(ANSWER_MAX).await.unwrap(), Err(Unfinished));
    assert_eq!(disk.hung_calls(), ASKED_MAX);
    // What it says of itself is known without it.
    assert_eq!(device.superblock().number, VolumeNo(3));
    disk.release();
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_but_ends_in_time_fences_nothing() {
    let disk = SimDisk::new(&["/v"]);
    let device = device(&disk);
    disk.hang("/v");
    let on = device.clone();
    let asked = tokio::spawn(async move {
        let at = on.clone();
        on.run(ANSWER_MAX, "write", path, move || at.incarnation().is_ok()).await
    });
    let on = device.clone();
    let update = move || on.update(|superblock| superblock.index_epoch += 1).is_ok();
    let on = device.clone();
    let updated = tokio::spawn(async move { on.run(ANSWER_MAX, "write", path, update).await });
    until_hung(&disk, 1).await;
    tokio::time::advance(Duration::from_secs(29)).await;
    // It can be asked while it is written.
    assert_eq!(device.superblock().index_epoch, 0);
    disk.release();
    assert_eq!((asked.await.unwrap(), updated.await.unwrap()), (Ok(true), Ok(true)));
    assert_eq!((device.fenced(), device.superblock().index_epoch), (None, 1));
}
