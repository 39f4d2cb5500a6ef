//! What a chain does to transactions.

use agent_settlement::call::Seq;
use agent_settlement::engine::Setup;
use agent_settlement::engine::event::{Alarm, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::outbox::{Folder, Outcome, ParkReason};
use serde_json::json;

use crate::anvil::{Anvil, count_up, count_up_once, quantity};
use crate::rig::{GONE, NOT_YET, Rig, setup};

/// One gwei.
const GWEI: u128 = 1_000_000_000;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn calls_become_final_in_their_order_and_the_outbox_forgets_them() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let seqs: Vec<_> = (1..=6).map(|counter| rig.want(count_up(counter))).collect();
    assert_eq!(rig.want(count_up(3)), seqs[2], "two with one digest are one");
    rig.finish(&anvil).await;
    for counter in 1..=6 {
        assert_eq!(anvil.count(counter).await, 1);
    }
    assert_eq!(rig.outcomes(), [Outcome::Ours; 6]);
    let place = |wanted: &dyn Fn(&Notice) -> bool| rig.notices.iter().position(wanted);
    for wanted in seqs {
        let mined = place(&|notice| matches!(notice, Notice::Mined { seq, .. } if *seq == wanted));
        let safe = place(&|notice| matches!(notice, Notice::Safe { seq, .. } if *seq == wanted));
        let end = place(&|notice| matches!(notice, Notice::Final { seq, .. } if *seq == wanted));
        assert!(mined.is_some() && mined < safe && safe < end, "{:?}", rig.notices);
    }
    assert_eq!((rig.alarms(), &rig.errors[..]), (vec![], &[][..]));
}

#[tokio::test]
async fn a_transaction_that_servers_forgot_is_sent_again() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    let hash = rig.engine.state().get(seq).expect("open").attempts[0].hash;
    assert_eq!(rig.stage(seq), Some(&Stage::Waits));
    anvil.ask("anvil_dropTransaction", json!([hash])).await;
    anvil.mine(2).await;
    assert_eq!(anvil.count(1).await, 0);
    rig.finish(&anvil).await;
    assert_eq!((anvil.count(1).await, rig.outcomes()), (1, vec![Outcome::Ours]));
}

#[tokio::test]
async fn a_reorganisation_of_1_to_20_blocks_is_seen_and_mended() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    for depth in 1..=20_u64 {
        let call = rig.want(count_up(depth));
        rig.tick(2000).await;
        anvil.mine(1).await;
        rig.tick(10_000).await;
        assert!(matches!(rig.stage(call), Some(Stage::Mined(_))), "{:?}", rig.stage(call));
        // The block is that deep, and the engine was away while it was buried.
        anvil.mine(u128::from(depth) - 1).await;
        anvil.ask("anvil_reorg", json!([depth, []])).await;
        assert_eq!(anvil.count(depth).await, 0, "anvil took it back");
        rig.tick(10_000).await;
        let reorged =
            |notice: &&Notice| matches!(notice, Notice::Reorged { seq, .. } if *seq == call);
        assert_eq!(rig.notices.iter().filter(reorged).count(), 1, "depth {depth}");
        rig.finish(&anvil).await;
        assert_eq!(anvil.count(depth).await, 1, "depth {depth}");
    }
    assert_eq!(rig.outcomes(), [Outcome::Ours; 20]);
}

#[tokio::test]
async fn a_hundredfold_base_fee_makes_calls_wait_and_drops_none() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let sent = rig.want(count_up(1));
    rig.tick(2000).await;
    assert_eq!(rig.stage(sent), Some(&Stage::Waits));
    let queued = rig.want(count_up(2));
    let dear = quantity(100 * GWEI);
    for _ in 0..12 {
        anvil.ask("anvil_setNextBlockBaseFeePerGas", json!([dear])).await;
        anvil.mine(1).await;
        rig.tick(40_000).await;
    }
    let cap = rig.engine.state().get(sent).expect("open").attempts.clone();
    let fees: Vec<_> = cap.iter().map(|signed| signed.fee.max_wei).collect();
    assert_eq!(fees.last(), Some(&(5 * GWEI)), "raised up to the cap: {fees:?}");
    assert!(fees.windows(2).all(|pair| pair[1] * 10 >= pair[0] * 11), "{fees:?}");
    assert!(cap.iter().all(|signed| signed.nonce == cap[0].nonce), "one nonce");
    assert_eq!(rig.stage(queued), Some(&Stage::Queued), "nothing is signed above the cap");
    assert!(rig.alarms().iter().any(|alarm| matches!(alarm, Alarm::FeeCap { .. })));
    anvil.ask("anvil_setNextBlockBaseFeePerGas", json!([quantity(GWEI)])).await;
    anvil.mine(1).await;
    rig.tick(600_000).await;
    rig.finish(&anvil).await;
    assert_eq!((anvil.count(1).await, anvil.count(2).await), (1, 1));
}

