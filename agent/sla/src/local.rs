//! The node's own memory of its SLA: spool and challenges, on a data volume where there is one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::journal::{Journal, JournalError, Receipted, Step};
use crate::protocol::Address;
use crate::protocol::parameters::Era;
use crate::protocol::report::SentReport;
use crate::spool::{Owner, Spool, StoreError};
use crate::status::SpoolStatus;

/// How long a call may wait for a disk. One that hangs is left behind, and everything goes on in memory.
const CALL: Duration = Duration::from_secs(60);

/// Spool and challenges. What goes wrong with a volume is said in the log, and everything goes on in
/// memory until another is there.
pub(crate) struct Memory {
    owner: Owner,
    spool: Spool,
    journal: Journal,
    folder: Option<PathBuf>,
}

impl Memory {
    fn new(owner: Owner) -> Self {
        let (spool, journal) = (Spool::in_memory(), Journal::in_memory());
        Self { owner, spool, journal, folder: None }
    }

    /// Moves to a folder, or to memory. `from` is the first era of the dispute window.
    fn move_to(&mut self, folder: Option<&Path>, now_ms: u64, from: Era) {
        if self.folder.as_deref() == folder {
            return;
        }
        self.leave(now_ms);
        let Some(folder) = folder else { return };
        let path = folder.display();
        match self.open(folder, now_ms, from) {
            Ok(()) => info!(%path, "reports and receipts are kept on a data volume"),
            Err(error) => {
                error!(%path, %error, "cannot keep reports and receipts on this volume");
                self.leave(now_ms);
            }
        }
        self.folder = Some(folder.to_owned());
    }

    fn open(&mut self, folder: &Path, now_ms: u64, from: Era) -> Result<(), LocalError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Io {
            operation: "create",
            path: folder.to_owned(),
            source,
        })?;
        let mut spool = Spool::open(folder, self.owner)?;
        self.journal = Journal::open(folder, &self.journal, from)?;
        let memory = std::mem::replace(&mut self.spool, Spool::in_memory());
        let dropped = spool.absorb(memory, now_ms);
        if dropped > 0 {
            warn!(reports = dropped, "reports from before the volume was there are not kept");
        }
        self.spool = spool;
        Ok(())
    }

    /// Goes on in memory, with the last reports.
    fn leave(&mut self, now_ms: u64) {
        let spool = std::mem::replace(&mut self.spool, Spool::in_memory());
        self.spool = spool.into_memory(now_ms);
        let journal = std::mem::replace(&mut self.journal, Journal::in_memory());
        self.journal = journal.into_memory();
        self.folder = None;
    }

    fn broken(&mut self, error: &dyn std::fmt::Display, now_ms: u64) {
        error!(%error, "the volume with reports and receipts fails; they are kept in memory");
        let folder = self.folder.take();
        self.leave(now_ms);
        // The folder counts as tried: it is not used again before another one was.
        self.folder = folder;
    }

    /// Takes the report that `make` makes of its sequence and the one before.
    pub(crate) fn report<E>(
        &mut self,
        now_ms: u64,
        make: impl FnOnce(u64, Option<u64>) -> Result<SentReport, E>,
    ) -> Result<u64, E> {
        let sequence = self.spool.next_sequence(now_ms);
        let report = make(sequence, self.spool.last())?;
        if let Err(error) = self.spool.append(&report, now_ms) {
            self.broken(&error, now_ms);
            if let Err(error) = self.spool.append(&report, now_ms) {
                error!(%error, sequence, "a report is lost");
            }
        }
        Ok(sequence)
    }

    /// The next reports for who has everything up to `behind`.
    pub(crate) fn reports(&mut self, behind: Option<u64>, now_ms: u64) -> Vec<SentReport> {
        match self.spool.reports(behind) {
            Ok(found) => found,
            Err(error) => {
                self.broken(&error, now_ms);
                self.spool.reports(behind).unwrap_or_default()
            }
        }
    }

    /// Remembers what a peer has.
    pub(crate) fn delivered(&mut self, peer: &str, sequence: u64, now_ms: u64) {
        if self.spool.cursor(peer) == Some(sequence) {
            return;
        }
        if let Err(error) = self.spool.delivered(peer, sequence) {
            self.broken(&error, now_ms);
            if let Err(error) = self.spool.delivered(peer, sequence) {
                error!(%error, "what a peer has is not remembered");
            }
        }
    }

    /// That reports went on to `floor`, as a peer has one with it.
    pub(crate) fn raise(&mut self, floor: u64) {
        self.spool.raise(floor);
    }

    /// The last report that was made.
    pub(crate) fn last(&self) -> Option<u64> {
        self.spool.last()
    }

    /// The last report that a peer is known to have.
    pub(crate) fn cursor(&self, peer: &str) -> Option<u64> {
        self.spool.cursor(peer)
    }

    /// How many reports wait for who has everything up to `behind`.
    pub(crate) fn pending(&self, behind: Option<u64>) -> u64 {
        self.spool.pending(behind)
    }

    /// How far a challenge is.
    pub(crate) fn step(&self, era: Era, oracle: Address) -> Option<Step> {
        self.journal.step(era, oracle).cloned()
    }

    /// Keeps how far a challenge is.
    pub(crate) fn keep(&mut self, step: Step, from: Era, now_ms: u64) {
        if let Err(error) = self.journal.keep(step.clone(), from) {
            self.broken(&error, now_ms);
            if let Err(error) = self.journal.keep(step, from) {
                error!(%error, "a challenge is not remembered");
            }
        }
    }

    /// The last receipt of an oracle.
    pub(crate) fn last_receipt(&self, oracle: Address) -> Option<Receipted> {
        self.journal.last_receipt(oracle).cloned()
    }

    /// What there is.
    pub(crate) fn status(&self) -> SpoolStatus {
        SpoolStatus { receipts: self.journal.receipts(), ..self.spool.status() }
    }
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
enum LocalError {
    #[error(transparent)]
    Spool(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The node's memory, shared by its tasks. Calls wait for disks, so they run on threads that may.
#[derive(Clone)]
pub(crate) struct Local {
    memory: Arc<RwLock<Arc<Mutex<Memory>>>>,
    /// Whether a folder was looked for: before that, nothing is asked or reported.
    settled: watch::Sender<bool>,
    owner: Owner,
}

/// Why nothing was remembered or found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// A call ended with a panic, or the runtime ends.
    #[error("a call for reports and receipts did not end: {0}")]
    Ended(#[from] tokio::task::JoinError),
    /// A disk hangs.
    #[error("the volume with reports and receipts did not answer within {} s", CALL.as_secs())]
    Late,
}

impl Local {
    pub(crate) fn new(owner: Owner) -> Self {
        let memory = Arc::new(Mutex::new(Memory::new(owner)));
        Self { memory: Arc::new(RwLock::new(memory)), settled: watch::Sender::new(false), owner }
    }

    /// Runs `call` with the memory on a thread that may wait.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Unusable> {
        let memory = Arc::clone(&self.memory.read().unwrap_or_else(PoisonError::into_inner));
        let called = Arc::clone(&memory);
        let call = move || call(&mut called.lock().unwrap_or_else(PoisonError::into_inner));
        let failed = match timeout(CALL, tokio::task::spawn_blocking(call)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(ended)) => Unusable::Ended(ended),
            Err(_) => Unusable::Late,
        };
        self.abandon(&memory, &failed);
        Err(failed)
    }

