//! What is read of contracts, and what is prepared for them.

use agent_settlement::abi::icn_v5::{Booking, IcnV5, ScalerNode, ScalerNodePlain, Version};
use agent_settlement::abi::messages::{Leaf, domain};
use agent_settlement::abi::reference::{
    DaemonBinding, EraManager, Node, NodeRegistry, OracleRegistry, Posted, RewardClaims,
    SlaSettlement, errors, post_errors, state_errors,
};
use agent_settlement::backend::icn_v5::{BATCH_MAX, Icn};
use agent_settlement::backend::reference::{Network, Reference};
use agent_settlement::backend::roots::PostedRoot;
use agent_settlement::backend::{
    ClaimOf, Settlement, SettlementError, SignedBinding, Standing, Step, Unsigned, icn_v5,
};
use agent_settlement::chain::rpc::Rpc;
use alloy::primitives::{Address, B256, Bytes, U256, hex};
use alloy::sol_types::{SolCall, SolStruct, SolType, SolValue};
use serde_json::{Value, json};

use crate::canned::Canned;

const HP: Address = Address::repeat_byte(0x48);
const PROTOCOL: Address = Address::repeat_byte(0x1c);

fn node_id(number: u64) -> B256 {
    B256::from(U256::from(number))
}

fn icn(canned: &Canned, version: Version) -> Icn<Rpc> {
    let network = icn_v5::Network { chain: 8453, hp: HP, protocol: PROTOCOL, version };
    Icn::new(network, canned.rpc())
}

fn plain() -> ScalerNodePlain {
    let number = U256::from;
    ScalerNodePlain {
        status: 2,
        creationDate: number(1_700_000_000),
        name: "a node with a name of 30 bytes".to_owned(),
        totalCapacity: U256::from(1_u64 << 40),
        utilizedCapacity: U256::from(1_u64 << 39),
        hpId: number(12),
        location: 82,
        clusterId: "eu-1".to_owned(),
        reservationPrice: number(5),
        bookingPrice: number(0),
        nodeRewardShare: number(50),
        hwClass: "storage".to_owned(),
        daemonAddress: Address::repeat_byte(0xda),
        collateralAmount: number(1000),
        commitmentDuration: number(36),
        commitmentStart: number(7),
        spIdUnused: Address::ZERO,
        activationEra: number(9),
        startBookingPeriod: number(0),
        bookingPeriod: number(0),
        spId: number(3),
    }
}

fn full() -> ScalerNode {
    let p = plain();
    let booking = |price: u64| Booking {
        bookingPrice: U256::from(price),
        startBookingPeriod: U256::from(1),
        bookingPeriod: U256::from(2),
    };
    ScalerNode {
        status: p.status,
        creationDate: p.creationDate,
        name: p.name,
        totalCapacity: p.totalCapacity,
        utilizedCapacity: p.utilizedCapacity,
        hpId: p.hpId,
        location: p.location,
        clusterId: p.clusterId,
        reservationPrice: p.reservationPrice,
        bookingPrice: p.bookingPrice,
        nodeRewardShare: p.nodeRewardShare,
        hwClass: p.hwClass,
        daemonAddress: p.daemonAddress,
        collateralAmount: p.collateralAmount,
        commitmentDuration: p.commitmentDuration,
        commitmentStart: p.commitmentStart,
        spIdUnused: p.spIdUnused,
        activationEra: p.activationEra,
        startBookingPeriod: p.startBookingPeriod,
        bookingPeriod: p.bookingPeriod,
        bookings: [booking(11), booking(22)],
        spId: p.spId,
    }
}

#[tokio::test]
async fn icn_nodes_are_read_by_their_version_and_by_no_other() {
    let canned = Canned::start().await;
    let call = |id: u64| IcnV5::getScalerNodeCall { scalerNodeId: U256::from(id) }.abi_encode();
    canned.answers(PROTOCOL, call(1), full().abi_encode());
    canned.answers(PROTOCOL, call(2), plain().abi_encode());
    let (with, without) = (icn(&canned, Version::V5_0_3), icn(&canned, Version::V5_0_3Plain));
    assert_eq!(with.node(node_id(1)).await.expect("a node"), full());
    let found = without.node(node_id(2)).await.expect("a node");
    assert_eq!((found.spId, found.name.as_str()), (U256::from(3), plain().name.as_str()));
    for crossed in [with.node(node_id(2)).await, without.node(node_id(1)).await] {
        let error = crossed.expect_err("another version");
        assert!(matches!(error, SettlementError::OtherAbi { .. }), "{error}");
    }
    let missing = with.node(node_id(3)).await.expect_err("there is none");
    assert!(matches!(missing, SettlementError::Chain(_)), "{missing}");
}

