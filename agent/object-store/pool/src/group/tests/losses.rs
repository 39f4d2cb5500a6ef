use super::*;
use crate::group::error::{CreateError, ReadError, WriteError};
use crate::group::extent::Fault as Wrong;
use crate::group::geometry::{CELL_HEADER, EXTENT_HEADER, block_at, block_length, blocks};
use crate::group::repair::verify;
use crate::seal::TAG;
use crate::sim::{Cut, Fault};

#[tokio::test]
async fn any_m_volumes_may_be_lost_and_no_more() {
    let mut dice = Dice(11);
    for (k, m) in [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 2)] {
        let volumes = u16::from(k + m);
        let disk = disk(volumes);
        let written = filled(&disk, k, m, &mut dice, 5).await;
        let all = devices(&disk, 0..volumes);
        for lost in 0_u32..(1 << volumes) - 1 {
            let there: Vec<Device> =
                all.iter().filter(|d| lost >> d.number().0 & 1 == 0).cloned().collect();
            let told = Told::default();
            let reader = reader_on(&there, &told).unwrap();
            if lost.count_ones() <= u32::from(m) {
                assert_rows(&reader, &written, &format!("{k}+{m} without {lost:b}")).await;
            } else {
                for (place, row) in &written {
                    // What stands on one volume alone may still be there.
                    match reader.read(&Run::row(GROUP, *place)).await {
                        Ok(read) => assert!(read == row),
                        Err(error) => assert!(matches!(error, ReadError::Lost { .. })),
                    }
                }
            }
            assert_eq!(told.all(), [], "missing extents are no damage");
        }
    }
}

#[tokio::test]
async fn flipped_bits_never_give_wrong_bytes_and_are_told() {
    for seed in seeds(12) {
        let mut dice = Dice(seed);
        let (k, m) = [(1, 1), (2, 1), (2, 2), (3, 2)][usize::try_from(dice.roll(4)).unwrap()];
        let volumes = u16::from(k + m);
        let disk = disk(volumes);
        let written = filled(&disk, k, m, &mut dice, 4).await;
        let all = devices(&disk, 0..volumes);
        // On m extents anywhere behind the header, then on all.
        for (spoilt, flips) in [(u16::from(m), 6), (volumes, 60)] {
            let disk = disk.fork_unlocked();
            let mut flipped = Vec::new();
            for _ in 0..flips {
                let volume = u16::try_from(dice.roll(u64::from(spoilt))).unwrap();
                let path = extent_path(volume, u8::try_from(volume).unwrap());
                let size =
                    Extent::open(&all[usize::from(volume)], GROUP, u8::try_from(volume).unwrap());
                let size = size.unwrap().size().unwrap();
                let at = EXTENT_HEADER + dice.roll(size - EXTENT_HEADER);
                disk.flip_bit_of(&path, usize::try_from(at).unwrap(), 3);
                flipped.push((volume, at));
            }
            let there = devices(&disk, 0..volumes);
            let told = Told::default();
            let reader = reader_on(&there, &told).unwrap();
            for (place, row) in &written {
                match reader.read(&Run::row(GROUP, *place)).await {
                    Ok(read) => assert!(read == row, "wrong bytes at {place:?}"),
                    Err(error) => assert!(spoilt > u16::from(m), "{error}"),
                }
            }
            let told = Told::default();
            let reader = reader_on(&there, &told).unwrap();
            let found = verify(&reader, at_once).await.unwrap();
            assert!(!found.is_clean());
            assert_eq!(found.damaged + found.headers, told.all().len() as u64);
            for (volume, at) in flipped {
                assert!(is_told(&told.all(), &reader, volume, at, &written), "{volume} {at}");
            }
        }
    }
}

/// Whether the block or cell header that a byte belongs to is among the damage, or the bit was flipped
/// back, or its row was found by no header, or it only fills up the cell.
fn is_told(told: &[Damage], reader: &GroupReader, volume: u16, at: u64, written: &Written) -> bool {
    let row = written.iter().rev().find(|(place, _)| place.at <= at).unwrap().0;
    let within = at - row.at;
    let payload = reader.shape().payload(row.length);
    let last = blocks(payload) - 1;
    if at >= block_at(row.at, last) + u64::from(block_length(payload, last)) + TAG as u64 {
        return true;
    }
    let of_row: Vec<&Damage> = told.iter().filter(|damage| damage.at == row.at).collect();
    let shard = u8::try_from(volume).unwrap();
    let unused = [18, 19, 24, 25, 26, 27];
    let is_header = within < u64::from(CELL_HEADER) && !unused.contains(&within);
    of_row.iter().any(|damage| {
        let right = if within < u64::from(CELL_HEADER) {
            damage.fault == Wrong::Header
        } else {
            let from = block_at(row.at, damage.block);
            damage.fault == Wrong::Rotten && (from..from + 65_552).contains(&at)
        };
        right && damage.shard == shard && damage.volume == Some(VolumeNo(volume))
    }) || (is_header && reader.extents().all(|extent| extent.cell_at(row.at).is_none()))
}

