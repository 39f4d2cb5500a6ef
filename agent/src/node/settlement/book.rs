//! What oracles showed of the node's place in roots, after it was compared with the chain.

use agent_settlement::abi::messages::Leaf;
use agent_settlement::backend::roots::{PostedRoot, Roots};
use agent_sla::protocol::B256;
use agent_sla::protocol::settled::Settled;
use alloy::primitives::U256;
use alloy::sol_types::{Eip712Domain, SolStruct as _};
use serde::{Deserialize, Serialize};

/// Most roots that wait for their window (`SlaSettlement`, `PENDING_MAX`), and the newest final one.
const ROOTS_MAX: usize = 257;

/// Most eras with a penalty that are remembered.
const PENALTIES_MAX: usize = agent_api::settlement::PENALTIES_MAX;

/// Most claims that are remembered: the one under way and a few before it.
const CLAIMS_MAX: usize = 8;

/// What is known of roots with this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    /// What the node was called when this was written.
    pub(super) node: Option<B256>,
    /// In the order of their numbers.
    pub(super) roots: Vec<Place>,
    /// Eras that cost something, the newest first.
    pub(super) penalties: Vec<Penalty>,
    /// Claims that were handed to the engine, the newest last.
    pub(super) claims: Vec<Claimed>,
}

/// The node's place in a root on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The root's number on chain.
    pub(super) number: u64,
    /// Its EIP-712 digest.
    pub(super) digest: B256,
    /// The root.
    pub(super) root: B256,
    /// When it was posted, in seconds since 1970.
    pub(super) posted_at: u64,
    /// The node's leaf, in its form on the wire.
    leaf: Leaf,
    /// Its way to the root.
    pub(super) proof: Vec<B256>,
    /// The oracle that showed it.
    pub(super) oracle: String,
}

/// An era that cost something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Penalty {
    pub(super) era: u64,
    pub(super) issued: u32,
    pub(super) passed: u32,
    pub(super) amount: U256,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claimed {
    /// The engine's name for it.
    pub(super) digest: B256,
    /// The root's number.
    pub(super) root: u64,
    /// All that the node has been paid once it is done.
    pub(super) reward: U256,
    /// When it was handed over, in seconds since 1970.
    pub(super) at: u64,
    /// The transaction that was signed last.
    pub(super) transaction: Option<B256>,
    /// Whether it is final.
    pub(super) is_final: bool,
}

/// Why what an oracle says is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untrue {
    /// There is no such root.
    #[error(
        "it shows root {0}, which is not on chain: it is wrong, or the RPC servers are behind it"
    )]
    NoRoot(u64),
    /// It is another root.
    #[error(
        "its root {number} is {shown}, and {found} is on chain: it is wrong, or the root was just replaced"
    )]
    OtherRoot {
        /// The number.
        number: u64,
        /// By the oracle.
        shown: B256,
        /// By the chain.
        found: B256,
    },
    /// The leaf is of other eras.
    #[error("its leaf goes up to era {leaf}, and root {number} up to era {root}")]
    OtherEra {
        /// The number.
        number: u64,
        /// By the leaf.
        leaf: u64,
        /// By the root.
        root: u64,
    },
    /// The leaf is not in it.
    #[error("its leaf is not in root {0}")]
    NotInRoot(u64),
}

impl Place {
    /// The node's leaf.
    pub(super) fn leaf(&self) -> Leaf {
        self.leaf.clone()
    }

    /// The last era in it.
    pub(super) fn to_era(&self) -> u64 {
        self.leaf.toEra
    }

    /// All that was earned up to it.
    pub(super) fn reward(&self) -> U256 {
        self.leaf.cumulativeReward
    }

    /// All that was forfeited up to it.
    pub(super) fn penalty(&self) -> U256 {
        self.leaf.cumulativePenalty
    }
}

