//! What is refused before anything is signed.

use agent_settlement::call::Seq;
use agent_settlement::engine::event::Alarm;
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::engine::{Engine, EngineError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::Folder;
use agent_settlement::preflight::{Contract, Refusal, Target};
use alloy::primitives::{Address, Bytes};
use serde_json::json;

use crate::anvil::{Anvil, COUNTER, PAYER, count_up, quantity};
use crate::rig::{Rig, key, setup};

/// What an engine of this setup says, and that it signed nothing.
async fn refused(anvil: &Anvil, setup: Setup, clock_s: i64) -> Vec<Alarm> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup).await;
    rig.now.unix_s = rig.now.unix_s.checked_add_signed(clock_s).expect("a time");
    let seq: Seq = rig.want(count_up(1));
    rig.tick(2000).await;
    assert_eq!(rig.stage(seq), Some(&Stage::Queued), "it waits");
    assert_eq!(rig.engine.state().spent().wei, 0, "nothing was signed");
    assert_eq!(rig.errors, []);
    rig.alarms().into_iter().cloned().collect()
}

#[tokio::test]
async fn what_is_not_as_it_should_be_is_named_and_nothing_is_signed() {
    let anvil = Anvil::start().await;
    let good = setup();
    let with = |target: Target| Setup { target, ..setup() };

    let chain = with(Target { chain: 8453, ..good.target.clone() });
    let expected = Refusal::OtherChain { expected: 8453, found: 31_337 };
    assert_eq!(refused(&anvil, chain, 0).await, [Alarm::Refused(expected)]);

    let (name, address) = ("counter", Address::repeat_byte(0x11));
    let contracts = vec![Contract { name, address, version: None }];
    let empty = with(Target { contracts, ..good.target.clone() });
    let expected = Refusal::NoCode { name, address };
    assert_eq!(refused(&anvil, empty, 0).await, [Alarm::Refused(expected)]);

    // It answers one word, and not the one that this version would.
    let version = Some((Bytes::from(vec![0; 33]), Bytes::from(vec![1; 32])));
    let contracts = vec![Contract { name, address: COUNTER, version }];
    let other = with(Target { contracts, ..good.target.clone() });
    let expected = Refusal::OtherVersion { name, address: COUNTER };
    assert_eq!(refused(&anvil, other, 0).await, [Alarm::Refused(expected)]);

    // Asked with one word it counts, which nobody may see: asked in a call it answers nothing.
    let version = Some((Bytes::from(vec![0; 32]), Bytes::from(vec![1; 32])));
    let contracts = vec![Contract { name, address: COUNTER, version }];
    let silent = with(Target { contracts, ..good.target.clone() });
    let expected = Refusal::OtherVersion { name, address: COUNTER };
    assert_eq!(refused(&anvil, silent, 0).await, [Alarm::Refused(expected)]);

    let nobody = with(Target { hp: Address::ZERO, ..good.target.clone() });
    assert_eq!(refused(&anvil, nobody, 0).await, [Alarm::Refused(Refusal::NoHp)]);

    let own = with(Target { hp: key().address(), ..good.target.clone() });
    assert_eq!(refused(&anvil, own, 0).await, [Alarm::Refused(Refusal::PayerIsHp)]);

    let exact = Setup { policy: Policy { skew_max_s: 60, ..good.policy.clone() }, ..setup() };
    for clock_s in [-3600, 3600] {
        let alarms = refused(&anvil, exact.clone(), clock_s).await;
        assert!(
            matches!(alarms[..], [Alarm::Refused(Refusal::Skew { skew_s })] if (skew_s - clock_s).abs() < 60),
            "{alarms:?}"
        );
    }

    anvil.ask("anvil_setBalance", json!([PAYER, quantity(1000)])).await;
    let alarms = refused(&anvil, setup(), 0).await;
    assert!(matches!(alarms[..], [Alarm::NoFunds { has_wei: 1000, .. }]), "{alarms:?}");
    anvil.ask("anvil_setBalance", json!([PAYER, "0x0"])).await;
    let broke = Refusal::NoFunds(key().address());
    assert_eq!(refused(&anvil, setup(), 0).await, [Alarm::Refused(broke)]);
}

#[tokio::test]
async fn an_outbox_of_another_key_or_chain_is_left_alone() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    drop(Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await);
    let other = PayerKey::parse(&[5; 32]).expect("a key");
    let opened = Engine::open(Folder::new(folder.path()), anvil.rpc(), other, setup()).await;
    let error = opened.map(|_| ()).expect_err("another's");
    assert!(error.to_string().contains("is not used: it is of account"), "{error}");
    drop(Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await);
}

#[tokio::test]
async fn a_lost_outbox_is_begun_anew_only_where_nothing_waits_and_that_does_no_harm() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let open =
        |setup: Setup| Engine::open_or_begin(Folder::new(folder.path()), anvil.rpc(), key(), setup);
    anvil.foreign(0, 2_000_000_000).await;
    let waits = open(setup()).await.expect_err("one waits");
    assert!(matches!(waits, EngineError::Missing { count: 1, .. }), "{waits}");
    anvil.mine(1).await;
    let strict = Engine::open(Folder::new(folder.path()), anvil.rpc(), key(), setup()).await;
    assert!(matches!(strict, Err(EngineError::Missing { .. })), "others must not lose theirs");
    let mut other = setup();
    other.target.chain = 1;
    let other = open(other).await.expect_err("another chain");
    assert!(matches!(other, EngineError::OtherChain { expected: 1, .. }), "{other}");
    let mut rig = Rig::around(open(setup()).await.expect("it is begun"));
    rig.want(count_up(1));
    rig.finish(&anvil).await;
    assert_eq!(anvil.count(1).await, 1);
}
