//! Following the chain and the peers: which roots stand, what they consist of, and who voted what.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use agent_settlement::chain::At;
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::{EraRoot, Leaf};
use agent_sla::protocol::{Address, B256};
use agent_sla::{CallError, ReadError, Reader};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::compute::{Amounts, Base, Ledger, tree, without};
use super::net::View;
use super::root_digest;
use super::settler::{SettleError, Settler, Stood, Tip};
use super::states::wire::{AskedChanges, ChangeReply};
use super::wire::{Asked, Proposal, Reply};
use crate::service::{Oracle, Vote};
use crate::setup::ADMITTED_MAX;

/// Eras whose votes are fetched in one look.
const ERAS_AT_ONCE: u64 = 16;

/// Roots whose numbers are looked up in one look: as many as may wait on chain.
const BACK_MAX: u64 = 256;

/// Roots that are asked about in one look whether they are final.
const FINALS_AT_ONCE: u32 = 8;

/// How often in a row a peer that is busy is waited for, and how long at most: it takes one request a second from who has
/// asked for much.
const BUSY_MAX: u32 = 10;
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// So many looks lie between two requests for votes that do not come, at most: a minute.
const LOOKS_MAX: u32 = 30;

/// So many sets of votes that do not come are remembered: of 32 oracles in one root's eras.
const TRIES_MAX: usize = 6000;

/// How long all pages from one peer may take together: 100,000 votes are 70 MB.
const PAGES_WITHIN: Duration = Duration::from_secs(300);

/// Asks a peer; where it is busy, again when it says so.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ReadError>>,
{
    for _ in 0..BUSY_MAX {
        match ask().await {
            Err(ReadError::Call(CallError::Refused {
                refusal: Refusal::Busy { retry_after_ms },
                ..
            })) => sleep(Duration::from_millis(retry_after_ms).min(BUSY_WAIT)).await,
            answered => return answered,
        }
    }
    ask().await
}

async fn get<T: DeserializeOwned>(peer: &Reader, path: &str) -> Result<T, ReadError> {
    patiently(|| peer.get(path.to_owned())).await
}

/// Asks a peer what becomes of a proposal.
pub(super) async fn propose(peer: &Reader, asked: &Asked) -> Result<Reply, ReadError> {
    patiently(|| peer.post("/v1/roots/propose".to_owned(), asked)).await
}

/// Asks a peer for its signatures of changes of state.
pub(super) async fn propose_changes(
    peer: &Reader,
    asked: &AskedChanges,
) -> Result<Vec<ChangeReply>, ReadError> {
    patiently(|| peer.post("/v1/states/propose".to_owned(), asked)).await
}

/// All votes of a list that has pages, each by `path` from behind a node on.
async fn pages(peer: &Reader, path: String) -> Result<Vec<Vote>, ReadError> {
    let mut votes: Vec<Vote> = Vec::new();
    let reading = async {
        loop {
            let after = votes.last().map(|vote| vote.message.nodeId);
            let behind = after.map_or_else(String::new, |node| format!("&after={node}"));
            let page: Vec<Vote> = get(peer, &format!("{path}{behind}")).await?;
            // A page that goes back would never end.
            let goes_on = page
                .first()
                .is_some_and(|vote| after.is_none_or(|node| node < vote.message.nodeId));
            if !goes_on || votes.len().saturating_add(page.len()) > ADMITTED_MAX {
                return Ok(());
            }
            votes.extend(page);
        }
    };
    match tokio::time::timeout(PAGES_WITHIN, reading).await {
        Ok(Err(error)) => Err(error),
        // Whole or not: what is missing is seen by who has more.
        Ok(Ok(())) | Err(_) => Ok(votes),
    }
}

/// The votes of an oracle that a peer keeps.
pub(super) async fn kept(peer: &Reader, era: u64, oracle: Address) -> Result<Vec<Vote>, ReadError> {
    pages(peer, format!("/v1/kept?era={era}&oracle={oracle}")).await
}

/// The ledger of a root as a peer has it, compared with nothing.
pub(super) async fn leaves(peer: &Reader, digest: &B256) -> Result<Ledger, ReadError> {
    let mut ledger = Ledger::new();
    loop {
        let last = ledger.last_key_value().map(|(node, _)| *node);
        let behind = last.map_or_else(String::new, |node| format!("&after={node}"));
        let page: Vec<Leaf> = get(peer, &format!("/v1/leaves?root={digest}{behind}")).await?;
        let goes_on = page.first().is_some_and(|leaf| last.is_none_or(|node| node < leaf.nodeId));
        if !goes_on || ledger.len().saturating_add(page.len()) > ADMITTED_MAX {
            return Ok(ledger);
        }
        for leaf in page {
            let (reward, penalty) = (leaf.cumulativeReward, leaf.cumulativePenalty);
            let amounts = Amounts { reward, penalty, votes_hash: leaf.votesHash };
            ledger.insert(leaf.nodeId, amounts);
        }
    }
}

