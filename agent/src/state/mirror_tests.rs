use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use agent_api::local::ResetScope;
use agent_object_store::{Class, Engine, EngineConfig, PoolId, Volume, VolumeId};

use super::*;
use crate::state::anew::Power;
use crate::state::anew::tests::{STEPS, Volumes, check_new, fill, marked, node, state};
use crate::state::record::{NodeState, SecretKey};
use crate::state::{Decided, Surroundings};

const SCOPE: ResetScope = ResetScope::KeepIdentity;

/// What is told while a keeper looks, and what is held at the end.
fn look(keeper: &mut Keeper, mounts: &[PathBuf]) -> (Vec<Held>, Held) {
    let told = RefCell::new(Vec::new());
    let held = keeper.look(mounts, &node(), &|held| told.borrow_mut().push(held));
    (told.into_inner(), held)
}

fn fresh() -> Keeper {
    Keeper::new("node".to_owned())
}

fn settled(held: &Held) -> Vec<PathBuf> {
    held.settled.iter().cloned().collect()
}

/// Two volumes, of which the first was made new while the second was away, and who made it new.
fn one_of_before() -> (Volumes, Keeper, NodeState) {
    let volumes = marked(SCOPE);
    let mut keeper = fresh();
    let (told, held) = look(&mut keeper, &volumes.mounts[..1]);
    assert!(matches!(told.as_slice(), [Held { identity: Identity::Awaited(_), .. }]), "{told:?}");
    assert_eq!(settled(&held), volumes.mounts[..1]);
    let made = state(&held);
    assert_eq!(made.resets, 1);
    (volumes, keeper, made)
}

/// A pool on a volume, with the node's key of it.
async fn lay_pool(mount: &Path, key: &SecretKey) {
    let _ = fs::remove_dir_all(mount.join("icn-pool"));
    let mut config = EngineConfig::new(PoolId::new("n1").expect("a pool"), key.clone());
    (config.founding, config.settle) = (Duration::ZERO, Duration::ZERO);
    let store = Engine::open(config);
    let id = VolumeId::new("b").expect("an id");
    let volume = Volume { id, path: mount.to_owned(), class: Class::Ssd };
    store.attach_all(vec![volume]).await.expect("attached");
    store.close().await;
}

#[test]
fn a_disk_of_before_is_settled_only_once_it_is_emptied_and_has_the_record() {
    let (volumes, mut keeper, made) = one_of_before();
    let (told, held) = look(&mut keeper, &volumes.mounts);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(settled(told), volumes.mounts[..1], "the others need not wait");
    assert_eq!(told.kept_back[&volumes.mounts[1]], BEING_EMPTIED);
    assert!(!told.is_everywhere);
    assert_eq!((settled(&held), &held.kept_back), (volumes.mounts.clone(), &BTreeMap::new()));
    check_new(&volumes, SCOPE, &made);
}

#[test]
fn a_power_cut_at_any_step_leaves_a_disk_of_before_unsettled_until_the_next_start() {
    let mut finished = false;
    for steps in 0..STEPS {
        let (volumes, keeper, made) = one_of_before();
        let (late, mut keeper) = (&volumes.mounts[1], keeper.on_power(Power::for_steps(steps)));
        let (told, held) = look(&mut keeper, &volumes.mounts);
        for held in told.iter().chain([&held]) {
            assert_eq!(state(held), made);
            let Found::Record(found) = file::read(late).found else { panic!("no record") };
            let is_new = found.state == made && !late.join("icn-pool").exists();
            assert!(is_new || !held.settled.contains(late), "{steps} steps: {held:?}");
            assert_ne!(held.settled.contains(late), held.kept_back.contains_key(late));
        }
        finished = held.is_everywhere;
        let (_, held) = look(&mut fresh(), &volumes.mounts);
        assert_eq!(settled(&held), volumes.mounts);
        check_new(&volumes, SCOPE, &made);
        if finished {
            assert!(steps >= 5, "{steps}");
            break;
        }
    }
    assert!(finished, "{STEPS} steps are not enough");
}

#[test]
fn a_disk_of_before_that_cannot_be_emptied_is_kept_back_until_it_can_be() {
    let (volumes, mut keeper, made) = one_of_before();
    let late = &volumes.mounts[1];
    let lock = fs::File::create(late.join("icn-pool/lock")).expect("a lock");
    lock.try_lock().expect("free");
    let (_, held) = look(&mut keeper, &volumes.mounts);
    assert_eq!((settled(&held), held.is_everywhere), (volumes.mounts[..1].to_vec(), false));
    assert!(held.kept_back[late].contains("could not be emptied"), "{held:?}");
    drop(lock);
    let (_, held) = look(&mut keeper, &volumes.mounts);
    assert_eq!((settled(&held), held.is_everywhere), (volumes.mounts.clone(), true));
    check_new(&volumes, SCOPE, &made);
}

