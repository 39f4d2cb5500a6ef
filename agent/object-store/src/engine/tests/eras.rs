use std::collections::BTreeMap;

use agent_proofs::member::MemberProof;
use agent_proofs::slice::verify;

use super::*;
use crate::engine::eras::EraRoot;

async fn cut(core: &Arc<Core>, era: u64, keep_from: u64) -> Result<EraRoot, StoreError> {
    Arc::clone(core).cut_era(era, keep_from).await
}

/// That each of some objects, and nothing else, can be proven to belong to an era.
async fn check(core: &Arc<Core>, root: &EraRoot, objects: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(core.era_root(root.era).await.unwrap().as_ref(), Some(root));
    let total: u64 = objects.values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!((root.commitment.count, root.commitment.bytes), (objects.len() as u64, total));
    let mut next = 0;
    for (position, (name, bytes)) in (0..).zip(objects) {
        let start = next;
        next += bytes.len() as u64;
        // Borders of pages are among them.
        if position % 17 > 1 && bytes.len() < 1000 {
            continue;
        }
        let found = core.prove_member(root.era, &bucket(), &key(name)).await.unwrap();
        let proof = found.unwrap_or_else(|| panic!("{name} is not proven"));
        let range = proof.verify(&root.commitment).unwrap();
        assert_eq!((proof.position, range.start, range.end), (position, start, next));
        assert_eq!(proof.member.key, *name);
        assert_eq!(proof.member.content.root, *blake3::hash(bytes).as_bytes());
        for byte in [range.start, range.end.saturating_sub(1)] {
            if !bytes.is_empty() {
                let same = core.prove_byte(root.era, byte).await.unwrap();
                assert_eq!(same, Some(proof.clone()));
            }
        }
    }
    assert_eq!(core.prove_byte(root.era, total).await.unwrap(), None);
    assert_eq!(core.prove_member(root.era, &bucket(), &key("other")).await.unwrap(), None);
}

#[test]
fn what_was_stored_at_a_cut_is_proven_whatever_becomes_of_it() {
    run(async {
        let mut machine = Machine::new(4);
        let (core, _) = machine.open().await.unwrap();
        let empty = cut(&core, 6, 0).await.unwrap();
        check(&core, &empty, &BTreeMap::new()).await;
        make_bucket(&core).await.unwrap();
        let mut objects = BTreeMap::new();
        for number in 0..300 {
            let (name, size) = (format!("object-{}", number * 7919 % 1000), number % 5 * 100);
            objects.insert(name.clone(), content(number as u64, size));
            put(&core, &name, content(number as u64, size)).await.unwrap();
        }
        objects.insert("large".to_owned(), content(1, 300 << 10));
        put(&core, "large", content(1, 300 << 10)).await.unwrap();
        let totals = core.totals().unwrap();
        let first = cut(&core, 7, 0).await.unwrap();
        assert_eq!(
            core.totals().unwrap(),
            totals,
            "what the engine keeps for itself does not count"
        );
        check(&core, &first, &objects).await;
        assert_eq!(cut(&core, 7, 0).await.unwrap(), first, "an era is cut once");

        // The way of an oracle: of a byte at random, the object, and a slice of it.
        let MemberProof { member, .. } = core.prove_byte(7, 100_000).await.unwrap().unwrap();
        let request = GetRequest {
            range: ReadRange::Between(70_000, 80_000),
            ..GetRequest::new(bucket(), key(&member.key))
        };
        let slice = Arc::clone(&core).prove(&request).await.unwrap();
        let bytes = verify(&member.content, &(70_000..80_001), &slice.proof).unwrap();
        assert!(bytes == content(1, 300 << 10)[70_000..80_001]);

        let before = objects.clone();
        for number in 0..100 {
            let name = format!("object-{}", number * 7919 % 1000);
            if number % 2 == 0 {
                delete(&core, &name).await.unwrap();
                objects.remove(&name);
            } else {
                put(&core, &name, vec![1; 9]).await.unwrap();
                objects.insert(name, vec![1; 9]);
            }
        }
        check(&core, &first, &before).await;
        let second = cut(&core, 8, 7).await.unwrap();
        assert_ne!(first.commitment.root, second.commitment.root);
        assert_eq!(core.era_root(6).await.unwrap(), None, "its disputes are over");
        drop(core);

        for (round, keeps_index) in [true, false, true].into_iter().enumerate() {
            machine = machine.cut(Cut::Lost);
            if !keeps_index {
                machine.index = Arc::new(MemoryIndex::default());
            }
            let (core, _) = machine.open().await.unwrap();
            check(&core, &first, &before).await;
            check(&core, &second, &objects).await;
            pack(&core).await.unwrap();
            machine.disk.pull("/v1");
            check(&core, &first, &before).await;
            check(&core, &second, &objects).await;
            if round == 2 {
                let third = cut(&core, 9, 9).await.unwrap();
                check(&core, &third, &objects).await;
                assert_eq!(core.era_root(8).await.unwrap(), None);
                assert_eq!(core.prove_byte(8, 0).await.unwrap(), None);
            }
            machine.disk.plug("/v1");
        }
    });
}

#[test]
fn an_era_whose_cut_failed_is_cut_again() {
    run(async {
        for at in 0..6 {
            let machine = Machine::new(1);
            let (core, _) = machine.open().await.unwrap();
            make_bucket(&core).await.unwrap();
            put(&core, "a", vec![1; 10]).await.unwrap();
            machine.disk.set_fault(Some(agent_object_store_pool::sim::Fault::PowerAt(at)));
            let failed = cut(&core, 1, 0).await;
            drop(core);
            let machine = machine.cut(Cut::Mixed(at));
            let (core, _) = machine.open().await.unwrap();
            let again = cut(&core, 1, 0).await.unwrap();
            assert!(failed.is_err() || failed.unwrap() == again);
            check(&core, &again, &BTreeMap::from([("a".to_owned(), vec![1; 10])])).await;
        }
    });
}
