//! Against the index in memory, killed, damaged.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use agent_object_store_pool::sim::Dice;
use proptest::prelude::*;

use super::*;
use crate::engine::memory::MemoryIndex;
use crate::engine::tests::copy_folder;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn all(index: &dyn Index) -> Result<Map, IndexError> {
    let mut map = Map::new();
    index.scan(&[], &mut |key, value| {
        map.insert(key.to_vec(), value.to_vec());
        Next::On
    })?;
    Ok(map)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![0u8..3, Just(b'k'), Just(u8::MAX)], 0..4)
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(Vec<u8>, Option<u8>)>),
    Get(Vec<u8>),
    /// From a key on; behind every so many entries seek past what begins like the last.
    Scan(Vec<u8>, usize),
    /// Every buffer becomes a table.
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let changes = proptest::collection::vec((bytes(), any::<Option<u8>>()), 0..12);
    prop_oneof![
        12 => changes.prop_map(Step::Write),
        4 => bytes().prop_map(Step::Get),
        8 => (bytes(), 1usize..5).prop_map(|(from, every)| Step::Scan(from, every)),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn walk(index: &dyn Index, from: &[u8], every: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    index
        .scan(from, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            let seek = found.len() % every == 0;
            let start = key.get(..1).filter(|_| seek);
            match start.map(crate::engine::keys::behind) {
                Some(None) => Next::Stop,
                Some(Some(next)) => Next::Seek(next),
                None => Next::On,
            }
        })
        .unwrap();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn it_holds_what_an_index_in_memory_holds(
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = FjallIndex::open(folder.path()).unwrap();
        let model = MemoryIndex::default();
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let changes = changes.into_iter().map(|(key, value)| (key, value.map(|v| vec![v])));
                    let batch = Batch(changes.collect());
                    index.write(&batch).unwrap();
                    model.write(&batch).unwrap();
                }
                Step::Get(key) => {
                    prop_assert_eq!(index.get(&key).unwrap(), model.get(&key).unwrap());
                }
                Step::Scan(from, every) => {
                    prop_assert_eq!(walk(&index, &from, every), walk(&model, &from, every));
                }
                Step::Flush => index.keyspace.rotate_memtable_and_wait().unwrap(),
                Step::Reopen => {
                    drop(index);
                    index = FjallIndex::open(folder.path()).unwrap();
                }
            }
        }
        prop_assert_eq!(all(&index).unwrap(), all(&model).unwrap());
    }
}

#[test]
fn a_scan_sees_one_moment_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let index = FjallIndex::open(folder.path()).unwrap();
    assert!(index.is_new());
    let put = |key: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key.to_vec(), vec![1]);
        index.write(&batch).unwrap();
    };
    put(b"a");
    put(b"c");
    let mut seen = Vec::new();
    index
        .scan(b"", &mut |key, _| {
            seen.push(key.to_vec());
            put(b"d");
            Next::Seek(b"a".to_vec())
        })
        .unwrap();
    assert_eq!(seen, [b"a".to_vec(), b"c".to_vec()]);
    assert!(!index.is_new());
    let mut batch = Batch::default();
    batch.put(vec![0; KEY_BYTES_MAX + 1], Vec::new());
    assert_eq!(index.write(&batch).unwrap_err().fault, IndexFault::Io);
}

#[test]
fn an_index_of_another_form_or_in_use_or_half_made_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume/index");
    let index = FjallIndex::open(&path).unwrap();
    write_numbered(&index, 1..4);
    index.checkpoint().unwrap();
    let fault = |result: Result<FjallIndex, IndexError>| result.unwrap_err().fault;
    assert_eq!(fault(FjallIndex::open(&path)), IndexFault::InUse);
    assert_eq!(destroy(&path).unwrap_err().fault, IndexFault::InUse);
    drop(index);
    let mark = Mark::load(&path).unwrap().unwrap();
    Mark { form: FORM + 1, ..mark.clone() }.store(&path).unwrap();
    assert_eq!(fault(FjallIndex::open(&path)), IndexFault::OtherForm);
    mark.store(&path).unwrap();
    assert!(!FjallIndex::open(&path).unwrap().is_new());
    // Half removed, or killed while it was made.
    Mark::remove(&path).unwrap();
    assert!(FjallIndex::open(&path).unwrap().is_new());
    destroy(&path).unwrap();
    destroy(&path).unwrap();
    assert!(FjallIndex::open(&path).unwrap().is_new());
    fs::remove_dir_all(path.join(STORE)).unwrap();
    assert_eq!(fault(FjallIndex::open(&path)), IndexFault::Damaged);
}

/// Keys over which numbered batches go round.
const ROUND: u64 = 40;

/// The batch of this number.
fn numbered(number: u64) -> Batch {
    let mut batch = Batch::default();
    let value = [number.to_le_bytes().as_slice(), &[7; 300]].concat();
    batch.put(b"last".to_vec(), value.clone());
    batch.put(format!("a{}", number % ROUND).into_bytes(), value.clone());
    batch.put(format!("z{}", (number * 7) % ROUND).into_bytes(), value);
    batch.delete(format!("a{}", (number + 20) % ROUND).into_bytes());
    batch
}