#[test]
fn a_disk_without_a_readable_record_is_neither_used_nor_emptied_after_a_factory_reset() {
    for text in [Some("torn"), None] {
        let (volumes, mut keeper, made) = one_of_before();
        let late = &volumes.mounts[1];
        let record = late.join("state/agent.json");
        fs::remove_file(&record).expect("removed");
        if let Some(text) = text {
            fs::write(&record, text).expect("damaged");
        }
        for keeper in [&mut keeper, &mut fresh()] {
            let (_, held) = look(keeper, &volumes.mounts);
            assert_eq!(
                (state(&held), settled(&held)),
                (made.clone(), volumes.mounts[..1].to_vec())
            );
            let why = &held.kept_back[late];
            assert!(why.contains("may be of before") && why.contains(BY_HAND), "{why}");
            // Else the node's label stays, and the disk is not taken again.
            let zeros = "write zeros over all of it on another machine (blkdiscard --force --zeroout DEVICE)";
            assert!(BY_HAND.contains(zeros) && OF_AFTER.contains(zeros), "{BY_HAND}");
            assert!(held.is_everywhere, "a factory reset is not to wait for it");
            assert!(late.join("icn-pool/extents/1/2").exists(), "nothing was removed");
            assert_eq!(fs::read_to_string(&record).ok().as_deref(), text, "nothing was written");
        }
        // Another factory reset empties it with the others.
        let mut keeper = fresh();
        keeper.keep_decided(Decided { reset: Some(SCOPE), ..Decided::default() });
        assert!(look(&mut keeper, &volumes.mounts).1.is_everywhere);
        let (_, held) = look(&mut fresh(), &volumes.mounts);
        assert_eq!((state(&held).resets, settled(&held)), (2, volumes.mounts.clone()));
        assert!(!late.join("icn-pool").exists());
    }
}

#[tokio::test]
async fn a_disk_whose_pool_the_node_s_key_opens_is_used_whatever_its_record_says() {
    let later = "{\"version\":99}";
    for (text, is_replaced) in [("torn", true), (later, false)] {
        let (volumes, mut keeper, made) = one_of_before();
        let (late, record) = (&volumes.mounts[1], volumes.mounts[1].join("state/agent.json"));
        lay_pool(late, &made.pool_key).await;
        fs::write(&record, text).expect("written");
        let (_, held) = look(&mut keeper, &volumes.mounts);
        assert_eq!((settled(&held), &held.kept_back), (volumes.mounts.clone(), &BTreeMap::new()));
        assert_eq!(fs::read_to_string(&record).expect("a record") == text, !is_replaced);
        assert!(late.join("icn-pool/superblock-0").exists());
        // The same with the pool of before.
        let (volumes, mut keeper, _) = one_of_before();
        let (late, record) = (&volumes.mounts[1], volumes.mounts[1].join("state/agent.json"));
        lay_pool(late, &volumes.state.pool_key).await;
        fs::write(&record, text).expect("written");
        let (_, held) = look(&mut keeper, &volumes.mounts);
        assert_eq!(settled(&held), volumes.mounts[..1]);
        assert!(held.kept_back[late].contains("may be of before"), "{held:?}");
        assert_eq!(fs::read_to_string(&record).expect("a record"), text);
    }
}

#[test]
fn before_any_factory_reset_no_disk_is_kept_back_for_its_record() {
    for text in ["torn", "{\"version\":99}"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts = ["a", "b"].map(|name| dir.path().join(name));
        for mount in &mounts {
            fs::create_dir_all(mount.join("icn-pool/extents")).expect("a volume");
        }
        look(&mut fresh(), &mounts);
        fs::write(mounts[1].join("state/agent.json"), text).expect("written");
        let (_, held) = look(&mut fresh(), &mounts);
        assert_eq!((settled(&held), held.kept_back), (mounts.to_vec(), BTreeMap::new()));
    }
}

