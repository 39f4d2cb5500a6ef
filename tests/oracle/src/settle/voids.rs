//! Votes that `Disputes` voided, as far as the chain will not change any more.
//!
//! Blocks that are final are read once and what they say is kept; those behind them, up to the newest that is safe, are
//! read anew where the last of them is another block than it was. While not all of them are read, nothing is known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_settlement::abi::reference::{Disputes, VoteVoided};
use agent_settlement::chain::logs::{Blocks, Question, Said};
use agent_settlement::chain::{At, Chain as _, ChainError, Heads};
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::net::{Net, NetError};
use super::settler::SettleError;
use crate::log::{Log, LogError};

/// Blocks that a server is asked about at once: public servers of Base answer some thousands.
const BLOCKS_MAX: u64 = 2000;

/// Ranges that are read in one look: a year of Base is 16 million blocks.
const RANGES_AT_ONCE: u32 = 32;

/// After so many ranges in a row that were read, longer ones are tried again: what was refused may have been too many
/// questions, not too long a range.
const LONGER_AFTER: u32 = 32;

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
    /// The first block that was not noted before: where it is not behind the record before, that is of another chain.
    from: u64,
    /// All blocks up to this one are read.
    through: u64,
    /// Its hash.
    hash: B256,
    voids: Vec<Void>,
}

#[derive(Debug)]
struct Known {
    finals: Voids,
    /// The first block that was read.
    begin: u64,
    /// The first block that is not read for good.
    next: u64,
    /// The first that is not noted.
    noted: u64,
    /// What was found since.
    fresh: Vec<Void>,
    /// The last block that is noted, while it was not looked whether the chain still has it.
    unproven: Option<(u64, B256)>,
    /// Voids behind those blocks, with their blocks.
    tail: Vec<(u64, Void)>,
    /// The last block that is read, with its hash.
    end: Option<(u64, B256)>,
    /// Whether that is as far as is safe.
    is_whole: bool,
    /// Blocks that are asked about at once, and the most that no server refused.
    blocks: u64,
    blocks_max: u64,
    /// Ranges that were read since one was refused, or since longer ones were allowed.
    read: u32,
}

/// Follows a contract.
#[derive(Debug)]
pub struct Follower {
    source: Source,
    oracles: BTreeSet<Address>,
    log: Option<Log>,
    known: Mutex<Known>,
    /// Whether the contract is known to be of our roots.
    is_ours: AtomicBool,
    /// Held while the chain is read.
    gate: tokio::sync::Mutex<()>,
}

impl Known {
    fn new(next: u64) -> Self {
        Self {
            finals: Voids::new(),
            begin: next,
            next,
            noted: next,
            fresh: Vec::new(),
            unproven: None,
            tail: Vec::new(),
            end: None,
            is_whole: false,
            blocks: BLOCKS_MAX,
            blocks_max: BLOCKS_MAX,
            read: 0,
        }
    }

    /// After a question that was answered or not: long ranges are refused by many servers, each with words of its own, and
    /// long answers are none.
    fn asked(&mut self, failed: Option<&ChainError>) {
        let half = (self.blocks / 2).max(1);
        match failed {
            None => {
                self.read = self.read.saturating_add(1);
                if self.read >= LONGER_AFTER {
                    self.read = 0;
                    self.blocks_max = self.blocks_max.saturating_mul(2).min(BLOCKS_MAX);
                }
                self.blocks = self.blocks.saturating_mul(2).min(self.blocks_max);
            }
            Some(ChainError::Refused { .. }) => {
                (self.blocks, self.blocks_max, self.read) = (half, half, 0);
            }
            Some(ChainError::NoAnswer { .. } | ChainError::Malformed { .. }) => self.blocks = half,
            Some(ChainError::Behind { .. } | ChainError::Differ { .. }) => {}
        }
    }

