//! Four oracles over TLS, the contracts on a local chain, and what comes of their votes.

mod away;
mod member;
mod network;
mod states;
mod voids;

use std::process::Command;

use agent_settlement::abi::reference::{NodeRegistry, SlaSettlement};
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::{DaemonBinding, RootState, Settled};
use agent_sla::protocol::signed::{Signed, SlaVote};
use agent_sla::protocol::{Address, B256, U256};
use alloy::primitives::keccak256;
use alloy::sol_types::SolValue;
use reference_oracle::client::Party;
use reference_oracle::settle::compute::{Base, Terms, compute};
use reference_oracle::settle::settler::SettleError;
use reference_oracle::settle::votes::Store;
use reference_oracle::settle::wire::{Asked, Objection, Proposal, Reply, RootProposal};
use reference_oracle::settle::{Admits, SettleConfig, root_digest};

use crate::bench::{key, refusal};
use member::{Circle, LOOKS, ORACLES, PAUSE, tariff};

/// Length of an era: the shortest that the contracts have.
const ERA_SECONDS: u32 = 20;

/// The first era with votes: so far from the chain's begin that no clock has to go back.
const FIRST: u64 = 10;

/// The next one: so much later that no clock has to go back either.
const SECOND: u64 = 15;

const GOOD: B256 = B256::repeat_byte(0x0a);
const DOWN: B256 = B256::repeat_byte(0x0d);

fn in_tree(settled: &Settled) -> bool {
    settled.leaf.is_in(settled.root.root, &settled.proof)
}

/// What the program says of an era, and whether it is content.
fn verify(circle: &Circle, index: usize, era: u64, how: &[&str]) -> (bool, String) {
    let member = &circle.members[index];
    let done = Command::new(env!("CARGO_BIN_EXE_reference-oracle"))
        .args(["verify", "--era", &era.to_string(), "--parameters"])
        .arg(member.parameters())
        .arg("--settlement")
        .arg(member.config())
        .args(how)
        .output()
        .expect("it runs");
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(text).expect("text"))
}

/// A proposal of an oracle, signed by it.
fn asked(circle: &Circle, leader: usize, proposal: Proposal, sign: bool) -> Asked {
    let parameters = &circle.network.parameters;
    let message = RootProposal {
        root: root_digest(&proposal.root, parameters),
        sets: proposal.sets_digest(),
        tariff: circle.settler(leader).tariff(),
        sign,
    };
    let mut keys = (0x31..).take(ORACLES).map(key);
    let key = keys.find(|key| key.address() == circle.members[leader].address).expect("its key");
    let by = Signed::new(message, &parameters.domain(), &key).expect("signed");
    Asked { proposal, by, evidence: Vec::new() }
}

