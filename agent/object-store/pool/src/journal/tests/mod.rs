//! The journal on a simulated disk, in one order only.

mod faults;
mod model;
mod real;
mod reuse;
mod rot;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;
use crate::device::{NewVolume, Surroundings};
use crate::io::Io;
use crate::seal::KEY;
use crate::sim::{Cut, Dice, SimDisk};
use crate::superblock::{Class, VolumeNo};

const CONFIG: JournalConfig = JournalConfig {
    segment_bytes: 20 << 10,
    lanes: 2,
    frame_bytes_max: 8 << 10,
    record_bytes_max: 9000,
    spare_segments: 1,
};

fn surroundings(disk: &SimDisk) -> Surroundings {
    Surroundings {
        backend: Arc::new(disk.clone()),
        io: Io::Inline,
        node_key: Zeroizing::new([1; KEY]),
        on_fence: Box::new(|_, _| ()),
    }
}

fn new_volume() -> NewVolume {
    let (pool, volume) = ("pool".to_owned(), "disk-1".to_owned());
    NewVolume { pool, volume, number: VolumeNo(3), class: Class::Nvme, members: Vec::new() }
}

fn formatted() -> SimDisk {
    let disk = SimDisk::new(&["/v"]);
    drop(Device::format(Path::new("/v"), new_volume(), surroundings(&disk)).unwrap());
    disk
}

fn segment_path(slot: u16) -> PathBuf {
    Path::new("/v/icn-pool/journal").join(format!("{slot:04x}"))
}

/// Runs on one thread, every task in turn.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

struct Opened {
    device: Device,
    journal: Journal,
    found: Vec<Found>,
    scans: Vec<SegmentScan>,
}

async fn open_with(disk: &SimDisk, config: JournalConfig) -> Result<Opened, JournalError> {
    let device = Device::open(Path::new("/v"), surroundings(disk)).unwrap();
    let found = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&found);
    let visit = move |record| heard.lock().unwrap().push(record);
    let (journal, scans) = Journal::open(device.clone(), config, visit).await?;
    let found = std::mem::take(&mut *found.lock().unwrap());
    Ok(Opened { device, journal, found, scans })
}

async fn open(disk: &SimDisk) -> Opened {
    open_with(disk, CONFIG).await.unwrap()
}

/// Content that tells its LSN, with a length up to `most` by the dice.
fn content(lsn: u64, most: u64, dice: &mut Dice) -> Bytes {
    let length = match dice.roll(8) {
        0 => 0,
        1 => dice.roll(most),
        _ => dice.roll(most.min(900)),
    };
    let byte = |at: u64| (lsn.wrapping_mul(31).wrapping_add(at * 7) & 0xff) as u8;
    (0..length).map(byte).collect()
}

/// What must be, may be and must not be in the journal.
#[derive(Clone, Default)]
struct Model {
    next: u64,
    submitted: BTreeMap<Lsn, Bytes>,
    acked: BTreeMap<Lsn, JournalPlace>,
    /// Segments that were freed, and those of which it is not known.
    freed: BTreeSet<(u16, u64)>,
    perhaps_freed: BTreeSet<(u16, u64)>,
}

impl Model {
    fn record(&mut self, dice: &mut Dice) -> (Lsn, Bytes) {
        self.next += 1;
        let lsn = Lsn(self.next);
        let content = content(lsn.0, CONFIG.record_bytes_max as u64, dice);
        self.submitted.insert(lsn, content.clone());
        (lsn, content)
    }

    /// Appends so many records at once.
    async fn append(&mut self, journal: &Journal, count: u64, dice: &mut Dice) -> Vec<bool> {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let ((lsn, content), journal) = (self.record(dice), journal.clone());
                tokio::spawn(async move { (lsn, journal.append(lsn, content).await) })
            })
            .collect();
        let mut done = Vec::new();
        for task in tasks {
            let (lsn, result) = task.await.unwrap();
            done.push(result.is_ok());
            if let Ok(place) = result {
                self.acked.insert(lsn, place);
            }
        }
        done
    }

    async fn free(&mut self, journal: &Journal, segment: &SegmentState) {
        let id = (segment.slot, segment.incarnation);
        self.perhaps_freed.insert(id);
        match journal.free(segment.slot, segment.incarnation).await {
            Ok(()) => {
                self.perhaps_freed.remove(&id);
                self.freed.insert(id);
            }
            Err(JournalError::Open { .. }) => assert!(segment.is_open),
            Err(error) => assert!(matches!(error, JournalError::Fenced { .. }), "{error}"),
        }
    }

    /// Where records stand that must be there.
    fn kept(&self) -> Vec<JournalPlace> {
        let gone = |place: &&JournalPlace| {
            let id = (place.slot, place.incarnation);
            self.freed.contains(&id) || self.perhaps_freed.contains(&id)
        };
        self.acked.values().filter(|place| !gone(place)).copied().collect()
    }

    /// Compares with what was found after a cut, and holds to that from now on.
    async fn check(&mut self, opened: &Opened) {
        let mut seen = BTreeMap::new();
        for Found { lsn, place, content } in &opened.found {
            assert_eq!(self.submitted.get(lsn), Some(content), "{lsn:?} was never submitted so");
            assert!(!self.freed.contains(&(place.slot, place.incarnation)), "{lsn:?} was freed");
            assert_eq!(seen.insert(*lsn, *place), None, "{lsn:?} twice");
            assert_eq!(opened.journal.read(*place).await.unwrap(), content);
        }
        for (lsn, place) in &self.acked {
            let id = (place.slot, place.incarnation);
            if !self.freed.contains(&id) && !self.perhaps_freed.contains(&id) {
                assert_eq!(seen.get(lsn), Some(place), "{lsn:?} is lost");
            }
        }
        for scan in &opened.scans {
            assert!(!scan.damage.is_any(), "no cut is bit rot: {scan:?}");
        }
        for segment in opened.journal.segments() {
            let is_in = |found: &&Found| found.place.slot == segment.slot;
            let records = opened.found.iter().filter(is_in).count() as u64;
            assert_eq!((segment.records, segment.is_open), (records, false));
        }
        if opened.device.fenced().is_some() {
            return;
        }
        // What was found once stays, and what was not does not come back.
        self.submitted.retain(|lsn, _| seen.contains_key(lsn));
        self.acked = seen;
    }
}