/// Compares what an oracle shows with the root of that number on chain, none where there is none.
///
/// # Errors
/// It is not so.
pub(super) fn verify(
    oracle: &str,
    settled: &Settled,
    posted: Option<&PostedRoot>,
    domain: &Eip712Domain,
) -> Result<Place, Untrue> {
    let number = settled.number;
    let posted = posted.filter(|posted| posted.id == number).ok_or(Untrue::NoRoot(number))?;
    let shown = settled.root.eip712_signing_hash(domain);
    if shown != posted.digest || settled.root.root != posted.root {
        return Err(Untrue::OtherRoot { number, shown, found: posted.digest });
    }
    let (leaf, root) = (settled.leaf.toEra, settled.root.toEra);
    if leaf != root {
        return Err(Untrue::OtherEra { number, leaf, root });
    }
    let place = Place {
        number,
        digest: posted.digest,
        root: posted.root,
        posted_at: posted.posted_at,
        leaf: settled.leaf.clone(),
        proof: settled.proof.clone(),
        oracle: oracle.to_owned(),
    };
    match place.leaf().is_in(posted.root, &place.proof) {
        true => Ok(place),
        false => Err(Untrue::NotInRoot(number)),
    }
}

impl Book {
    /// Begins anew where the node was called otherwise before; the name it had.
    pub(super) fn rename(&mut self, node: B256) -> Option<B256> {
        let before = self.node.replace(node).filter(|before| *before != node);
        if before.is_some() {
            *self = Self { node: Some(node), ..Self::default() };
        }
        before
    }

    /// Whether a root on chain is known.
    pub(super) fn knows(&self, posted: &PostedRoot) -> bool {
        self.roots.iter().any(|place| (place.number, place.digest) == (posted.id, posted.digest))
    }

    /// Takes a place that was verified, with the eras behind it.
    pub(super) fn take(&mut self, place: Place, settled: &Settled) {
        self.roots.retain(|known| known.number != place.number);
        self.roots.push(place);
        self.roots.sort_by_key(|place| place.number);
        for era in settled.eras.iter().filter(|era| era.penalty > U256::ZERO) {
            let (issued, passed) =
                era.median.map_or((0, 0), |median| (median.issued, median.passed));
            let era = Penalty { era: era.era.0, issued, passed, amount: era.penalty };
            self.penalties.retain(|known| known.era != era.era);
            self.penalties.push(era);
        }
        self.penalties.sort_by_key(|penalty| std::cmp::Reverse(penalty.era));
        self.penalties.truncate(PENALTIES_MAX);
    }

    /// Drops what is not on chain any more and what newer final roots have too; says whether anything went.
    pub(super) fn tidy(&mut self, roots: &Roots) -> bool {
        let before = self.roots.len();
        self.roots.retain(|place| place.number < roots.count);
        let newest = self.roots.iter().rev().find(|place| place.number < roots.finals);
        if let Some(newest) = newest.map(|place| place.number) {
            self.roots.retain(|place| place.number >= newest);
        }
        let more = self.roots.len().saturating_sub(ROOTS_MAX);
        self.roots.drain(..more);
        before != self.roots.len()
    }

    /// The newest final root with the node.
    pub(super) fn newest_final(&self, roots: &Roots) -> Option<&Place> {
        self.roots.iter().rev().find(|place| place.number < roots.finals)
    }

