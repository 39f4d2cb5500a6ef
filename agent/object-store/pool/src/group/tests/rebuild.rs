use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::group::error::{ReadError, RebuildError};
use crate::group::geometry::block_at;
use crate::group::repair::{Holes, rebuild_shard, verify};
use crate::group::set::{GroupRebuildError, Groups};
use crate::sim::{Cut, Fault};

async fn groups(disk: &SimDisk, volumes: impl IntoIterator<Item = u16>) -> Groups {
    let groups = Groups::new(Told::default().hear());
    for device in devices(disk, volumes) {
        groups.add_device(&device).await.unwrap();
    }
    groups
}

#[tokio::test]
async fn a_lost_or_rotten_shard_is_made_anew() {
    for seed in seeds(4) {
        let mut dice = Dice(seed);
        for (k, m) in [(1, 1), (2, 1), (3, 2)] {
            let volumes = u16::from(k + m);
            for shard in 0..k + m {
                let disk = disk(volumes + 1);
                let written = filled(&disk, k, m, &mut dice, 4).await;
                let is_lost = shard % 2 == 0;
                // Lost and made on a new volume, or rotten and made where it was.
                let there = (0..=volumes).filter(|n| !is_lost || *n != u16::from(shard));
                if !is_lost {
                    let at = block_at(written[1].0.at, 0);
                    disk.flip_bit(&extent_path(shard.into(), shard), usize::try_from(at).unwrap());
                }
                let groups = Groups::new(Told::default().hear());
                let there = devices(&disk, there);
                for device in &there {
                    groups.add_device(device).await.unwrap();
                }
                let onto = if is_lost { volumes } else { u16::from(shard) };
                let onto = there.iter().find(|d| d.number() == VolumeNo(onto)).unwrap();
                assert_eq!(groups.degraded().len(), usize::from(is_lost));
                let paces = AtomicU64::new(0);
                let pace = || {
                    paces.fetch_add(1, Ordering::SeqCst);
                    async {}
                };
                let rebuilt =
                    groups.rebuild(GROUP, shard, onto, Holes::Refuse, pace).await.unwrap();
                assert_eq!((rebuilt.rows, rebuilt.holes), (4, 0));
                assert_eq!(paces.into_inner(), 4);
                assert_eq!(rebuilt.extent.header().generation, 1);
                assert_eq!(groups.degraded(), []);
                let reader = groups.reader(GROUP).await.unwrap();
                assert_rows(&reader, &written, "rebuilt").await;
                assert!(verify(&reader, at_once).await.unwrap().is_clean());
            }
        }
    }
}

