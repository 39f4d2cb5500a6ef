//! The index in a folder, kept by fjall: an LSM tree with a journal of its own.
//!
//! ```text
//! <folder>/lock     held while the index is open
//! <folder>/mark     what a checkpoint promises; without it the rest is not finished
//! <folder>/store/   fjall's
//! ```
//!
//! fjall gives back whole batches in their order, but says nothing when the end of its journal is
//! gone, or of a journal that is not the last. So each batch carries its number: the mark says how
//! many there must be, and [`journals`] proves that none is missing between two that are there.

mod journals;
pub(super) mod mark;

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::fjall::config::BlockSizePolicy;
use ::fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode,
    Readable,
};

use self::mark::Mark;
use super::entry::FORM;
use super::index::{Batch, Index, IndexError, IndexFault, IndexMemory, Next, Snapshot};

/// Blocks of tables in memory: the one bound of what reading keeps. A quarter of the memory that a
/// small node gives the store.
const CACHE_BYTES: u64 = 64 << 20;

/// The same for a standby, which is written only: fjall reads blocks when it merges tables. What it reads
/// then it need not read twice.
const STANDBY_CACHE_BYTES: u64 = 8 << 20;

/// When a write buffer is written out as a table. Larger ones write a little less and take longer to
/// read again after a kill.
const WRITE_BUFFER_BYTES: u64 = 16 << 20;

/// Write buffers that may wait to be written out before writers wait too. With the one that is being
/// filled and the two that are being written out, [`BUFFERS_MAX`] are in memory at worst.
const WAITING_BUFFERS_MAX: usize = 2;

/// Write buffers in memory at worst.
const BUFFERS_MAX: u64 = 5;

/// Tables that may wait to be merged before writers wait; at 30 fjall waits itself, and forever if
/// its threads have failed.
const UNMERGED_TABLES_MAX: usize = 24;

/// How long a write waits for room; ten times the longest that was seen on a loaded machine.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a write that waits looks again.
const ROOM_STEP: Duration = Duration::from_millis(5);

/// Bytes of a block: the unit that is read, checked and kept in memory. As measured for 8 KiB.
const BLOCK_BYTES: u32 = 8 << 10;

/// Threads that write buffers out and merge: one for each. With less than two, merging would hold up
/// the buffers.
const WORKERS: usize = 2;

/// Tables that stay open.
const OPEN_FILES_MAX: usize = 256;

/// Journals on the disk before fjall writes buffers out to be rid of them. It begins a new one each
/// 64 MB, so two are there at any time.
const JOURNALS_BYTES_MAX: u64 = 256 << 20;

/// Jumps that are remembered. Each took a power cut, and concerns journals that go after a few of
/// their 64 MB; one that is forgotten too early looks like damage.
const JUMPS_MAX: usize = 64;

/// The one map in the store.
const KEYSPACE: &str = "index";

/// What keys of the index begin with in the store, so that none is empty or meets [`NUMBER`].
const TAG: u8 = b'k';

/// Behind all keys of the index.
const BEHIND: &[u8] = b"l";

/// Where the number of the last batch stands.
const NUMBER: &[u8] = b"n";

/// The longest key that fjall takes, less [`TAG`].
const KEY_BYTES_MAX: usize = 65_534;

const LOCK: &str = "lock";
const STORE: &str = "store";

/// An index in a folder.
pub(crate) struct FjallIndex {
    // Dropped in this order: the lock is held until the store is closed.
    keyspace: Keyspace,
    store: Database,
    /// The number of the last batch. Held while a batch is written and while a snapshot is taken: a
    /// table that is finished meanwhile makes fjall show half a batch to new snapshots.
    number: Mutex<u64>,
    /// What the last checkpoint promised.
    mark: Mutex<Mark>,
    folder: PathBuf,
    _lock: File,
}

impl fmt::Debug for FjallIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallIndex").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What an index is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is read and written.
    Home,
    /// It is written only.
    Standby,
}

impl Role {
    fn cache_bytes(self) -> u64 {
        match self {
            Self::Home => CACHE_BYTES,
            Self::Standby => STANDBY_CACHE_BYTES,
        }
    }
}

impl FjallIndex {
    #[cfg(test)]
    pub(crate) fn open(folder: &Path) -> Result<Self, IndexError> {
        Self::open_as(folder, Role::Home)
    }

    /// Opens the index in a folder, or makes an empty one if there is none. May take some seconds
    /// behind a kill.
    ///
    /// # Errors
    /// [`IndexFault`] tells what helps.
    pub(crate) fn open_as(folder: &Path, role: Role) -> Result<Self, IndexError> {
        let lock = lock(folder)?;
        Self::open_locked(folder, role, lock)
    }

    /// Opens the index in a folder; none if there is none that was finished.
    ///
    /// # Errors
    /// As [`FjallIndex::open_as`].
    pub(crate) fn reopen(folder: &Path, role: Role) -> Result<Option<Self>, IndexError> {
        if !folder.is_dir() {
            return Ok(None);
        }
        let lock = lock(folder)?;
        match Mark::load(folder)? {
            Some(_) => Self::open_locked(folder, role, lock).map(Some),
            None => Ok(None),
        }
    }

