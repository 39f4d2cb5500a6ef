//! What a node asked to be challenged with, and the receipts that it got: an append-only file, one line
//! each, `CRC-32 in eight hex digits, a space, JSON`. A line is on stable storage before it is believed.
//!
//! A request is there before it is sent, so the same one is sent again after a restart: an oracle answers
//! one request per era. Lines older than the dispute window go when the file is written anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::protocol::Address;
use crate::protocol::messages::KeptReceipt;
use crate::protocol::parameters::Era;
use crate::protocol::signed::{ChallengeRequest, Signed};

/// The file on a data volume.
const FILE: &str = "challenges";

/// The same while it is written anew.
const ASIDE: &str = "challenges.new";

/// The longest file that is read, in bytes: 32 oracles and a year of eras of an hour are 281,000 receipts of
/// some 1.5 KiB with their requests.
const FILE_MAX: u64 = 1 << 30;

/// Lines that are out of date before the file is written anew while it is in use.
const STALE_MAX: usize = 1_000;

/// A receipt that is kept, with why it is not passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipted {
    #[serde(flatten)]
    pub(crate) kept: KeptReceipt,
    pub(crate) reasons: Vec<String>,
}

/// How far a challenge is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// This was or will be asked.
    Asked(Box<Signed<ChallengeRequest>>),
    /// It was answered.
    Receipt(Box<Receipted>),
}

impl Step {
    fn of(&self) -> (Era, Address) {
        match self {
            Self::Asked(request) => (Era(request.message.era), request.message.oracleId),
            Self::Receipt(receipt) => (receipt.kept.era, receipt.kept.oracle),
        }
    }
}

/// Why a line was not kept. The file is not used again after that.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {source}")]
pub struct JournalError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The receipts of an era that a node keeps in a folder, in the order of their oracles: what it shows in a dispute. They are
/// read beside whoever keeps them; what is written meanwhile may be missing.
///
/// # Errors
/// The file cannot be read. That there is none is no error.
pub fn receipts(folder: &Path, era: Era) -> Result<Vec<KeptReceipt>, JournalError> {
    let (steps, _damaged) = parse(&read(&folder.join(FILE))?);
    let of_era = steps.into_iter().filter(|((of, _), _)| *of == era);
    let kept = of_era.filter_map(|(_, step)| match step {
        Step::Receipt(receipt) => Some(receipt.kept),
        Step::Asked(_) => None,
    });
    Ok(kept.collect())
}

/// The challenges of a node.
#[derive(Debug)]
pub(crate) struct Journal {
    steps: BTreeMap<(Era, Address), Step>,
    file: Option<(File, PathBuf)>,
    /// Lines in the file that say nothing any more.
    stale: usize,
}

impl Journal {
    /// One in memory.
    pub(crate) fn in_memory() -> Self {
        Self { steps: BTreeMap::new(), file: None, stale: 0 }
    }

    /// The one in `folder`, with what is in memory added and what is before `from` left out.
    pub(crate) fn open(folder: &Path, memory: &Self, from: Era) -> Result<Self, JournalError> {
        let path = folder.join(FILE);
        let (mut steps, damaged) = parse(&read(&path)?);
        if damaged > 0 {
            warn!(path = %path.display(), lines = damaged, "lines of the challenges cannot be read");
        }
        for step in memory.steps.values() {
            add(&mut steps, step.clone());
        }
        steps.retain(|(era, _), _| *era >= from);
        let file = rewrite(folder, &path, &steps)?;
        Ok(Self { steps, file: Some((file, path)), stale: 0 })
    }

    /// The same without its file.
    pub(crate) fn into_memory(self) -> Self {
        Self { file: None, ..self }
    }

    /// How far the challenge of an era by an oracle is.
    pub(crate) fn step(&self, era: Era, oracle: Address) -> Option<&Step> {
        self.steps.get(&(era, oracle))
    }

    /// The last receipt of an oracle.
    pub(crate) fn last_receipt(&self, oracle: Address) -> Option<&Receipted> {
        self.steps.iter().rev().find_map(|((_, of), step)| match step {
            Step::Receipt(receipt) if *of == oracle => Some(&**receipt),
            _ => None,
        })
    }

    /// How many receipts there are.
    pub(crate) fn receipts(&self) -> u64 {
        let receipts = self.steps.values().filter(|step| matches!(step, Step::Receipt(_)));
        u64::try_from(receipts.count()).unwrap_or(u64::MAX)
    }

