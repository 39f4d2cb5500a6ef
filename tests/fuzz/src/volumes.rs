//! Whole volumes with changed bytes: what is read from them is what was written, or an error.
//!
//! An input is a list of changes to the files of a volume that were written by the real writers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use agent_object_store_pool::backend::{Backend as _, BackendFile};
use agent_object_store_pool::device::{Device, DeviceError, NewVolume, Surroundings};
use agent_object_store_pool::group::geometry::{BLOCK, RowPlace, Shape};
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::group::walk::Walk;
use agent_object_store_pool::group::writer::{GroupWriter, NewGroup};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::{Found, Journal, JournalConfig, Lsn};
use agent_object_store_pool::sim::SimDisk;
use agent_object_store_pool::superblock::{Class, VolumeNo};
use bytes::Bytes;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::Given;
use crate::patches::{Script, crc32c};

pub(crate) const TARGETS: &[Given] =
    &[("journal", journal, journal_changes), ("group", group, group_changes)];

const GROUP: GroupId = GroupId(0x1d);

/// Volumes of the group: two with data, one with parity.
const VOLUMES: u16 = 3;

/// Bytes of a segment.
const SEGMENT: u64 = 64 << 10;

/// Most changes of one input.
const CHANGES: usize = 16;

/// Longest file that a change may make.
const LONGEST: u64 = 1 << 20;

fn config() -> JournalConfig {
    JournalConfig {
        segment_bytes: SEGMENT,
        lanes: 1,
        frame_bytes_max: 16 << 10,
        record_bytes_max: 12 << 10,
        spare_segments: 1,
    }
}

/// What was written, and the disk that it was written to.
struct Written {
    disk: SimDisk,
    records: Vec<(Lsn, Bytes)>,
    rows: Vec<(RowPlace, Bytes)>,
}

fn root(volume: u16) -> String {
    format!("/v{volume}")
}

fn surroundings(disk: &SimDisk) -> Surroundings {
    Surroundings {
        backend: Arc::new(disk.clone()),
        io: Io::Inline,
        node_key: Zeroizing::new([5; 32]),
        on_fence: Box::new(|_, _| ()),
    }
}

fn open(disk: &SimDisk, volume: u16) -> Result<Device, DeviceError> {
    Device::open(Path::new(&root(volume)), surroundings(disk))
}

fn runtime() -> &'static Mutex<Runtime> {
    static RUNTIME: OnceLock<Mutex<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Mutex::new(runtime.expect("a runtime"))
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    runtime().lock().unwrap_or_else(PoisonError::into_inner).block_on(work)
}

/// Bytes that tell what they belong to.
fn content(number: u64, length: usize) -> Bytes {
    (0_u64..)
        .map(|at| (number.wrapping_mul(31).wrapping_add(at) % 251) as u8)
        .take(length)
        .collect()
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| run(write()))
}

async fn write() -> Written {
    let folders: Vec<String> = (0..VOLUMES).map(root).collect();
    let disk = SimDisk::new(&folders.iter().map(String::as_str).collect::<Vec<_>>());
    let mut devices = Vec::new();
    for volume in 0..VOLUMES {
        let new = NewVolume {
            pool: "pool".to_owned(),
            volume: format!("disk-{volume}"),
            number: VolumeNo(volume),
            class: Class::Ssd,
            members: Vec::new(),
        };
        let made = Device::format(Path::new(&root(volume)), new, surroundings(&disk));
        devices.push(made.expect("a volume"));
    }
    let first = devices.first().expect("a volume").clone();
    let opened = Journal::open(first, config(), |_| ()).await;
    let (journal, _) = opened.expect("a journal");
    let mut records = Vec::new();
    for number in 1..=20 {
        let record = content(number, usize::try_from(number * number * 25).unwrap_or_default());
        journal.append(Lsn(number), record.clone()).await.expect("a record");
        records.push((Lsn(number), record));
    }
    let shape = Shape::of(2, 1, BLOCK);
    let new = NewGroup { group: GROUP, kind: Kind::Bulk, shape, extent: 1 << 20 };
    let writer = GroupWriter::create(new, &devices).await.expect("a group");
    let mut rows = Vec::new();
    for (number, length) in (100..).zip([1, 100, 70_000, 4096, 131_072, 9]) {
        let row = content(number, length);
        rows.push((writer.append(row.clone()).await.expect("a row"), row));
    }
    writer.seal().await.expect("a sealed group");
    Written { disk, records, rows }
}

