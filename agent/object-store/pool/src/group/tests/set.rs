use super::*;
use crate::group::error::CreateError;
use crate::group::geometry::EXTENT_HEADER;
use crate::group::repair::{Holes, rebuild_shard};
use crate::group::set::Groups;
use crate::sim::{Cut, Fault};

#[tokio::test]
async fn volumes_come_and_go() {
    let disk = disk(3);
    let written = filled(&disk, 2, 1, &mut Dice(1), 3).await;
    let all = devices(&disk, 0..3);
    let groups = Groups::new(Told::default().hear());
    assert!(groups.reader(GROUP).await.is_none());
    for (n, device) in all.iter().enumerate() {
        let attached = groups.add_device(device).await.unwrap();
        assert_eq!((attached.extents, attached.removed), (1, 0));
        assert!(attached.unusable.is_empty());
        let missing = groups.degraded().first().map_or(0, |status| status.missing.len());
        assert_eq!(missing, 2 - n);
    }
    assert_eq!(groups.all(), [GROUP]);
    assert_rows(&groups.reader(GROUP).await.unwrap(), &written, "all").await;
    groups.remove_device(VolumeNo(1));
    let status = groups.status(GROUP).unwrap();
    assert_eq!((status.spare(), status.missing), (0, vec![1]));
    assert_rows(&groups.reader(GROUP).await.unwrap(), &written, "two").await;
    groups.add_device(&all[1]).await.unwrap();
    assert_eq!(groups.degraded(), []);
    // Fenced volumes are read.
    all[0].fence("a test");
    assert_eq!(groups.degraded()[0].fenced, [0]);
    assert_rows(&groups.reader(GROUP).await.unwrap(), &written, "fenced").await;
    for number in 0..3 {
        groups.remove_device(VolumeNo(number));
    }
    assert!(groups.all().is_empty() && groups.status(GROUP).is_none());
}

#[tokio::test]
async fn the_one_that_needs_it_most_is_first() {
    let disk = disk(3);
    let all = devices(&disk, 0..3);
    let groups = Groups::new(Told::default().hear());
    for device in &all {
        groups.add_device(device).await.unwrap();
    }
    for (group, k, m) in [(1, 1, 2), (2, 2, 1), (3, 1, 1)] {
        let new = NewGroup { group: GroupId(group), ..new_group(k, m) };
        groups.create(new, &all[..usize::from(k + m)]).await.unwrap();
    }
    let twice = groups.create(NewGroup { group: GroupId(1), ..new_group(1, 0) }, &all[..1]).await;
    assert!(matches!(twice, Err(CreateError::Exists { .. })));
    groups.remove_device(VolumeNo(2));
    let order = |groups: &Groups| -> Vec<u64> {
        groups.degraded().iter().map(|status| status.group.0).collect()
    };
    assert_eq!(order(&groups), [2, 1]);
    groups.remove_device(VolumeNo(1));
    assert_eq!(order(&groups), [2, 1, 3]);
}

#[tokio::test]
async fn of_two_extents_of_a_shard_the_newer_counts_whichever_comes_first() {
    let blank = disk(4);
    let written = filled(&blank, 2, 1, &mut Dice(1), 3).await;
    let all = devices(&blank, 0..4);
    let away = reader_on(&[all[0].clone(), all[2].clone()], &Told::default()).unwrap();
    rebuild_shard(&away, 1, &all[3], Holes::Refuse, at_once).await.unwrap();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let disk = blank.fork_unlocked();
        let groups = Groups::new(Told::default().hear());
        let mut removed = 0;
        for device in devices(&disk, order) {
            removed += groups.add_device(&device).await.unwrap().removed;
        }
        assert_eq!(removed, 1);
        assert_eq!(disk.files("/v1/icn-pool/extents"), [] as [PathBuf; 0]);
        let reader = groups.reader(GROUP).await.unwrap();
        assert_eq!(reader.extent(1).unwrap().device().number(), VolumeNo(3));
        assert_rows(&reader, &written, "newer").await;
        let after = disk.cut(Cut::Lost);
        assert_eq!(after.files("/v1/icn-pool/extents"), [] as [PathBuf; 0]);
    }
}

