//! The spool: reports that wait to be delivered, one for all peers, with what each peer has.
//!
//! A report is on stable storage before it is sent, so no sequence is ever given twice.

mod record;
#[cfg(test)]
mod tests;
mod thinning;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::path::{Path, PathBuf};

pub(crate) use agent_kv::StoreError;
use agent_kv::{Change, Disk, Memory, Pair, Store, set_aside};
use tracing::{error, warn};

use self::record::{Key, Packed, Part};
use self::thinning::{Entry, Limits, Step};
use crate::protocol::messages::{REPORTS_MAX, REQUEST_MAX};
use crate::protocol::report::SentReport;
use crate::protocol::{Address, B256};
use crate::status::{Kept, SpoolStatus};

/// The folder of the spool on a data volume.
const FOLDER: &str = "reports";

/// Where a damaged spool, or another node's, goes; the one that was there before is removed.
const ASIDE: &str = "reports.aside";

/// Bytes of reports that are sent at once, before they are written as JSON: half of what a request may
/// have.
const BATCH: usize = REQUEST_MAX / 2;

/// Whose reports a spool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: B256,
    pub(crate) daemon: Address,
}

impl Owner {
    fn bytes(&self) -> Vec<u8> {
        [self.node.as_slice(), self.daemon.as_slice()].concat()
    }
}

/// Reports, in the order of their sequence.
pub(crate) struct Spool {
    store: Box<dyn Store>,
    kept: Kept,
    limits: Limits,
    index: BTreeMap<u64, Entry>,
    cursors: HashMap<String, u64>,
    /// The last report that was made.
    last: Option<u64>,
    /// Where reports went beyond what is remembered, as a peer told.
    floor: u64,
    /// The last reports, in case the volume goes.
    recent: VecDeque<Packed>,
}

impl Spool {
    /// A spool in memory.
    pub(crate) fn in_memory() -> Self {
        Self::on(Box::new(Memory::default()), Kept::InMemory, Limits::MEMORY)
    }

    /// The spool of `owner` in `folder`. A damaged one, or another's, is set aside, and a new one begun.
    pub(crate) fn open(folder: &Path, owner: Owner) -> Result<Self, StoreError> {
        let path = folder.join(FOLDER);
        match Self::open_as_is(&path, owner) {
            Err(StoreError::Damaged { why, .. }) => {
                let aside = folder.join(ASIDE);
                set_aside(&path, &aside)?;
                let (path, aside) = (path.display(), aside.display());
                error!(%path, %aside, why, "the spool of reports was set aside; a new one begins");
                Self::open_as_is(&folder.join(FOLDER), owner)
            }
            opened => opened,
        }
    }

    fn open_as_is(path: &Path, owner: Owner) -> Result<Self, StoreError> {
        let mut spool = Self::on(Box::new(Disk::open(path)?), Kept::OnDisk, Limits::DISK);
        match spool.load()? {
            Some(found) if found == owner.bytes() => {}
            None if spool.last.is_none() && spool.index.is_empty() => {
                spool.store.commit(vec![(record::OWNER.to_vec(), Some(owner.bytes()))])?;
            }
            _ => {
                let why = "it has another node's reports, or such of another daemon key".to_owned();
                return Err(StoreError::Damaged { path: path.to_owned(), why });
            }
        }
        Ok(spool)
    }

    fn on(store: Box<dyn Store>, kept: Kept, limits: Limits) -> Self {
        let (index, cursors) = (BTreeMap::new(), HashMap::new());
        let recent = VecDeque::new();
        Self { store, kept, limits, index, cursors, last: None, floor: 0, recent }
    }

    /// Reads what is there, and says whose it is.
    fn load(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let mut owner = None;
        let mut parts: BTreeMap<u64, [Found; 2]> = BTreeMap::new();
        let (cursors, last) = (&mut self.cursors, &mut self.last);
        self.store.each(&mut |key, value| match record::key(key) {
            Key::Piece { sequence, part, number } => {
                let [facts, detail] = parts.entry(sequence).or_default();
                match part {
                    Part::Facts => facts.add(number, value),
                    Part::Detail => detail.add(number, value),
                }
            }
            Key::Cursor(peer) => {
                cursors.extend(record::number(value).map(|at| (peer, at)));
            }
            Key::Other if key == record::LAST => *last = record::number(value),
            Key::Other if key == record::OWNER => owner = Some(value.to_vec()),
            Key::Other => {}
        })?;
        for (sequence, [facts, detail]) in parts {
            if let Some((taken_at, facts)) = facts.whole() {
                let detail = detail.whole().map(|(_, bytes)| bytes);
                self.index.insert(sequence, Entry { taken_at, facts, detail });
            }
        }
        let youngest = self.index.last_key_value().map(|(sequence, _)| *sequence);
        self.last = self.last.max(youngest);
        Ok(owner)
    }

