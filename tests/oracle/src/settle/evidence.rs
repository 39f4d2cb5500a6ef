//! What shows that an oracle voted twice on a node and era, from the votes that are kept; in the form of files that the HP's
//! tool takes (`docs/design/settlement.md`, "Evidence in a file").

use std::collections::BTreeMap;
use std::path::Path;

use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::signed::{Signature, SlaVote};
use agent_sla::protocol::{Address, B256};
use serde::Serialize;

use super::votes::verify;
use crate::log::{Log, LogError};
use crate::service::Vote;

/// A vote as it stands in a file: its fields, and the signature beside them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    #[serde(flatten)]
    message: SlaVote,
    signature: Signature,
}

/// Two votes of one oracle on one node and era that differ, both signed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename = "equivocation")]
pub struct Equivocation {
    oracle: Address,
    /// In the order of their digests.
    votes: [Shown; 2],
}

impl Equivocation {
    /// That two votes are one; none if they are of different oracles, nodes or eras, say the same, or are not signed by their
    /// oracle by these parameters.
    #[must_use]
    pub fn of(first: Vote, second: Vote, parameters: &Parameters) -> Option<Self> {
        let (one, other) = (&first.message, &second.message);
        let place = |vote: &SlaVote| (vote.oracleId, vote.nodeId, vote.era);
        if place(one) != place(other) || one == other {
            return None;
        }
        let (oracle, era) = (one.oracleId, Era(one.era));
        let mut both = [first, second];
        verify(parameters, era, oracle, &both).ok()?;
        let domain = parameters.domain();
        both.sort_by_key(|vote| vote.digest(&domain));
        let votes = both.map(|Vote { message, signature }| Shown { message, signature });
        Some(Self { oracle, votes })
    }

    /// Who signed both.
    #[must_use]
    pub fn oracle(&self) -> Address {
        self.oracle
    }

    /// The era that both are on.
    #[must_use]
    pub fn era(&self) -> u64 {
        let [first, _] = &self.votes;
        first.message.era
    }
}

/// All oracles that voted twice, by the votes in a folder, in the order of era, then oracle; of each era one pair, as one
/// takes the whole stake. Nothing is changed there.
///
/// # Errors
/// They cannot be read.
pub fn found(
    folder: &Path,
    parameters: &Parameters,
    only: Option<Era>,
) -> Result<Vec<Equivocation>, LogError> {
    let log = Log::open(folder)?;
    let mut all = Vec::new();
    for era in log.files()?.into_iter().filter(|era| only.is_none_or(|only| only.0 == *era)) {
        let mut votes: BTreeMap<(Address, B256), Vote> = BTreeMap::new();
        let mut shown: BTreeMap<Address, Equivocation> = BTreeMap::new();
        log.read(era, |_, payload| {
            // Of another version, perhaps: what is not understood shows nothing.
            let Ok(vote) = serde_json::from_slice::<Vote>(payload) else { return };
            let (oracle, node) = (vote.message.oracleId, vote.message.nodeId);
            if shown.contains_key(&oracle) {
                return;
            }
            match votes.get(&(oracle, node)) {
                None => drop(votes.insert((oracle, node), vote)),
                Some(known) => {
                    let both = Equivocation::of(known.clone(), vote, parameters);
                    shown.extend(both.map(|both| (oracle, both)));
                }
            }
        })?;
        all.extend(shown.into_values());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::signed::Signed;
    use serde_json::{Value, json};
    use zeroize::Zeroizing;

    use super::super::votes::Store;
    use super::*;

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

    fn vote(by: u8, node: u8, era: u64, passed: u32) -> Vote {
        let (parameters, key) = (parameters(), key(by));
        let message = SlaVote {
            oracleId: key.address(),
            nodeId: B256::repeat_byte(node),
            era,
            issued: 10,
            passed,
            medianLatencyUs: 1,
            medianBytesPerSecond: 2,
            provenBytes: 3,
            receiptsRoot: B256::ZERO,
            configDigest: parameters.digest(),
        };
        Signed::new(message, &parameters.domain(), &key).expect("signed")
    }

    #[tokio::test]
    async fn what_is_kept_of_an_oracle_that_voted_twice_is_written_as_the_contract_wants_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), parameters()).expect("a store");
        let (one, two) = (key(1).address(), key(2).address());
        let kept = async |by: u8, era, votes| {
            let oracle = key(by).address();
            store.merge(Era(era), oracle, votes).await.expect("taken");
        };
        kept(1, 5, vec![vote(1, 7, 5, 10), vote(1, 8, 5, 10), vote(1, 8, 5, 9)]).await;
        kept(2, 5, vec![vote(2, 7, 5, 10), vote(2, 8, 5, 9)]).await;
        kept(2, 6, vec![vote(2, 7, 6, 10)]).await;
        kept(2, 6, vec![vote(2, 7, 6, 0)]).await;
        let all = found(dir.path(), &parameters(), None).expect("read");
        let places: Vec<_> = all.iter().map(|one| (one.era(), one.oracle())).collect();
        assert_eq!(places, [(5, one), (6, two)]);
        let only = found(dir.path(), &parameters(), Some(Era(6))).expect("read");
        assert_eq!(only, all[1..]);
        let file: Value = serde_json::to_value(&all[0]).expect("JSON");
        assert_eq!((&file["kind"], &file["oracle"]), (&json!("equivocation"), &json!(one)));
        let votes = file["votes"].as_array().expect("votes");
        let mut both = [vote(1, 8, 5, 10), vote(1, 8, 5, 9)];
        both.sort_by_key(|vote| vote.digest(&parameters().domain()));
        assert_eq!(votes.len(), 2);
        for (written, vote) in votes.iter().zip(both) {
            assert_eq!(
                written,
                &json!({
                    "oracleId": one,
                    "nodeId": B256::repeat_byte(8),
                    "era": 5,
                    "issued": 10,
                    "passed": vote.message.passed,
                    "medianLatencyUs": 1,
                    "medianBytesPerSecond": 2,
                    "provenBytes": 3,
                    "receiptsRoot": B256::ZERO,
                    "configDigest": parameters().digest(),
                    "signature": vote.signature,
                })
            );
        }
    }

    #[test]
    fn what_is_no_vote_of_the_oracle_shows_nothing() {
        let of = |first: Vote, second: Vote| Equivocation::of(first, second, &parameters());
        assert!(of(vote(1, 7, 5, 10), vote(1, 7, 5, 9)).is_some());
        assert_eq!(of(vote(1, 7, 5, 10), vote(1, 7, 5, 10)), None, "it is the same");
        assert_eq!(of(vote(1, 7, 5, 10), vote(2, 7, 5, 9)), None, "another oracle");
        assert_eq!(of(vote(1, 7, 5, 10), vote(1, 8, 5, 9)), None, "another node");
        assert_eq!(of(vote(1, 7, 5, 10), vote(1, 7, 6, 9)), None, "another era");
        let mut forged = vote(1, 7, 5, 9);
        forged.message.passed = 8;
        assert_eq!(of(vote(1, 7, 5, 10), forged), None, "it is not signed");
        assert_eq!(of(vote(3, 7, 5, 10), vote(3, 7, 5, 9)), None, "no oracle of the network");
    }
}