#[test]
fn a_disk_that_the_record_cannot_be_written_to_is_kept_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mounts = ["a", "b"].map(|name| dir.path().join(name));
    mounts.iter().for_each(|mount| fs::create_dir(mount).expect("a volume"));
    let mut keeper = fresh();
    look(&mut keeper, &mounts[..1]);
    fs::create_dir_all(mounts[1].join("state/.agent.json.new")).expect("a folder in the way");
    let (_, held) = look(&mut keeper, &mounts);
    assert_eq!(settled(&held), mounts[..1]);
    assert!(held.kept_back[&mounts[1]].contains("could not be written"), "{held:?}");
}

/// What a volume has, by path.
fn all(mount: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![mount.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => _ = files.insert(path.clone(), fs::read(path).expect("a file")),
            }
        }
    }
    files
}

/// The same as [`one_of_before`], and the node was then in use with the second alone.
fn one_in_use_since() -> (Volumes, Keeper, NodeState) {
    let (volumes, _, made) = one_of_before();
    let old = &volumes.mounts[1..];
    // It was away already when the reset was decided.
    let mut record = Record { generation: 1, state: volumes.state.clone() };
    record.state.reset = None;
    file::write(&Write { mount: old[0].clone(), set_aside: false }, &record).expect("written");
    let absent = Surroundings { absent: vec!["a".to_owned()], ..node() };
    let mut keeper = fresh();
    let held = keeper.look(old, &absent, &|_| ());
    assert_eq!((state(&held).resets, settled(&held)), (0, old.to_vec()));
    assert_eq!(state(&held).partings.len(), 1);
    let again = state(&keeper.look(old, &absent, &|_| ()));
    assert_eq!(again, state(&held), "it is noted once");
    (volumes, keeper, made)
}

#[test]
fn a_disk_with_the_record_of_after_a_reset_takes_no_disk_out_of_use() {
    let (volumes, mut keeper, made) = one_in_use_since();
    let (new, old) = (&volumes.mounts[..1], &volumes.mounts[1..]);
    let before = (all(&new[0]), all(&old[0].join("icn-pool")));
    let (told, held) = look(&mut keeper, &volumes.mounts);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!((state(&held).resets, settled(&held)), (0, old.to_vec()));
    assert_eq!(held.kept_back[&new[0]], OF_AFTER);
    assert!(!held.is_everywhere, "no factory reset with it: it would not be marked");
    assert_eq!((all(&new[0]), all(&old[0].join("icn-pool"))), before);
    // Another one that goes on for it does the same.
    let (_, held) = look(&mut keeper.afresh(), &volumes.mounts);
    assert_eq!((state(&held).resets, settled(&held)), (0, old.to_vec()));
    // As it says: at a start without the others, the node is as on it.
    assert_eq!(state(&look(&mut fresh(), new).1), made);
}

#[test]
fn a_disk_of_before_that_was_in_use_since_is_not_emptied() {
    let (volumes, _, made) = one_in_use_since();
    let (new, old) = (&volumes.mounts[..1], &volumes.mounts[1..]);
    let before = all(&old[0]);
    let mut hot = fresh();
    assert_eq!(settled(&look(&mut hot, new).1), new);
    for keeper in [&mut fresh(), &mut hot] {
        let (_, held) = look(keeper, &volumes.mounts);
        assert_eq!((state(&held), settled(&held)), (made.clone(), new.to_vec()));
        assert!(held.kept_back[&old[0]].starts_with(IN_USE_SINCE), "{held:?}");
        assert!(held.is_everywhere, "a factory reset is not to wait for it");
        assert_eq!(all(&old[0]), before);
    }
    // As it says: at a start without the others, the node is as on it.
    assert_eq!(state(&look(&mut fresh(), old).1).resets, 0);
    // A factory reset with it empties all.
    let mut keeper = fresh();
    keeper.keep_decided(Decided { reset: Some(SCOPE), ..Decided::default() });
    assert!(look(&mut keeper, &volumes.mounts).1.is_everywhere);
    let (_, held) = look(&mut fresh(), &volumes.mounts);
    assert_eq!((state(&held).resets, settled(&held)), (2, volumes.mounts.clone()));
    assert!(!old[0].join("icn-pool").exists());
}