    /// The sequence of the next report: the clock, or what is behind the last one. So none is given
    /// twice, also where the spool was lost or an old copy of it came back.
    pub(crate) fn next_sequence(&self, now_ms: u64) -> u64 {
        let last = self.last.max(Some(self.floor));
        now_ms.max(last.map_or(0, |last| last.saturating_add(1)))
    }

    /// The last report that was made.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// That a peer has a report with this sequence, though none is remembered.
    pub(crate) fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Takes a report, and thins the spool. It is on stable storage when this returns.
    pub(crate) fn append(&mut self, report: &SentReport, now_ms: u64) -> Result<(), StoreError> {
        let packed = Packed::of(report).map_err(|source| StoreError::Io {
            operation: "compress a report for",
            path: PathBuf::from(FOLDER),
            source,
        })?;
        self.put(packed, now_ms)
    }

    fn put(&mut self, packed: Packed, now_ms: u64) -> Result<(), StoreError> {
        let length = |bytes: &Vec<u8>| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let entry = Entry {
            taken_at: packed.taken_at,
            facts: length(&packed.facts),
            detail: packed.detail.as_ref().map(length),
        };
        self.index.insert(packed.sequence, entry);
        let steps = thinning::plan(&self.index, now_ms, &self.limits);
        let mut changes = packed.changes();
        let last = self.last.max(Some(packed.sequence));
        let value = last.map(|last| last.to_be_bytes().to_vec());
        changes.push((record::LAST.to_vec(), value));
        for step in &steps {
            changes.extend(self.removal(*step)?);
        }
        self.store.commit(changes)?;
        self.last = last;
        self.thinned(&steps);
        self.recent.push_back(packed);
        while self.recent.len() > Limits::MEMORY.reports {
            self.recent.pop_front();
        }
        Ok(())
    }

    /// What takes a part of a report, or all of it, out of the store.
    fn removal(&self, step: Step) -> Result<Vec<Change>, StoreError> {
        let (Step::Detail(sequence) | Step::Report(sequence)) = step;
        let (first, behind) = record::bounds(sequence);
        let mut keys = self.store.range(&first, &behind)?;
        if matches!(step, Step::Detail(_)) {
            let is_detail =
                |key: &[u8]| matches!(record::key(key), Key::Piece { part: Part::Detail, .. });
            keys.retain(|(key, _)| is_detail(key));
        }
        Ok(keys.into_iter().map(|(key, _)| (key, None)).collect())
    }

