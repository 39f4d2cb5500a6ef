//! On real files. Where the kernel gives no ring, nothing is tested, and that is said.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::Weak;

use futures::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::backend::{Backend as _, BackendFile, Buffer};
use crate::disk::{Choice, DiskBackend};
use crate::sim::Dice;

fn ring(entries: u32) -> Option<Uring> {
    match Uring::with_entries(entries) {
        Ok(ring) => Some(ring),
        Err(why) => {
            eprintln!("not tested: {why}");
            None
        }
    }
}

fn file() -> Arc<File> {
    Arc::new(tempfile::tempfile().unwrap())
}

async fn perform(ring: &Uring, file: &Arc<File>, job: Job) -> Done {
    ring.start(file, job).unwrap().await.unwrap()
}

fn write(byte: u8, length: usize, offset: u64, durable: bool) -> Job {
    let action = if durable { Action::WriteDurable } else { Action::Write };
    Job { action, data: vec![byte; length].into(), offset }
}

/// Waits until the kernel has done all that it was given.
async fn idle(shared: &Shared) {
    while !shared.table().is_idle() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_written_is_read_and_the_end_is_an_error() {
    let Some(ring) = ring(8) else { return };
    let file = file();
    let done = perform(&ring, &file, write(7, 10_000, 5, true)).await;
    done.result.unwrap();
    perform(&ring, &file, Job::sync()).await.result.unwrap();
    let read = perform(&ring, &file, Job::read(Buffer::of_any(100), 9905)).await;
    read.result.unwrap();
    assert_eq!(read.data.as_ref(), [7; 100]);
    // Half of it is there.
    let short = perform(&ring, &file, Job::read(Buffer::of_any(200), 9905)).await;
    let failed = short.result.unwrap_err();
    assert_eq!((failed.operation, failed.source.kind()), ("read", io::ErrorKind::UnexpectedEof));
    let nothing = perform(&ring, &file, Job::read(Buffer::default(), 99_999)).await;
    nothing.result.unwrap();
    let null = Arc::new(std::fs::OpenOptions::new().read(true).open("/dev/null").unwrap());
    let failed = perform(&ring, &null, write(1, 9, 0, false)).await.result.unwrap_err();
    assert_eq!(failed.source.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_jobs_than_the_ring_takes_are_all_done() {
    let Some(ring) = ring(4) else { return };
    let file = file();
    let tasks = (0..32_u8).map(|task| {
        let (ring, file) = (ring.clone(), Arc::clone(&file));
        tokio::spawn(async move {
            let jobs = (0..16_u64).map(|n| {
                let offset = (u64::from(task) * 16 + n) * 4096;
                perform(&ring, &file, write(task, 4096, offset, n % 8 == 0))
            });
            join_all(jobs).await.into_iter().for_each(|done| done.result.unwrap());
        })
    });
    join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    let reads = (0..32_u8).map(|task| {
        let read = Job::read(Buffer::of_any(16 * 4096), u64::from(task) * 16 * 4096);
        perform(&ring, &file, read)
    });
    for (task, done) in (0_u8..).zip(join_all(reads).await) {
        done.result.unwrap();
        assert!(done.data.as_ref().iter().all(|byte| *byte == task));
    }
    assert!(ring.handle.shared.table().is_idle());
}

#[tokio::test]
async fn jobs_that_nobody_waits_for_are_done_with_their_own_memory() {
    let Some(ring) = ring(4) else { return };
    let file = file();
    for n in 0..64_u8 {
        let mut job = ring.start(&file, write(n + 1, 4096, u64::from(n) * 4096, false)).unwrap();
        let _ = futures::poll!(&mut job);
        drop(job);
        let mut read = ring.start(&file, Job::read(Buffer::of_any(1 << 20), 0)).unwrap();
        let _ = futures::poll!(&mut read);
        drop(read);
    }
    idle(&ring.handle.shared).await;
    let mut found = vec![0; 64 * 4096];
    file.read_exact_at(&mut found, 0).unwrap();
    for (n, page) in (1_u8..).zip(found.chunks(4096)) {
        assert!(page.iter().all(|byte| *byte == n), "page {n}");
    }
}

#[tokio::test]
async fn jobs_that_never_end_keep_no_others_from_being_done() {
    let Some(ring) = ring(4) else { return };
    let (out, into) = rustix::pipe::pipe().unwrap();
    let pipe = |end: OwnedFd| Arc::new(File::from(end));
    let (out, into, file) = (pipe(out), pipe(into), file());
    for _ in 0..10 {
        let mut hung = ring.start(&out, Job::read(Buffer::of_any(1), 0)).unwrap();
        assert!(futures::poll!(&mut hung).is_pending());
    }
    for n in 0..40 {
        perform(&ring, &file, write(3, 512, n * 512, true)).await.result.unwrap();
    }
    let shared = Arc::clone(&ring.handle.shared);
    assert!(!shared.table().is_idle());
    drop(ring);
    // What was given up ends at last.
    std::io::Write::write_all(&mut &*into, &[1; 10]).unwrap();
    idle(&shared).await;
}

async fn gone(ring: Weak<Shared>) {
    while ring.upgrade().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_ring_goes_with_its_last_handle_and_outlives_a_runtime() {
    let Some(ring) = ring(4) else { return };
    let file = file();
    assert!(ring.start(&file, Job::sync()).is_err(), "outside of a runtime");
    for n in 0..3 {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { perform(&ring, &file, write(n, 9, 0, true)).await.result })
            .unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        perform(&ring, &file, Job::sync()).await.result.unwrap();
        let weak = Arc::downgrade(&ring.handle.shared);
        let another = ring.clone();
        drop(ring);
        perform(&another, &file, Job::sync()).await.result.unwrap();
        drop(another);
        gone(weak).await;
    });
}

/// A job by a seed, within some hundred KiB.
fn some_job(dice: &mut Dice) -> Job {
    let length = match dice.roll(3) {
        0 => dice.roll(200),
        1 => 4096 * dice.roll(5),
        _ => dice.roll(100_000),
    };
    let (length, offset) = (usize::try_from(length).unwrap(), dice.roll(200_000));
    let byte = u8::try_from(dice.roll(256)).unwrap();
    match dice.roll(7) {
        0 => Job::sync(),
        1 => write(byte, length, offset, true),
        2..4 => write(byte, length, offset, false),
        _ => Job::read(vec![0; length].into(), offset),
    }
}

/// What a series of jobs gives, and what the file is afterwards.
async fn outcome(backend: &DiskBackend, seed: u64) -> (Vec<(Vec<u8>, String)>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file: Arc<dyn BackendFile> = backend.create(&path).unwrap().into();
    let mut dice = Dice(seed);
    let mut all = Vec::new();
    for _ in 0..30 {
        let job = some_job(&mut dice);
        let mut done = crate::io::Io::Threads.perform(&file, job).await.unwrap();
        // What is in memory of which not all was read is not said.
        let data = done.result.is_ok().then(|| std::mem::take(done.data.bytes()));
        let said = done.result.map_err(|failed| (failed.operation, failed.source.kind()));
        all.push((data.unwrap_or_default(), format!("{said:?}")));
    }
    (all, std::fs::read(path).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn threads_and_the_ring_give_the_same(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let Ok(ring) = DiskBackend::choose(Choice::IoUring) else {
                eprintln!("not tested: no io_uring");
                return Ok(());
            };
            let (by_ring, by_threads) =
                (outcome(&ring, seed).await, outcome(&DiskBackend::threads(), seed).await);
            prop_assert!(by_ring == by_threads, "{:?}\n{:?}",
                by_ring.0.iter().map(|(_, said)| said).collect::<Vec<_>>(),
                by_threads.0.iter().map(|(_, said)| said).collect::<Vec<_>>());
            Ok(())
        })?;
    }
}

#[test]
fn a_choice_is_read_as_it_is_written() {
    let read: Vec<_> = ["auto", "threads", "io-uring", "x"].map(str::parse::<Choice>).into();
    assert_eq!(read[..3], [Ok(Choice::Auto), Ok(Choice::Threads), Ok(Choice::IoUring)]);
    assert!(read[3].is_err());
    assert!(DiskBackend::choose(Choice::Threads).is_ok());
}
