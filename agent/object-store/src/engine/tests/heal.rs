//! Disks that are lost, come new, or rot.

use super::*;
use crate::engine::heal::Redundant;
use crate::engine::keeper::tend;

const SIZES: [usize; 4] = [100, 9000, 300 << 10, 3 << 20];

async fn fill(core: &Arc<Core>) {
    make_bucket(core).await.unwrap();
    for number in 0..12 {
        let bytes = content(number, SIZES[usize::try_from(number % 4).unwrap()]);
        put(core, &format!("key-{number}"), bytes).await.unwrap();
    }
}

async fn check(core: &Arc<Core>, what: &str) {
    for number in 0..12 {
        let bytes = content(number, SIZES[usize::try_from(number % 4).unwrap()]);
        let found = read(core, &format!("key-{number}")).await;
        let found = found.unwrap_or_else(|error| panic!("{what}: {number}: {error}"));
        assert!(found == Some(bytes), "{what}: {number}");
    }
}

async fn heal(core: &Core) -> u64 {
    let mut made = 0;
    while core.heal_one(true, async || ()).await.unwrap() {
        made += 1;
        assert!(made < 1000, "it comes to no end");
    }
    made
}

fn whole(core: &Core) -> bool {
    let Redundant { degraded, lost, .. } = core.redundant();
    degraded == 0 && lost == 0
}

#[test]
fn a_lost_volume_is_healed_into_the_room_of_the_others_one_after_the_other() {
    // From 8 volumes with 6 + 2 down to as many as a group needs.
    let mut machine = Machine::new(10);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        fill(&core).await;
    });
    for lost in 0..3 {
        machine = machine.cut(Cut::Lost);
        machine.disk.pull(&format!("/v{lost}"));
        run(async {
            let (core, _) = machine.open().await.unwrap();
            let what = format!("without {lost}");
            check(&core, &what).await;
            assert!(lost > 0 || !whole(&core), "the lost volume held something");
            core.pack(&[]).await.unwrap();
            heal(&core).await;
            let redundant = core.redundant();
            assert!(redundant.lost == 0, "{what}: {redundant:?}");
            check(&core, &what).await;
        });
    }
}

#[test]
fn rot_is_read_around_and_made_good() {
    for volumes in [2, 4, 6] {
        let mut machine = Machine::new(volumes);
        run(async {
            let (core, _) = machine.open().await.unwrap();
            fill(&core).await;
            core.pack(&[]).await.unwrap();
        });
        machine = machine.cut(Cut::Lost);
        let mut dice = Dice(9);
        for file in machine.disk.files("/v1/icn-pool/extents") {
            let length = machine.disk.content(&file).len() as u64;
            for _ in 0..20 {
                machine.disk.flip_bit(&file, usize::try_from(dice.roll(length)).unwrap());
            }
        }
        run(async {
            let (core, _) = machine.open().await.unwrap();
            check(&core, &format!("{volumes} volumes, rotten")).await;
            for group in core.groups.all() {
                core.scrub_group(group, async || ()).await.unwrap();
            }
            assert!(core.redundant().damaged_blocks > 0, "{volumes} volumes");
            assert!(heal(&core).await > 0, "{volumes} volumes");
        });
        machine = machine.cut(Cut::Lost);
        for other in 0..volumes.min(2) {
            if other != 1 {
                machine.disk.pull(&format!("/v{other}"));
            }
        }
        run(async {
            let (core, _) = machine.open().await.unwrap();
            check(&core, &format!("{volumes} volumes, healed, another one pulled")).await;
        });
    }
}

#[test]
fn what_nothing_gives_any_more_is_not_made_again_and_again() {
    let machine = Machine::new(4);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        fill(&core).await;
        core.pack(&[]).await.unwrap();
    });
    let machine = machine.cut(Cut::Lost);
    // One block of one row, on more volumes than there is parity.
    for volume in 0..3 {
        let folder = format!("/v{volume}/icn-pool/extents");
        for file in machine.disk.files(&folder) {
            let length = machine.disk.content(&file).len();
            // Large objects are in groups of their own.
            if length > 1 << 20 {
                machine.disk.flip_bit(&file, length / 2);
            }
        }
    }
    run(async {
        let (core, _) = machine.open().await.unwrap();
        for round in 0..2 {
            for group in core.groups.all() {
                core.scrub_group(group, async || ()).await.unwrap();
            }
            // Once more with each scrub, and no more often.
            assert!(heal(&core).await > 0, "round {round}");
            assert_eq!(heal(&core).await, 0, "round {round}");
        }
        let small = content(0, SIZES[0]);
        assert!(read(&core, "key-0").await.unwrap() == Some(small), "it is in another group");
    });
}

