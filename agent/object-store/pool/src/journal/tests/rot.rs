//! Bits that flip.

use super::*;
use crate::sim::Fault;

/// Small segments, so that every bit can be tried: a header and three frames of two records.
const SMALL: JournalConfig = JournalConfig {
    segment_bytes: 16 << 10,
    lanes: 1,
    frame_bytes_max: 256,
    record_bytes_max: 1000,
    spare_segments: 0,
};

/// Bytes of a frame: its header and two records of 40 bytes.
const WRITTEN: usize = 32 + 2 * (28 + 40);

fn three_frames() -> (SimDisk, Vec<(JournalPlace, Bytes)>) {
    let disk = formatted();
    let mut records = Vec::new();
    run(async {
        let Opened { journal, .. } = open_with(&disk, SMALL).await.unwrap();
        for frame in 0..3_u8 {
            let append = |at: u8| {
                let content = Bytes::from(vec![16 * frame + at; 40]);
                let (lsn, journal) = (Lsn(u64::from(2 * frame + at)), journal.clone());
                tokio::spawn(async move {
                    (journal.append(lsn, content.clone()).await.unwrap(), content)
                })
            };
            for task in [append(0), append(1)] {
                records.push(task.await.unwrap());
            }
        }
    });
    let offsets: Vec<u32> = records.iter().map(|(place, _)| place.offset / 4096).collect();
    assert_eq!(offsets, [1, 1, 2, 2, 3, 3]);
    (disk.cut(Cut::Lost), records)
}

/// What is at a byte of the segment.
#[derive(Debug, PartialEq)]
enum At {
    Header,
    FrameHeader,
    Record(usize),
    Padding,
}

fn what_is_at(byte: usize, records: &[(JournalPlace, Bytes)]) -> At {
    let within = byte % 4096;
    let record = records.iter().position(|(place, _)| {
        // The length before it is part of it.
        let start = place.offset as usize - 4;
        (start..start + 4 + place.length as usize).contains(&byte)
    });
    match (byte / 4096, record) {
        (0, _) if within < 36 => At::Header,
        (_, Some(record)) => At::Record(record),
        (1.., None) if within < 32 => At::FrameHeader,
        _ => At::Padding,
    }
}

#[test]
fn one_rotten_bit_costs_no_more_than_its_frame_and_is_told() {
    let (disk, records) = three_frames();
    let bytes = (0..16 << 10).filter(|byte| byte % 4096 < WRITTEN || byte % 256 == 0);
    for (byte, bit) in bytes.flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let disk = disk.fork();
        disk.flip_bit_of(&segment_path(0), byte, bit);
        let at = what_is_at(byte, &records);
        run(async {
            let opened = open_with(&disk, SMALL).await.unwrap();
            let scan = &opened.scans[0];
            let found: Vec<_> = opened.found.into_iter().map(|f| (f.place, f.content)).collect();
            let lost: Vec<usize> =
                (0..6).filter(|record| !found.contains(&records[*record])).collect();
            assert_eq!(found.len() + lost.len(), 6, "byte {byte}: one that was never written");
            match at {
                At::Padding => assert!(lost.is_empty() && !scan.damage.is_any()),
                At::Header | At::FrameHeader => {
                    assert!(lost.is_empty(), "byte {byte}, bit {bit}: {lost:?}");
                    assert_eq!(scan.damage, Damage { mended: 1, ..Damage::default() });
                }
                At::Record(record) => {
                    assert!(lost.contains(&record), "byte {byte}");
                    assert!(
                        lost.iter().all(|lost| lost / 2 == record / 2),
                        "byte {byte}: {lost:?}"
                    );
                    let sealed = records[record].0.offset as usize;
                    assert!(byte < sealed || lost.len() == 1, "byte {byte}: {lost:?}");
                    // Of the last frame it cannot be told from a torn one.
                    assert_eq!(scan.is_torn, record >= 4, "byte {byte}");
                    assert_eq!(scan.damage.frames, u64::from(record < 4), "byte {byte}");
                }
            }
        });
    }
}

