//! Votes of all oracles, kept for good. Votes are only ever added; an oracle that voted twice on a node is found out by
//! having both.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::signed::SignatureError;
use agent_sla::protocol::{Address, B256};

use super::compute::{Set, Votes, set_digest};
use super::wire::SetName;
use crate::log::{Log, LogError};
use crate::service::Vote;
use crate::setup::ADMITTED_MAX;

/// Eras that are kept in memory: one root's and some beside.
const LOADED_MAX: usize = 200;

/// Why votes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum VotesError {
    /// They cannot be kept, or read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// One of them is of another era, oracle or network.
    #[error("a vote on node {node} is not of {oracle}, era {era} and these parameters")]
    Other {
        /// On whom.
        node: B256,
        /// Whose it should be.
        oracle: Address,
        /// Of which era.
        era: Era,
    },
    /// One of them is not signed by the oracle.
    #[error("the vote on node {node}: {source}")]
    Signature {
        /// On whom.
        node: B256,
        /// Why not.
        source: SignatureError,
    },
    /// They were not looked at to the end.
    #[error("the verification of votes ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// There are more than there can be nodes.
    #[error("more than {ADMITTED_MAX} votes of one oracle on one era")]
    TooMany,
}

/// The votes of one oracle on one era.
#[derive(Debug, Clone, Default)]
struct Kept {
    votes: Arc<Votes>,
    /// Two votes on one node.
    conflict: Option<Box<(Vote, Vote)>>,
}

type Eras = BTreeMap<Era, BTreeMap<Address, Kept>>;

/// All votes that are kept.
#[derive(Debug)]
pub struct Store {
    log: Log,
    parameters: Parameters,
    eras: Mutex<Eras>,
}

impl Kept {
    /// Takes a vote; whether it is new.
    fn take(&mut self, vote: Vote) -> bool {
        let node = vote.message.nodeId;
        match self.votes.get(&node) {
            None => {
                Arc::make_mut(&mut self.votes).insert(node, vote);
                true
            }
            Some(known) if known.message == vote.message => false,
            Some(known) => {
                let is_new = self.conflict.is_none();
                if is_new {
                    self.conflict = Some(Box::new((known.clone(), vote)));
                }
                is_new
            }
        }
    }
}