/// What a list of changes did.
#[derive(Debug, Default)]
struct Done {
    /// Files that were changed.
    files: Vec<PathBuf>,
    /// Whether a checksum was made right, as no decay of a disk does.
    is_forged: bool,
}

/// Makes the changes of an input to some of the files.
fn change(disk: &SimDisk, files: &[PathBuf], bytes: &[u8]) -> Done {
    let (mut script, mut done) = (Script(bytes), Done::default());
    for _ in 0..CHANGES {
        if change_one(disk, files, &mut script, &mut done).is_none() {
            break;
        }
    }
    done.files.sort_unstable();
    done.files.dedup();
    done
}

/// kind, file, offset u24, length, bytes.
fn change_one(
    disk: &SimDisk,
    files: &[PathBuf],
    script: &mut Script<'_>,
    done: &mut Done,
) -> Option<()> {
    let (kind, file) = (script.byte()?, usize::from(script.byte()?));
    let (at, length) = (script.number::<3>()?, script.byte()?);
    let path = files.get(file.checked_rem(files.len())?)?;
    let file = disk.open(path).ok()?;
    let size = file.size().ok()?;
    let at = at.min(LONGEST - 1);
    done.files.push(path.clone());
    match kind % 6 {
        0 => put(&*file, script.bytes(usize::from(length)), at, size),
        1 => {
            let byte = *disk.content(path).get(usize::try_from(at).ok()?)?;
            put(&*file, &[byte ^ (1 << (length % 8))], at, size);
        }
        2 => put(&*file, &vec![0; usize::from(length) * 64], at, size),
        3 => file.set_size(at).ok()?,
        4 => {
            // Where the headers of segments, frames, extents and cells have their sums.
            let before = *[28_usize, 32, 44, 28].get(usize::from(length % 4))?;
            let from = usize::try_from(at).ok()?;
            let content = disk.content(path);
            let sum = crc32c(content.get(from..from.checked_add(before)?)?);
            put(&*file, &sum, at + before as u64, size);
            done.is_forged = true;
        }
        _ => {
            // A file of a name of the fuzzer's beside the others.
            let name = std::str::from_utf8(script.bytes(usize::from(length))).ok()?;
            let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            if is_name && let Ok(made) = disk.create(&path.with_file_name(name)) {
                put(&*made, script.bytes(usize::from(length)), 0, LONGEST);
            }
        }
    }
    Some(())
}

/// Writes within a file, so that a change does not make it longer.
fn put(file: &dyn BackendFile, bytes: &[u8], at: u64, size: u64) {
    let room = usize::try_from(size.saturating_sub(at)).unwrap_or_default();
    let within = bytes.get(..bytes.len().min(room)).unwrap_or_default();
    if !within.is_empty() {
        file.write_at(within, at).expect("a simulated disk without faults");
    }
}

