//! Appends, segments freed, and the power cut at every call.

use super::*;
use crate::sim::Fault;

/// Some rounds of appends, after each of which perhaps a segment is freed.
async fn work(journal: &Journal, model: &mut Model, dice: &mut Dice) {
    for round in 0..3 {
        let count = 1 + dice.roll(6);
        model.append(journal, count, dice).await;
        if round == 1 {
            journal.seal().await;
        }
        if dice.roll(2) == 0 {
            let segments = journal.segments();
            let mut sealed = segments.iter().filter(|segment| !segment.is_open);
            if let Some(segment) = sealed.next() {
                model.free(journal, segment).await;
            }
        }
    }
    if dice.roll(2) == 0 {
        journal.close().await;
    }
}

/// A disk with segments of an earlier run, some freed.
fn begun(seed: u64) -> (SimDisk, Model) {
    let (disk, mut model, mut dice) = (formatted(), Model::default(), Dice(seed));
    run(async {
        let opened = open(&disk).await;
        work(&opened.journal, &mut model, &mut dice).await;
    });
    (disk.cut(Cut::Lost), model)
}

/// Opens after a cut, compares, goes on, and does it again: what was found once stays.
fn survives(disk: &SimDisk, cut: Cut, model: &mut Model, dice: &mut Dice) {
    let disk = disk.cut(cut);
    run(async {
        let opened = open(&disk).await;
        model.check(&opened).await;
        let done = model.append(&opened.journal, 2, dice).await;
        assert_eq!(done, [true, true]);
    });
    let disk = disk.cut(Cut::Lost);
    run(async {
        let opened = open(&disk).await;
        model.check(&opened).await;
    });
}

#[test]
fn a_cut_at_any_call_loses_nothing_acknowledged_and_brings_back_nothing_freed() {
    let mut reboots = 0;
    for seed in 0..14 {
        let (base, before) = begun(seed);
        for at in 0.. {
            let disk = base.fork();
            disk.set_fault(Some(Fault::PowerAt(at)));
            let (mut model, mut dice) = (before.clone(), Dice(seed ^ 0x5eed));
            let is_fenced = run(async {
                let opened = open(&disk).await;
                model.check(&opened).await;
                work(&opened.journal, &mut model, &mut dice).await;
                opened.device.fenced().is_some()
            });
            for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(seed), Cut::Mixed(seed + at + 1000)] {
                eprintln!("seed {seed}, cut at call {at}, {cut:?}");
                survives(&disk.fork(), cut, &mut model.clone(), &mut dice.clone());
                reboots += 2;
            }
            if !is_fenced {
                break;
            }
        }
    }
    assert!(reboots > 4000, "{reboots}");
}

#[test]
fn the_process_killed_again_and_again_loses_nothing() {
    for seed in 0..40 {
        eprintln!("seed {seed}");
        let (mut disk, mut model, mut dice) = (formatted(), Model::default(), Dice(seed));
        for round in 0..6 {
            disk.set_fault(Some(Fault::PowerAt(20 + dice.roll(40))));
            run(async {
                let opened = open(&disk).await;
                model.check(&opened).await;
                work(&opened.journal, &mut model, &mut dice).await;
            });
            disk = disk.cut(if round == 4 { Cut::Mixed(seed) } else { Cut::Kept });
        }
        run(async { model.check(&open(&disk).await).await });
    }
}
