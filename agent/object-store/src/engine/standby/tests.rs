//! The standby over indexes in memory: what it has, what it is waited for, and how it is given up.

use std::collections::BTreeMap;
use std::sync::Condvar;

use agent_object_store_pool::sim::Dice;

use super::mirror::unseal;
use super::*;
use crate::engine::index::{IndexFault, Next, Snapshot};
use crate::engine::keys;
use crate::engine::memory::MemoryIndex;

/// An index whose disk may hang or fail.
#[derive(Debug, Default)]
struct Disk {
    index: MemoryIndex,
    /// Whether it hangs, and whether it fails.
    state: Mutex<(bool, bool)>,
    goes_on: Condvar,
}

impl Disk {
    fn set(&self, hangs: bool, fails: bool) {
        *self.state.lock().unwrap() = (hangs, fails);
        self.goes_on.notify_all();
    }

    fn ask(&self) -> Result<(), IndexError> {
        let state = self.state.lock().unwrap();
        let state = self.goes_on.wait_while(state, |(hangs, _)| *hangs).unwrap();
        match state.1 {
            true => Err(IndexError { fault: IndexFault::Io, reason: "it fails".to_owned() }),
            false => Ok(()),
        }
    }
}

impl Index for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.index.get(key)
    }
    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        self.ask()?;
        self.index.write(batch)
    }
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.index.scan(from, visit)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        self.index.snapshot()
    }
    fn checkpoint(&self) -> Result<(), IndexError> {
        self.ask()?;
        self.index.checkpoint()
    }
}

/// An index with a standby.
struct Pair {
    home: Arc<MemoryIndex>,
    mirror: Arc<Mirror>,
    disk: Arc<Disk>,
    io: Io,
}

impl Pair {
    fn new(io: Io) -> Self {
        let home: Arc<MemoryIndex> = Arc::default();
        let mirror = Mirror::new(Arc::clone(&home) as _, Standby::new(Arc::default()));
        Self { home, mirror: Arc::new(mirror), disk: Arc::default(), io }
    }

    /// One with a standby in step.
    fn in_step(io: Io) -> Self {
        let pair = Self::new(io);
        pair.standby().adopt(VolumeNo(1), Arc::clone(&pair.disk) as _, io);
        pair
    }

    fn standby(&self) -> &Standby {
        self.mirror.standby()
    }

    fn put(&self, key: &str, value: &str) {
        let mut batch = Batch::default();
        batch.put(key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.mirror.write(&batch).unwrap();
    }
}

fn entries(index: &dyn Index) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        entries.insert(key.to_vec(), value.to_vec());
        Next::On
    };
    index.scan(b"", visit).unwrap();
    entries
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_on_stable_storage_of_the_standby() {
    let pair = Pair::in_step(Io::Inline);
    for number in 0..500 {
        pair.put(&format!("k{}", number % 70), &number.to_string());
    }
    pair.standby().settled().await.unwrap();
    pair.put("behind", "v");
    let durable = pair.disk.index.crash();
    assert_eq!(entries(&durable).len(), 70);
    assert_eq!(durable.get(b"k9").unwrap().unwrap(), b"499");
    pair.standby().settled().await.unwrap();
    assert_eq!(entries(&pair.disk.index.crash()), entries(&*pair.home));
}

/// Changes some entries.
fn change(mirror: &Mirror, dice: &Mutex<Dice>) {
    let mut dice = dice.lock().unwrap();
    let mut batch = Batch::default();
    for _ in 0..=dice.roll(3) {
        let key = format!("key-{:04}", dice.roll(9000)).into_bytes();
        match dice.roll(4) {
            0 => batch.delete(key),
            _ => batch.put(key, vec![1; usize::try_from(dice.roll(900)).unwrap()]),
        }
    }
    mirror.write(&batch).unwrap();
}

/// An index that changes while a snapshot of it is read.
#[derive(Debug)]
struct Busy {
    home: Arc<MemoryIndex>,
    mirror: Arc<Mirror>,
    dice: Arc<Mutex<Dice>>,
}

#[derive(Debug)]
struct BusySnapshot(Box<dyn Snapshot>, Arc<Mirror>, Arc<Mutex<Dice>>);

impl Snapshot for BusySnapshot {
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        (0..30).for_each(|_| change(&self.1, &self.2));
        self.0.scan(from, visit)
    }
}