#[test]
fn disks_of_two_resets_that_were_done_without_each_other_are_both_left_as_they_are() {
    let volumes = marked(SCOPE);
    let (a, b) = (&volumes.mounts[..1], &volumes.mounts[1..]);
    let alone = |mounts: &[PathBuf], absent: &str| {
        let absent = Surroundings { absent: vec![absent.to_owned()], ..node() };
        let mut record = Record { generation: 1, state: volumes.state.clone() };
        record.state.reset = None;
        let place = Write { mount: mounts[0].clone(), set_aside: false };
        file::write(&place, &record).expect("written");
        let mut keeper = fresh();
        keeper.keep_decided(Decided { reset: Some(SCOPE), ..Decided::default() });
        keeper.look(mounts, &absent, &|_| ());
        let made = state(&fresh().look(mounts, &absent, &|_| ()));
        fill(&mounts[0]);
        made
    };
    let (of_a, of_b) = (alone(a, "b"), alone(b, "a"));
    assert_eq!((of_a.resets, of_b.resets), (1, 1));
    assert!(of_a.pool_key != of_b.pool_key);
    let before = (all(&a[0].join("icn-pool")), all(&b[0].join("icn-pool")));
    let mut hot = fresh();
    assert_eq!(settled(&look(&mut hot, a).1), a);
    for keeper in [&mut hot, &mut fresh()] {
        let (_, held) = look(keeper, &volumes.mounts);
        assert!(state(&held).pool_key == of_a.pool_key);
        assert_eq!(settled(&held), a);
        assert_eq!(held.kept_back[&b[0]], OF_ANOTHER);
        assert_eq!((all(&a[0].join("icn-pool")), all(&b[0].join("icn-pool"))), before);
    }
    // As it says: at a start without the other, the node is as on it.
    assert!(state(&look(&mut fresh(), b).1).pool_key == of_b.pool_key);
}

#[test]
fn what_was_noted_on_a_disk_in_use_is_not_lost_to_one_with_a_newer_record() {
    let (volumes, mut keeper, _) = one_in_use_since();
    let (new, old) = (&volumes.mounts[..1], &volumes.mounts[1..]);
    let Found::Record(noted) = file::read(&old[0]).found else { panic!("no record") };
    let partings = noted.state.partings.clone();
    // A third disk of before, on which something was changed since.
    let mut newer = Record { generation: noted.generation + 3, ..*noted };
    newer.state.partings = vec![1];
    let third = old[0].with_file_name("c");
    fs::create_dir_all(third.join("state")).expect("a volume");
    let place = Write { mount: third.clone(), set_aside: false };
    file::write(&place, &newer).expect("written");
    let both = [old[0].clone(), third];
    let (_, held) = look(&mut keeper, &both);
    let kept = state(&held).partings;
    assert!(partings.iter().chain(&[1]).all(|number| kept.contains(number)), "{kept:?}");
    let (_, held) = look(&mut fresh(), &[new[0].clone(), both[0].clone(), both[1].clone()]);
    assert_eq!(settled(&held), new);
    assert!(both.iter().all(|mount| held.kept_back[mount].starts_with(IN_USE_SINCE)), "{held:?}");
}

#[test]
fn a_disk_that_goes_away_makes_no_record_newer_and_stops_nobody_where_it_cannot_be_noted() {
    let volumes = marked(SCOPE);
    let mut record = Record { generation: 5, state: volumes.state.clone() };
    record.state.reset = None;
    for mount in &volumes.mounts {
        let place = Write { mount: mount.clone(), set_aside: false };
        file::write(&place, &record).expect("written");
    }
    let a = &volumes.mounts[..1];
    let absent = Surroundings { absent: vec!["b".to_owned()], ..node() };
    let mut keeper = fresh();
    look(&mut keeper, &volumes.mounts);
    let mut keeper = keeper.on_power(Power::for_steps(0));
    let held = keeper.look(a, &absent, &|_| ());
    assert!(matches!(held.identity, Identity::Known(_)), "{held:?}");
    assert_eq!((settled(&held), held.is_everywhere), (a.to_vec(), false));
    let mut keeper = keeper.on_power(Power::default());
    assert!(keeper.look(a, &absent, &|_| ()).is_everywhere, "noted once it can be");
    let Found::Record(noted) = file::read(&a[0]).found else { panic!("no record") };
    assert_eq!(noted.generation, 5);
    assert!(!noted.state.partings.is_empty());
}

#[test]
fn a_reset_that_was_decided_before_a_disk_was_in_use_by_itself_does_not_empty_it() {
    let volumes = marked(SCOPE);
    let (new, old) = (&volumes.mounts[..1], &volumes.mounts[1..]);
    // It was away already when the reset was decided, which is done only with it.
    let mut record = Record { generation: 1, state: volumes.state.clone() };
    record.state.reset = None;
    file::write(&Write { mount: old[0].clone(), set_aside: false }, &record).expect("written");
    let absent = Surroundings { absent: vec!["a".to_owned()], ..node() };
    fresh().look(old, &absent, &|_| ());
    let Found::Record(mut first) = file::read(&new[0]).found else { panic!("no record") };
    first.generation = 9;
    file::write(&Write { mount: new[0].clone(), set_aside: false }, &first).expect("written");
    let (_, held) = look(&mut fresh(), &volumes.mounts);
    assert_eq!((state(&held).resets, settled(&held)), (1, new.to_vec()));
    assert!(held.kept_back[&old[0]].starts_with(IN_USE_SINCE), "{held:?}");
    assert!(old[0].join("icn-pool/extents/1/2").exists());
}

