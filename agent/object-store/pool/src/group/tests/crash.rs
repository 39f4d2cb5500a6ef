use super::*;
use crate::group::repair::Holes;
use crate::group::set::Groups;
use crate::group::walk::Walk;
use crate::sim::{Cut, Fault};

/// Appends and syncs until the power is cut, and gives the rows that were acknowledged; whether it
/// came to its end.
async fn write_until_cut(disk: &SimDisk, k: u8, m: u8, at: u64) -> (Written, bool) {
    let all = devices(disk, 0..u16::from(k + m));
    disk.set_fault(Some(Fault::PowerAt(at)));
    let mut dice = Dice(99);
    let mut acknowledged = Vec::new();
    let Ok(writer) = GroupWriter::create(new_group(k, m), &all).await else {
        return (acknowledged, false);
    };
    let mut pending: Written = Vec::new();
    for n in 0..7 {
        let length = if n == 3 { writer.shape().full_row() } else { 1 + n * 7001 };
        let row = random(&mut dice, length);
        let Ok(place) = writer.append(row.clone()).await else { return (acknowledged, false) };
        pending.push((place, row));
        if n % 3 == 1 {
            if writer.sync().await.is_err() {
                return (acknowledged, false);
            }
            acknowledged.append(&mut pending);
        }
    }
    let sealed = writer.seal().await.is_ok();
    if sealed {
        acknowledged.append(&mut pending);
    }
    (acknowledged, sealed)
}

#[tokio::test]
async fn rows_whose_sync_returned_survive_a_cut_at_any_call() {
    for (k, m) in [(1, 0), (1, 1), (2, 1), (2, 2)] {
        let volumes = u16::from(k + m);
        let blank = disk(volumes);
        for at in 0.. {
            let disk = blank.fork_unlocked();
            let (acknowledged, done) = write_until_cut(&disk, k, m, at).await;
            let cuts = [Cut::Lost, Cut::Kept, Cut::Mixed(at), Cut::Mixed(at + 1000)];
            for cut in cuts {
                let about = format!("{k}+{m} call {at} {cut:?}");
                let after = disk.fork().cut(cut);
                // Any m volumes may be gone as well.
                let gone = u16::try_from(at).unwrap() % volumes;
                let there = (0..volumes)
                    .filter(|n| m == 0 || (n + volumes - gone) % volumes >= u16::from(m));
                let there = devices(&after, there);
                let Some(reader) = reader_on(&there, &Told::default()) else {
                    assert_eq!(acknowledged.len(), 0, "{about}");
                    continue;
                };
                assert_rows(&reader, &acknowledged, &about).await;
                // The walk finds them too, and whatever it finds behind them is no wrong row.
                let mut walk = Walk::of(&reader);
                let mut found = Vec::new();
                while let Some(row) = walk.next().await.unwrap() {
                    found.push(row.place);
                }
                let acknowledged: Vec<_> = acknowledged.iter().map(|(place, _)| *place).collect();
                assert_eq!(found.get(..acknowledged.len()), Some(&acknowledged[..]), "{about}");
            }
            if done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_row_that_nobody_waits_for_is_written_to_its_end() {
    let disk = disk(3);
    let writer = GroupWriter::create(new_group(2, 1), &devices(&disk, 0..3)).await.unwrap();
    let mut abandoned = Box::pin(writer.append(vec![7; 1000]));
    // Begun, then dropped.
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(abandoned);
    let place = writer.append(vec![8; 1000]).await.unwrap();
    writer.sync().await.unwrap();
    drop(writer);
    let after = disk.cut(Cut::Lost);
    let reader = reader(&after, 0..3);
    let mut walk = Walk::of(&reader);
    let first = walk.next().await.unwrap().unwrap();
    assert_eq!(reader.read(&Run::row(GROUP, first.place)).await.unwrap(), vec![7; 1000]);
    assert_eq!(walk.next().await.unwrap().unwrap().place, place);
}

/// A torn end of a group hinders no rebuild, as nothing that could come back is missing.
#[tokio::test]
async fn after_a_cut_any_shard_can_be_made_anew() {
    for (k, m) in [(1, 1), (2, 1), (2, 2)] {
        let volumes = u16::from(k + m);
        let blank = disk(volumes);
        for at in 10.. {
            let disk = blank.fork_unlocked();
            let (acknowledged, done) = write_until_cut(&disk, k, m, at).await;
            for seed in [at, at + 500] {
                let about = format!("{k}+{m} call {at} seed {seed}");
                let after = disk.fork().cut(Cut::Mixed(seed));
                let all = devices(&after, 0..volumes);
                let groups = Groups::new(Told::default().hear());
                for device in &all {
                    groups.add_device(device).await.unwrap();
                }
                let shard = u8::try_from(seed % u64::from(volumes)).unwrap();
                if groups.degraded().is_empty() && !groups.all().is_empty() {
                    let onto = &all[usize::from(shard)];
                    let rebuilt = groups.rebuild(GROUP, shard, onto, Holes::Refuse, at_once).await;
                    assert!(rebuilt.unwrap().rows >= acknowledged.len() as u64, "{about}");
                } else {
                    assert_eq!(acknowledged.len(), 0, "{about}");
                }
                groups.remove_device(VolumeNo((u16::from(shard) + 1) % volumes));
                if let Some(reader) = groups.reader(GROUP).await {
                    assert_rows(&reader, &acknowledged, &about).await;
                }
            }
            if done {
                break;
            }
        }
    }
}