#[tokio::test]
async fn icn_status_and_rewards_are_read_and_nothing_is_sent() {
    let canned = Canned::start().await;
    let id = U256::from(7);
    let node = IcnV5::getScalerNodeCall { scalerNodeId: id }.abi_encode();
    canned.answers(PROTOCOL, node, full().abi_encode());
    let status = IcnV5::getProtocolScalerNodeStatusCall { scalerNodeId: id }.abi_encode();
    let unclaimed = IcnV5::unclaimedHpRewardsCall { scalerNodeId: id }.abi_encode();
    let pair = (U256::from(500), U256::from(40)).abi_encode_params();
    canned.answers(PROTOCOL, unclaimed, pair);
    let delay = IcnV5::getHpRewardClaimDelayCall {}.abi_encode();
    canned.answers(PROTOCOL, delay, U256::from(86_400).abi_encode());
    let icn = icn(&canned, Version::V5_0_3);
    let cases = [(2, Standing::Healthy), (3, Standing::Booked), (4, Standing::Offboarded)];
    for (number, standing) in cases {
        canned.answers(PROTOCOL, status.clone(), U256::from(number).abi_encode());
        let found = icn.status(node_id(7)).await.expect("a status");
        assert_eq!((found.standing, found.daemon), (standing, Some(Address::repeat_byte(0xda))));
    }
    canned.answers(PROTOCOL, status, U256::from(9).abi_encode());
    let unknown = icn.status(node_id(7)).await.expect_err("no status");
    assert!(matches!(unknown, SettlementError::OtherAbi { .. }), "{unknown}");
    let rewards = icn.rewards(node_id(7)).await.expect("rewards");
    assert_eq!(
        (rewards.claimable, rewards.of_delegators),
        (Some(U256::from(500)), Some(U256::from(40)))
    );
    assert_eq!((rewards.delay_s, rewards.paid), (Some(86_400), None));
    assert!(canned.asked().iter().all(|method| method == "eth_call"));
}