    /// Goes on with nothing but the clock. What cannot be used is left to whoever holds it.
    fn abandon(&self, unusable: &Arc<Mutex<Memory>>, error: &Unusable) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&memory, unusable) {
            error!(%error, "reports and receipts are kept in memory; those before are left behind");
            *memory = Arc::new(Mutex::new(Memory::new(self.owner)));
        }
    }

    /// Moves to a folder, or to memory.
    pub(crate) async fn move_to(
        &self,
        folder: Option<PathBuf>,
        now_ms: u64,
        from: Era,
    ) -> Result<(), Unusable> {
        self.with(move |memory| memory.move_to(folder.as_deref(), now_ms, from)).await
    }

    /// Says that the first folder was taken, or was waited for long enough.
    pub(crate) fn settle(&self) {
        self.settled.send_replace(true);
    }

    /// Waits for the first folder, as long as that is waited for.
    pub(crate) async fn settled(&self) {
        // The sender lives in `self`, so this ends with the value alone.
        let mut settled = self.settled.subscribe();
        let _ended = settled.wait_for(|settled| *settled).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::B256;

    fn local() -> Local {
        Local::new(Owner { node: B256::ZERO, daemon: Address::ZERO })
    }

    #[tokio::test]
    async fn a_call_that_panics_costs_what_was_there_and_no_later_call() {
        let local = local();
        local.with(|memory| memory.raise(9)).await.expect("done");
        let failed = local.with(|_| panic!("as sled may")).await;
        assert!(matches!(failed, Err::<(), _>(Unusable::Ended(_))));
        assert_eq!(local.with(|memory| memory.last()).await.expect("done"), None);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_left_behind() {
        let local = local();
        let old = Arc::clone(&local.memory.read().expect("a lock"));
        old.lock().expect("a lock").raise(5);
        // What a call does that waited too long.
        local.abandon(&old, &Unusable::Late);
        assert_eq!(local.with(|memory| memory.last()).await.expect("done"), None);
        // A second one that comes late leaves the new memory alone.
        local.with(|memory| memory.raise(9)).await.expect("done");
        let new = Arc::clone(&local.memory.read().expect("a lock"));
        local.abandon(&old, &Unusable::Late);
        assert!(Arc::ptr_eq(&new, &local.memory.read().expect("a lock")));
    }

    #[test]
    fn a_volume_that_cannot_be_used_leaves_everything_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, b"no folder").expect("written");
        let mut memory = Memory::new(Owner { node: B256::ZERO, daemon: Address::ZERO });
        memory.move_to(Some(&file), 0, Era(0));
        assert_eq!(memory.status().kept, crate::status::Kept::InMemory);
        memory.delivered("a", 5, 0);
        // The next volume is used, with what was remembered meanwhile.
        memory.move_to(Some(folder.path()), 0, Era(0));
        assert_eq!(memory.status().kept, crate::status::Kept::OnDisk);
        assert_eq!(memory.cursor("a"), Some(5));
    }
}
