use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::signed::Signed;
use zeroize::Zeroizing;

use super::super::tariff::example;
use super::*;

const NODES: [B256; 3] = [B256::repeat_byte(1), B256::repeat_byte(2), B256::repeat_byte(3)];

fn keys() -> Vec<SigningKey> {
    let key = |byte| SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key");
    let mut keys: Vec<SigningKey> = (1..=4).map(key).collect();
    keys.sort_by_key(SigningKey::address);
    keys
}

fn parameters() -> Parameters {
    Parameters {
        chain: 31_337,
        contract: Address::repeat_byte(0xc0),
        genesis: 1000,
        era_seconds: 60,
        samples: 4,
        oracles: keys().iter().map(SigningKey::address).collect(),
    }
}

/// What an oracle says of each node: checks passed of ten; none for no vote.
fn set(key: &SigningKey, era: u64, passed: &[Option<u32>]) -> Set {
    let parameters = parameters();
    let vote = |(node, passed): (&B256, &Option<u32>)| {
        let message = SlaVote {
            oracleId: key.address(),
            nodeId: *node,
            era,
            issued: 10,
            passed: (*passed)?,
            medianLatencyUs: 5,
            medianBytesPerSecond: 6,
            provenBytes: 1 << 40,
            receiptsRoot: B256::ZERO,
            configDigest: parameters.digest(),
        };
        let signed = Signed::new(message, &parameters.domain(), key).expect("signed");
        Some((*node, signed))
    };
    let votes = Arc::new(NODES.iter().zip(passed).filter_map(vote).collect());
    Set { era: Era(era), oracle: key.address(), votes }
}

fn all(era: u64, passed: &[Option<u32>]) -> Vec<Set> {
    keys().iter().map(|key| set(key, era, passed)).collect()
}

fn computed(base: &Base, to: u64, sets: &[Set]) -> Computed {
    compute(Terms { parameters: &parameters(), tariff: &example() }, base, to, sets)
}

#[test]
fn amounts_count_from_the_beginning_and_totals_are_of_the_range() {
    let first = computed(&Base::default(), 0, &all(0, &[Some(10), Some(0), None]));
    // 1000 for the era and 100 for a TiB.
    assert_eq!(first.root.totalReward, U256::from(1100));
    assert_eq!(first.root.totalPenalty, U256::from(70));
    assert_eq!(first.ledger.len(), 2, "who was never voted on has no leaf");
    let base = Base { previous: B256::repeat_byte(9), from: 1, ledger: first.ledger };
    let sets = [all(1, &[Some(10), None, None]), all(2, &[Some(10), None, Some(10)])].concat();
    let second = computed(&base, 2, &sets);
    assert_eq!(second.root.previous, base.previous);
    assert_eq!(second.root.totalReward, U256::from(3300));
    let found = |node: B256| second.ledger.get(&node).map(|found| (found.reward, found.penalty));
    assert_eq!(found(NODES[0]), Some((U256::from(3300), U256::ZERO)));
    assert_eq!(found(NODES[1]), Some((U256::ZERO, U256::from(70))));
    assert_eq!(second.ledger.get(&NODES[1]).map(|found| found.votes_hash), Some(keccak256([])));
    assert_eq!(second.root.root, tree(&second.ledger, 2).root());
}

#[test]
fn votes_of_fewer_than_a_quorum_pay_nothing_and_make_no_leaf() {
    let sets = &all(0, &[Some(10), Some(10), Some(0)])[..2];
    let found = computed(&Base::default(), 0, sets);
    assert_eq!((found.ledger.len(), found.root.root), (0, B256::ZERO));
    assert_eq!((found.root.totalReward, found.root.totalPenalty), (U256::ZERO, U256::ZERO));
    assert_ne!(found.root.votesRoot, B256::ZERO, "they are named all the same");
}

#[test]
fn every_vote_and_amount_shows_in_the_root() {
    let sets = all(0, &[Some(10), Some(9), Some(10)]);
    let honest = computed(&Base::default(), 0, &sets).root;
    let again = computed(&Base::default(), 0, &sets).root;
    assert_eq!(difference(&honest, &again), None);
    let mut fewer = sets.clone();
    fewer.pop();
    let found = difference(&honest, &computed(&Base::default(), 0, &fewer).root);
    assert!(found.is_some_and(|words| words.starts_with("votesRoot")));
    let mut other = sets;
    other[0] = set(&keys()[0], 0, &[Some(9), Some(9), Some(10)]);
    assert_ne!(computed(&Base::default(), 0, &other).root.votesRoot, honest.votesRoot);
    let more = Amounts { reward: U256::from(1), ..Amounts::default() };
    let base = Base { ledger: [(NODES[0], more)].into(), ..Base::default() };
    let richer = computed(&base, 0, &other).root;
    let found = difference(&computed(&Base::default(), 0, &other).root, &richer);
    assert!(found.is_some_and(|words| words.starts_with("root")));
}

#[test]
fn the_votes_hash_is_in_the_order_of_era_then_oracle() {
    let sets = [all(0, &[Some(10)]), all(1, &[Some(9)])].concat();
    let domain = parameters().domain();
    let digests: Vec<B256> =
        sets.iter().filter_map(|set| Some(set.votes.get(&NODES[0])?.digest(&domain))).collect();
    let found = computed(&Base::default(), 1, &sets);
    assert_eq!(digests.len(), 8);
    assert_eq!(found.ledger[&NODES[0]].votes_hash, keccak256(digests.concat()));
}
