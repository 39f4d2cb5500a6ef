//! Computing the roots on chain anew, from votes alone: `reference-oracle verify`.

use std::path::Path;

use agent_settlement::chain::At;
use agent_sla::Reader;
use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::{Era, Parameters};
use tracing::debug;

use super::book::Book;
use super::compute::{Base, Computed, Ledger, Terms, compute, difference};
use super::follow::{kept, leaves};
use super::net::Net;
use super::root_digest;
use super::settler::SettleError;
use super::tariff::Tariff;
use super::votes::{Store, verify};
use super::wire::Proposal;

/// What a root on chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its number on chain.
    pub number: u64,
    /// Its digest there.
    pub digest: B256,
    /// Its eras, where it is known what it consists of.
    pub eras: Option<(u64, u64)>,
    /// The first difference, in words; none where all is equal.
    pub difference: Option<String>,
}

/// What is verified against.
#[derive(Debug)]
pub struct Verifier {
    parameters: Parameters,
    tariff: Tariff,
    net: Net,
    store: Store,
    book: Book,
}

impl Verifier {
    /// By what an oracle keeps in the folder `settle` of its own. Nothing there is changed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_folder(
        folder: &Path,
        parameters: Parameters,
        tariff: Tariff,
        net: Net,
    ) -> Result<Self, SettleError> {
        let store = Store::look(&folder.join("votes"), parameters.clone())?;
        let book = Book::look(folder)?;
        Ok(Self { parameters, tariff, net, store, book })
    }

    /// By what oracles show, which is fetched into a folder. What one of them lacks the next one is asked for.
    ///
    /// # Errors
    /// The chain does not say, or the folder cannot be used.
    pub async fn of_oracles(
        folder: &Path,
        oracles: &[Reader],
        parameters: Parameters,
        tariff: Tariff,
        net: Net,
    ) -> Result<Self, SettleError> {
        let store = Store::open(&folder.join("votes"), parameters.clone())?;
        let book = Book::open(folder)?;
        let found = Self { parameters, tariff, net, store, book };
        for number in 0..found.net.look().await?.count {
            let digest = found.net.posted(number, At::Latest).await?.digest;
            for oracle in oracles {
                if found.take(oracle, digest).await? {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Fetches a root with its votes and leaves; whether all of it was there.
    async fn take(&self, oracle: &Reader, digest: B256) -> Result<bool, SettleError> {
        let proposal: Proposal = match oracle.get(format!("/v1/roots/{digest}")).await {
            Ok(found) => found,
            Err(error) => {
                debug!(url = oracle.url(), %error, "a root cannot be fetched");
                return Ok(false);
            }
        };
        if root_digest(&proposal.root, &self.parameters) != digest {
            return Ok(false);
        }
        let mut is_whole = true;
        for set in &proposal.sets {
            match kept(oracle, set.era, set.oracle).await {
                // Of votes that are not the oracle's none is taken; then they are missing below.
                Ok(votes) => drop(self.store.merge(Era(set.era), set.oracle, votes).await),
                Err(error) => {
                    debug!(url = oracle.url(), %error, "votes cannot be fetched");
                    is_whole = false;
                }
            }
        }
        if let Ok(ledger) = leaves(oracle, &digest).await {
            self.book.keep_ledger(&digest, &ledger)?;
        }
        self.book.learn(digest, proposal).await?;
        Ok(is_whole)
    }

    /// Computes all roots on chain up to the one with an era, the oldest first; the first that differs is the last that
    /// is given, as those behind it carry its amounts. Empty where no root has that era.
    ///
    /// # Errors
    /// The chain does not say, or what is kept cannot be read.
    pub async fn up_to(&self, era: u64) -> Result<Vec<Finding>, SettleError> {
        let view = self.net.look().await?;
        let (mut findings, mut base) = (Vec::new(), Base::default());
        if era >= view.next_era {
            return Ok(findings);
        }
        for number in 0..view.count {
            let posted = self.net.posted(number, At::Latest).await?;
            let digest = posted.digest;
            let Some(known) = self.book.root(&digest) else {
                let difference = Some("it is not known what it was computed from".to_owned());
                findings.push(Finding { number, digest, eras: None, difference });
                return Ok(findings);
            };
            let proposal = known.proposal;
            if number == 0 {
                base.from = proposal.root.fromEra;
            }
            let (from, to) = (proposal.root.fromEra, proposal.root.toEra);
            let compared = self.compare(&base, &proposal, &digest)?;
            let (difference, computed) = match compared {
                Ok(computed) if computed.root.root != posted.root => (
                    Some(format!(
                        "root: {} computed, {} on chain",
                        computed.root.root, posted.root
                    )),
                    None,
                ),
                Ok(computed) => (None, Some(computed)),
                Err(words) => (Some(words), None),
            };
            findings.push(Finding { number, digest, eras: Some((from, to)), difference });
            let Some(Computed { ledger, .. }) = computed.filter(|_| to < era) else { break };
            base = Base { previous: digest, from: to.saturating_add(1), ledger };
        }
        Ok(findings)
    }

    /// Computes a root anew from votes whose signatures are verified again.
    fn compare(
        &self,
        base: &Base,
        proposal: &Proposal,
        digest: &B256,
    ) -> Result<Result<Computed, String>, SettleError> {
        let sets = match self.store.named(&proposal.sets)? {
            Ok(sets) => sets,
            Err(set) => {
                let words = format!(
                    "the votes of {} on era {} are not those that it was computed from",
                    set.oracle, set.era
                );
                return Ok(Err(words));
            }
        };
        for set in &sets {
            let votes: Vec<_> = set.votes.values().cloned().collect();
            if let Err(error) = verify(&self.parameters, set.era, set.oracle, &votes) {
                return Ok(Err(format!("a vote of {} on era {}: {error}", set.oracle, set.era)));
            }
        }
        let terms = Terms { parameters: &self.parameters, tariff: &self.tariff };
        let computed = compute(terms, base, proposal.root.toEra, &sets);
        let Some(first) = difference(&computed.root, &proposal.root) else {
            return Ok(Ok(computed));
        };
        let kept = self.book.ledger(digest, &proposal.root).ok().flatten();
        let leaf = kept.and_then(|kept| first_leaf(&computed.ledger, &kept));
        Ok(Err(leaf.unwrap_or(first)))
    }
}

/// The first leaf in which two ledgers differ, in words; none if in none.
#[must_use]
pub fn first_leaf(ours: &Ledger, theirs: &Ledger) -> Option<String> {
    let nodes: std::collections::BTreeSet<&B256> = ours.keys().chain(theirs.keys()).collect();
    let node = nodes.into_iter().find(|node| ours.get(*node) != theirs.get(*node))?;
    let words = |ledger: &Ledger| match ledger.get(node) {
        Some(found) => format!(
            "reward {}, penalty {}, votes {}",
            found.reward, found.penalty, found.votes_hash
        ),
        None => "no leaf".to_owned(),
    };
    Some(format!("node {node}: {} here, {} there", words(ours), words(theirs)))
}