#[tokio::test]
async fn removed_groups_stay_removed_and_a_cut_leaves_them_whole_or_gone() {
    let blank = disk(3);
    filled(&blank, 2, 1, &mut Dice(1), 2).await;
    for at in 0.. {
        let disk = blank.fork_unlocked();
        let groups = Groups::new(Told::default().hear());
        for device in devices(&disk, 0..3) {
            groups.add_device(&device).await.unwrap();
        }
        let in_use = groups.reader(GROUP).await.unwrap();
        disk.set_fault(Some(Fault::PowerAt(at)));
        let removed = groups.remove(&[GROUP]).await;
        assert!(groups.all().is_empty());
        assert!(verified(&in_use).await);
        for seed in 0..4 {
            let after = disk.fork().cut(Cut::Mixed(seed));
            let groups = Groups::new(Told::default().hear());
            for device in devices(&after, 0..3) {
                groups.add_device(&device).await.unwrap();
            }
            if removed.is_ok() {
                assert!(groups.all().is_empty());
            }
            groups.remove(&[GROUP]).await.unwrap();
            let left: usize =
                (0..3).map(|n| after.files(&format!("{}/icn-pool/extents", root(n))).len()).sum();
            assert_eq!(left, 0);
        }
        if removed.is_ok() {
            break;
        }
    }
}

async fn verified(reader: &GroupReader) -> bool {
    crate::group::repair::verify(reader, at_once).await.unwrap().is_clean()
}

#[tokio::test]
async fn what_is_not_whole_is_removed_and_what_is_not_ours_is_left() {
    let disk = disk(2);
    let written = filled(&disk, 1, 1, &mut Dice(1), 2).await;
    let folder = Path::new("/v0/icn-pool/extents");
    let put = |name: &str, bytes: &[u8]| {
        use crate::backend::Backend as _;
        let file = disk.create(&folder.join(name)).unwrap();
        file.write_at(bytes, 0).unwrap();
    };
    put("0000000000000099-00", &[0; 2048]);
    put("0000000000000099-01.new", &[1; 9000]);
    put("0000000000000098-00", &[1; 9000]);
    put("notes.txt", b"hello");
    // Both headers of a shard rot: it may hold what nothing else does, so it is left.
    for at in [20, 2048 + 30] {
        disk.flip_bit(&extent_path(1, 1), at);
    }
    let groups = Groups::new(Told::default().hear());
    let mut unusable = 0;
    let mut removed = 0;
    let all = devices(&disk, 0..2);
    for device in &all {
        let attached = groups.add_device(device).await.unwrap();
        unusable += attached.unusable.len();
        removed += attached.removed;
    }
    assert_eq!((unusable, removed), (2, 2));
    let left: Vec<_> = disk.files("/v0/icn-pool/extents");
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!(groups.degraded()[0].missing, [1]);
    // It is made anew in its place.
    let reader = groups.reader(GROUP).await.unwrap();
    assert_rows(&reader, &written, "one").await;
    groups.rebuild(GROUP, 1, &all[1], Holes::Refuse, at_once).await.unwrap();
    assert_eq!(groups.degraded(), []);
}

#[tokio::test]
async fn a_group_that_was_being_filled_is_trimmed() {
    let disk = disk(2);
    let all = devices(&disk, 0..2);
    let writer = GroupWriter::create(new_group(1, 1), &all).await.unwrap();
    let written = fill(&writer, &mut Dice(3), 2).await;
    writer.sync().await.unwrap();
    let end = writer.append(vec![3; 500]).await.unwrap().at;
    drop((writer, all));
    let after = disk.cut(Cut::Kept);
    let groups = Groups::new(Told::default().hear());
    let all = devices(&after, 0..2);
    for device in &all {
        groups.add_device(device).await.unwrap();
    }
    groups.trim(GROUP, end).await.unwrap();
    let reader = groups.reader(GROUP).await.unwrap();
    assert!(reader.extents().all(|extent| extent.size().unwrap() == end));
    assert_rows(&reader, &written, "trimmed").await;
    groups.trim(GROUP, 0).await.unwrap();
    assert!(reader.extents().all(|extent| extent.size().unwrap() == EXTENT_HEADER));
}