    fn open_locked(folder: &Path, role: Role, lock: File) -> Result<Self, IndexError> {
        let (mark, is_made) = match Mark::load(folder)? {
            Some(mark) => (mark, false),
            None => (create(folder)?, true),
        };
        if mark.form != FORM {
            let reason = format!("it has form {}, this program {FORM}", mark.form);
            return Err(IndexError { fault: IndexFault::OtherForm, reason });
        }
        let path = folder.join(STORE);
        // What was just made is empty.
        let last = if is_made { None } else { journals::prove(&path, &mark.jumps)? };
        let (store, keyspace) = guarded(|| {
            let store = open_store(&path, role)?;
            if !store.keyspace_exists(KEYSPACE) {
                return Err(::fjall::Error::Unrecoverable);
            }
            let keyspace = open_keyspace(&store)?;
            Ok((store, keyspace))
        })?;
        let number = number(&keyspace)?;
        if number < mark.batches {
            let reason = format!("it ends at batch {number} of {}", mark.batches);
            return Err(IndexError::damaged(reason));
        }
        let index = Self {
            keyspace,
            store,
            number: Mutex::new(number),
            mark: Mutex::new(mark),
            folder: folder.to_owned(),
            _lock: lock,
        };
        index.note_jump(last, number)?;
        Ok(index)
    }

    /// Nothing was ever written to it: everything must be put into it from the volumes.
    #[cfg(test)]
    pub(crate) fn is_new(&self) -> bool {
        *held(&self.number) == 0
    }

    /// Tables may have batches that the torn end of the journal had not: the next batch then does not
    /// follow the last in the journal.
    fn note_jump(&self, last: Option<u64>, number: u64) -> Result<(), IndexError> {
        if last.is_none_or(|last| last == number) {
            return Ok(());
        }
        let mut mark = held(&self.mark);
        let mut jumps = mark.jumps.clone();
        jumps.drain(..jumps.len().saturating_sub(JUMPS_MAX - 1));
        jumps.push(number.saturating_add(1));
        let next = Mark { jumps, ..*mark };
        next.store(&self.folder)?;
        *mark = next;
        Ok(())
    }

    fn frozen(&self) -> Frozen {
        let _none_is_half_written = held(&self.number);
        Frozen { snapshot: self.store.snapshot(), keyspace: self.keyspace.clone() }
    }

    /// Waits until there is room for another batch. fjall waits too, but does not end if the threads
    /// that it waits for have failed.
    fn wait_for_room(&self) -> Result<(), IndexError> {
        let full = || {
            self.store.outstanding_flushes() >= WAITING_BUFFERS_MAX
                || self.keyspace.l0_table_count() >= UNMERGED_TABLES_MAX
        };
        let mut since = None;
        while full() {
            // Fails once one of the threads has failed.
            self.store.persist(PersistMode::Buffer).map_err(of_fjall)?;
            if since.get_or_insert_with(Instant::now).elapsed() > ROOM_WAIT_MAX {
                let reason = format!("no room for another batch in {ROOM_WAIT_MAX:?}");
                return Err(IndexError { fault: IndexFault::Io, reason });
            }
            std::thread::sleep(ROOM_STEP);
        }
        Ok(())
    }
}

impl Index for FjallIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        let found = guarded(|| self.keyspace.get(tagged(key)))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        if batch.0.is_empty() {
            return Ok(());
        }
        if let Some(key) = batch.0.keys().find(|key| key.len() > KEY_BYTES_MAX) {
            let reason = format!("a key of {} bytes", key.len());
            return Err(IndexError { fault: IndexFault::Io, reason });
        }
        self.wait_for_room()?;
        let mut changes = self.store.batch().durability(None);
        for (key, value) in &batch.0 {
            match value {
                Some(value) => changes.insert(&self.keyspace, tagged(key), value.as_slice()),
                None => changes.remove(&self.keyspace, tagged(key)),
            }
        }
        let mut number = held(&self.number);
        let next = *number + 1;
        changes.insert(&self.keyspace, NUMBER, next.to_le_bytes());
        guarded(|| changes.commit())?;
        *number = next;
        Ok(())
    }

    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.frozen().scan(from, visit)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        Ok(Box::new(self.frozen()))
    }

    fn checkpoint(&self) -> Result<(), IndexError> {
        let mut mark = held(&self.mark);
        let batches = *held(&self.number);
        self.store.persist(PersistMode::SyncAll).map_err(of_fjall)?;
        if batches != mark.batches {
            let next = Mark { batches, jumps: mark.jumps.clone(), ..*mark };
            next.store(&self.folder)?;
            *mark = next;
        }
        Ok(())
    }

    fn memory(&self) -> IndexMemory {
        IndexMemory {
            cache_total: self.store.cache_capacity(),
            cache_held: self.store.cache_size(),
            buffers_total: WRITE_BUFFER_BYTES * BUFFERS_MAX,
            buffers_held: self.store.write_buffer_size(),
        }
    }
}

