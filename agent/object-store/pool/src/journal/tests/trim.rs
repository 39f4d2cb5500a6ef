//! Slots that are given back to the file system.

use super::*;
use crate::sim::Fault;

fn files(disk: &SimDisk) -> usize {
    disk.files("/v/icn-pool/journal").len()
}

/// Appends until so many segments are in use, then frees all of them.
async fn burst(opened: &Opened, model: &mut Model, dice: &mut Dice, segments: usize) {
    while opened.journal.segments().len() < segments {
        model.append(&opened.journal, 4, dice).await;
    }
    opened.journal.seal().await;
    for segment in opened.journal.segments() {
        model.free(&opened.journal, &segment).await;
    }
}

/// Lets what is prepared in the background come to its end.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_a_burst_took_is_given_back_when_it_was_not_in_use_for_a_while() {
    run(async {
        let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(1));
        let opened = open(&disk).await;
        let journal = &opened.journal;
        burst(&opened, &mut model, &mut dice, 12).await;
        settle().await;
        let all = files(&disk);
        assert!(all >= 12, "{all}");
        // In use since the trim before, and since the one before that.
        for _ in 0..2 {
            assert!(journal.trim(Keep::Recent).await.unwrap() <= 1, "it may be needed again");
        }
        assert!(files(&disk) >= all - 2);
        burst(&opened, &mut model, &mut dice, 3).await;
        journal.trim(Keep::Recent).await.unwrap();
        assert!((3..=5).contains(&files(&disk)), "{}", files(&disk));
        model.append(journal, 1, &mut dice).await;
        settle().await;
        journal.trim(Keep::Least).await.unwrap();
        assert_eq!(files(&disk), 1 + CONFIG.spare_segments);
        assert_eq!(journal.trim(Keep::Least).await.unwrap(), 0);
        // It goes on with new ones.
        burst(&opened, &mut model, &mut dice, 6).await;
        model.append(journal, 9, &mut dice).await;
        let disk = disk.cut(Cut::Lost);
        model.check(&open(&disk).await).await;
    });
}

#[test]
fn a_cut_while_slots_are_given_back_loses_nothing_and_brings_nothing_back() {
    let (disk, mut before, mut dice) = (formatted(), Model::default(), Dice(5));
    run(async {
        let opened = open(&disk).await;
        burst(&opened, &mut before, &mut dice, 6).await;
        before.append(&opened.journal, 3, &mut dice).await;
        opened.journal.close().await;
    });
    let mut any_removed = false;
    for at in 0.. {
        let (disk, mut model) = (disk.fork(), before.clone());
        let is_fenced = run(async {
            let opened = open(&disk).await;
            model.check(&opened).await;
            disk.set_fault(Some(Fault::PowerAt(at)));
            match opened.journal.trim(Keep::Least).await {
                Ok(count) => any_removed |= count > 0,
                Err(error) => assert!(matches!(error, JournalError::Fenced { .. }), "{error}"),
            }
            // What is made again takes the slots of what was removed.
            model.append(&opened.journal, 6, &mut dice).await;
            opened.device.fenced().is_some()
        });
        for cut in [Cut::Kept, Cut::Lost, Cut::Mixed(at)] {
            eprintln!("cut at call {at}, {cut:?}");
            let (mut disk, mut model) = (disk.fork().cut(cut), model.clone());
            for _ in 0..2 {
                run(async { model.check(&open(&disk).await).await });
                disk = disk.cut(Cut::Lost);
            }
        }
        if !is_fenced {
            assert!(at > 8 && any_removed, "{at}");
            break;
        }
    }
}

#[test]
fn a_segment_with_records_is_never_given_back() {
    for seed in 0..8 {
        eprintln!("seed {seed}");
        let (mut disk, mut model, mut dice) = (formatted(), Model::default(), Dice(seed));
        for round in 0..12 {
            run(async {
                let opened = open(&disk).await;
                model.check(&opened).await;
                for _ in 0..3 {
                    let count = 4 + dice.roll(12);
                    model.append(&opened.journal, count, &mut dice).await;
                    opened.journal.seal().await;
                    for segment in opened.journal.segments() {
                        if dice.roll(4) != 0 {
                            model.free(&opened.journal, &segment).await;
                        }
                    }
                    let keep = if dice.roll(2) == 0 { Keep::Least } else { Keep::Recent };
                    opened.journal.trim(keep).await.unwrap();
                    for place in model.kept() {
                        opened.journal.read(place).await.unwrap();
                    }
                }
            });
            disk = disk.cut(Cut::Mixed(seed * 100 + round));
        }
    }
}