impl Store {
    /// The votes of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(folder: &Path, parameters: Parameters) -> Result<Self, LogError> {
        let log = Log::open(folder)?;
        // What a power cut left can only be in the files that were written last.
        for era in log.files()?.into_iter().rev().take(LOADED_MAX) {
            let torn = log.read(era, |_, _| ())?;
            if torn > 0 {
                log.cut(era, torn)?;
            }
        }
        Ok(Self { log, parameters, eras: Mutex::default() })
    }

    /// The votes of a folder that another process may be writing to: nothing is changed there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(folder: &Path, parameters: Parameters) -> Result<Self, LogError> {
        Ok(Self { log: Log::open(folder)?, parameters, eras: Mutex::default() })
    }

    /// Where they are kept.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What is known, with an era in it.
    fn with(&self, era: Era) -> Result<MutexGuard<'_, Eras>, LogError> {
        let mut eras = self.eras.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(place) = eras.entry(era) {
            let mut found: BTreeMap<Address, Kept> = BTreeMap::new();
            self.log.read(era.0, |_, payload| {
                // Of another version, perhaps: what is not understood is not counted.
                if let Ok(vote) = serde_json::from_slice::<Vote>(payload) {
                    found.entry(vote.message.oracleId).or_default().take(vote);
                }
            })?;
            place.insert(found);
            while eras.len() > LOADED_MAX {
                // The one that is furthest from what is asked for.
                let (first, last) = (eras.keys().next().copied(), eras.keys().last().copied());
                let far = if last == Some(era) { first } else { last };
                far.map(|far| eras.remove(&far));
            }
        }
        Ok(eras)
    }

    /// Takes votes of an oracle on an era: all are verified before any is taken. When this returns, they are on stable
    /// storage. Gives how many were new.
    ///
    /// # Errors
    /// One of them is not what it should be, or they cannot be kept. Of too many only two on one node are.
    pub async fn merge(
        &self,
        era: Era,
        oracle: Address,
        votes: Vec<Vote>,
    ) -> Result<usize, VotesError> {
        let parameters = self.parameters.clone();
        // 100,000 signatures take seconds.
        let verifying = tokio::task::spawn_blocking(move || {
            verify(&parameters, era, oracle, &votes).map(|()| votes)
        });
        let votes = verifying.await??;
        let (fresh, is_whole): (Vec<Vote>, bool) = {
            let mut eras = self.with(era)?;
            let kept = eras.entry(era).or_default().entry(oracle).or_default();
            let (votes, is_whole) = fitting(&kept.votes, votes, ADMITTED_MAX);
            (votes.into_iter().filter(|vote| kept.take(vote.clone())).collect(), is_whole)
        };
        let mut last = None;
        for vote in &fresh {
            let bytes = serde_json::to_vec(vote).unwrap_or_default();
            last = Some(self.log.turn().await?.append(era.0, &bytes)?);
        }
        if let Some(last) = last {
            last.wait().await?;
        }
        if is_whole { Ok(fresh.len()) } else { Err(VotesError::TooMany) }
    }

    /// The votes of an oracle on an era; none if it has none.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn set(&self, era: Era, oracle: &Address) -> Result<Option<Arc<Votes>>, LogError> {
        let eras = self.with(era)?;
        let kept = eras.get(&era).and_then(|of| of.get(oracle));
        Ok(kept.map(|kept| Arc::clone(&kept.votes)))
    }

    /// Two votes of an oracle on one node in an era; none if it did not.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn conflict(&self, era: Era, oracle: &Address) -> Result<Option<(Vote, Vote)>, LogError> {
        let eras = self.with(era)?;
        let kept = eras.get(&era).and_then(|of| of.get(oracle));
        Ok(kept.and_then(|kept| kept.conflict.as_deref().cloned()))
    }

    /// All votes on some eras that count, in the order of era, then oracle: those of who voted twice on a node do not.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn counting(&self, from: u64, to: u64) -> Result<Vec<Set>, LogError> {
        let mut sets = Vec::new();
        for era in (from..=to).map(Era) {
            let eras = self.with(era)?;
            for (oracle, kept) in eras.get(&era).into_iter().flatten() {
                if kept.conflict.is_none() && !kept.votes.is_empty() {
                    sets.push(Set { era, oracle: *oracle, votes: Arc::clone(&kept.votes) });
                }
            }
        }
        Ok(sets)
    }

    /// The sets of these names; the first name that there is no such set of otherwise.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn named(&self, names: &[SetName]) -> Result<Result<Vec<Set>, SetName>, LogError> {
        let mut sets = Vec::with_capacity(names.len());
        for name in names {
            let era = Era(name.era);
            let votes = self.set(era, &name.oracle)?;
            match votes.filter(|votes| set_digest(votes, &self.parameters) == name.digest) {
                Some(votes) => sets.push(Set { era, oracle: name.oracle, votes }),
                None => return Ok(Err(*name)),
            }
        }
        Ok(Ok(sets))
    }

    /// What a set is called.
    #[must_use]
    pub fn name(&self, set: &Set) -> SetName {
        SetName {
            era: set.era.0,
            oracle: set.oracle,
            count: u32::try_from(set.votes.len()).unwrap_or(u32::MAX),
            digest: set_digest(&set.votes, &self.parameters),
        }
    }
}

/// The votes that are taken beside those that are kept, at most so many nodes in all, and whether that is all of them.
/// Where it is not, two on one node are taken all the same: they show that none of these count.
fn fitting(kept: &Votes, votes: Vec<Vote>, most: usize) -> (Vec<Vote>, bool) {
    let mut fresh: BTreeMap<B256, &Vote> = BTreeMap::new();
    let mut conflict = None;
    for vote in &votes {
        let node = vote.message.nodeId;
        let known = kept.get(&node).or_else(|| fresh.get(&node).copied());
        match known {
            None => drop(fresh.insert(node, vote)),
            Some(known) if known.message != vote.message && conflict.is_none() => {
                conflict = Some([known.clone(), vote.clone()]);
            }
            Some(_) => {}
        }
    }
    if kept.len().saturating_add(fresh.len()) <= most {
        return (votes, true);
    }
    (conflict.into_iter().flatten().collect(), false)
}

