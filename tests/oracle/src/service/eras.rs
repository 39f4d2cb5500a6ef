//! The end of an era: votes, and what is kept of them.

use std::sync::{Arc, PoisonError};

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::{ANSWER_MAX, Refusal};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{Signed, SlaVote};
use tracing::{info, warn};

use super::{Oracle, OracleError, Vote, busy};
use crate::log::{Log, LogError};
use crate::record::{Check, Record};
use crate::reports::Heads;
use crate::tally::{Book, Phase};

/// Eras whose records are kept: 90 days of eras of an hour, longer than disputes.
pub(super) const ERAS_KEPT: u64 = 90 * 24;

/// Bytes of votes in one answer; some bytes are left for commas.
pub const VOTES_BYTES_MAX: usize = ANSWER_MAX - 4096;

/// The votes of an era as JSON texts, in the order of their nodes.
pub type Votes = Arc<Vec<(B256, String)>>;

impl Oracle {
    /// Casts the votes of every era that is over, and whose grace is.
    ///
    /// # Errors
    /// They cannot be signed or written.
    pub async fn close_eras(&self) -> Result<(), OracleError> {
        let now = self.now_ms();
        let over = |era: &Era| {
            let end = self.config.parameters.begin_ms(Era(era.0.saturating_add(1)));
            now >= end.saturating_add(self.grace_ms())
        };
        let waiting: Vec<Era> = {
            let state = self.state();
            let open = state.books.iter().filter(|(_, book)| book.phase != Phase::Closed);
            open.map(|(era, _)| *era).filter(over).collect()
        };
        for era in waiting {
            self.close(era).await?;
        }
        Ok(())
    }

    /// Whether its votes on an era that is over are cast, so that no other will be; of an era of which it knows nothing
    /// there are none.
    #[must_use]
    pub fn has_cast(&self, era: Era) -> bool {
        self.state().books.get(&era).is_none_or(|book| book.phase == Phase::Closed)
    }

    async fn close(&self, era: Era) -> Result<(), OracleError> {
        let unsigned: Vec<SlaVote> = {
            let mut state = self.state();
            let Some(book) = state.books.get_mut(&era) else { return Ok(()) };
            book.phase = Phase::Voting;
            missing(book, self.address(), era, self.digest)
        };
        let (parameters, key) = (self.config.parameters.clone(), self.config.identity.key.clone());
        let signing = tokio::task::spawn_blocking(move || {
            let domain = parameters.domain();
            let signed = unsigned.into_iter().map(|vote| Signed::new(vote, &domain, &key));
            signed.collect::<Result<Vec<Vote>, _>>()
        });
        let votes = signing.await??;
        for vote in votes {
            let record = Record::Vote { vote };
            self.eras.note(era.0, &record.to_bytes()).await?;
            self.state().apply(era, record);
        }
        let count = {
            let state = self.state();
            let nodes = state.books.get(&era).map(|book| book.nodes.values());
            nodes.map_or(0, |nodes| nodes.filter(|tally| tally.vote.is_some()).count())
        };
        let votes = u32::try_from(count).unwrap_or(u32::MAX);
        self.eras.append(era.0, &Record::Closed { votes }.to_bytes()).await?;
        self.state().closed(era);
        info!(%era, votes, "the votes of an era are cast");
        Ok(())
    }

    /// Takes what the oracle found as a tenant.
    ///
    /// # Errors
    /// The era is closed, or nothing can be written.
    pub async fn checked(&self, era: Era, node: B256, check: Check) -> Result<(), Refusal> {
        let record = Record::Check { node, check };
        // Of one that is lost in a power cut nobody was told.
        self.record(era, |_| Ok::<_, Refusal>(record)).await.map(drop)
    }

    /// The votes of an era whose nodes come behind `after`, as one JSON list, as many as an answer may
    /// have; an empty list where the era is not closed, unknown, or no node is left.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn votes(self: &Arc<Self>, era: Era, after: Option<B256>) -> Result<String, Refusal> {
        let votes = self.votes_of(era).await?;
        let behind = votes.partition_point(|(node, _)| after.is_some_and(|after| *node <= after));
        let mut text = String::from("[");
        for (_, vote) in votes.iter().skip(behind) {
            if text.len() + vote.len() > VOTES_BYTES_MAX {
                break;
            }
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(vote);
        }
        text.push(']');
        Ok(text)
    }

    async fn votes_of(self: &Arc<Self>, era: Era) -> Result<Votes, Refusal> {
        let known = || {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.as_ref().filter(|(of, _)| *of == era).map(|(_, votes)| Arc::clone(votes))
        };
        if let Some(votes) = known() {
            return Ok(votes);
        }
        // One file at a time: anybody may ask.
        let _reading = self.reading.acquire().await.map_err(|_| busy())?;
        if let Some(votes) = known() {
            return Ok(votes);
        }
        let oracle = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || on_record(&oracle.eras, era));
        let found = reading.await.map_err(|_| busy())?.map_err(|error| {
            warn!(%error, %era, "votes cannot be read");
            busy()
        })?;
        let Some(votes) = found else { return Ok(Votes::default()) };
        let votes = Arc::new(votes);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked = Some((era, Arc::clone(&votes)));
        Ok(votes)
    }

    /// Writes what the last reports are, and removes what is too old.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn tidy(&self) -> Result<(), OracleError> {
        let heads: Heads = {
            let state = self.state();
            let with = state.nodes().filter_map(|(daemon, node)| {
                Some((*daemon, (node.id, node.delivery.head.clone()?)))
            });
            with.collect()
        };
        let now = self.now_ms();
        self.reports.keep_heads(heads, now)?;
        self.reports.prune(now)?;
        let oldest = self.config.parameters.era_at(now).map_or(0, |Era(now)| now);
        for era in self.eras.files()? {
            if era.saturating_add(ERAS_KEPT) < oldest {
                self.eras.remove(era)?;
            }
        }
        Ok(())
    }
}

/// The votes that are not on record yet. They come from records alone, so after a restart they come to
/// the same, signature and all (RFC 6979).
fn missing(
    book: &Book,
    oracle: agent_sla::protocol::Address,
    era: Era,
    config: B256,
) -> Vec<SlaVote> {
    let without = book.nodes.iter().filter(|(_, tally)| tally.vote.is_none());
    without.filter_map(|(node, tally)| tally.vote(oracle, *node, era, config)).collect()
}

/// The votes of an era on record; none if it is not closed.
fn on_record(eras: &Log, era: Era) -> Result<Option<Vec<(B256, String)>>, LogError> {
    let (mut votes, mut is_closed) = (Vec::new(), false);
    eras.read(era.0, |_, payload| match Record::from_bytes(payload) {
        Ok(Record::Vote { vote }) => {
            votes.extend(serde_json::to_string(&vote).ok().map(|text| (vote.message.nodeId, text)));
        }
        Ok(Record::Closed { .. }) => is_closed = true,
        _ => {}
    })?;
    votes.sort_unstable();
    Ok(is_closed.then_some(votes))
}
