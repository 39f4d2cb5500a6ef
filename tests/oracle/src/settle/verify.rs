//! Computing the roots on chain anew, from votes alone: `reference-oracle verify`.

use std::path::Path;
use std::time::Duration;

use agent_settlement::chain::At;
use agent_sla::Reader;
use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::{Era, Parameters};
use tracing::debug;

use super::book::Book;
use super::compute::{Base, Computed, Ledger, Terms, compute, difference, without};
use super::follow::{kept, leaves};
use super::net::Net;
use super::root_digest;
use super::settler::SettleError;
use super::tariff::Tariff;
use super::voids::{Follower, Source, Void, Voids, left_out};
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
    /// Votes that count in it and were voided since.
    pub void_since: Vec<Void>,
}

/// How often is read on, and how long is waited between, until all void votes are known: 20,000 times 32 ranges of 2,000
/// blocks are eighty years of Base.
const READS_MAX: u32 = 20_000;
const READ_PAUSE: Duration = Duration::from_millis(10);

/// What a network's roots are computed by.
#[derive(Debug)]
pub struct Rules {
    /// What all agree on.
    pub parameters: Parameters,
    /// What an era is worth.
    pub tariff: Tariff,
    /// The contracts.
    pub net: Net,
    /// Votes that are void; none where all count.
    pub voids: Voids,
}

impl Rules {
    /// Reads which votes are void, if a contract says so.
    ///
    /// # Errors
    /// The chain does not say.
    pub async fn read(
        parameters: Parameters,
        tariff: Tariff,
        net: Net,
        source: Option<Source>,
    ) -> Result<Self, SettleError> {
        let voids = match source {
            Some(source) => read(source, &parameters, &net).await?,
            None => Voids::new(),
        };
        Ok(Self { parameters, tariff, net, voids })
    }
}

async fn read(source: Source, parameters: &Parameters, net: &Net) -> Result<Voids, SettleError> {
    let follower = Follower::open(None, source, parameters.oracles.clone())?;
    for _ in 0..READS_MAX {
        if follower.refresh(net).await?
            && let Some(voids) = follower.voids()
        {
            return Ok(voids);
        }
        tokio::time::sleep(READ_PAUSE).await;
    }
    Err(SettleError::VoidsUnread)
}

/// What is verified against.
#[derive(Debug)]
pub struct Verifier {
    rules: Rules,
    store: Store,
    book: Book,
}

impl Verifier {
    /// By what an oracle keeps in the folder `settle` of its own. Nothing there is changed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of_folder(folder: &Path, rules: Rules) -> Result<Self, SettleError> {
        let store = Store::look(&folder.join("votes"), rules.parameters.clone())?;
        let book = Book::look(folder)?;
        Ok(Self { rules, store, book })
    }

    /// By what oracles show, which is fetched into a folder. What one of them lacks the next one is asked for.
    ///
    /// # Errors
    /// The chain does not say, or the folder cannot be used.
    pub async fn of_oracles(
        folder: &Path,
        oracles: &[Reader],
        rules: Rules,
    ) -> Result<Self, SettleError> {
        let store = Store::open(&folder.join("votes"), rules.parameters.clone())?;
        let book = Book::open(folder)?;
        let found = Self { rules, store, book };
        for number in 0..found.rules.net.look().await?.count {
            let digest = found.rules.net.posted(number, At::Latest).await?.digest;
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
        if root_digest(&proposal.root, &self.rules.parameters) != digest {
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
        let net = &self.rules.net;
        let view = net.look().await?;
        let (mut findings, mut base) = (Vec::new(), Base::default());
        if era >= view.next_era {
            return Ok(findings);
        }
        for number in 0..view.count {
            let posted = net.posted(number, At::Latest).await?;
            let digest = posted.digest;
            let Some(known) = self.book.root(&digest) else {
                let difference = Some("it is not known what it was computed from".to_owned());
                let void_since = Vec::new();
                findings.push(Finding { number, digest, eras: None, difference, void_since });
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
            let counts = |void: &Void| !proposal.voided.contains(void);
            let void_since =
                left_out(&self.rules.voids, from, to).into_iter().filter(counts).collect();
            findings.push(Finding {
                number,
                digest,
                eras: Some((from, to)),
                difference,
                void_since,
            });
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
            if let Err(error) = verify(&self.rules.parameters, set.era, set.oracle, &votes) {
                return Ok(Err(format!("a vote of {} on era {}: {error}", set.oracle, set.era)));
            }
        }
        let is_void = |void: &Void| match void.node {
            Some(_) => self.rules.voids.contains(void),
            None => left_out(&self.rules.voids, void.era, void.era).contains(void),
        };
        if let Some(void) = proposal.voided.iter().find(|void| !is_void(void)) {
            let Void { era, oracle, .. } = void;
            let node = void.node.map_or("all nodes".to_owned(), |node| format!("node {node}"));
            return Ok(Err(format!(
                "the vote of {oracle} on era {era} and {node} is left out and is not void on chain"
            )));
        }
        let terms = Terms { parameters: &self.rules.parameters, tariff: &self.rules.tariff };
        let sets = without(sets, &proposal.voided);
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
