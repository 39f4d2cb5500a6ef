use futures::future::join_all;

use super::*;
use crate::group::error::{CreateError, ReadError, WriteError};
use crate::group::geometry::{EXTENT_HEADER, sealed_length};
use crate::group::walk::{FoundRow, Walk};

const SHAPES: [(u8, u8); 6] = [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (5, 2)];

#[tokio::test]
async fn what_is_written_is_read_in_any_part() {
    for seed in seeds(8) {
        let mut dice = Dice(seed);
        for (k, m) in SHAPES {
            let disk = disk(u16::from(k + m));
            let written = filled(&disk, k, m, &mut dice, 8).await;
            let reader = reader(&disk, 0..u16::from(k + m));
            assert_rows(&reader, &written, &format!("{k}+{m}")).await;
            for _ in 0..30 {
                let (place, row) = &written[usize::try_from(dice.roll(8)).unwrap()];
                let from = dice.roll(row.len() as u64 + 1);
                let length = dice.roll(row.len() as u64 + 1 - from);
                let run = Run::row(GROUP, *place).part(reader.shape(), from, length);
                let read = reader.read(&run).await.unwrap();
                let narrow = |bytes: u64| usize::try_from(bytes).unwrap();
                let (from, length) = (narrow(from), narrow(length));
                assert!(read == row[from..from + length], "{k}+{m} {place:?} {from} {length}");
            }
        }
    }
}

#[tokio::test]
async fn a_run_of_many_rows_is_read_as_one() {
    for seed in seeds(4) {
        let mut dice = Dice(seed);
        let disk = disk(3);
        let devices = devices(&disk, 0..3);
        let writer = GroupWriter::create(new_group(2, 1), &devices).await.unwrap();
        let shape = writer.shape();
        // Something else before it.
        fill(&writer, &mut dice, 1).await;
        let content = random(&mut dice, shape.full_row() * 5 + 1000);
        let mut run: Option<Run> = None;
        for row in content.chunks(shape.full_row() as usize) {
            let place = writer.append(row.to_vec()).await.unwrap();
            match &mut run {
                None => run = Some(Run::row(GROUP, place)),
                Some(run) => assert!(run.push(&shape, place)),
            }
        }
        writer.sync().await.unwrap();
        // Also while the group is still being filled, and without one of its disks.
        let run = run.unwrap();
        assert_eq!(run.length, content.len() as u64);
        let lost = u16::try_from(dice.roll(3)).unwrap();
        let readers = [
            reader_of(&writer),
            reader_on(&devices[..usize::from(lost)], &Told::default())
                .filter(|_| lost == 2)
                .unwrap_or_else(|| reader_on(&devices[1..], &Told::default()).unwrap()),
        ];
        for reader in readers {
            assert!(reader.read(&run).await.unwrap() == content);
            for _ in 0..20 {
                let from = dice.roll(run.length);
                let part = run.part(&shape, from, dice.roll(run.length));
                let mut stream = reader.stream(&part).unwrap();
                let mut read = Vec::new();
                while let Some(block) = stream.next().await {
                    let block = block.unwrap();
                    assert!(!block.is_empty() && block.len() <= BLOCK as usize);
                    read.extend_from_slice(&block);
                }
                let from = usize::try_from(from).unwrap();
                assert!(read == content[from..from + usize::try_from(part.length).unwrap()]);
            }
        }
    }
}

#[tokio::test]
async fn rows_of_many_writers_stand_one_behind_the_other() {
    let mut dice = Dice(3);
    let disk = disk(3);
    let writer = GroupWriter::create(new_group(2, 1), &devices(&disk, 0..3)).await.unwrap();
    let rows: Vec<Vec<u8>> = (0..12_u32).map(|n| random(&mut dice, n * 9000 + 1)).collect();
    let before = disk.calls();
    let places = join_all(rows.iter().map(|row| writer.append(row.clone()))).await;
    let mut written: Written = places.into_iter().map(Result::unwrap).zip(rows).collect();
    assert_eq!(disk.calls() - before, 12 * 3);
    let before = disk.calls();
    for synced in join_all((0..8).map(|_| writer.sync())).await {
        synced.unwrap();
    }
    assert_eq!(disk.calls() - before, 3, "callers share a round");
    writer.sync().await.unwrap();
    assert_eq!(disk.calls() - before, 3, "nothing is new");
    let end = writer.seal().await.unwrap();
    assert!(matches!(writer.append(vec![1]).await, Err(WriteError::Sealed)));
    assert_eq!(writer.room(), 0);

    written.sort_by_key(|(place, _)| *place);
    let mut at = EXTENT_HEADER;
    for (place, _) in &written {
        assert_eq!(place.at, at);
        at += sealed_length(writer.shape().payload(place.length));
    }
    assert_eq!(at, end);
    assert_rows(&reader_of(&writer), &written, "many writers").await;
}