#[tokio::test]
async fn only_the_blocks_that_are_needed_are_read() {
    let disk = disk(3);
    let devices = devices(&disk, 0..3);
    let writer = GroupWriter::create(new_group(2, 1), &devices).await.unwrap();
    let row = random(&mut Dice(1), writer.shape().full_row());
    let place = writer.append(row.clone()).await.unwrap();
    writer.seal().await.unwrap();
    // All blocks of the first cell but its second rot, and so does the first block of the others.
    for (volume, block) in [(0, 0), (1, 0), (2, 0)] {
        let at = usize::try_from(block_at(place.at, block)).unwrap();
        disk.flip_bit(&extent_path(volume, u8::try_from(volume).unwrap()), at);
    }
    let told = Told::default();
    let reader = reader_on(&devices, &told).unwrap();
    let run = Run::row(GROUP, place);
    let part = run.part(reader.shape(), u64::from(BLOCK), 100);
    let wanted = &row[BLOCK as usize..BLOCK as usize + 100];
    assert!(reader.read(&part).await.unwrap() == wanted);
    assert_eq!(told.all(), []);
    // Its second is made from the seconds of the others.
    disk.flip_bit(&extent_path(0, 0), usize::try_from(block_at(place.at, 1)).unwrap());
    assert!(reader.read(&part).await.unwrap() == wanted);
    let damage = Damage {
        group: GROUP,
        at: place.at,
        shard: 0,
        volume: Some(VolumeNo(0)),
        block: 1,
        fault: Wrong::Rotten,
    };
    assert_eq!(told.all(), [damage]);
    assert!(matches!(reader.read(&run).await, Err(ReadError::Lost { block: 0, whole: 0, .. })));
}

#[tokio::test]
async fn a_short_extent_reads_as_far_as_it_goes() {
    let disk = disk(2);
    let mut dice = Dice(2);
    let written = filled(&disk, 1, 1, &mut dice, 4).await;
    let told = Told::default();
    let reader = reader_on(&devices(&disk, 0..2), &told).unwrap();
    let last = written[3].0;
    for extent in reader.extents().take(1) {
        extent.truncate(last.at + 40).unwrap();
    }
    assert_rows(&reader, &written, "short").await;
    let found = verify(&reader, at_once).await.unwrap();
    assert!(found.damaged > 0 && found.lost == 0);
    assert!(told.all().iter().any(|damage| damage.fault == Wrong::Short));
}

/// One call after the other fails: what the answer says is durable is there, read without the fenced
/// volume, after all that was not synced is lost.
#[tokio::test]
async fn one_failed_call_costs_one_shard_and_the_answer_says_which() {
    let mut degraded = 0;
    for (k, m) in [(1, 1), (2, 1), (2, 2)] {
        for at in 0.. {
            let disk = disk(u16::from(k + m));
            let all = devices(&disk, 0..u16::from(k + m));
            let writer = GroupWriter::create(new_group(k, m), &all).await.unwrap();
            disk.set_fault(Some(Fault::ErrorAt(at)));
            let mut dice = Dice(at);
            let mut written: Written = Vec::new();
            let mut failed = None;
            for n in 0..5 {
                let length = some_length(&mut dice, &writer.shape());
                let row = random(&mut dice, length);
                match writer.append(row.clone()).await {
                    Ok(place) => written.push((place, row)),
                    Err(error) => failed = Some(error),
                }
                if n % 2 == 1 {
                    failed = writer.sync().await.err().or(failed);
                }
            }
            let sealed = writer.seal().await;
            if disk.calls() <= at {
                assert!(failed.is_none());
                break;
            }
            degraded += 1;
            let Err(WriteError::Degraded(told)) = sealed else { panic!("{sealed:?}") };
            assert!(failed.is_none_or(|error| matches!(error, WriteError::Degraded(_))));
            assert_eq!(told.lost.len(), 1);
            let lost = told.lost[0];
            assert_eq!(VolumeNo(u16::from(lost.shard)), lost.volume);
            for device in &all {
                assert_eq!(device.fenced().is_some(), device.number() == lost.volume);
            }
            assert!(told.whole <= told.reduced);
            assert_eq!(writer.room(), 0);
            assert!(matches!(writer.append(vec![1]).await, Err(WriteError::Degraded(_))));
            drop((writer, all));
            let disk = disk.cut(Cut::Lost);
            let alone = devices(&disk, 0..u16::from(k + m));
            let mut others = alone.clone();
            others.retain(|device| device.number() != lost.volume);
            let there = reader_on(&others, &Told::default()).unwrap();
            let ends = |place: &RowPlace| place.at < told.reduced;
            assert!(written.iter().all(|(place, _)| ends(place)));
            assert_rows(&there, &written, &format!("{k}+{m} call {at}")).await;
            let whole: Written = written.into_iter().filter(|(p, _)| p.at < told.whole).collect();
            assert_rows(&reader_on(&alone, &Told::default()).unwrap(), &whole, "whole").await;
        }
    }
    assert!(degraded > 60, "{degraded}");
}

#[tokio::test]
async fn a_full_volume_is_told_and_not_fenced() {
    let disk = disk(3);
    let all = devices(&disk, 0..3);
    // The superblocks are written before, to reserve incarnations.
    assert!(all.iter().all(|device| device.incarnation().is_ok()));
    let used: u64 = 3 * 2 * 65_536;
    disk.set_capacity(Some(used + 2 * 4096 + 100));
    let error = GroupWriter::create(new_group(2, 1), &all).await.unwrap_err();
    assert!(matches!(&error, CreateError::Extent { source, .. } if source.is_full()), "{error:?}");
    for volume in 0..3 {
        assert_eq!(disk.files(&format!("/v{volume}/icn-pool/extents")), [] as [PathBuf; 0]);
    }
    // Room that was taken for the group is there to its end.
    disk.set_capacity(Some(used + 3 * new_group(2, 1).extent));
    let writer = GroupWriter::create(new_group(2, 1), &all).await.unwrap();
    let mut dice = Dice(4);
    let mut written = Vec::new();
    loop {
        let row = random(&mut dice, 60_000);
        match writer.append(row.clone()).await {
            Ok(place) => written.push((place, row)),
            Err(WriteError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written.len() > 100, "{}", written.len());
    writer.seal().await.unwrap();
    assert!(all.iter().all(|device| device.fenced().is_none()));
    let reader = reader_on(&all, &Told::default()).unwrap();
    assert_rows(&reader, &written, "full").await;
}