#[test]
fn reading_gives_what_was_written_or_an_error() {
    let (disk, records) = three_frames();
    let places = records.iter().map(|(place, _)| place.offset as usize);
    let bytes: Vec<usize> = places.flat_map(|start| (start - 4)..(start + 40 + 24)).collect();
    run(async {
        let Opened { journal, .. } = open_with(&disk, SMALL).await.unwrap();
        for byte in bytes {
            disk.flip_bit_of(&segment_path(0), byte, 3);
            for (place, content) in &records {
                let start = place.offset as usize;
                let is_hit = (start..start + place.length as usize).contains(&byte);
                match journal.read(*place).await {
                    Ok(read) => assert!(!is_hit && read == content, "byte {byte}"),
                    Err(error) => assert!(is_hit && matches!(error, JournalError::Damaged(_))),
                }
            }
            disk.flip_bit_of(&segment_path(0), byte, 3);
        }
        // Wrong on the way, or a place that never was.
        let (place, content) = &records[0];
        for seed in 0..50 {
            disk.set_fault(Some(Fault::FlipOnReadAt(0, seed)));
            let read = journal.read(*place).await;
            assert!(matches!(read, Err(JournalError::Damaged(_))), "seed {seed}: {read:?}");
            assert_eq!(journal.read(*place).await.unwrap(), content);
        }
        for (offset, length) in [(0, 64), (4132, 63), (4133, 64), (4132, 0), (u32::MAX, u32::MAX)] {
            let read = journal.read(JournalPlace { offset, length, ..*place }).await;
            assert!(matches!(read, Err(JournalError::Damaged(_))), "{offset}: {read:?}");
        }
        let read = journal.read(JournalPlace { volume: VolumeNo(4), ..*place }).await;
        assert!(matches!(read, Err(JournalError::Gone { .. })), "{read:?}");
    });
}

#[test]
fn a_frame_that_is_not_known_any_more_is_missed() {
    let (disk, _) = three_frames();
    for bit in 0..3 {
        disk.flip_bit_of(&segment_path(0), 2 * 4096, bit);
    }
    run(async {
        let opened = open_with(&disk, SMALL).await.unwrap();
        assert_eq!((opened.found.len(), opened.scans[0].damage.frames), (4, 1));
    });
}

#[test]
fn a_lost_header_is_told_and_its_slot_is_free() {
    let (disk, _) = three_frames();
    for bit in 0..3 {
        disk.flip_bit_of(&segment_path(0), 16, bit);
    }
    run(async {
        let opened = open_with(&disk, SMALL).await.unwrap();
        assert!(opened.found.is_empty() && opened.scans[0].damage.header);
        let place = opened.journal.append(Lsn(9), Bytes::from_static(b"new")).await.unwrap();
        assert_eq!(place.slot, 0);
    });
    let disk = disk.cut(Cut::Lost);
    let found = run(async { open_with(&disk, SMALL).await.unwrap().found });
    assert_eq!(found.iter().map(|found| found.lsn).collect::<Vec<_>>(), [Lsn(9)]);
}

#[test]
fn segments_of_a_later_release_or_another_volume_are_left_alone() {
    for (what, byte) in [("later", 8), ("other", 12)] {
        let (disk, _) = three_frames();
        let mut header = disk.content(&segment_path(0))[..36].to_vec();
        let before = header.clone();
        header[byte] ^= 4;
        let sum = crate::superblock::crc32c(&header[..32]).to_le_bytes();
        header[32..].copy_from_slice(&sum);
        for at in 0..36 {
            for bit in (0..8).filter(|bit| (before[at] ^ header[at]) >> bit & 1 == 1) {
                disk.flip_bit_of(&segment_path(0), at, bit);
            }
        }
        let content = disk.content(&segment_path(0));
        run(async {
            let error = open_with(&disk, SMALL).await.err().unwrap();
            assert!(error.to_string().contains("nothing was changed"), "{what}: {error}");
            assert_eq!(
                matches!(error, JournalError::Newer { found: 5, .. }),
                what == "later",
                "{error}"
            );
        });
        assert_eq!(disk.content(&segment_path(0)), content);
    }
}
