//! Servers that lie, delay, repeat themselves and lag: none of them makes a call take effect twice, or not at all.

use agent_settlement::chain::ChainError;
use agent_settlement::chain::checked::Checked;
use agent_settlement::engine::StepError;
use agent_settlement::engine::event::Notice;
use agent_settlement::engine::state::Stage;
use agent_settlement::outbox::{Folder, Outcome};
use serde_json::json;

use crate::anvil::{Anvil, count_up, quantity};
use crate::proxy::{Fault, Proxy};
use crate::rig::{Rig, setup};

/// How much of the work a fault lasts for.
const FAULTY_TICKS: usize = 4;

const FAULTS: [Fault; 13] = [
    Fault::Silent,
    Fault::LosesAnswers,
    Fault::Late,
    Fault::Twice,
    Fault::Repeats,
    Fault::Stale(1),
    Fault::Stale(3),
    Fault::NoReceipts,
    Fault::FakeReceipts,
    Fault::OtherHashes,
    Fault::OtherChain,
    Fault::NonceAhead,
    Fault::Garbage,
];

fn differed(errors: &[StepError]) -> bool {
    errors.iter().any(|error| matches!(error, StepError::Chain(ChainError::Differ { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_of_two_servers_faulty_nothing_is_believed_that_is_not_so() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (honest, faulty) = (Proxy::start(&anvil).await, Proxy::start(&anvil).await);
    let chain = Checked::new(honest.rpc(), faulty.rpc());
    let mut rig = Rig::open(Folder::new(folder.path()), chain, setup()).await;
    let mut counter = 0;
    for fault in FAULTS {
        // The fault begins before the call is signed, and while it waits.
        for before in [true, false] {
            counter += 1;
            let seq = rig.want(count_up(counter));
            rig.errors.clear();
            if before {
                faulty.set(fault);
            }
            rig.tick(600_000).await;
            faulty.set(fault);
            for _ in 0..FAULTY_TICKS {
                anvil.mine(1).await;
                rig.tick(10_000).await;
            }
            let told =
                |notice: &&Notice| matches!(notice, Notice::Final { seq: of, .. } if *of == seq);
            if rig.notices.iter().any(|notice| told(&notice)) {
                assert_eq!(anvil.count(counter).await, 1, "{fault:?}: it was said to be final");
            }
            assert!(anvil.count(counter).await <= 1, "{fault:?}");
            if matches!(fault, Fault::OtherHashes) {
                assert!(differed(&rig.errors), "{fault:?}: {:?}", rig.errors);
            }
            faulty.set(Fault::None);
            rig.now.ms += 600_000;
            rig.finish(&anvil).await;
            assert_eq!(anvil.count(counter).await, 1, "{fault:?}");
        }
    }
    assert!(rig.outcomes().iter().all(|how| *how == Outcome::Ours));
}

#[tokio::test]
async fn a_receipt_that_one_server_made_up_is_not_believed() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (honest, liar) = (Proxy::start(&anvil).await, Proxy::start(&anvil).await);
    let chain = Checked::new(honest.rpc(), liar.rpc());
    let mut rig = Rig::open(Folder::new(folder.path()), chain, setup()).await;
    let seq = rig.want(count_up(1));
    rig.tick(2000).await;
    liar.set(Fault::FakeReceipts);
    for _ in 0..3 {
        rig.tick(600_000).await;
    }
    assert_eq!((anvil.count(1).await, rig.stage(seq)), (0, Some(&Stage::Waits)));
    assert!(differed(&rig.errors), "{:?}", rig.errors);
    // Nor is one that is kept back.
    liar.set(Fault::NoReceipts);
    anvil.mine(1).await;
    rig.errors.clear();
    rig.tick(600_000).await;
    assert!(differed(&rig.errors), "{:?}", rig.errors);
    assert_eq!(rig.stage(seq), Some(&Stage::Waits));
}

#[tokio::test]
async fn thirty_days_away_are_caught_up_in_few_questions() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::start(&anvil).await;
    let mut rig = Rig::open(Folder::new(folder.path()), proxy.rpc(), setup()).await;
    let now = rig.now;
    // One is mined, one lost by the servers, one not signed.
    rig.want(count_up(1));
    rig.tick(2000).await;
    anvil.mine(1).await;
    rig.tick(2000).await;
    let lost = rig.want(count_up(2));
    rig.tick(2000).await;
    let hash = rig.engine.state().get(lost).expect("open").attempts[0].hash;
    anvil.ask("anvil_dropTransaction", json!([hash])).await;
    rig.want(count_up(3));
    drop(rig);
    // 720 blocks, an hour apart.
    anvil.ask("anvil_mine", json!([quantity(720), quantity(3600)])).await;
    proxy.asked();
    let mut rig = Rig::open(Folder::new(folder.path()), proxy.rpc(), setup()).await;
    rig.now = now;
    rig.now.unix_s += 30 * 86_400;
    rig.finish(&anvil).await;
    let asked = proxy.asked();
    for counter in 1..=3 {
        assert_eq!(anvil.count(counter).await, 1);
    }
    // Some ten for each look at each of the three, and never one for each block.
    assert!(asked < 150, "{asked} questions");
}
