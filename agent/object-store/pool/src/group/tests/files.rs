//! With real files and threads.

use futures::future::join_all;

use super::*;
use crate::disk::DiskBackend;
use crate::group::repair::{Holes, verify};
use crate::group::set::Groups;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_readers_on_real_files() {
    let folder = tempfile::tempdir().unwrap();
    let device = |number: u16| {
        let path = folder.path().join(format!("v{number}"));
        std::fs::create_dir(&path).unwrap();
        let new = NewVolume {
            pool: "pool".to_owned(),
            volume: format!("disk-{number}"),
            number: VolumeNo(number),
            class: Class::Ssd,
            members: Vec::new(),
        };
        let surroundings = Surroundings {
            backend: Arc::new(DiskBackend::threads()),
            io: Io::Threads,
            ..surroundings(&SimDisk::new(&[]))
        };
        Device::format(&path, new, surroundings).unwrap()
    };
    let all: Vec<Device> = (0..4).map(device).collect();
    let groups = Arc::new(Groups::new(Told::default().hear()));
    for device in &all {
        groups.add_device(device).await.unwrap();
    }
    let writer = groups.create(new_group(2, 1), &all[..3]).await.unwrap();
    let tasks = (0..6).map(|seed| {
        let (writer, groups) = (writer.clone(), Arc::clone(&groups));
        tokio::spawn(async move {
            let mut written = Vec::new();
            let mut dice = Dice(seed);
            for _ in 0..3 {
                written.extend(fill(&writer, &mut dice, 1).await);
                writer.sync().await.unwrap();
                let reader = groups.reader(GROUP).await.unwrap();
                assert_rows(&reader, &written, "while it is filled").await;
            }
            written
        })
    });
    let written: Vec<Written> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let written = written.concat();
    // One who does not wait for each row still gets one run.
    let shape = writer.shape();
    let content = random(&mut Dice(8), shape.full_row() * 4 + 77);
    let rows = content.chunks(shape.full_row() as usize);
    let mut places = join_all(rows.map(|row| writer.append(row.to_vec()))).await.into_iter();
    let mut run = Run::row(GROUP, places.next().unwrap().unwrap());
    assert!(places.all(|place| run.push(&shape, place.unwrap())));
    let end = writer.seal().await.unwrap();
    groups.remove_device(VolumeNo(1));
    let (set, onto) = (Arc::clone(&groups), all[3].clone());
    let repair = async move {
        set.rebuild(GROUP, 1, &onto, Holes::Refuse, at_once).await.unwrap();
        let reader = set.reader(GROUP).await.unwrap();
        assert!(verify(&reader, at_once).await.unwrap().is_clean());
        set.trim(GROUP, end).await.unwrap();
        reader
    };
    let reader = tokio::spawn(repair).await.unwrap();
    assert!(reader.extents().all(|extent| extent.size().unwrap() == end));
    assert_rows(&reader, &written, "rebuilt").await;
    assert!(reader.read(&run).await.unwrap() == content);
    groups.remove(&[GROUP]).await.unwrap();
}