#[tokio::test]
async fn what_a_day_may_cost_is_not_exceeded_and_the_next_day_goes_on() {
    let (anvil, folder) = (Anvil::start().await, folder());
    // Enough for one call of some 45,000 gas at 3 gwei, and not for two.
    let policy = Policy { day_budget_wei: 250_000 * GWEI, ..setup().policy };
    let mut rig =
        Rig::open(Folder::new(folder.path()), anvil.rpc(), Setup { policy, ..setup() }).await;
    // The next midnight is far enough for what happens on this day.
    rig.now.unix_s = rig.now.unix_s / 86_400 * 86_400;
    rig.want(count_up(1));
    let second = rig.want(count_up(2));
    for _ in 0..5 {
        rig.tick(10_000).await;
        anvil.mine(1).await;
    }
    assert_eq!((anvil.count(1).await, anvil.count(2).await), (1, 0));
    assert_eq!(rig.stage(second), Some(&Stage::Queued));
    assert!(rig.alarms().contains(&&Alarm::Budget), "{:?}", rig.notices);
    rig.tick(86_400_000).await;
    rig.finish(&anvil).await;
    assert_eq!(anvil.count(2).await, 1);
}

#[tokio::test]
async fn what_l1_takes_is_part_of_what_a_day_may_cost() {
    // Enough for two calls of some 45,000 gas at 3 gwei.
    let policy = Policy { day_budget_wei: 400_000 * GWEI, ..setup().policy };
    let setup = Setup { policy, ..setup() };
    // A chain of the OP stack answers at this address: 60,000 gwei for each transaction.
    let at = agent_settlement::l1::OP_STACK;
    let code = "0x653691d6afc00060005260206000f3";
    for (code, calls, l1_wei) in [("0x", 2, 0), (code, 1, 2 * 60_000 * GWEI)] {
        let (anvil, folder) = (Anvil::start().await, folder());
        anvil.ask("anvil_setCode", json!([at, code])).await;
        let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup.clone()).await;
        rig.now.unix_s = rig.now.unix_s / 86_400 * 86_400;
        let first = rig.want(count_up(1));
        rig.want(count_up(2));
        rig.tick(10_000).await;
        let signed = &rig.engine.state().get(first).expect("open").attempts;
        assert_eq!(signed.iter().map(|one| one.l1_wei).collect::<Vec<_>>(), [l1_wei]);
        for _ in 0..5 {
            anvil.mine(1).await;
            rig.tick(10_000).await;
        }
        assert_eq!(anvil.count(1).await + anvil.count(2).await, calls, "{:?}", rig.notices);
        assert_eq!(rig.alarms().contains(&&Alarm::Budget), calls == 1, "{:?}", rig.notices);
    }
}

#[tokio::test]
async fn nothing_is_signed_while_it_is_not_known_what_l1_takes() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let at = agent_settlement::l1::OP_STACK;
    // It reverts.
    anvil.ask("anvil_setCode", json!([at, "0x60006000fd"])).await;
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let call = rig.want(count_up(1));
    for _ in 0..3 {
        rig.tick(600_000).await;
        anvil.mine(1).await;
    }
    assert_eq!(rig.stage(call), Some(&Stage::Queued));
    assert!(rig.engine.state().get(call).expect("open").attempts.is_empty());
    assert!(
        rig.errors.iter().any(|error| error.to_string().contains("revert")),
        "{:?}",
        rig.errors
    );
    anvil.ask("anvil_setCode", json!([at, "0x"])).await;
    rig.tick(600_000).await;
    rig.finish(&anvil).await;
    assert_eq!(anvil.count(1).await, 1);
}

#[tokio::test]
async fn what_l1_takes_is_asked_of_one_block_however_far_a_server_is() {
    let anvil = Anvil::start().await;
    // The price is the number of the block.
    let at = agent_settlement::l1::OP_STACK;
    anvil.ask("anvil_setCode", json!([at, "0x4360005260206000f3"])).await;
    anvil.mine(3).await;
    let call = count_up(1);
    let raw = agent_settlement::l1::sized(31_337, &call, 45_000, GWEI);
    let rpc = anvil.rpc();
    let fee = async |block| agent_settlement::l1::fee(&rpc, &raw, &call, block).await;
    assert_eq!(fee(3).await, Ok(agent_settlement::l1::L1Fee::Beside { wei: 3 }));
    assert!(fee(9).await.is_err(), "it has not come so far, and says no other block's price");
}

#[tokio::test]
async fn a_missing_nonce_is_filled_so_that_what_waits_behind_it_is_mined() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    // Another program of this key sent one; it waits, and is lost after ours was signed behind it.
    let stranger = anvil.foreign(0, 2 * GWEI).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    assert_eq!(rig.alarms(), [&Alarm::Strangers { count: 1 }], "it is waited for");
    assert_eq!(rig.stage(seq), Some(&Stage::Queued));
    rig.tick(600_000).await;
    let attempt = rig.engine.state().get(seq).expect("open").attempts[0].clone();
    assert_eq!(attempt.nonce, 1, "but not for ever");
    anvil.ask("anvil_dropTransaction", json!([stranger])).await;
    rig.finish(&anvil).await;
    assert!(rig.alarms().contains(&&Alarm::Gap { nonce: 0 }), "{:?}", rig.notices);
    assert_eq!((anvil.count(1).await, rig.outcomes()), (1, vec![Outcome::Ours; 2]));
}

