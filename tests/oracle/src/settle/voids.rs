//! Votes that `Disputes` voided, as far as the chain will not change any more.
//!
//! Blocks that are final are read once and what they say is kept; those behind them, up to the newest that is safe, are
//! read anew where the last of them is another block than it was. While not all of them are read, nothing is known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_settlement::abi::disputes::VoteVoided;
use agent_settlement::chain::logs::{Blocks, Said};
use agent_settlement::chain::{Chain as _, ChainError, Heads};
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::net::{Net, NetError};
use super::settler::SettleError;
use crate::log::{Log, LogError};

/// Blocks that a server is asked about at once: public servers of Base answer some thousands.
const BLOCKS_MAX: u64 = 2000;

/// The fewest, where a server refuses more.
const BLOCKS_MIN: u64 = 10;

/// Ranges that are read in one look: a year of Base is 16 million blocks.
const RANGES_AT_ONCE: u32 = 32;

/// So many final blocks are read together, once all earlier ones were: a minute of Base.
const FINALS_TOGETHER: u64 = 32;

/// So many final blocks that say nothing are not noted: half a day of Base.
const NOTED_EVERY: u64 = 20_000;

/// Of an oracle with more void votes on an era none there counts, which keeps proposals short.
pub const ONE_BY_ONE_MAX: usize = 8;

/// The file that is written to.
const FILE: u64 = 0;

/// A vote that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Void {
    /// Of which era.
    pub era: u64,
    /// Whose.
    pub oracle: Address,
    /// On which node; none for all of that era.
    pub node: Option<B256>,
}

/// What is read of one contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// `Disputes`.
    pub disputes: Address,
    /// The block in which it was made, or one before.
    pub from_block: u64,
}

/// Votes that are void: each names its node.
pub type Voids = BTreeSet<Void>;

/// What is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    /// By whom it was said.
    disputes: Address,
    /// All blocks up to this one are read.
    through: u64,
    voids: Vec<Void>,
}

#[derive(Debug)]
struct Known {
    finals: Voids,
    /// The first block that is not read for good.
    next: u64,
    /// The first that is not noted.
    noted: u64,
    /// What was found since.
    fresh: Vec<Void>,
    /// Voids behind those blocks, with their blocks.
    tail: Vec<(u64, Void)>,
    /// The last block that is read, with its hash.
    end: Option<(u64, B256)>,
    /// Whether that is as far as is safe.
    is_whole: bool,
    /// Blocks that are asked about at once.
    blocks: u64,
}

/// Follows a contract.
#[derive(Debug)]
pub struct Follower {
    source: Source,
    oracles: BTreeSet<Address>,
    log: Option<Log>,
    known: Mutex<Known>,
    /// Held while the chain is read.
    gate: tokio::sync::Mutex<()>,
}

impl Known {
    fn new(next: u64) -> Self {
        Self {
            finals: Voids::new(),
            next,
            noted: next,
            fresh: Vec::new(),
            tail: Vec::new(),
            end: None,
            is_whole: false,
            blocks: BLOCKS_MAX,
        }
    }

    /// Takes what final blocks say, up to one of them.
    fn read_for_good(&mut self, to: u64, voids: impl Iterator<Item = Void>) {
        for void in voids {
            if self.finals.insert(void) {
                self.fresh.push(void);
            }
        }
        self.next = to.saturating_add(1);
        let next = self.next;
        self.tail.retain(|(block, _)| *block >= next);
        self.end = self.end.filter(|(block, _)| *block >= next);
    }

    /// Forgets what is behind the final blocks.
    fn forget_tail(&mut self) {
        self.tail.clear();
        self.end = None;
        self.is_whole = false;
    }

    fn all(&self) -> Voids {
        self.finals.iter().copied().chain(self.tail.iter().map(|(_, void)| *void)).collect()
    }
}