    /// What was noted of a contract, from the first block that is to be read on; nothing where that cannot be said.
    fn replay(records: Vec<Option<Noted>>, source: Source) -> Self {
        let mut known = Self::new(source.from_block);
        for record in records {
            match record.filter(|noted| noted.disputes == source.disputes) {
                Some(noted) => {
                    if noted.from != known.next {
                        known = Self::new(noted.from);
                    }
                    known.read_for_good(noted.through, noted.voids.into_iter());
                    known.unproven = Some((noted.through, noted.hash));
                }
                None => known = Self::new(source.from_block),
            }
        }
        if known.begin > source.from_block {
            known = Self::new(source.from_block);
        }
        known.noted = known.next;
        known.fresh.clear();
        known
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
            let mut records = Vec::new();
            let torn = log.read(FILE, |_, payload| {
                // Of another version, perhaps: then it is read anew.
                records.push(serde_json::from_slice::<Noted>(payload).ok());
            })?;
            known = Known::replay(records, source);
            if torn > 0 {
                log.cut(FILE, torn)?;
            }
        }
        let (known, is_ours) = (Mutex::new(known), AtomicBool::new(false));
        Ok(Self { source, oracles, log, known, is_ours, gate: Default::default() })
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
        self.identify(net, heads.latest.number).await?;
        if !self.prove(net).await? {
            return Ok(false);
        }
        let mut ranges = RANGES_AT_ONCE;
        let done = self.finals(net, heads, &mut ranges).await;
        // What was read is noted also where the rest could not be.
        self.note(net).await?;
        if !done? {
            self.known().is_whole = false;
            return Ok(false);
        }
        self.tail(net, heads, ranges).await
    }

    /// Looks, once, whether the contract is one of our roots: what another says voids nothing, and is never read.
    async fn identify(&self, net: &Net, block: u64) -> Result<(), SettleError> {
        if self.is_ours.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (at, contract) = (At::Number(block), self.source.disputes);
        let other = SettleError::OtherDisputes { contract, settlement: net.contract() };
        if net.chain().code(contract).await.map_err(NetError::from)?.is_empty() {
            return Err(other);
        }
        let separator = net.ask_of(contract, &Disputes::domainSeparatorCall {}, at).await;
        let roots = net.ask_of(contract, &Disputes::rootsCall {}, at).await;
        let is_ours = match (separator, roots) {
            (Ok(separator), Ok(roots)) => separator == net.separator() && roots == net.contract(),
            (Err(error), _) | (_, Err(error)) => match error {
                NetError::OtherAbi { .. } => false,
                NetError::Chain(error) if error.revert().is_some() => false,
                error @ NetError::Chain(_) => return Err(error.into()),
            },
        };
        if !is_ours {
            return Err(other);
        }
        self.is_ours.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Looks whether the chain still has the last block that is noted, and forgets all where it has another one there;
    /// whether the chain has come so far.
    async fn prove(&self, net: &Net) -> Result<bool, NetError> {
        let Some((block, before)) = self.known().unproven else { return Ok(true) };
        let Some(hash) = net.chain().block_hash(block).await? else { return Ok(false) };
        let mut known = self.known();
        if hash == before {
            known.unproven = None;
        } else {
            warn!(block, "the chain is another than before; voided votes are read anew");
            *known = Known::new(self.source.from_block);
        }
        Ok(true)
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
            && hash(block).await? != Some(before)
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
            // What was read behind a safe block that stepped back is still there: the last of it is the same.
            let is_read = end.is_some_and(|(block, _)| block >= heads.safe);
            // Servers that know less than was read before say nothing of it.
            if !is_read && from > heads.safe.saturating_add(1) {
                self.known().is_whole = false;
                return Ok(false);
            }
            if is_read || from > heads.safe {
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
        let first: Vec<B256> = self.oracles.iter().map(Address::into_word).collect();
        let question = Question { of: self.source.disputes, first: &first, blocks };
        let said = net.chain().said::<VoteVoided>(question).await;
        self.known().asked(said.as_ref().err());
        let said = said?;
        let ours = |said: &Said<VoteVoided>| self.oracles.contains(&said.event.oracle);
        let void = |Said { block, event, .. }: Said<VoteVoided>| {
            let VoteVoided { oracle, nodeId, era, voteDigest, .. } = event;
            info!(%oracle, node = %nodeId, era, vote = %voteDigest, block, "a vote is void");
            (block, Void { era, oracle, node: Some(nodeId) })
        };
        Ok(said.into_iter().filter(ours).map(void).collect())
    }

    /// Writes down what is read for good.
    async fn note(&self, net: &Net) -> Result<(), SettleError> {
        let Some(log) = &self.log else { return Ok(()) };
        let (from, through, voids) = {
            let known = self.known();
            let is_long = known.next.saturating_sub(known.noted) >= NOTED_EVERY;
            let Some(through) = known.next.checked_sub(1) else { return Ok(()) };
            if known.fresh.is_empty() && !is_long {
                return Ok(());
            }
            (known.noted, through, known.fresh.clone())
        };
        // It is noted at a later look where it cannot be said which block that is.
        let hash = net.chain().block_hash(through).await.map_err(NetError::from)?;
        let Some(hash) = hash else { return Ok(()) };
        let noted = Noted { disputes: self.source.disputes, from, through, hash, voids };
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { disputes: Address::repeat_byte(1), from_block: 10 };

    fn void(era: u64, oracle: u8, node: u8) -> Void {
        let node = Some(B256::repeat_byte(node));
        Void { era, oracle: Address::repeat_byte(oracle), node }
    }

    fn noted(from: u64, through: u64, era: u64) -> Option<Noted> {
        let (disputes, hash, voids) =
            (SOURCE.disputes, B256::repeat_byte(2), vec![void(era, 1, 1)]);
        Some(Noted { disputes, from, through, hash, voids })
    }

    #[test]
    fn notes_go_on_from_each_other_and_others_begin_anew() {
        let replay = |records: Vec<_>, source| {
            let known = Known::replay(records, source);
            let eras: Vec<u64> = known.finals.iter().map(|void| void.era).collect();
            (known.next, known.noted, eras, known.fresh.len())
        };
        let both = || vec![noted(10, 20, 5), noted(21, 30, 6)];
        assert_eq!(replay(both(), SOURCE), (31, 31, vec![5, 6], 0));
        assert_eq!(replay(vec![], SOURCE), (10, 10, vec![], 0));
        let again = both().into_iter().chain([noted(10, 35, 7)]).collect();
        assert_eq!(replay(again, SOURCE), (36, 36, vec![7], 0), "another chain was read since");
        let torn = vec![noted(10, 20, 5), None];
        assert_eq!(replay(torn, SOURCE), (10, 10, vec![], 0));
        let late = Source { from_block: 25, ..SOURCE };
        assert_eq!(replay(both(), late), (31, 31, vec![5, 6], 0), "more is known than is wanted");
        let early = Source { from_block: 9, ..SOURCE };
        assert_eq!(replay(both(), early), (9, 9, vec![], 0), "less is known than is wanted");
        let other = Source { disputes: Address::repeat_byte(9), ..SOURCE };
        assert_eq!(replay(both(), other), (10, 10, vec![], 0));
    }

    #[test]
    fn each_void_vote_is_left_out_and_all_of_an_oracle_where_they_are_many() {
        let few = (0..8).map(|node| void(5, 1, node));
        let many = (0..9).map(|node| void(5, 2, node));
        let voids: Voids = few.chain(many).chain([void(4, 1, 1), void(7, 1, 1)]).collect();
        let found = left_out(&voids, 5, 6);
        assert_eq!(found.len(), 9);
        assert!(found.is_sorted());
        assert!((0..8).all(|node| found.contains(&void(5, 1, node))));
        assert_eq!(found[8], Void { node: None, ..void(5, 2, 0) });
        assert_eq!(left_out(&voids, 7, 7), [void(7, 1, 1)]);
    }

    #[test]
    fn ranges_are_halved_where_they_are_refused_and_grow_again_where_they_only_failed() {
        let server = || "a".to_owned();
        let (method, message) = ("eth_getLogs", "too many".to_owned());
        let refused =
            ChainError::Refused { server: server(), method, code: -1, message, data: None };
        let silent = ChainError::NoAnswer { server: server(), method, reason: "slow".to_owned() };
        let behind = ChainError::Behind { server: server(), what: "the newest block" };
        let mut known = Known::new(0);
        known.asked(None);
        assert_eq!(known.blocks, BLOCKS_MAX);
        known.asked(Some(&behind));
        assert_eq!(known.blocks, BLOCKS_MAX, "a shorter range is no help");
        known.asked(Some(&silent));
        assert_eq!(known.blocks, BLOCKS_MAX / 2);
        known.asked(None);
        assert_eq!(known.blocks, BLOCKS_MAX);
        known.asked(Some(&refused));
        known.asked(None);
        assert_eq!(known.blocks, BLOCKS_MAX / 2, "it would be refused again");
        (0..20).for_each(|_| known.asked(Some(&refused)));
        assert_eq!(known.blocks, 1);
        (0..LONGER_AFTER * 11).for_each(|_| known.asked(None));
        assert_eq!(known.blocks, BLOCKS_MAX.next_power_of_two().min(BLOCKS_MAX), "not for ever");
    }

    #[test]
    fn what_became_final_is_no_tail_any_more() {
        let mut known = Known::new(0);
        known.tail = vec![(5, void(1, 1, 1)), (6, void(2, 1, 1))];
        known.end = Some((6, B256::ZERO));
        known.is_whole = true;
        known.read_for_good(5, [void(1, 1, 1)].into_iter());
        assert_eq!((known.tail.len(), known.next, known.end), (1, 6, Some((6, B256::ZERO))));
        assert_eq!(known.all().len(), 2);
        known.forget_tail();
        assert_eq!((known.all(), known.is_whole), ([void(1, 1, 1)].into(), false));
        known.end = Some((6, B256::ZERO));
        known.read_for_good(6, [].into_iter());
        assert_eq!(known.end, None);
    }
}