    fn thinned(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Report(sequence) => drop(self.index.remove(sequence)),
                Step::Detail(sequence) => {
                    if let Some(entry) = self.index.get_mut(sequence) {
                        entry.detail = None;
                    }
                }
            }
        }
        let details = steps.iter().filter(|step| matches!(step, Step::Detail(_))).count();
        if details > 0 {
            warn!(
                reports = details,
                "the spool is full: detail of the oldest reports was left out"
            );
        }
    }

    /// The next reports for who has everything up to `behind`.
    pub(crate) fn reports(&self, behind: Option<u64>) -> Result<Vec<SentReport>, StoreError> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for sequence in self.behind(behind) {
            let (first, end) = record::bounds(sequence);
            let pieces = self.store.range(&first, &end)?;
            let Some(report) = read(sequence, &pieces) else {
                warn!(sequence, "a report in the spool cannot be read; it is left out");
                continue;
            };
            let detail = report.detail.as_ref().map_or(0, |detail| detail.get().len());
            bytes = bytes.saturating_add(report.facts.get().len()).saturating_add(detail);
            if bytes > BATCH && !found.is_empty() {
                break;
            }
            found.push(report);
            if found.len() >= REPORTS_MAX {
                break;
            }
        }
        Ok(found)
    }

    /// How many reports wait for who has everything up to `behind`.
    pub(crate) fn pending(&self, behind: Option<u64>) -> u64 {
        u64::try_from(self.behind(behind).count()).unwrap_or(u64::MAX)
    }

    fn behind(&self, behind: Option<u64>) -> impl Iterator<Item = u64> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        self.index.range((from, Bound::Unbounded)).map(|(sequence, _)| *sequence)
    }

    /// The last report that a peer is known to have.
    pub(crate) fn cursor(&self, peer: &str) -> Option<u64> {
        self.cursors.get(peer).copied()
    }

    /// Remembers the last report that a peer has.
    pub(crate) fn delivered(&mut self, peer: &str, sequence: u64) -> Result<(), StoreError> {
        let value = sequence.to_be_bytes().to_vec();
        self.store.commit(vec![(record::cursor_key(peer), Some(value))])?;
        self.cursors.insert(peer.to_owned(), sequence);
        Ok(())
    }

    /// What it has.
    pub(crate) fn status(&self) -> SpoolStatus {
        SpoolStatus {
            kept: self.kept,
            reports: u64::try_from(self.index.len()).unwrap_or(u64::MAX),
            bytes: self.index.values().map(Entry::bytes).sum(),
            oldest: self.index.first_key_value().map(|(_, entry)| entry.taken_at),
            receipts: 0,
        }
    }

    /// A spool in memory with the last reports of this one, for when its volume is gone.
    pub(crate) fn into_memory(mut self, now_ms: u64) -> Self {
        let mut memory = Self::in_memory();
        let recent = std::mem::take(&mut self.recent);
        memory.take_over(self.last, self.floor, self.cursors, recent, now_ms);
        memory
    }

    /// Adds what another spool has. Reports that are not behind those here were numbered by a clock
    /// that went wrong: they are dropped, and their number is returned.
    pub(crate) fn absorb(&mut self, mut other: Self, now_ms: u64) -> usize {
        let recent = std::mem::take(&mut other.recent);
        self.take_over(other.last, other.floor, other.cursors, recent, now_ms)
    }

    fn take_over(
        &mut self,
        last: Option<u64>,
        floor: u64,
        cursors: HashMap<String, u64>,
        recent: VecDeque<Packed>,
        now_ms: u64,
    ) -> usize {
        let all = recent.len();
        let behind = self.last;
        let newer = recent.into_iter().filter(|packed| Some(packed.sequence) > behind);
        let mut taken = 0;
        for packed in newer {
            // What a full or broken volume does not take stays in no spool: the next append says so.
            taken += usize::from(self.put(packed, now_ms).is_ok());
        }
        for (peer, at) in cursors {
            let known = self.cursors.entry(peer).or_insert(at);
            *known = at.max(*known);
        }
        self.last = self.last.max(last);
        self.floor = self.floor.max(floor);
        all.saturating_sub(taken)
    }
}

/// What was found of a part.
#[derive(Debug, Default)]
struct Found {
    head: Option<(u64, u64)>,
    bytes: u64,
    next: u16,
    broken: bool,
}

impl Found {
    fn add(&mut self, number: u16, value: &[u8]) {
        if number == 0 {
            self.head = record::head(value);
        }
        self.broken |= number != self.next;
        self.next = number.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(value.len()).unwrap_or(u64::MAX));
    }

    /// Time and length of the part, if all of it is there.
    fn whole(&self) -> Option<(u64, u64)> {
        let (taken_at, length) = self.head?;
        let there = self.bytes == length.saturating_add(record::HEAD_BYTES);
        (there && !self.broken).then_some((taken_at, length))
    }
}

/// A report from the pieces of its parts.
fn read(sequence: u64, pieces: &[Pair]) -> Option<SentReport> {
    let of = |wanted: Part| {
        let fits =
            move |key: &[u8]| matches!(record::key(key), Key::Piece { part, .. } if part == wanted);
        pieces.iter().filter(move |(key, _)| fits(key)).map(|(_, value)| value.as_slice())
    };
    let (taken_at, facts) = record::join(of(Part::Facts))?;
    let detail = record::join(of(Part::Detail)).map(|(_, detail)| detail);
    Packed { sequence, taken_at, facts, detail }.report()
}