fn by_hp(step: Result<Step, SettlementError>) -> Unsigned {
    match step {
        Ok(Step::Hp(unsigned)) => unsigned,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn icn_claims_are_prepared_for_the_hp_as_json_and_links() {
    let canned = Canned::start().await;
    let icn = icn(&canned, Version::V5_0_3);
    let one = by_hp(icn.claim(&ClaimOf::Nodes(vec![node_id(5)])));
    // Selector: the first four bytes of Keccak-256 of the signature, and the number.
    let data = [&IcnV5::initiateHpRewardsClaimCall::SELECTOR[..], &node_id(5)[..]].concat();
    let expected = json!({
        "version": 1,
        "chainId": "0x2105",
        "from": HP,
        "to": PROTOCOL,
        "value": "0x0",
        "data": hex::encode_prefixed(data),
        "description": "begins to claim the rewards of 1 node(s)",
        "links": [format!("ethereum:{PROTOCOL}@8453/initiateHpRewardsClaim?uint256=5")],
    });
    assert_eq!(serde_json::to_value(one.form()).expect("JSON"), expected);

    let nodes: Vec<_> = (0..BATCH_MAX as u64).map(node_id).collect();
    let many = by_hp(icn.claim(&ClaimOf::Nodes(nodes.clone())));
    let decoded = IcnV5::batchInitiateHpRewardsClaimCall::abi_decode(&many.data).expect("a batch");
    assert_eq!((decoded.scalerNodeIds.len(), many.links().len()), (300, 300));
    let over = [nodes, vec![node_id(300)]].concat();
    for wrong in [over, vec![]] {
        let found = wrong.len();
        let error = icn.claim(&ClaimOf::Nodes(wrong)).expect_err("too many or none");
        assert_eq!(error, SettlementError::Nodes { found, max: 300 });
    }

    let pay = by_hp(icn.claim(&ClaimOf::Begun(U256::from(9))));
    assert_eq!(pay.links(), [format!("ethereum:{PROTOCOL}@8453/claimHpRewards?uint256=9")]);
    assert!(matches!(icn.exit(node_id(1)), Err(SettlementError::Unsupported { .. })));
    assert!(matches!(icn.register(node_id(1)), Err(SettlementError::Unsupported { .. })));
    assert_eq!(canned.asked(), Vec::<String>::new(), "nothing is asked or sent for it");

    let network = icn_v5::Network {
        chain: 1,
        hp: Address::ZERO,
        protocol: PROTOCOL,
        version: Version::V5_0_3,
    };
    let nobody = Icn::new(network, canned.rpc());
    assert_eq!(nobody.claim(&ClaimOf::Nodes(vec![node_id(5)])), Err(SettlementError::NoHp));
}

fn network() -> Network {
    Network {
        chain: 31_337,
        hp: HP,
        registry: Address::repeat_byte(1),
        eras: Address::repeat_byte(2),
        settlement: Address::repeat_byte(3),
        claims: Address::repeat_byte(4),
    }
}

#[tokio::test]
async fn the_newest_final_of_720_roots_is_found_in_a_dozen_questions() {
    let canned = Canned::start().await;
    let (network, count) = (network(), 720_u64);
    let count_call = SlaSettlement::rootCountCall {}.abi_encode();
    let reference = Reference::new(network, canned.rpc());
    canned.answers(network.settlement, count_call.clone(), U256::ZERO.abi_encode());
    assert_eq!(reference.newest_final().await, Ok(None));
    canned.answers(network.settlement, count_call, U256::from(count).abi_encode());
    for last in [None, Some(0), Some(551), Some(719)] {
        for id in 0..count {
            let id = U256::from(id);
            let is_final = last.is_some_and(|last| id <= U256::from(last));
            let call = SlaSettlement::isFinalCall { id }.abi_encode();
            canned.answers(network.settlement, call, is_final.abi_encode());
            let byte = id.to_le_bytes::<32>()[0];
            let posted = Posted {
                digest: B256::repeat_byte(byte),
                root: B256::repeat_byte(byte ^ 0xff),
                reward: Default::default(),
                penalty: Default::default(),
                postedAt: 0,
            };
            let call = SlaSettlement::rootAtCall { id }.abi_encode();
            canned.answers(network.settlement, call, posted.abi_encode());
        }
        canned.asked();
        let expected = last.map(|id: u64| {
            let byte = id.to_le_bytes()[0];
            let (root, digest) = (B256::repeat_byte(byte ^ 0xff), B256::repeat_byte(byte));
            PostedRoot { id, root, digest, posted_at: 0 }
        });
        assert_eq!(reference.newest_final().await, Ok(expected));
        assert!(canned.asked().len() <= 12);
    }
}

#[tokio::test]
async fn our_registry_is_read() {
    let canned = Canned::start().await;
    let (network, node) = (network(), node_id(5));
    let reference = Reference::new(network, canned.rpc());
    let found = Node { hp: HP, state: 3, exitAt: 77, changes: Default::default() };
    let question = NodeRegistry::nodeOfCall { nodeId: node }.abi_encode();
    canned.answers(network.registry, question.clone(), found.abi_encode());
    canned.answers(network.eras, EraManager::currentEraCall {}.abi_encode(), 12_u64.abi_encode());
    let daemon = NodeRegistry::daemonAtCall { nodeId: node, era: 12 }.abi_encode();
    canned.answers(network.registry, daemon, Address::ZERO.abi_encode());
    let status = reference.status(node).await.expect("a status");
    assert_eq!((status.standing, status.hp), (Standing::RewardsHeld, Some(HP)));
    assert_eq!((status.daemon, status.exit_at), (None, Some(77)));
    let strange = Node { state: 6, ..found };
    canned.answers(network.registry, question, strange.abi_encode());
    let error = reference.status(node).await.expect_err("no state");
    assert!(matches!(error, SettlementError::OtherAbi { .. }), "{error}");
    let done = RewardClaims::doneCall { nodeId: node }.abi_encode();
    canned.answers(network.claims, done, (U256::from(9), U256::from(1)).abi_encode_params());
    assert_eq!(reference.rewards(node).await.expect("rewards").paid, Some(U256::from(9)));
}

fn leaf(reward: u64) -> Leaf {
    Leaf {
        nodeId: node_id(5),
        toEra: 9,
        cumulativeReward: U256::from(reward),
        cumulativePenalty: U256::ZERO,
        votesHash: B256::ZERO,
    }
}

#[tokio::test]
async fn our_claims_are_the_engines_and_only_for_leaves_that_are_in_the_root() {
    let canned = Canned::start().await;
    let reference = Reference::new(network(), canned.rpc());
    let of = |leaf: Leaf, root: B256| ClaimOf::Leaf { id: 4, root, leaf, proof: Vec::new() };
    let good = reference.claim(&of(leaf(100), leaf(100).hash()));
    let Ok(Step::Ours(wanted)) = good else { panic!("{good:?}") };
    assert_eq!(wanted.call.to, network().claims);
    let call = RewardClaims::claimCall::abi_decode(&wanted.call.data).expect("a claim");
    assert_eq!((call.rootId, call.leaf), (U256::from(4), leaf(100)));
    let probe = wanted.call.probe.expect("it can be seen");
    let paid = |wei: u64| (U256::from(wei), U256::ZERO).abi_encode_params();
    assert_eq!((probe.met(&paid(99)), probe.met(&paid(100))), (Some(false), Some(true)));
    let other = reference.claim(&of(leaf(101), leaf(100).hash()));
    assert_eq!(other, Err(SettlementError::NotInRoot(4)));
    let nobody = Reference::new(Network { hp: Address::ZERO, ..network() }, canned.rpc());
    assert_eq!(nobody.claim(&of(leaf(1), leaf(1).hash())), Err(SettlementError::NoHp));
    let unsupported = reference.claim(&ClaimOf::Begun(U256::ZERO));
    assert!(matches!(unsupported, Err(SettlementError::Unsupported { .. })));
}

#[tokio::test]
async fn a_binding_is_relayed_with_the_hps_signature_and_sent_by_the_hp_without() {
    let canned = Canned::start().await;
    let reference = Reference::new(network(), canned.rpc());
    let binding = DaemonBinding {
        nodeId: node_id(5),
        hpAccount: HP,
        daemonAddress: Address::repeat_byte(0xda),
        attestationKeyHash: B256::ZERO,
        hardwareReportHash: B256::ZERO,
        deadline: U256::from(99),
    };
    let daemon = Bytes::from(vec![1; 65]);
    let alone = SignedBinding { binding, daemon, hp: None };
    let unsigned = by_hp(reference.bind(&alone));
    assert_eq!((unsigned.to, unsigned.from), (network().registry, HP));
    assert_eq!(&unsigned.data[..4], NodeRegistry::bindCall::SELECTOR);
    let both = SignedBinding { hp: Some(Bytes::from(vec![2; 65])), ..alone.clone() };
    let Ok(Step::Ours(wanted)) = reference.bind(&both) else { panic!("it is relayed") };
    assert_eq!(&wanted.call.data[..4], NodeRegistry::bindForCall::SELECTOR);
    let mut other = both;
    other.binding.hpAccount = Address::repeat_byte(0x66);
    assert_eq!(
        reference.bind(&other),
        Err(SettlementError::OtherHp { expected: HP, found: Address::repeat_byte(0x66) })
    );
    let link = format!("ethereum:{}@31337/requestExit?bytes32={}", network().registry, node_id(5));
    assert_eq!(by_hp(reference.exit(node_id(5))).links(), [link]);
    assert!(by_hp(reference.register(node_id(6))).links()[0].contains("/register?bytes32=0x"));
}

#[test]
fn contracts_of_another_network_are_told_by_their_domain() {
    let target = network().target();
    let separator = domain(31_337, network().settlement).separator();
    let versions: Vec<_> = target.contracts.iter().filter_map(|c| c.version.clone()).collect();
    assert_eq!(versions.len(), 3);
    assert_eq!(versions[0].1, separator.abi_encode());
    let other = Network { chain: 1, ..network() }.target();
    assert_ne!(other.contracts[0].version, target.contracts[0].version);
}

/// Types as an ABI in JSON has them, with tuples written out.
fn kind(parameter: &Value) -> String {
    let name = parameter["type"].as_str().expect("a type");
    match name.strip_prefix("tuple") {
        None => name.to_owned(),
        Some(suffix) => format!("{}{suffix}", kinds(&parameter["components"])),
    }
}

fn kinds(parameters: &Value) -> String {
    let kinds: Vec<_> = parameters.as_array().expect("a list").iter().map(kind).collect();
    format!("({})", kinds.join(","))
}

/// What contracts have: each function and error with its types, and what functions return.
fn entries(abis: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for abi in abis {
        let abi: Vec<Value> = serde_json::from_str(abi).expect("JSON");
        for entry in abi.iter().filter(|entry| entry["name"].is_string()) {
            let name = entry["name"].as_str().expect("a name");
            let returns =
                if entry["outputs"].is_array() { kinds(&entry["outputs"]) } else { String::new() };
            found.push((format!("{name}{}", kinds(&entry["inputs"])), returns));
        }
    }
    found
}

/// The types of a struct, written out.
fn fields<T: SolStruct>() -> String {
    let named = T::eip712_root_type();
    let (_, fields) = named.trim_end_matches(')').split_once('(').expect("fields");
    let kinds: Vec<_> = fields.split(',').filter_map(|field| field.split(' ').next()).collect();
    format!("({})", kinds.join(","))
}

fn returns<T: SolCall>() -> (String, String) {
    let returns = <T::ReturnTuple<'static> as SolType>::SOL_NAME;
    let written = returns.replace("Node", &fields::<Node>()).replace("Posted", &fields::<Posted>());
    (T::SIGNATURE.to_owned(), written)
}

#[test]
fn what_is_called_and_told_apart_is_in_the_contracts_as_they_are() {
    let registry = include_str!("../../contracts/abi/NodeRegistry.json");
    let settlement = include_str!("../../contracts/abi/SlaSettlement.json");
    let claims = include_str!("../../contracts/abi/RewardClaims.json");
    let eras = include_str!("../../contracts/abi/EraManager.json");
    let oracles = include_str!("../../contracts/abi/OracleRegistry.json");
    let cases = [
        (registry, returns::<NodeRegistry::registerCall>()),
        (registry, returns::<NodeRegistry::bindCall>()),
        (registry, returns::<NodeRegistry::bindForCall>()),
        (registry, returns::<NodeRegistry::requestExitCall>()),
        (registry, returns::<NodeRegistry::nodeIdOfCall>()),
        (registry, returns::<NodeRegistry::changeStateCall>()),
        (registry, returns::<NodeRegistry::nodeOfCall>()),
        (registry, returns::<NodeRegistry::daemonAtCall>()),
        (registry, returns::<NodeRegistry::nodeOfDaemonCall>()),
        (registry, returns::<NodeRegistry::standingCall>()),
        (registry, returns::<SlaSettlement::domainSeparatorCall>()),
        (eras, returns::<EraManager::currentEraCall>()),
        (settlement, returns::<SlaSettlement::domainSeparatorCall>()),
        (settlement, returns::<SlaSettlement::rootCountCall>()),
        (settlement, returns::<SlaSettlement::rootAtCall>()),
        (settlement, returns::<SlaSettlement::isFinalCall>()),
        (settlement, returns::<SlaSettlement::disputeWindowCall>()),
        (settlement, returns::<SlaSettlement::nextEraCall>()),
        (settlement, returns::<SlaSettlement::cancelledCall>()),
        (settlement, returns::<SlaSettlement::oraclesCall>()),
        (settlement, returns::<SlaSettlement::postCall>()),
        (settlement, returns::<SlaSettlement::cancelCall>()),
        (oracles, returns::<OracleRegistry::oraclesCall>()),
        (claims, returns::<RewardClaims::claimCall>()),
        (claims, returns::<RewardClaims::doneCall>()),
        (claims, returns::<RewardClaims::settlementCall>()),
    ];
    for (abi, call) in cases {
        assert!(entries(&[abi]).contains(&call), "{call:?} is not in the contract");
    }
    let all = entries(&[registry, settlement, claims, oracles]);
    for error in [errors(), post_errors(), state_errors()].concat() {
        let found = all.iter().any(|(signature, _)| signature == error.signature);
        assert!(found, "{} is in no contract", error.signature);
    }
}
