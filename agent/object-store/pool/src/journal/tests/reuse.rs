//! Slots that are written again and again.

use super::*;
use crate::sim::Fault;

#[test]
fn a_slot_used_again_never_gives_an_old_record() {
    for seed in 0..6 {
        eprintln!("seed {seed}");
        let (mut disk, mut model, mut dice) = (formatted(), Model::default(), Dice(seed));
        for round in 0..40 {
            run(async {
                let opened = open(&disk).await;
                model.check(&opened).await;
                for _ in 0..3 {
                    let count = 4 + dice.roll(12);
                    model.append(&opened.journal, count, &mut dice).await;
                    if dice.roll(3) == 0 {
                        opened.journal.seal().await;
                    }
                    for segment in opened.journal.segments() {
                        if dice.roll(8) != 0 {
                            model.free(&opened.journal, &segment).await;
                        }
                    }
                }
            });
            disk = disk.cut(Cut::Mixed(seed * 100 + round));
        }
        // Slots are used again before new ones are made.
        assert!(disk.files("/v/icn-pool/journal").len() < 24);
    }
}

#[test]
fn an_open_segment_is_not_freed_and_a_freed_one_is_gone() {
    run(async {
        let Opened { journal, .. } = open(&formatted()).await;
        let place = journal.append(Lsn(1), Bytes::from_static(b"one")).await.unwrap();
        let JournalPlace { slot, incarnation, .. } = place;
        let free = journal.free(slot, incarnation).await;
        assert!(matches!(free, Err(JournalError::Open { .. })), "{free:?}");
        journal.seal().await;
        assert_eq!(journal.read(place).await.unwrap(), "one");
        let state = journal.segments()[0];
        assert_eq!((state.slot, state.incarnation, state.is_open), (slot, incarnation, false));
        assert_eq!((state.records, state.lsns), (1, Some((Lsn(1), Lsn(1)))));
        journal.free(slot, incarnation).await.unwrap();
        assert_eq!(journal.segments(), []);
        for _ in 0..2 {
            let read = journal.read(place).await;
            assert!(matches!(read, Err(JournalError::Gone { .. })), "{read:?}");
            let free = journal.free(slot, incarnation).await;
            assert!(matches!(free, Err(JournalError::Gone { .. })), "{free:?}");
            // The same slot, perhaps the same place.
            journal.append(Lsn(2), Bytes::from_static(b"two")).await.unwrap();
        }
    });
}

#[test]
fn appends_at_once_use_all_lanes_and_share_frames() {
    run(async {
        let (disk, mut model) = (formatted(), Model::default());
        let Opened { journal, .. } = open(&disk).await;
        journal.append(Lsn(0), Bytes::new()).await.unwrap();
        assert_eq!(journal.segments().len(), 1, "one at a time goes to the first lane");
        let before = disk.calls();
        let appends: Vec<_> = (1..=64)
            .map(|lsn| {
                let journal = journal.clone();
                tokio::spawn(async move { journal.append(Lsn(lsn), Bytes::new()).await })
            })
            .collect();
        for append in appends {
            append.await.unwrap().unwrap();
        }
        assert_eq!(journal.segments().len(), 2);
        assert!(disk.calls() - before < 24, "{}", disk.calls() - before);
        model.append(&journal, 1, &mut Dice(0)).await;
        journal.close().await;
        let closed = journal.append(Lsn(99), Bytes::new()).await;
        assert!(matches!(closed, Err(JournalError::Closed { .. })), "{closed:?}");
        assert!(journal.segments().iter().all(|segment| !segment.is_open));
    });
}

#[test]
fn segments_of_another_size_are_read_and_made_anew_when_freed() {
    let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(4));
    run(async {
        let Opened { journal, .. } = open(&disk).await;
        model.append(&journal, 9, &mut dice).await;
    });
    let disk = disk.cut(Cut::Lost);
    let larger = JournalConfig { segment_bytes: 32 << 10, spare_segments: 0, ..CONFIG };
    run(async {
        let opened = open_with(&disk, larger).await.unwrap();
        model.check(&opened).await;
        for segment in opened.journal.segments() {
            model.free(&opened.journal, &segment).await;
        }
        for _ in 0..9 {
            model.append(&opened.journal, 9, &mut dice).await;
        }
    });
    let disk = disk.cut(Cut::Lost);
    run(async {
        let opened = open_with(&disk, larger).await.unwrap();
        model.check(&opened).await;
        for segment in opened.journal.segments() {
            assert_eq!(disk.content(&segment_path(segment.slot)).len(), 32 << 10);
        }
    });
}

#[test]
fn a_cut_while_segments_of_another_size_are_freed_brings_back_nothing() {
    let (disk, mut before, mut dice) = (formatted(), Model::default(), Dice(4));
    run(async {
        let Opened { journal, .. } = open(&disk).await;
        before.append(&journal, 9, &mut dice).await;
    });
    let base = disk.cut(Cut::Lost);
    let larger = JournalConfig { segment_bytes: 32 << 10, ..CONFIG };
    for at in 0.. {
        let (disk, mut model) = (base.fork(), before.clone());
        let is_fenced = run(async {
            let opened = open_with(&disk, larger).await.unwrap();
            model.check(&opened).await;
            disk.set_fault(Some(Fault::PowerAt(at)));
            for segment in opened.journal.segments() {
                model.free(&opened.journal, &segment).await;
            }
            model.append(&opened.journal, 3, &mut dice).await;
            opened.device.fenced().is_some()
        });
        for cut in [Cut::Kept, Cut::Lost, Cut::Mixed(at)] {
            eprintln!("cut at call {at}, {cut:?}");
            let (mut disk, mut model) = (disk.fork().cut(cut), model.clone());
            for _ in 0..2 {
                run(async { model.check(&open_with(&disk, larger).await.unwrap()).await });
                disk = disk.cut(Cut::Lost);
            }
        }
        if !is_fenced {
            assert!(at > 6);
            break;
        }
    }
}

#[test]
fn a_sealed_segment_is_read_again_in_stretches() {
    run(async {
        let disk = formatted();
        let Opened { journal, .. } = open(&disk).await;
        let mut dice = Dice(11);
        let mut appended = Vec::new();
        for lsn in 1..=12 {
            let content = content(lsn, 900, &mut dice);
            let place = journal.append(Lsn(lsn), content.clone()).await.unwrap();
            appended.push(Found { lsn: Lsn(lsn), place, content });
        }
        let segment = journal.segments().into_iter().find(|segment| segment.is_open).unwrap();
        let (slot, incarnation) = (segment.slot, segment.incarnation);
        let open = journal.stretch(slot, incarnation, 0, 1).await;
        assert!(matches!(open, Err(JournalError::Open { .. })), "{open:?}");
        journal.seal().await;
        let mut found = Vec::new();
        let mut pieces = 0;
        for segment in journal.segments() {
            let mut next = Some(0);
            while let Some(from) = next {
                let read = journal.stretch(segment.slot, segment.incarnation, from, 700).await;
                let stretch = read.unwrap();
                assert!(!stretch.damage.is_any() && !stretch.is_torn);
                pieces += 1;
                found.extend(stretch.records);
                next = stretch.next;
            }
        }
        assert!(pieces > 3, "{pieces}");
        found.sort_by_key(|found| found.lsn);
        assert_eq!(found, appended);
        for segment in journal.segments() {
            journal.free(segment.slot, segment.incarnation).await.unwrap();
        }
        let gone = journal.stretch(slot, incarnation, 0, 1).await;
        assert!(matches!(gone, Err(JournalError::Gone { .. })), "{gone:?}");
    });
}