impl Settler {
    /// Looks how far roots are on chain, and gets what it does not know of them from peers.
    ///
    /// # Errors
    /// It is not known.
    pub(super) async fn look(&self) -> Result<(), SettleError> {
        let view = self.net.look().await?;
        let known = self.tip();
        let mut finals = known.as_ref().map_or(0, |tip| tip.finals.min(view.count));
        for _ in 0..FINALS_AT_ONCE {
            if finals >= view.count || !self.net.is_final(finals).await? {
                break;
            }
            finals += 1;
        }
        let tip = match known {
            Some(tip)
                if tip.view.previous() == view.previous() && tip.view.next_era == view.next_era =>
            {
                Tip { view, finals, ..tip }
            }
            _ => self.reach(view, finals).await?,
        };
        if let Some(poster) = &self.poster {
            poster.reached(tip.view.next_era);
        }
        if let (Some(poster), Some(stood)) = (&self.poster, &tip.stood) {
            let digest = tip.view.previous();
            if let Some(transaction) = poster.transaction(&digest) {
                self.book.sent(digest, stood.proposal.root.fromEra, transaction).await?;
            }
        }
        self.set_tip(tip);
        Ok(())
    }

    /// Where the chain stands now that it moved.
    async fn reach(&self, view: View, finals: u64) -> Result<Tip, SettleError> {
        let (previous, from) = (view.previous(), view.next_era);
        let Some(number) = view.count.checked_sub(1) else {
            let base = Arc::new(Base { previous, from, ledger: Ledger::new() });
            return Ok(Tip { view, finals, base, stood: None });
        };
        let proposal = self.consists_of(number, previous).await?;
        let ledger = self.ledger_of(number, previous, &proposal.root).await?;
        self.book.stands(previous, proposal.root.fromEra, number).await?;
        self.backfill(number).await?;
        let (to, copy) = (proposal.root.toEra, Arc::clone(&ledger));
        let tree = tokio::task::spawn_blocking(move || tree(&copy, to)).await?;
        info!(number, root = %previous, to, "a root stands on chain");
        // Who was not there when it was made has its leaves, and perhaps not the votes.
        let sets = self.store.named(&proposal.sets)?.unwrap_or_default();
        let sets = without(sets, &proposal.voided);
        let nodes = ledger.keys().copied().collect();
        let base = Arc::new(Base { previous, from, ledger: (*ledger).clone() });
        let stood = Arc::new(Stood { number, proposal, ledger, nodes, tree, sets });
        Ok(Tip { view, finals, base, stood: Some(stood) })
    }

    /// What a root consists of: as remembered, or as a peer says whose words have its digest.
    async fn consists_of(&self, number: u64, digest: B256) -> Result<Proposal, SettleError> {
        if let Some(root) = self.book.root(&digest) {
            return Ok(root.proposal);
        }
        for (peer, reader) in &self.config.peers {
            let path = format!("/v1/roots/{digest}");
            match get::<Proposal>(reader, &path).await {
                Ok(found) if root_digest(&found.root, &self.parameters) == digest => {
                    self.book.learn(digest, found.clone()).await?;
                    return Ok(found);
                }
                Ok(_) => warn!(%peer, number, "a peer says of a root what is not it"),
                Err(error) => debug!(%peer, %error, "a peer does not say what a root consists of"),
            }
        }
        Err(SettleError::Unknown { number, digest })
    }

    /// The ledger of a root that stands: as remembered, or from a peer; compared with the root in each case.
    async fn ledger_of(
        &self,
        number: u64,
        digest: B256,
        root: &EraRoot,
    ) -> Result<Arc<Ledger>, SettleError> {
        if let Some(ledger) = self.book.ledger(&digest, root)? {
            return Ok(ledger);
        }
        for (peer, reader) in &self.config.peers {
            match leaves(reader, &digest).await {
                Ok(ledger) if tree(&ledger, root.toEra).root() == root.root => {
                    self.book.keep_ledger(&digest, &ledger)?;
                    return Ok(Arc::new(ledger));
                }
                Ok(_) => warn!(%peer, number, "the leaves of a peer are not those of the root"),
                Err(error) => debug!(%peer, %error, "a peer does not give the leaves of a root"),
            }
        }
        Err(SettleError::Unknown { number, digest })
    }

    /// Notes the numbers of roots that came to stand, one behind the other, while this oracle was not looking.
    async fn backfill(&self, newest: u64) -> Result<(), SettleError> {
        for number in (newest.saturating_sub(BACK_MAX)..newest).rev() {
            let digest = self.net.posted(number, At::Latest).await?.digest;
            if self.book.standing(number) == Some(digest) {
                return Ok(());
            }
            // Of one that no peer knows any more nothing is shown; the newest is what counts.
            let Ok(proposal) = self.consists_of(number, digest).await else { return Ok(()) };
            self.book.stands(digest, proposal.root.fromEra, number).await?;
        }
        Ok(())
    }