/// That votes are an oracle's, on an era, by these parameters.
///
/// # Errors
/// One is not.
pub fn verify(
    parameters: &Parameters,
    era: Era,
    oracle: Address,
    votes: &[Vote],
) -> Result<(), VotesError> {
    let (domain, config) = (parameters.domain(), parameters.digest());
    for vote in votes {
        let said = &vote.message;
        let node = said.nodeId;
        let is_known = parameters.oracles.contains(&oracle) && said.oracleId == oracle;
        if !is_known || said.era != era.0 || said.configDigest != config {
            return Err(VotesError::Other { node, oracle, era });
        }
        vote.verify(&domain, oracle).map_err(|source| VotesError::Signature { node, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::signed::{Signed, SlaVote};
    use zeroize::Zeroizing;

    use super::*;

    const ERA: Era = Era(5);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key")
    }

    fn parameters() -> Parameters {
        Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis: 0,
            era_seconds: 60,
            samples: 1,
            oracles: [key(1).address(), key(2).address()].into(),
        }
    }

    fn vote(by: u8, node: u8, passed: u32) -> Vote {
        let (parameters, key) = (parameters(), key(by));
        let message = SlaVote {
            oracleId: key.address(),
            nodeId: B256::repeat_byte(node),
            era: ERA.0,
            issued: 10,
            passed,
            medianLatencyUs: 1,
            medianBytesPerSecond: 1,
            provenBytes: 1,
            receiptsRoot: B256::ZERO,
            configDigest: parameters.digest(),
        };
        Signed::new(message, &parameters.domain(), &key).expect("signed")
    }

    #[tokio::test]
    async fn votes_are_only_added_and_two_on_one_node_count_for_nobody_also_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let one = key(1).address();
        let store = Store::open(dir.path(), parameters()).expect("a store");
        let both = vec![vote(1, 7, 10), vote(1, 8, 10)];
        assert_eq!(store.merge(ERA, one, both.clone()).await.expect("taken"), 2);
        assert_eq!(store.merge(ERA, one, both).await.expect("taken"), 0);
        let name = store.name(&store.counting(5, 5).expect("read")[0]);
        assert_eq!((name.oracle, name.count), (one, 2));
        let fewer = SetName { digest: B256::ZERO, ..name };
        assert!(store.named(&[name]).expect("read").is_ok());
        assert!(matches!(store.named(&[name, fewer]).expect("read"), Err(found) if found == fewer));
        assert_eq!(store.merge(ERA, one, vec![vote(1, 7, 9)]).await.expect("taken"), 1);
        drop(store);
        let store = Store::open(dir.path(), parameters()).expect("a store");
        let (first, second) = store.conflict(ERA, &one).expect("read").expect("two votes");
        assert_eq!((first.message.passed, second.message.passed), (10, 9));
        assert!(store.counting(5, 5).expect("read").is_empty());
        assert_eq!(store.set(ERA, &one).expect("read").expect("kept").len(), 2);
    }

    #[test]
    fn only_new_nodes_fill_an_era_and_two_votes_on_one_are_taken_though_it_is_full() {
        let node = |vote: &Vote| (vote.message.nodeId, vote.clone());
        let kept: Votes = [vote(1, 7, 10), vote(1, 8, 10)].iter().map(node).collect();
        let again = vec![vote(1, 7, 10), vote(1, 8, 10)];
        assert_eq!(fitting(&kept, again.clone(), 2), (again, true), "nothing of it is new");
        let full = vec![vote(1, 7, 10), vote(1, 9, 10)];
        assert_eq!(fitting(&kept, full.clone(), 3), (full.clone(), true));
        assert_eq!(fitting(&kept, full, 2), (Vec::new(), false));
        let other = vec![vote(1, 8, 9)];
        assert_eq!(
            fitting(&kept, other.clone(), 2),
            (other, true),
            "it is on a node that is known"
        );
        let beside = vec![vote(1, 9, 10), vote(1, 8, 9), vote(1, 10, 10)];
        let shown = vec![vote(1, 8, 10), vote(1, 8, 9)];
        assert_eq!(fitting(&kept, beside, 2), (shown, false));
        let both = vec![vote(1, 9, 10), vote(1, 9, 9)];
        assert_eq!(fitting(&kept, both.clone(), 2), (both, false), "also on a node that is new");
    }

    #[tokio::test]
    async fn what_is_no_vote_of_the_oracle_is_not_taken_and_takes_nothing_with_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (key(1).address(), key(2).address());
        let store = Store::open(dir.path(), parameters()).expect("a store");
        let mut forged = vote(1, 8, 10);
        forged.message.passed = 9;
        let taken = store.merge(ERA, one, vec![vote(1, 7, 10), forged]).await;
        assert!(matches!(taken, Err(VotesError::Signature { .. })), "{taken:?}");
        let others = store.merge(ERA, two, vec![vote(1, 7, 10)]).await;
        assert!(matches!(others, Err(VotesError::Other { .. })), "{others:?}");
        let stranger = store.merge(ERA, key(3).address(), vec![vote(3, 7, 10)]).await;
        assert!(matches!(stranger, Err(VotesError::Other { .. })), "{stranger:?}");
        let era = store.merge(Era(6), one, vec![vote(1, 7, 10)]).await;
        assert!(matches!(era, Err(VotesError::Other { .. })), "{era:?}");
        assert!(store.counting(5, 6).expect("read").is_empty());
    }
}
