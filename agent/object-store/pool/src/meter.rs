//! Counts what a volume's file system is asked for: calls, errors, and how long they took.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{
    Action, Backend, BackendFile, Done, EntryKind, Failed, Job, Space, Started, VolumeLock,
};

/// Upper ends of the spans of time that calls are counted by, in microseconds, each four times the one
/// before; what takes longer is counted behind the last. Flash answers in the first three, a rotating
/// disk in the third to the sixth, and a disk that tries again and again behind them.
pub const SPANS_US: [u64; 8] = [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576];

/// Calls of one kind since the volume was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Those that failed. That a file is not there, or a disk full, is no failure.
    pub errors: u64,
    /// Calls by how long they took: see [`SPANS_US`].
    pub by_time: [u64; SPANS_US.len() + 1],
    /// How long all took together, in microseconds.
    pub micros: u64,
    /// Bytes that were read or written by those that did not fail.
    pub bytes: u64,
}

impl Calls {
    /// All calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_time.iter().sum()
    }
}

/// What a volume was asked for since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// Reads that went to the disk, or may have.
    pub reads: Calls,
    /// Writes, and changes of names and sizes.
    pub writes: Calls,
    /// Syncs of files and folders, and writes that are durable at once.
    pub syncs: Calls,
}

#[derive(Debug, Default)]
struct Counter {
    errors: AtomicU64,
    by_time: [AtomicU64; SPANS_US.len() + 1],
    micros: AtomicU64,
    bytes: AtomicU64,
}

/// Counts calls.
#[derive(Debug, Default)]
pub struct Meter {
    reads: Counter,
    writes: Counter,
    syncs: Counter,
}

impl Meter {
    /// What was counted.
    #[must_use]
    pub fn measured(&self) -> Measured {
        Measured {
            reads: self.reads.calls(),
            writes: self.writes.calls(),
            syncs: self.syncs.calls(),
        }
    }
}

impl Counter {
    fn time<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.transfer(0, call)
    }

    /// Of a call that reads or writes so many bytes.
    fn transfer<T>(&self, bytes: u64, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let began = Instant::now();
        let result = call();
        self.count(began.elapsed(), bytes, result.as_ref().err());
        result
    }

    fn count(&self, took: Duration, bytes: u64, error: Option<&io::Error>) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let span = SPANS_US.iter().position(|end| micros < *end).unwrap_or(SPANS_US.len());
        if let Some(counter) = self.by_time.get(span) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if error.is_none() {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if error.is_some_and(is_failure) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn calls(&self) -> Calls {
        let mut by_time = [0; SPANS_US.len() + 1];
        for (count, counter) in by_time.iter_mut().zip(&self.by_time) {
            *count = counter.load(Ordering::Relaxed);
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (errors, micros, bytes) = (of(&self.errors), of(&self.micros), of(&self.bytes));
        Calls { errors, by_time, micros, bytes }
    }
}

fn is_failure(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    !matches!(
        error.kind(),
        Kind::NotFound
            | Kind::AlreadyExists
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::UnexpectedEof
            | Kind::WouldBlock
            | Kind::DirectoryNotEmpty
    )
}

/// A file system whose calls are counted.
#[derive(Debug)]
pub(crate) struct Metered {
    backend: Arc<dyn Backend>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct MeteredFile {
    file: Box<dyn BackendFile>,
    meter: Arc<Meter>,
}

impl Metered {
    pub(crate) fn new(backend: Arc<dyn Backend>, meter: Arc<Meter>) -> Self {
        Self { backend, meter }
    }

    fn file(&self, file: Box<dyn BackendFile>) -> Box<dyn BackendFile> {
        Box::new(MeteredFile { file, meter: Arc::clone(&self.meter) })
    }
}

impl Backend for Metered {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        self.meter.writes.time(|| self.backend.create(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        self.meter.reads.time(|| self.backend.open(path)).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.meter.writes.time(|| self.backend.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.meter.writes.time(|| self.backend.remove_file(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.writes.time(|| self.backend.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.writes.time(|| self.backend.remove_dir(path))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        self.meter.reads.time(|| self.backend.list_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.meter.syncs.time(|| self.backend.sync_dir(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.backend.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VolumeLock>> {
        self.backend.lock(path)
    }
}

impl BackendFile for MeteredFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.meter.writes.transfer(data.len() as u64, || self.file.write_at(data, offset))
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.meter.reads.transfer(data.len() as u64, || self.file.read_at(data, offset))
    }

    fn read_cached_at(&self, data: &mut [u8], offset: u64) -> bool {
        self.file.read_cached_at(data, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        self.meter.writes.time(|| self.file.set_size(length))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.meter.writes.time(|| self.file.allocate(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.meter.syncs.time(|| self.file.sync_data())
    }

    fn write_direct_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.meter.writes.time(|| self.file.write_direct_at(data, offset))
    }

    fn write_zeros_at(&self, length: u64, offset: u64) -> io::Result<()> {
        self.meter.writes.transfer(length, || self.file.write_zeros_at(length, offset))
    }

    fn write_durable_at(&self, data: &[u8], offset: u64) -> Result<(), Failed> {
        let began = Instant::now();
        let result = self.file.write_durable_at(data, offset);
        let error = result.as_ref().err().map(|failed| &failed.source);
        self.meter.syncs.count(began.elapsed(), data.len() as u64, error);
        result
    }

    fn start(&self, job: Job) -> Result<Started, Job> {
        let (action, bytes, began) = (job.action, job.data.as_ref().len() as u64, Instant::now());
        let started = self.file.start(job)?;
        let meter = Arc::clone(&self.meter);
        Ok(Box::pin(async move {
            let done = started.await;
            if let Ok(Done { result, .. }) = &done {
                let counter = match action {
                    Action::Read => &meter.reads,
                    Action::Write => &meter.writes,
                    Action::WriteDurable | Action::Sync => &meter.syncs,
                };
                let error = result.as_ref().err().map(|failed| &failed.source);
                counter.count(began.elapsed(), bytes, error);
            }
            done
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Fault, SimDisk};

    #[test]
    fn calls_are_counted_by_kind_and_only_failures_are_errors() {
        let disk = SimDisk::new(&["/v"]);
        let meter = Arc::new(Meter::default());
        let metered = Metered::new(Arc::new(disk.clone()), Arc::clone(&meter));
        let file = metered.create(Path::new("/v/file")).unwrap();
        file.write_at(b"abc", 0).unwrap();
        file.sync_data().unwrap();
        assert!(metered.open(Path::new("/v/other")).is_err());
        assert!(file.read_at(&mut [0; 9], 0).is_err());
        disk.set_fault(Some(Fault::SyncErrorAt(0)));
        assert!(file.sync_data().is_err());
        let Measured { reads, writes, syncs } = meter.measured();
        assert_eq!((reads.count(), writes.count(), syncs.count()), (2, 2, 2));
        assert_eq!((reads.errors, writes.errors, syncs.errors), (0, 0, 1));
        assert_eq!((reads.bytes, writes.bytes, syncs.bytes), (0, 3, 0));
    }

    #[test]
    fn a_call_is_counted_by_how_long_it_took() {
        let counter = Counter::default();
        for micros in [0, 63, 64, 2_000_000] {
            counter.count(Duration::from_micros(micros), 5, None);
        }
        let calls = counter.calls();
        assert_eq!(calls.by_time, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((calls.micros, calls.bytes), (2_000_127, 20));
    }
}
