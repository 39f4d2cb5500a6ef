//! Disks that fail or lie, full ones, and callers that go away.

use super::*;
use crate::sim::Fault;

#[test]
fn an_error_of_a_write_or_sync_fences_for_good() {
    for kind in [Fault::WriteErrorAt, Fault::SyncErrorAt] {
        for at in 0.. {
            let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(at));
            eprintln!("{:?}", kind(at));
            let is_fenced = run(async {
                let Opened { device, journal, .. } = open(&disk).await;
                disk.set_fault(Some(kind(at)));
                for _ in 0..3 {
                    let done = model.append(&journal, 6, &mut dice).await;
                    if device.fenced().is_some() {
                        assert_eq!(model.append(&journal, 3, &mut dice).await, [false; 3]);
                    } else {
                        assert_eq!(done, [true; 6]);
                    }
                }
                for (lsn, place) in &model.acked {
                    assert_eq!(journal.read(*place).await.unwrap(), model.submitted[lsn]);
                }
                if device.fenced().is_some() {
                    journal.seal().await;
                    for segment in journal.segments() {
                        model.free(&journal, &segment).await;
                    }
                    assert!(model.freed.is_empty());
                    let refused = journal.append(Lsn(0), Bytes::new()).await;
                    assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
                }
                journal.close().await;
                device.fenced().is_some()
            });
            let disk = disk.cut(Cut::Mixed(at));
            run(async { model.check(&open(&disk).await).await });
            if !is_fenced {
                assert!(at > 5);
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_lies_gives_no_wrong_bytes() {
    for kind in [Fault::LostWriteAt as fn(u64) -> Fault, |at| Fault::MisdirectedWriteAt(at, at)] {
        for at in 0..20 {
            let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(at));
            eprintln!("{:?}", kind(at));
            run(async {
                let Opened { journal, .. } = open(&disk).await;
                disk.set_fault(Some(kind(at)));
                for _ in 0..4 {
                    model.append(&journal, 5, &mut dice).await;
                }
            });
            let disk = disk.cut(Cut::Lost);
            run(async {
                let opened = open(&disk).await;
                for found in &opened.found {
                    assert_eq!(model.submitted[&found.lsn], found.content);
                }
                let lost = model.acked.len() - opened.found.len();
                assert!(lost < model.acked.len() || at < 2, "{lost} lost");
                for (lsn, place) in &model.acked {
                    match opened.journal.read(*place).await {
                        Ok(content) => assert_eq!(content, model.submitted[lsn]),
                        Err(error) => assert!(
                            matches!(error, JournalError::Gone { .. } | JournalError::Damaged(_)),
                            "{error}"
                        ),
                    }
                }
            });
        }
    }
}

#[test]
fn a_full_volume_says_so_and_goes_on_when_a_segment_is_freed() {
    run(async {
        for (room, spare_segments) in [(2, 1), (3, 0), (1, 4)] {
            let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(room));
            let config = JournalConfig { spare_segments, ..CONFIG };
            let used = 2 * crate::superblock::SUPERBLOCK as u64;
            disk.set_capacity(Some(used + room * CONFIG.segment_bytes + 4096));
            let Opened { device, journal, .. } = open_with(&disk, config).await.unwrap();
            let full = loop {
                let (lsn, content) = model.record(&mut dice);
                match journal.append(lsn, content).await {
                    Ok(place) => model.acked.insert(lsn, place),
                    Err(error) => break error,
                };
            };
            assert!(matches!(full, JournalError::Full { .. }), "{full}");
            assert_eq!(device.fenced(), None);
            assert_eq!(journal.segments().len() as u64, room);
            for (lsn, place) in &model.acked {
                assert_eq!(journal.read(*place).await.unwrap(), model.submitted[lsn]);
            }
            journal.seal().await;
            let first = journal.segments()[0];
            journal.free(first.slot, first.incarnation).await.unwrap();
            let (lsn, content) = model.record(&mut dice);
            journal.append(lsn, content).await.unwrap();
            drop((device, journal));
        }
    });
}

#[test]
fn callers_that_go_away_take_nothing_with_them() {
    for seed in 0..30 {
        eprintln!("seed {seed}");
        let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(seed));
        run(async {
            let Opened { journal, .. } = open(&disk).await;
            for _ in 0..6 {
                let mut staying = Vec::new();
                for _ in 0..12 {
                    let ((lsn, content), journal) = (model.record(&mut dice), journal.clone());
                    let task = tokio::spawn(async move { journal.append(lsn, content).await });
                    match dice.roll(4) {
                        0 => task.abort(),
                        1 => {
                            tokio::task::yield_now().await;
                            task.abort();
                        }
                        _ => staying.push((lsn, task)),
                    }
                }
                for (lsn, task) in staying {
                    model.acked.insert(lsn, task.await.unwrap().unwrap());
                }
            }
            assert!(journal.inner.lanes.iter().all(|lane| lane.waiting() == 0));
            journal.close().await;
        });
        let disk = disk.cut(Cut::Lost);
        run(async { model.check(&open(&disk).await).await });
    }
}

#[test]
fn a_pulled_disk_is_fenced_and_keeps_what_was_acknowledged() {
    let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(1));
    run(async {
        let Opened { device, journal, .. } = open(&disk).await;
        model.append(&journal, 8, &mut dice).await;
        disk.pull("/v");
        assert_eq!(model.append(&journal, 2, &mut dice).await, [false, false]);
        assert!(device.fenced().is_some());
        let place = model.acked[&Lsn(1)];
        let read = journal.read(place).await;
        assert!(matches!(read, Err(JournalError::Io { .. })), "{read:?}");
        // Back, it is another disk for those who had it.
        disk.plug("/v");
        assert!(journal.read(place).await.is_err());
    });
    run(async { model.check(&open(&disk).await).await });
}

#[test]
fn blocks_that_cannot_be_read_cost_what_is_in_them() {
    let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(9));
    run(async {
        let Opened { journal, .. } = open(&disk).await;
        for _ in 0..6 {
            model.append(&journal, 2, &mut dice).await;
        }
    });
    let disk = disk.cut(Cut::Lost);
    for at in 0..20 {
        let disk = disk.fork();
        run(async {
            let device = Device::open(Path::new("/v"), surroundings(&disk)).unwrap();
            disk.set_faults(&[Fault::ReadErrorAt(at), Fault::ReadErrorAt(at + 1)]);
            let found = Arc::new(Mutex::new(Vec::new()));
            let heard = Arc::clone(&found);
            let visit = move |record: Found| heard.lock().unwrap().push(record);
            let (journal, scans) = Journal::open(device, CONFIG, visit).await.unwrap();
            let unreadable: u64 = scans.iter().map(|scan| scan.damage.unreadable).sum();
            let found = std::mem::take(&mut *found.lock().unwrap());
            for found in &found {
                assert_eq!(model.submitted[&found.lsn], found.content);
            }
            assert!(found.len() == model.acked.len() || unreadable > 0, "read {at}");
            // What could not be read is not written over.
            for scan in scans.iter().filter(|scan| scan.damage.unreadable > 0) {
                assert!(journal.segments().iter().any(|held| held.slot == scan.slot));
                journal.free(scan.slot, scan.incarnation).await.unwrap();
            }
        });
    }
}