    /// Notes that a claim was handed over.
    pub(super) fn claimed(&mut self, claim: Claimed) {
        self.claims.retain(|known| known.digest != claim.digest);
        self.claims.push(claim);
        let more = self.claims.len().saturating_sub(CLAIMS_MAX);
        self.claims.drain(..more);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use agent_settlement::abi::messages::domain;
    use agent_sla::protocol::Address;
    use agent_sla::protocol::parameters::Era;
    use agent_sla::protocol::settled::{EraRoot, Median, Verdict};

    use super::*;

    pub(crate) fn domain_of_tests() -> Eip712Domain {
        domain(31_337, Address::repeat_byte(0xc0))
    }

    /// What an honest oracle shows of a root with one node, and the root on chain.
    pub(crate) fn settled(number: u64, reward: u64) -> (Settled, PostedRoot) {
        let leaf = Leaf {
            nodeId: B256::repeat_byte(1),
            toEra: number * 2 + 1,
            cumulativeReward: U256::from(reward),
            cumulativePenalty: U256::ZERO,
            votesHash: B256::repeat_byte(5),
        };
        let root = EraRoot {
            fromEra: number * 2,
            toEra: leaf.toEra,
            previous: B256::ZERO,
            root: leaf.hash(),
            votesRoot: B256::ZERO,
            totalReward: U256::from(reward),
            totalPenalty: U256::ZERO,
            configDigest: B256::repeat_byte(6),
        };
        let digest = root.eip712_signing_hash(&domain_of_tests());
        let posted = PostedRoot { id: number, root: root.root, digest, posted_at: 1000 + number };
        let eras = Vec::new();
        (Settled { number, root, leaf, proof: Vec::new(), eras }, posted)
    }

    pub(crate) fn place(number: u64, reward: u64) -> Place {
        let (settled, posted) = settled(number, reward);
        verify("one", &settled, Some(&posted), &domain_of_tests()).expect("it is so")
    }

    #[test]
    fn whatever_an_oracle_changes_is_found() {
        let (honest, posted) = settled(3, 500);
        let domain = domain_of_tests();
        let place = verify("one", &honest, Some(&posted), &domain).expect("it is so");
        assert_eq!((place.reward(), place.to_era(), place.posted_at), (U256::from(500), 7, 1003));
        let lie = |change: &dyn Fn(&mut Settled), posted: Option<&PostedRoot>| {
            let mut lie = honest.clone();
            change(&mut lie);
            verify("one", &lie, posted, &domain).expect_err("a lie")
        };
        let some = Some(&posted);
        assert_eq!(lie(&|_| (), None), Untrue::NoRoot(3));
        assert_eq!(lie(&|lie| lie.number = 4, some), Untrue::NoRoot(4));
        let more = |lie: &mut Settled| lie.leaf.cumulativeReward = U256::from(501);
        assert_eq!(lie(&more, some), Untrue::NotInRoot(3));
        assert_eq!(lie(&|lie| lie.proof.push(B256::ZERO), some), Untrue::NotInRoot(3));
        assert!(matches!(lie(&|lie| lie.leaf.toEra = 8, some), Untrue::OtherEra { .. }));
        let whole = |lie: &mut Settled| {
            lie.leaf.cumulativeReward = U256::from(501);
            lie.root.root = lie.leaf.hash();
        };
        assert!(matches!(lie(&whole, some), Untrue::OtherRoot { number: 3, .. }));
    }

    #[test]
    fn roots_that_vanished_go_and_so_do_those_that_a_newer_final_one_covers() {
        let mut book = Book { roots: (0..5).map(|n| place(n, n)).collect(), ..Book::default() };
        let roots = |count, finals| Roots { count, finals, window_s: 60 };
        assert!(!book.tidy(&roots(5, 0)));
        assert!(book.tidy(&roots(4, 2)));
        let numbers: Vec<_> = book.roots.iter().map(|place| place.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(book.newest_final(&roots(4, 3)).map(|place| place.number), Some(2));
    }

    #[test]
    fn eras_that_cost_something_are_kept_with_their_evidence_and_once() {
        let (mut settled, posted) = settled(1, 5);
        let median =
            Median { issued: 9, passed: 4, latency_us: 0, bytes_per_second: 0, proven_bytes: 0 };
        let verdict = |era: u64, penalty: u64| Verdict {
            era: Era(era),
            votes: 3,
            median: Some(median),
            reward: U256::ZERO,
            penalty: U256::from(penalty),
        };
        settled.eras = vec![verdict(2, 0), verdict(3, 70)];
        let mut book = Book::default();
        for _ in 0..2 {
            let place = verify("one", &settled, Some(&posted), &domain_of_tests()).expect("so");
            book.take(place, &settled);
        }
        let kept = Penalty { era: 3, issued: 9, passed: 4, amount: U256::from(70) };
        assert_eq!((book.penalties, book.roots.len()), (vec![kept], 1));
    }

    #[test]
    fn under_another_name_nothing_of_the_former_counts() {
        let mut book = Book { roots: vec![place(1, 5)], ..Book::default() };
        let (first, second) = (B256::repeat_byte(1), B256::repeat_byte(2));
        assert_eq!(book.rename(first), None);
        assert_eq!((book.rename(first), book.roots.len()), (None, 1));
        assert_eq!((book.rename(second), book.roots.len()), (Some(first), 0));
    }
}