/// The rows that the headers of one extent tell of.
async fn scan(extent: &Arc<Extent>) -> Vec<FoundRow> {
    let (mut walk, mut found) = (Walk::new(vec![Arc::clone(extent)]), Vec::new());
    while let Some(row) = walk.next().await.unwrap() {
        found.push(row);
    }
    found
}

#[tokio::test]
async fn the_headers_of_the_cells_tell_the_rows() {
    let mut dice = Dice(5);
    let disk = disk(3);
    let written = filled(&disk, 2, 1, &mut dice, 6).await;
    let places: Vec<RowPlace> = written.iter().map(|(place, _)| *place).collect();
    let reader = reader(&disk, 0..3);
    for extent in reader.extents() {
        let found = scan(extent).await;
        assert_eq!(found.iter().map(|row| row.place).collect::<Vec<_>>(), places);
        assert!((0..).zip(&found).all(|(n, row)| row.number == n));
    }
    // One extent's third header rots, then everyone's.
    for volumes in [1, 3] {
        for volume in 0..volumes {
            let at = usize::try_from(places[2].at).unwrap() + 9;
            disk.flip_bit(&extent_path(volume, u8::try_from(volume).unwrap()), at);
        }
        let mut walk = Walk::of(&reader);
        let mut found = Vec::new();
        while let Some(row) = walk.next().await.unwrap() {
            found.push(row.place);
        }
        let mut expected = places.clone();
        if volumes == 3 {
            // The bits of the first extent were flipped back.
            assert_eq!(scan(reader.extent(0).unwrap()).await.len(), 6);
            disk.flip_bit(&extent_path(0, 0), usize::try_from(places[2].at).unwrap() + 9);
            expected.remove(2);
            found = scan(reader.extent(1).unwrap()).await.iter().map(|row| row.place).collect();
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_group_is_full_when_its_extents_are() {
    let mut dice = Dice(8);
    let disk = disk(3);
    let writer = GroupWriter::create(new_group(2, 1), &devices(&disk, 0..3)).await.unwrap();
    let shape = writer.shape();
    let mut written = Vec::new();
    while writer.room() > 0 {
        let row = random(&mut dice, writer.room());
        written.push((writer.append(row.clone()).await.unwrap(), row));
    }
    assert!(written.iter().take(31).all(|(place, _)| place.length == shape.full_row()));
    assert!(matches!(writer.append(vec![1]).await, Err(WriteError::Full)));
    for length in [0, shape.full_row() as usize + 1] {
        let refused = writer.append(vec![0; length]).await;
        assert!(matches!(refused, Err(WriteError::Length { .. })));
    }
    let end = writer.seal().await.unwrap();
    assert!(end <= 4 << 20 && end > (4 << 20) - 256, "{end}");
    assert_rows(&reader_of(&writer), &written, "full").await;
}

#[tokio::test]
async fn nonsense_is_refused() {
    let disk = disk(3);
    let all = devices(&disk, 0..3);
    let twice = [all[0].clone(), all[0].clone(), all[1].clone()];
    for (new, devices) in [
        (new_group(2, 1), &all[..2]),
        (new_group(2, 1), &twice[..]),
        (NewGroup { extent: 4096, ..new_group(2, 1) }, &all[..]),
        (NewGroup { extent: 1 << 40, ..new_group(2, 1) }, &all[..]),
        (NewGroup { shape: Shape::of(2, 1, 1000), ..new_group(2, 1) }, &all[..]),
    ] {
        let error = GroupWriter::create(new, devices).await.unwrap_err();
        assert!(matches!(error, CreateError::Unsound { .. }), "{error}");
    }
    assert!(disk.files("/v0/icn-pool/extents").is_empty());
    drop((all, twice));
    let written = filled(&disk, 2, 1, &mut Dice(1), 2).await;
    let reader = reader(&disk, 0..3);
    let run = Run::row(GROUP, written[0].0);
    for wrong in [Run { group: GroupId(2), ..run }, Run { skip: 1, ..run }] {
        assert!(matches!(reader.read(&wrong).await, Err(ReadError::Run { .. })));
    }
    // Not where a row is: nothing opens, nothing wrong is given.
    let elsewhere = Run { at: run.at + 64, ..run };
    assert!(matches!(reader.read(&elsewhere).await, Err(ReadError::Lost { .. })));
}