    /// Keeps a step, and forgets those before `from`. It is on stable storage when this returns.
    pub(crate) fn keep(&mut self, step: Step, from: Era) -> Result<(), JournalError> {
        if let Some((file, path)) = &mut self.file {
            let failed = |operation, source| JournalError { operation, path: path.clone(), source };
            file.write_all(&line(&step)).map_err(|source| failed("write", source))?;
            file.sync_data().map_err(|source| failed("sync", source))?;
        }
        self.stale += usize::from(self.steps.contains_key(&step.of()));
        add(&mut self.steps, step);
        let before = self.steps.len();
        self.steps.retain(|(era, _), _| *era >= from);
        self.stale += before.saturating_sub(self.steps.len());
        if self.stale > STALE_MAX
            && let Some((file, path)) = &mut self.file
            && let Some(folder) = path.parent()
        {
            *file = rewrite(folder, path, &self.steps)?;
            self.stale = 0;
        }
        Ok(())
    }
}

/// Adds a step, unless the one that is there went further.
fn add(steps: &mut BTreeMap<(Era, Address), Step>, step: Step) {
    let is_receipt = |step: &Step| matches!(step, Step::Receipt(_));
    let at = step.of();
    if !steps.get(&at).is_some_and(|there| is_receipt(there) && !is_receipt(&step)) {
        steps.insert(at, step);
    }
}

fn line(step: &Step) -> Vec<u8> {
    // What is kept has string keys alone, so it always has a JSON form.
    let json = serde_json::to_string(step).unwrap_or_default();
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

/// The steps of a file, and how many lines of it are none. A torn last line is no damage.
fn parse(bytes: &[u8]) -> (BTreeMap<(Era, Address), Step>, usize) {
    let mut steps = BTreeMap::new();
    let mut damaged = 0;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let lines = bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
    for found in lines.filter(|line| !line.is_empty()) {
        match parse_line(found) {
            Some(step) => add(&mut steps, step),
            None => damaged += 1,
        }
    }
    (steps, damaged)
}

fn parse_line(line: &[u8]) -> Option<Step> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let good = u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(json.as_bytes());
    good.then(|| serde_json::from_str(json).ok())?
}