async fn all() -> Circle {
    let mut circle = Circle::new().await;
    (0..ORACLES).for_each(|index| circle.start(index));
    circle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_posted_by_a_quorum_and_anyone_can_prove_and_recompute_it() {
    let circle = all().await;
    circle.era(FIRST, &[(GOOD, 10), (DOWN, 0)]).await;
    circle.until(1).await;
    let posted = circle.network.read(&SlaSettlement::rootAtCall { id: U256::ZERO }).await;
    let parameters = &circle.network.parameters;
    for member in &circle.members {
        let reader = member.reader();
        let settled = reader.settled(GOOD).await.expect("an answer").expect("a leaf");
        assert!(in_tree(&settled));
        assert_eq!((settled.number, settled.root.root), (0, posted.root));
        assert_eq!(root_digest(&settled.root, parameters), posted.digest);
        assert_eq!(settled.leaf.cumulativeReward, U256::from(1000));
        let verdict = &settled.eras[0];
        assert_eq!((verdict.era, verdict.votes, verdict.reward), (Era(FIRST), 4, U256::from(1000)));
        let median = verdict.median.expect("a quorum");
        assert_eq!((median.issued, median.passed), (10, 10));
        let down = reader.settled(DOWN).await.expect("an answer").expect("a leaf");
        assert_eq!(down.leaf.cumulativePenalty, U256::from(70));
        assert_eq!(reader.settled(B256::repeat_byte(9)).await.expect("an answer"), None);
        let roots = reader.roots(None).await.expect("roots");
        assert_eq!((roots.len(), roots[0].state, roots[0].number), (1, RootState::Posted, Some(0)));
        assert_eq!(reader.roots(Some(Era(0))).await.expect("roots"), []);
    }
    let leader = &circle.members[circle.leader(FIRST + 1, 6)];
    let known = circle.posted_by(circle.leader(FIRST + 1, 6)).await;
    assert!(known.signatures.len() >= 3, "{known:?}");
    assert!(known.signatures.is_sorted_by_key(|signed| signed.oracle));
    // Another root on top: amounts go on from the first.
    circle.era(SECOND, &[(GOOD, 10), (DOWN, 10)]).await;
    circle.until(2).await;
    let settled = leader.reader().settled(DOWN).await.expect("an answer").expect("a leaf");
    let leaf = (settled.leaf.cumulativeReward, settled.leaf.cumulativePenalty);
    assert_eq!((settled.number, leaf), (1, (U256::from(1000), U256::from(70))));
    assert_eq!(settled.root.totalReward, U256::from(2000));
    assert_eq!(settled.root.previous, posted.digest);
    circle.moment(SECOND + 6, 0).await;
    circle.look().await;
    let roots = leader.reader().roots(None).await.expect("roots");
    assert_eq!(roots.iter().map(|root| root.state).collect::<Vec<_>>(), [RootState::Final; 2]);

    let data = leader.folder.join("data");
    let folder = data.to_str().expect("text");
    let index = circle.leader(FIRST + 1, 6);
    let (equal, words) = verify(&circle, index, SECOND, &["--data", folder]);
    assert!(equal && words.matches(": equal").count() == 2, "{words}");
    let (equal, words) = verify(&circle, index, SECOND, &["--oracle", &circle.members[3].place()]);
    assert!(equal && words.matches(": equal").count() == 2, "{words}");
    let (equal, words) = verify(&circle, index, SECOND + 1, &["--data", folder]);
    assert!(!equal && words.contains("no root on chain has era 16"), "{words}");

    // Another amount for the same votes is found, and in which leaf.
    let config = std::fs::read_to_string(leader.config()).expect("text");
    std::fs::write(leader.config(), config.replace(&tariff(1000), &tariff(1001))).expect("written");
    let (equal, words) = verify(&circle, index, FIRST, &["--data", folder]);
    assert!(!equal && words.contains(&format!("node {GOOD}: reward 1001")), "{words}");
    std::fs::write(leader.config(), config).expect("written");
    // So is a vote that is not what the oracle signed.
    let oracle = circle.members[2].address;
    let path = data.join("settle/votes");
    let kept = Store::open(&path, parameters.clone()).expect("votes");
    let mut vote = kept.set(Era(SECOND), &oracle).expect("read").expect("votes")[&GOOD].clone();
    drop(kept);
    std::fs::remove_file(path.join(format!("{:020}.log", SECOND))).expect("removed");
    vote.message.passed = 9;
    let kept = Store::open(&path, parameters.clone()).expect("votes");
    let forged = kept.merge(Era(SECOND), oracle, vec![vote.clone()]).await;
    assert!(forged.is_err(), "it is not signed");
    let bytes = serde_json::to_vec(&vote).expect("JSON");
    kept.log().append(SECOND, &bytes).await.expect("written all the same");
    let (equal, words) = verify(&circle, index, SECOND, &["--data", folder]);
    assert!(!equal && words.contains("not those that it was computed from"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_oracle_down_three_sign_and_later_it_catches_up() {
    let mut circle = Circle::new().await;
    let down = (circle.leader(FIRST + 1, 16) + 1) % ORACLES;
    (0..ORACLES).filter(|index| *index != down).for_each(|index| circle.start(index));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    for _ in 0..3 {
        circle.look().await;
    }
    assert_eq!(circle.count().await, 0, "its votes are waited for");
    circle.moment(FIRST + 1, 16).await;
    circle.until(1).await;
    let leader = circle.members[circle.leader(FIRST + 1, 16)].reader();
    let settled = leader.settled(GOOD).await.expect("an answer").expect("a leaf");
    assert_eq!((settled.eras[0].votes, settled.leaf.cumulativeReward), (3, U256::from(1000)));
    let known = &leader.roots(None).await.expect("roots")[0];
    let away = circle.members[down].address;
    assert!(known.signatures.len() == 3 && known.signatures.iter().all(|by| by.oracle != away));

    circle.start(down);
    circle.era(SECOND, &[(GOOD, 10)]).await;
    circle.until(2).await;
    let late = circle.members[down].reader();
    let settled = late.settled(GOOD).await.expect("an answer").expect("a leaf");
    assert_eq!((settled.number, settled.leaf.cumulativeReward), (1, U256::from(2000)));
    assert_eq!(settled.eras[0].votes, 4);
    assert!(in_tree(&settled));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_leader_is_down_the_next_one_takes_over() {
    let mut circle = Circle::new().await;
    let leader = circle.leader(FIRST + 1, 16);
    (0..ORACLES).filter(|index| *index != leader).for_each(|index| circle.start(index));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    // Due, and still the first one's turn: a quarter of an era each.
    circle.moment(FIRST + 1, 16).await;
    for _ in 0..3 {
        circle.look().await;
    }
    assert_eq!(circle.count().await, 0);
    circle.moment(FIRST + 2, 1).await;
    circle.until(1).await;
    let known = circle.posted_by((leader + 1) % ORACLES).await;
    assert_eq!(known.signatures.len(), 3, "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_that_voted_twice_is_left_out_with_its_two_votes_as_evidence() {
    let mut circle = Circle::new().await;
    let leader = circle.leader(FIRST + 1, 6);
    let (liar, witness) = ((leader + 1) % ORACLES, (leader + 2) % ORACLES);
    let parameters = circle.network.parameters.clone();
    let bytes = (0x31..).take(ORACLES);
    let liar_key =
        bytes.map(key).find(|key| key.address() == circle.members[liar].address).expect("its key");
    // One of the others has seen another vote of it on the same node and era.
    let message = SlaVote {
        oracleId: liar_key.address(),
        nodeId: GOOD,
        era: FIRST,
        issued: 1,
        passed: 0,
        medianLatencyUs: 0,
        medianBytesPerSecond: 0,
        provenBytes: 0,
        receiptsRoot: B256::ZERO,
        configDigest: parameters.digest(),
    };
    let other = Signed::new(message, &parameters.domain(), &liar_key).expect("signed");
    (0..ORACLES).for_each(|index| circle.start(index));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    // The witness keeps both: first what it fetches, then what it was shown.
    let settler = circle.settler(witness);
    settler.go_on(circle.oracle(witness)).await.expect("it looks");
    settler.witness(other).await.expect("it is kept");
    circle.until(1).await;
    let settled = circle.members[leader].reader().settled(GOOD).await.expect("an answer");
    let settled = settled.expect("a leaf");
    assert_eq!(settled.eras[0].votes, 3, "the liar's is none");
    assert_eq!(settled.leaf.cumulativeReward, U256::from(1000));
    let (equal, words) =
        verify(&circle, leader, FIRST, &["--oracle", &circle.members[witness].place()]);
    assert!(equal, "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_between_signing_and_posting_it_goes_on_with_the_same_root() {
    let mut circle = all().await;
    let leader = circle.leader(FIRST + 1, 6);
    circle.network.ask("evm_setAutomine", serde_json::json!([false])).await;
    circle.era(FIRST, &[(GOOD, 10)]).await;
    for _ in 0..3 {
        circle.look().await;
    }
    let signed = circle.members[leader].reader().roots(None).await.expect("roots");
    assert_eq!((signed.len(), signed[0].state), (1, RootState::Signing));
    assert!(signed[0].signatures.len() >= 3, "{signed:?}");
    // Nobody who signed it signs another of the same eras, whoever proposes that and whatever it leaves out.
    let mut others = (0..ORACLES).filter(|index| *index != leader);
    let has_signed = |index: &usize| {
        let address = circle.members[*index].address;
        signed[0].signatures.iter().any(|by| by.oracle == address)
    };
    let follower = others.find(has_signed).expect("one that signed it");
    let parameters = circle.network.parameters.clone();
    let digest = root_digest(&signed[0].root, &parameters);
    let mut other = circle.settler(leader).proposal(&digest).expect("it is known");
    other.sets.pop();
    other.root.votesRoot = B256::ZERO;
    let asked = asked(&circle, leader, other, true);
    let reply = circle.settler(follower).propose(asked.clone()).await.expect("an answer");
    match reply {
        Reply::Objects { objection: Objection::AlreadySigned { proposal, .. } } => {
            assert_eq!(root_digest(&proposal.root, &parameters), digest);
        }
        reply => panic!("{reply:?}"),
    }
    let mut forged = asked;
    forged.proposal.root.totalReward += U256::from(1);
    let refused = circle.settler(follower).propose(forged).await;
    assert!(matches!(refused, Err(Refusal::BadSignature { .. })), "{refused:?}");
    circle.stop(leader);
    assert_eq!(circle.count().await, 0);
    circle.network.ask("evm_setAutomine", serde_json::json!([true])).await;
    circle.start(leader);
    circle.until(1).await;
    let posted = circle.network.read(&SlaSettlement::rootAtCall { id: U256::ZERO }).await;
    assert_eq!(posted.digest, root_digest(&signed[0].root, &circle.network.parameters));
    let known = circle.members[leader].reader().roots(None).await.expect("roots");
    assert_eq!(
        (known.len(), known[0].state, &known[0].root),
        (1, RootState::Posted, &signed[0].root)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_without_votes_is_not_agreed_to_while_votes_may_come() {
    let circle = all().await;
    let leader = circle.leader(FIRST + 1, 6);
    let (follower, parameters) = ((leader + 1) % ORACLES, circle.network.parameters.clone());
    let member = &circle.members[leader];
    let settle = SettleConfig::read(&member.config(), &parameters, Some(member.address));
    let tariff = settle.expect("a configuration").tariff;
    let reply = async |to| {
        let terms = Terms { parameters: &parameters, tariff: &tariff };
        let root = compute(terms, &Base::default(), to, &[]).root;
        let asked =
            asked(&circle, leader, Proposal { root, sets: Vec::new(), voided: Vec::new() }, false);
        circle.settler(follower).propose(asked).await.expect("an answer")
    };
    let look = async || {
        let looked = circle.settler(follower).go_on(circle.oracle(follower)).await;
        looked.expect("it looks");
    };
    let not_yet = Reply::Objects { objection: Objection::NotYet };
    circle.moment(FIRST, 6).await;
    look().await;
    assert_eq!(reply(FIRST - 1).await, not_yet, "the others' votes are waited for");
    circle.moment(FIRST, 16).await;
    assert_eq!(reply(FIRST - 1).await, Reply::Agreed, "there are none");
    circle.era(SECOND, &[(GOOD, 10)]).await;
    circle.moment(SECOND + 1, 16).await;
    assert_eq!(reply(SECOND).await, not_yet, "its own votes are not kept yet");
    look().await;
    let lacks = reply(SECOND).await;
    assert!(matches!(lacks, Reply::Objects { objection: Objection::Lacks { .. } }), "{lacks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_do_not_wait_for_the_registry() {
    let mut circle = Circle::new().await;
    // Nothing is there that could answer.
    circle.network.registry = Address::repeat_byte(9);
    (0..ORACLES).for_each(|index| circle.start(index));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    for _ in 0..LOOKS {
        for index in circle.up() {
            let settler = circle.settler(index);
            assert_eq!(settler.admits(&Address::repeat_byte(1)), Admits::NotYet);
            let looked = settler.go_on(circle.oracle(index)).await;
            assert!(matches!(looked, Err(SettleError::Net(_))), "{looked:?}");
        }
        if circle.count().await == 1 {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("there is no root");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_by_another_tariff_signs_nothing_and_is_named() {
    let mut circle = Circle::new().await;
    let other = (circle.leader(FIRST + 1, 6) + 1) % ORACLES;
    circle.members[other].tariff = tariff(2000);
    (0..ORACLES).for_each(|index| circle.start(index));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    circle.until(1).await;
    let known =
        &circle.members[circle.leader(FIRST + 1, 6)].reader().roots(None).await.expect("roots")[0];
    let away = circle.members[other].address;
    assert!(known.signatures.len() == 3 && known.signatures.iter().all(|by| by.oracle != away));
    assert_eq!(known.root.totalReward, U256::from(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_the_registry_knows_is_admitted_and_the_hp_can_fetch_its_binding() {
    let mut circle = Circle::new().await;
    circle.start(0);
    circle.moment(FIRST, 0).await;
    let (network, parameters) = (&circle.network, circle.network.parameters.clone());
    let (target, reader) = (circle.members[0].target(&parameters), circle.members[0].reader());
    let label = B256::repeat_byte(0x1a);
    let hp = network.as_hp(&NodeRegistry::registerCall { label }).await;
    let node = keccak256((hp, label).abi_encode());
    let party = Party::new(key(0x51), node, B256::repeat_byte(1)).expect("a party");
    let daemon = party.key.address();
    let message = DaemonBinding {
        nodeId: node,
        hpAccount: hp,
        daemonAddress: daemon,
        attestationKeyHash: B256::ZERO,
        hardwareReportHash: B256::ZERO,
        deadline: U256::from(u64::MAX),
    };
    let binding = Signed::new(message, &parameters.domain(), &party.key).expect("signed");
    let open = async |now| {
        let mut session = party.session(&target, now, None).expect("signed");
        session.binding = Some(binding.clone());
        let mut connection = party.connect(&target, None).await.expect("a connection");
        connection.session(&session).await
    };
    assert_eq!(reader.binding(daemon, &parameters).await.expect("an answer"), None);
    // It is asked about; the registry knows no such key yet.
    assert!(matches!(refusal(open(circle.now_ms()).await), Refusal::Busy { .. }));
    circle.look().await;
    let turned = refusal(open(circle.now_ms()).await);
    assert_eq!(turned, Refusal::NotAdmitted { daemon });
    // The HP has what it needs all the same, and binds it: in effect in the next era but one.
    let found = reader.binding(daemon, &parameters).await.expect("an answer").expect("a binding");
    let signature = found.signature.0.to_vec().into();
    network
        .as_hp(&NodeRegistry::bindCall { binding: found.message, daemonSignature: signature })
        .await;
    circle.moment(FIRST + 2, 1).await;
    assert!(matches!(refusal(open(circle.now_ms()).await), Refusal::Busy { .. }));
    circle.look().await;
    open(circle.now_ms()).await.expect("a session");
    // Another node's name is not its own.
    let other = Party::new(key(0x51), label, B256::repeat_byte(2)).expect("a party");
    let session = other.session(&target, circle.now_ms(), None).expect("signed");
    let mut connection = other.connect(&target, None).await.expect("a connection");
    let refused = refusal(connection.session(&session).await);
    assert!(matches!(refused, Refusal::Malformed { .. }), "{refused}");
}