#[test]
fn what_was_written_with_less_parity_is_written_anew() {
    let mut machine = Machine { volumes: 1, ..Machine::new(4) };
    run(async {
        let (core, _) = machine.open().await.unwrap();
        fill(&core).await;
    });
    machine = Machine { volumes: 4, ..machine.cut(Cut::Lost) };
    run(async {
        let (core, _) = machine.open().await.unwrap();
        for _ in 0..3 {
            pack(&core).await.unwrap();
        }
        check(&core, "grown").await;
    });
    machine = machine.cut(Cut::Lost);
    machine.disk.pull("/v0");
    run(async {
        let (core, _) = machine.open().await.unwrap();
        check(&core, "without the first one").await;
    });
}

#[test]
fn a_volume_that_went_and_one_that_came_are_found_though_there_are_as_many_as_before() {
    let machine = Machine::new(4);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        let gone = core.volumes.remove(VolumeNo(3)).unwrap();
        let segments = || -> usize {
            core.volumes.all().iter().map(|volume| volume.journal.segments().len()).sum()
        };
        make_bucket(&core).await.unwrap();
        put(&core, "key", content(1, 100)).await.unwrap();
        let before = Some(core.volumes.takers());
        assert_eq!(tend(Arc::clone(&core), before.clone()).await.unwrap(), before);
        assert!(segments() > 0, "nothing happened that asks for packing");
        let other = core.volumes.remove(VolumeNo(2)).unwrap();
        core.volumes.add(gone);
        let swapped = tend(Arc::clone(&core), before.clone()).await.unwrap();
        assert_ne!(swapped, before);
        assert_eq!(segments(), 0, "what stood there got the copies that are due");
        // One that comes back is another event, though the set is the same again.
        let gone = core.volumes.remove(VolumeNo(3)).unwrap();
        core.volumes.add(gone);
        assert_ne!(Some(core.volumes.takers()), swapped);
        core.volumes.add(other);
        assert_eq!(read(&core, "key").await.unwrap(), Some(content(1, 100)));
    });
}

/// Bytes that were made durable on each volume since it was opened.
fn written(core: &Core) -> Vec<u64> {
    let bytes = |volume: &crate::engine::volumes::Volume| {
        let measured = volume.device.measured();
        measured.writes.bytes + measured.syncs.bytes
    };
    core.volumes.all().iter().map(bytes).collect()
}

#[test]
fn what_is_new_goes_around_a_hot_disk_where_enough_are_left() {
    let machine = Machine::new(5);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let hot = core.volumes.all()[2].device.number();
        core.volumes.set_hot([hot].into());
        let before = written(&core);
        for number in 0..20 {
            put(&core, &format!("key-{number}"), content(number, 100)).await.unwrap();
        }
        let after = written(&core);
        assert_eq!(after[2], before[2], "the hot one takes no small objects");
        let more = (0..5).filter(|at| *at != 2).all(|at| after[at] > before[at]);
        assert!(more, "{before:?} {after:?}");
        // All are hot, and a body has parts on each: redundancy goes first.
        core.volumes.set_hot(core.volumes.all().iter().map(|v| v.device.number()).collect());
        put(&core, "small", content(1, 100)).await.unwrap();
        put(&core, "large", content(2, 3 << 20)).await.unwrap();
        assert!(written(&core)[2] > after[2]);
        core.volumes.set_hot([].into());
        for (name, seed, length) in [("small", 1, 100), ("large", 2, 3 << 20)] {
            assert_eq!(read(&core, name).await.unwrap(), Some(content(seed, length)));
        }
    });
}

#[test]
fn new_groups_and_spare_parts_are_made_beside_a_hot_disk() {
    // One more than the widest group has parts.
    let machine = Machine::new(16);
    run(async {
        let (core, _) = machine.open().await.unwrap();
        make_bucket(&core).await.unwrap();
        let number = core.volumes.all()[7].device.number();
        core.volumes.set_hot([number].into());
        for number in 0..4 {
            put(&core, &format!("key-{number}"), content(number, 3 << 20)).await.unwrap();
        }
        let groups = core.groups.all();
        assert!(!groups.is_empty());
        for group in groups {
            let status = core.groups.status(group).unwrap();
            assert!(!status.volumes.contains(&number), "{status:?}");
            // The one that is left and is not hot.
            let spare = core.spare_for(&status).unwrap().number();
            assert!(spare != number && !status.volumes.contains(&spare));
        }
    });
}
