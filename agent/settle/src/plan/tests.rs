use agent_settlement::abi::reference::RewardClaims;
use agent_settlement::call::Call;

use super::*;
use crate::deed::Spender;
use crate::deed::tests::network;
use crate::network::Contracts;

const HP: Address = Address::repeat_byte(0x48);
const OTHER: Address = Address::repeat_byte(0x49);

fn contracts() -> Reference {
    let Contracts::Reference(contracts) = network().contracts else { panic!("ours") };
    contracts
}

fn node() -> Node {
    Node {
        id: B256::repeat_byte(7),
        standing: Standing::Healthy,
        hp: Some(HP),
        daemon: Some(OTHER),
        daemon_next: Some(OTHER),
        exit_at: None,
        paid: U256::from(10),
        taken: U256::ZERO,
        collateral: U256::from(5),
        deposited: U256::from(6),
    }
}

fn of_other() -> Node {
    Node { hp: Some(OTHER), ..node() }
}

fn by_hp(data: Vec<u8>, to: Address) -> Step {
    let (what, links) = (String::new(), Vec::new());
    Step::Hp(Unsigned { chain: 31_337, from: HP, to, data: data.into(), what, links })
}

fn refused<T: std::fmt::Debug>(planned: Result<T, Refused>, words: &str) {
    let error = planned.unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_nodes_name_is_of_its_hp_and_label() {
    // Computed by `NodeRegistry.nodeIdOf` of 0x48…48 and 7.
    let name = node_id(HP, B256::from(U256::from(7)));
    assert_eq!(
        name,
        keccak256([B256::left_padding_from(HP.as_slice()).0, U256::from(7).to_be_bytes()].concat())
    );
}

#[test]
fn a_node_is_registered_once() {
    let call = NodeRegistry::registerCall { label: B256::ZERO }.abi_encode();
    let step = || by_hp(call.clone(), contracts().registry);
    let new = Node { hp: None, standing: Standing::Unknown, ..node() };
    let planned = register(&network(), &contracts(), &new, step()).unwrap();
    assert_eq!(planned[0].deed, Deed::Register { label: B256::ZERO });
    refused(register(&network(), &contracts(), &node(), step()), "registered already");
}

#[test]
fn a_deposit_is_allowed_exactly_and_only_where_it_is_not() {
    let plan = |amount: u64, allowance: u64| {
        let has = (U256::from(100), U256::from(allowance));
        deposit(&network(), &contracts(), &node(), HP, U256::from(amount), has)
    };
    let both = plan(50, 49).unwrap();
    let [allow, put] = &both[..] else { panic!("{both:?}") };
    assert_eq!(
        allow.deed,
        Deed::Allow { to: Spender::Vault, at: contracts().vault, amount: U256::from(50) }
    );
    assert_eq!(put.deed, Deed::Deposit { node: node().id, amount: U256::from(50) });
    assert_eq!((allow.gas, put.gas), (None, Some(DEPOSIT_GAS)));
    assert_eq!(put.call.probe.as_ref().unwrap().at_least, U256::from(56));
    assert!(put.links[0].contains("/deposit?bytes32=0x07"), "{:?}", put.links);
    let alone = plan(50, 50).unwrap();
    assert_eq!((alone.len(), alone[0].gas), (1, None));
    assert_eq!(alone[0].digest, put.digest, "one and the same, whatever was before it");
    refused(plan(0, 0), "name an amount");
    refused(plan(101, 0), "less than");
    let has = (U256::from(100), U256::ZERO);
    let amount = U256::from(1);
    refused(deposit(&network(), &contracts(), &of_other(), HP, amount, has), "of the HP");
    let leaving = Node { exit_at: Some(1), ..node() };
    refused(deposit(&network(), &contracts(), &leaving, HP, amount, has), "on its way out");
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let (network, contracts) = (network(), contracts());
    let unknown = Node { hp: None, ..node() };
    refused(revoke(&network, &contracts, &unknown, HP), "not registered");
    refused(revoke(&network, &contracts, &of_other(), HP), "of the HP");
    let without = Node { daemon_next: None, ..node() };
    refused(revoke(&network, &contracts, &without, HP), "no daemon key");
    assert_eq!(revoke(&network, &contracts, &node(), HP).unwrap().len(), 1);
    refused(withdraw(&network, &contracts, &node(), HP, 9), "no exit was requested");
    let leaving = Node { exit_at: Some(10), ..node() };
    refused(withdraw(&network, &contracts, &leaving, HP, 9), "from 1970-01-01T00:00:10Z");
    assert_eq!(withdraw(&network, &contracts, &leaving, HP, 10).unwrap().len(), 1);
    let empty = Node { collateral: U256::ZERO, ..leaving.clone() };
    refused(withdraw(&network, &contracts, &empty, HP, 10), "no collateral");
    let data = NodeRegistry::requestExitCall { nodeId: node().id }.abi_encode();
    let step = || by_hp(data.clone(), contracts.registry);
    refused(exit(&network, &contracts, &leaving, HP, step()), "on its way out");
    let planned = exit(&network, &contracts, &node(), HP, step()).unwrap();
    assert!(planned[0].deed.for_good());
}

#[test]
fn only_what_is_final_unpaid_and_not_held_is_claimed() {
    let leaf = Leaf {
        nodeId: node().id,
        toEra: 3,
        cumulativeReward: U256::from(11),
        cumulativePenalty: U256::ZERO,
        votesHash: B256::ZERO,
    };
    let earned = Earned { root: 2, leaf: leaf.clone(), final_at: 100 };
    let call = RewardClaims::claimCall { rootId: U256::from(2), leaf, proof: Vec::new() };
    let data = Bytes::from(call.abi_encode());
    let step = || {
        let call = Call { to: contracts().claims, data: data.clone(), probe: None };
        Step::Ours(agent_settlement::call::Wanted { digest: B256::ZERO, call })
    };
    let plan = |node: &Node, at| claim(&network(), node, HP, &earned, step(), at);
    assert!(matches!(plan(&node(), 100).unwrap().deed, Deed::Claim { .. }));
    refused(plan(&node(), 99), "root 2 is not final before 1970-01-01T00:01:40Z");
    refused(plan(&of_other(), 100), "of the HP");
    refused(plan(&Node { paid: U256::from(11), ..node() }, 100), "was claimed");
    let held = Node { standing: Standing::RewardsHeld, ..node() };
    refused(plan(&held, 100), "are held");
    assert!(plan(&Node { exit_at: Some(100), ..held }, 100).is_ok(), "its exit is over");
}

#[test]
fn a_daemon_key_is_bound_once() {
    let signed = SignedBinding {
        binding: agent_settlement::abi::messages::DaemonBinding {
            nodeId: node().id,
            hpAccount: HP,
            daemonAddress: OTHER,
            attestationKeyHash: B256::ZERO,
            hardwareReportHash: B256::ZERO,
            deadline: U256::from(9),
        },
        daemon: vec![1; 65].into(),
        hp: None,
    };
    let call = NodeRegistry::bindCall {
        binding: signed.binding.clone(),
        daemonSignature: signed.daemon.clone(),
    };
    let data = call.abi_encode();
    let plan = |taken| {
        let step = by_hp(data.clone(), contracts().registry);
        bind(&network(), &contracts(), &node(), &signed, taken, step)
    };
    assert_eq!(plan(B256::ZERO).unwrap()[0].deed.deadline(), Some(9));
    refused(plan(B256::repeat_byte(9)), "never bound again");
}