impl Follower {
    /// Follows a contract from where the log in a folder ends; without a folder, from its begin.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(
        folder: Option<&Path>,
        source: Source,
        oracles: BTreeSet<Address>,
    ) -> Result<Self, LogError> {
        let mut known = Known::new(source.from_block);
        let log = folder.map(Log::open).transpose()?;
        if let Some(log) = &log {
            let torn =
                log.read(FILE, |_, payload| match serde_json::from_slice::<Noted>(payload) {
                    Ok(noted) if noted.disputes == source.disputes => {
                        known.read_for_good(noted.through, noted.voids.into_iter());
                    }
                    // Of another contract, or version: it is read anew.
                    Ok(_) | Err(_) => known = Known::new(source.from_block),
                })?;
            if torn > 0 {
                log.cut(FILE, torn)?;
            }
        }
        known.noted = known.next;
        known.fresh.clear();
        Ok(Self { source, oracles, log, known: Mutex::new(known), gate: Default::default() })
    }

    /// Where it is noted what was read; none where it is not.
    pub(super) fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All votes that are void; none while not all that is safe was read.
    #[must_use]
    pub fn voids(&self) -> Option<Voids> {
        let known = self.known();
        known.is_whole.then(|| known.all())
    }

    /// Reads on; whether that is as far as is safe.
    ///
    /// # Errors
    /// The chain does not say, or what it says cannot be noted.
    pub async fn refresh(&self, net: &Net) -> Result<bool, SettleError> {
        let _one_after_the_other = self.gate.lock().await;
        let heads = net.chain().heads().await.map_err(NetError::from)?;
        let mut ranges = RANGES_AT_ONCE;
        let done = self.finals(net, heads, &mut ranges).await;
        // What was read is noted also where the rest could not be.
        self.note().await?;
        if !done? {
            self.known().is_whole = false;
            return Ok(false);
        }
        self.tail(net, heads, ranges).await
    }

    /// Reads final blocks; whether all are read that are to be.
    async fn finals(&self, net: &Net, heads: Heads, ranges: &mut u32) -> Result<bool, NetError> {
        loop {
            let (next, is_first) = {
                let known = self.known();
                (known.next, !known.is_whole)
            };
            let least = if is_first { 1 } else { FINALS_TOGETHER };
            if next.saturating_add(least) > heads.finalized.saturating_add(1) {
                return Ok(true);
            }
            let Some(left) = ranges.checked_sub(1) else { return Ok(false) };
            *ranges = left;
            let to = self.last(next, heads.finalized);
            let said = self.read(net, Blocks { from: next, to }).await?;
            self.known().read_for_good(to, said.into_iter().map(|(_, void)| void));
        }
    }

    /// Reads what is behind the final blocks and safe; whether all of it is read.
    async fn tail(&self, net: &Net, heads: Heads, mut ranges: u32) -> Result<bool, SettleError> {
        let hash = async |block| net.chain().block_hash(block).await.map_err(NetError::from);
        let end = self.known().end;
        if let Some((block, before)) = end
            && (block > heads.safe || hash(block).await? != Some(before))
        {
            warn!(block, "blocks that were safe are others now; voided votes are read anew");
            self.known().forget_tail();
        }
        loop {
            let (next, end) = {
                let known = self.known();
                (known.next, known.end)
            };
            let from = end.map_or(next, |(block, _)| block.saturating_add(1));
            // Servers that know less than was read before say nothing of it.
            if from > heads.safe.saturating_add(1) {
                self.known().is_whole = false;
                return Ok(false);
            }
            if from > heads.safe {
                self.known().is_whole = true;
                return Ok(true);
            }
            let Some(left) = ranges.checked_sub(1) else { return Ok(false) };
            ranges = left;
            let to = self.last(from, heads.safe);
            let before = hash(to).await?;
            let said = self.read(net, Blocks { from, to }).await?;
            // What is read is of one chain where its last block is the same before and after.
            let Some(end) = hash(to).await?.filter(|after| before == Some(*after)) else {
                return Ok(false);
            };
            let mut known = self.known();
            known.tail.extend(said);
            known.end = Some((to, end));
        }
    }

    /// The last block that is asked about together with one, up to another at most.
    fn last(&self, from: u64, most: u64) -> u64 {
        most.min(from.saturating_add(self.known().blocks.saturating_sub(1)))
    }

    /// What is said in some blocks, with their numbers.
    async fn read(&self, net: &Net, blocks: Blocks) -> Result<Vec<(u64, Void)>, NetError> {
        let said = net.chain().said::<VoteVoided>(self.source.disputes, blocks).await;
        let said = match said {
            Ok(said) => said,
            Err(error @ ChainError::Refused { .. }) => {
                // Many servers refuse long ranges, each with words of its own.
                let mut known = self.known();
                known.blocks = (known.blocks / 2).max(BLOCKS_MIN);
                return Err(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        let ours = |said: &Said<VoteVoided>| self.oracles.contains(&said.event.oracle);
        let void = |Said { block, event, .. }: Said<VoteVoided>| {
            let VoteVoided { oracle, nodeId, era, voteDigest, .. } = event;
            info!(%oracle, node = %nodeId, era, vote = %voteDigest, block, "a vote is void");
            (block, Void { era, oracle, node: Some(nodeId) })
        };
        Ok(said.into_iter().filter(ours).map(void).collect())
    }

    /// Writes down what is read for good.
    async fn note(&self) -> Result<(), LogError> {
        let Some(log) = &self.log else { return Ok(()) };
        let noted = {
            let known = self.known();
            let is_long = known.next.saturating_sub(known.noted) >= NOTED_EVERY;
            let Some(through) = known.next.checked_sub(1) else { return Ok(()) };
            if known.fresh.is_empty() && !is_long {
                return Ok(());
            }
            Noted { disputes: self.source.disputes, through, voids: known.fresh.clone() }
        };
        let bytes = serde_json::to_vec(&noted).unwrap_or_default();
        log.append(FILE, &bytes).await?;
        // The gate is held: nothing was found meanwhile.
        let mut known = self.known();
        known.noted = noted.through.saturating_add(1);
        known.fresh.clear();
        Ok(())
    }
}

/// What is left out of some eras: each void vote, or all of an oracle's on an era where those are many. In their order.
#[must_use]
pub fn left_out(voids: &Voids, from: u64, to: u64) -> Vec<Void> {
    let mut by_set: BTreeMap<(u64, Address), Vec<Void>> = BTreeMap::new();
    for void in voids.iter().filter(|void| (from..=to).contains(&void.era)) {
        by_set.entry((void.era, void.oracle)).or_default().push(*void);
    }
    let of = |((era, oracle), voids): ((u64, Address), Vec<Void>)| match voids.len() {
        0..=ONE_BY_ONE_MAX => voids,
        _ => vec![Void { era, oracle, node: None }],
    };
    by_set.into_iter().flat_map(of).collect()
}