fn write_numbered(index: &dyn Index, numbers: std::ops::Range<u64>) {
    for number in numbers {
        index.write(&numbered(number)).unwrap();
    }
}

/// Asserts that all is as after one batch, and returns its number.
fn check_prefix(index: &FjallIndex) -> u64 {
    let found = all(index).unwrap();
    let number = |value: &Vec<u8>| u64::from_le_bytes(value[..8].try_into().unwrap());
    let last = found.get(b"last".as_slice()).map_or(0, number);
    let model = MemoryIndex::default();
    // What is older was overwritten since.
    write_numbered(&model, last.saturating_sub(2 * ROUND).max(1)..last + 1);
    assert!(found == all(&model).unwrap(), "not what {last} batches make");
    last
}

#[test]
fn what_a_checkpoint_promised_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = FjallIndex::open(folder.path()).unwrap();
    write_numbered(&index, 1..50);
    index.checkpoint().unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert!(check_prefix(&FjallIndex::open(copy.path()).unwrap()) >= 49);
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), found),
            false if entry.file_name() != LOCK => found.push(entry.path()),
            false => {}
        }
    }
}

/// The folder in which a child writes until it is killed.
const CHILD: &str = "ICN_TEST_INDEX_FOLDER";

/// How many batches it writes between two checkpoints.
const EVERY: &str = "ICN_TEST_INDEX_EVERY";

#[test]
fn a_process_that_is_killed_leaves_a_prefix() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let every = std::env::var(EVERY).unwrap().parse().unwrap();
        write_until_killed(Path::new(&folder), every);
    }
    kill_and_look(4, 37, 20);
}

#[test]
#[ignore = "takes some minutes"]
fn a_process_that_is_killed_leaves_a_prefix_although_journals_come_and_go() {
    kill_and_look(24, 4001, 150);
}

fn kill_and_look(rounds: u32, every: u64, longer_ms: u64) {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let mut last = 0;
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::fjall::tests::a_process_that_is_killed_leaves_a_prefix"])
            .env(CHILD, folder.path())
            .env(EVERY, every.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until it has made two checkpoints, then a little more.
        while promised(&said) < last + every + 1 {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(longer_ms) * round);
        child.kill().unwrap();
        child.wait().unwrap();
        let index = FjallIndex::open(&folder.path().join("index")).unwrap();
        last = check_prefix(&index);
        assert!(last >= promised(&said), "{last} of {}", promised(&said));
        println!("round {round}: {last} batches, {} journals", index.store.journal_count());
    }
}

/// The number of the last batch that the child knows to be safe.
fn promised(said: &Path) -> u64 {
    let bytes = fs::read(said).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

fn write_until_killed(folder: &Path, every: u64) -> ! {
    let index = FjallIndex::open(&folder.join("index")).unwrap();
    let first = check_prefix(&index) + 1;
    for number in first.. {
        index.write(&numbered(number)).unwrap();
        // Small tables too, or merging would not be met.
        if number % (every * 13) == 1 {
            index.keyspace.rotate_memtable().unwrap();
        }
        if number % every == 0 {
            index.checkpoint().unwrap();
            fs::write(folder.join("new"), number.to_le_bytes()).unwrap();
            fs::rename(folder.join("new"), folder.join("said")).unwrap();
        }
    }
    unreachable!("numbers do not end")
}

/// An index with tables, batches in a journal, and a checkpoint behind all but the last of them.
fn specimen(folder: &Path) {
    let index = FjallIndex::open(folder).unwrap();
    write_numbered(&index, 1..100);
    index.keyspace.rotate_memtable_and_wait().unwrap();
    write_numbered(&index, 100..200);
    index.keyspace.rotate_memtable_and_wait().unwrap();
    write_numbered(&index, 200..SAFE + 1);
    index.checkpoint().unwrap();
    write_numbered(&index, SAFE + 1..SAFE + 6);
}

/// The last batch of the specimen that a checkpoint is behind.
const SAFE: u64 = 290;

/// Reads everything; an error is as good as what is right.
fn read_damaged(folder: &Path) {
    let Ok(index) = FjallIndex::open(folder) else { return };
    if all(&index).is_ok() {
        assert!(check_prefix(&index) >= SAFE);
    }
    for number in 0..ROUND {
        let _ = index.get(format!("a{number}").as_bytes());
    }
    let _ = index.write(&numbered(1));
    let _ = index.checkpoint();
}

fn damage_everywhere(seed: u64, flips: u64) {
    let folder = tempfile::tempdir().unwrap();
    specimen(folder.path());
    let mut paths = Vec::new();
    files(folder.path(), &mut paths);
    let mut dice = Dice(seed);
    for path in paths {
        let name = path.strip_prefix(folder.path()).unwrap();
        let bytes = fs::read(&path).unwrap();
        // Behind the last byte that is not zero stands nothing.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
        for _ in 0..flips {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            let mut damaged = bytes[..usize::try_from(end).unwrap()].to_vec();
            match dice.roll(8) {
                _ if damaged.is_empty() => damaged.push(1),
                0 => damaged.truncate(usize::try_from(dice.roll(end)).unwrap()),
                kind => {
                    let at = usize::try_from(dice.roll(end)).unwrap();
                    damaged[at] ^= if kind == 1 { 0xff } else { 1 << dice.roll(8) };
                }
            }
            println!("{}: seed {seed}", name.display());
            fs::write(copy.path().join(name), damaged).unwrap();
            read_damaged(copy.path());
        }
    }
}

/// Where each batch of a journal ends.
fn ends(journal: &Path) -> Vec<usize> {
    let mut journal = journals::Journal::open(journal).unwrap();
    let mut ends = Vec::new();
    while journal.batch().unwrap().is_some() {
        ends.push(usize::try_from(journal.at).unwrap());
    }
    ends
}

/// The specimen, its journal in two.
fn specimen_of_two_journals() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    specimen(folder.path());
    let store = folder.path().join(STORE);
    let (first, second) = (store.join("0.jnl"), store.join("1.jnl"));
    let bytes = fs::read(&first).unwrap();
    // Batches behind 200 are in no table.
    let middle = ends(&first)[250];
    fs::write(&second, &bytes[middle..]).unwrap();
    fs::write(&first, [&bytes[..middle], &[0; 1000]].concat()).unwrap();
    (folder, first, second)
}