#[tokio::test]
async fn a_cut_at_any_call_of_a_rebuild_leaves_the_old_shard_or_the_new_one() {
    let volumes = 4;
    let blank = disk(volumes);
    let written = filled(&blank, 2, 1, &mut Dice(6), 3).await;
    // Moved to another volume, or made anew where it is.
    for onto in [3, 1] {
        for at in 0.. {
            let disk = blank.fork_unlocked();
            let all = devices(&disk, 0..volumes);
            let reader = reader_on(&all[..3], &Told::default()).unwrap();
            disk.set_fault(Some(Fault::PowerAt(at)));
            let onto = &all[onto];
            let result = rebuild_shard(&reader, 1, onto, Holes::Refuse, at_once).await;
            let done = disk.calls() <= at;
            assert!(result.is_ok() || !done);
            for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(at), Cut::Mixed(at + 100)] {
                let about = format!("call {at} {cut:?}");
                let after = disk.fork().cut(cut);
                let groups = groups(&after, 0..volumes).await;
                assert_eq!(groups.degraded(), [], "{about}");
                let names = |n| after.files(&format!("{}/icn-pool/extents", root(n)));
                let files: Vec<PathBuf> = (0..volumes).flat_map(names).collect();
                assert_eq!(files.len(), 3, "{about}: {files:?}");
                let reader = groups.reader(GROUP).await.unwrap();
                assert!(verify(&reader, at_once).await.unwrap().is_clean(), "{about}");
                assert_rows(&reader, &written, &about).await;
                // Whichever shard it is, it makes good for a lost one.
                groups.remove_device(VolumeNo(0));
                let reader = groups.reader(GROUP).await.unwrap();
                assert_rows(&reader, &written, &about).await;
                if result.is_ok() {
                    assert_eq!(reader.extent(1).unwrap().header().generation, 1, "{about}");
                }
            }
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_failed_rebuild_leaves_the_group_as_it_was() {
    let blank = disk(3);
    let written = filled(&blank, 1, 1, &mut Dice(6), 3).await;
    for at in 0.. {
        let disk = blank.fork_unlocked();
        let all = devices(&disk, 0..3);
        let groups = Groups::new(Told::default().hear());
        for device in &all {
            groups.add_device(device).await.unwrap();
        }
        disk.set_fault(Some(Fault::ErrorAt(at)));
        let result = groups.rebuild(GROUP, 0, &all[2], Holes::Refuse, at_once).await;
        let reader = groups.reader(GROUP).await.unwrap();
        assert_rows(&reader, &written, &format!("call {at}")).await;
        if disk.calls() <= at {
            assert!(result.is_ok());
            break;
        }
        // Of the last calls, which remove the old one, nobody is told.
        if result.is_err() {
            assert!(all[2].fenced().is_some());
            assert_eq!(groups.status(GROUP).unwrap().volumes, [VolumeNo(0), VolumeNo(1)]);
        }
    }
}

#[tokio::test]
async fn holes_are_left_only_where_nothing_comes_back() {
    let disk = disk(4);
    let written = filled(&disk, 2, 1, &mut Dice(7), 4).await;
    let (place, _) = &written[2];
    disk.flip_bit(&extent_path(2, 2), usize::try_from(block_at(place.at, 0)).unwrap());
    let all = devices(&disk, 0..4);
    // The volume of shard 1 is away.
    let some = [all[0].clone(), all[2].clone()];
    let there = reader_on(&some, &Told::default()).unwrap();
    let refused = rebuild_shard(&there, 1, &all[3], Holes::Refuse, at_once).await.unwrap_err();
    assert!(matches!(refused, RebuildError::Read(ReadError::Lost { .. })), "{refused}");
    tokio::task::yield_now().await;
    assert!(disk.files("/v3/icn-pool/extents").is_empty());
    let taken = rebuild_shard(&there, 1, &all[2], Holes::Leave, at_once).await.unwrap_err();
    assert!(matches!(taken, RebuildError::Taken { .. }), "{taken}");
    // It never comes back.
    let rebuilt = rebuild_shard(&there, 1, &all[3], Holes::Leave, at_once).await.unwrap();
    assert_eq!((rebuilt.rows, rebuilt.holes), (4, 1));
    let extents = there.extents().cloned().chain([rebuilt.extent]);
    let reader = GroupReader::new(extents, Told::default().hear()).unwrap();
    for (n, (place, row)) in written.iter().enumerate() {
        match reader.read(&Run::row(GROUP, *place)).await {
            Ok(read) => assert!(read == row),
            Err(error) => assert!(n == 2 && matches!(error, ReadError::Lost { .. })),
        }
    }
    // All are there, and nothing else is: a hole stays a hole.
    let again = rebuild_shard(&reader, 1, &all[3], Holes::Refuse, at_once).await.unwrap();
    assert_eq!((again.holes, again.extent.header().generation), (1, 2));
}

#[tokio::test]
async fn a_group_that_is_filled_is_not_rebuilt() {
    let disk = disk(3);
    let all = devices(&disk, 0..3);
    let groups = Groups::new(Told::default().hear());
    for device in &all {
        groups.add_device(device).await.unwrap();
    }
    let writer = groups.create(new_group(1, 1), &all[..2]).await.unwrap();
    writer.append(vec![1; 10]).await.unwrap();
    let busy = groups.rebuild(GROUP, 0, &all[2], Holes::Refuse, at_once).await;
    assert!(matches!(busy, Err(GroupRebuildError::Busy { .. })));
    writer.seal().await.unwrap();
    groups.rebuild(GROUP, 0, &all[2], Holes::Refuse, at_once).await.unwrap();
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_leaves_nothing_and_can_begin_again() {
    let disk = disk(4);
    let written = filled(&disk, 2, 1, &mut Dice(9), 3).await;
    let all = devices(&disk, 0..4);
    let groups = Groups::new(Told::default().hear());
    for device in &all {
        groups.add_device(device).await.unwrap();
    }
    let never = || std::future::pending::<()>();
    let mut given_up = Box::pin(groups.rebuild(GROUP, 1, &all[3], Holes::Refuse, never));
    assert!(futures::poll!(&mut given_up).is_pending());
    assert_eq!(disk.files("/v3/icn-pool/extents").len(), 1);
    let busy = groups.rebuild(GROUP, 0, &all[3], Holes::Refuse, at_once).await;
    assert!(matches!(busy, Err(GroupRebuildError::Busy { .. })));
    drop(given_up);
    tokio::task::yield_now().await;
    assert_eq!(disk.files("/v3/icn-pool/extents"), [] as [PathBuf; 0]);
    groups.rebuild(GROUP, 1, &all[3], Holes::Refuse, at_once).await.unwrap();
    assert_rows(&groups.reader(GROUP).await.unwrap(), &written, "again").await;
}