/// The index as it was at one moment.
struct Frozen {
    snapshot: ::fjall::Snapshot,
    keyspace: Keyspace,
}

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").finish_non_exhaustive()
    }
}

impl Snapshot for Frozen {
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        let range = |from: Vec<u8>| {
            guarded(|| Ok(self.snapshot.range(&self.keyspace, from.as_slice()..BEHIND)))
        };
        let mut entries = range(tagged(from))?;
        while let Some((key, value)) =
            guarded(|| entries.next().map(Guard::into_inner).transpose())?
        {
            let [_, name @ ..] = &*key else { break };
            match visit(name, &value) {
                Next::On => {}
                // Never back, or a scan might not end.
                Next::Seek(to) => entries = range(tagged(&to).max([&*key, &[0]].concat()))?,
                Next::Stop => break,
            }
        }
        Ok(())
    }
}

/// Removes the index in a folder, so that it can be made again. It must not be open.
///
/// # Errors
/// It is in use, or the disk failed; what is left then counts as no index.
pub(crate) fn destroy(folder: &Path) -> Result<(), IndexError> {
    let _lock = lock(folder)?;
    Mark::remove(folder)?;
    remove_store(folder)
}

/// Makes an empty index where there is none, or one that was not finished. Its mark comes last.
fn create(folder: &Path) -> Result<Mark, IndexError> {
    remove_store(folder)?;
    guarded(|| {
        let store = open_store(&folder.join(STORE), Role::Home)?;
        let keyspace = open_keyspace(&store)?;
        store.persist(PersistMode::SyncAll)?;
        drop(keyspace);
        Ok(())
    })?;
    let mark = Mark { form: FORM, batches: 0, jumps: Vec::new() };
    mark.store(folder)?;
    Ok(mark)
}

fn remove_store(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder.join(STORE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(of_io("remove", &error)),
        _ => Ok(()),
    }
}

/// Takes the lock of a folder, which is made if it is not there.
fn lock(folder: &Path) -> Result<File, IndexError> {
    let io = |error| of_io("lock", &error);
    if !folder.is_dir() {
        fs::create_dir_all(folder).map_err(io)?;
        if let Some(parent) = folder.parent() {
            mark::sync(parent).map_err(io)?;
        }
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = options.open(folder.join(LOCK)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let reason = "somebody else has it open".to_owned();
            Err(IndexError { fault: IndexFault::InUse, reason })
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn open_store(path: &Path, role: Role) -> ::fjall::Result<Database> {
    Database::builder(path)
        .cache_size(role.cache_bytes())
        .max_cached_files(Some(OPEN_FILES_MAX))
        .max_journaling_size(JOURNALS_BYTES_MAX)
        // Values are small, and reading a journal would compress each again to check it.
        .journal_compression(CompressionType::None)
        // The journals of the volumes are the log; this one is brought out at checkpoints.
        .manual_journal_persist(true)
        .worker_threads(WORKERS)
        .open()
}

fn open_keyspace(store: &Database) -> ::fjall::Result<Keyspace> {
    store.keyspace(KEYSPACE, || {
        KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .max_memtable_size(WRITE_BUFFER_BYTES)
            .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
    })
}

/// The number of the last batch in the store.
fn number(keyspace: &Keyspace) -> Result<u64, IndexError> {
    let Some(value) = guarded(|| keyspace.get(NUMBER))? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(&*value)
        .map_err(|_| IndexError::damaged("the number of its last batch is no number"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn tagged(key: &[u8]) -> Vec<u8> {
    [&[TAG], key].concat()
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls fjall, which checks what it reads by assertions too: a panic is damage.
fn guarded<T>(call: impl FnOnce() -> ::fjall::Result<T>) -> Result<T, IndexError> {
    // What a panic left half changed is fjall's own, and it refuses to go on by itself.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(of_fjall),
        Err(_) => Err(IndexError::damaged("the store does not hold together")),
    }
}

fn of_fjall(error: ::fjall::Error) -> IndexError {
    use ::fjall::Error as E;
    let fault = match &error {
        E::Io(error) | E::Storage(LsmError::Io(error)) => fault_of(error),
        E::Locked => IndexFault::InUse,
        // A thread of the store failed before; the reason was logged by it alone.
        E::Poisoned => IndexFault::Io,
        _ => IndexFault::Damaged,
    };
    IndexError { fault, reason: error.to_string() }
}

fn of_io(operation: &'static str, error: &io::Error) -> IndexError {
    IndexError { fault: fault_of(error), reason: format!("cannot {operation} it: {error}") }
}

/// Files that are gone, too short or where none should be are damage; everything else may be better next time.
fn fault_of(error: &io::Error) -> IndexFault {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::UnexpectedEof
        | ErrorKind::InvalidData => IndexFault::Damaged,
        _ => IndexFault::Io,
    }
}

#[cfg(test)]
mod tests;