    /// Whether votes that were not there are to be asked for again: each time after twice as many looks, as some never
    /// come, and peers answer so many requests only.
    fn is_turn(&self, era: u64, of: Address) -> bool {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let (looks, wait) = tries.entry((era, of)).or_default();
        if *looks > 0 {
            *looks -= 1;
            return false;
        }
        *wait = wait.saturating_mul(2).clamp(1, LOOKS_MAX);
        *looks = *wait - 1;
        while tries.len() > TRIES_MAX {
            tries.pop_first();
        }
        true
    }

    /// Keeps our own votes on eras whose votes are cast, once each; those before `first` are settled.
    async fn keep_own(
        &self,
        oracle: &Arc<Oracle>,
        first: u64,
        eras: &[u64],
    ) -> Result<(), SettleError> {
        let kept = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        kept().retain(|era| *era >= first);
        let missing: Vec<u64> = eras.iter().copied().filter(|era| !kept().contains(era)).collect();
        for era in missing.into_iter().take(usize::try_from(ERAS_AT_ONCE).unwrap_or(0)) {
            // One that somebody else showed may be there already, and others not.
            if let Some(votes) = own(oracle, Era(era)).await {
                self.store.merge(Era(era), self.address(), votes).await?;
                kept().insert(era);
            }
        }
        Ok(())
    }

    /// Fetches votes that are cast and not there: our own from our log, the others' from them.
    ///
    /// # Errors
    /// Votes cannot be kept.
    pub(super) async fn fetch(
        &self,
        oracle: &Arc<Oracle>,
        from: Option<u64>,
    ) -> Result<(), SettleError> {
        let now = self.clock.now_ms();
        let Some(Era(now_era)) = self.parameters.era_at(now) else { return Ok(()) };
        // Without a chain nobody knows where the next root begins; the last eras are safe to have.
        let least = now_era.saturating_sub(ERAS_AT_ONCE);
        let first = from.unwrap_or(least);
        let cast = |era: &u64| now >= self.config.pace.cast_ms(&self.parameters, *era);
        let eras: Vec<u64> = (first..now_era)
            .take(usize::try_from(agent_sla::protocol::settled::RANGE_ERAS_MAX).unwrap_or(0))
            .filter(cast)
            .collect();
        self.keep_own(oracle, first, &eras).await?;
        let others = || self.parameters.oracles.iter().filter(|of| **of != self.address());
        let missing: Vec<(u64, Address)> = eras
            .into_iter()
            .flat_map(|era| others().map(move |oracle| (era, *oracle)))
            .filter(|(era, of)| {
                let set = self.store.set(Era(*era), of).ok().flatten();
                set.is_none_or(|votes| votes.is_empty())
            })
            .filter(|(era, of)| self.is_turn(*era, *of))
            .collect();
        let mut reading = JoinSet::new();
        let mut by_peer: BTreeMap<Address, Vec<u64>> = BTreeMap::new();
        for (era, of) in missing {
            by_peer.entry(of).or_default().push(era);
        }
        for (of, mut eras) in by_peer {
            // The newest ones too: the others may never come.
            let many = eras.len().saturating_sub(usize::try_from(ERAS_AT_ONCE).unwrap_or(0));
            eras.drain(..many);
            if let Some(peer) = self.config.peers.get(&of).cloned() {
                reading.spawn(async move {
                    let mut found = Vec::new();
                    for era in eras {
                        match pages(&peer, format!("/v1/votes?era={era}")).await {
                            Ok(votes) => found.push((era, votes)),
                            // Who is away is away for all of them.
                            Err(error) => {
                                debug!(peer = %of, %error, "votes cannot be fetched");
                                break;
                            }
                        }
                    }
                    (of, found)
                });
            }
        }
        while let Some(done) = reading.join_next().await {
            let (of, found) = done?;
            for (era, votes) in found {
                match self.store.merge(Era(era), of, votes).await {
                    Ok(0) => {}
                    Ok(count) => info!(oracle = %of, era, count, "votes of a peer are kept"),
                    Err(super::votes::VotesError::Log(error)) => return Err(error.into()),
                    Err(error) => warn!(oracle = %of, era, %error, "votes of a peer are not taken"),
                }
            }
        }
        Ok(())
    }
}

/// All of our own votes on an era that is over; none while they are not cast, or cannot be read now.
async fn own(oracle: &Arc<Oracle>, era: Era) -> Option<Vec<Vote>> {
    if !oracle.has_cast(era) {
        return None;
    }
    let mut votes: Vec<Vote> = Vec::new();
    loop {
        let after = votes.last().map(|vote| vote.message.nodeId);
        let text = oracle.votes(era, after).await.ok()?;
        let page: Vec<Vote> = serde_json::from_str(&text).ok()?;
        if page.is_empty() {
            return Some(votes);
        }
        votes.extend(page);
    }
}