#[test]
fn a_disk_of_before_that_was_away_is_emptied_though_the_node_went_on_without_it() {
    let volumes = marked(SCOPE);
    let absent = Surroundings { absent: vec!["b".to_owned()], ..node() };
    let held = fresh().look(&volumes.mounts[..1], &absent, &|_| ());
    let made = state(&held);
    assert_eq!((made.resets, made.partings.len()), (1, 1));
    // Both had noted one before, which a reset does not forget.
    let (_, held) = look(&mut fresh(), &volumes.mounts);
    assert_eq!((state(&held), settled(&held)), (made.clone(), volumes.mounts.clone()));
    let state = state(&held).parted(7);
    assert_eq!(state.partings.len(), 2);
    check_new(&volumes, SCOPE, &made);
}

#[test]
fn what_is_held_is_told_after_each_disk_that_is_emptied() {
    let volumes = marked(SCOPE);
    let third = volumes.mounts[1].with_file_name("c");
    fs::create_dir_all(third.join("state")).expect("a volume");
    let record = volumes.mounts[1].join("state/agent.json");
    fs::copy(record, third.join("state/agent.json")).expect("the same record");
    let mut keeper = fresh();
    look(&mut keeper, &volumes.mounts[..1]);
    let mounts = [volumes.mounts.clone(), vec![third]].concat();
    let (told, held) = look(&mut keeper, &mounts);
    assert_eq!(told.iter().map(|held| held.settled.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((settled(&held), told[1].kept_back.len()), (mounts, 1));
}

#[test]
fn a_record_that_could_not_be_read_is_read_again_at_the_next_look() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mounts = ["a", "b"].map(|name| dir.path().join(name));
    mounts.iter().for_each(|mount| fs::create_dir(mount).expect("a volume"));
    // Not to be read as a file.
    let in_the_way = mounts[1].join("state/agent.json");
    fs::create_dir_all(&in_the_way).expect("a folder");
    let mut keeper = fresh();
    look(&mut keeper, &mounts[..1]);
    assert!(!look(&mut keeper, &mounts).1.is_everywhere);
    fs::remove_dir(&in_the_way).expect("removed");
    assert!(look(&mut keeper, &mounts).1.is_everywhere);
}

#[test]
fn a_disk_without_pool_and_record_is_used_after_a_factory_reset_only_if_it_is_blank() {
    for (path, is_blank) in [
        ("state/agent.json", false),
        ("state/agent.json.damaged", false),
        ("state/sla/receipts", false),
        ("state/.agent.json.new", true),
        ("lost+found/1", true),
    ] {
        let (volumes, mut keeper, _) = one_of_before();
        let late = volumes.mounts[1].with_file_name("c");
        let file = late.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, "torn").expect("a file");
        let (_, held) = look(&mut keeper, &[volumes.mounts[0].clone(), late.clone()]);
        assert_eq!(held.settled.contains(&late), is_blank, "{path}");
        assert_eq!(held.kept_back.contains_key(&late), !is_blank, "{path}");
        assert!(held.is_everywhere);
        assert!(is_blank || fs::read_to_string(&file).expect("a file") == "torn", "{path}");
    }
}

#[test]
fn a_pool_that_cannot_be_looked_at_is_looked_at_again() {
    let (volumes, mut keeper, _) = one_of_before();
    let late = &volumes.mounts[1];
    fs::write(late.join("state/agent.json"), "torn").expect("damaged");
    for name in ["superblock-0", "superblock-1"] {
        let path = late.join("icn-pool").join(name);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("nothing to be read as a file");
    }
    let (_, held) = look(&mut keeper, &volumes.mounts);
    assert!(held.kept_back[late].contains("cannot be looked at"), "{held:?}");
    assert!(!held.is_everywhere, "it is tried again");
    fs::remove_dir_all(late.join("icn-pool")).expect("removed");
    let _ = fs::remove_dir_all(late.join("state"));
    keeper.look_again();
    assert!(look(&mut keeper, &volumes.mounts).1.is_everywhere);
}