/// Everything that a journal gives was written, and of one that is as it was nothing is missing.
fn journal(bytes: &[u8]) {
    let Written { disk, records, .. } = written();
    let disk = disk.fork_unlocked();
    let mut files = disk.files(&format!("{}/icn-pool/journal", root(0)));
    files.extend(
        disk.files(&format!("{}/icn-pool", root(0))).into_iter().filter(|path| is_superblock(path)),
    );
    let done = change(&disk, &files, bytes);
    let Ok(device) = open(&disk, 0) else { return };
    let found: Arc<Mutex<Vec<Found>>> = Arc::default();
    let seen = Arc::clone(&found);
    let visit = move |record| seen.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    let opened = run(async {
        let (journal, _scans) = Journal::open(device, config(), visit).await.ok()?;
        let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
        for Found { place, content, .. } in &found {
            assert_eq!(journal.read(*place).await.ok().as_ref(), Some(content));
        }
        // And it goes on.
        let appended = journal.append(Lsn(1000), Bytes::from_static(b"more")).await;
        Some((found, appended.is_ok()))
    });
    let Some((found, _)) = opened else { return };
    for Found { lsn, content, .. } in &found {
        assert!(records.iter().any(|(known, record)| known == lsn && record == content), "{lsn:?}");
    }
    assert!(!done.files.is_empty() || found.len() == records.len(), "{} found", found.len());
}

fn is_superblock(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("superblock"))
}

/// What a group gives is what was written, and where one volume alone is changed it gives everything.
fn group(bytes: &[u8]) {
    let Written { disk, rows, .. } = written();
    let disk = disk.fork_unlocked();
    let files: Vec<PathBuf> = (0..VOLUMES)
        .flat_map(|volume| disk.files(&format!("{}/icn-pool/extents", root(volume))))
        .collect();
    let done = change(&disk, &files, bytes);
    run(async {
        let groups = Groups::new(Arc::new(|_| ()));
        for volume in 0..VOLUMES {
            let device = open(&disk, volume).expect("superblocks were left alone");
            groups.add_device(&device).await.expect("a folder that can be listed");
        }
        let reader = groups.reader(GROUP).await;
        for extent in reader.iter().flat_map(|reader| reader.extents()) {
            let size = extent.size().unwrap_or_default();
            let mut walk = Walk::new(vec![Arc::clone(extent)]);
            let mut found = 0;
            while let Ok(Some(_)) = walk.next().await {
                found += 1;
            }
            assert!(found <= size / 16, "{found} rows in {size} bytes");
        }
        let is_whole = !done.is_forged && done.files.len() <= 1;
        let Some(reader) = reader else {
            assert!(!is_whole, "the group is gone: {done:?}");
            return;
        };
        for (place, row) in rows {
            match reader.read(&Run::row(GROUP, *place)).await {
                Ok(found) => assert!(done.is_forged || found == *row, "row at {}", place.at),
                Err(error) => assert!(!is_whole, "row at {}: {error}, {done:?}", place.at),
            }
        }
    });
}

/// One change in the form of [`change_one`].
fn changed(kind: u8, file: u8, at: u32, length: u8, bytes: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = at.to_le_bytes();
    [&[kind, file, a, b, c, length], bytes].concat()
}

fn journal_changes() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        changed(0, 0, 4096 + 16, 4, b"abcd"),
        changed(1, 0, 4096, 3, b""),
        changed(2, 0, 8192, 32, b""),
        changed(3, 0, 16_384, 0, b""),
        [changed(0, 0, 4096 + 16, 4, &[255; 4]), changed(4, 0, 4096, 0, b"")].concat(),
        [changed(0, 0, 20, 8, &[1; 8]), changed(4, 0, 0, 1, b"")].concat(),
        changed(0, 1, 20, 3, b"[]]"),
        changed(5, 0, 0, 4, b"0009data"),
    ]
}

fn group_changes() -> Vec<Vec<u8>> {
    let other = b"000000000000001d-02";
    vec![
        Vec::new(),
        changed(0, 0, 4096, 4, b"CELL"),
        changed(1, 1, 4200, 3, b""),
        changed(2, 2, 4096, 255, b""),
        changed(3, 0, 5000, 0, b""),
        [changed(0, 0, 12, 3, &[2, 1, 2]), changed(4, 0, 0, 2, b"")].concat(),
        [changed(0, 1, 4096 + 12, 4, &[9; 4]), changed(4, 1, 4096, 3, b"")].concat(),
        changed(5, 0, 0, 19, other),
        [changed(0, 0, 5000, 2, b"ab"), changed(0, 1, 5000, 2, b"ab")].concat(),
    ]
}
