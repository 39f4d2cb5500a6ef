//! What is under way in the kernel. The one place where it is given addresses of our memory.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, Probe, opcode};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::{Shared, Unavailable};
use crate::backend::{Action, Done, Failed, Job};

/// Threads of the kernel that wait for disks, at most: writes and syncs of most file systems are
/// waited for by one each. Without it there are four for each processor, which the lanes of a few
/// disks take, and a disk that hangs takes for ever.
const WAITING_MAX: u32 = 512;

/// Bytes of one read or write, at most, so that its length fits.
const PIECE: usize = 1 << 30;

/// The ring as epoll sees it.
#[derive(Debug)]
pub(super) struct Pollable(Arc<Shared>);

impl Pollable {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.descriptor
    }
}

/// Has this runtime tell when something has ended.
///
/// # Panics
/// Outside of a tokio runtime with I/O.
pub(super) fn watch(shared: Arc<Shared>) -> io::Result<AsyncFd<Pollable>> {
    #[expect(unsafe_code, reason = "the runtime is given a descriptor")]
    // SAFETY: the descriptor is that of the ring of `shared`, which is not replaced there and is
    // closed with it; `Pollable` keeps it for as long as the runtime has the descriptor.
    let watched = unsafe { AsyncFd::register_with_interest(Pollable(shared), Interest::READABLE) };
    Ok(watched?)
}

/// Who waits for a job, and what is said.
pub(super) type Ended = (oneshot::Sender<Done>, Done);

/// The ring and the jobs that are under way in it.
pub(super) struct Table {
    ring: IoUring,
    /// By the number that the kernel knows the job by.
    jobs: Vec<Option<Flight>>,
    /// Numbers that are free.
    free: Vec<usize>,
    /// Jobs that the kernel is still to be given.
    waiting: VecDeque<usize>,
    /// Jobs that it is to be given a little later.
    later: VecDeque<usize>,
    /// The kernel took less than it was to.
    is_stuck: bool,
}

/// A job that is under way.
struct Flight {
    file: Arc<File>,
    job: Job,
    /// Bytes that were read or written.
    at: usize,
    reply: oneshot::Sender<Done>,
}