#[tokio::test]
async fn where_another_took_the_nonce_the_call_is_signed_anew_once() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    let hash = rig.engine.state().get(seq).expect("open").attempts[0].hash;
    anvil.ask("anvil_dropTransaction", json!([hash])).await;
    anvil.foreign(0, 20 * GWEI).await;
    anvil.mine(1).await;
    rig.tick(10_000).await;
    let attempts = &rig.engine.state().get(seq).expect("open").attempts;
    assert_eq!(attempts.len(), 1, "not before the other one is safe");
    rig.finish(&anvil).await;
    assert!(rig.alarms().contains(&&Alarm::NonceTaken { nonce: 0 }), "{:?}", rig.notices);
    assert_eq!((anvil.count(1).await, rig.outcomes()), (1, vec![Outcome::Ours]));
}

#[tokio::test]
async fn what_the_contract_shows_to_be_done_is_not_done_again() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    rig.want(count_up(9));
    rig.finish(&anvil).await;
    // A relayer did the same: nothing is signed.
    let spent = rig.engine.state().spent();
    rig.want(count_up_once(9));
    rig.finish(&anvil).await;
    assert_eq!((anvil.count(9).await, rig.outcomes()), (1, vec![Outcome::Ours, Outcome::Another]));
    assert_eq!(rig.engine.state().spent(), spent);
}

#[tokio::test]
async fn a_call_that_is_refused_for_good_is_parked_and_costs_nothing() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    anvil.revert_with(GONE).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    let Some(Stage::Parked(reason)) = rig.stage(seq) else { panic!("{:?}", rig.stage(seq)) };
    assert_eq!(reason.to_string(), "the contract refuses it for good: Gone()");
    assert_eq!(rig.engine.state().spent().wei, 0);
    // It is parked after a restart, too, until somebody looked.
    drop(rig);
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    rig.tick(2000).await;
    assert!(matches!(rig.stage(seq), Some(Stage::Parked(ParkReason::Refused { .. }))));
    anvil.revert_with([0; 4]).await;
    assert!(rig.engine.unpark(seq));
    rig.finish(&anvil).await;
    assert_eq!(anvil.count(1).await, 1);
}

#[tokio::test]
async fn a_call_that_keeps_reverting_is_tried_so_often_and_parked() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), setup()).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    assert_eq!(rig.stage(seq), Some(&Stage::Waits));
    // It is mined as a revert: gas is gone, nothing else.
    anvil.revert_with(NOT_YET).await;
    for _ in 0..10 {
        rig.tick(600_000).await;
        anvil.mine(1).await;
    }
    let Some(Stage::Parked(ParkReason::KeepsReverting { times, .. })) = rig.stage(seq) else {
        panic!("{:?} {:?}", rig.stage(seq), rig.notices);
    };
    assert_eq!(*times, setup().policy.reverts_max);
    assert_eq!(anvil.count(1).await, 0);
}

#[tokio::test]
async fn an_outbox_forgets_what_is_over_and_numbers_go_on() {
    let (anvil, folder) = (Anvil::start().await, folder());
    let policy = Policy { in_flight_max: 16, ..setup().policy };
    let wide = Setup { policy, ..setup() };
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), wide.clone()).await;
    for counter in 1..=40 {
        rig.want(count_up(counter));
    }
    let intents = || {
        let bytes = std::fs::read(folder.path().join("outbox")).expect("a file");
        String::from_utf8_lossy(&bytes).matches(r#"{"intent":"#).count()
    };
    assert_eq!(intents(), 40);
    rig.finish(&anvil).await;
    assert!(intents() < 20, "{} are left", intents());
    let spent = rig.engine.state().spent();
    drop(rig);
    let mut rig = Rig::open(Folder::new(folder.path()), anvil.rpc(), wide).await;
    assert_eq!(rig.engine.state().spent(), spent);
    assert_eq!(rig.want(count_up(41)), Seq(40));
    rig.finish(&anvil).await;
    for counter in 1..=41 {
        assert_eq!(anvil.count(counter).await, 1);
    }
}

#[tokio::test]
async fn an_outbox_that_vanished_is_no_new_beginning() {
    let (anvil, first, second) = (Anvil::start().await, folder(), folder());
    let mut rig = Rig::open(Folder::new(first.path()), anvil.rpc(), setup()).await;
    rig.want(count_up(1));
    rig.finish(&anvil).await;
    let backend = Folder::new(second.path());
    let opened =
        agent_settlement::engine::Engine::open(backend, anvil.rpc(), crate::rig::key(), setup());
    let error = opened.await.map(|_| ()).expect_err("it is refused");
    assert!(error.to_string().contains("has sent 1 transactions"), "{error}");
}