fn read(path: &Path) -> Result<Vec<u8>, JournalError> {
    let failed = |operation, source| JournalError { operation, path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(|source| failed("open", source))?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(|source| failed("read", source))?;
    Ok(bytes)
}

/// Writes the file anew, and returns it open behind its end.
fn rewrite(
    folder: &Path,
    path: &Path,
    steps: &BTreeMap<(Era, Address), Step>,
) -> Result<File, JournalError> {
    let aside = folder.join(ASIDE);
    let failed = |operation: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| JournalError { operation, path, source }
    };
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut file = File::create(&aside).map_err(failed("create", &aside))?;
    let lines: Vec<u8> = steps.values().flat_map(line).collect();
    file.write_all(&lines).map_err(failed("write", &aside))?;
    file.sync_all().map_err(failed("sync", &aside))?;
    fs::rename(&aside, path).map_err(failed("rename", &aside))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))?;
    OpenOptions::new().append(true).open(path).map_err(failed("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::B256;
    use crate::protocol::messages::KeptReceipt;
    use crate::protocol::parameters::example;
    use crate::protocol::signed::{ChallengeReceipt, PASSED, Signature};

    fn asked(era: u64, oracle: u8, nonce: u8) -> Signed<ChallengeRequest> {
        let message = ChallengeRequest {
            nodeId: B256::ZERO,
            oracleId: Address::repeat_byte(oracle),
            era,
            nonce: B256::repeat_byte(nonce),
            dataRoot: B256::ZERO,
            objects: 0,
            totalBytes: 0,
            configDigest: example().digest(),
        };
        Signed { message, signature: Signature([1; 65]) }
    }

    fn receipt(era: u64, oracle: u8) -> Step {
        let message = ChallengeReceipt {
            requestHash: B256::ZERO,
            beacon: B256::ZERO,
            result: PASSED,
            latencyUs: 1,
            bytesPerSecond: 2,
            oracleTime: 3,
        };
        let kept = KeptReceipt {
            oracle: Address::repeat_byte(oracle),
            era: Era(era),
            request: asked(era, oracle, 1),
            receipt: Signed { message, signature: Signature([2; 65]) },
        };
        Step::Receipt(Box::new(Receipted { kept, reasons: vec!["none".to_owned()] }))
    }

    fn open(folder: &Path, from: u64) -> Journal {
        Journal::open(folder, &Journal::in_memory(), Era(from)).expect("a journal")
    }

    #[test]
    fn what_was_kept_is_there_again_however_the_last_line_was_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(folder.path(), 0);
        journal.keep(Step::Asked(asked(1, 1, 7).into()), Era(0)).expect("kept");
        journal.keep(receipt(1, 1), Era(0)).expect("kept");
        let two = fs::read(folder.path().join(FILE)).expect("a file");
        journal.keep(Step::Asked(asked(2, 1, 8).into()), Era(0)).expect("kept");
        let three = fs::read(folder.path().join(FILE)).expect("a file");
        drop(journal);
        for cut in (two.len()..three.len()).step_by(31).chain([three.len() - 1, three.len()]) {
            fs::write(folder.path().join(FILE), &three[..cut]).expect("cut");
            let mut journal = open(folder.path(), 0);
            let address = Address::repeat_byte(1);
            assert_eq!(journal.step(Era(1), address), Some(&receipt(1, 1)));
            assert_eq!(journal.step(Era(2), address).is_some(), cut == three.len(), "at {cut}");
            // What is kept then does not stick to what was torn.
            journal.keep(receipt(3, 1), Era(0)).expect("kept");
            assert_eq!(open(folder.path(), 0).step(Era(3), address), Some(&receipt(3, 1)));
        }
    }

    #[test]
    fn the_receipts_of_an_era_are_read_while_the_journal_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(receipts(folder.path(), Era(1)).expect("none"), []);
        let mut journal = open(folder.path(), 0);
        for (era, oracle) in [(1, 2), (1, 1), (2, 1)] {
            journal.keep(receipt(era, oracle), Era(0)).expect("kept");
        }
        journal.keep(Step::Asked(asked(1, 3, 7).into()), Era(0)).expect("kept");
        let found = receipts(folder.path(), Era(1)).expect("read");
        let oracles: Vec<_> = found.iter().map(|kept| kept.oracle).collect();
        assert_eq!(oracles, [Address::repeat_byte(1), Address::repeat_byte(2)]);
        journal.keep(receipt(3, 1), Era(0)).expect("kept");
        assert_eq!(receipts(folder.path(), Era(3)).expect("read").len(), 1);
    }

    #[test]
    fn a_flipped_bit_costs_its_line_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(folder.path(), 0);
        for era in 1..=3 {
            journal.keep(receipt(era, 1), Era(0)).expect("kept");
        }
        let mut bytes = fs::read(folder.path().join(FILE)).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let (steps, damaged) = parse(&bytes);
        assert_eq!((steps.len(), damaged), (2, 1));
    }

    #[test]
    fn a_receipt_is_never_replaced_by_a_request_and_goes_after_its_window() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = open(folder.path(), 0);
        journal.keep(receipt(1, 1), Era(0)).expect("kept");
        journal.keep(Step::Asked(asked(1, 1, 9).into()), Era(0)).expect("kept");
        drop(journal);
        let mut journal = open(folder.path(), 0);
        assert_eq!(journal.step(Era(1), Address::repeat_byte(1)), Some(&receipt(1, 1)));
        journal.keep(receipt(5, 1), Era(2)).expect("kept");
        assert_eq!(journal.receipts(), 1);
        let journal = open(folder.path(), 2);
        assert_eq!(
            journal.last_receipt(Address::repeat_byte(1)).map(|last| last.kept.era),
            Some(Era(5))
        );
        assert!(journal.last_receipt(Address::repeat_byte(2)).is_none());
    }

    #[test]
    fn the_file_does_not_grow_without_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal =
            Journal::open(folder.path(), &Journal::in_memory(), Era(0)).expect("open");
        // As if they were written before: only the count matters.
        journal.stale = STALE_MAX;
        journal.keep(receipt(1, 1), Era(0)).expect("kept");
        journal.keep(receipt(9, 1), Era(9)).expect("kept");
        assert_eq!(journal.stale, 0);
        let lines = fs::read_to_string(folder.path().join(FILE)).expect("a file").lines().count();
        assert_eq!(lines, 1);
    }

    #[test]
    fn what_was_kept_in_memory_moves_to_the_volume() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut memory = Journal::in_memory();
        memory.keep(receipt(4, 2), Era(0)).expect("kept");
        drop(Journal::open(folder.path(), &memory, Era(0)).expect("open"));
        assert_eq!(open(folder.path(), 0).receipts(), 1);
    }
}