/// What is next for a job of which a step has ended.
enum Next {
    Ended(io::Result<()>),
    /// There is more to read or write.
    Again,
    /// Nothing was done; it is asked for once more, a little later.
    Later,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("under_way", &self.under_way()).finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn new(entries: u32) -> Result<Self, Unavailable> {
        let ring = IoUring::builder().dontfork().build(entries).map_err(Unavailable::Refused)?;
        if !ring.params().is_feature_nodrop() {
            return Err(Unavailable::Old("keep more results than its queue takes"));
        }
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(Unavailable::Refused)?;
        let needed = [
            (opcode::Read::CODE, "read"),
            (opcode::Write::CODE, "write"),
            (opcode::Fsync::CODE, "sync"),
        ];
        if let Some((_, what)) = needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
            return Err(Unavailable::Old(what));
        }
        // Since Linux 5.15; 0 leaves a limit as it is.
        let limits = &mut [WAITING_MAX, 0];
        if ring.submitter().register_iowq_max_workers(limits).is_err() {
            return Err(Unavailable::Old("have more threads"));
        }
        let (waiting, later) = (VecDeque::new(), VecDeque::new());
        Ok(Self { ring, jobs: Vec::new(), free: Vec::new(), waiting, later, is_stuck: false })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether the kernel is to be asked again after a while.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck || !self.later.is_empty()
    }

    /// Whether no job is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way() == 0
    }

    fn under_way(&self) -> usize {
        self.jobs.len() - self.free.len()
    }

    /// Begins a job.
    pub(super) fn begin(&mut self, file: Arc<File>, job: Job, reply: oneshot::Sender<Done>) {
        let flight = Some(Flight { file, job, at: 0, reply });
        let number = self.free.pop().unwrap_or(self.jobs.len());
        match self.jobs.get_mut(number) {
            Some(slot) => *slot = flight,
            None => self.jobs.push(flight),
        }
        self.waiting.push_back(number);
        self.submit();
    }

    /// Takes what has ended, and gives the kernel what it can take.
    pub(super) fn reap(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.waiting.append(&mut self.later);
        loop {
            let results: Vec<(u64, i32)> =
                self.ring.completion().map(|one| (one.user_data(), one.result())).collect();
            for (number, result) in &results {
                let number = usize::try_from(*number).unwrap_or(usize::MAX);
                ended.extend(self.step(number, *result));
            }
            // Gives the results that the queue did not take, too.
            self.submit();
            if results.is_empty() {
                return ended;
            }
        }
    }

    fn step(&mut self, number: usize, result: i32) -> Option<Ended> {
        let slot = self.jobs.get_mut(number)?;
        match slot.as_mut()?.step(result) {
            Next::Ended(result) => {
                let Flight { job, reply, .. } = slot.take()?;
                self.free.push(number);
                let operation = job.action.operation();
                let result = result.map_err(|source| Failed { operation, source });
                Some((reply, Done { data: job.data, result }))
            }
            Next::Again => {
                self.waiting.push_back(number);
                None
            }
            Next::Later => {
                self.later.push_back(number);
                None
            }
        }
    }

    /// Gives the kernel the jobs that wait.
    fn submit(&mut self) {
        self.is_stuck = false;
        loop {
            while let Some(number) = self.waiting.front() {
                let Some(flight) = self.jobs.get_mut(*number).and_then(Option::as_mut) else {
                    self.waiting.pop_front();
                    continue;
                };
                let entry = flight.entry().user_data(*number as u64);
                #[expect(unsafe_code, reason = "the kernel is given addresses")]
                // SAFETY: the entry names a file and memory that the job in the table owns. It stays
                // there, and its memory is neither moved nor touched, until the kernel's answer to
                // this entry was taken; should the table go before, the memory is never freed.
                let pushed = unsafe { self.ring.submission().push(&entry) };
                if pushed.is_err() {
                    break;
                }
                self.waiting.pop_front();
            }
            match self.ring.submit() {
                Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
                Err(_) => {
                    // It has no memory, or is to give its results first: what was pushed stays.
                    self.is_stuck = true;
                    return;
                }
                Ok(_) if self.waiting.is_empty() && self.ring.submission().is_empty() => return,
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // The kernel may still read or write it.
        for flight in self.jobs.drain(..).flatten() {
            std::mem::forget(flight.job.data);
        }
    }
}

impl Flight {
    /// What the kernel is to do next.
    fn entry(&mut self) -> Entry {
        let file = Fd(self.file.as_raw_fd());
        let data = self.job.data.bytes();
        let rest = data.get_mut(self.at..).unwrap_or_default();
        let (start, length) = (rest.as_mut_ptr(), rest.len().min(PIECE));
        let length = u32::try_from(length).unwrap_or_default();
        let offset = self.job.offset + self.at as u64;
        let write = || opcode::Write::new(file, start.cast_const(), length).offset(offset);
        match self.job.action {
            Action::Read => opcode::Read::new(file, start, length).offset(offset).build(),
            Action::Write => write().build(),
            Action::WriteDurable => {
                let flags = i32::try_from(ReadWriteFlags::DSYNC.bits()).unwrap_or_default();
                write().rw_flags(flags).build()
            }
            Action::Sync => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        }
    }

    /// Takes in the kernel's answer: bytes, or an error as a negative number.
    fn step(&mut self, result: i32) -> Next {
        let bytes = match usize::try_from(result) {
            Ok(bytes) => bytes,
            Err(_) => return self.failed(-result),
        };
        self.at += bytes;
        match self.job.action {
            Action::Sync => Next::Ended(Ok(())),
            _ if self.at >= self.job.data.as_ref().len() => Next::Ended(Ok(())),
            Action::Read if bytes == 0 => Next::Ended(Err(io::ErrorKind::UnexpectedEof.into())),
            _ if bytes == 0 => Next::Ended(Err(io::ErrorKind::WriteZero.into())),
            _ => Next::Again,
        }
    }

    fn failed(&self, code: i32) -> Next {
        let is = |error: Errno| code == error.raw_os_error();
        // A thread that gave the kernel a job and ends takes it back before it is begun.
        let was_not_begun = is(Errno::CANCELED);
        // Never asked again for what is to be durable: what was written may be lost.
        let is_again = is(Errno::INTR) || is(Errno::AGAIN);
        let may_again = matches!(self.job.action, Action::Read | Action::Write);
        if was_not_begun || (is_again && may_again) {
            return Next::Later;
        }
        Next::Ended(Err(io::Error::from_raw_os_error(code)))
    }
}