#[test]
fn no_batch_is_missing_between_two_journals() {
    let (folder, first, _) = specimen_of_two_journals();
    let whole = fs::read(&first).unwrap();
    let ends = ends(&first);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert_eq!(check_prefix(&FjallIndex::open(copy.path()).unwrap()), SAFE + 5);

    let fault = || FjallIndex::open(folder.path()).map_err(|error| error.fault);
    let cut = [&whole[..ends[230]], &[0; 9000]].concat();
    let torn = [&whole[..ends[230] + 700], &[0; 9000]].concat();
    let without = [&whole[..ends[230]], &whole[ends[231]..]].concat();
    for bytes in [cut, torn, without] {
        fs::write(&first, bytes).unwrap();
        assert_eq!(fault().unwrap_err(), IndexFault::Damaged);
    }
    let mut dice = Dice(5);
    for _ in 0..40 {
        let mut bytes = whole.clone();
        let at = dice.roll((ends[250] - ends[200]) as u64);
        bytes[ends[200] + usize::try_from(at).unwrap()] ^= 1 << dice.roll(8);
        fs::write(&first, bytes).unwrap();
        // Of the one number that nothing covers no bit may be wrong that changes the order.
        if let Err(fault) = journals::prove(&folder.path().join(STORE), &[]) {
            assert_eq!(fault.fault, IndexFault::Damaged);
        } else {
            assert_eq!(check_prefix(&fault().unwrap()), SAFE + 5);
        }
    }
    fs::remove_file(&first).unwrap();
    fs::copy(folder.path().join(STORE).join("1.jnl"), first.with_file_name("3.jnl")).unwrap();
    assert_eq!(fault().unwrap_err(), IndexFault::Damaged);
}

#[test]
fn blocks_of_the_last_journal_may_be_missing_behind_the_checkpoint_only() {
    let (folder, _, second) = specimen_of_two_journals();
    let bytes = fs::read(&second).unwrap();
    let ends = ends(&second);
    let lose = |batch: usize| {
        let mut bytes = bytes.clone();
        bytes[ends[batch] + 100..ends[batch] + 600].fill(0);
        fs::write(&second, bytes).unwrap();
        FjallIndex::open(folder.path())
    };
    let last = ends.len() - 1;
    assert_eq!(lose(last - 6).unwrap_err().fault, IndexFault::Damaged);
    let index = lose(last - 4).unwrap();
    assert_eq!(check_prefix(&index), SAFE + 1);
    write_numbered(&index, SAFE + 2..SAFE + 40);
    drop(index);
    let index = FjallIndex::open(folder.path()).unwrap();
    assert_eq!(check_prefix(&index), SAFE + 39);
}

#[test]
fn tables_may_be_ahead_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let index = FjallIndex::open(folder.path()).unwrap();
    write_numbered(&index, 1..100);
    index.keyspace.rotate_memtable_and_wait().unwrap();
    drop(index);
    let journal = folder.path().join(STORE).join("0.jnl");
    let end = ends(&journal)[49];
    File::options().write(true).open(&journal).unwrap().set_len(end as u64).unwrap();
    for first in [100, 150] {
        let index = FjallIndex::open(folder.path()).unwrap();
        assert_eq!(check_prefix(&index), first - 1);
        write_numbered(&index, first..first + 50);
        index.checkpoint().unwrap();
    }
    let mark = Mark::load(folder.path()).unwrap().unwrap();
    assert_eq!(mark, Mark { form: FORM, batches: 199, jumps: vec![100] });
}

#[test]
fn damage_is_an_error_and_no_panic() {
    damage_everywhere(1, 3);
}

#[test]
#[ignore = "takes minutes"]
fn damage_is_an_error_and_no_panic_many_times() {
    for seed in 0..40 {
        damage_everywhere(1000 + seed, 20);
    }
}