impl Index for Busy {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.home.get(key)
    }
    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        self.mirror.write(batch)
    }
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.home.scan(from, visit)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        let (mirror, dice) = (Arc::clone(&self.mirror), Arc::clone(&self.dice));
        Ok(Box::new(BusySnapshot(self.home.snapshot()?, mirror, dice)))
    }
    fn checkpoint(&self) -> Result<(), IndexError> {
        self.home.checkpoint()
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_filled_while_everything_changes_is_like_the_index() {
    for seed in 0..10 {
        let pair = Pair::new(Io::Inline);
        let dice = Arc::new(Mutex::new(Dice(seed)));
        (0..9000).for_each(|_| change(&pair.mirror, &dice));
        let busy = Busy {
            home: Arc::clone(&pair.home),
            mirror: Arc::clone(&pair.mirror),
            dice: Arc::clone(&dice),
        };
        let attempt = pair.standby().begin(VolumeNo(1));
        pair.standby().write_to(attempt, Arc::clone(&pair.disk) as _, pair.io);
        let mut stretches = 1;
        while !pair.standby().copy_stretch(attempt, &busy).unwrap() {
            stretches += 1;
            assert!(!pair.standby().is_awaited());
            (0..30).for_each(|_| change(&pair.mirror, &dice));
            tokio::task::yield_now().await;
        }
        assert!(stretches > 2, "{stretches}");
        // From its last stretch on it is waited for, before any superblock names it.
        assert!(pair.standby().is_awaited());
        change(&pair.mirror, &dice);
        pair.standby().settled().await.unwrap();
        assert!(entries(&pair.disk.index.crash()) == entries(&*pair.home), "seed {seed}");
        assert_eq!(pair.standby().state().bytes, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_holds_up_nothing_but_what_frees() {
    let pair = Pair::in_step(Io::Inline);
    pair.disk.set(false, true);
    pair.put("k", "v");
    let waiting = tokio::spawn({
        let standby = pair.standby().clone();
        async move { standby.settled().await }
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(matches!(pair.standby().phase(), Phase::Failed { .. }));
    assert!(!waiting.is_finished(), "a superblock may still name it");
    pair.put("k", "w");
    pair.standby().dropped();
    waiting.await.unwrap().unwrap();
    assert_eq!(pair.standby().phase(), Phase::None);
    // Where nobody can tell the superblocks, it is not waited for without end.
    let pair = Pair::in_step(Io::Inline);
    pair.disk.set(false, true);
    pair.put("k", "v");
    assert_eq!(pair.standby().settled().await, Err(Unsettled));
    assert_eq!(pair.standby().settled().await, Err(Unsettled));
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_no_request_and_is_given_up_when_too_much_waits() {
    let pair = Pair::in_step(Io::Threads);
    pair.disk.set(true, false);
    let value = "v".repeat(100_000);
    let mut written = 0;
    while !matches!(pair.standby().phase(), Phase::Failed { .. }) {
        pair.put(&format!("k{written}"), &value);
        written += 1;
        assert!(written <= QUEUE_BYTES_MAX / value.len() + 1, "the queue has no bound");
    }
    assert_eq!(entries(&*pair.home).len(), written);
    pair.put("more", "v");
    pair.disk.set(false, false);
}

#[tokio::test(start_paused = true)]
async fn one_that_gives_no_checkpoint_in_time_is_given_up() {
    let pair = Pair::in_step(Io::Inline);
    // Its task never has a turn, as with a disk that hangs.
    pair.standby().state().writer.take().unwrap().abort();
    let standby = pair.standby().clone();
    let waiting = tokio::spawn(async move { standby.settled().await });
    tokio::time::sleep(SETTLE_MAX - Duration::from_secs(1)).await;
    assert_eq!(pair.standby().phase(), Phase::InStep { volume: VolumeNo(1) });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(pair.standby().phase(), Phase::Failed { .. }));
    pair.standby().dropped();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_are_sealed_with_the_same_number_and_nothing_comes_behind() {
    let pair = Pair::in_step(Io::Inline);
    pair.put("k", "v");
    pair.mirror.seal(7).unwrap();
    pair.standby().settled().await.unwrap();
    let batch = Batch(BTreeMap::from([(b"late".to_vec(), None)]));
    assert!(pair.mirror.write(&batch).is_err());
    let (home, standby) = (pair.home.crash(), pair.disk.index.crash());
    assert!(home.get(keys::TWINS).unwrap().is_some());
    assert_eq!(entries(&home), entries(&standby));
    for index in [&home, &standby] {
        assert_eq!(unseal(index).unwrap(), Some(7));
        // It is gone for good.
        assert_eq!(unseal(&index.crash()).unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_queue_is_written_before_it_is_closed() {
    let pair = Pair::in_step(Io::Inline);
    (0..300).for_each(|number| pair.put(&number.to_string(), "v"));
    let writer = pair.standby().close().unwrap();
    pair.put("late", "v");
    writer.await.unwrap();
    assert_eq!(entries(&pair.disk.index).len(), 300);
    // What a store that is closed frees, it must not: another one may have opened the standby.
    assert_eq!(pair.standby().settled().await, Err(Unsettled));
    assert_eq!(Arc::strong_count(&pair.disk), 1, "it is still open");
}
