//! What an oracle signed of changes of state, on stable storage before anybody is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_settlement::abi::reference::StateChange;
use agent_sla::protocol::signed::Signature;
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::log::{Log, LogError};

/// Eras of one file: six weeks of eras of an hour.
const ERAS_PER_FILE: u64 = 1000;

/// Eras that are known in memory: a change is taken in its era and the one behind it.
const ERAS_KNOWN: u64 = 3;

/// What is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
enum Entry {
    /// It is about to be signed.
    Signed { change: StateChange, signature: Signature },
    /// A quorum signed it.
    Gathered { change: StateChange, signatures: BTreeMap<Address, Signature> },
}

/// What names a place in the changes of nodes: era, node, and which of its changes.
type Place = (u64, B256, u64);

/// A change that this oracle signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// It.
    pub change: StateChange,
    /// Our signature.
    pub signature: Signature,
    /// Signatures of a quorum; empty while there are none.
    pub signatures: BTreeMap<Address, Signature>,
}

/// The changes that were signed in the last eras.
#[derive(Debug)]
pub struct Changes {
    log: Log,
    known: Mutex<BTreeMap<Place, Ours>>,
}

fn place(change: &StateChange) -> Place {
    (change.era, change.nodeId, change.sequence)
}

fn apply(known: &mut BTreeMap<Place, Ours>, entry: Entry) {
    match entry {
        Entry::Signed { change, signature } => {
            let ours = Ours { change, signature, signatures: BTreeMap::new() };
            known.entry(place(&ours.change)).or_insert(ours);
        }
        Entry::Gathered { change, signatures } => {
            if let Some(ours) = known.get_mut(&place(&change)).filter(|ours| ours.change == change)
            {
                ours.signatures = signatures;
            }
        }
    }
    // The newest eras only: what is older is refused by the contract.
    let newest = known.last_key_value().map_or(0, |((era, ..), _)| *era);
    let oldest = newest.saturating_sub(ERAS_KNOWN);
    *known = known.split_off(&(oldest, B256::ZERO, 0));
}

impl Changes {
    /// The changes of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let log = Log::open(folder)?;
        let mut known = BTreeMap::new();
        let files = log.files()?;
        // Of those before the last two nothing is taken any more.
        for number in files.iter().rev().take(2).rev() {
            let torn = log.read(*number, |_, payload| {
                if let Ok(entry) = serde_json::from_slice(payload) {
                    apply(&mut known, entry);
                }
            })?;
            if torn > 0 {
                log.cut(*number, torn)?;
            }
        }
        Ok(Self { log, known: Mutex::new(known) })
    }

    /// Where they are kept.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Place, Ours>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this oracle signed in an era for a node's change of a number: one, ever.
    #[must_use]
    pub fn signed(&self, era: u64, node: B256, sequence: u64) -> Option<Ours> {
        self.known().get(&(era, node, sequence)).cloned()
    }

    /// Whether a change is a step down of a node, and another one was signed in the same era or by the same root.
    #[must_use]
    pub fn has_stepped(&self, change: &StateChange) -> bool {
        let is_down = |change: &StateChange| change.to > change.from;
        let is_before = |ours: &&Ours| {
            let other = &ours.change;
            let is_same = other.era == change.era || other.evidenceHash == change.evidenceHash;
            let is_other = other.nodeId == change.nodeId && other.sequence != change.sequence;
            is_other && is_same && is_down(other)
        };
        is_down(change) && self.known().values().find(is_before).is_some()
    }

    /// The changes of an era and those behind it that a quorum signed.
    #[must_use]
    pub fn gathered(&self, era: u64) -> Vec<Ours> {
        let known = self.known();
        let since = known.range((era, B256::ZERO, 0)..).map(|(_, ours)| ours);
        since.filter(|ours| !ours.signatures.is_empty()).cloned().collect()
    }

    async fn write(&self, era: u64, entry: Entry) -> Result<(), LogError> {
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        self.log.append(era / ERAS_PER_FILE, &bytes).await?;
        apply(&mut self.known(), entry);
        Ok(())
    }

    /// Remembers that a change is about to be signed.
    ///
    /// # Errors
    /// It cannot be written: then the signature must be given to nobody.
    pub async fn sign(&self, change: StateChange, signature: Signature) -> Result<(), LogError> {
        self.write(change.era, Entry::Signed { change, signature }).await
    }

    /// Remembers the signatures of a quorum.
    ///
    /// # Errors
    /// They cannot be written.
    pub async fn gather(
        &self,
        change: StateChange,
        signatures: BTreeMap<Address, Signature>,
    ) -> Result<(), LogError> {
        self.write(change.era, Entry::Gathered { change, signatures }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(era: u64, to: u8) -> StateChange {
        StateChange {
            nodeId: B256::repeat_byte(7),
            sequence: 1,
            from: 1,
            to,
            era,
            evidenceHash: B256::ZERO,
            configDigest: B256::ZERO,
        }
    }

    #[tokio::test]
    async fn a_node_steps_down_once_in_an_era_and_once_by_a_root() {
        let dir = tempfile::tempdir().expect("a folder");
        let changes = Changes::open(dir.path()).expect("a folder");
        let one = StateChange { evidenceHash: B256::repeat_byte(1), ..change(1000, 2) };
        assert!(!changes.has_stepped(&one));
        changes.sign(one.clone(), Signature([1; 65])).await.expect("written");
        assert!(!changes.has_stepped(&one), "the same once more is no other");
        let next = StateChange { sequence: 2, from: 2, to: 3, ..one.clone() };
        let other_root = StateChange { evidenceHash: B256::repeat_byte(2), ..next.clone() };
        assert!(changes.has_stepped(&next) && changes.has_stepped(&other_root));
        assert!(changes.has_stepped(&StateChange { era: 1001, ..next.clone() }));
        assert!(!changes.has_stepped(&StateChange { era: 1001, ..other_root }));
        assert!(!changes.has_stepped(&StateChange { to: 1, ..next.clone() }), "it returns");
        assert!(!changes.has_stepped(&StateChange { nodeId: B256::ZERO, ..next }));
    }

    #[tokio::test]
    async fn what_was_signed_is_known_after_a_restart_and_stays_the_one_of_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (Signature([1; 65]), Signature([2; 65]));
        let changes = Changes::open(dir.path()).expect("a folder");
        changes.sign(change(999, 2), one).await.expect("written");
        changes.sign(change(1000, 2), one).await.expect("written");
        changes.sign(change(1000, 1), two).await.expect("written");
        let all = BTreeMap::from([(Address::repeat_byte(1), one)]);
        changes.gather(change(1000, 1), all.clone()).await.expect("written");
        let node = B256::repeat_byte(7);
        let look = |changes: &Changes| {
            let ours = changes.signed(1000, node, 1).expect("signed");
            assert_eq!((ours.change, ours.signature), (change(1000, 2), one), "the first");
            assert!(changes.signed(1000, node, 2).is_none());
        };
        look(&changes);
        assert!(changes.gathered(999).is_empty(), "it is of another");
        changes.gather(change(1000, 2), all).await.expect("written");
        drop(changes);
        let changes = Changes::open(dir.path()).expect("a folder");
        look(&changes);
        assert!(changes.signed(999, node, 1).is_some());
        assert_eq!(changes.gathered(999).len(), 1);
        assert!(changes.gathered(1001).is_empty());
        changes.sign(change(1004, 2), one).await.expect("written");
        assert!(changes.signed(1000, node, 1).is_none(), "nobody takes it any more");
    }
}
